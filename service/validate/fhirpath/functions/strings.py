"""Functions on strings: each is empty where its text or one of its arguments is.

Source: http://hl7.org/fhirpath/N1/#string-manipulation; encode, escape, trim, split, join are of the release after it.
"""

from __future__ import annotations

import base64
import binascii
import html
import json
import re
from collections.abc import Callable
from typing import Any, Final

from service.validate.fhirpath.functions import patterns
from service.validate.fhirpath.functions.table import Function, Kind, gives_items, gives_truth
from service.validate.fhirpath.model import NOTHING, Items
from service.validate.fhirpath.values import bounded, integer, one, refuse_longer, text

_JSON_ESCAPE: Final = re.compile(r"\\(?:[\"\\/bfnrt]|u[0-9A-Fa-f]{4})")
_GROUP: Final = re.compile(r"\$(?:(\d)|\{(\w+)\})")


def _test(operation: Callable[..., bool], *takes: Kind) -> Function:
    def run(items: Items, *arguments: Items) -> bool | None:
        values = [text(each) for each in (items, *arguments)]
        return None if None in values else operation(*values)

    return gives_truth(run, *takes)


def _text(operation: Callable[..., Any], *takes: Kind) -> Function:
    """A function whose texts give one value, or None for none."""

    def run(items: Items, *arguments: Items) -> Items:
        values = [text(each) for each in (items, *arguments)]
        return NOTHING if None in values else one(operation(*values))

    return gives_items(run, *takes)


def _substring(items: Items, start: Items, length: Items | None = None) -> Items:
    value, first = text(items), integer(start)
    if value is None or first is None or not 0 <= first < len(value):
        return NOTHING
    count = integer(length) if length else None
    return [value[first:] if count is None else value[first : first + max(count, 0)]]


def _replaced(value: str, old: str, new: str) -> str:
    refuse_longer(len(value) + value.count(old) * len(new))
    return value.replace(old, new)


def _replaced_matches(value: str, pattern: str, new: str) -> str:
    # The names of groups are Java's: $1 and ${name}. An empty pattern changes nothing.
    template = _GROUP.sub(lambda match: rf"\g<{match[1] or match[2]}>", new.replace("\\", r"\\"))
    return patterns.substituted(pattern, template, value) if pattern else value


def _characters(items: Items) -> Items:
    return list(text(items) or "")


def _split(items: Items, separator: Items) -> Items:
    value, told = text(items), text(separator)
    if value is None or told is None:
        return NOTHING
    return list(value.split(told) if told else value)


def _joined(items: Items, separator: Items = NOTHING) -> Items:
    return [bounded((text(separator) or "").join(text([item]) or "" for item in items))] if items else NOTHING


_ENCODERS: Final[dict[str, Callable[[bytes], bytes]]] = {
    "base64": base64.standard_b64encode,
    "urlbase64": base64.urlsafe_b64encode,
    "hex": binascii.hexlify,
}
_DECODERS: Final[dict[str, Callable[[bytes], bytes]]] = {
    "base64": base64.standard_b64decode,
    "urlbase64": base64.urlsafe_b64decode,
    "hex": binascii.unhexlify,
}


def _encoded(value: str, form: str) -> str | None:
    encode = _ENCODERS.get(form)
    return encode(value.encode()).decode() if encode else None


def _decoded(value: str, form: str) -> str | None:
    decode = _DECODERS.get(form)
    try:
        return decode(value.encode()).decode() if decode else None
    except ValueError:
        return None


def _escaped(value: str, form: str) -> str | None:
    if form == "html":
        return html.escape(value, quote=True)
    return json.dumps(value, ensure_ascii=False)[1:-1] if form == "json" else None


def _unescaped(value: str, form: str) -> str | None:
    if form == "html":
        return html.unescape(value)
    return _JSON_ESCAPE.sub(lambda match: str(json.loads(f'"{match[0]}"')), value) if form == "json" else None


FUNCTIONS: Final[dict[str, Function]] = {
    "indexOf": _text(str.find, "value"),
    "lastIndexOf": _text(str.rfind, "value"),
    "substring": gives_items(_substring, "value", "value", least=1),
    "startsWith": _test(str.startswith, "value"),
    "endsWith": _test(str.endswith, "value"),
    "contains": _test(lambda value, part: part in value, "value"),
    "upper": _text(str.upper),
    "lower": _text(str.lower),
    "replace": _text(_replaced, "value", "value"),
    "matches": _test(lambda value, pattern: patterns.found(pattern, value), "value"),
    "matchesFull": _test(lambda value, pattern: patterns.found(pattern, value, whole=True), "value"),
    "replaceMatches": _text(_replaced_matches, "value", "value"),
    "length": _text(len),
    "toChars": gives_items(_characters),
    "trim": _text(str.strip),
    "split": gives_items(_split, "value"),
    "join": gives_items(_joined, "value", least=0),
    "encode": _text(_encoded, "value"),
    "decode": _text(_decoded, "value"),
    "escape": _text(_escaped, "value"),
    "unescape": _text(_unescaped, "value"),
}
