"""A resource as we mean it and as a server holds it: the one form in which the two are compared.

In the canonical form references to resources of the case are `urn:uuid:` and the identity, and what a server adds by itself
(id, version, the time of its change, the tag of this deployment) is left out.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from service.sync.server import Resource

URN = "urn:uuid:"
# One tag for all that a deployment writes: by it the deployment finds its own again. It says nothing about a patient.
DEPLOYMENT = "https://casebridge.dev/fhir/CodeSystem/deployment"

_BEGINNING = datetime.min.replace(tzinfo=UTC)
# Where readers expect these two.
_HEAD = ("resourceType", "meta")
_REFERENCE = re.compile(rb'"reference":"([^"\\]*)"')
_encode = msgspec.json.Encoder(decimal_format="number", order="sorted").encode


def identity_of(resource: Resource, system: str) -> str | None:
    """The identity under which this system knows the resource: the value of its first identifier there, None without one."""
    identifiers = resource.get("identifier")
    for one in identifiers if isinstance(identifiers, list) else ():
        if isinstance(one, dict) and one.get("system") == system and isinstance(one.get("value"), str):
            return str(one["value"])
    return None


def reference_to(resource: Resource) -> str:
    return f"{resource['resourceType']}/{resource.get('id', '')}"


def instant(text: str) -> datetime:
    """A meta.lastUpdated; the beginning of all time for what is none, so that it counts as changed long ago."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return _BEGINNING
    return found if found.tzinfo else _BEGINNING


def digest_of(resource: Resource) -> str:
    """A digest of a canonical resource: equal for equal content, in whatever order its properties stand; 1.50 is not 1.5."""
    return _digest(_encode(resource))


def to_wire(resource: Resource, known: Mapping[str, str], deployment: str) -> Resource:
    """A canonical resource as it is sent: with the deployment's tag, and Type/id for the identities that are `known`."""

    def named(reference: str) -> str:
        return known.get(reference.removeprefix(URN), reference)

    # Of a case that is new nothing is known yet, and nothing needs to be copied.
    out = _with_references(resource, named) if known else resource
    meta = dict(out.get("meta", {}))
    meta["tag"] = [*meta.get("tag", ()), {"system": DEPLOYMENT, "code": deployment}]
    return {"resourceType": out["resourceType"], "meta": meta} | {name: out[name] for name in out if name not in _HEAD}


def from_wire(resource: Resource, identities: Mapping[str, str], base: str) -> Resource:
    """A stored resource in canonical form; `identities`: Type/id → identity of what belongs to the case."""
    return _with_references(_without_additions(resource), _namer(identities, base))


def digest_of_wire(resource: Resource, identities: Mapping[str, str], base: str) -> str:
    """The digest of `from_wire(...)`, by its text: most of what comes back is as it was sent, and that is seen sooner so."""
    named = _namer(identities, base)

    def renamed(found: re.Match[bytes]) -> bytes:
        return b'"reference":"' + named(found[1].decode()).encode() + b'"'

    # Within a string the quotes of this pattern would be escaped.
    return _digest(_REFERENCE.sub(renamed, _encode(_without_additions(resource))))


def references_in(resource: Resource) -> set[str]:
    """The identities that a canonical resource refers to."""
    found = (match[1].decode() for match in _REFERENCE.finditer(_encode(resource)))
    return {reference.removeprefix(URN) for reference in found if reference.startswith(URN)}


def _digest(text: bytes) -> str:
    return hashlib.blake2b(text, digest_size=16).hexdigest()


def _namer(identities: Mapping[str, str], base: str) -> Callable[[str], str]:
    def named(reference: str) -> str:
        local = reference.removeprefix(base + "/").partition("/_history/")[0]
        return URN + identities[local] if local in identities else reference

    return named


def _without_additions(resource: Resource) -> Resource:
    """A shallow copy without what a server adds by itself."""
    meta = {name: value for name, value in resource.get("meta", {}).items() if name not in ("versionId", "lastUpdated")}
    if isinstance(meta.get("source"), str):
        # HAPI appends "#" and the id of the request that wrote the version.
        meta["source"] = meta["source"].partition("#")[0]
    if "tag" in meta:
        meta["tag"] = [tag for tag in meta["tag"] if tag.get("system") != DEPLOYMENT]
    meta = {name: value for name, value in meta.items() if value not in ([], "")}
    out = {name: value for name, value in resource.items() if name not in ("id", "meta")}
    return out | ({"meta": meta} if meta else {})


def _with_references(value: Resource, named: Callable[[str], str]) -> Resource:
    """A copy in which every Reference.reference was asked about."""
    return {
        key: named(item) if key == "reference" and isinstance(item, str) else _copied(item, named)
        for key, item in value.items()
    }


def _copied(value: Any, named: Callable[[str], str]) -> Any:
    if isinstance(value, dict):
        return _with_references(value, named)
    return [_copied(item, named) for item in value] if isinstance(value, list) else value
