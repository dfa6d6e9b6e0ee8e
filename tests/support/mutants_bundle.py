"""Mutators that break the rules of bundles, of each type that a bundle can have."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from random import Random
from typing import Any, Final

from tests.support.elements import Json, Mutator, pick

# Changes a bundle in place; False where it is none that can be changed so.
Change = Callable[[Json, Random], bool]

_REQUEST: Final = {"method": "PUT", "url": "Basic/1"}
_RESPONSE: Final = {"status": "200", "lastModified": "2021-01-01T10:00:00Z", "etag": 'W/"1"'}
_UUID: Final = "urn:uuid:0a4fd6a1-6b8b-4f9e-9d8d-7e3c2b1a0f{:02x}"


def bundle(change: Change, kind: str = "") -> Mutator:
    """A change to a bundle of a type, the type that it has or one that it is made to have."""

    def mutate(resource: Json, random: Random) -> Json | None:
        if resource["resourceType"] != "Bundle" or not resource.get("entry"):
            return None
        if kind and resource["type"] != kind and not _turn_into(resource, kind):
            return None
        return resource if change(resource, random) else None

    return mutate


def _turn_into(resource: Json, kind: str) -> bool:
    """Another type of the same entries, valid as before; only what is transaction or collection can be turned."""
    if resource["type"] not in ("transaction", "collection") or kind in ("document", "message"):
        return False
    if any("?" in each["reference"] for each in _references(resource)):  # conditional: in transactions alone
        return False
    resource["type"] = kind
    resource.pop("total", None)
    for entry in resource["entry"]:
        for name in ("request", "response", "search"):
            entry.pop(name, None)
        if "resource" not in entry or "Bundle" in entry["resource"]["resourceType"]:
            return False
        if kind in ("transaction", "batch", "history"):
            kept = entry["resource"]["resourceType"]
            entry["request"] = {"method": "POST", "url": kept}
        if kind in ("transaction-response", "batch-response", "history"):
            entry["response"] = dict(_RESPONSE)
    return True


def put(**members: Any) -> Change:
    """Members of the bundle itself; None takes one away."""

    def change(resource: Json, _: Random) -> bool:
        for name, value in deepcopy(members).items():
            if value is None:
                resource.pop(name, None)
            else:
                resource[name] = value
        return True

    return change


def entry(**members: Any) -> Change:
    """Members of one entry; None takes one away."""

    def change(resource: Json, random: Random) -> bool:
        chosen = random.choice([each for each in resource["entry"] if "resource" in each] or resource["entry"])
        return put(**members)(chosen, random)

    return change


def part(name: str, **members: Any) -> Change:
    """Members of the `request`, `response` or `search` of one entry."""

    def change(resource: Json, random: Random) -> bool:
        chosen = random.choice(resource["entry"])
        return name in chosen and put(**members)(chosen[name], random)

    return change


def same_full_url(resource: Json, random: Random) -> bool:
    entries = [each for each in resource["entry"] if "fullUrl" in each and "resource" in each]
    if len(entries) < 2:
        return False
    first, second = random.sample(entries, 2)
    second["fullUrl"] = first["fullUrl"]
    return True


def other_id(resource: Json, random: Random) -> bool:
    web = [each for each in resource["entry"] if str(each.get("fullUrl", "")).startswith("http") and "resource" in each]
    chosen = pick(random, web)
    if chosen is None:
        return False
    chosen["resource"]["id"] = "other-id"
    return True


def resource_in_entry(**members: Any) -> Change:
    """Members of the resource in one entry."""

    def change(resource: Json, random: Random) -> bool:
        chosen = pick(random, [each for each in resource["entry"] if "resource" in each])
        return chosen is not None and put(**members)(chosen["resource"], random)

    return change


def first_entry_last(resource: Json, _: Random) -> bool:
    resource["entry"].append(resource["entry"].pop(0))
    return len(resource["entry"]) > 1


def _references(node: Any) -> list[Json]:
    if isinstance(node, list):
        return [found for item in node for found in _references(item)]
    if not isinstance(node, dict):
        return []
    here = [node] if isinstance(node.get("reference"), str) else []
    return here + [found for item in node.values() for found in _references(item)]


def dangling(resource: Json, random: Random) -> bool:
    """A urn:uuid that no entry has."""
    chosen = pick(random, [each for each in _references(resource) if each["reference"].startswith("urn:uuid:")])
    if chosen is not None:
        chosen["reference"] = _UUID.format(255)
    return chosen is not None


def to_wrong_entry(resource: Json, random: Random) -> bool:
    """A subject that is there, but no subject."""
    urls = [each["fullUrl"] for each in resource["entry"] if each.get("resource", {}).get("resourceType") == "Claim"]
    holders = [each["resource"] for each in resource["entry"] if "reference" in each.get("resource", {}).get("subject", {})]
    if not urls or not holders:
        return False
    random.choice(holders)["subject"] = {"reference": random.choice(urls)}
    return True


def linked_twice(resource: Json, _: Random) -> bool:
    resource["link"] = [
        {"relation": "self", "url": "http://example.org/a"},
        {"relation": "self", "url": "http://example.org/b"},
    ]
    return True


def outcome_mode(resource: Json, random: Random) -> bool:
    random.choice(resource["entry"])["search"] = {"mode": "outcome"}
    return True


BUNDLE: Final[dict[str, Mutator]] = {
    "bundle-type-unknown": bundle(put(type="collections")),
    "bundle-without-type": bundle(put(type=None)),
    "bdl-1-total": bundle(put(total=3), "collection"),
    "bdl-2-search": bundle(entry(search={"mode": "match"}), "collection"),
    "bdl-2-search-in-transaction": bundle(entry(search={"mode": "match"}), "transaction"),
    "bdl-3-request-missing": bundle(entry(request=None), "transaction"),
    "bdl-3-batch-request-missing": bundle(entry(request=None), "batch"),
    "bdl-3-history-request-missing": bundle(entry(request=None), "history"),
    "bdl-3-request-in-collection": bundle(entry(request=_REQUEST), "collection"),
    "bdl-3-request-in-search": bundle(entry(request=_REQUEST), "searchset"),
    "bdl-3-request-in-document": bundle(entry(request=_REQUEST), "document"),
    "bdl-4-response-in-collection": bundle(entry(response=_RESPONSE), "collection"),
    "bdl-4-response-in-transaction": bundle(entry(response=_RESPONSE), "transaction"),
    "bdl-4-response-missing": bundle(entry(response=None), "batch-response"),
    "bdl-4-transaction-response-missing": bundle(entry(response=None), "transaction-response"),
    "bdl-4-history-response-missing": bundle(entry(response=None), "history"),
    "bdl-5-entry-without-resource": bundle(entry(resource=None), "collection"),
    "bdl-7-full-url-twice": bundle(same_full_url),
    "bdl-8-full-url-versioned": bundle(entry(fullUrl="http://example.org/fhir/Patient/1/_history/2")),
    "bdl-9-document-without-identifier": bundle(put(identifier=None), "document"),
    "bdl-9-identifier-without-system": bundle(put(identifier={"value": "x"}), "document"),
    "bdl-10-document-without-time": bundle(put(timestamp=None), "document"),
    "bdl-11-document-without-composition": bundle(first_entry_last, "document"),
    "bdl-12-message-without-header": bundle(first_entry_last, "message"),
    "full-url-of-other-id": bundle(other_id),
    "full-url-relative": bundle(entry(fullUrl="Patient/1")),
    "full-url-bad-uuid": bundle(entry(fullUrl="urn:uuid:1234")),
    "full-url-as-list": bundle(entry(fullUrl=["http://example.org/fhir/Basic/1"])),
    "method-unknown": bundle(part("request", method="SEND"), "transaction"),
    "method-missing": bundle(part("request", method=None), "transaction"),
    "request-url-missing": bundle(part("request", url=None), "transaction"),
    "response-status-missing": bundle(part("response", status=None), "batch-response"),
    "link-without-url": bundle(put(link=[{"relation": "self"}])),
    "link-self-twice": bundle(linked_twice, "searchset"),
    "search-mode-unknown": bundle(entry(search={"mode": "best"}), "searchset"),
    "search-score-above-1": bundle(entry(search={"mode": "match", "score": 5}), "searchset"),
    "search-outcome-that-is-none": bundle(outcome_mode, "searchset"),
    "reference-dangling": bundle(dangling),
    "reference-to-wrong-entry": bundle(to_wrong_entry),
    "entry-as-object": bundle(put(entry={"resource": {"resourceType": "Basic", "code": {"text": "x"}}})),
    "entry-empty": bundle(put(entry=[])),
    "entry-resource-without-type": bundle(entry(resource={"id": "a"})),
    "entry-resource-of-unknown-type": bundle(entry(resource={"resourceType": "Patienz", "id": "a"})),
    "entry-resource-with-unknown-element": bundle(resource_in_entry(unknownElement="x")),
    "entry-resource-with-bad-id": bundle(resource_in_entry(id="a b")),
    "entry-resource-with-bad-meta": bundle(resource_in_entry(meta={"lastUpdated": "2021"})),
}
