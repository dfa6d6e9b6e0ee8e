"""Clinical time: moments as cases write them, and their FHIR form, both ways.

A moment is a partial date, a period, or a distance from a named event of the same record. Nothing is made more precise
than it was written: a relative moment travels as the relative-date extension, and only whole days from a fully dated event
also get the computed date. Grammar with examples: docs/moments.md.
Extension: http://hl7.org/fhir/R4/extension-relative-date.html (the shape of R4 core 4.0.1).
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any, NamedTuple

from service.case.form import ITEM_ID

RELATIVE_DATE = "http://hl7.org/fhir/StructureDefinition/relative-date"
DATA_ABSENT = "http://hl7.org/fhir/StructureDefinition/data-absent-reason"
UCUM = "http://unitsofmeasure.org"

# http://hl7.org/fhir/R4/datatypes.html#dateTime, without 24:00 and with seconds and offset wherever there is a time.
TIME = r"T(?:[01]\d|2[0-3]):[0-5]\d:(?:[0-5]\d|60)(?:\.\d{1,9})?(?:Z|[+-](?:(?:0\d|1[0-3]):[0-5]\d|14:00))"
# The calendar, so that 30 February is told with all else that the form refuses.
_LEAP_YEAR = r"(?:[1-9]\d(?:0[48]|[2468][048]|[13579][26])|(?:[2468][048]|[13579][26])00)"
_DAY_OF_MONTH = r"(?:(?:0[13578]|1[02])-(?:0[1-9]|[12]\d|3[01])|(?:0[469]|11)-(?:0[1-9]|[12]\d|30)|02-(?:0[1-9]|1\d|2[0-8]))"
_FULL_DATE = rf"(?:[1-9]\d{{3}}-{_DAY_OF_MONTH}|{_LEAP_YEAR}-02-29)"
_YEAR_OR_MONTH = r"[1-9]\d{3}(?:-(?:0[1-9]|1[0-2]))?"
DATE = rf"(?:{_FULL_DATE}|{_YEAR_OR_MONTH})"
DATE_TIME = rf"(?:{_FULL_DATE}(?:{TIME})?|{_YEAR_OR_MONTH})"
_DAY = r"(?:0|-?[1-9]\d{0,4})"
_UNITS = {"hour": "h", "week": "wk", "month": "mo", "year": "a"}
_WORDS = {code: word for word, code in _UNITS.items()}
_SPAN = r"(?:1 (?:hour|week|month|year)|(?:[2-9]|[1-9]\d{1,3}|(?:0|[1-9]\d{0,3})\.\d{1,3}) (?:hours|weeks|months|years))"

POINT = (
    rf"(?:{DATE_TIME}|(?:by |past )?day {_DAY} of {ITEM_ID}|(?:by |past )?{_SPAN} (?:before|after) {ITEM_ID}"
    rf"|(?:at|before|after|during) {ITEM_ID})"
)
PERIOD = rf"(?:days {_DAY} to {_DAY} of {ITEM_ID}|{POINT} to {POINT}|(?:from|until) {POINT})"
POINT_SAYS = "a date as precise as it is known (2018, 2018-08, 2018-08-21), or a distance from a named event (day 14 of car-t)"
PERIOD_SAYS = POINT_SAYS + ", or a period (2018-08 to 2018-11, from 2018-07, days -10 to -9 of hsct)"

_POINT_RE = re.compile(
    rf"(?P<date>{DATE_TIME})"
    rf"|(?:(?P<bound>by|past) )?(?:day (?P<day>{_DAY}) of|(?P<amount>[\d.]+) (?P<unit>hour|week|month|year)s? "
    rf"(?P<way>before|after)) (?P<event>{ITEM_ID})"
    rf"|(?P<word>at|before|after|during) (?P<vague>{ITEM_ID})"
)
_DAYS_RE = re.compile(rf"days (?P<first>{_DAY}) to (?P<last>{_DAY}) of (?P<event>{ITEM_ID})")
_PERIOD_RE = re.compile(rf"(?P<start>{POINT}) to (?P<end>{POINT})|from (?P<open>{POINT})|until (?P<until>{POINT})")
_RELATIONSHIPS = {"at": "concurrent-with-start", "before": "before", "after": "after", "during": "concurrent"}
_WORD_OF = {code: word for word, code in _RELATIONSHIPS.items()}
# "by" is an upper bound in time: at most 30 days after, but at least 10 days before.
_COMPARATORS = {
    ("by", "after-start"): "<=",
    ("past", "after-start"): ">",
    ("by", "before-start"): ">=",
    ("past", "before-start"): "<",
}
_BOUNDS = {(code, way): bound for (bound, way), code in _COMPARATORS.items()}


class Point(NamedTuple):
    """A date as written, or a distance (`amount` `unit`, None where not stated) from `event`."""

    date: str | None = None
    event: str = ""
    relationship: str = ""
    amount: Decimal | None = None
    unit: str = ""
    bound: str = ""


class Span(NamedTuple):
    """A period; an end that is not known is None."""

    start: Point | None
    end: Point | None


def parse(text: str) -> Point | Span:
    """The moment that `text` writes. Raises ValueError, without the value, where it is none."""
    if match := _POINT_RE.fullmatch(text):
        return _point(match)
    if match := _DAYS_RE.fullmatch(text):
        first, last = int(match["first"]), int(match["last"])
        if first >= last:
            raise ValueError("a period of days must end after it starts")
        return Span(_day(first, match["event"]), _day(last, match["event"]))
    if match := _PERIOD_RE.fullmatch(text):
        return _span(match)
    raise ValueError("not a moment: expected " + PERIOD_SAYS)


def _point(match: re.Match[str]) -> Point:
    if date := match["date"]:
        return Point(date=date)
    if match["word"]:
        return Point(event=match["vague"], relationship=_RELATIONSHIPS[match["word"]])
    if match["day"]:
        return _day(int(match["day"]), match["event"], match["bound"] or "")
    way = "after-start" if match["way"] == "after" else "before-start"
    return Point(None, match["event"], way, Decimal(match["amount"]), _UNITS[match["unit"]], match["bound"] or "")


def _day(number: int, event: str, bound: str = "") -> Point:
    return Point(None, event, "after-start" if number >= 0 else "before-start", Decimal(abs(number)), "d", bound)


def _span(match: re.Match[str]) -> Span:
    if text := match["open"]:
        return Span(_only_point(text), None)
    if text := match["until"]:
        return Span(None, _only_point(text))
    start, end = _only_point(match["start"]), _only_point(match["end"])
    if start == end:
        raise ValueError("a period from a moment to the same moment: write the moment once")
    if start.date and end.date and _is_later(start.date, end.date):
        raise ValueError("a period must not end before it starts")
    if _are_days(start, end):
        raise ValueError("two days of one event are written 'days A to B of event'")
    return Span(start, end)


def _only_point(text: str) -> Point:
    match = _POINT_RE.fullmatch(text)
    assert match, "a period is made of points"
    return _point(match)


def _is_later(one: str, other: str) -> bool:
    """Whether one date is surely after the other: as far as both are precise, and as instants where both have a time."""
    if "T" in one and "T" in other:
        # A leap second (:60) counts as the second before it: the library knows none.
        first, second = (datetime.datetime.fromisoformat(text.replace(":60", ":59")) for text in (one, other))
        return first > second
    shared = min(len(one.partition("T")[0]), len(other.partition("T")[0]))
    return one[:shared] > other[:shared]


def _are_days(start: Point, end: Point) -> bool:
    return start.unit == end.unit == "d" and start.event == end.event and not start.bound and not end.bound


def write(moment: Point | Span) -> str:
    """The text of a moment, the inverse of `parse`."""
    if isinstance(moment, Point):
        return _write_point(moment)
    start, end = moment.start, moment.end
    if start is None or end is None:
        return f"from {_write_point(start)}" if start else f"until {_write_point(end or Point())}"
    if _are_days(start, end):
        return f"days {_number(start)} to {_number(end)} of {start.event}"
    return f"{_write_point(start)} to {_write_point(end)}"


def _write_point(point: Point) -> str:
    if point.date is not None:
        return point.date
    if point.amount is None:
        return f"{_WORD_OF[point.relationship]} {point.event}"
    bound = f"{point.bound} " if point.bound else ""
    if point.unit == "d":
        return f"{bound}day {_number(point)} of {point.event}"
    plural = "" if str(point.amount) == "1" else "s"
    way = "after" if point.relationship == "after-start" else "before"
    return f"{bound}{point.amount} {_WORDS[point.unit]}{plural} {way} {point.event}"


def _number(point: Point) -> int:
    days = int(point.amount or 0)
    return days if point.relationship == "after-start" else -days


# --- FHIR -----------------------------------------------------------------------------------------------------------

DayOf = Callable[[str], str | None]
EventReference = Callable[[str], dict[str, Any]]


def rests_on_event(point: Point) -> bool:
    """Whether the day of the event decides the day of the point: not where only an order or a bound is known."""
    return bool(point.event) and not point.bound and point.relationship not in ("before", "after", "concurrent")


def computed_date(point: Point, day_of: DayOf) -> str | None:
    """The date of a point, where that invents no precision: its own, that of the event ("at"), or whole days from it."""
    if point.date is not None:
        return point.date
    if not rests_on_event(point):
        return None
    base = day_of(point.event)
    if base is None or point.relationship == "concurrent-with-start":
        return base
    if point.unit != "d" or len(base) != 10:
        return None
    days = datetime.timedelta(days=_number(point))
    try:
        return (datetime.date.fromisoformat(base) + days).isoformat()
    except OverflowError:
        raise ValueError("a distance that leaves the calendar") from None


def put(out: dict[str, Any], name: str, point: Point, day_of: DayOf, refer: EventReference) -> None:
    """Writes a point as the dateTime property `name` of `out` and its `_name`."""
    date = computed_date(point, day_of)
    if date is not None:
        out[name] = date
    if point.date is None:
        out["_" + name] = {"extension": [_relative_date(point, refer)]}


def _relative_date(point: Point, refer: EventReference) -> dict[str, Any]:
    return {
        "url": RELATIVE_DATE,
        "extension": [
            {"url": "event", "valueReference": refer(point.event)},
            {"url": "relationship", "valueCode": point.relationship},
            {"url": "offset", "valueDuration": _duration(point)},
        ],
    }


def _duration(point: Point) -> dict[str, Any]:
    if point.amount is None:
        return {"extension": [{"url": DATA_ABSENT, "valueCode": "unknown"}]}
    whole = "." not in str(point.amount)
    out: dict[str, Any] = {"value": int(point.amount) if whole else point.amount, "system": UCUM, "code": point.unit}
    if point.bound:
        out["comparator"] = _COMPARATORS[point.bound, point.relationship]
    return out


def take(source: dict[str, Any], name: str) -> Point | None:
    """The point that the dateTime property `name` of `source` and its `_name` hold; the extension decides where there is one.

    Raises ValueError or KeyError where the extension is not one that `put` writes.
    """
    if extra := source.get("_" + name):
        for extension in extra.get("extension", ()):
            if extension["url"] == RELATIVE_DATE:
                return _from_relative(extension)
    date = source.get(name)
    return None if date is None else Point(date=date)


def _from_relative(extension: dict[str, Any]) -> Point:
    parts = {part["url"]: part for part in extension["extension"]}
    event = parts["event"]["valueReference"]["identifier"]["value"]
    relationship = parts["relationship"]["valueCode"]
    offset = parts["offset"]["valueDuration"]
    if "value" not in offset:
        return Point(event=event, relationship=relationship)
    bound = _BOUNDS[offset["comparator"], relationship] if "comparator" in offset else ""
    return Point(None, event, relationship, Decimal(offset["value"]), offset["code"], bound)
