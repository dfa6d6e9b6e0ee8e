"""Places in a text, counted by hand; that they are those of the scanner, on any JSON, is a law in tests/property."""

from __future__ import annotations

import pytest

from service.fhir.locate import Steps, locate_each


@pytest.mark.parametrize(
    ("text", "steps", "expected"),
    [
        (b"1", (), (1, 1)),
        (b"\n  {}", (), (2, 3)),
        (b'{"a": 1}', ("a",), (1, 2)),
        (b'{"a":\n [1,\n  2]}', ("a", 1), (3, 3)),
        (b'{"a": {"b": [{"c": 1}]}}', ("a", "b", 0, "c"), (1, 15)),
        # A key is found by what it says, not by how it is written.
        (b'{"\\u0061" : 1}', ("a",), (1, 2)),
        (b'{"x": "\\"}", "a": 1}', ("a",), (1, 14)),
        # Columns count characters, lines end with \n.
        ('{"x": "äöü𝄞", "a": 1}'.encode(), ("a",), (1, 15)),
        (b'{"x": 1,\r\n"a": 1}', ("a",), (2, 1)),
        # A byte order mark is no character of the text.
        (b'\xef\xbb\xbf{"a": 1}', ("a",), (1, 2)),
        (b"\xef\xbb\xbf[\n1]", (0,), (2, 1)),
    ],
)
def test_a_member_is_at_its_key_and_an_item_at_its_value(text: bytes, steps: Steps, expected: tuple[int, int]) -> None:
    assert locate_each(text, [steps])[steps] == expected


@pytest.mark.parametrize("steps", [("b",), ("a", 2), ("a", "0"), ("a", 0, "c"), (0,)])
def test_what_is_not_there_has_no_place(steps: Steps) -> None:
    assert steps not in locate_each(b'{"a": [1, {}]}', [steps])


def test_many_places_in_one_text() -> None:
    text = b'{"a": [1, 2],\n "b": {"c": 3}}'
    wanted: list[Steps] = [("b", "c"), (), ("a", 1), ("a",), ("b",)]
    assert locate_each(text, wanted) == {(): (1, 1), ("a",): (1, 2), ("a", 1): (1, 11), ("b",): (2, 2), ("b", "c"): (2, 8)}
