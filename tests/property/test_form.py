"""The form's two faces agree: what the JSON Schema refuses is explained, at its place and without the patient's values."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from service.case.explain import explain, prune_unknown
from service.fhir.json import dumps
from service.issues import Issue
from service.mapping.compiled import Mapping
from tests.support.faults import CANARY, Broken, any_json, broken, spoiled
from tests.support.strategies import cases


def words(issues: list[Issue]) -> str:
    return "\n".join(f"{issue.text}\n{issue.fix}\n{issue.expression}" for issue in issues)


def test_what_the_schema_accepts_needs_no_explanation(mapping: Mapping) -> None:
    @given(cases(mapping))
    def law(record: Any) -> None:
        assert mapping.accepts.is_valid(record)
        assert explain(mapping.form, record) == []

    law()


def test_one_fault_is_reported_where_it_is(mapping: Mapping) -> None:
    @settings(max_examples=80)
    @given(broken(mapping))
    def law(one: Broken) -> None:
        assert not mapping.accepts.is_valid(one.record)
        issues = explain(mapping.form, one.record)
        assert (one.rule, one.pointer) in [(issue.rule, issue.pointer) for issue in issues]
        assert all(issue.fix and issue.is_error for issue in issues)
        # Each field of the form has a row; only the record as a whole has none.
        assert all(issue.origin or issue.pointer.count("/") <= 1 for issue in issues if issue.pointer is not None)

    law()


def test_both_faces_give_one_verdict(mapping: Mapping) -> None:
    @settings(max_examples=80)
    @given(spoiled(mapping))
    def law(record: Any) -> None:
        assert (not explain(mapping.form, record)) == mapping.accepts.is_valid(record)

    law()


def test_both_faces_give_one_verdict_on_any_json(mapping: Mapping) -> None:
    @settings(max_examples=100)
    @given(any_json())
    def law(value: Any) -> None:
        assert (not explain(mapping.form, value)) == mapping.accepts.is_valid(value)

    law()


def test_no_value_of_the_record_is_told(mapping: Mapping) -> None:
    """Every value that a fault puts in, and every text of the record, is a canary: none may be heard of again."""

    @settings(max_examples=40)
    @given(spoiled(mapping))
    def law(record: Any) -> None:
        marked = _marked(record)
        issues = explain(mapping.form, marked)
        assume(issues)
        assert CANARY not in words(issues)
        assert "7654321" not in words(issues)

    law()


def _marked(value: Any) -> Any:
    """The value with every text and every number made a canary; the names of fields stay as they are."""
    if isinstance(value, dict):
        return {name.replace(CANARY, "unheardOf"): _marked(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_marked(one) for one in value]
    if isinstance(value, str):
        return f"{CANARY} {value}"
    return value if value is None or isinstance(value, bool) else 76543219876543210


def test_faults_of_many_fields_are_told_in_the_order_of_the_record(mapping: Mapping) -> None:
    @given(spoiled(mapping))
    def law(record: Any) -> None:
        there = [issue.pointer for issue in explain(mapping.form, record) if issue.rule != "case-required" and issue.pointer]
        places = {pointer: number for number, pointer in enumerate(_pointers(record))}
        assert [places[pointer] for pointer in there] == sorted(places[pointer] for pointer in there)

    law()


def _pointers(value: Any, pointer: str = "") -> list[str]:
    below: list[str] = [pointer]
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, one in pairs:
        below += _pointers(one, f"{pointer}/{str(step).replace('~', '~0').replace('/', '~1')}")
    return below


def test_pruning_leaves_what_the_form_knows(mapping: Mapping) -> None:
    @settings(suppress_health_check=[HealthCheck.filter_too_much])
    @given(st.one_of(spoiled(mapping), any_json()))
    def law(record: Any) -> None:
        before = copy.deepcopy(record)
        pruned, warnings = prune_unknown(mapping.form, record)
        assert dumps(record) == dumps(before)
        errors = explain(mapping.form, record)
        unknown = [issue for issue in errors if issue.rule == "case-unknown-field"]
        assert [issue.at(severity="error") for issue in warnings] == unknown
        assert all(issue.severity == "warning" for issue in warnings)
        assert "case-unknown-field" not in [issue.rule for issue in explain(mapping.form, pruned)]

    law()
