"""The slow path of the JSON door: a scanner that knows every rule and every place, and never fails but with an issue.

Linear in the text and without recursion. Sources: RFC 8259 (JSON), RFC 6901 (JSON Pointer).
"""

from __future__ import annotations

import json
import re
import sys
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from service.errors import UnreadableInput
from service.issues import Issue, Origin

# Decoded JSON: dict[str, Json], list[Json], str, Decimal, int, bool or None; never float.
Json = Any

MAX_EXPONENT: Final = 400
# Digits in a row that int() takes whatever PYTHONINTMAXSTRDIGITS says: https://docs.python.org/3/library/stdtypes.html
SAFE_DIGITS: Final = sys.int_info.str_digits_check_threshold


@dataclass(frozen=True, slots=True)
class Limits:
    """What a text may cost: bytes in all, containers inside one another, digits in a row in one number."""

    max_bytes: int = 20_000_000
    max_depth: int = 64
    max_digits: int = SAFE_DIGITS

    def __post_init__(self) -> None:
        if self.max_digits > SAFE_DIGITS:
            raise ValueError(f"max_digits must be {SAFE_DIGITS} or less, or int() may fail")


DEFAULT: Final = Limits()


def pointer(*steps: str | int) -> str:
    """The JSON Pointer (RFC 6901) of these keys and indexes: pointer("a/b", 0) is "/a~1b/0", pointer() is ""."""
    return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in steps)


# Rule → code of http://hl7.org/fhir/R4/valueset-issue-type.html
_CODES: Final = {
    "json-syntax": "structure",
    "json-duplicate-key": "structure",
    "json-number": "invalid",
    "json-depth": "too-costly",
    "json-size": "too-long",
    "json-encoding": "invalid",
    "json-surrogate": "invalid",
    "json-control": "invalid",
}


@dataclass(frozen=True, slots=True)
class _Fault:
    """One kind of refusal. `text` may have fields for `issue` to fill in; `seen` is a regex of what shows it."""

    rule: str
    text: str
    fix: str
    seen: str = ""

    def issue(self, pointer: str, source: Origin, **fields: object) -> Issue:
        text = self.text.format(**fields)
        return Issue("fatal", _CODES[self.rule], self.rule, text, self.fix, pointer=pointer, source=source)


SIZE = _Fault("json-size", "The text is longer than {limit} bytes.", "Split it into smaller texts.")
_DEPTH = _Fault("json-depth", "More than {limit} objects and arrays lie inside one another.", "Nest the data less.")
_DIGITS = _Fault("json-number", "A number has more than {limit} digits in a row.", "Round it, or use another unit.")
_EXPONENT_SIZE = _Fault(
    "json-number",
    f"The exponent of a number lies outside -{MAX_EXPONENT} to {MAX_EXPONENT}.",
    "Write the number without an exponent, or in a larger or smaller unit.",
)
_DUPLICATE = _Fault(
    "json-duplicate-key",
    "The key {key} occurs more than once in this object.",
    "Keep one member of this name, for readers disagree on which one counts.",
)
_WIDE = _Fault("json-encoding", "The text is UTF-16 or UTF-32.", "Save it as UTF-8, the one encoding of JSON.")
_UNEXPECTED = _Fault(
    "json-syntax",
    "Expected {expected} here.",
    "Look for a comma, colon, quote or bracket that is missing or too many at this place or just before it.",
)
# What may stand where the grammar stops, most telling first; where no row matches, the fault is _UNEXPECTED.
_FOUND: Final = [
    _Fault("json-syntax", "The text ends too early.", "Check that it is whole and all brackets are closed.", r"\Z"),
    # Surrogates in the text are what the error handler surrogateescape puts for bytes that are not UTF-8.
    _Fault("json-encoding", "The text is not UTF-8 here.", "Save it as UTF-8 and send it again.", r"[\ud800-\udfff]"),
    _Fault(
        "json-control",
        "An unescaped control character stands here.",
        "Remove it, or write it as an escape inside a string, such as \\n or \\t.",
        r"[\x00-\x1f]",
    ),
    _Fault("json-control", "A string holds NUL (\\u0000).", "Remove it: FHIR strings cannot hold it.", r"\\u0000"),
    _Fault(
        "json-surrogate",
        "A string holds one half of a surrogate pair.",
        "Write the character itself or both halves (\\ud83d\\ude00); the text may have been cut in between.",
        r"\\u[dD][89a-fA-F][0-9a-fA-F]{2}",
    ),
    _Fault(
        "json-syntax",
        "JSON does not know this escape.",
        'Use \\" \\\\ \\/ \\b \\f \\n \\r \\t or \\u and four hexadecimal digits.',
        r"\\",
    ),
    _Fault("json-number", "NaN and Infinity are not JSON.", "Give a number or leave it out.", r"[+-]?(NaN|Infinity)\b"),
    _Fault("json-syntax", "JSON has no comments.", "Remove the comment.", r"//|/\*|#"),
    _Fault("json-syntax", "This is no quote of JSON.", 'Use the straight double quote (").', r"['\u2018-\u201f]"),
]

_SPACE: Final = re.compile(r"[ \t\r\n]*+")
_WORD: Final = re.compile(r"(?:true|false|null)\b")
_WORDS: Final = {"true": True, "false": False, "null": None}
_NUMBER: Final = re.compile(r"-?+(?:0|[1-9][0-9]*+)(\.[0-9]++)?+([eE][+-]?+[0-9]++)?+(?![-+.0-9eE])")
_LIKE_A_NUMBER: Final = re.compile(r"[-+.0-9]")
# The inside of a string as far as it is legal here: no NUL, and surrogates in pairs only.
_IN_STRING: Final = re.compile(
    r"""(?: [^"\\\x00-\x1f\ud800-\udfff]++
          | \\ (?: ["\\/bfnrt]
                 | u (?!0000) (?![dD][89a-fA-F]) [0-9a-fA-F]{4}
                 | u [dD][89abAB][0-9a-fA-F]{2} \\u [dD][c-fC-F][0-9a-fA-F]{2} ) )*+""",
    re.VERBOSE,
)
# ASCII, with which all JSON begins, in units of two or four bytes: https://www.rfc-editor.org/rfc/rfc4627#section-3
_WIDE_UNITS: Final = re.compile(r"\x00|[^\x00]\x00(?:\x00|[^\x00]\x00|\Z)")

_OPENED: Final = object()


@dataclass(slots=True)
class _Frame:
    """A container being read. `step` is the key or index of the value being read, None between two values."""

    container: Any
    closer: str
    step: str | int | None = None


@dataclass(slots=True)
class _Ruler:
    """Counts lines and columns. Asked for offsets in rising order it looks at each character once."""

    text: str
    line: int = 1
    line_start: int = 0
    offset: int = 0

    def place(self, offset: int) -> tuple[int, int]:
        self.line += self.text.count("\n", self.offset, offset)
        self.line_start = self.text.rfind("\n", self.offset, offset) + 1 or self.line_start
        self.offset = offset
        return self.line, offset - self.line_start + 1


class Scanner:
    """Reads one JSON text by the grammar of RFC 8259 and our rules, and knows the place of all that it reads.

    Iterative and linear: the frames of the open containers are the only stack, and no character is read over and over.
    With `room`, it notes in `places` where each value and key stands, until the pointers take that many characters.
    """

    def __init__(self, raw: bytes, file: str, limits: Limits, *, room: int = 0) -> None:
        self.text = raw.decode("utf-8", "surrogateescape")
        self.file = file
        self.limits = limits
        self.position = 0
        self.frames: list[_Frame] = []
        self.ruler = _Ruler(self.text)
        self.places: dict[str, tuple[int, int]] = {}
        self.room = room

    def read(self) -> Json:
        if _WIDE_UNITS.match(self.text):
            raise self._refusal(_WIDE)
        value = self._value()
        while self.frames:
            if value is not _OPENED:
                self._keep(value)
            value = self._next(opened=value is _OPENED)
        self._skip(_SPACE)
        if self.position < len(self.text):
            raise self._unexpected("the end of the text")
        return value

    def _next(self, *, opened: bool) -> Json:
        """What follows in the innermost container: the container itself if it closes here, else its next value."""
        frame = self.frames[-1]
        if self._take(frame.closer):
            return self.frames.pop().container
        if not opened and not self._take(","):
            raise self._unexpected(f'"," or "{frame.closer}"')
        frame.step = self._key(frame) if frame.closer == "}" else len(frame.container)
        return self._value()

    def _keep(self, value: Json) -> None:
        frame = self.frames[-1]
        if frame.closer == "}":
            frame.container[frame.step] = value
        else:
            frame.container.append(value)
        frame.step = None

    def _key(self, frame: _Frame) -> str:
        self._skip(_SPACE)
        start = self.position
        if not self._at('"'):
            raise self._unexpected("a key in double quotes")
        key = self._string()
        if key in frame.container:
            self.position, frame.step = start, key
            raise self._refusal(_DUPLICATE, key=repr(key[:80]))
        if self.room > 0:
            self._note(pointer(key) + "#key", start)
        if not self._take(":"):
            raise self._unexpected('":" after a key')
        return key

    def _value(self) -> Json:
        """A string, number or word, or _OPENED for a container whose values are still to come."""
        self._skip(_SPACE)
        if self.room > 0:
            self._note("", self.position)
        if self._at('"'):
            return self._string()
        if self._at("{"):
            return self._open({}, "}")
        if self._at("["):
            return self._open([], "]")
        if word := _WORD.match(self.text, self.position):
            self.position = word.end()
            return _WORDS[word[0]]
        return self._number()

    def _open(self, container: dict[str, Json] | list[Json], closer: str) -> object:
        if len(self.frames) >= self.limits.max_depth:
            raise self._refusal(_DEPTH, limit=self.limits.max_depth)
        self.frames.append(_Frame(container, closer))
        self.position += 1
        return _OPENED

    def _string(self) -> str:
        start = self.position
        self.position += 1
        self._skip(_IN_STRING)
        if not self._at('"'):
            raise self._unexpected("the end of a string")
        self.position += 1
        inside = self.text[start + 1 : self.position - 1]
        return str(json.loads(f'"{inside}"')) if "\\" in inside else inside

    def _number(self) -> int | Decimal:
        number = _NUMBER.match(self.text, self.position)
        if number is None:
            near_miss = _LIKE_A_NUMBER.match(self.text, self.position)
            raise self._unexpected("a number as JSON spells it (0.5, 19.00, -3)" if near_miss else "a value")
        literal, exponent = number[0], number[2]
        if exponent and Decimal(exponent[1:]).copy_abs() > MAX_EXPONENT:
            raise self._refusal(_EXPONENT_SIZE)
        # 1E2 becomes 100 here, so that nobody behind the door meets a Decimal that prints as 1E+2.
        plain = format(Decimal(literal), "f") if exponent else literal
        limit = self.limits.max_digits
        if len(plain) > limit and any(len(run) > limit for run in re.split("[-.]", plain)):
            raise self._refusal(_DIGITS, limit=limit)
        self.position = number.end()
        return Decimal(plain) if "." in plain else int(plain)

    def _skip(self, pattern: re.Pattern[str]) -> None:
        if found := pattern.match(self.text, self.position):
            self.position = found.end()

    def _at(self, char: str) -> bool:
        return self.text.startswith(char, self.position)

    def _take(self, char: str) -> bool:
        self._skip(_SPACE)
        found = self._at(char)
        self.position += found
        return found

    def _pointer(self) -> str:
        return pointer(*(frame.step for frame in self.frames if frame.step is not None))

    def _note(self, suffix: str, offset: int) -> None:
        where = self._pointer() + suffix
        self.room -= len(where)
        # A member may be named "a#key"; the place of its value goes before that of the key "a".
        if not suffix or where not in self.places:
            self.places[where] = self.ruler.place(offset)

    def _unexpected(self, expected: str) -> UnreadableInput:
        seen = (fault for fault in _FOUND if re.compile(fault.seen).match(self.text, self.position))
        return self._refusal(next(seen, _UNEXPECTED), expected=expected)

    def _refusal(self, fault: _Fault, **fields: object) -> UnreadableInput:
        source = Origin(self.file, *self.ruler.place(self.position))
        return UnreadableInput([fault.issue(self._pointer(), source, **fields)])
