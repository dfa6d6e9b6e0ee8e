"""Constants of primitive types: what FHIR takes as a date, a code or a decimal, and the JSON value of such a text."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

from service.case.form import TEXT
from service.mapping import moments

# http://hl7.org/fhir/R4/datatypes.html#primitive, without exponents, and integers short enough to need no look at 2^31.
PRIMITIVES = {
    "boolean": "true|false",
    "integer": r"0|-?[1-9]\d{0,8}",
    "unsignedInt": r"0|[1-9]\d{0,8}",
    "positiveInt": r"[1-9]\d{0,8}",
    "decimal": r"-?(?:0|[1-9]\d{0,17})(?:\.\d{1,17})?",
    "code": r"[^\s]+(?:\s[^\s]+)*",
    "id": r"[A-Za-z0-9.-]{1,64}",
    "oid": r"urn:oid:[0-2](?:\.(?:0|[1-9]\d*))+",
    "date": moments.DATE,
    "dateTime": moments.DATE_TIME,
    "instant": rf"[1-9]\d{{3}}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01]){moments.TIME}",
    **dict.fromkeys(("uri", "url", "canonical"), r"[^\s<>\x00-\x20]+"),
    **dict.fromkeys(("string", "markdown"), TEXT),
}


def constant_value(kind: str, text: str) -> Any:
    """A constant as JSON has it. Raises ValueError where it is none of this primitive type."""
    if not re.fullmatch(PRIMITIVES[kind], text):
        raise ValueError(kind)
    if kind == "boolean":
        return text == "true"
    if kind == "decimal":
        return Decimal(text)
    return int(text) if kind in ("integer", "unsignedInt", "positiveInt") else text
