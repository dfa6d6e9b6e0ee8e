"""toX() and convertsToX(). Source: http://hl7.org/fhirpath/N1/#conversion"""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final, TypeAlias

from service.validate.fhirpath import quantity, temporal
from service.validate.fhirpath.functions.table import Function, gives_items, gives_truth
from service.validate.fhirpath.model import Items
from service.validate.fhirpath.quantity import Quantity
from service.validate.fhirpath.temporal import FPDate, FPDateTime, FPTime
from service.validate.fhirpath.values import one, value_of

# A System value → the value of another type that it says; None where it says none.
Conversion: TypeAlias = Callable[[Any], Any]

_TRUE: Final = frozenset(("true", "t", "yes", "y", "1", "1.0"))
_FALSE: Final = frozenset(("false", "f", "no", "n", "0", "0.0"))
_INTEGER: Final = re.compile(r"[+-]?[0-9]{1,19}")
_DECIMAL: Final = re.compile(r"[+-]?[0-9]{1,500}(\.[0-9]{1,500})?")


def to_boolean(value: Any) -> bool | None:
    if type(value) is bool:
        return value
    if type(value) in (int, Decimal):
        return bool(value) if value in (0, 1) else None
    if type(value) is not str:
        return None
    told = value.lower()
    return True if told in _TRUE else False if told in _FALSE else None


def to_integer(value: Any) -> int | None:
    if type(value) in (int, bool):
        return int(value)
    return int(value) if type(value) is str and _INTEGER.fullmatch(value) else None


def to_decimal(value: Any) -> Decimal | None:
    if type(value) in (int, bool, Decimal):
        return Decimal(value)
    return Decimal(value) if type(value) is str and _DECIMAL.fullmatch(value) else None


def to_string(value: Any) -> str | None:
    if type(value) is str:
        return value
    if type(value) is bool:
        return "true" if value else "false"
    if type(value) is Decimal:
        return f"{value:f}"
    return str(value) if type(value) in (int, FPDate, FPDateTime, FPTime, Quantity) else None


def to_date(value: Any) -> FPDate | None:
    if type(value) is FPDateTime:
        return FPDate(value.parts[:3])
    if type(value) is str:
        found = temporal.date_time(value)
        return FPDate(found.parts[:3]) if found else None
    return value if type(value) is FPDate else None


def to_date_time(value: Any) -> FPDateTime | None:
    if type(value) is FPDate:
        return FPDateTime(value.parts)
    if type(value) is str:
        return temporal.date_time(value)
    return value if type(value) is FPDateTime else None


def to_time(value: Any) -> FPTime | None:
    if type(value) is str:
        return temporal.time(value)
    return value if type(value) is FPTime else None


def to_quantity(value: Any) -> Quantity | None:
    if type(value) in (int, bool, Decimal):
        return Quantity(Decimal(value))
    if type(value) is str:
        return quantity.from_text(value)
    return value if type(value) is Quantity else None


def _to(conversion: Conversion) -> Function:
    def run(items: Items) -> Items:
        return one(conversion(value_of(items)))

    return gives_items(run)


def _converts(conversion: Conversion) -> Function:
    def run(items: Items) -> bool | None:
        return conversion(value_of(items)) is not None if items else None

    return gives_truth(run)


_CONVERSIONS: Final[dict[str, Conversion]] = {
    "Boolean": to_boolean,
    "Integer": to_integer,
    "Decimal": to_decimal,
    "String": to_string,
    "Date": to_date,
    "DateTime": to_date_time,
    "Time": to_time,
    "Quantity": to_quantity,
}

FUNCTIONS: Final[dict[str, Function]] = {
    **{f"to{name}": _to(conversion) for name, conversion in _CONVERSIONS.items()},
    **{f"convertsTo{name}": _converts(conversion) for name, conversion in _CONVERSIONS.items()},
}
