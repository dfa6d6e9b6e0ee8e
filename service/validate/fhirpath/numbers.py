"""Decimal arithmetic: exact where it ends, 38 digits where it does not, and nothing (None) where it leaves the numbers.

Source: http://hl7.org/fhirpath/N1/#math, whose operations give an empty result on overflow and on division by zero.
"""

from __future__ import annotations

import decimal
from collections.abc import Callable
from decimal import Decimal
from typing import Final

_CONTEXT: Final = decimal.Context(prec=38, Emax=999, Emin=-999, rounding=decimal.ROUND_HALF_UP)
_MAX_INTEGER: Final = 2**63


def add(left: Decimal, right: Decimal) -> Decimal | None:
    return _reckoned(_CONTEXT.add, left, right)


def multiply(left: Decimal, right: Decimal) -> Decimal | None:
    return _reckoned(_CONTEXT.multiply, left, right)


def divide(left: Decimal, right: Decimal) -> Decimal | None:
    return _reckoned(_CONTEXT.divide, left, right)


def remainder(left: Decimal, right: Decimal) -> Decimal | None:
    return _reckoned(_CONTEXT.remainder, left, right)


def whole_quotient(left: Decimal, right: Decimal) -> Decimal | None:
    return _reckoned(_CONTEXT.divide_int, left, right)


def power(base: Decimal, exponent: Decimal) -> Decimal | None:
    return _reckoned(_CONTEXT.power, base, exponent)


def square_root(value: Decimal) -> Decimal | None:
    return _reckoned(_CONTEXT.sqrt, value)


def natural_logarithm(value: Decimal) -> Decimal | None:
    return _reckoned(_CONTEXT.ln, value)


def exponential(value: Decimal) -> Decimal | None:
    return _reckoned(_CONTEXT.exp, value)


def rounded(value: Decimal, digits: int, rounding: str = decimal.ROUND_HALF_UP) -> Decimal | None:
    """With so many digits after the point."""
    try:
        return value.quantize(Decimal(1).scaleb(-digits, _CONTEXT), rounding, _CONTEXT)
    except decimal.DecimalException:
        return None


def in_range(value: int) -> int | None:
    """A whole number of at most 64 bits; None beyond, so that no expression can grow one without end."""
    return value if -_MAX_INTEGER <= value < _MAX_INTEGER else None


def places(value: Decimal) -> int:
    """The digits after the point, as it is written: 2 for 1.50."""
    return max(-int(value.as_tuple().exponent), 0)


def equivalent(left: Decimal, right: Decimal) -> bool:
    """Whether they are equal once both are rounded to the digits after the point of the less precise one."""
    digits = min(places(left), places(right))
    return rounded(left, digits) == rounded(right, digits)


def _reckoned(operation: Callable[..., Decimal], *values: Decimal) -> Decimal | None:
    try:
        found = operation(*values)
    except decimal.DecimalException:
        return None
    return found if found.is_finite() else None
