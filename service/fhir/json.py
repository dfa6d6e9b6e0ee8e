"""The strict JSON door: all JSON comes in by `loads` and goes out by `dumps`, and no value changes on the way.

Read fast, explain slowly: msgspec decodes in C and a comparison proves that nothing was lost; where the proof fails,
one scanner in Python decides, which knows every rule and every place.
Sources: RFC 8259 (JSON), RFC 6901 (JSON Pointer), http://hl7.org/fhir/R4/json.html (decimals keep their precision).
"""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation
from typing import Final

import msgspec

from service.errors import UnreadableInput
from service.fhir.scan import DEFAULT, MAX_EXPONENT, SAFE_DIGITS, SIZE, Json, Limits, Scanner, pointer
from service.issues import Origin

__all__ = [
    "DEFAULT",
    "MAX_EXPONENT",
    "SAFE_DIGITS",
    "Json",
    "Limits",
    "dumps",
    "is_text_of",
    "loads",
    "locate",
    "peek",
    "pointer",
    "read",
]


def loads(text: bytes | str, *, file: str = "-", limits: Limits = DEFAULT) -> Json:
    """The value of a JSON text: numbers with a fraction or exponent as Decimal, all other numbers as int.

    Decimals keep every digit (19.00 stays 19.00). Two spellings are not kept, though their values are: 1E2 is read as
    100 and -0 as 0. A byte order mark is skipped, as RFC 8259 section 8.1 allows.
    Raises UnreadableInput with one fatal issue: json-syntax, json-duplicate-key, json-number, json-depth, json-size,
    json-encoding, json-surrogate or json-control; it names the place and the keys, never a value.
    """
    return read(text, file=file, limits=limits)[0]


def read(text: bytes | str, *, file: str = "-", limits: Limits = DEFAULT) -> tuple[Json, bool]:
    """The value as `loads` gives it, and whether it is known that each of its numbers prints in plain digits."""
    raw = _to_utf8(text)
    if len(raw) > limits.max_bytes:
        raise UnreadableInput([SIZE.issue("", Origin(file), limit=limits.max_bytes)])
    value = _read_fast(raw, limits)
    # What the fast path read prints as it stood there, and there it had no exponent.
    return (Scanner(raw, file, limits).read(), False) if value is _UNPROVEN else (value, True)


def locate(text: bytes | str, *, limits: Limits = DEFAULT) -> dict[str, tuple[int, int]]:
    """JSON Pointer → (line, column), counted from 1, of every value; a member's key stands under its pointer + "#key".

    For explaining problems in a text that `loads` took; raises UnreadableInput where `loads` would. One long key above
    a million values makes a million long pointers, so places end once the pointers together exceed max_bytes.
    """
    scanner = Scanner(_to_utf8(text), "-", limits, room=limits.max_bytes)
    scanner.read()
    return scanner.places


def dumps(value: Json, *, indent: bool = False, plain: bool = False) -> bytes:
    """UTF-8 JSON with exact decimals in plain digits; with `indent`, two spaces a level and a newline at the end.

    The value must be made of the types in `Json`. Raises ValueError for a Decimal that is not a finite number.
    `plain`: the numbers came from `read`, which said that they print in plain digits; so nobody needs to look.
    """
    out = _encode(value)
    # str(Decimal) writes 1E+2 and 1E-7, which FHIR allows and some servers refuse. Such numbers are too rare to look
    # for in the value, and easy to see in the text; a string that looks like one costs a walk and changes nothing.
    if not plain and (_EXPONENT.search(out) or _NAN.search(out) or _INFINITY.search(out)):
        out = _encode(_with_plain_digits(value))
    return msgspec.json.format(out, indent=2) + b"\n" if indent else out


def peek(text: bytes) -> Json:
    """The value of a text, unproved: None where msgspec refuses it. Only for a caller who goes on to ask `is_text_of`."""
    try:
        return _decode(text)
    except (msgspec.MsgspecError, ValueError, InvalidOperation, RecursionError):
        return None


def is_text_of(text: bytes, value: Json, seen: Json, limits: Limits = DEFAULT) -> bool:
    """Whether `text` is JSON that says just `value`, whitespace between its tokens aside; `seen` is what `peek` read in it.

    For a value whose depth is known. Then the door has nothing to refuse in the text.
    """
    written = _encode(value)
    if text != written:
        # The text against what was seen in it: as in `_read_fast`. What was seen against the value: to the letter.
        if written != _encode(seen) or text.translate(None, _WHITESPACE) != written.translate(None, _WHITESPACE):
            return False
        text = text.translate(None, _WHITESPACE)
    return not _has_odd_values(text, limits)


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
# One plain letter first: that lets the regex engine skip ahead by memchr, several times faster than `in`.
_NAN: Final = re.compile(rb"N(?=aN)")
_INFINITY: Final = re.compile(rb"I(?=nfinity)")


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
    return _has_odd_values(packed, limits) or _is_deeper(packed, limits.max_depth)


def _has_odd_values(packed: bytes, limits: Limits) -> bool:
    return (
        (b"\\" in packed and b"\\u0000" in packed)
        or _EXPONENT.search(packed) is not None
        or _has_long_number(packed, limits.max_digits)
    )


def _has_long_number(packed: bytes, max_digits: int) -> bool:
    # A longer run of digits has eight or more in every (max_digits / 8)th byte: a look at those settles nearly all texts.
    few = packed[:: max(max_digits // 8, 1)].translate(_DIGITS_TO_0)
    return b"0" * min(8, max_digits + 1) in few and b"0" * (max_digits + 1) in packed.translate(_DIGITS_TO_0)


def _is_deeper(packed: bytes, max_depth: int) -> bool:
    """Whether a legal text nests more than `max_depth` containers: exact, at the speed of bytes methods."""
    if b"\\" in packed:
        packed = packed.replace(b"\\\\", b"").replace(b'\\"', b"")
    # Now every quote opens or closes a string. Deleting quotes in pairs never changes whether a bracket stands inside a
    # string (an odd number of quotes before it), so pairs go first, and few pieces are left to split.
    marks = packed.translate(_BRACES_TO_BRACKETS, _ALL_BUT_MARKS)
    if len(marks) <= max_depth:
        return False
    marks = marks.replace(b'""', b"")
    brackets = b"".join(marks.split(b'"')[::2])
    for _ in range(max_depth):
        brackets = brackets.replace(b"[]", b"")  # takes the leaves off the tree: one level, no more
        if not brackets:
            return False
    return True
