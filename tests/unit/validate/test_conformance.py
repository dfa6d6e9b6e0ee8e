"""Which profiles a resource is held to: http://hl7.org/fhir/R4/profiling.html#resources"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from service.validate.validator import Validator
from tests.support.definitions import CORE, HOME, OBSERVATION, PATIENT, bundle, core, element, found, profile, with_

NAMED = profile("named", "Patient", element("Patient.name", min=1))


def claiming(*urls: str) -> dict[str, Any]:
    return PATIENT | {"meta": {"profile": list(urls)}}


@pytest.mark.parametrize(
    ("claimed", "expected"),
    [
        ([HOME + "named"], [("val-min", "Patient")]),
        ([HOME + "named|1.0"], [("val-min", "Patient")]),
        ([CORE + "Patient"], []),  # "a resource type is a profile of itself"
        ([CORE + "DomainResource"], []),
        ([CORE + "Observation"], [("val-profile-type", "Patient.meta.profile[0]")]),
        ([CORE + "bp"], [("val-profile-type", "Patient.meta.profile[0]")]),
        ([HOME + "nowhere"], [("val-profile-unknown", "Patient.meta.profile[0]")]),
        ([HOME + "named", HOME + "nowhere"], [("val-min", "Patient"), ("val-profile-unknown", "Patient.meta.profile[1]")]),
    ],
)
def test_a_resource_meets_the_profiles_that_it_claims(tmp_path: Path, claimed: list[str], expected: list[Any]) -> None:
    assert found(claiming(*claimed), with_(tmp_path, NAMED)) == expected


def test_so_does_a_resource_in_a_bundle_or_contained(tmp_path: Path) -> None:
    validator, inside = with_(tmp_path, NAMED), claiming(HOME + "named") | {"id": "p"}
    contained = OBSERVATION | {"contained": [inside], "subject": {"reference": "#p"}}
    assert found(contained, validator) == [("val-min", "Observation.contained[0]")]
    assert found(bundle(inside), validator) == [("val-min", "Bundle.entry[0].resource")]


def test_a_profile_may_be_asked_for(tmp_path: Path) -> None:
    validator = with_(tmp_path, NAMED)
    assert found(PATIENT, validator) == []
    assert found(PATIENT, validator, ["named"]) == [("val-min", "Patient")]
    assert found(PATIENT, validator, ["nowhere"]) == [("val-profile-unknown", "Patient")]
    assert found(OBSERVATION, validator, ["named"]) == [("val-profile-type", "Observation")]


def test_one_that_is_claimed_and_asked_for_is_told_once(tmp_path: Path) -> None:
    assert len(found(claiming(HOME + "named", HOME + "named"), with_(tmp_path, NAMED), ["named"])) == 1


def test_an_unknown_profile_is_named_only_to_whoever_asked_for_it() -> None:
    """The URL in the resource could hold anything."""
    (claimed,) = core().validate(b'{"resourceType": "Patient", "meta": {"profile": ["http://example.org/Miller"]}}')
    (asked,) = core().validate(b'{"resourceType": "Patient"}', profiles=["http://example.org/mine"])
    assert "Miller" not in claimed.text
    assert "http://example.org/mine" in asked.text


# Vital signs: "if … uses one of these codes, it SHALL conform": observation-vitalsigns.html -----------------------------


@pytest.mark.parametrize(
    ("code", "is_vital"), [("8867-4", True), ("29463-7", True), ("85354-9", True), ("4548-4", False), ("8867", False)]
)
def test_the_code_of_a_vital_sign_demands_its_profile(code: str, is_vital: bool) -> None:
    resource = OBSERVATION | {"code": {"coding": [{"system": "http://loinc.org", "code": code}]}}
    rules = [rule for rule, _ in found(resource)]
    # A category, a subject and a time, at the least
    assert (rules.count("val-min") >= 3) is is_vital


def test_the_same_code_of_another_system_does_not() -> None:
    coding = {"system": "http://example.org/codes", "code": "8867-4"}
    assert [rule for rule, _ in found(OBSERVATION | {"code": {"coding": [coding]}})] == ["val-binding-unchecked"]


# References to resources that meet a profile ---------------------------------------------------------------------------

TO_NAMED = [{"code": "Reference", "targetProfile": [HOME + "named"]}]


@pytest.mark.parametrize(
    ("patient", "expected"),
    [
        ({"name": [{"text": "A"}]}, []),
        ({}, [("val-profile-match", "Observation.subject")]),
        ({"name": [{}]}, []),  # what is wrong with the name itself is told there
    ],
)
def test_a_reference_leads_to_a_resource_that_meets_the_profile(
    tmp_path: Path, patient: dict[str, Any], expected: list[Any]
) -> None:
    validator = with_(tmp_path, NAMED, profile("x", "Observation", element("Observation.subject", type=TO_NAMED)))
    resource = OBSERVATION | {"contained": [PATIENT | {"id": "p"} | patient], "subject": {"reference": "#p"}}
    assert [each for each in found(resource, validator, ["x"]) if each[0] == "val-profile-match"] == expected


def test_a_reference_out_of_sight_is_held_to_the_type_alone(tmp_path: Path) -> None:
    validator = with_(tmp_path, NAMED, profile("x", "Observation", element("Observation.subject", type=TO_NAMED)))
    assert found(OBSERVATION | {"subject": {"reference": "Patient/p"}}, validator, ["x"]) == []
    told = found(OBSERVATION | {"subject": {"reference": "Group/g"}}, validator, ["x"])
    assert told == [("val-reference-target", "Observation.subject")]


# Circles ---------------------------------------------------------------------------------------------------------------


@pytest.fixture
def chained(tmp_path: Path) -> Validator:
    """A profile of lists whose items are lists of that profile, each with a title."""
    item = [{"code": "Reference", "targetProfile": [HOME + "chain"]}]
    return with_(tmp_path, profile("chain", "List", element("List.title", min=1), element("List.entry.item", type=item)))


def lists(*links: list[int], untitled: int | None = None) -> dict[str, Any]:
    """Lists 0, 1, …, each with the numbers of those that it refers to."""
    made = []
    for number, leads_to in enumerate(links):
        one: dict[str, Any] = {"resourceType": "List", "id": str(number), "status": "current", "mode": "working"}
        one["meta"] = {"profile": [HOME + "chain"]}
        one |= {"title": "A"} if number != untitled else {}
        one |= {"entry": [{"item": {"reference": f"List/{each}"}} for each in leads_to]} if leads_to else {}
        made.append(one)
    return bundle(*made)


@pytest.mark.parametrize(
    "links",
    [
        [[0]],
        [[1], [0]],
        [*([number + 1] for number in range(500)), []],
        [list(range(12)) for _ in range(12)],  # paths without number
        [*([number + 1] * 3 for number in range(100)), []],
    ],
    ids=["to itself", "a circle", "a long chain", "all to all", "many ways"],
)
def test_resources_that_refer_to_each_other_come_to_an_end(chained: Validator, links: list[list[int]]) -> None:
    assert found(lists(*links), chained) == []


def test_in_a_circle_a_fault_is_told_where_it_is_and_where_it_is_referred_to(chained: Validator) -> None:
    told = found(lists([1], [2], [0], untitled=2), chained)
    assert ("val-min", "Bundle.entry[2].resource") in told
    assert ("val-profile-match", "Bundle.entry[1].resource.entry[0].item") in told


def test_a_profile_whose_constraint_asks_for_itself_comes_to_an_end(tmp_path: Path) -> None:
    said = {"key": "x-1", "severity": "error", "human": "a", "expression": f"conformsTo('{HOME}x')"}
    validator = with_(tmp_path, profile("x", "Patient", element("Patient", constraint=[said]), element("Patient.name", min=1)))
    assert ("val-min", "Patient") in found(PATIENT, validator, ["x"])
    assert found(PATIENT | {"name": [{"text": "A"}]}, validator, ["x"]) == []
