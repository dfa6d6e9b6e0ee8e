"""Cases on their way to a server and back: the engine's conversions joined to what the synchronisation sends and reads."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from service.engine import Engine, Restored
from service.fhir import json
from service.issues import Issue, Origin
from service.mapping.identity import Identities, keyed
from service.sync import payload
from service.sync.canonical import URN
from service.sync.differences import differences
from service.sync.outbox import Submission
from service.sync.plan import Wanted
from service.sync.pull import Pulled

_sorted = msgspec.json.Encoder(decimal_format="number", order="deterministic").encode


@dataclass(frozen=True)
class Transfer:
    """An engine, and what a server knows its deployment and its mapping set by."""

    engine: Engine
    deployment: str = field(init=False)
    mapping: str = field(init=False)

    def __post_init__(self) -> None:
        spec = self.engine.mapping.spec
        object.__setattr__(self, "deployment", keyed(self.engine.key, b"deployment", size=8).hexdigest())
        object.__setattr__(self, "mapping", f"{spec.url}|{spec.version}")

    @property
    def system(self) -> str:
        """The system of the identities."""
        return str(self.engine.mapping.spec.identifier)

    @property
    def types(self) -> list[str]:
        """The resource types that the mapping set writes."""
        return sorted({str(kind.resource) for kind in self.engine.mapping.kinds})

    def identity(self, case: str) -> str:
        """The identity of a case's Patient, by the case's own id: what a server and the outbox know the case by."""
        return Identities(self.engine.key, case).of("", "", ()).removeprefix(URN)

    def wanted(self, text: bytes, *, file: str = "-", lenient: bool = False) -> tuple[Wanted | None, list[Issue]]:
        """A case as JSON text, converted for a push; None where the issues hold an error. Raises UnreadableInput."""
        made = self.engine.convert(text, file=file, lenient=lenient)
        if made.bundle is None:
            return None, made.issues
        resources = {str(entry["fullUrl"]).removeprefix(URN): entry["resource"] for entry in made.bundle["entry"]}
        record = _sorted(json.loads(text, file=file, limits=self.engine.limits))
        source = keyed(self.engine.key, b"record\0" + record).hexdigest()
        case = next(iter(resources))
        return Wanted(case, self.system, self.deployment, source, self.mapping, resources, tuple(self.types)), made.issues

    def submission(
        self, wanted: Wanted, server: str, *, label: str = "", overwrite: bool = False, plan: str | None = None
    ) -> Submission:
        """What the outbox takes for a converted case; `server` is the base URL that it goes to."""
        text = payload.dump(wanted)
        mapping = f"{self.mapping}#{self.engine.mapping.fingerprint[:16]}"
        return Submission(server, wanted.case, label, text, payload.digest(text), mapping, overwrite, plan)

    def restored(self, pulled: Pulled, like: Wanted | None = None) -> Restored:
        """The case that a server holds; what the form cannot hold is among the issues.

        Its items stand in the order of the case that it is `like`: FHIR keeps none, and a difference in it would say nothing.
        """
        text = json.dumps(pulled.bundle(tuple(like.resources) if like else ()))
        # A case was within the limits of the door when it came in; its resources are more than it was.
        limits = replace(self.engine.limits, max_bytes=max(len(text), self.engine.limits.max_bytes))
        return replace(self.engine, limits=limits).to_case(text)


def compared(engine: Engine, local: bytes, pulled: dict[str, Any], file: str) -> Iterator[Issue]:
    """How the case on the server differs from the local one: item by item, by identity, whatever their order.

    Each difference names the field in the case that it stands in, but no value. Raises UnreadableInput for a local text that is
    no JSON.
    """
    here, there = _items(engine, local, file), _items(engine, json.dumps(pulled), file)
    if not there:
        yield _difference("the case on the server does not fit the form any more, and cannot be compared", "", file)
        return
    for identity, (pointer, item) in here.items():
        if identity not in there:
            yield _difference("this item is in the local case only", pointer, file)
        else:
            for found in differences(item, there[identity][1]):
                yield _difference(f"{found.place} {_SAID[found.kind]}", pointer, file)
    for identity, (pointer, _item) in there.items():
        if identity not in here:
            # Its place is one in the case on the server: the local one may have another item there.
            yield _difference("the server has an item here that the case has not", pointer.rpartition("/")[0], file)


_SAID = {"added": "is on the server only", "removed": "is in the local case only", "changed": "differs on the server"}


def _items(engine: Engine, text: bytes, file: str) -> dict[str, tuple[str, dict[str, Any]]]:
    """Identity → JSON Pointer and fields of each item of a case, the items within it left out: they have their own identity."""
    mapped = engine.convert(text, file=file, lenient=True).mapped
    within: dict[str, set[str]] = {}
    for kind in engine.mapping.kinds[1:]:
        within.setdefault(kind.plan.parent, set()).add(kind.name)
    return {
        entry.full_url: (entry.pointer, {k: v for k, v in entry.item.items() if k not in within.get(entry.section, ())})
        for entry in (mapped.entries if mapped else ())
    }


def _difference(text: str, pointer: str, file: str) -> Issue:
    fix = "take the server's value into the case, or push the case"
    return Issue("warning", "conflict", "sync-difference", text, fix=fix, pointer=pointer or "/", source=Origin(file))
