"""The operators on two collections: arithmetic, text, order, membership and union.

Source: http://hl7.org/fhirpath/N1/#operations
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final

from service.validate.fhirpath import numbers, quantity, temporal
from service.validate.fhirpath.errors import PathError
from service.validate.fhirpath.model import NOTHING, Items
from service.validate.fhirpath.quantity import Quantity
from service.validate.fhirpath.temporal import FPDate, FPDateTime, FPTime, Temporal
from service.validate.fhirpath.values import SYSTEM_NAMES, bounded, compare, equal, equivalent, number, one, text, value_of

_NUMBERS: Final = (int, Decimal)
_MEASURES: Final = (int, Decimal, Quantity)
_MOMENTS: Final = (FPDate, FPDateTime, FPTime)

Arithmetic = Callable[[Any, Any], Any]


def arithmetic(symbol: str) -> Callable[[Items, Items], Items]:
    """The function of a symbol: empty where a side or the result is, PathError for types that it does not take."""
    operation = _ARITHMETIC[symbol]

    def run(left: Items, right: Items) -> Items:
        one_value, other = value_of(left), value_of(right)
        return NOTHING if one_value is None or other is None else one(operation(one_value, other))

    return run


def concatenated(left: Items, right: Items) -> Items:
    """`&`, which takes an empty side for an empty text."""
    return [bounded((text(left) or "") + (text(right) or ""))]


def negated(items: Items) -> Items:
    """`-` before an operand."""
    value = value_of(items)
    if type(value) is Quantity:
        return [Quantity(-value.value, value.unit, value.is_calendar)]
    found = number(items)
    return NOTHING if found is None else [-found]


def _added(left: Any, right: Any) -> Any:
    if type(left) is str and type(right) is str:
        return bounded(left + right)
    return _moved_or_summed(left, right, 1)


def _subtracted(left: Any, right: Any) -> Any:
    return _moved_or_summed(left, right, -1)


def _moved_or_summed(left: Any, right: Any, sign: int) -> Any:
    kinds = type(left), type(right)
    if kinds == (int, int):
        return numbers.in_range(left + right * sign)
    if all(kind in _NUMBERS for kind in kinds):
        return numbers.add(Decimal(left), Decimal(right) * sign)
    if kinds[0] in _MOMENTS and kinds[1] is Quantity:
        return _moved(left, right, sign)
    if all(kind in _MEASURES for kind in kinds):
        return quantity.added(_measure(left), _measure(right), sign)
    raise _refused(*kinds)


def _moved(moment: Temporal, by: Quantity, sign: int) -> Temporal | None:
    unit = quantity.calendar_unit(by)
    if unit is None:
        raise PathError("a date moves by a calendar duration only, or by one that equals one")
    return temporal.add(moment, by.value * sign, unit)


def _multiplied(left: Any, right: Any) -> Any:
    kinds = type(left), type(right)
    if kinds == (int, int):
        return numbers.in_range(left * right)
    if all(kind in _NUMBERS for kind in kinds):
        return numbers.multiply(Decimal(left), Decimal(right))
    if all(kind in _MEASURES for kind in kinds):
        return quantity.multiplied(_measure(left), _measure(right))
    raise _refused(*kinds)


def _divided(left: Any, right: Any) -> Any:
    kinds = type(left), type(right)
    if all(kind in _NUMBERS for kind in kinds):
        return numbers.divide(Decimal(left), Decimal(right))
    if all(kind in _MEASURES for kind in kinds):
        return quantity.divided(_measure(left), _measure(right))
    raise _refused(*kinds)


def _whole_quotient(left: Any, right: Any) -> Any:
    found = _of_numbers(numbers.whole_quotient, left, right)
    return None if found is None else numbers.in_range(int(found))


def _remainder(left: Any, right: Any) -> Any:
    found = _of_numbers(numbers.remainder, left, right)
    return int(found) if found is not None and type(left) is int and type(right) is int else found


def _of_numbers(operation: Callable[[Decimal, Decimal], Decimal | None], left: Any, right: Any) -> Decimal | None:
    if type(left) not in _NUMBERS or type(right) not in _NUMBERS:
        raise _refused(type(left), type(right))
    return operation(Decimal(left), Decimal(right))


def _measure(value: Any) -> Quantity:
    return value if type(value) is Quantity else Quantity(Decimal(value))


def _refused(*kinds: type) -> PathError:
    return PathError("there is no arithmetic with " + " and ".join(SYSTEM_NAMES.get(kind, "an object") for kind in kinds))


_ARITHMETIC: Final[dict[str, Arithmetic]] = {
    "+": _added,
    "-": _subtracted,
    "*": _multiplied,
    "/": _divided,
    "div": _whole_quotient,
    "mod": _remainder,
}


# Comparisons --------------------------------------------------------------------------------------------------------


def _unequal(left: Items, right: Items) -> bool | None:
    found = equal(left, right)
    return None if found is None else not found


def _less(left: Items, right: Items) -> bool | None:
    found = compare(left, right)
    return None if found is None else found < 0


def _less_or_equal(left: Items, right: Items) -> bool | None:
    found = compare(left, right)
    return None if found is None else found <= 0


COMPARISONS: Final[dict[str, Callable[[Items, Items], bool | None]]] = {
    "=": equal,
    "!=": _unequal,
    "~": equivalent,
    "!~": lambda left, right: not equivalent(left, right),
    "<": _less,
    "<=": _less_or_equal,
    ">": lambda left, right: _less(right, left),
    ">=": lambda left, right: _less_or_equal(right, left),
}
