"""What the form says of each way to break it, on a small form; and the probes of peers.md on the real one."""

from __future__ import annotations

import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from service.case import form
from service.case.explain import RULES, explain, prune_unknown
from service.case.schema import json_schema
from service.issues import Issue, Origin
from service.mapping.compiled import Mapping, load_mapping

MYELOMA = Path(__file__).parents[3] / "mappings" / "myeloma"


def field(node: form.Node, line: int, element: str = "", *, required: bool = False) -> form.Field:
    return form.Field(node, required, Origin("set/resources/labs.yaml", line, 3), element, element)


NUMBER = form.Scalar("decimal", {"type": "number"}, "a number, kept digit for digit")
COUNT = form.Scalar("integer", {"type": "integer", "minimum": 1, "maximum": 99}, "a whole number")
UNIT = form.terms(("g/L", "mg/dL"), "units")
HERE = Origin("the converter")

NORMAL = form.Object(
    {"low": form.Field(NUMBER, False, HERE), "unit": form.Field(UNIT, False, HERE)}, requires={"low": ("unit",)}
)
LAB = form.Object(
    {
        "test": field(form.terms(("Albumin", "Globulin", "IgG"), "labs"), 5, "Observation.code", required=True),
        "when": field(form.text("moment", "[0-9]{4}", "a year"), 6, "Observation.effective[x]"),
        "value": field(NUMBER, 7, "Observation.valueQuantity"),
        "unit": field(UNIT, 7, "Observation.valueQuantity"),
        "result": field(form.terms(("Normal",), "results"), 8, "Observation.valueCodeableConcept"),
        "normal": field(NORMAL, 9, "Observation.referenceRange"),
        "sites": field(form.ListOf(form.terms(("Spine",), "sites")), 10, "Observation.bodySite"),
        "cycles": field(COUNT, 11, "Observation.component.valueInteger"),
        "done": field(form.Scalar("boolean", {"type": "boolean"}, "true or false"), 12, "Observation.extension"),
    },
    requires={"value": ("unit",), "unit": ("value",)},
    exclusive=(("value", "result"),),
)
FORM = form.Object(
    {
        "case": field(form.text(), 1, "Patient.identifier.value", required=True),
        "labs": field(form.ListOf(LAB), 2, "Observation"),
        "treatments": field(
            form.ListOf(form.Object({"drugs": field(form.ListOf(form.Object({"dose": field(NUMBER, 20)})), 19)})),
            18,
            "Procedure",
        ),
        "encoder": form.Field(form.Scalar("ignored", {}, "not read by any row"), False, Origin("set/mapping.yaml", 40)),
    }
)
JUDGE = jsonschema_rs.validator_for(json_schema(FORM, url="https://example.org/form", title="A form"))


def lab(**fields: Any) -> dict[str, Any]:
    return {"case": "one", "labs": [{"test": "IgG", **fields}]}


def one(record: Any) -> Issue:
    [issue] = explain(FORM, record)
    assert not JUDGE.is_valid(record)
    return issue


@pytest.mark.parametrize(
    "record",
    [
        lab(),
        lab(value=Decimal("1.10"), unit="g/L"),
        lab(cycles=Decimal("1.0")),
        lab(normal={"low": 1, "unit": "g/L"}, sites=["Spine", "Spine"], done=False),
        {"case": "one", "encoder": None},
        {"case": "one", "encoder": {"any": ["thing", 1]}},
    ],
)
def test_a_good_record_has_no_issue(record: Any) -> None:
    assert JUDGE.is_valid(record)
    assert explain(FORM, record) == []


@pytest.mark.parametrize(
    ("record", "rule", "pointer", "text", "fix"),
    [
        (
            lab(value="12", unit="g/L"),
            "case-type",
            "/labs/0/value",
            "expected number, got string",
            "a number, kept digit for digit",
        ),
        (lab(done=1), "case-type", "/labs/0/done", "expected boolean, got integer", "true or false"),
        (lab(cycles=True), "case-type", "/labs/0/cycles", "expected integer, got boolean", "a whole number"),
        (lab(cycles=Decimal("1.5")), "case-type", "/labs/0/cycles", "expected integer, got number", "a whole number"),
        (lab(when=None), "case-type", "/labs/0/when", "expected string, got null", "a year"),
        (lab(sites="Spine"), "case-type", "/labs/0/sites", "expected array, got string", "a list"),
        (lab(normal=[]), "case-type", "/labs/0/normal", "expected object, got array", "an object with low, unit"),
        ([], "case-type", "", "expected object, got array", "an object with case"),
        ("case", "case-type", "", "expected object, got string", "an object with case"),
        (None, "case-type", "", "expected object, got null", "an object with case"),
        (Decimal("1.0"), "case-type", "", "expected object, got number", "an object with case"),
        (lab(tset="x"), "case-unknown-field", "/labs/0/tset", "'tset' is no field here", "did you mean 'test'?"),
        (
            lab(dose=1),
            "case-unknown-field",
            "/labs/0/dose",
            "'dose' is no field here",
            "'dose' is a field of treatments[]/drugs[]",
        ),
        ({"case": "1", "test": 1}, "case-unknown-field", "/test", "'test' is no field here", "'test' is a field of labs[]"),
        ({"case": "1", "qqq": 1}, "case-unknown-field", "/qqq", "'qqq' is no field here", "list it there under `ignored`"),
        ({"case": "1", "a/b ~": 1}, "case-unknown-field", "/a~1b ~0", "this is no field of the form", "`ignored`"),
        ({"case": "1", "_schema": 1}, "case-unknown-field", "/_schema", "'_schema' is no field here", "`ignored`"),
        (
            lab(test="Albumine"),
            "case-unknown-term",
            "/labs/0/test",
            "expected a term of the code table 'labs'",
            "did you mean 'Albumin'?",
        ),
        (
            lab(test="igg"),
            "case-unknown-term",
            "/labs/0/test",
            "expected a term of the code table 'labs'",
            "did you mean 'IgG'?",
        ),
        (
            lab(result="MR"),
            "case-unknown-term",
            "/labs/0/result",
            "expected a term of the code table 'results'",
            "one of: Normal",
        ),
        (
            lab(sites=["Spine", "Moon"]),
            "case-unknown-term",
            "/labs/0/sites/1",
            "expected a term of the code table 'sites'",
            "one of: Spine",
        ),
        (lab(when="2018x"), "case-pattern", "/labs/0/when", "expected a year", "a day that the calendar has"),
        (lab(when="2018\n"), "case-pattern", "/labs/0/when", "expected a year", "a day that the calendar has"),
        ({"case": " 1"}, "case-pattern", "/case", "expected text without blanks at its ends", "remove blanks"),
        ({"case": ""}, "case-pattern", "/case", "expected text without blanks at its ends", "leave an empty text out"),
        (lab(cycles=0), "case-bound", "/labs/0/cycles", "expected a whole number from 1 to 99", "check the number"),
        ({"labs": [{"test": "IgG"}]}, "case-required", "/case", "'case' is required", "add it: text"),
        ({}, "case-required", "/case", "'case' is required", "add it: text"),
        ({"case": "1", "labs": []}, "case-empty-list", "/labs", "the list is empty", "leave it out"),
        (lab(normal={}), "case-empty-object", "/labs/0/normal", "the object is empty", "leave it out"),
        (
            lab(value=1),
            "case-requires",
            "/labs/0/value",
            "'value' needs 'unit' beside it",
            "add unit: a term of the code table 'units'",
        ),
        (lab(normal={"low": 1}), "case-requires", "/labs/0/normal/low", "'low' needs 'unit' beside it", "add unit: a term"),
        (
            lab(result="Normal", value=1, unit="g/L"),
            "case-exclusive",
            "/labs/0/value",
            "at most one of 'result' and 'value' may be given",
            "keep one of them",
        ),
    ],
)
def test_each_rule_says_what_is_wrong_and_how_to_mend_it(record: Any, rule: str, pointer: str, text: str, fix: str) -> None:
    issue = one(record)
    assert (issue.severity, issue.rule, issue.pointer, issue.text) == ("error", rule, pointer, text)
    assert issue.fix is not None
    assert fix in issue.fix


def test_every_rule_is_tested_above() -> None:
    marks = test_each_rule_says_what_is_wrong_and_how_to_mend_it.pytestmark
    assert {row[1] for row in marks[0].args[1]} == set(RULES)


def test_the_row_and_the_element_of_the_field_are_named() -> None:
    issue = one(lab(value="12", unit="g/L"))
    assert issue.origin == Origin("set/resources/labs.yaml", 7, 3)
    assert issue.expression == "Observation.valueQuantity"


def test_what_a_converter_takes_is_of_the_row_of_its_object() -> None:
    issue = one(lab(normal={"low": "1", "unit": "g/L"}))
    assert issue.origin == Origin("set/resources/labs.yaml", 9, 3)
    assert issue.expression == "Observation.referenceRange"


def test_an_unknown_field_reaches_no_element_but_is_beside_the_rows_of_its_object() -> None:
    issue = one(lab(dose=1))
    assert issue.origin == Origin("set/resources/labs.yaml", 2, 3)
    assert issue.expression is None


def test_all_errors_come_at_once_in_the_order_of_the_record_then_what_is_missing_in_that_of_the_form() -> None:
    record = {"unknown": 1, "labs": [{"unit": "mmol", "value": "x", "when": []}, {"test": 1}], "treatments": []}
    found = [(issue.rule, issue.pointer) for issue in explain(FORM, record)]
    assert found == [
        ("case-unknown-field", "/unknown"),
        ("case-unknown-term", "/labs/0/unit"),
        ("case-type", "/labs/0/value"),
        ("case-type", "/labs/0/when"),
        ("case-required", "/labs/0/test"),
        ("case-type", "/labs/1/test"),
        ("case-empty-list", "/treatments"),
        ("case-required", "/case"),
    ]


def test_a_field_can_break_two_rules_at_once() -> None:
    rules = [issue.rule for issue in explain(FORM, lab(result=1, value="x"))]
    assert sorted(rules) == ["case-exclusive", "case-requires", "case-type", "case-type"]


def test_no_value_and_no_odd_name_of_a_field_is_repeated() -> None:
    name = "Jane Doe, born 1970"
    record = {
        "case": ["Jane Doe"],
        name: "x",
        "labs": [{"test": "Jane Doe", "when": "Jane Doe", "value": "Jane Doe", "Jane-Doe" * 9: 1}],
    }
    issues = explain(FORM, record)
    assert len(issues) == 7
    assert "Jane" not in "".join(f"{issue.text}{issue.fix}" for issue in issues)


def test_pruning_takes_unknown_fields_out_of_a_copy_and_warns() -> None:
    record = {"case": "1", "x": 1, "labs": [{"test": "IgG", "tset": 2, "sites": "Spine"}, 3], "encoder": {"kept": 1}}
    pruned, issues = prune_unknown(FORM, record)
    assert pruned == {"case": "1", "labs": [{"test": "IgG", "sites": "Spine"}, 3], "encoder": {"kept": 1}}
    assert [(issue.severity, issue.rule, issue.pointer) for issue in issues] == [
        ("warning", "case-unknown-field", "/x"),
        ("warning", "case-unknown-field", "/labs/0/tset"),
    ]
    assert "x" in record
    assert prune_unknown(FORM, [1]) == ([1], [])


def test_the_form_and_its_schema_come_without_marshmallow() -> None:
    """Good records never need it, so they shall not wait for its import."""
    code = (
        "import sys, service.case.form, service.case.schema, service.mapping.compiled; sys.exit('marshmallow' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=MYELOMA.parents[1]).returncode == 0


# --- the probes of peers.md, section 5, on the real set ---------------------------------------------------------------


@pytest.fixture(scope="module")
def myeloma() -> Mapping:
    return load_mapping(MYELOMA)


def case(**more: Any) -> dict[str, Any]:
    return {"case": "probe", "patient": {"sex": "female"}, **more}


@pytest.mark.parametrize(
    ("record", "rule", "pointer", "element", "fix"),
    [
        pytest.param(
            case(labs=[{"test": "Beta-2-microglobulin", "dosage": 5}]),
            "case-unknown-field",
            "/labs/0/dosage",
            None,
            "",
            id="p1-unread",
        ),
        pytest.param(
            case(responses=[{"response": "MR"}]),
            "case-unknown-term",
            "/responses/0/response",
            "Observation.value",
            "",
            id="p2-unknown-code",
        ),
        pytest.param(
            case(labs=[{"value": Decimal("1.10"), "unit": "g/L"}]),
            "case-required",
            "/labs/0/test",
            "Observation.code",
            "add it",
            id="p4-no-code",
        ),
        pytest.param(
            case(vitals=[{"sign": "Body temperature", "when": "2018-08-35", "value": 38, "unit": "Cel"}]),
            "case-pattern",
            "/vitals/0/when",
            "Observation.effective",
            "a day that the calendar has",
            id="p5-impossible-date",
        ),
        pytest.param(
            {"case": "probe", "patient": {"sex": "W"}},
            "case-unknown-term",
            "/patient/sex",
            "Patient.gender",
            "one of: male, female, other, unknown",
            id="p6-unknown-sex",
        ),
    ],
)
def test_probes(myeloma: Mapping, record: Any, rule: str, pointer: str, element: str | None, fix: str) -> None:
    assert not myeloma.accepts.is_valid(record)
    [issue] = [issue for issue in explain(myeloma.form, record) if issue.pointer == pointer]
    assert (issue.rule, issue.expression) == (rule, element)
    assert issue.origin is not None
    assert issue.origin.file.startswith("myeloma/resources/")
    assert issue.origin.line
    assert issue.fix
    assert fix in issue.fix


def test_probe_p3_a_decimal_keeps_its_digits(myeloma: Mapping) -> None:
    """The form takes 1.10; that it stays 1.10 is the law of tests/property/test_round_trip.py."""
    record = case(labs=[{"test": "Beta-2-microglobulin", "value": Decimal("1.10"), "unit": "mg/L"}])
    assert myeloma.accepts.is_valid(record)
    assert explain(myeloma.form, record) == []
