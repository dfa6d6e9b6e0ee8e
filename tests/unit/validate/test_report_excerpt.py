"""The excerpts of the source: keys stay, values are dots, and the caret stands under the same character."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.issues import Issue, Origin
from service.validate.report.excerpt import MASK, WIDTH, Excerpt, Excerpts, masked, printable
from service.validate.report.result import Result


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ('  "status" : "final",', '  "status" : "•••••",'),
        ('"value": -19.50, "active": true}', '"value": ••••••, "active": ••••}'),
        ('{"a": ["x", "y"], "b": null}', '{"a": ["•", "•"], "b": ••••}'),
        (r'"note": "say \"hi\": \\", "n": 1', r'"note": "••••••••••••••", "n": •'),
        ('"family": "Kowal', '"family": ••••••'),
        ('"family": "Kowal\\', '"family": •••••••'),
        ("Kowalski, Jane", "••••••••, ••••"),
        ('Kowalski", "given": "Jane"', '••••••••"••"•••••"••"•••••'),
        ("", ""),
    ],
)
def test_values_are_masked_and_columns_stay(line: str, shown: str) -> None:
    assert masked(line) == shown
    assert len(shown) == len(line)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.just("key"), inner),
)


@given(json_values)
def test_no_value_of_any_json_is_left(value: object) -> None:
    shown = masked(json.dumps(value, ensure_ascii=False).replace("\n", " "))
    rest = shown.replace('"key":', "")
    assert set(rest) <= set(MASK + ' ,:[]{}"')


def excerpt(text: str, line: int, column: int, first: int | None = None) -> Excerpt | None:
    """`first`: the line of the file on which the text stands."""
    issue = Issue("error", "value", "val-type", "t", source=Origin("f", line, column))
    return Excerpts(Result("f", text.encode(), [issue], line=first), show_values=True).of(issue)


def test_an_excerpt_is_the_line_with_its_place() -> None:
    assert excerpt('{\r\n\t"a": 1\r\n}', 2, 7) == Excerpt(2, ' "a": 1', 6)
    assert excerpt("\ufeff{}", 1, 2) == Excerpt(1, "{}", 1)
    assert excerpt("{", 1, 9) == Excerpt(1, "{", 1)
    assert excerpt("{}", 2, 1) is None
    assert excerpt('{"a": 1}', 7, 7, first=7) == Excerpt(7, '{"a": 1}', 6)


def test_of_a_long_line_the_part_around_the_place_is_shown() -> None:
    line = "".join(chr(ord("a") + index % 26) for index in range(1000))
    for column in (1, 30, 500, 980, 1000):
        found = excerpt(line, 1, column)
        assert found is not None
        assert found.text[found.caret] == line[column - 1]
        assert len(found.text) <= WIDTH + 2


def test_an_issue_without_a_place_has_no_excerpt() -> None:
    result = Result("f", b"{}", [])
    for source in (None, Origin("f")):
        assert Excerpts(result, show_values=False).of(Issue("error", "value", "r", "t", source=source)) is None


def test_what_a_terminal_would_obey_is_made_visible() -> None:
    assert printable("a\tb\x1b[31m\u202ec\udcff") == "a b·[31m·c·"
