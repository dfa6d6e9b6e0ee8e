"""One transaction of a push: how it is asked for, and what became of each of its resources by the server's own word.

Sources: http://hl7.org/fhir/R4/http.html#transaction and, for the conditions, #ccreate and #concurrency.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from service.errors import ServerUnavailable
from service.fhir.search import condition
from service.issues import Issue
from service.sync.canonical import URN, digest_of, digest_of_wire, from_wire, identity_of, reference_to, to_wire
from service.sync.differences import differences
from service.sync.places import shown
from service.sync.plan import Known, Step, Wanted
from service.sync.provenance import PUSH, is_ours, provenance, push_code
from service.sync.retire import is_only_deleted, retired
from service.sync.server import Resource

_LOCATION: Final = re.compile(r"([A-Z][A-Za-z]+/[A-Za-z0-9\-.]{1,64})/_history/([A-Za-z0-9\-.]{1,64})$")


@dataclass(frozen=True)
class Written:
    """What a transaction came to: what is now known of each resource, those that it created, and what the server changed."""

    known: dict[str, Known]
    created: frozenset[str]
    issues: list[Issue]


def transaction(wanted: Wanted, steps: Sequence[Step], known: Mapping[str, Known], recorded: float, base: str) -> Resource:
    """The Bundle for these steps. New resources are created unless their identity is there already; changed ones are put with
    the version that we know; the Provenance stands last."""
    created = {step.identity for step in steps if step.action == "create"}
    there = {identity: one for identity, one in known.items() if identity not in created and not one.gone}
    ids = {identity: f"{one.resource_type}/{one.resource_id}" for identity, one in there.items()}
    entries = [_entry(wanted, step, known.get(step.identity), ids, base) for step in steps]
    # What could only be deleted is not named: servers refuse to delete what something refers to.
    named = [step for step in steps if _remains(step, known) and not is_only_deleted(step.resource_type)]
    targets = [ids.get(step.identity, URN + step.identity) for step in named]
    if targets:
        entries.append(_provenance(wanted, steps, targets, recorded))
    return {"resourceType": "Bundle", "type": "transaction", "entry": entries}


def _remains(step: Step, known: Mapping[str, Known]) -> bool:
    """Whether the resource is still there after its step."""
    return step.action != "retire" or _taken_back(known[step.identity]) is not None


def _taken_back(known: Known) -> Resource | None:
    assert known.current is not None, "a resource is read before it is retired"
    return retired(known.current)


def _entry(wanted: Wanted, step: Step, known: Known | None, ids: Mapping[str, str], base: str) -> Resource:
    if step.action == "create":
        resource = to_wire(wanted.resources[step.identity], ids, wanted.deployment)
        unless = condition("identifier", wanted.system, step.identity)
        request = {"method": "POST", "url": step.resource_type, "ifNoneExist": unless}
        return {"fullUrl": URN + step.identity, "resource": resource, "request": request}
    assert known is not None
    place = f"{known.resource_type}/{known.resource_id}"
    version = {"ifMatch": f'W/"{known.version}"'}
    canonical = _taken_back(known) if step.action == "retire" else wanted.resources[step.identity]
    if canonical is None:
        return {"fullUrl": f"{base}/{place}", "request": {"method": "DELETE", "url": place, **version}}
    resource = to_wire(canonical, ids, wanted.deployment)
    resource = {"resourceType": resource.pop("resourceType"), "id": known.resource_id} | resource
    return {"fullUrl": f"{base}/{place}", "resource": resource, "request": {"method": "PUT", "url": place, **version}}


def _provenance(wanted: Wanted, steps: Sequence[Step], targets: Sequence[str], recorded: float) -> Resource:
    code = push_code(steps)
    resource = to_wire(provenance(wanted, steps, targets, recorded), {}, wanted.deployment)
    request = {"method": "POST", "url": "Provenance", "ifNoneExist": condition("_tag", PUSH, code)}
    # 32 hexadecimal digits, as a UUID has them.
    name = f"{code[:8]}-{code[8:12]}-8{code[13:16]}-a{code[17:20]}-{code[20:]}"
    return {"fullUrl": URN + name, "resource": resource, "request": request}


@dataclass(frozen=True)
class Answers:
    """A reply: its entries by the identity of the resource that they hold, the version of each Type/id that it names, and what
    failed. Nothing is told by an entry's place: servers merge entries and leave some out."""

    held: dict[str, Resource]
    versions: dict[str, str]
    failed: list[Issue]


def answers(reply: Resource, system: str) -> Answers:
    """What a server says became of a transaction. Raises ServerUnavailable where it answers no transaction."""
    entries, kind = reply.get("entry"), str(reply.get("type"))
    if reply.get("resourceType") != "Bundle" or not kind.endswith("-response") or not isinstance(entries, list):
        text, fix = "the server did not answer the transaction with a Bundle of responses", "see whether this is a FHIR server"
        raise ServerUnavailable([Issue("error", "structure", "sync-reply", text, fix=fix)], sent=True)
    held = {identity: entry for entry in entries if (identity := _identity(entry, system))}
    return Answers(held, dict(filter(None, map(_version, entries))), list(_failures(entries)))


def _version(entry: Any) -> tuple[str, str] | None:
    """Type/id and version, by the location of a response."""
    response = entry.get("response") if isinstance(entry, dict) else None
    found = _LOCATION.search(str(response.get("location", ""))) if isinstance(response, dict) else None
    return (found[1], found[2]) if found else None


def silent(held: Mapping[str, Resource], steps: Sequence[Step], known: Mapping[str, Known]) -> list[Step]:
    """The steps of which a reply said nothing: their resources have to be looked for."""
    return [step for step in steps if step.identity not in held and _remains(step, known)]


def judge(said: Answers, wanted: Wanted, steps: Sequence[Step], known: Mapping[str, Known], base: str) -> Written:
    """What became of each resource, by the entries that answer for it. A step of which nothing is known is left out."""
    held = said.held
    names = {f"{one.resource_type}/{one.resource_id}": identity for identity, one in known.items() if not one.gone}
    names |= {reference_to(entry["resource"]): identity for identity, entry in held.items()}
    found: dict[str, Known] = {}
    created: set[str] = set()
    issues: list[Issue] = []
    for step in steps:
        entry = held.get(step.identity)
        if not _remains(step, known):
            # Where something failed, nobody says that it was not this.
            found |= {} if said.failed else {step.identity: replace(known[step.identity], gone=True, current=None)}
        elif entry is not None and _is_ours(step, entry, wanted, known, names, said, base):
            found[step.identity], more = _stored(step, entry, wanted, known, names, base)
            issues += more
            created.update([step.identity] if _status(entry) == 201 and step.action == "create" else [])
    return Written(found, frozenset(created), issues)


def _is_ours(
    step: Step,
    entry: Resource,
    wanted: Wanted,
    known: Mapping[str, Known],
    names: Mapping[str, str],
    said: Answers,
    base: str,
) -> bool:
    """Whether the entry shows what our request has made.

    One that had to be looked for may be older, or someone's edit since: it is ours if the reply named its version, or it says
    what we sent.
    """
    if "response" in entry or step.action == "create":
        return True
    raw = entry["resource"]
    sent = _taken_back(known[step.identity]) if step.action == "retire" else wanted.resources[step.identity]
    is_as_sent = sent is not None and digest_of_wire(raw, names, base) == digest_of(sent)
    return is_as_sent or said.versions.get(reference_to(raw)) == raw.get("meta", {}).get("versionId", "")


def _stored(
    step: Step, entry: Resource, wanted: Wanted, known: Mapping[str, Known], names: Mapping[str, str], base: str
) -> tuple[Known, list[Issue]]:
    raw = entry["resource"]
    digest = digest_of_wire(raw, names, base)
    meta = raw.get("meta", {})
    now = Known(raw["resourceType"], str(raw["id"]), str(meta.get("versionId", "")), str(meta.get("lastUpdated", "")))
    if step.action == "create" and _status(entry) != 201:
        # It was there already, and the server has left it as it was: http://hl7.org/fhir/R4/http.html#ccreate
        if digest == step.digest:
            return replace(now, wanted=digest, stored=digest), []
        return replace(now, current=from_wire(raw, names, base)), []
    sent = _taken_back(known[step.identity]) if step.action == "retire" else wanted.resources[step.identity]
    assert sent is not None
    now = replace(now, wanted=digest_of(sent), stored=digest, retired=step.action == "retire")
    return now, [] if now.wanted == digest else list(altered(sent, from_wire(raw, names, base)))


def altered(sent: Resource, stored: Resource) -> Iterator[Issue]:
    """What a server has made of a resource that it took: an error for what it dropped or changed, a note for what it added."""
    for found in differences(sent, stored):
        place = shown(f"{sent['resourceType']}.{found.place}")
        if found.kind == "added":
            yield Issue("information", "informational", "sync-added", "the server has added this element", expression=place)
        else:
            verb = "dropped" if found.kind == "removed" else "changed"
            text, fix = (
                f"the server has {verb} this element",
                "the server does not keep it: ask its operator, or do not send it",
            )
            yield Issue("error", "incomplete", f"sync-{verb}", text, fix=fix, expression=place)


def _failures(entries: Sequence[Any]) -> Iterator[Issue]:
    """Entries that failed in an answer that as a whole did not: a transaction that was carried out as a batch."""
    for index, entry in enumerate(entries):
        status = _status(entry)
        if status >= 300 or status < 200:
            text = f"the server did not store this entry: status {status or 'missing'}"
            fix = "the other entries were stored: mend this one, then push again"
            yield Issue("error", "processing", "sync-entry", text, fix=fix, expression=f"Bundle.entry[{index}]")


def _status(entry: Any) -> int:
    response = entry.get("response") if isinstance(entry, dict) else None
    status = str(response.get("status", "")) if isinstance(response, dict) else ""
    return int(status[:3]) if status[:3].isdecimal() else 0


def _identity(entry: Any, system: str) -> str | None:
    resource = entry.get("resource") if isinstance(entry, dict) else None
    if not isinstance(resource, dict) or not 200 <= _status(entry) < 300 or is_ours(resource) or "id" not in resource:
        return None
    return identity_of(resource, system)
