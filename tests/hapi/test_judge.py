"""The judges themselves: they pass what is right, find what is wrong, and answer every time. `hapi` is in conftest.py."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support import hapi_validator, registry
from tests.support.hapi_validator import HapiValidator, Verdict

pytestmark = pytest.mark.hapi

OBSERVATION = {"resourceType": "Observation", "status": "final", "code": {"text": "Creatinine"}}


@pytest.fixture(scope="module")
def hl7() -> Iterator[HapiValidator]:
    """HL7's own validator."""
    if reason := hapi_validator.available():
        pytest.skip(f"HL7's validator was not asked: {reason}")
    registry.needs(registry.home)
    with HapiValidator(engine="hl7") as validator:
        yield validator


def judge(hapi: HapiValidator, **changes: Any) -> Verdict:
    return hapi.validate(json.dumps(OBSERVATION | changes).encode())


def test_a_good_resource_passes_without_a_word(hapi: HapiValidator) -> None:
    assert judge(hapi) == Verdict(valid=True, issues=())


@pytest.mark.parametrize(
    ("changes", "location", "message"),
    [
        ({"status": "bogus"}, "Observation.status", "was not found in the value set 'ObservationStatus'"),
        ({"foo": 1}, "Observation", "Unrecognized property 'foo'"),
        ({"valueString": "x", "dataAbsentReason": {"text": "y"}}, "Observation", "Constraint failed: obs-6"),
        ({"partOf": [{"reference": "Condition/1"}]}, "Observation.partOf[0]", "not a valid Target"),
        ({"effectiveDateTime": "2021-13"}, "Observation.effective.ofType(dateTime)", "Not a valid date/time"),
    ],
)
def test_a_fault_is_found_in_its_place(hapi: HapiValidator, changes: dict[str, Any], location: str, message: str) -> None:
    verdict = judge(hapi, **changes)
    assert not verdict.valid
    assert any(each.location == location and message in each.message for each in verdict.errors), verdict


def test_a_code_it_cannot_know_is_a_warning(hapi: HapiValidator) -> None:
    verdict = judge(hapi, code={"coding": [{"system": "http://loinc.org", "code": "2160-0"}]})
    assert verdict.valid
    assert [each.location for each in verdict.warnings] == ["Observation.code"]


def test_an_extension_of_ones_own_passes(hapi: HapiValidator) -> None:
    assert judge(hapi, extension=[{"url": "https://casebridge.dev/fhir/x", "valueString": "y"}]).valid


def test_line_breaks_and_letters_beyond_ascii_arrive(hapi: HapiValidator) -> None:
    text = json.dumps(OBSERVATION | {"valueString": "µg", "status": "ü"}, ensure_ascii=False, indent=1)
    verdict = hapi.validate(text.replace("\n", "\r\n").encode())
    assert any("'ü'" in each.message for each in verdict.errors), verdict


@pytest.mark.parametrize("text", [b"", b"no JSON", b"[]", b"{", b'{"resourceType":"Nothing"}'])
def test_it_answers_whatever_it_is_asked(hapi: HapiValidator, text: bytes) -> None:
    assert not hapi.validate(text).valid
    assert judge(hapi).valid


def test_a_profile_that_is_asked_for_is_judged(hapi: HapiValidator) -> None:
    weight = "http://hl7.org/fhir/StructureDefinition/bodyweight"
    verdict = hapi.validate(json.dumps(OBSERVATION).encode(), [weight])
    assert any(weight in each.message for each in verdict.errors), verdict


@pytest.mark.network
def test_hl7s_own_validator_judges_as_well(hl7: HapiValidator) -> None:
    assert judge(hl7).valid
    assert [each.location for each in judge(hl7, foo=1).errors] == ["Observation"]
    assert judge(hl7, code={"coding": [{"system": "http://loinc.org", "code": "2160-0"}]}).valid
    assert not hl7.validate(b"no JSON").valid
