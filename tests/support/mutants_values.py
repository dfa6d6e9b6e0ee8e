"""Mutators that put a wrong value into one primitive: a literal table of type, condition and wrong value."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from random import Random
from typing import Any, Final

from tests.support.elements import Json, Mutator, members, pick, values

STRINGS: Final = ("string", "markdown")
URIS: Final = ("uri", "url", "canonical")
WHOLE: Final = ("integer", "positiveInt", "unsignedInt")


def wrong(*types: str, value: Any = None, of: Callable[[Any], Any] | None = None) -> Mutator:
    """Puts `value`, or what `of` makes of the old one, into one value of these types."""

    def mutate(resource: Json, random: Random) -> Json | None:
        if spot := pick(random, values(resource, *types)):
            spot.put(value if of is None else of(spot.value))
            return resource
        return None

    return mutate


def resource_id(value: str) -> Mutator:
    def mutate(resource: Json, _: Random) -> Json | None:
        if "id" not in resource:
            return None
        resource["id"] = value
        return resource

    return mutate


def mixed_list(resource: Json, random: Random) -> Json | None:
    """A number among strings."""
    spots = [spot for spot in members(resource) if spot.type in STRINGS and isinstance(spot.value, list)]
    if spot := pick(random, spots):
        spot.value.append(12)
        return resource
    return None


PRIMITIVE: Final[dict[str, Mutator]] = {
    "boolean-as-string": wrong("boolean", of=json.dumps),
    "boolean-as-number": wrong("boolean", of=int),
    "integer-as-string": wrong(*WHOLE, of=str),
    "decimal-as-string": wrong("decimal", of=str),
    "decimal-as-word": wrong("decimal", value="many"),
    "string-as-number": wrong(*STRINGS, value=12),
    "string-as-boolean": wrong(*STRINGS, "code", value=True),
    "string-in-blanks": wrong(*STRINGS, value="   "),
    "string-as-list": mixed_list,
    "control-character": wrong(*STRINGS, of=lambda old: f"{old}\x01"),
    "month-13": wrong("date", "dateTime", value="2021-13-01"),
    "february-30": wrong("date", "dateTime", value="2021-02-30"),
    "day-without-zero": wrong("date", "dateTime", value="2021-2-3"),
    "date-in-words": wrong("date", "dateTime", value="3 March 2021"),
    "year-of-two-digits": wrong("date", "dateTime", value="21"),
    "time-in-date": wrong("date", value="2021-03-04T10:00:00Z"),
    "time-without-zone": wrong("dateTime", value="2021-03-04T10:00:00"),
    "time-without-seconds": wrong("dateTime", value="2021-03-04T10:00Z"),
    "hour-25": wrong("dateTime", "instant", value="2021-03-04T25:00:00Z"),
    "zone-of-20-hours": wrong("dateTime", "instant", value="2021-03-04T10:00:00+20:00"),
    "instant-as-date": wrong("instant", value="2021-03-04"),
    "time-as-dateTime": wrong("time", value="2021-03-04T10:00:00Z"),
    "minute-61": wrong("time", value="10:61:00"),
    "id-too-long": resource_id("a" * 65),
    "id-with-underscore": resource_id("a_b"),
    "id-with-blank": resource_id("a b"),
    "code-with-blanks": wrong("code", of=lambda old: f" {old} "),
    "code-with-two-blanks": wrong("code", of=lambda old: f"{old}  x"),
    "uri-with-blank": wrong(*URIS, of=lambda old: f"{old} x"),
    "oid-that-is-none": wrong(*URIS, value="urn:oid:1.02.x"),
    "uuid-that-is-none": wrong(*URIS, value="urn:uuid:1234"),
    "positive-zero": wrong("positiveInt", value=0),
    "positive-below-zero": wrong("positiveInt", value=-1),
    "unsigned-below-zero": wrong("unsignedInt", value=-1),
    "integer-with-fraction": wrong(*WHOLE, value=Decimal("1.5")),
    "integer-of-33-bits": wrong(*WHOLE, value=2**32),
    "base64-with-stars": wrong("base64Binary", value="a*b*"),
    "base64-cut-short": wrong(
        "base64Binary", of=lambda old: old.rstrip("=")[:-1] if len(old.rstrip("=")) % 4 != 2 else old[:1]
    ),
}
