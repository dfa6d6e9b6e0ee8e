"""Bounds: minValue[x] and maxValue[x] of numbers, dates and quantities; for dates also as a duration from now.

Source: http://hl7.org/fhir/R4/elementdefinition-definitions.html#ElementDefinition.minValue_x_
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final

from msgspec import UNSET

from service.fhir.json import Json
from service.terminology import ucum
from service.validate.place import Place
from service.validate.run import Rule, Run

if TYPE_CHECKING:
    from service.validate.rulebook import Rulebook
    from service.validate.rules import Element

UCUM: Final = "http://unitsofmeasure.org"
DATES: Final = ("date", "dateTime", "instant")


def bounds(element: Element, _book: Rulebook) -> Rule | None:
    """The rule that a value lies within the bounds of its element."""
    low, high = element.definition.min_value, element.definition.max_value
    if low is UNSET and high is UNSET:
        return None
    is_date = element.code in DATES

    def rule(run: Run, value: Json, at: Place) -> None:
        least, most = (_moment(low, -1), _moment(high, 1)) if is_date else (low, high)
        if exceeds(least, value) or exceeds(value, most):
            run.add(at, "val-range", f"The value lies outside the bounds that {element.url} sets.")

    return rule


def exceeds(low: Any, high: Any) -> bool:
    """Whether `low` lies above `high`, where both are there and can be compared: numbers, dates as far as both go, or
    quantities, which UCUM brings to one unit."""
    if isinstance(low, dict) and isinstance(high, dict):
        low, high = _in_one_unit(low, high)
    numbers = (int, Decimal, Fraction)
    if isinstance(low, numbers) and isinstance(high, numbers):
        return low > high
    if isinstance(low, str) and isinstance(high, str):
        shared = min(len(low), len(high), len("YYYY-MM-DD"))
        return low[:shared] > high[:shared]
    return False


def _moment(bound: Any, direction: int) -> Any:
    """A bound of a date: as it is, or for a duration the day that lies so long before or after today."""
    if not isinstance(bound, dict):
        return bound
    seconds = _canonical(bound)
    if seconds is None or seconds[1] != (("s", 1),):
        return None
    try:
        return (datetime.now(UTC) + direction * timedelta(seconds=float(seconds[0]))).date().isoformat()
    except OverflowError:
        return None


def _in_one_unit(low: dict[str, Any], high: dict[str, Any]) -> tuple[Any, Any]:
    """The values of two quantities in one unit; (None, None) where there is none."""
    if low.get("system") != high.get("system"):
        return None, None
    if low.get("code") == high.get("code"):
        return low.get("value"), high.get("value")
    less, more = _canonical(low), _canonical(high)
    if less is None or more is None or less[1] != more[1]:
        return None, None
    return less[0], more[0]


def _canonical(quantity: dict[str, Any]) -> tuple[Fraction, ucum.Dimension] | None:
    value, code = quantity.get("value"), quantity.get("code")
    if quantity.get("system") != UCUM or not isinstance(value, int | Decimal) or not isinstance(code, str):
        return None
    return ucum.canonical(Decimal(value), code)
