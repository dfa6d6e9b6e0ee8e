"""Codes: http://hl7.org/fhir/R4/terminologies.html#strength says what each strength of binding demands."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from service.fhir.structures import MAX_VALUE_SET
from service.validate.validator import load_validator
from tests.support.definitions import HOME, OBSERVATION, PATIENT, codes, core, element, found, package, profile, quantity, with_

MARITAL = "http://terminology.hl7.org/CodeSystem/v3-MaritalStatus"
BINDING = {"required": "val-binding", "extensible": "val-binding-extensible", "preferred": "val-binding-preferred"}


@pytest.mark.parametrize(
    ("member", "expected"),
    [
        ({"gender": "female"}, []),
        ({"gender": "Female"}, [("val-binding", "Patient.gender")]),  # codes are case sensitive unless their system says not
        ({"gender": "woman"}, [("val-binding", "Patient.gender")]),
        ({"maritalStatus": {"coding": [{"system": MARITAL, "code": "M", "display": "Married"}]}}, []),
        ({"maritalStatus": {"coding": [{"system": MARITAL, "code": "M", "display": "MARRIED"}]}}, []),
        # Coding.display: "a representation of the meaning of the code in the system"
        (
            {"maritalStatus": {"coding": [{"system": MARITAL, "code": "M", "display": "Widowed"}]}},
            [("val-display", "Patient.maritalStatus.coding[0].display")],
        ),
        # "applicable value sets SHALL be used if any of the codes within the value set can apply": a text may do.
        ({"maritalStatus": {"text": "m"}}, [("val-binding-extensible", "Patient.maritalStatus")]),
        # One coding of the value set is enough, whatever stands beside it.
        ({"maritalStatus": {"coding": [{"system": MARITAL, "code": "M"}, {"system": MARITAL, "code": "S"}]}}, []),
        # Coding.system is a URI, and of a code system.
        (
            {"contact": [{"name": {"text": "a"}, "relationship": [{"coding": [{"system": "roles", "code": "N"}]}]}]},
            [
                ("val-binding-extensible", "Patient.contact[0].relationship[0]"),
                ("val-code-system", "Patient.contact[0].relationship[0].coding[0].system"),
            ],
        ),
    ],
)
def test_codes_of_the_specification(member: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    assert sorted(found(PATIENT | member)) == sorted(expected)


def test_a_code_that_its_system_does_not_have() -> None:
    concept = {"coding": [{"system": MARITAL, "code": "married"}]}
    assert ("val-code", "Patient.maritalStatus.coding[0].code") in found(PATIENT | {"maritalStatus": concept})


@pytest.mark.parametrize(
    ("coding", "is_system"),
    [
        ({"system": "http://hl7.org/fhir/ValueSet/administrative-gender", "code": "male"}, False),
        ({"system": "http://hl7.org/fhir/administrative-gender", "code": "male"}, True),
    ],
)
def test_a_value_set_is_no_code_system(coding: dict[str, Any], is_system: bool) -> None:
    rules = found(OBSERVATION | {"code": {"coding": [coding]}})
    assert (("val-code-system", "Observation.code.coding[0].system") in rules) is not is_system


@pytest.mark.parametrize(
    ("unit", "expected"),
    [
        (quantity("1", "mg/dL"), []),
        (quantity("1", "{cells}"), []),
        (quantity("1", "pills"), ["val-ucum"]),
        (quantity("1", "(" * 1000), ["val-ucum"]),
        ({"value": 1, "unit": "pills"}, []),  # a printed unit is free text
        ({"value": 1, "system": MARITAL, "code": "nope"}, ["val-code"]),
    ],
)
def test_the_unit_of_a_quantity(unit: dict[str, Any], expected: list[str]) -> None:
    assert [rule for rule, _ in found(OBSERVATION | {"valueQuantity": unit})] == expected


def test_content_that_is_not_here_is_told_once() -> None:
    coding = {"system": "http://snomed.info/sct", "code": "123456789"}
    resource = OBSERVATION | {"code": {"coding": [coding, coding]}, "method": {"coding": [coding]}}
    assert found(resource) == [("val-binding-unchecked", "Observation.code.coding[0].system")]


@pytest.mark.parametrize("strength", ["required", "extensible", "preferred", "example"])
@pytest.mark.parametrize(
    ("concept", "fits"),
    [
        ({"coding": [{"system": HOME + "colours", "code": "red"}]}, True),
        ({"coding": [{"system": HOME + "shapes", "code": "round"}, {"system": HOME + "colours", "code": "red"}]}, True),
        ({"coding": [{"system": HOME + "shapes", "code": "round"}]}, False),
        # "a code without a system has no defined meaning": datatypes.html#Coding
        ({"coding": [{"code": "red"}]}, False),
        ({"text": "red"}, None),
    ],
)
def test_a_binding_of_each_strength(tmp_path: Path, strength: str, concept: dict[str, Any], fits: bool | None) -> None:
    bound = element("Observation.code", binding={"strength": strength, "valueSet": f"{HOME}colours-set"})
    validator = with_(tmp_path, profile("x", "Observation", bound), *codes("colours", "red"), *codes("shapes", "round"))
    # Without any code a preferred binding has nothing to say.
    breaks = fits is False or (fits is None and strength in ("required", "extensible"))
    expected = [BINDING[strength]] if breaks and strength in BINDING else []
    assert [rule for rule, _ in found(OBSERVATION | {"code": concept}, validator, ["x"])] == expected


def test_an_outer_bound_is_required(tmp_path: Path) -> None:
    """http://hl7.org/fhir/R4/extension-elementdefinition-maxvalueset.html"""
    outer = {"url": MAX_VALUE_SET, "valueCanonical": f"{HOME}colours-set"}
    bound = element("Observation.code", binding={"strength": "preferred", "valueSet": f"{HOME}warm-set", "extension": [outer]})
    validator = with_(tmp_path, profile("x", "Observation", bound), *codes("colours", "red"), *codes("warm", "hot"))
    hot = OBSERVATION | {"code": {"coding": [{"system": HOME + "warm", "code": "hot"}]}}
    red = OBSERVATION | {"code": {"coding": [{"system": HOME + "colours", "code": "red"}]}}
    assert [rule for rule, _ in found(hot, validator, ["x"])] == ["val-binding"]
    assert [rule for rule, _ in found(red, validator, ["x"])] == ["val-binding-preferred"]


def test_a_supplement_is_no_code_system(tmp_path: Path) -> None:
    """CodeSystem.supplements: "the supplement is not the code system": codesystem.html#supplements"""
    more = {"resourceType": "CodeSystem", "url": HOME + "more", "content": "supplement", "supplements": HOME + "colours"}
    validator = with_(tmp_path, more, *codes("colours", "red"))
    code = {"coding": [{"system": HOME + "more", "code": "red"}]}
    assert found(OBSERVATION | {"code": code}, validator) == [("val-code-system", "Observation.code.coding[0].system")]


def test_value_sets_in_a_circle_come_to_an_end(tmp_path: Path) -> None:
    def drawing(name: str, other: str, code: str) -> dict[str, Any]:
        include = [{"valueSet": [HOME + other]}, {"system": HOME + "colours", "concept": [{"code": code}]}]
        return {"resourceType": "ValueSet", "url": HOME + name, "compose": {"include": include}}

    bound = element("Observation.code", binding={"strength": "required", "valueSet": HOME + "a"})
    circle = [drawing("a", "b", "red"), drawing("b", "a", "blue")]
    validator = with_(tmp_path, profile("x", "Observation", bound), *circle, *codes("colours", "red", "blue", "grey"))
    for code, expected in (("red", []), ("blue", []), ("grey", ["val-binding"])):
        resource = OBSERVATION | {"code": {"coding": [{"system": HOME + "colours", "code": code}]}}
        assert [rule for rule, _ in found(resource, validator, ["x"])] == expected


def test_a_package_of_ones_own_brings_the_codes(tmp_path: Path) -> None:
    own = load_validator(terminology=[package(tmp_path / "own", *codes("colours", "red"))])
    resource = OBSERVATION | {"code": {"coding": [{"system": HOME + "colours", "code": "green"}]}}
    assert [rule for rule, _ in found(resource, core())] == ["val-binding-unchecked"]
    assert [rule for rule, _ in found(resource, own)] == ["val-code"]
