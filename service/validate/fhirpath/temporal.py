"""Dates, dateTimes and times of any precision: reading, comparing, adding to and bounding them.

Source: http://hl7.org/fhirpath/N1/#datetime-equality, #datetime-arithmetic and, for boundaries, the FHIRPath release after it.
A value keeps only the components that it was given; seconds carry their fraction, which makes no precision of its own.
"""

from __future__ import annotations

import calendar
import datetime
import re
from decimal import Decimal
from functools import lru_cache
from typing import ClassVar, Final, TypeAlias

import msgspec

Parts: TypeAlias = tuple[int | Decimal, ...]

_DATE: Final = r"([0-9]{4})(?:-([0-9]{2})(?:-([0-9]{2}))?)?"
_TIME: Final = r"([0-9]{2})(?::([0-9]{2})(?::([0-9]{2}(?:\.[0-9]+)?))?)?"
_OFFSET: Final = r"(Z|[+-][0-9]{2}:[0-9]{2})?"
_DATE_TEXT: Final = re.compile(_DATE)
_TIME_TEXT: Final = re.compile(_TIME)
_DATE_TIME_TEXT: Final = re.compile(f"{_DATE}(?:T(?:{_TIME}{_OFFSET})?)?")

_MINUTES_A_DAY: Final = 1440
# What an unknown offset may be: http://hl7.org/fhir/R4/datatypes.html#dateTime has -12:00 to +14:00.
_LEAST_OFFSET: Final = -12 * 60
_MOST_OFFSET: Final = 14 * 60
_LAST_SECOND: Final = Decimal("59.999")


class FPDate(msgspec.Struct, frozen=True, gc=False):
    """A date: (year), (year, month) or (year, month, day)."""

    parts: Parts
    offset: ClassVar[None] = None

    def __str__(self) -> str:
        return _date_text(self.parts)


class FPDateTime(msgspec.Struct, frozen=True, gc=False):
    """A dateTime: from (year) to (year, month, day, hour, minute, second); `offset` in minutes east of UTC, None if unknown."""

    parts: Parts
    offset: int | None = None

    def __str__(self) -> str:
        text = _date_text(self.parts[:3])
        return f"{text}T{_time_text(self.parts[3:])}{_offset_text(self.offset)}" if len(self.parts) > 3 else text


class FPTime(msgspec.Struct, frozen=True, gc=False):
    """A time of day: from (hour) to (hour, minute, second)."""

    parts: Parts

    def __str__(self) -> str:
        return _time_text(self.parts)


Temporal: TypeAlias = FPDate | FPDateTime | FPTime


# Reading ------------------------------------------------------------------------------------------------------------


def date(text: str) -> FPDate | None:
    """The date of a text such as 2015-02; None where it is none."""
    match = _DATE_TEXT.fullmatch(text)
    parts = _parts(match.groups()) if match else ()
    return FPDate(parts) if parts and _is_date(parts) else None


def date_time(text: str) -> FPDateTime | None:
    """The dateTime of a text such as 2015-02-04T14:34:28.123+10:00; None where it is none."""
    return _date_time_again(text) if len(text) <= _LONGEST_KEPT else _date_time(text)


def _date_time(text: str) -> FPDateTime | None:
    match = _DATE_TIME_TEXT.fullmatch(text)
    if not match:
        return None
    parts = _parts(match.groups()[:6])
    if not _is_date(parts) or not _is_time(parts[3:]) or (len(parts) > 3 and len(parts[:3]) < 3):
        return None
    offset = match[7]
    minutes = None if offset is None else 0 if offset == "Z" else _minutes(offset)
    return FPDateTime(parts, minutes) if minutes is None or abs(minutes) <= _MOST_OFFSET else None


# The same moment stands in many places of a record, and expressions read it each time.
_LONGEST_KEPT: Final = 40
_date_time_again: Final = lru_cache(maxsize=4096)(_date_time)


def time(text: str) -> FPTime | None:
    """The time of a text such as 14:34; None where it is none."""
    match = _TIME_TEXT.fullmatch(text)
    parts = _parts(match.groups()) if match else ()
    return FPTime(parts) if parts and _is_time(parts) else None


def from_literal(text: str) -> Temporal | None:
    """The value of a literal such as @2015 (a date), @2015T (a dateTime) or @T14:34 (a time)."""
    if text.startswith("@T"):
        return time(text[2:])
    return date_time(text[1:]) if "T" in text else date(text[1:])


def _parts(groups: tuple[str | None, ...]) -> Parts:
    return tuple([Decimal(each) if "." in each else int(each) for each in groups if each])


def _is_date(parts: Parts) -> bool:
    if not parts[0] or (len(parts) > 1 and not 1 <= parts[1] <= 12):
        return False
    # The calendar is asked only where the answer depends on it.
    return len(parts) < 3 or 1 <= parts[2] <= 28 or 29 <= parts[2] <= _days(int(parts[0]), int(parts[1]))


def _is_time(parts: Parts) -> bool:
    return not parts or (parts[0] < 24 and (len(parts) < 2 or parts[1] < 60) and (len(parts) < 3 or parts[2] < 60))


def _minutes(offset: str) -> int:
    minutes = int(offset[1:3]) * 60 + int(offset[4:6])
    return -minutes if offset[0] == "-" else minutes


def _days(year: int, month: int) -> int:
    return calendar.monthrange(year, month)[1]


# Writing ------------------------------------------------------------------------------------------------------------


def _date_text(parts: Parts) -> str:
    return "-".join(f"{part:0{width}}" for part, width in zip(parts, (4, 2, 2), strict=False))


def _time_text(parts: Parts) -> str:
    return ":".join(f"{part:02}" if isinstance(part, int) else _seconds_text(part) for part in parts)


def _seconds_text(seconds: Decimal) -> str:
    text = f"{seconds:f}"
    return text if text.find(".") == 2 else f"0{text}"


def _offset_text(offset: int | None) -> str:
    if offset is None:
        return ""
    hours, minutes = divmod(abs(offset), 60)
    return f"{'-' if offset < 0 else '+'}{hours:02}:{minutes:02}" if offset else "Z"


# Comparing ----------------------------------------------------------------------------------------------------------


def compare(left: Temporal, right: Temporal) -> int | None:
    """-1, 0 or 1; None where the precision, or an unknown offset, leaves it open. A time compares only with a time."""
    if left.__class__ is FPTime or right.__class__ is FPTime or left.offset == right.offset:  # type: ignore[union-attr]
        return _compare_parts(left.parts, right.parts)
    assert not isinstance(left, FPTime)
    assert not isinstance(right, FPTime)
    if left.offset is not None and right.offset is not None:
        return _compare_parts(_in_utc(left).parts, _in_utc(right).parts)
    if _last_instant(left) < _first_instant(right):
        return -1
    return 1 if _first_instant(left) > _last_instant(right) else None


def key(value: Temporal) -> tuple[object, ...]:
    """What is equal for two values that are equal, and only then."""
    if isinstance(value, FPTime):
        return ("time", value.parts)
    return ("date", value.parts, None) if value.offset is None else ("date", _in_utc(value).parts, 0)


def _compare_parts(left: Parts, right: Parts) -> int | None:
    shared = min(len(left), len(right))
    if left[:shared] != right[:shared]:
        return -1 if left[:shared] < right[:shared] else 1
    return 0 if len(left) == len(right) else None


def _in_utc(value: FPDate | FPDateTime) -> FPDateTime:
    shifted = _shifted(value.parts[:5], -(value.offset or 0)) if len(value.parts) > 3 else value.parts[:5]
    return FPDateTime((*shifted, *value.parts[5:]), 0)


def _shifted(parts: Parts, minutes: int) -> Parts:
    """Day, hour and minute moved on by minutes, at the precision they had."""
    day = datetime.date(*map(int, parts[:3]))
    hour, minute = (*parts[3:5], 0)[:2]
    days, rest = divmod(int(hour) * 60 + int(minute) + minutes, _MINUTES_A_DAY)
    moved = datetime.date.fromordinal(min(max(day.toordinal() + days, 1), datetime.date.max.toordinal()))
    return (moved.year, moved.month, moved.day, rest // 60, rest % 60)[: len(parts)]


def _first_instant(value: FPDate | FPDateTime) -> Decimal:
    return _instant((*value.parts, *(1, 1, 1, 0, 0, 0)[len(value.parts) :]), _or(value.offset, _MOST_OFFSET))


def _last_instant(value: FPDate | FPDateTime) -> Decimal:
    return _instant(_filled_high(value.parts), _or(value.offset, _LEAST_OFFSET))


def _instant(parts: Parts, offset: int) -> Decimal:
    day = datetime.date(*map(int, parts[:3])).toordinal()
    return ((day * 24 + parts[3]) * 60 + parts[4] - offset) * 60 + Decimal(parts[5])


def _or(offset: int | None, otherwise: int) -> int:
    return otherwise if offset is None else offset


def _filled_high(parts: Parts) -> Parts:
    year, month = int(parts[0]), int((*parts, 12, 12)[1])
    return (*parts, *(year, 12, _days(year, month), 23, 59, _LAST_SECOND)[len(parts) :])


# Boundaries and precision -------------------------------------------------------------------------------------------

_DATE_DIGITS: Final = (4, 6, 8, 10, 12, 14)
_TIME_DIGITS: Final = (2, 4, 6)
_FRACTION_DIGITS: Final = 3


def precision(value: Temporal) -> int:
    """The number of digits: 4 for a year, 17 for a dateTime with milliseconds, 9 for such a time."""
    digits = (_TIME_DIGITS if isinstance(value, FPTime) else _DATE_DIGITS)[len(value.parts) - 1]
    last = value.parts[-1]
    return digits + (-int(last.as_tuple().exponent) if isinstance(last, Decimal) else 0)


def boundary(value: Temporal, digits: int | None, *, high: bool) -> Temporal | None:
    """The first or last value, written with so many digits, that a value may stand for; None where no such form exists."""
    if isinstance(value, FPTime):
        filled = (*value.parts, *((59, 59, _LAST_SECOND) if high else (0, 0, Decimal("0.000")))[len(value.parts) :])
        parts = _cut(filled, 9 if digits is None else digits, _TIME_DIGITS)
        return FPTime(parts) if parts else None
    if isinstance(value, FPDate):
        parts = _cut(_filled(value.parts, high=high), 8 if digits is None else digits, _DATE_DIGITS[:3])
        return FPDate(parts) if parts else None
    parts = _cut(_filled(value.parts, high=high), 17 if digits is None else digits, _DATE_DIGITS)
    offset = _or(value.offset, _LEAST_OFFSET if high else _MOST_OFFSET) if len(parts) > 3 else None
    return FPDateTime(parts, offset) if parts else None


def _filled(parts: Parts, *, high: bool) -> Parts:
    if len(parts) == 4:
        parts = (*parts, 0)  # FHIR has no hour without its minute, so 08 says 08:00
    return _filled_high(parts) if high else (*parts, *(1, 1, 1, 0, 0, Decimal("0.000"))[len(parts) :])


def _cut(parts: Parts, digits: int, widths: tuple[int, ...]) -> Parts:
    """As many components as make up the digits; with three digits more than the last, its fraction too."""
    if digits in widths:
        kept = parts[: widths.index(digits) + 1]
        return (*kept[:-1], int(kept[-1]))
    if (digits == widths[-1] + _FRACTION_DIGITS and len(widths) != 3) or (widths == _TIME_DIGITS and digits == 9):
        return (*parts[:-1], Decimal(parts[-1]).quantize(Decimal("0.001")))
    return ()


# Arithmetic ---------------------------------------------------------------------------------------------------------

_MONTHS: Final = {"year": 12, "month": 1}
_MILLISECONDS: Final = {
    "week": 604_800_000,
    "day": 86_400_000,
    "hour": 3_600_000,
    "minute": 60_000,
    "second": 1000,
    "millisecond": 1,
}
# A duration finer than the value is first turned into the value's own unit, so many of the one in one of the other.
_DAYS_A_YEAR: Final = 365
_DAYS_A_MONTH: Final = 30


def add(value: Temporal, amount: Decimal, unit: str) -> Temporal | None:
    """The value moved on by whole calendar units ("year" to "millisecond"); None where it leaves the years 1 to 9999.

    A fraction of a unit does not count; the result has the value's precision.
    Source: http://hl7.org/fhirpath/N1/#datetime-arithmetic
    """
    whole = int(amount)
    if isinstance(value, FPTime):
        return None if unit in _MONTHS else _time_moved(value, whole * _MILLISECONDS[unit])
    try:
        parts = _moved(value.parts, whole, unit)
    except (ValueError, OverflowError):
        return None
    return FPDate(parts) if isinstance(value, FPDate) else FPDateTime(parts, value.offset)


def _moved(parts: Parts, whole: int, unit: str) -> Parts:
    if unit in _MONTHS:
        return _by_months(parts, whole * _MONTHS[unit])
    milliseconds = whole * _MILLISECONDS[unit]
    if len(parts) < 3:
        days = int(Decimal(milliseconds) / _MILLISECONDS["day"])
        return _by_months(parts, int(days / _DAYS_A_YEAR) * 12 if len(parts) == 1 else int(days / _DAYS_A_MONTH))
    return _by_milliseconds(parts, milliseconds)


def _by_months(parts: Parts, months: int) -> Parts:
    """Moved by months, the day cut to the last of its month. A year alone moves by whole years only."""
    if len(parts) == 1:
        return _checked((int(parts[0]) + int(months / 12),))
    year, month = divmod(int(parts[0]) * 12 + int(parts[1]) - 1 + months, 12)
    _checked((year,))
    day = (min(int(parts[2]), _days(year, month + 1)),) if len(parts) > 2 else ()
    return (year, month + 1, *day, *parts[3:])


def _checked(parts: Parts) -> Parts:
    if not datetime.MINYEAR <= parts[0] <= datetime.MAXYEAR:
        raise ValueError("no such year")
    return parts


def _by_milliseconds(parts: Parts, milliseconds: int) -> Parts:
    days, rest = divmod(_of_day(parts[3:]) + milliseconds, _MILLISECONDS["day"])
    moved = datetime.date(*map(int, parts[:3])) + datetime.timedelta(days=days)
    return (moved.year, moved.month, moved.day, *_clock(rest, parts[3:]))


def _time_moved(value: FPTime, milliseconds: int) -> FPTime:
    return FPTime(_clock((_of_day(value.parts) + milliseconds) % _MILLISECONDS["day"], value.parts))


def _of_day(clock: Parts) -> int:
    hour, minute, second = (*clock, 0, 0, 0)[:3]
    return int(((hour * 60 + minute) * 60 + second) * 1000)


def _clock(milliseconds: int, like: Parts) -> Parts:
    """Hour, minute and second, as many as `like` has, the second with a fraction where `like` has one."""
    minutes, rest = divmod(milliseconds, 60_000)
    has_fraction = len(like) == 3 and isinstance(like[2], Decimal)
    second = Decimal(rest).scaleb(-3).quantize(Decimal("0.001")) if has_fraction else rest // 1000
    return (minutes // 60, minutes % 60, second)[: len(like)]
