"""Functions on numbers, and the bounds and precision of what is written with so many digits.

Source: http://hl7.org/fhirpath/N1/#math; lowBoundary, highBoundary and precision are of the release after it.
"""

from __future__ import annotations

import decimal
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final, TypeAlias

from service.validate.fhirpath import numbers, quantity, temporal
from service.validate.fhirpath.errors import PathError
from service.validate.fhirpath.functions.table import Function, gives_items, gives_truth
from service.validate.fhirpath.model import NOTHING, Items
from service.validate.fhirpath.quantity import Quantity
from service.validate.fhirpath.temporal import FPDate, FPDateTime, FPTime
from service.validate.fhirpath.values import integer, number, one, value_of

Operation: TypeAlias = Callable[..., Decimal | None]

# As many digits after the point as a boundary may have, and as it has where none are asked for.
_MOST_DIGITS: Final = 31
_DIGITS: Final = 8


def _on_decimals(operation: Operation) -> Callable[..., Items]:
    def run(items: Items, *arguments: Items) -> Items:
        found = [number(each) for each in (items, *arguments)]
        return NOTHING if None in found else one(operation(*(Decimal(each) for each in found if each is not None)))

    return run


def _to_whole(rounding: str) -> Callable[[Items], Items]:
    def run(items: Items) -> Items:
        found = number(items)
        return NOTHING if found is None else one(numbers.in_range(int(Decimal(found).to_integral_value(rounding))))

    return run


def _power(items: Items, exponent: Items) -> Items:
    """A whole number to a whole power is whole."""
    base, told = number(items), number(exponent)
    if base is None or told is None:
        return NOTHING
    found = numbers.power(Decimal(base), Decimal(told))
    if found is None or type(base) is not int or type(told) is not int or told < 0:
        return one(found)
    return one(numbers.in_range(int(found)))


def _logarithm(value: Decimal, base: Decimal) -> Decimal | None:
    above, below = numbers.natural_logarithm(value), numbers.natural_logarithm(base)
    found = None if above is None or below is None else numbers.divide(above, below)
    # The quotient of two rounded logarithms may miss a whole number by its last digits.
    return None if found is None else numbers.rounded(found, 28)


def _absolute(items: Items) -> Items:
    value = value_of(items)
    if type(value) is Quantity:
        return [Quantity(abs(value.value), value.unit, value.is_calendar)]
    found = number(items)
    return NOTHING if found is None else [abs(found)]


def _round(items: Items, precision: Items = NOTHING) -> Items:
    value, digits = number(items), integer(precision) or 0
    if value is None or digits < 0:
        return NOTHING
    return one(numbers.rounded(Decimal(value), digits))


# Bounds -------------------------------------------------------------------------------------------------------------


def _boundary(*, high: bool) -> Callable[..., Items]:
    def run(items: Items, precision: Items = NOTHING) -> Items:
        value, digits = value_of(items), integer(precision)
        return NOTHING if value is None else one(_bound(value, digits, high=high))

    return run


def _bound(value: Any, digits: int | None, *, high: bool) -> Any:
    if isinstance(value, FPDate | FPDateTime | FPTime):
        return temporal.boundary(value, digits, high=high)
    if type(value) is Quantity:
        bound = _decimal_bound(value.value, digits, high=high)
        return None if bound is None else Quantity(bound, value.unit, value.is_calendar)
    if type(value) in (int, Decimal):
        return _decimal_bound(Decimal(value), digits, high=high)
    raise PathError("only numbers, quantities, dates and times have boundaries")


def _decimal_bound(value: Decimal, digits: int | None, *, high: bool) -> Decimal | None:
    """Half a unit of the last digit away, rounded outwards to so many digits after the point."""
    digits = _DIGITS if digits is None else digits
    if not 0 <= digits <= _MOST_DIGITS:
        return None
    half = Decimal(5).scaleb(-numbers.places(value) - 1)
    bound = numbers.add(value, half if high else -half)
    return bound and numbers.rounded(bound, digits, decimal.ROUND_CEILING if high else decimal.ROUND_FLOOR)


def _precision(items: Items) -> Items:
    value = value_of(items)
    if value is None:
        return NOTHING
    if isinstance(value, FPDate | FPDateTime | FPTime):
        return [temporal.precision(value)]
    if type(value) in (int, Decimal):
        return [numbers.places(Decimal(value))]
    raise PathError("only numbers, dates and times have a precision")


def _comparable(items: Items, other: Items) -> bool | None:
    left, right = value_of(items), value_of(other)
    if left is None or right is None:
        return None
    return type(left) is Quantity and type(right) is Quantity and quantity.comparable(left, right)


FUNCTIONS: Final[dict[str, Function]] = {
    "abs": gives_items(_absolute),
    "ceiling": gives_items(_to_whole(decimal.ROUND_CEILING)),
    "floor": gives_items(_to_whole(decimal.ROUND_FLOOR)),
    "truncate": gives_items(_to_whole(decimal.ROUND_DOWN)),
    "round": gives_items(_round, "value", least=0),
    "exp": gives_items(_on_decimals(numbers.exponential)),
    "ln": gives_items(_on_decimals(numbers.natural_logarithm)),
    "log": gives_items(_on_decimals(_logarithm), "value"),
    "sqrt": gives_items(_on_decimals(numbers.square_root)),
    "power": gives_items(_power, "value"),
    "lowBoundary": gives_items(_boundary(high=False), "value", least=0),
    "highBoundary": gives_items(_boundary(high=True), "value", least=0),
    "precision": gives_items(_precision),
    "comparable": gives_truth(_comparable, "value"),
}
