"""What a request to pull asks for, and the cases that answer it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from service.api.answers import outcome
from service.api.pulls import Task
from service.errors import Usage
from service.fhir import json
from service.issues import Issue
from service.sync import marks
from service.sync.abilities import Abilities
from service.sync.pull import Mark, by_case, by_identifier, changed, of_deployment
from service.sync.pull import pull as pull_one
from service.sync.push import reading
from service.sync.server import FhirServer, Resource
from service.transfer import Transfer

if TYPE_CHECKING:
    from service.sync.outbox import Outbox

# Patients with one identifier that are pulled while the client waits.
MOST: Final = 20


@dataclass(frozen=True)
class Few:
    """One case by its own id, or the patients with an identifier: the system and value of it."""

    case: str = ""
    identifier: tuple[str, str] | None = None


@dataclass(frozen=True)
class Many:
    """All cases of this deployment, or those that have changed since the last such pull."""

    since_last: bool


def read(text: bytes) -> Few | Many:
    """What a body asks for. Raises UnreadableInput for one that is no JSON, Usage for one that asks for nothing known."""
    match json.loads(text):
        case {"case": str(case), **rest} if case and not rest:
            return Few(case=case)
        case {"identifier": {"system": str(system), "value": str(value), **more}, **rest} if system and value:
            if not more and not rest:
                return Few(identifier=(system, value))
        case {"all": True, **rest} if not rest:
            return Many(since_last=False)
        case {"sinceLast": True, **rest} if not rest:
            return Many(since_last=True)
    fix = 'send {"case": id}, {"identifier": {"system": s, "value": v}}, {"all": true} or {"sinceLast": true}'
    raise Usage([Issue("error", "value", "sync-pull-body", "the body does not say what to pull", fix=fix)])


def pull_now(outbox: Outbox, transfer: Transfer, server: FhirServer, asked: Few) -> list[dict[str, Any]]:
    """The cases asked for, one at least. Raises Usage (not-found) where the server has none, and for very many patients."""
    able = reading(server, outbox)
    if asked.identifier:
        patients = list(islice(by_identifier(server, *asked.identifier), MOST + 1))
    else:
        patients = list(by_case(server, transfer.system, transfer.identity(asked.case)))
    if not patients:
        text, fix = "the server holds no such case", "check the id, and CASEBRIDGE_KEY of the service, or push the case"
        raise Usage([Issue("error", "not-found", "sync-not-there", text, fix=fix)])
    if len(patients) > MOST:
        text = f"more than {MOST} patients have this identifier"
        raise Usage([Issue("error", "too-costly", "sync-pull-many", text, fix="name one that tells patients apart")])
    return [_line(transfer, server, patient, able) for patient in patients]


def task(outbox: Outbox, transfer: Transfer, server: FhirServer, asked: Many) -> Task:
    """The same for many cases, to be done by a thread."""
    reached: list[Mark] = []

    def lines() -> Iterator[dict[str, Any]]:
        able = reading(server, outbox)
        patients: Iterable[Resource] = ()
        if asked.since_last:
            before = marks.last(outbox, server.base, transfer.deployment)
            patients, mark = changed(server, transfer.deployment, transfer.types, before)
            reached.append(mark)
        else:
            patients = of_deployment(server, transfer.deployment)
        for patient in patients:
            yield _line(transfer, server, patient, able)

    def safe() -> None:
        for mark in reached:
            marks.remember(outbox, server.base, transfer.deployment, mark)

    return Task(lines, safe)


def _line(transfer: Transfer, server: FhirServer, patient: Resource, able: Abilities) -> dict[str, Any]:
    """A case as the server holds it, with what the form cannot hold; `identity` is null where no Casebridge wrote it."""
    pulled = pull_one(server, patient, transfer.system, transfer.types, whole=able.everything)
    restored = transfer.restored(pulled)
    return {"identity": pulled.case, "case": restored.record, "outcome": outcome(restored.issues)}
