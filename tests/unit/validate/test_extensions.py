"""Extensions: http://hl7.org/fhir/R4/extensibility.html, and what R4 says of each of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.definitions import CORE, HOME, OBSERVATION, PATIENT, element, found, profile, with_

ABSENT = {"url": CORE + "data-absent-reason", "valueCode": "unknown"}
BIRTH_PLACE = {"url": CORE + "patient-birthPlace", "valueAddress": {"city": "A"}}
CITIZEN = CORE + "patient-citizenship"
OF = {"coding": [{"system": "urn:iso:std:iso:3166", "code": "NP"}]}


@pytest.mark.parametrize(
    ("extension", "rule"),
    [
        (ABSENT, None),
        (BIRTH_PLACE, None),
        # ext-1: "must have either extensions or value[x], not both"
        ({"url": HOME + "x"}, "val-ext-1"),
        ({"url": HOME + "x", "valueString": "a", "extension": [{"url": "y", "valueString": "a"}]}, "val-ext-1"),
        # The URL is absolute, but within a complex extension, where its definition names the parts.
        ({"url": "x", "valueString": "a"}, "val-extension-url"),
        ({"url": "#x", "valueString": "a"}, "val-extension-url"),
        ({"url": CITIZEN, "extension": [{"url": "code", "valueCodeableConcept": OF}]}, None),
        ({"url": CITIZEN, "extension": [{"url": "country", "valueCodeableConcept": OF}]}, "val-extension-url"),
        ({"url": CITIZEN, "extension": [{"url": HOME + "x", "valueString": "a"}]}, None),
        # What the definition says of the value
        ({"url": CORE + "patient-birthPlace", "valueString": "A"}, "val-type-narrowed"),
        ({"url": CORE + "data-absent-reason", "valueCode": "forgotten"}, "val-binding"),
        ({"url": CITIZEN, "valueString": "NP"}, "val-max"),
        # "http://hl7.org/fhir" is HL7's to give
        ({"url": CORE + "no-such-extension", "valueString": "a"}, "val-extension-unknown"),
        # "the presence of an extension that is not known is no reason to refuse a resource"
        ({"url": HOME + "x", "valueString": "a"}, "val-extension-unchecked"),
        # A profile is no extension, nor is a type.
        ({"url": CORE + "Patient", "valueString": "a"}, "val-extension-unknown"),
    ],
)
def test_an_extension_by_itself(extension: dict[str, Any], rule: str | None) -> None:
    rules = {rule for rule, _ in found(PATIENT | {"extension": [extension]})}
    assert rule in rules if rule else rules == set()


def test_an_unknown_modifier_is_an_error() -> None:
    """extensibility.html#modifierExtension: who does not know it "SHALL refuse to process the resource"."""
    told = found(PATIENT | {"modifierExtension": [{"url": HOME + "x", "valueBoolean": True}]})
    assert told == [("val-extension-unknown", "Patient.modifierExtension[0].url")]


def test_an_unknown_extension_is_told_once() -> None:
    one = {"url": HOME + "x", "valueString": "a"}
    assert len(found(PATIENT | {"extension": [one, one], "name": [{"text": "a", "extension": [one]}]})) == 1


def test_modifiers_stand_where_modifiers_stand() -> None:
    told = found(PATIENT | {"modifierExtension": [BIRTH_PLACE]})
    assert told == [("val-extension-modifier", "Patient.modifierExtension[0]")]


@pytest.mark.parametrize(
    ("context", "resource", "is_allowed"),
    [
        ("Patient", PATIENT, True),
        ("Patient", OBSERVATION, False),
        ("DomainResource", PATIENT, True),
        ("Resource", PATIENT, True),
        ("Element", PATIENT, True),
        ("HumanName", PATIENT, False),
    ],
)
def test_the_context_of_an_extension_on_a_resource(tmp_path: Path, context: str, resource: Any, is_allowed: bool) -> None:
    told = found(resource | {"extension": [{"url": HOME + "x", "valueString": "a"}]}, with_(tmp_path, made_for(context)))
    assert told == ([] if is_allowed else [("val-extension-context", f"{resource['resourceType']}.extension[0]")])


@pytest.mark.parametrize(
    ("context", "is_allowed"),
    [
        ("Patient.name", True),
        ("HumanName", True),
        ("Element", True),
        (HOME + "anything#Patient.name", True),
        ("Patient", False),
        ("Patient.contact.name", False),
        ("Practitioner.name", False),
        ("HumanName.given", False),
    ],
)
def test_the_context_of_an_extension_on_an_element(tmp_path: Path, context: str, is_allowed: bool) -> None:
    name = {"text": "A", "extension": [{"url": HOME + "x", "valueString": "a"}]}
    told = found(PATIENT | {"name": [name]}, with_(tmp_path, made_for(context)))
    assert told == ([] if is_allowed else [("val-extension-context", "Patient.name[0].extension[0]")])


@pytest.mark.parametrize(
    ("context", "is_allowed"),
    [("Observation.value[x]", True), ("Quantity", True), ("Observation.component.value[x]", False), ("string", False)],
)
def test_the_context_of_an_extension_on_a_choice(tmp_path: Path, context: str, is_allowed: bool) -> None:
    value = {"value": 1, "extension": [{"url": HOME + "x", "valueString": "a"}]}
    told = found(OBSERVATION | {"valueQuantity": value}, with_(tmp_path, made_for(context)))
    assert told == ([] if is_allowed else [("val-extension-context", "Observation.value.extension[0]")])


def test_the_context_of_an_extension_on_a_primitive(tmp_path: Path) -> None:
    validator = with_(tmp_path, made_for("Patient.birthDate"))
    one = {"extension": [{"url": HOME + "x", "valueString": "a"}]}
    assert found(PATIENT | {"_birthDate": one}, validator) == []
    assert found(PATIENT | {"_active": one}, validator) == [("val-extension-context", "Patient.active.extension[0]")]


def test_an_extension_whose_part_is_itself_comes_to_an_end(tmp_path: Path) -> None:
    again = element("Extension.extension:again", type=[{"code": "Extension", "profile": [HOME + "x"]}])
    validator = with_(tmp_path, made_for("Element", again))
    nested: dict[str, Any] = {"url": HOME + "x", "valueString": "a"}
    for _ in range(15):
        nested = {"url": HOME + "x", "extension": [nested]}
    assert found(PATIENT | {"extension": [nested]}, validator) == []


def made_for(context: str, *elements: dict[str, Any]) -> dict[str, Any]:
    """The extension x, for this context."""
    return profile("x", "Extension", *elements, context=[{"type": "element", "expression": context}])
