"""The strict JSON door: all JSON comes in by `loads` and goes out by `dumps`, and no value changes on the way.

Read fast, explain slowly: msgspec decodes in C and a comparison proves that nothing was lost; where the proof fails,
one scanner in Python decides, which knows every rule and every place.
Sources: RFC 8259 (JSON), RFC 6901 (JSON Pointer), http://hl7.org/fhir/R4/json.html (decimals keep their precision).
"""

from __future__ import annotations

import json
import re
import sys
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, Final

import msgspec

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


def loads(text: bytes | str, *, file: str = "-", limits: Limits = DEFAULT) -> Json:
    """The value of a JSON text: numbers with a fraction or exponent as Decimal, all other numbers as int.

    Decimals keep every digit (19.00 stays 19.00). Two spellings are not kept, though their values are: 1E2 is read as
    100 and -0 as 0. A byte order mark is skipped, as RFC 8259 section 8.1 allows.
    Raises UnreadableInput with one fatal issue: json-syntax, json-duplicate-key, json-number, json-depth, json-size,
    json-encoding, json-surrogate or json-control; it names the place and the keys, never a value.
    """
    raw = _to_utf8(text)
    if len(raw) > limits.max_bytes:
        raise UnreadableInput([_SIZE.issue("", Origin(file), limit=limits.max_bytes)])
    value = _read_fast(raw, limits)
    return _Scanner(raw, file, limits).read() if value is _UNPROVEN else value


def locate(text: bytes | str, *, limits: Limits = DEFAULT) -> dict[str, tuple[int, int]]:
    """JSON Pointer → (line, column), counted from 1, of every value; a member's key stands under its pointer + "#key".

    For explaining problems in a text that `loads` took; raises UnreadableInput where `loads` would. One long key above
    a million values makes a million long pointers, so places end once the pointers together exceed max_bytes.
    """
    scanner = _Scanner(_to_utf8(text), "-", limits, room=limits.max_bytes)
    scanner.read()
    return scanner.places


def dumps(value: Json, *, indent: bool = False) -> bytes:
    """UTF-8 JSON with exact decimals in plain digits; with `indent`, two spaces a level and a newline at the end.

    The value must be made of the types in `Json`. Raises ValueError for a Decimal that is not a finite number.
    """
    out = _encode(value)
    # str(Decimal) writes 1E+2 and 1E-7, which FHIR allows and some servers refuse. Such numbers are too rare to look
    # for in the value, and easy to see in the text; a string that looks like one costs a walk and changes nothing.
    if _EXPONENT.search(out) or b"NaN" in out or b"Infinity" in out:
        out = _encode(_with_plain_digits(value))
    return msgspec.json.format(out, indent=2) + b"\n" if indent else out


def pointer(*steps: str | int) -> str:
    """The JSON Pointer (RFC 6901) of these keys and indexes: pointer("a/b", 0) is "/a~1b/0", pointer() is ""."""
    return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in steps)


def _with_plain_digits(value: Json) -> Json:
    if isinstance(value, dict):
        return {key: _with_plain_digits(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_with_plain_digits(item) for item in value]
    if not isinstance(value, Decimal):
        return value
    if not value.is_finite():
        raise ValueError("JSON has no number for NaN or Infinity")
    return msgspec.Raw(format(value, "f").encode())


def _to_utf8(text: bytes | str) -> bytes:
    # A lone surrogate in a str becomes bytes that are not UTF-8, so that str and bytes are refused alike.
    raw = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    return raw.removeprefix(b"\xef\xbb\xbf")


# The fast path ------------------------------------------------------------------------------------------------------

_decode: Final = msgspec.json.Decoder(float_hook=Decimal).decode
_encode: Final = msgspec.json.Encoder(decimal_format="number").encode

_UNPROVEN: Final = object()
_WHITESPACE: Final = b" \t\r\n"
_DIGITS_TO_0: Final = bytes.maketrans(b"123456789", b"000000000")
_BRACES_TO_BRACKETS: Final = bytes.maketrans(b"{}", b"[]")
_ALL_BUT_MARKS: Final = bytes(byte for byte in range(256) if byte not in b'{}[]"')
# An exponent as str(Decimal) writes it. It begins with a literal, so that the search runs at the speed of memchr.
_EXPONENT: Final = re.compile(rb"E(?<=[0-9]E)[+-][0-9]")


def _read_fast(raw: bytes, limits: Limits) -> Json:
    """The value of a text that is legal beyond doubt, or _UNPROVEN.

    Proof that no member is lost. Let T be the text, V what msgspec read from it, E what it writes for V, and let T and
    E be equal once all JSON whitespace is deleted, even inside strings.
    1. T and E then have the same tokens but for spaces within strings: in JSON some punctuation stands between any two
       words or numbers, so whitespace never parts tokens that would merge; a string holds no raw tab or newline, and
       no backslash before a space, so quotes and escapes read the same without its spaces.
    2. So T and E have the same shape: from the root downwards, the object of T that was read into a dict D stands where
       E has the text of D and has as many members. E has one member for each key of D, so T repeats no key there (the
       spaces do not matter: "a b" and "ab" are two keys of D), and D keeps the order of T, so the members correspond.
    Strings and numbers come straight from T: float_hook gets the literal, Decimal(literal) is exact, ints are whole.
    Other legal spellings (\\u00e9, \\/, 1e2, -0, 0.0000001) differ from E: nothing is wrong, the scanner reads them.
    """
    try:
        value = _decode(raw)
        written = _encode(value)
    except (msgspec.MsgspecError, ValueError, InvalidOperation, RecursionError):
        return _UNPROVEN
    packed = raw.translate(None, _WHITESPACE)
    if packed != written.translate(None, _WHITESPACE) or _may_break_our_rules(packed, limits):
        return _UNPROVEN
    return value


def _may_break_our_rules(packed: bytes, limits: Limits) -> bool:
    """Whether this legal text could break a rule msgspec does not know. True is a suspicion, False is certain."""
    return (
        b"\\u0000" in packed
        or _EXPONENT.search(packed) is not None
        or b"0" * (limits.max_digits + 1) in packed.translate(_DIGITS_TO_0)
        or _is_deeper(packed, limits.max_depth)
    )


def _is_deeper(packed: bytes, max_depth: int) -> bool:
    """Whether a legal text nests more than `max_depth` containers: exact, at the speed of bytes methods."""
    if packed.count(b"{") + packed.count(b"[") <= max_depth:
        return False
    if b"\\" in packed:
        packed = packed.replace(b"\\\\", b"").replace(b'\\"', b"")
    # Now every quote opens or closes a string. Deleting quotes in pairs never changes whether a bracket stands inside a
    # string (an odd number of quotes before it), so pairs go first, and few pieces are left to split.
    marks = packed.translate(_BRACES_TO_BRACKETS, _ALL_BUT_MARKS).replace(b'""', b"")
    brackets = b"".join(marks.split(b'"')[::2])
    for _ in range(max_depth):
        brackets = brackets.replace(b"[]", b"")  # takes the leaves off the tree: one level, no more
        if not brackets:
            return False
    return True


# The slow path ------------------------------------------------------------------------------------------------------

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


_SIZE = _Fault("json-size", "The text is longer than {limit} bytes.", "Split it into smaller texts.")
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


class _Scanner:
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
        literal, fraction, exponent = number[0], number[1], number[2]
        if exponent and Decimal(exponent[1:]).copy_abs() > MAX_EXPONENT:
            raise self._refusal(_EXPONENT_SIZE)
        # 1E2 becomes 100 here, so that nobody behind the door meets a Decimal that prints as 1E+2.
        plain = format(Decimal(literal), "f") if exponent else literal
        limit = self.limits.max_digits
        if len(plain) > limit and any(len(run) > limit for run in re.split("[-.]", plain)):
            raise self._refusal(_DIGITS, limit=limit)
        self.position = number.end()
        return Decimal(plain) if fraction or exponent else int(plain)

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
