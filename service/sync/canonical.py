"""A resource as we mean it and as a server holds it: the one form in which the two are compared.

In the canonical form references to resources of the case are `urn:uuid:` and the identity, and what a server adds by itself
(id, version, the time of its change, the tag of this deployment) is left out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from service.sync.server import Resource

URN = "urn:uuid:"
# One tag for all that a deployment writes: by it the deployment finds its own again. It says nothing about a patient.
DEPLOYMENT = "https://casebridge.dev/fhir/CodeSystem/deployment"

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


def digest_of(resource: Resource) -> str:
    """A digest of a canonical resource: equal for equal content, in whatever order its properties stand; 1.50 is not 1.5."""
    return hashlib.blake2b(_encode(resource), digest_size=16).hexdigest()


def to_wire(resource: Resource, known: Mapping[str, str], deployment: str) -> Resource:
    """A canonical resource as it is sent: with the deployment's tag, and Type/id for the identities that are `known`."""

    def named(reference: str) -> str:
        return known.get(reference.removeprefix(URN), reference)

    out: Resource = _with_references(resource, named)
    meta = dict(out.get("meta", {}))
    meta["tag"] = [*meta.get("tag", ()), {"system": DEPLOYMENT, "code": deployment}]
    # meta after resourceType, where readers expect it
    return {"resourceType": out["resourceType"], "meta": meta} | {
        k: v for k, v in out.items() if k not in ("resourceType", "meta")
    }


def from_wire(resource: Resource, identities: Mapping[str, str], base: str) -> Resource:
    """A stored resource in canonical form; `identities`: Type/id → identity of what belongs to the case."""

    def named(reference: str) -> str:
        local = reference.removeprefix(base + "/").partition("/_history/")[0]
        return URN + identities[local] if local in identities else reference

    out = _with_references(resource, named)
    out.pop("id", None)
    meta = {name: value for name, value in out.pop("meta", {}).items() if name not in ("versionId", "lastUpdated")}
    if isinstance(meta.get("source"), str):
        # HAPI appends "#" and the id of the request that wrote the version.
        meta["source"] = meta["source"].partition("#")[0]
    if "tag" in meta:
        meta["tag"] = [tag for tag in meta["tag"] if tag.get("system") != DEPLOYMENT]
    meta = {name: value for name, value in meta.items() if value not in ([], "")}
    return out | ({"meta": meta} if meta else {})


def references_in(resource: Resource) -> set[str]:
    """The identities that a canonical resource refers to."""
    found: set[str] = set()

    def note(reference: str) -> str:
        if reference.startswith(URN):
            found.add(reference.removeprefix(URN))
        return reference

    _with_references(resource, note)
    return found


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
