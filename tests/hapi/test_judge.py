"""The judge itself: it passes what is right, finds what is wrong, and answers every time. `hapi` is in conftest.py."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.hapi_validator import HapiValidator, Verdict

pytestmark = pytest.mark.hapi

OBSERVATION = {"resourceType": "Observation", "status": "final", "code": {"text": "Creatinine"}}


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
