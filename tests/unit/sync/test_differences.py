"""What is told of two values that differ. The laws are in tests/property/test_sync_laws.py."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from service.sync.differences import Difference, differences


@pytest.mark.parametrize(
    ("before", "after", "found"),
    [
        ({"a": 1}, {"a": 1}, []),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, []),
        ({"a": {"b": [1]}}, {"a": {"b": [2]}}, [Difference("changed", "a.b[0]", 1, 2)]),
        ({"a": 1}, {}, [Difference("removed", "a", before=1)]),
        ({}, {"a": None}, [Difference("added", "a", after=None)]),
        ({"n": [1, 2, 3]}, {"n": [1]}, [Difference("removed", "n[1]", before=2), Difference("removed", "n[2]", before=3)]),
        ({"n": [1]}, {"n": [0, 1]}, [Difference("changed", "n[0]", 1, 0), Difference("added", "n[1]", after=1)]),
        ({"v": Decimal("1.50")}, {"v": Decimal("1.5")}, [Difference("changed", "v", Decimal("1.50"), Decimal("1.5"))]),
        ({"v": 1}, {"v": Decimal("1.0")}, [Difference("changed", "v", 1, Decimal("1.0"))]),
        ({"v": 1}, {"v": True}, [Difference("changed", "v", 1, True)]),
        ({"v": "1"}, {"v": 1}, [Difference("changed", "v", "1", 1)]),
        ({"v": {}}, {"v": []}, [Difference("changed", "v", {}, [])]),
        ({"v": None}, {"v": "None"}, [Difference("changed", "v", None, "None")]),
        ({"v": {"a": 1}}, {"v": 1}, [Difference("changed", "v", {"a": 1}, 1)]),
        ([1], [2], [Difference("changed", "[0]", 1, 2)]),
        (1, 2, [Difference("changed", "", 1, 2)]),
    ],
)
def test_the_smallest_elements_that_differ(before: Any, after: Any, found: list[Difference]) -> None:
    assert [repr(one) for one in differences(before, after)] == [repr(one) for one in found]


def test_they_come_in_the_order_of_the_first_and_then_of_the_second() -> None:
    found = differences({"c": 1, "a": 1, "b": 1}, {"z": 1, "b": 2, "y": 1, "c": 1})
    assert [(one.kind, one.place) for one in found] == [("removed", "a"), ("changed", "b"), ("added", "z"), ("added", "y")]
