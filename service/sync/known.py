"""What is known of a case on a server: by the ledger, by reading it back, and by counting where nothing should have changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from urllib.parse import quote, urlencode

from service.errors import ServerRefused
from service.fhir.search import token
from service.sync.canonical import DEPLOYMENT, digest_of, identity_of, instant
from service.sync.compartment import duplicates, find, find_patient, known_of, read_compartment
from service.sync.outbox import Entry
from service.sync.plan import Known, Step, Wanted
from service.sync.retire import is_retired
from service.sync.server import FhirServer, Resource

# Identities of one search: POST _search takes some 200 kB, and one is 90 bytes.
_AT_ONCE = 100
_MOST_TIMES = 8


def of_ledger(rows: Mapping[str, Entry]) -> dict[str, Known]:
    return {
        identity: Known(
            row.resource_type,
            row.resource_id,
            row.version,
            row.updated,
            wanted=row.digest,
            stored=row.stored,
            retired=row.retired,
        )
        for identity, row in rows.items()
    }


def to_ledger(known: Mapping[str, Known], rows: Mapping[str, Entry]) -> list[Entry]:
    """The rows for what is confirmed: what we wrote, and what was there just as we want it.

    What others have edited keeps its row in `rows`: the version that we wrote is still the one we may replace. It loses its
    time, so that the case is read whole until the edit is settled.
    """
    kept = [replace(rows[identity], updated="") for identity, one in known.items() if one.is_edited and identity in rows]
    return kept + [
        Entry(identity, one.resource_type, one.resource_id, one.version, one.updated, one.wanted, one.stored, one.retired)
        for identity, one in known.items()
        if one.wanted is not None and one.stored is not None and not one.gone and not one.is_edited
    ]


def read(server: FhirServer, wanted: Wanted, known: Mapping[str, Known], *, whole: bool) -> dict[str, Known]:
    """What the server holds of the case now, beside what was known. Raises ServerRefused where an identity is there twice."""
    patient = find_patient(server, wanted.system, wanted.case)
    if patient is None:
        return _confirmed(known_of([], dict(known)), wanted)
    types = {str(one["resourceType"]) for one in wanted.resources.values()} | {one.resource_type for one in known.values()}
    types |= set(wanted.types)
    found = read_compartment(server, patient, wanted.system, sorted(types), whole=whole)
    return _confirmed(known_of(found, dict(known)), wanted)


def look_for(server: FhirServer, system: str, steps: Sequence[Step]) -> dict[str, Resource]:
    """What the server holds of these resources, by their identities, as entries without a word on what became of the request.

    Raises ServerRefused where it holds one of them twice.
    """
    by_type: dict[str, list[str]] = {}
    for step in steps:
        by_type.setdefault(step.resource_type, []).append(step.identity)
    found: dict[str, Resource] = {}
    for resource_type, some in by_type.items():
        for start in range(0, len(some), _AT_ONCE):
            tokens = ",".join(token(system, identity) for identity in some[start : start + _AT_ONCE])
            for one in find(server, resource_type, [("identifier", tokens)]):
                identity = identity_of(one, system) or ""
                if identity in found:
                    raise duplicates(2, resource_type)
                found[identity] = {"resource": one}
    return found


def _confirmed(known: dict[str, Known], wanted: Wanted) -> dict[str, Known]:
    """What is there just as we want it, or as we take it back, is as good as written by us: whoever's answer was lost."""
    return {identity: _confirm(one, wanted.resources.get(identity)) for identity, one in known.items()}


def _confirm(known: Known, resource: Resource | None) -> Known:
    if known.current is None:
        return known
    digest = digest_of(known.current)
    is_taken_back = resource is None and is_retired(known.current)
    if is_taken_back or (resource is not None and digest_of(resource) == digest):
        return replace(known, wanted=digest, stored=digest, retired=is_taken_back)
    return known


def is_as_left(server: FhirServer, wanted: Wanted, known: Mapping[str, Known]) -> bool:
    """Whether the server still holds what we left there, by one batch of counts.

    Of each type, and for each time at which we wrote: are as many of ours as we know no younger than that? Whatever was changed
    or deleted since would be missing. False also where the server cannot count: then the caller reads.
    """
    patient = known.get(wanted.case)
    rows = [one for one in known.values() if not one.gone]
    if patient is None or not all(one.updated for one in rows):
        return False
    expected = [
        (_count(name, patient.resource_id, wanted.deployment, time), number)
        for name in sorted({one.resource_type for one in rows})
        for time, number in _by_time([one.updated for one in rows if one.resource_type == name])
    ]
    entries = [{"request": {"method": "GET", "url": url}} for url, _number in expected]
    try:
        found = server.submit({"resourceType": "Bundle", "type": "batch", "entry": entries}).get("entry", [])
    except ServerRefused:
        return False
    totals = [entry.get("resource", {}).get("total") if isinstance(entry, dict) else None for entry in found]
    return totals == [number for _url, number in expected]


def _by_time(times: Sequence[str]) -> list[tuple[str, int]]:
    """Each time with how many are no later; where there are many, for a server dates each resource by itself, only the last."""
    ordered = sorted(times, key=instant)
    counted = {time: index for index, time in enumerate(ordered, start=1)}
    return list(counted.items())[-1 if len(counted) > _MOST_TIMES else 0 :]


def _count(resource_type: str, patient: str, deployment: str, latest: str) -> str:
    whose = ("_id", patient) if resource_type == "Patient" else ("patient", f"Patient/{patient}")
    criteria = [whose, ("_tag", token(DEPLOYMENT, deployment)), ("_lastUpdated", f"le{latest}"), ("_summary", "count")]
    return f"{resource_type}?{urlencode(criteria, quote_via=quote)}"
