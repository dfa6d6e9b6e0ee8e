"""What a server holds of one patient: read whole, by $everything where there is one and by searches where there is none."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from service.errors import ServerRefused
from service.issues import Issue
from service.sync.canonical import from_wire, identity_of, reference_to
from service.sync.pages import resources
from service.sync.plan import Known
from service.sync.server import Criteria, FhirServer, Resource, token

PAGE = "200"


@dataclass(frozen=True)
class Held:
    """One resource as the server holds it: raw, and in canonical form; `identity` is None for what no case of ours wrote."""

    raw: Resource
    canonical: Resource
    identity: str | None

    @property
    def version(self) -> str:
        return str(self.raw.get("meta", {}).get("versionId", ""))

    @property
    def updated(self) -> str:
        return str(self.raw.get("meta", {}).get("lastUpdated", ""))


def find(server: FhirServer, resource_type: str, criteria: Criteria) -> Iterator[Resource]:
    """All resources of this type that a search finds, over all its pages; what was included beside them is left out."""
    everything = [*criteria, ("_count", PAGE)]
    found = resources(server, lambda: server.search(resource_type, everything))
    return (one for one in found if one["resourceType"] == resource_type)


def find_patient(server: FhirServer, system: str, case: str) -> Resource | None:
    """The Patient with this identity. Raises ServerRefused where the server has two of them."""
    found = list(find(server, "Patient", [("identifier", token(system, case))]))
    if len(found) > 1:
        raise duplicates(len(found), "Patient")
    return found[0] if found else None


def duplicates(count: int, resource_type: str) -> ServerRefused:
    text = f"the server holds {count} resources of type {resource_type} under one identity; we write none while that is so"
    fix = "find out who wrote the others, and delete all but one"
    return ServerRefused([Issue("error", "duplicate", "sync-duplicates", text, fix=fix)], status=412)


def read_compartment(server: FhirServer, patient: Resource, system: str, types: Sequence[str], *, whole: bool) -> list[Held]:
    """The Patient and all that refers to it. `types` are those to search for where the server cannot give all (`whole`)."""
    try:
        raw = list(_everything(server, patient) if whole else _searched(server, patient, types))
    except ServerRefused as error:
        # It was there when the server was asked what it can do.
        if not whole or error.status not in (404, 405, 501):
            raise
        raw = list(_searched(server, patient, types))
    return held(raw, system, server.base)


def held(raw: Collection[Resource], system: str, base: str) -> list[Held]:
    """Resources of one case, with the references among them turned back to identities."""
    identities = [identity_of(one, system) for one in raw]
    names = {reference_to(one): identity for one, identity in zip(raw, identities, strict=True) if identity}
    return [Held(one, from_wire(one, names, base), identity) for one, identity in zip(raw, identities, strict=True)]


def known_of(found: Collection[Held], ledger: dict[str, Known]) -> dict[str, Known]:
    """What is known of the case once it was read: the ledger's word on what we wrote, and what is there now.

    Raises ServerRefused where two resources have one identity.
    """
    now: dict[str, Known] = {}
    for one in found:
        if one.identity is None:
            continue
        if one.identity in now:
            raise duplicates(2, one.raw["resourceType"])
        before = ledger.get(one.identity)
        now[one.identity] = Known(
            str(one.raw["resourceType"]),
            str(one.raw["id"]),
            one.version,
            one.updated,
            wanted=before.wanted if before else None,
            stored=before.stored if before else None,
            current=one.canonical,
            retired=bool(before and before.retired),
        )
    gone = {i: Known(k.resource_type, k.resource_id, k.version, gone=True) for i, k in ledger.items() if i not in now}
    return now | gone


def _everything(server: FhirServer, patient: Resource) -> Iterator[Resource]:
    return resources(server, lambda: server.everything(str(patient["id"])))


def _searched(server: FhirServer, patient: Resource, types: Sequence[str]) -> Iterator[Resource]:
    yield patient
    for resource_type in types:
        if resource_type != "Patient":
            yield from find(server, resource_type, [("patient", reference_to(patient))])
