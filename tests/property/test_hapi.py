"""What the form accepts is valid FHIR: HAPI judges bundles of generated cases, and finds no more than our own validator."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import Phase, given, settings

from service.bundle.build import build_bundle
from service.engine import Engine
from service.fhir.json import dumps
from service.mapping.compiled import Mapping
from service.mapping.to_fhir import to_resources
from service.validate.validator import load_validator
from tests.support.hapi_validator import HapiValidator
from tests.support.strategies import cases

# Rules that the form cannot say, each with a record that breaks it and nothing else. The validator tells whoever asks it.
NOT_IN_THE_FORM: dict[str, dict[str, Any]] = {
    # A condition that is over has a status that says so: http://hl7.org/fhir/R4/condition.html#invs
    "con-4": {"conditions": [{"condition": "Fever", "verification": "Confirmed", "status": "Active", "until": "2020"}]},
    # A period ends no earlier than it begins, as far as its dates can be compared: http://hl7.org/fhir/R4/datatypes.html#Period
    "per-1": {"fish": [{"probe": "13q14 deletion", "result": "Normal", "when": "2020-02-01 to 2020"}]},
    # The time of a vital sign is known to the day: http://hl7.org/fhir/R4/vitalsigns.html
    "vs-1": {"vitals": [{"sign": "Body temperature", "value": 37, "unit": "Cel", "when": "2020-01"}]},
}
CONSTRAINT = re.compile(r"Constraint failed: ([\w-]+):")


@pytest.mark.hapi
def test_a_generated_case_is_valid_fhir(mapping: Mapping, hapi: HapiValidator) -> None:
    validator = load_validator()

    # A failure is shown as it is: to shrink it would ask HAPI hundreds of times.
    @settings(max_examples=60, derandomize=True, database=None, phases=[Phase.generate])
    @given(cases(mapping))
    def law(record: Any) -> None:
        mapped, _issues = to_resources(record, mapping, b"key")
        assert mapped is not None
        pairs = zip((entry.full_url for entry in mapped.entries), mapped.resources, strict=True)
        text = dumps(build_bundle(pairs, "collection"))
        told = {issue.rule for issue in validator.validate(text) if issue.is_error}
        assert told <= NOT_IN_THE_FORM.keys()
        assert {rule(error.message) for error in hapi.validate(text).errors} <= told

    law()


@pytest.mark.parametrize("name", NOT_IN_THE_FORM)
def test_the_validator_tells_what_the_form_cannot_say(name: str, engine: Engine) -> None:
    """A rule that the form has learned, or the validator no longer tells, is taken off the list."""
    done = engine.convert(dumps({"case": "c", "patient": {"sex": "female"}} | NOT_IN_THE_FORM[name]))
    assert done.issues == []
    assert {issue.rule for issue in load_validator().validate(done.dump()) if issue.is_error} == {name}


def rule(message: str) -> str:
    """The constraint that a message of HAPI's names; any other message as it is."""
    found = CONSTRAINT.search(message)
    return found[1] if found else message
