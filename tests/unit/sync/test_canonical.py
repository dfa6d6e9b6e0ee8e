"""The form in which resources are compared: examples. The laws are in tests/property/test_sync_laws.py."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from service.sync.canonical import DEPLOYMENT, digest_of, from_wire, identity_of, reference_to, references_in, to_wire

SYSTEM = "https://example.org/fhir/identity"
BASE = "https://fhir.example.org/r4"


@pytest.mark.parametrize(
    ("identifiers", "identity"),
    [
        ([{"system": SYSTEM, "value": "a"}], "a"),
        ([{"system": "urn:other", "value": "b"}, {"system": SYSTEM, "value": "a"}, {"system": SYSTEM, "value": "c"}], "a"),
        ([{"system": SYSTEM}, {"system": SYSTEM, "value": 7}, {"system": SYSTEM, "value": "a"}], "a"),
        ([{"value": "a"}], None),
        ([], None),
        (None, None),
        ({"system": SYSTEM, "value": "a"}, None),
        (["a"], None),
        ("a", None),
    ],
)
def test_the_identity_is_the_first_identifier_of_our_system(identifiers: Any, identity: str | None) -> None:
    assert identity_of({"resourceType": "Patient", "identifier": identifiers}, SYSTEM) == identity
    assert identity_of({"resourceType": "Patient"}, SYSTEM) is None


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Decimal("1.50"), Decimal("1.5")),
        (Decimal("1.0"), 1),
        (1, True),
        (0, False),
        (0, None),
        (1, "1"),
        ("é", "e\u0301"),
        ([1, 2], [2, 1]),
        ([], None),
        ({}, None),
    ],
)
def test_what_differs_in_json_has_another_digest(one: Any, other: Any) -> None:
    assert digest_of({"a": one}) != digest_of({"a": other})
    assert digest_of({"a": one}) != digest_of({})


def test_a_resource_on_the_wire() -> None:
    resource = {
        "gender": "female",
        "resourceType": "Patient",
        "meta": {"profile": ["https://example.org/p"], "tag": [{"code": "mine"}]},
        "link": [{"other": {"reference": "urn:uuid:there"}}, {"other": {"reference": "urn:uuid:new"}}],
    }
    assert to_wire(resource, {"there": "Patient/7"}, "here") == {
        "resourceType": "Patient",
        "meta": {"profile": ["https://example.org/p"], "tag": [{"code": "mine"}, {"system": DEPLOYMENT, "code": "here"}]},
        "gender": "female",
        "link": [{"other": {"reference": "Patient/7"}}, {"other": {"reference": "urn:uuid:new"}}],
    }


def test_a_stored_resource_without_what_its_server_added() -> None:
    stored = {
        "resourceType": "Observation",
        "id": "9",
        "meta": {
            "versionId": "3",
            "lastUpdated": "2026-01-02T03:04:05.678+00:00",
            "source": "#4Kx0aB",
            "tag": [{"system": DEPLOYMENT, "code": "here"}],
        },
        "subject": {"reference": f"{BASE}/Patient/7/_history/2"},
        "focus": [{"reference": "Patient/8"}, {"reference": "#inside"}],
        "contained": [{"resourceType": "Group", "id": "inside", "meta": {"versionId": "1"}}],
    }
    assert from_wire(stored, {"Patient/7": "p"}, BASE) == {
        "resourceType": "Observation",
        "subject": {"reference": "urn:uuid:p"},
        "focus": [{"reference": "Patient/8"}, {"reference": "#inside"}],
        "contained": [{"resourceType": "Group", "id": "inside", "meta": {"versionId": "1"}}],
    }


def test_the_tags_of_others_are_part_of_what_is_compared() -> None:
    tags = [
        {"system": DEPLOYMENT, "code": "here"},
        {"system": DEPLOYMENT, "code": "there"},
        {"system": "urn:other", "code": "x"},
    ]
    found = from_wire({"resourceType": "Patient", "id": "1", "meta": {"source": "urn:x#1", "tag": tags}}, {}, BASE)
    assert found == {"resourceType": "Patient", "meta": {"source": "urn:x", "tag": [{"system": "urn:other", "code": "x"}]}}


def test_what_a_resource_refers_to() -> None:
    resource = {
        "subject": {"reference": "urn:uuid:p"},
        "hasMember": [{"reference": "urn:uuid:a"}, {"reference": "Patient/7"}, {"display": "nobody"}],
        "extension": [
            {"valueReference": {"reference": "urn:uuid:a"}, "extension": [{"valueReference": {"reference": "urn:uuid:b"}}]}
        ],
        "note": [{"text": "urn:uuid:no"}],
    }
    assert references_in(resource) == {"p", "a", "b"}
    assert reference_to({"resourceType": "Patient", "id": "7"}) == "Patient/7"
    assert reference_to({"resourceType": "Patient"}) == "Patient/"
