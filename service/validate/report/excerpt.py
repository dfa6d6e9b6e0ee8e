"""The line of the source that an issue is about, with every value masked unless values may be shown."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from service.issues import Issue
from service.validate.report.result import Result

MASK: Final = "•"
# What is shown of a longer line, around the place that is meant; NDJSON has a whole resource on one.
WIDTH: Final = 100
_CUT: Final = "…"

# A string with what makes it a key, or anything else that is neither space nor punctuation: numbers, words, and in a text
# that is no JSON whatever stands outside of strings. A string without its end takes the rest of the line.
_TOKEN: Final = re.compile(r'"(?:[^"\\]++|\\.)*+(?:"(?P<key>(?=\s*:))?|\\?$)|[^\s"{}\[\],:]++')


@dataclass(frozen=True, slots=True)
class Excerpt:
    """Line `number` (from 1) of a file, or a part of it; `caret` counts from 0 in `text`."""

    number: int
    text: str
    caret: int


class Excerpts:
    """The excerpts of one result. A line is masked once, however many issues are about it."""

    def __init__(self, result: Result, *, show_values: bool) -> None:
        self._result = result
        self._show_values = show_values
        self._shown: dict[int, str] = {}

    def of(self, issue: Issue) -> Excerpt | None:
        """None where the issue names no line of the text."""
        if issue.source is None or issue.source.line is None:
            return None
        number = issue.source.line
        index = number - (self._result.line or 1)
        if not 0 <= index < len(self._lines):
            return None
        line = self._line(index)
        caret = min(max((issue.source.column or 1) - 1, 0), len(line))
        return Excerpt(number, *_around(line, caret))

    @cached_property
    def _lines(self) -> list[str]:
        # As the JSON door counts columns: without the byte order mark, and a byte that is no UTF-8 is one column.
        return self._result.text.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape").split("\n")

    def _line(self, index: int) -> str:
        if index not in self._shown:
            line = self._lines[index].rstrip("\r")
            self._shown[index] = line if self._show_values else masked(line)
        return self._shown[index]


def masked(line: str) -> str:
    """A line of JSON with its keys and punctuation, but each character of its values as a dot: columns stay what they are."""
    return _TOKEN.sub(_mask, line)


def _mask(found: re.Match[str]) -> str:
    token = found[0]
    if found["key"] is not None:
        return token
    if len(token) > 1 and token.startswith('"') and token.endswith('"'):
        return f'"{MASK * (len(token) - 2)}"'
    return MASK * len(token)


def _around(line: str, caret: int) -> tuple[str, int]:
    """(The part of the line around the caret, the caret in it)."""
    if len(line) <= WIDTH:
        return printable(line), caret
    start = min(max(caret - WIDTH // 2, 0), len(line) - WIDTH)
    end = start + WIDTH
    before, after = _CUT * (start > 0), _CUT * (end < len(line))
    return f"{before}{printable(line[start:end])}{after}", caret - start + len(before)


def printable(text: str) -> str:
    """The text with nothing in it that a terminal would obey: a tab is a blank, other control characters are dots."""
    return "".join(char if char.isprintable() else " " if char == "\t" else "·" for char in text)
