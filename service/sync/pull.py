"""Reading cases back from a server: one by its identity, one by an identifier, or all that this deployment wrote, and only
those that have changed since the last time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from service.fhir.search import token
from service.sync.canonical import DEPLOYMENT, URN, identity_of, instant, reference_to
from service.sync.compartment import Held, find, find_patient, read_compartment
from service.sync.provenance import is_ours
from service.sync.retire import is_retired
from service.sync.server import FhirServer, Resource

# What a server may write with an earlier time than it shows to others: a transaction's time is that of its beginning.
OVERLAP = timedelta(minutes=5)


@dataclass(frozen=True)
class Pulled:
    """A case as the server holds it: its resources in canonical form with the URLs by which references name them.

    `case` is the identity of its Patient, None where no Casebridge wrote it. `retired` counts the facts that were taken back.
    """

    patient: str
    case: str | None
    resources: Sequence[tuple[str, Resource]] = field(repr=False)
    retired: int = 0

    def bundle(self, order: Sequence[str] = ()) -> Resource:
        """A collection, as `convert` writes it; `order`: identities that come in this order, before all others."""
        place = {URN + identity: index for index, identity in enumerate(order)}
        ordered = sorted(self.resources, key=lambda one: place.get(one[0], len(place)))
        entries = [{"fullUrl": url, "resource": resource} for url, resource in ordered]
        return {"resourceType": "Bundle", "type": "collection", "entry": entries}


def pull(server: FhirServer, patient: Resource, system: str, types: Sequence[str], *, whole: bool) -> Pulled:
    """All that the server holds of this Patient, but for what we took back and for our own Provenance.

    In the order of the server's ids, where these are numbers that of creation: a search promises none.
    """
    found = read_compartment(server, patient, system, types, whole=whole)
    facts = sorted((one for one in found if not is_ours(one.raw)), key=_order)
    kept = [one for one in facts if not is_retired(one.canonical)]
    resources = [(_url(one, server.base), one.canonical) for one in kept]
    return Pulled(str(patient["id"]), identity_of(patient, system), resources, len(facts) - len(kept))


def _url(one: Held, base: str) -> str:
    return URN + one.identity if one.identity else f"{base}/{reference_to(one.raw)}"


def _order(one: Held) -> tuple[int, int, str]:
    resource_id = str(one.raw["id"])
    number = int(resource_id) if resource_id.isdecimal() else 0
    return (0 if one.raw["resourceType"] == "Patient" else 1, number, resource_id)


def by_case(server: FhirServer, system: str, case: str) -> Iterator[Resource]:
    """The Patient of one case. Raises ServerRefused where there are two."""
    patient = find_patient(server, system, case)
    if patient is not None:
        yield patient


def by_identifier(server: FhirServer, system: str, value: str) -> Iterator[Resource]:
    """The Patients with an identifier, whoever gave it to them."""
    return find(server, "Patient", [("identifier", token(system, value))])


def of_deployment(server: FhirServer, deployment: str) -> Iterator[Resource]:
    """The Patients of all cases that this deployment wrote."""
    return find(server, "Patient", [("_tag", token(DEPLOYMENT, deployment))])


@dataclass(frozen=True)
class Mark:
    """Where an incremental pull has come to: the latest change that it saw of each type, for the types are searched one after
    another; and each version seen shortly before it, for a server may still write what is dated earlier. All in the server's
    own time."""

    latest: Mapping[str, str] = field(default_factory=dict)
    seen: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return {"latest": dict(self.latest), "seen": dict(self.seen)}


def changed(server: FhirServer, deployment: str, types: Sequence[str], mark: Mark) -> tuple[list[Resource], Mark]:
    """The Patients of whom something has changed since the mark, and the next mark, good once these cases are safe.

    What others add to a patient without our tag, and what is deleted, only a whole pull finds.
    """
    latest, seen = dict(mark.latest), dict[str, str]()
    patients: dict[str, Resource] = {}
    whose: set[str] = set()
    for resource_type in sorted({"Patient", *types}):
        criteria = [("_tag", token(DEPLOYMENT, deployment))]
        if since := _back(mark.latest.get(resource_type, "")):
            criteria.append(("_lastUpdated", f"ge{since}"))
        versions: dict[str, tuple[str, str]] = {}
        for one in find(server, resource_type, criteria):
            name, meta = reference_to(one), one.get("meta", {})
            versions[name] = (str(meta.get("versionId", "")), str(meta.get("lastUpdated", "")))
            if resource_type == "Patient":
                patients[name] = one
            if mark.seen.get(name) != versions[name][0]:
                whose.add(name if resource_type == "Patient" else _patient_of(one, server.base))
        last = max([mark.latest.get(resource_type, ""), *(updated for _version, updated in versions.values())], key=instant)
        latest |= {resource_type: last} if last else {}
        seen |= {name: version for name, (version, updated) in versions.items() if instant(updated) >= instant(_back(last))}
    found = (patients.get(name) or server.read("Patient", name.partition("/")[2]) for name in sorted(whose - {""}))
    return [one for one in found if one is not None], Mark(latest, seen)


def _patient_of(resource: Resource, base: str) -> str:
    for name in ("subject", "patient"):
        reference = resource.get(name)
        if isinstance(reference, dict) and isinstance(reference.get("reference"), str):
            local = str(reference["reference"]).removeprefix(base + "/").partition("/_history/")[0]
            return local if local.startswith("Patient/") else ""
    return ""


def _back(text: str) -> str:
    return (instant(text) - OVERLAP).isoformat(timespec="milliseconds") if instant(text) > instant("") else ""
