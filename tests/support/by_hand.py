"""Cases made by hand, as a push wants them: small enough for laws, and with types that no shipped mapping set writes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Any, Final

from hypothesis import strategies as st

from service.sync.canonical import URN, reference_to
from service.sync.compartment import held
from service.sync.memory import MemoryServer
from service.sync.outbox import Job, this_worker
from service.sync.plan import Wanted
from service.sync.push import Pusher
from service.sync.retire import is_retired
from service.sync.server import Resource
from tests.support.deployment import Deployment

SYSTEM: Final = "https://example.org/fhir/identity"
SAYS: Final = "https://example.org/fhir/StructureDefinition/says"
REFERS: Final = "https://example.org/fhir/StructureDefinition/refers"
PATIENT: Final = "patient"

# What says that each of these types is in use; Basic has no way to say so, and none to say that it must not be used.
_STATUS: Final[dict[str, dict[str, Any]]] = {
    "Observation": {"status": "final"},
    "Condition": {
        "clinicalStatus": {"coding": [{"code": "active"}]},
        "verificationStatus": {"coding": [{"code": "confirmed"}]},
    },
    "Basic": {},
}
# The facts that a drawn case may have, by identity.
FACTS: Final = {"a": "Observation", "b": "Observation", "c": "Observation", "d": "Condition"}


def fact(identity: str, says: Any = 1, *, refers: Iterable[str] = (), kind: str = "Observation") -> Resource:
    """A resource of the case: `says` is a number, `refers` the identities of others that it refers to."""
    links = [{"url": REFERS, "valueReference": {"reference": URN + one}} for one in refers]
    return {
        "resourceType": kind,
        "extension": [{"url": SAYS, "valueDecimal": says}, *links],
        "identifier": [{"system": SYSTEM, "value": identity}],
        **_STATUS[kind],
        "code": {"text": identity},
        "subject": {"reference": URN + PATIENT},
    }


def patient(gender: str = "female") -> Resource:
    return {"resourceType": "Patient", "identifier": [{"system": SYSTEM, "value": PATIENT}], "gender": gender}


def case(*facts: Resource, gender: str = "female") -> Wanted:
    resources = {str(one["identifier"][0]["value"]): one for one in (patient(gender), *facts)}
    return Wanted(PATIENT, SYSTEM, "here", "digest of the record", "https://example.org/fhir/mapping|1", resources)


@st.composite
def cases(draw: Any) -> Wanted:
    """Any of the facts, in any order, that say anything and refer to one another in any way, in circles too."""
    names = draw(st.lists(st.sampled_from(sorted(FACTS)), unique=True))
    says = st.sampled_from([1, 2, Decimal("1.50"), Decimal("1.5"), Decimal("0.010")])
    refers = st.lists(st.sampled_from(names), unique=True, max_size=2) if names else st.just([])
    facts = [fact(name, draw(says), refers=draw(refers), kind=FACTS[name]) for name in names]
    return case(*facts, gender=draw(st.sampled_from(["female", "unknown"])))


class ByHand(Deployment):
    """A deployment that pushes what it is given: a case made by hand in place of a record. Its server may be exchanged."""

    def wanted(self, record: Any) -> Wanted:
        assert isinstance(record, Wanted)
        return record

    def attempt(self) -> Job:
        """As a Deployment does, but at the jobs for its own server: an outbox may hold those of servers that are gone."""
        worker = this_worker()
        job = self.outbox.claim(worker, now=self.clock(), target=self.server.base)
        assert job is not None, "no job is due"
        return Pusher(self.server, self.outbox, worker, pause=self.clock.sleep, now=self.clock).run(job)


def facts_on(server: MemoryServer) -> list[Resource]:
    """All but Provenance, as the server holds it."""
    return [one for one in server.all() if one["resourceType"] != "Provenance"]


def in_use(server: MemoryServer) -> dict[str, Resource]:
    """What the server holds in use, in canonical form by identity; fails where an identity is there twice."""
    found = [one for one in held(facts_on(server), SYSTEM, server.base) if not is_retired(one.canonical)]
    by_identity = {str(one.identity): one.canonical for one in found}
    assert len(by_identity) == len(found), "an identity is there twice"
    return by_identity


def versions(server: MemoryServer) -> dict[str, str]:
    """Type/id → version of each fact."""
    return {reference_to(one): one["meta"]["versionId"] for one in facts_on(server)}


def referred(server: MemoryServer) -> set[str]:
    """Type/id of all that another fact refers to."""
    return {reference for one in facts_on(server) for reference in _references(one)}


def _references(value: Any) -> Iterator[str]:
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for item in items:
        yield from _references(item)
    if isinstance(value, dict) and isinstance(value.get("reference"), str):
        yield value["reference"]
