"""Bundles: http://hl7.org/fhir/R4/bundle.html and the page of each of their types."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.definitions import HOME, PATIENT, bundle, found

JANE = PATIENT | {"id": "jane"}
URN = "urn:uuid:6f1c2d7e-0c3a-4b1e-9a53-0d6f7f5d9c11"


@pytest.mark.parametrize(
    ("entry", "rule"),
    [
        ({"fullUrl": HOME + "Patient/jane", "resource": JANE}, None),
        ({"fullUrl": URN, "resource": PATIENT}, None),
        # bundle.html#bundle-unique: "fullUrl … must be an absolute URL", and agrees with the id where it is RESTful
        ({"resource": JANE}, "val-bundle-full-url"),
        ({"fullUrl": "Patient/jane", "resource": JANE}, "val-bundle-full-url"),
        ({"fullUrl": HOME + "Patient/john", "resource": JANE}, "val-bundle-full-url"),
        ({"fullUrl": HOME + "Person/jane", "resource": JANE}, "val-bundle-full-url"),
        ({"fullUrl": HOME + "Patient/jane", "resource": PATIENT}, "val-bundle-full-url"),
        ({"fullUrl": HOME + "Patient/jane/_history/1", "resource": JANE}, "bdl-8"),
    ],
)
def test_the_full_url_of_an_entry(entry: dict[str, Any], rule: str | None) -> None:
    rules = [rule for rule, _ in found({"resourceType": "Bundle", "type": "collection", "entry": [entry]})]
    assert rule in rules if rule else rules == []


@pytest.mark.parametrize("type_", ["transaction", "batch"])
def test_an_entry_without_an_identity_yet_needs_no_full_url(type_: str) -> None:
    entry = {"resource": PATIENT, "request": {"method": "POST", "url": "Patient"}}
    assert found({"resourceType": "Bundle", "type": type_, "entry": [entry]}) == []


@pytest.mark.parametrize(
    ("type_", "versions", "is_allowed"),
    [
        # bdl-7: "FullUrl must be unique in a bundle, or else entries with same fullUrl must have different meta.versionId"
        ("collection", (None, None), False),
        ("collection", ("1", "1"), False),
        ("collection", ("1", "2"), True),
        ("collection", (None, "1"), True),
        ("history", ("1", "1"), True),  # bdl-7 leaves histories out
    ],
)
def test_entries_differ_by_full_url_or_version(type_: str, versions: tuple[str | None, ...], is_allowed: bool) -> None:
    resources = [JANE | ({"meta": {"versionId": version}} if version else {}) for version in versions]
    rules = [rule for rule, _ in found(bundle(*resources, type_=type_))]
    assert ("val-bundle-duplicate" not in rules) is is_allowed


@pytest.mark.parametrize(("type_", "entries"), [("document", []), ("message", []), ("document", [JANE]), ("message", [JANE])])
def test_a_document_or_message_begins_with_its_head(type_: str, entries: list[Any]) -> None:
    """documents.html: "the first resource is the Composition"; messaging.html: "… a MessageHeader" """
    assert "val-bundle-first" in [rule for rule, _ in found(bundle(*entries, type_=type_))]


def document(**composition: Any) -> dict[str, Any]:
    head = {
        "resourceType": "Composition",
        "id": "c",
        "status": "final",
        "type": {"text": "a letter"},
        "date": "2020",
        "author": [{"reference": "Patient/jane"}],
        "title": "A letter",
    }
    more = {"identifier": {"system": HOME, "value": "1"}, "timestamp": "2020-01-01T00:00:00Z"}
    return bundle(head | composition, JANE, type_="document", **more)


def test_a_document_that_is_right() -> None:
    assert found(document()) == []


@pytest.mark.parametrize(
    ("composition", "place"),
    [
        ({"subject": {"reference": "Patient/john"}}, "subject"),
        ({"author": [{"reference": "Patient/jane"}, {"reference": "Patient/john"}]}, "author[1]"),
        ({"attester": [{"mode": "legal", "party": {"reference": "Patient/john"}}]}, "attester[0].party"),
        ({"section": [{"entry": [{"reference": "Patient/john"}]}]}, "section[0].entry[0]"),
        ({"section": [{"section": [{"entry": [{"reference": "Patient/john"}]}]}]}, "section[0].section[0].entry[0]"),
    ],
)
def test_what_the_composition_refers_to_is_in_the_document(composition: dict[str, Any], place: str) -> None:
    """http://hl7.org/fhir/R4/documents.html#content"""
    expected = ("val-reference-bundle", f"Bundle.entry[0].resource.{place}.reference")
    assert expected in found(document(**composition))


SELF = {"relation": "self", "url": HOME + "Patient"}


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, []),
        ({"link": []}, ["val-empty", "val-bundle-search"]),
        ({"link": [{"relation": "next", "url": HOME}]}, ["val-bundle-search"]),
        ({"link": [SELF, SELF]}, ["val-bundle-link"]),
        ({"link": [SELF, {"relation": "next", "url": HOME}, {"relation": "next", "url": HOME}]}, ["val-bundle-link"]),
        ({"link": [SELF, {"relation": "alternate", "url": HOME}, {"relation": "alternate", "url": HOME}]}, []),
        ({"entry": [{"fullUrl": URN, "resource": PATIENT}]}, ["val-bundle-search"]),
        ({"entry": [{"fullUrl": URN, "search": {"mode": "match"}}]}, ["bdl-5", "val-bundle-search"]),
    ],
)
def test_a_search_set_says_what_was_searched_for(changed: dict[str, Any], expected: list[str]) -> None:
    """http://hl7.org/fhir/R4/bundle.html#searchset"""
    told = found(bundle(JANE, type_="searchset", link=[SELF]) | changed)
    assert sorted(rule for rule, _ in told) == sorted(expected)


@pytest.mark.parametrize("type_", [None, 1, [], {}, "nonsense"])
def test_a_type_that_is_none_is_no_obstacle(type_: Any) -> None:
    assert found(bundle(JANE) | {"type": type_})
