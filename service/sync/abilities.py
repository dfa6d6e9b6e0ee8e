"""What a server says of itself in its CapabilityStatement, and which of it a push cannot do without.

Source: http://hl7.org/fhir/R4/capabilitystatement.html
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from service.errors import ServerRefused
from service.issues import Issue
from service.sync.server import FhirServer, Resource

if TYPE_CHECKING:
    from service.sync.outbox import Outbox

# What a server may say of updates that do not look at the version: http://hl7.org/fhir/R4/valueset-versioning-policy.html
_UNVERSIONED = ("no-version", "versioned")
# How long a server's word is good, in seconds.
_GOOD_FOR = 86_400


@dataclass(frozen=True)
class Abilities:
    """What the statement claims. `types`: the resource types that it knows; where it lists none, nobody can tell."""

    fhir_version: str
    software: str
    transaction: bool
    everything: bool
    types: frozenset[str]
    conditional_create: frozenset[str]
    unversioned: frozenset[str]

    def to_text(self) -> str:
        return msgspec.json.encode(self, order="deterministic").decode()


def of_text(text: str) -> Abilities:
    """Abilities as `to_text` wrote them. Raises ValueError for another text."""
    return msgspec.json.decode(text, type=Abilities)


def abilities(statement: Resource) -> Abilities:
    """What a CapabilityStatement claims for its server side; whatever is missing or misshapen counts as not claimed."""
    rest = next((one for one in _objects(statement, "rest") if one.get("mode") == "server"), {})
    interactions = {one.get("code") for one in _objects(rest, "interaction")}
    resources = {str(one.get("type")): one for one in _objects(rest, "resource")}
    software = statement.get("software")
    named = software if isinstance(software, dict) else {}
    return Abilities(
        fhir_version=_shown(statement.get("fhirVersion", "")),
        software=_shown(" ".join(str(named[key]) for key in ("name", "version") if key in named)),
        transaction="transaction" in interactions,
        everything="everything" in {one.get("name") for one in _objects(resources.get("Patient", {}), "operation")},
        types=frozenset(resources),
        unversioned=frozenset(name for name, one in resources.items() if one.get("versioning") in _UNVERSIONED),
        conditional_create=frozenset(name for name, one in resources.items() if one.get("conditionalCreate") is True),
    )


def unfit(able: Abilities, types: Sequence[str]) -> Iterator[Issue]:
    """Why a push of resources of these types cannot be done there; empty where it can."""
    if able.fhir_version and not able.fhir_version.startswith("4.0"):
        yield _unfit(f"the server speaks FHIR {able.fhir_version}, and Casebridge writes R4", "name its R4 endpoint")
    if not able.transaction:
        yield _unfit("the server takes no transactions, so a case could be left half written", "name a server that does")
    lacking = [name for name in types if able.types and name not in able.types]
    if lacking:
        yield _unfit(f"the server does not take resources of type {', '.join(lacking)}", "have them enabled there")
    unversioned = [name for name in types if name in able.unversioned]
    if unversioned:
        text = f"the server says that it ignores If-Match for {', '.join(unversioned)}: others' edits could be overwritten"
        yield _unfit(text, "have version-aware updates enabled there")
    unconditional = [name for name in types if name in able.types and name not in able.conditional_create]
    if unconditional:
        text = f"the server does not create {', '.join(unconditional)} on a condition: a lost answer could leave two copies"
        yield _unfit(text, "have conditional create enabled there")


def _shown(words: object) -> str:
    """A server's own words for a terminal: short, and nothing that steers it."""
    return "".join(letter for letter in str(words) if letter.isprintable())[:80]


def _unfit(text: str, fix: str) -> Issue:
    return Issue("error", "not-supported", "sync-unfit", text, fix=fix)


def _objects(value: Resource, name: str) -> list[Resource]:
    held = value.get(name)
    return [one for one in held if isinstance(one, dict)] if isinstance(held, list) else []


def usable(server: FhirServer, outbox: Outbox, types: Sequence[str], *, now: float) -> Abilities:
    """What the server can do, asked once a day. Raises ServerRefused (status 0) where resources of these types cannot be
    pushed there: that is found before the first write, and not by it."""
    able = _remembered(outbox, server.base, now)
    if able is None or any(unfit(able, types)):
        # Refused by what the server says now, and not by an old word.
        able = abilities(server.capabilities())
        if issues := list(unfit(able, types)):
            raise ServerRefused(issues)
        remember(outbox, server.base, able, now)
    return able


def remember(outbox: Outbox, target: str, able: Abilities, now: float) -> None:
    outbox.remember(target, "abilities", f"{now} {able.to_text()}")


def _remembered(outbox: Outbox, target: str, now: float) -> Abilities | None:
    """What the server said less than a day ago; None also where another version of Casebridge wrote it down."""
    told, _, text = (outbox.recall(target, "abilities") or "").partition(" ")
    try:
        return of_text(text) if now - float(told) < _GOOD_FOR else None
    except ValueError:
        return None
