"""What a profile may say of an element: http://hl7.org/fhir/R4/profiling.html and elementdefinition.html, a clause each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.definitions import CORE, HOME, OBSERVATION, PATIENT, codes, element, found, profile, quantity, with_

CONTACT = {"gender": "male", "telecom": [{"system": "phone", "value": "1"}]}
ABSENT = {"extension": [{"url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason", "valueCode": "unknown"}]}
NAME = {"name": [{"family": "A", "given": ["B", "C"]}]}


@pytest.mark.parametrize(
    ("says", "resource", "expected"),
    [
        # min, max
        (element("Patient.name", min=1), PATIENT | NAME, []),
        (element("Patient.name", min=1), PATIENT, [("val-min", "Patient")]),
        (element("Patient.name", min=2), PATIENT | NAME, [("val-min", "Patient")]),
        (element("Patient.name", max="0"), PATIENT | NAME, [("val-max", "Patient")]),
        (element("Patient.name.given", max="1"), PATIENT | NAME, [("val-max", "Patient.name[0]")]),
        # What lies below an element that is not there is not asked for.
        (element("Patient.contact.name", min=1), PATIENT, []),
        (element("Patient.contact.name", min=1), PATIENT | {"contact": [CONTACT]}, [("val-min", "Patient.contact[0]")]),
        # An extension alone is a primitive's presence.
        (element("Patient.birthDate", min=1), PATIENT | {"_birthDate": ABSENT}, []),
        # Elements of a datatype, and of backbone elements
        (element("Patient.name.family", min=1), PATIENT | {"name": [{"text": "A"}]}, [("val-min", "Patient.name[0]")]),
        # fixed[x]: "exactly", pattern[x]: "at least"
        (element("Observation.code", fixedCodeableConcept={"text": "a test"}), OBSERVATION, []),
        (
            element("Observation.code", fixedCodeableConcept={"text": "A test"}),
            OBSERVATION,
            [("val-fixed", "Observation.code")],
        ),
        (element("Observation.code", patternCodeableConcept={"text": "a test"}), OBSERVATION, []),
        (
            element("Observation.code", patternCodeableConcept={"coding": [{"code": "a"}]}),
            OBSERVATION,
            [("val-pattern", "Observation.code")],
        ),
        (element("Patient.active", fixedBoolean=True), PATIENT, []),  # it need not be there
        (element("Patient.active", fixedBoolean=False), PATIENT | {"active": False}, []),
        (element("Patient.active", fixedBoolean=False), PATIENT | {"active": True}, [("val-fixed", "Patient.active")]),
        # minValue[x], maxValue[x], inclusive
        (element("Patient.multipleBirth[x]", maxValueInteger=3), PATIENT | {"multipleBirthInteger": 3}, []),
        (
            element("Patient.multipleBirth[x]", maxValueInteger=3),
            PATIENT | {"multipleBirthInteger": 4},
            [("val-range", "Patient.multipleBirth")],
        ),
        (
            element("Patient.birthDate", minValueDate="2000-01-01"),
            PATIENT | {"birthDate": "1999-12-31"},
            [("val-range", "Patient.birthDate")],
        ),
        (
            element("Observation.value[x]", type=[{"code": "Quantity"}], maxValueQuantity={**quantity("1", "g"), "value": 1}),
            OBSERVATION | {"valueQuantity": quantity("1001")},
            [("val-range", "Observation.value")],
        ),
        # maxLength
        (element("Patient.name.family", maxLength=1), PATIENT | NAME, []),
        (
            element("Patient.name.family", maxLength=1),
            PATIENT | {"name": [{"family": "AB"}]},
            [("val-max-length", "Patient.name[0].family")],
        ),
        # type: fewer types of a choice, by its stem or by the name that tells the type
        (element("Observation.value[x]", type=[{"code": "Quantity"}]), OBSERVATION | {"valueQuantity": quantity("1")}, []),
        (
            element("Observation.value[x]", type=[{"code": "Quantity"}]),
            OBSERVATION | {"valueString": "a"},
            [("val-type-narrowed", "Observation.value")],
        ),
        (element("Observation.valueQuantity", min=1), OBSERVATION | {"valueQuantity": quantity("1")}, []),
        # a resource of one type
        (
            element("Bundle.entry.resource", type=[{"code": "Patient"}]),
            {
                "resourceType": "Bundle",
                "type": "collection",
                "entry": [{"fullUrl": "urn:oid:1.2.3", "resource": OBSERVATION}],
            },
            [("val-type-narrowed", "Bundle.entry[0].resource")],
        ),
        # targetProfile
        (
            element("Observation.subject", type=[{"code": "Reference", "targetProfile": [CORE + "Patient"]}]),
            OBSERVATION | {"subject": {"reference": "Group/g"}},
            [("val-reference-target", "Observation.subject")],
        ),
    ],
)
def test_a_profile_says_of_an_element(
    tmp_path: Path, says: dict[str, Any], resource: dict[str, Any], expected: list[tuple[str, str]]
) -> None:
    validator = with_(tmp_path, profile("x", str(resource["resourceType"]), says))
    assert found(resource, validator, ["x"]) == expected


@pytest.mark.parametrize(
    ("expression", "severity", "expected"),
    [
        ("name.exists()", "error", [("x-1", "Patient")]),
        ("name.exists()", "warning", [("x-1", "Patient")]),
        ("name.empty()", "error", []),
        ("name.(((", "error", [("val-invariant-unusable", "Patient")]),
        ("nothing('known')", "error", [("val-invariant-unusable", "Patient")]),
        ("name.single().exists() or true", "error", []),
    ],
)
def test_a_constraint_of_a_profile(tmp_path: Path, expression: str, severity: str, expected: list[Any]) -> None:
    said = {"key": "x-1", "severity": severity, "human": "as it should be", "expression": expression}
    validator = with_(tmp_path, profile("x", "Patient", element("Patient", constraint=[said])))
    assert found(PATIENT, validator, ["x"]) == expected


def test_a_constraint_on_an_element_is_told_there(tmp_path: Path) -> None:
    said = {"key": "x-1", "severity": "error", "human": "short", "expression": "family.length() < 2"}
    validator = with_(tmp_path, profile("x", "Patient", element("Patient.name", constraint=[said])))
    resource = PATIENT | {"name": [{"family": "A"}, {"family": "AB"}]}
    assert found(resource, validator, ["x"]) == [("x-1", "Patient.name[1]")]


def test_must_support_is_told_on_request(tmp_path: Path) -> None:
    """profiling.html#mustsupport: it binds systems, and makes no resource wrong."""
    validator = with_(tmp_path, profile("x", "Patient", element("Patient.name", mustSupport=True)))
    assert found(PATIENT, validator, ["x"]) == []
    assert found(PATIENT, validator, ["x"], must_support=True) == [("val-must-support", "Patient")]
    assert found(PATIENT | NAME, validator, ["x"], must_support=True) == []


def test_a_profile_on_a_profile_holds_both(tmp_path: Path) -> None:
    below = profile("below", "Patient", element("Patient.name", min=1))
    above = profile("above", "Patient", element("Patient.gender", min=1), baseDefinition=HOME + "below")
    told = found(PATIENT, with_(tmp_path, above, below), ["above"])
    assert told == [("val-min", "Patient"), ("val-min", "Patient")]


def test_a_profile_of_a_datatype_holds_where_an_element_names_it(tmp_path: Path) -> None:
    family = profile("family", "HumanName", element("HumanName.family", min=1), kind="complex-type")
    own = profile("x", "Patient", element("Patient.name", type=[{"code": "HumanName", "profile": [HOME + "family"]}]))
    told = found(PATIENT | {"name": [{"family": "A"}, {"text": "A"}]}, with_(tmp_path, own, family), ["x"])
    assert told == [("val-min", "Patient.name[1]")]


def test_of_several_profiles_a_value_meets_one(tmp_path: Path) -> None:
    """ElementDefinition.type.profile: "the instance must conform to at least one of the profiles"."""
    family = profile("family", "HumanName", element("HumanName.family", min=1), kind="complex-type")
    text = profile("text", "HumanName", element("HumanName.text", min=1), kind="complex-type")
    type_ = {"code": "HumanName", "profile": [HOME + "family", HOME + "text"]}
    validator = with_(tmp_path, profile("x", "Patient", element("Patient.name", type=[type_])), family, text)
    names = [{"family": "A"}, {"text": "A"}, {"given": ["A"]}]
    assert found(PATIENT | {"name": names}, validator, ["x"]) == [("val-profile-match", "Patient.name[2]")]


def test_a_profile_that_an_element_names_and_nobody_has(tmp_path: Path) -> None:
    own = profile("x", "Patient", element("Patient.name", type=[{"code": "HumanName", "profile": [HOME + "nowhere"]}]))
    assert found(PATIENT | NAME, with_(tmp_path, own), ["x"]) == [("val-profile-unknown", "Patient.name[0]")]


def test_a_binding_that_a_profile_adds(tmp_path: Path) -> None:
    bound = element("Patient.name.use", binding={"strength": "required", "valueSet": f"{HOME}uses-set"})
    system, _ = codes("uses", "official")
    all_ = {
        "resourceType": "ValueSet",
        "url": f"{HOME}uses-set",
        "compose": {"include": [{"system": "http://hl7.org/fhir/name-use", "concept": [{"code": "official"}]}]},
    }
    validator = with_(tmp_path, profile("x", "Patient", bound), system, all_)
    told = found(PATIENT | {"name": [{"use": "official", "text": "A"}, {"use": "old", "text": "A"}]}, validator, ["x"])
    assert told == [("val-binding", "Patient.name[1].use")]


# Profiles that their publisher has to mend ---------------------------------------------------------------------------


def snapshot(*elements: dict[str, Any]) -> dict[str, Any]:
    return {"snapshot": {"element": [element("Patient"), *elements]}}


@pytest.mark.parametrize(
    "broken",
    [
        {"baseDefinition": HOME + "x"},  # builds on itself
        {"baseDefinition": HOME + "y"},  # which builds on x
        {"baseDefinition": HOME + "nowhere"},
        {"baseDefinition": ""},
        {"differential": {"element": [element("Patient.nickname", min=1)]}},
        {"differential": {"element": [element("Observation.code", min=1)]}},
        {"differential": {"element": [element("Patient..name", min=1)]}},
        {"differential": {"element": [element("Patient" + ".contact" * 60, min=1)]}},
        snapshot(element("Patient")),
        snapshot(element("elsewhere")),
    ],
)
def test_a_profile_that_cannot_be_used_is_told_and_the_rest_is_judged(tmp_path: Path, broken: dict[str, Any]) -> None:
    other = profile("y", "Patient", baseDefinition=HOME + "x")
    validator = with_(tmp_path, profile("x", "Patient") | broken, other)
    told = found(PATIENT | {"gender": "?"}, validator, ["x"])
    assert [rule for rule, _ in told] == ["val-profile-unusable", "val-binding"]


@pytest.mark.parametrize(
    "odd",
    [
        snapshot(element("Patient.nickname", min=1)),
        snapshot(element("Patient.name.nickname.short", min=1)),
        snapshot(element("Patient.deceasedBoolean", min=1)),
        snapshot(element("Patient.name", max="9" * 5000)),
        snapshot(element("Patient.name:", min=1), element("Patient.name:/", min=1)),
        snapshot(element("Patient.contact" + ".name" * 3000, min=1)),
        {"differential": {"element": [element("Patient.name", max="many")]}},
        {"differential": {"element": [element("Patient.name", type=[{"code": "Horse", "profile": [HOME + "horse"]}])]}},
        {"differential": {"element": [element("Patient.link", contentReference="#Patient.nowhere")]}},
        {"snapshot": {"element": []}, "differential": {"element": []}},
    ],
)
def test_odd_definitions_are_no_obstacle(tmp_path: Path, odd: dict[str, Any]) -> None:
    """What they mean nobody can tell; what R4 says of the resource holds all the same."""
    horse = profile("horse", "Horse", element("Horse.leg", min=4), kind="logical", baseDefinition=CORE + "Element")
    validator = with_(tmp_path, profile("x", "Patient") | odd, horse)
    assert ("val-binding", "Patient.gender") in found(PATIENT | NAME | {"gender": "?"}, validator, ["x"])


def test_the_types_of_r4_are_as_r4_has_them(tmp_path: Path) -> None:
    """A package that defines R4's own types anew changes no verdict."""
    fake = [profile("x", name, element(name), url=CORE + name) for name in ("Patient", "HumanName", "string")]
    assert found(PATIENT | NAME | {"gender": "?"}, with_(tmp_path, *fake)) == [("val-binding", "Patient.gender")]
