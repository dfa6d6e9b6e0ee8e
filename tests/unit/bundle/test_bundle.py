"""Bundles: collections and transactions out of resources, and resources out of whatever calls itself a Bundle."""

from __future__ import annotations

import re
from typing import Any, get_args
from urllib.parse import parse_qs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.bundle.build import BUNDLE_TYPES, BundleType, build_bundle
from service.bundle.read import read_bundle

SYSTEM = "https://casebridge.dev/fhir/identifier/resource"
IDENTITY = "0f14a75d-7007-8665-88a8-875248d70ca7"


def patient(system: str = SYSTEM, value: str = IDENTITY) -> dict[str, Any]:
    return {"resourceType": "Patient", "identifier": [{"system": system, "value": value}, {"system": "other", "value": "1"}]}


def test_a_collection_holds_the_pairs_in_their_order() -> None:
    pairs = [("urn:uuid:b", {"resourceType": "Observation"}), ("urn:uuid:a", {"resourceType": "Patient"})]
    assert build_bundle(pairs, "collection") == {
        "resourceType": "Bundle",
        "type": "collection",
        "entry": [{"fullUrl": url, "resource": resource} for url, resource in pairs],
    }


def test_a_transaction_creates_what_is_not_there() -> None:
    (entry,) = build_bundle([("urn:uuid:" + IDENTITY, patient())], "transaction")["entry"]
    assert entry["request"] == {
        "method": "POST",
        "url": "Patient",
        "ifNoneExist": f"identifier={SYSTEM}|{IDENTITY}",
    }


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20))
def test_a_condition_survives_the_query_string(rest: str) -> None:
    """Whatever stands in the system, the server decodes the very same: & = + # % | and non-ASCII are escaped."""
    system = "https://example.org/" + rest
    (entry,) = build_bundle([("urn:uuid:" + IDENTITY, patient(system))], "transaction")["entry"]
    condition = entry["request"]["ifNoneExist"]
    assert condition.isascii()
    escaped = re.sub(r"[\\,$|]", r"\\\g<0>", system)  # http://hl7.org/fhir/R4/search.html#escaping
    assert parse_qs(condition, strict_parsing=True) == {"identifier": [f"{escaped}|{IDENTITY}"]}


def test_a_comma_in_the_system_is_no_or() -> None:
    (entry,) = build_bundle([("urn:uuid:" + IDENTITY, patient("https://example.org/a,b$c"))], "transaction")["entry"]
    assert entry["request"]["ifNoneExist"] == rf"identifier=https://example.org/a%5C%2Cb%5C%24c|{IDENTITY}"


@pytest.mark.parametrize("bundle_type", BUNDLE_TYPES)
def test_the_same_resources_are_the_same_bundle(bundle_type: BundleType) -> None:
    pairs = [("urn:uuid:" + IDENTITY, patient())]
    assert build_bundle(pairs, bundle_type) == build_bundle(iter(pairs), bundle_type)
    assert "timestamp" not in build_bundle(pairs, bundle_type)


def test_the_types_are_named_once() -> None:
    assert set(BUNDLE_TYPES) == set(get_args(BundleType)) == {"collection", "transaction"}


# --- reading ----------------------------------------------------------------------------------------------------------


def of(*entries: Any, **more: Any) -> dict[str, Any]:
    return {"resourceType": "Bundle", "type": "searchset", "entry": list(entries), **more}


URL = "https://x.org/fhir/Patient/1"


@pytest.mark.parametrize(
    ("entry", "url", "names"),
    [
        ({"fullUrl": "urn:uuid:a", "resource": {"resourceType": "Patient"}}, "urn:uuid:a", ()),
        ({"fullUrl": "urn:uuid:a", "resource": {"resourceType": "Patient", "id": "1"}}, "urn:uuid:a", ()),
        ({"fullUrl": URL, "resource": {"resourceType": "Patient", "id": "1"}}, URL, ("Patient/1",)),
        ({"resource": {"resourceType": "Patient", "id": "1"}}, "Patient/1", ()),
        ({"fullUrl": URL, "resource": {"resourceType": "Patient"}}, URL, ()),
        ({"fullUrl": URL, "resource": {"resourceType": "Patient", "id": "2"}}, URL, ()),
        ({"fullUrl": 5, "resource": {"resourceType": "Patient", "id": 5}}, "", ()),
    ],
)
def test_the_names_that_references_use(entry: dict[str, Any], url: str, names: tuple[str, ...]) -> None:
    assert read_bundle(of(entry)) == ([(entry["resource"], url, "Bundle.entry[0].resource", names)], [])


GOOD = {"fullUrl": "urn:uuid:a", "resource": {"resourceType": "Patient"}}


@pytest.mark.parametrize(
    ("bundle", "where"),
    [
        ({"type": "history"}, "Bundle.type"),
        ({"type": "message"}, "Bundle.type"),
        ({"type": None}, "Bundle.type"),
        ({"implicitRules": "http://x.org/rules"}, "Bundle.implicitRules"),
        ({"entry": [{**GOOD, "request": {"method": "DELETE", "url": "Patient/1"}}]}, "Bundle.entry[0].request.method"),
        ({"entry": [{**GOOD, "request": "POST"}]}, "Bundle.entry[0].request.method"),
        ({"entry": [{**GOOD, "modifierExtension": [{"url": "http://x.org"}]}]}, "Bundle.entry[0].modifierExtension"),
    ],
)
def test_what_may_change_the_meaning_is_told(bundle: dict[str, Any], where: str) -> None:
    found, (issue,) = read_bundle({**of(GOOD), **bundle})
    assert len(found) == 1
    assert (issue.is_error, issue.expression) == (True, where)


@pytest.mark.parametrize("junk", [None, [], "Bundle", 5, {}, {"resourceType": "Patient"}, {"resourceType": ["Bundle"]}])
def test_no_bundle(junk: Any) -> None:
    found, (issue,) = read_bundle(junk)
    assert found == []
    assert (issue.rule, issue.expression) == ("bundle-expected", "$this")


@pytest.mark.parametrize("entries", [[], None, {}, "x"])
def test_no_entries(entries: Any) -> None:
    found, (issue,) = read_bundle({"resourceType": "Bundle", "entry": entries})
    assert found == []
    assert issue.rule == "bundle-empty"
    assert read_bundle({"resourceType": "Bundle"})[1][0].rule == "bundle-empty"


@pytest.mark.parametrize(
    "entry", [None, 1, "x", [], {}, {"resource": None}, {"resource": []}, {"resource": {"resourceType": 1}}]
)
def test_entries_without_a_resource(entry: Any) -> None:
    good = {"fullUrl": "urn:uuid:a", "resource": {"resourceType": "Patient"}}
    found, (issue,) = read_bundle(of(good, entry))
    assert [resource for resource, _url, _expression, _names in found] == [good["resource"]]
    assert (issue.rule, issue.expression) == ("bundle-entry", "Bundle.entry[1].resource")


@pytest.mark.parametrize("url", ["urn:uuid:a", None])
def test_two_entries_under_one_url(url: str | None) -> None:
    entry = {"fullUrl": url, "resource": {"resourceType": "Patient"}}
    _found, (issue,) = read_bundle(of(entry, entry))
    assert (issue.rule, issue.expression) == ("bundle-full-url", "Bundle.entry[1].resource")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.sampled_from(["Bundle", "Patient", "urn:uuid:a"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["resourceType", "entry", "resource", "fullUrl", "id"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(json_values)
def test_nothing_makes_it_raise(value: Any) -> None:
    for junk in (
        value,
        of(value),
        of({"fullUrl": "urn:uuid:a", "resource": value}),
        {"resourceType": "Bundle", "entry": value},
    ):
        found, issues = read_bundle(junk)
        assert found or issues
