"""References: http://hl7.org/fhir/R4/references.html for their form, …/bundle.html#references in Bundles."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.definitions import HOME, OBSERVATION, PATIENT, bundle, found

JANE = PATIENT | {"id": "jane"}


def subject(reference: str, **more: Any) -> dict[str, Any]:
    return OBSERVATION | {"id": "o", "subject": {"reference": reference, **more}}


# Observation.subject: Reference(Patient | Group | Device | Location)
@pytest.mark.parametrize(
    ("reference", "rules"),
    [
        ("Patient/jane", []),
        ("Patient/jane/_history/2", []),
        ("https://example.org/fhir/Patient/jane", []),
        ("http://example.org/anything?at=all", []),
        ("urn:uuid:6f1c2d7e-0c3a-4b1e-9a53-0d6f7f5d9c11", []),  # alone, it may lead out of what is at hand
        ("Practitioner/p", ["val-reference-target"]),
        ("https://example.org/fhir/Practitioner/p", ["val-reference-target"]),
        ("Patienz/jane", ["val-reference"]),
        ("Patient/", ["val-reference"]),
        ("jane", ["val-reference"]),
        ("Patient/a b", ["val-reference"]),
        ("fhir/Patient/jane", ["val-reference"]),
        ("#nobody", ["val-reference-contained"]),
        ("Patient?identifier=1", []),  # alone, it may be meant for a transaction
        ("", ["val-format"]),
    ],
)
def test_the_form_of_a_reference(reference: str, rules: list[str]) -> None:
    told = [rule for rule, place in found(subject(reference)) if place.startswith("Observation.subject")]
    assert told == rules


@pytest.mark.parametrize(
    ("more", "rules"),
    [
        ({"type": "Patient"}, []),
        ({"type": "Group"}, ["val-reference-type"]),  # "if both are there, the type SHALL be that of the target"
    ],
)
def test_the_stated_type_is_that_of_the_target(more: dict[str, Any], rules: list[str]) -> None:
    assert [rule for rule, _ in found(subject("Patient/jane", **more))] == rules


def test_a_type_without_a_reference_is_held_to_what_is_allowed() -> None:
    told = found(OBSERVATION | {"subject": {"type": "Practitioner", "display": "A"}})
    assert told == [("val-reference-target", "Observation.subject.type")]


def test_any_resource_may_be_the_target_of_some_references() -> None:
    assert found(OBSERVATION | {"focus": [{"reference": "Basic/a"}]}) == []


def test_a_contained_resource_is_known_by_its_own_type() -> None:
    clinic = {"resourceType": "Organization", "id": "c", "name": "A"}
    told = found(OBSERVATION | {"contained": [clinic], "subject": {"reference": "#c"}})
    assert told == [("val-reference-target", "Observation.subject")]


def test_an_entry_refers_to_another() -> None:
    assert found(bundle(JANE, subject("Patient/jane"))) == []
    assert found(bundle(JANE, subject(HOME + "Patient/jane"))) == []


@pytest.mark.parametrize("urn", ["urn:uuid:6f1c2d7e-0c3a-4b1e-9a53-0d6f7f5d9c11", "urn:oid:1.2.3.4"])
def test_a_urn_leads_to_an_entry_or_nowhere(urn: str) -> None:
    without = bundle(subject(urn))
    assert ("val-reference-bundle", "Bundle.entry[0].resource.subject.reference") in found(without)
    within = without | {"entry": [*without["entry"], {"fullUrl": urn, "resource": JANE}]}
    assert "val-reference-bundle" not in [rule for rule, _ in found(within)]


def test_what_is_found_in_the_bundle_tells_its_type() -> None:
    urn = "urn:uuid:6f1c2d7e-0c3a-4b1e-9a53-0d6f7f5d9c11"
    both = bundle(subject(urn))
    both["entry"].append({"fullUrl": urn, "resource": {"resourceType": "Organization", "name": "A"}})
    assert ("val-reference-target", "Bundle.entry[0].resource.subject") in found(both)


def test_a_relative_reference_is_resolved_on_the_base_of_its_entry() -> None:
    """bundle.html#references: "using the base of the fullUrl", so another server's Patient/jane is not meant."""
    elsewhere = {"fullUrl": "http://elsewhere.org/Patient/jane", "resource": JANE | {"contact": [{}]}}
    told = found(bundle(subject("Patient/jane")) | {"entry": [*bundle(subject("Patient/jane"))["entry"], elsewhere]})
    assert {place for _, place in told} == {"Bundle.entry[1].resource.contact[0]"}


def test_several_versions_make_a_reference_ambiguous() -> None:
    """bundle.html#references: "if multiple matches are found, it is ambiguous which is correct"."""
    old, new = (JANE | {"meta": {"versionId": version}} for version in ("1", "2"))
    told = found(bundle(old, new, subject("Patient/jane")))
    assert told == [("val-reference-bundle", "Bundle.entry[2].resource.subject.reference")]
    assert found(bundle(old, new, subject("Patient/jane/_history/2"))) == []


def test_a_conditional_reference_stands_in_what_a_server_is_asked() -> None:
    entry = {"fullUrl": "urn:oid:1.2.3", "resource": subject("Patient?identifier=1")}
    asked = entry | {"request": {"method": "POST", "url": "Observation"}}
    assert found({"resourceType": "Bundle", "type": "transaction", "entry": [asked]}) == []
    assert found({"resourceType": "Bundle", "type": "batch", "entry": [asked]}) == []
    told = found({"resourceType": "Bundle", "type": "collection", "entry": [entry]})
    assert told == [("val-reference", "Bundle.entry[0].resource.subject.reference")]


def test_a_long_reference_is_no_burden() -> None:
    assert [rule for rule, _ in found(subject("/a" * 500_000))] == ["val-reference"]
