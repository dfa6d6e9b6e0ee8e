"""What rules compare by: http://hl7.org/fhir/R4/elementdefinition-definitions.html"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from service.validate.bounds import exceeds
from service.validate.rules import covers, same, shown
from tests.support.definitions import quantity

D = Decimal


# ElementDefinition.fixed[x]: "the values must be exactly the same (including sequence, case, diacritics …)".
@pytest.mark.parametrize(
    ("value", "fixed", "is_same"),
    [
        ("a", "a", True),
        ("A", "a", False),
        (True, 1, False),
        (1, True, False),
        (D("1.0"), D("1.00"), False),  # the precision of a decimal is part of it: datatypes.html#decimal
        (1, D("1.0"), False),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, True),
        ({"a": 1, "b": 2}, {"a": 1}, False),
        ([1, 2], [2, 1], False),
        ([1], [1, 1], False),
        ([], {}, False),
        (None, None, True),
    ],
)
def test_a_fixed_value_is_the_same_to_the_letter(value: Any, fixed: Any, is_same: bool) -> None:
    assert same(value, fixed) is is_same


# ElementDefinition.pattern[x]: "if the pattern is an array, each item must match at least one item of the value".
@pytest.mark.parametrize(
    ("value", "pattern", "is_covered"),
    [
        ({"a": 1, "b": 2}, {"a": 1}, True),
        ({"b": 2}, {"a": 1}, False),
        ([{"a": 1}, {"b": 2}], [{"b": 2}], True),
        ([{"a": 1, "b": 2}], [{"b": 2}, {"a": 1}], True),
        ([{"a": 1}], [{"a": 1}, {"b": 2}], False),
        ({"a": {"b": [1, 2]}}, {"a": {"b": [2]}}, True),
        ([{"a": 1}], {"a": 1}, False),
        ("ab", "a", False),
        ([], [], True),
    ],
)
def test_a_pattern_is_the_least_that_a_value_has(value: Any, pattern: Any, is_covered: bool) -> None:
    assert covers(value, pattern) is is_covered


@pytest.mark.parametrize(
    ("low", "high", "is_above"),
    [
        (2, 1, True),
        (D("1.0"), 1, False),
        ("2020-02-01", "2020-01-31", True),
        ("2020-01-31", "2020-01", False),  # of different precision: nobody can tell
        ("b", 1, False),
        (quantity("2", "g"), quantity("1999", "mg"), True),
        (quantity("2", "g"), quantity("2000", "mg"), False),
        (quantity("2", "g"), quantity("1", "cm"), False),
        (quantity("2", "((("), quantity("1", "mg"), False),
        ({"value": 2, "unit": "pills"}, {"value": 1, "unit": "pills"}, True),
        (None, 1, False),
    ],
)
def test_bounds_compare_what_can_be_compared(low: Any, high: Any, is_above: bool) -> None:
    assert exceeds(low, high) is is_above


def test_a_value_of_a_definition_is_shown_in_short() -> None:
    assert shown("a") == "a"
    assert shown({"a": D("1.50")}) == '{"a":1.50}'
    assert len(shown("a" * 1000)) == 301
