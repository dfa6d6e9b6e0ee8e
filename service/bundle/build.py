"""Resources into a Bundle: a collection, or a transaction of conditional creates."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, get_args

from service.fhir.search import condition

BundleType = Literal["collection", "transaction"]
BUNDLE_TYPES: tuple[BundleType, ...] = get_args(BundleType)


def build_bundle(resources: Iterable[tuple[str, dict[str, Any]]], bundle_type: BundleType) -> dict[str, Any]:
    """A Bundle of (fullUrl, resource) pairs, in their order and without a timestamp: the same input is the same bytes.

    In a transaction each entry is created only if no resource has its identity yet, so that sending it twice adds nothing:
    http://hl7.org/fhir/R4/http.html#ccreate. A fullUrl is "urn:uuid:" and the identity, the resource's first identifier.
    """
    if bundle_type == "collection":
        entries = [{"fullUrl": url, "resource": resource} for url, resource in resources]
    else:
        entries = [{"fullUrl": url, "resource": resource, "request": _create(resource)} for url, resource in resources]
    return {"resourceType": "Bundle", "type": bundle_type, "entry": entries}


def _create(resource: dict[str, Any]) -> dict[str, str]:
    identity = resource["identifier"][0]
    return {
        "method": "POST",
        "url": resource["resourceType"],
        "ifNoneExist": condition("identifier", identity["system"], identity["value"]),
    }
