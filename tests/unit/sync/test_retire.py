"""Facts that are taken back: for every type that a case may hold, the form says so in the words of R4, and stays valid."""

from __future__ import annotations

import copy
from functools import cache
from typing import Any

import pytest

from service.engine import Engine
from service.fhir import json
from service.fhir.definitions import Element, choice_name, load
from service.sync.retire import RETIRED, is_retired, retired
from service.sync.server import Resource
from service.validate.validator import Validator, load_validator

ERROR = "entered-in-error"
DEFINITIONS = load()
# Of http://hl7.org/fhir/R4/compartmentdefinition-patient.html those that have a parameter; Provenance is our own.
_COMPARTMENT = """
    Account AdverseEvent AllergyIntolerance Appointment AppointmentResponse AuditEvent Basic BodyStructure CarePlan CareTeam
    ChargeItem Claim ClaimResponse ClinicalImpression Communication CommunicationRequest Composition Condition Consent Coverage
    CoverageEligibilityRequest CoverageEligibilityResponse DetectedIssue DeviceRequest DeviceUseStatement DiagnosticReport
    DocumentManifest DocumentReference Encounter EnrollmentRequest EpisodeOfCare ExplanationOfBenefit FamilyMemberHistory Flag
    Goal Group ImagingStudy Immunization ImmunizationEvaluation ImmunizationRecommendation Invoice List MeasureReport Media
    MedicationAdministration MedicationDispense MedicationRequest MedicationStatement MolecularSequence NutritionOrder
    Observation Patient Person Procedure QuestionnaireResponse RelatedPerson RequestGroup ResearchSubject RiskAssessment
    Schedule ServiceRequest Specimen SupplyDelivery SupplyRequest VisionPrescription
"""
# They have no element that says so: these are deleted. A Patient is never taken back, for its case hangs on it.
_MUTE = """
    AdverseEvent AppointmentResponse AuditEvent Basic ImmunizationRecommendation MeasureReport MolecularSequence Patient
    ResearchSubject
"""
MUTE = _MUTE.split()
# The elements by which a type may say so.
SAYING = ("status", "verificationStatus", "lifecycleStatus")
SPEAKING = [name for name in _COMPARTMENT.split() if name not in MUTE]
# What invariants demand of these beyond the elements that are required: app-1, ait-1, ppc-1. And app-3: only a proposed,
# cancelled or waitlisted Appointment may be without a time, so none that was entered in error.
BESIDES: dict[str, Resource] = {
    "AllergyIntolerance": {
        "clinicalStatus": {
            "coding": [{"system": "http://terminology.hl7.org/CodeSystem/allergyintolerance-clinical", "code": "active"}]
        }
    },
    "Appointment": {
        "start": "2020-01-01T10:00:00Z",
        "end": "2020-01-01T11:00:00Z",
        "participant": [{"actor": {"display": "someone"}, "status": "accepted"}],
    },
    "Consent": {"policyRule": {"text": "as told"}},
}


@cache
def validator() -> Validator:
    return load_validator()


def minimal(resource_type: str) -> Resource:
    """The smallest resource of a type: what R4 demands, and a status where it has one."""
    made = {"resourceType": resource_type, **_required(resource_type, ""), **BESIDES.get(resource_type, {})}
    status = next((one for one in DEFINITIONS.children(resource_type) if one.name == "status" and one.binding), None)
    return made | ({"status": _code(status)[1]} if status and "status" not in made else {})


def _required(resource_type: str, path: str) -> dict[str, Any]:
    made = {}
    for element in DEFINITIONS.children(resource_type, path):
        if element.min:
            kind = element.types[0]
            name = choice_name(element, kind) if element.is_choice else element.name
            value = _value(resource_type, element, kind)
            made[name] = [value] if element.is_list else value
    return made


def _value(resource_type: str, element: Element, kind: str) -> Any:
    plain = {
        "code": lambda: _code(element)[1],
        "CodeableConcept": lambda: {"coding": [dict(zip(("system", "code"), _code(element), strict=True))]},
        "Coding": lambda: dict(zip(("system", "code"), _code(element), strict=True)),
        "Reference": lambda: {"display": "someone"},
        "BackboneElement": lambda: _required(resource_type, element.path),
        "Identifier": lambda: {"value": "1"},
        "Attachment": lambda: {"title": "a file"},
        "Period": lambda: {"start": "2020"},
        "Quantity": lambda: {"value": 1},
        "Annotation": lambda: {"text": "a note"},
        "Money": lambda: {"value": 1},
        "boolean": lambda: True,
        "date": lambda: "2020-01-01",
        "dateTime": lambda: "2020-01-01",
        "instant": lambda: "2020-01-01T10:00:00Z",
    }
    return plain[kind]() if kind in plain else 1 if "nt" in kind or kind == "decimal" else "https://example.org/x"


def _code(element: Element) -> tuple[str, str]:
    """A code that the element may have, but not the one that says that all is wrong."""
    codes = DEFINITIONS.required_codes(element.binding.value_set) if element.binding else None
    return min((one for one in codes or () if one[1] != ERROR), default=("https://example.org/codes", "x"))


def errors(resource: Resource) -> set[str]:
    """The rules that a resource breaks, with their places."""
    found = validator().validate(json.dumps(resource))
    return {f"{issue.rule} at {issue.expression}" for issue in found if issue.is_error}


def back(resource: Resource) -> Resource:
    made = retired(resource)
    assert made is not None
    return made


@pytest.mark.parametrize("name", SPEAKING)
def test_what_was_valid_is_valid_when_it_is_taken_back(name: str) -> None:
    resource = minimal(name)
    assert errors(resource) == set(), "the original is what the test takes it for"
    before = copy.deepcopy(resource)
    made = back(resource)
    assert errors(made) == set()
    assert is_retired(made)
    assert not is_retired(resource)
    assert resource == before
    said = {key for key in {*made, *resource} if made.get(key) != resource.get(key)} - {"extension", "clinicalStatus"}
    assert len(said) == 1, "it says so by one element"
    assert said <= {"active", *SAYING}


@pytest.mark.parametrize("name", SPEAKING)
def test_the_code_that_says_so_is_one_of_a_required_binding(name: str) -> None:
    resource, made = minimal(name), back(minimal(name))
    bound = [one for one in DEFINITIONS.children(name) if one.name in SAYING and one.binding]
    element = bound[0] if bound else None
    if element is None:
        assert made["active"] is False
        assert DEFINITIONS.resolve(name, "active").types == ("boolean",)
        return
    assert element.binding.strength == "required"
    codes = DEFINITIONS.required_codes(element.binding.value_set)
    assert codes is not None
    said = made[element.name]
    if isinstance(said, str):
        assert said == ERROR
        assert said in {code for _system, code in codes}
    else:
        [coding] = said["coding"]
        assert (coding["system"], coding["code"]) in codes
        assert coding["code"] == ERROR
    assert made[element.name] != resource.get(element.name)


@pytest.mark.parametrize("name", MUTE)
def test_a_type_that_cannot_say_so_is_deleted(name: str) -> None:
    assert retired(minimal(name)) is None


def can_say_so(name: str) -> bool:
    codes = [DEFINITIONS.required_codes(one.binding.value_set) for one in DEFINITIONS.children(name) if one.binding]
    return any(code == ERROR for some in codes for _system, code in some or ())


@pytest.mark.parametrize("name", MUTE)
def test_nothing_is_deleted_that_could_say_so(name: str) -> None:
    assert not can_say_so(name)


def test_the_two_statuses_of_a_condition_never_contradict_each_other() -> None:
    """con-5: http://hl7.org/fhir/R4/condition.html#invs"""
    resource = minimal("Condition") | {
        "clinicalStatus": {
            "coding": [{"system": "http://terminology.hl7.org/CodeSystem/condition-clinical", "code": "active"}]
        },
        "verificationStatus": {
            "coding": [{"system": "http://terminology.hl7.org/CodeSystem/condition-ver-status", "code": "confirmed"}]
        },
    }
    assert errors(resource) == set()
    made = back(resource)
    assert errors(made) == set()
    assert "clinicalStatus" not in made
    again = made | {"clinicalStatus": resource["clinicalStatus"]}
    assert "con-5 at Condition" in errors(again), "or else it would not be the reason"


def test_an_allergy_is_taken_back_without_its_clinical_status() -> None:
    """ait-2: http://hl7.org/fhir/R4/allergyintolerance.html#invs"""
    made = back(minimal("AllergyIntolerance"))
    assert "clinicalStatus" not in made
    assert "ait-2 at AllergyIntolerance" in errors(made | BESIDES["AllergyIntolerance"]), "or else it would not be the reason"


def test_a_condition_that_is_over_is_valid_when_it_is_taken_back(engine: Engine) -> None:
    fever = {"condition": "Fever", "verification": "Confirmed", "status": "Resolved", "until": "2020"}
    made = engine.convert(json.dumps({"case": "c", "patient": {"sex": "female"}, "conditions": [fever]})).bundle
    assert made is not None
    [condition] = [entry["resource"] for entry in made["entry"] if entry["resource"]["resourceType"] == "Condition"]
    assert errors(condition) == set()
    assert errors(back(condition)) == set()


def test_all_else_stays_and_other_extensions_too() -> None:
    resource = minimal("Observation") | {
        "extension": [{"url": "https://example.org/x", "valueString": "kept"}],
        "note": [{"text": "n"}],
    }
    made = back(resource)
    assert made["extension"] == [*resource["extension"], {"url": RETIRED, "valueBoolean": True}]
    assert {key: made[key] for key in made if key not in ("status", "extension")} == {
        key: resource[key] for key in resource if key not in ("status", "extension")
    }


@pytest.mark.parametrize("extensions", [[], [{"url": "https://example.org/x"}], ["no object"], [{}]], ids=str)
def test_what_does_not_say_so_is_not_taken_back(extensions: list[Any]) -> None:
    assert not is_retired({"resourceType": "Observation", "status": ERROR, "extension": extensions})
    assert not is_retired({"resourceType": "Observation", "status": ERROR})
