"""The language itself, where HL7's suite says nothing: limits, errors, precedence, variables, what is hostile."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from service.validate.fhirpath import Context, PathError, PathSyntaxError, Quantity, compile_path, root_node
from service.validate.fhirpath.parser import MAX_DEPTH

PATIENT = root_node({"resourceType": "Patient", "name": [{"given": ["Ada", "Eve"]}, {"given": ["Ida"]}]})


def run(text: str, **context: Any) -> list[Any]:
    return compile_path(text).evaluate(PATIENT, Context(PATIENT, PATIENT, **context))


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ("1 +", 3),
        ("a..b", 2),
        ("'open", 0),
        ("/* open", 0),
        ("a.b(", 4),
        ("name.frist()", 5),
        ("name.first(1)", 5),
        ("@2015-13", 0),
        ("@T25", 0),
        (r"'\q'", 0),
        ("gender.ofType(string1)", 7),
        ("a b", 2),
        ("", 0),
    ],
)
def test_what_cannot_be_read_is_told_with_its_place(text: str, position: int) -> None:
    with pytest.raises(PathSyntaxError) as caught:
        compile_path(text)
    assert caught.value.position == position


@pytest.mark.parametrize(
    "text",
    [
        "(" * 5000 + "1" + ")" * 5000,
        "a" + ".a" * 5000,
        "-" * 5000 + "1",
        "1" + "+1" * 5000,
        "a" + "[0]" * 5000,
        "a.where(" * 5000,
    ],
)
def test_depth_is_bounded(text: str) -> None:
    with pytest.raises(PathSyntaxError, match="deep"):
        compile_path(text)


def test_what_is_as_deep_as_may_be_runs() -> None:
    assert run("(" * (MAX_DEPTH - 1) + "1" + ")" * (MAX_DEPTH - 1)) == [1]
    assert run("1" + "+1" * (MAX_DEPTH - 1)) == [MAX_DEPTH]


@pytest.mark.parametrize("operator", ["or", "and", "|"])
def test_a_long_chain_is_not_deep(operator: str) -> None:
    assert run(f"(true {operator} " + f" {operator} ".join(["true"] * 2000) + ")") == [True]


def test_repeat_of_what_never_ends_is_stopped() -> None:
    with pytest.raises(PathError, match="no end"):
        run("1.repeat($this + 1)")


def test_a_text_cannot_be_doubled_without_end() -> None:
    numbers = "|".join(map(str, range(60)))
    with pytest.raises(PathError, match="too long"):
        run(f"({numbers}).aggregate($total & $total, 'abcdefgh')")


def test_numbers_do_not_grow_without_end() -> None:
    assert run("9223372036854775807 + 1") == []
    assert run("10.power(10000)") == []


def test_decimals_are_exact() -> None:
    assert run("0.1 + 0.2") == [Decimal("0.3")]
    assert run("1.50 + 0") == [Decimal("1.50")]


def test_variables_of_the_caller() -> None:
    assert run("%limit + 1", variables={"limit": 4}) == [5]
    assert run("%all.count()", variables={"all": [1, 2]}) == [2]
    with pytest.raises(PathError, match="%limit"):
        run("%limit")


def test_a_defined_variable_ends_with_its_expression() -> None:
    assert run("name.defineVariable('n').select(%n.count())") == [2, 2]
    assert run("name.select(defineVariable('n', given.count()).select(%n))") == [2, 1]
    with pytest.raises(PathError, match="%n"):
        run("name.defineVariable('n').empty() or %n.exists()")
    with pytest.raises(PathError, match="not yet taken"):
        run("defineVariable('n').defineVariable('n')")


def test_index_belongs_to_its_own_loop() -> None:
    assert run("name.select(given.select($index) | $index)") == [0, 1, 0, 1]


def test_total_belongs_to_its_own_aggregate() -> None:
    assert run("(1 | 2).aggregate($total + (10 | 20).aggregate($total + $this, 0), 0)") == [60]


def test_trace_is_told_to_the_caller() -> None:
    seen: list[Any] = []
    assert run("(1 | 2).trace('t', $this * 10).count()", trace=lambda *told: seen.append(told)) == [2]
    assert seen == [("t", [10, 20])]


def test_conditions_are_evaluated_only_as_far_as_needed() -> None:
    assert run("false and name.single().exists()") == [False]
    assert run("true or name.single().exists()") == [True]
    assert run("false implies name.single().exists()") == [True]


def test_literals_of_calendar_and_ucum() -> None:
    assert run("3 months") == [Quantity(Decimal(3), "month", is_calendar=True)]
    assert run("3.0 'mg/dL'") == [Quantity(Decimal("3.0"), "mg/dL")]


@pytest.mark.parametrize("text", ["name = 1 + 'a'", "name.given.startsWith('A')", "name.first() < 1", "'a' * 2"])
def test_errors_carry_no_data(text: str) -> None:
    with pytest.raises(PathError) as caught:
        run(text)
    assert not any(value in str(caught.value) for value in ("Ada", "Eve", "Ida"))


def test_what_is_given_out_may_be_changed() -> None:
    run("true").append(1)
    run("{}").append(1)
    assert run("true") == [True]
    assert run("{}") == []
