"""The six probes that no peer passes (what an engine says about bad input), as requests: case path, rule and suggestion."""

from __future__ import annotations

from decimal import Decimal

import pytest

from service.fhir import json


@pytest.mark.parametrize(
    ("section", "field", "value", "rule", "suggestion"),
    [
        ("responses", "answer", "PR", "case-unknown-field", ""),
        ("responses", "response", "VGPR (IMGW)", "case-unknown-term", "VGPR (IMWG)"),
        ("labs", "test", "Hemoglobine", "case-unknown-term", "Hemoglobin"),
        ("labs", "when", "2018-08-35", "case-pattern", "a day that the calendar has"),
    ],
    ids=["p1-unread-field", "p2-unknown-code", "p4-no-code", "p5-impossible-date"],
)
def test_a_probe_is_answered(post, case, refusal, told, origin, section, field, value, rule, suggestion):
    case[section][0][field] = value
    [issue] = refusal(post("/convert", case), 422)
    assert told(issue) == (rule, f"/{section}/0/{field}")
    assert suggestion in issue["diagnostics"]
    assert issue["diagnostics"]
    if rule != "case-unknown-field":  # no row reads it, so none can be named
        assert origin(issue).startswith(f"myeloma/resources/{section}.yaml:")
        assert issue["expression"]
    assert value not in json.dumps(issue).decode()


def test_p3_a_decimal_keeps_its_last_zero(post, case):
    case["labs"][0]["value"] = Decimal("1.10")
    made = post("/convert", case)
    assert b'"value":1.10,' in made.data
    assert json.dumps(json.loads(post("/to-case", made.data).data)["labs"][0]["value"]) == b"1.10"


def test_p5_a_day_that_no_calendar_has(post, case, refusal, told, origin):
    case["labs"][0]["when"] = "2018-02-30"
    [issue] = refusal(post("/convert", case), 422)
    assert told(issue)[1] == "/labs/0/when"
    assert origin(issue).startswith("myeloma/resources/labs.yaml:")


def test_p6_an_unknown_sex(post, case, refusal, told, origin):
    case["patient"]["sex"] = "W"
    [issue] = refusal(post("/convert", case), 422)
    assert told(issue) == ("case-unknown-term", "/patient/sex")
    assert issue["diagnostics"]
    assert origin(issue).startswith("myeloma/resources/patient.yaml:")


def test_all_at_once_are_answered_at_once(post, case, refusal, told):
    case["patient"]["sex"] = "W"
    case["labs"][0] |= {"test": "Hemoglobine", "when": "2018-08-35"}
    case["responses"][0]["answer"] = "PR"
    issues = refusal(post("/convert", case), 422)
    assert {told(issue)[1] for issue in issues} == {"/patient/sex", "/labs/0/test", "/labs/0/when", "/responses/0/answer"}
