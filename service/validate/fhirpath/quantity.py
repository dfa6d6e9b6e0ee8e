"""Quantities: amounts with a UCUM code or a calendar duration, compared and reckoned with through terminology.ucum.

Source: http://hl7.org/fhirpath/N1/#quantity and http://hl7.org/fhir/R4/fhirpath.html#quantity
"""

from __future__ import annotations

import re
from decimal import Decimal
from fractions import Fraction
from math import floor
from typing import Any, Final, TypeAlias

import msgspec

from service.terminology import ucum
from service.validate.fhirpath import numbers

UCUM_SYSTEM: Final = "http://unitsofmeasure.org"

_UNITS: Final = ("year", "month", "week", "day", "hour", "minute", "second", "millisecond")
# Each name of a calendar duration, in the singular or the plural, and what it is called here.
CALENDAR_UNITS: Final = {name: unit for unit in _UNITS for name in (unit, f"{unit}s")}
# UCUM's definite durations that equal a calendar one. A year of UCUM is 365.25 days, which no calendar year has.
_DEFINITE: Final = {"week": "wk", "day": "d", "hour": "h", "minute": "min", "second": "s", "millisecond": "ms"}
_CALENDAR: Final = {code: unit for unit, code in _DEFINITE.items()}

# An amount in base units, and what two amounts must have in common to be compared.
_Scaled: TypeAlias = tuple[Fraction, object]

_TEXT: Final = re.compile(r"([+-]?[0-9]+(?:\.[0-9]+)?)\s*(?:'([^']+)'|([a-z]+))?")


class Quantity(msgspec.Struct, frozen=True, gc=False):
    """An amount: `unit` is a UCUM code ("1": none) or, where `is_calendar`, a calendar duration ("month")."""

    value: Decimal
    unit: str = "1"
    is_calendar: bool = False

    def __str__(self) -> str:
        if not self.is_calendar:
            return f"{self.value:f} '{self.unit}'"
        return f"{self.value:f} {self.unit}{'' if abs(self.value) == 1 else 's'}"


def from_fhir(value: Any) -> Any:
    """The System.Quantity that a FHIR Quantity's JSON says; with a comparator, or without a value, there is none.

    Where there is no code, the printed unit stands for it: it compares with its like, and with nothing else.
    """
    number = value.get("value") if type(value) is dict else None
    if isinstance(number, bool) or not isinstance(number, int | Decimal) or "comparator" in value:
        return value
    unit = value.get("code") or value.get("unit") or "1"
    return Quantity(Decimal(number), unit) if isinstance(unit, str) else value


def from_text(text: str) -> Quantity | None:
    """The quantity of a text such as "4.5 'mg'", "1 day" or "3"; None where it is none."""
    match = _TEXT.fullmatch(text.strip())
    if match is None or (match[3] is not None and match[3] not in CALENDAR_UNITS):
        return None
    if match[3]:
        return Quantity(Decimal(match[1]), CALENDAR_UNITS[match[3]], is_calendar=True)
    return Quantity(Decimal(match[1]), match[2] or "1")


def calendar_unit(quantity: Quantity) -> str | None:
    """The calendar unit by which a quantity moves a date: its own, or that which its UCUM code equals; else None."""
    if quantity.is_calendar:
        return quantity.unit
    # A quoted word is a calendar unit too in the official tests: @1974-12-25 - 1 'month'.
    return _CALENDAR.get(quantity.unit) or CALENDAR_UNITS.get(quantity.unit)


def compare(left: Quantity, right: Quantity) -> int | None:
    """-1, 0 or 1; None where their dimensions differ or a unit is unknown."""
    pair = _on_one_scale(left, right)
    return None if pair is None else (pair[0] > pair[1]) - (pair[0] < pair[1])


def equal(left: Quantity, right: Quantity) -> bool | None:
    """Whether they are the same amount; None for a calendar month or year against a definite one, which nobody can say."""
    if _is_open(left) != _is_open(right) and _are_durations(left, right):
        return None
    return compare(left, right) == 0


def equivalent(left: Quantity, right: Quantity) -> bool:
    """Whether they are the same amount, as far as the less precise of the two says."""
    pair = _on_one_scale(left, right)
    if pair is None:
        return False
    step = max(_step(left), _step(right))
    one, other = (floor(each / step + Fraction(1, 2)) for each in pair)
    return one == other


def comparable(left: Quantity, right: Quantity) -> bool:
    """Whether they are amounts of one dimension."""
    return _on_one_scale(left, right) is not None


def key(value: Quantity) -> tuple[object, ...]:
    """What is equal for two quantities that are equal, and only then."""
    scaled = _scaled(value)
    return ("quantity", *scaled) if scaled else ("quantity", value.value, value.unit)


def added(left: Quantity, right: Quantity, sign: int) -> Quantity | None:
    """Their sum, or with sign -1 their difference, in the unit of the left one; None where there is none."""
    if not comparable(left, right):
        return None
    other = right.value
    if left.unit != right.unit:
        ratio = _size(right) / _size(left)
        scaled = numbers.multiply(other, Decimal(ratio.numerator))
        converted = None if scaled is None else numbers.divide(scaled, Decimal(ratio.denominator))
        if converted is None:
            return None
        other = converted
    total = numbers.add(left.value, other * sign)
    return None if total is None else Quantity(total, left.unit, left.is_calendar)


def multiplied(left: Quantity, right: Quantity) -> Quantity | None:
    """Their product; None where it is no number."""
    value = numbers.multiply(left.value, right.value)
    units = [_code(each) for each in (left, right) if each.unit != "1"]
    return None if value is None else Quantity(value, ".".join(units) or "1")


def divided(left: Quantity, right: Quantity) -> Quantity | None:
    """Their quotient; None where the divisor is zero."""
    value = numbers.divide(left.value, right.value)
    if value is None:
        return None
    return Quantity(value, _code(left) if right.unit == "1" else f"{_code(left)}/{_code(right)}")


def _code(quantity: Quantity) -> str:
    """The unit as part of a longer code."""
    unit = _DEFINITE.get(quantity.unit, quantity.unit) if quantity.is_calendar else quantity.unit
    return f"({unit})" if "/" in unit or "." in unit else unit


def _on_one_scale(left: Quantity, right: Quantity) -> tuple[Fraction, Fraction] | None:
    """Both amounts in one unit, or None."""
    if left.unit == right.unit and left.is_calendar == right.is_calendar:
        return Fraction(left.value), Fraction(right.value)
    one, other = _scaled(left), _scaled(right)
    return (one[0], other[0]) if one and other and one[1] == other[1] else None


def _scaled(quantity: Quantity) -> _Scaled | None:
    if _is_open(quantity):
        return Fraction(quantity.value) * (12 if quantity.unit == "year" else 1), "month"
    return ucum.canonical(quantity.value, _DEFINITE[quantity.unit] if quantity.is_calendar else quantity.unit)


def _size(quantity: Quantity) -> Fraction:
    """What one of its unit is in base units; 1 where the unit is unknown, and so compares with its like only."""
    one, none = (_scaled(Quantity(Decimal(number), quantity.unit, quantity.is_calendar)) for number in (1, 0))
    return one[0] - none[0] if one and none else Fraction(1)


def _step(quantity: Quantity) -> Fraction:
    """The amount of one in its last digit, in base units."""
    return _size(quantity) * Fraction(1, 10 ** numbers.places(quantity.value))


def _is_open(quantity: Quantity) -> bool:
    """Whether it counts calendar months or years, which have no fixed length."""
    return quantity.is_calendar and quantity.unit in ("year", "month")


def _are_durations(left: Quantity, right: Quantity) -> bool:
    codes = (*_CALENDAR, "mo", "a")
    return all(each.is_calendar or each.unit in codes for each in (left, right))
