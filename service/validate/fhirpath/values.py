"""Items of a collection as values: single ones, equality, equivalence, order, and the keys that make sets of them.

Source: http://hl7.org/fhirpath/N1/#equality, #comparison and #singleton-evaluation-of-collections
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final

from service.validate.fhirpath import numbers, quantity, temporal
from service.validate.fhirpath.context import Env
from service.validate.fhirpath.errors import PathError
from service.validate.fhirpath.model import NOTHING, Items, Node, plain
from service.validate.fhirpath.quantity import Quantity
from service.validate.fhirpath.temporal import FPDate, FPDateTime, FPTime

# Shared by all evaluations, as every list of items may be: nobody changes a list that was handed out.
ITEMS_OF: Final[dict[bool | None, Items]] = {True: [True], False: [False], None: NOTHING}

SYSTEM_NAMES: Final = {
    bool: "Boolean",
    int: "Integer",
    Decimal: "Decimal",
    str: "String",
    FPDate: "Date",
    FPDateTime: "DateTime",
    FPTime: "Time",
    Quantity: "Quantity",
}
_MOMENTS: Final = (FPDate, FPDateTime)
# Up to here a list is searched as quickly as a set of its keys is made.
_FEW: Final = 8
# What one text may grow to by joining others, so that no expression can double one without end.
MAX_TEXT: Final = 10_000_000


# Single values ------------------------------------------------------------------------------------------------------


def single(items: Items) -> Any:
    """The one item, or None for none. Raises PathError for many."""
    if not items:
        return None
    if len(items) > 1:
        raise PathError("there are several items where one is expected")
    return items[0]


def value_of(items: Items) -> Any:
    """The System value of the one item, or None for none. Raises PathError for many."""
    return plain(single(items))


def truth(items: Items) -> bool | None:
    """What one item means as a condition: a Boolean its value, anything else true. Raises PathError for many items."""
    if not items:
        return None
    if len(items) > 1:
        raise PathError("there are several items where a condition is expected")
    item = items[0]
    if type(item) is bool:
        return item
    if type(item) is Node and item.type.name == "boolean":
        return item.value if type(item.value) is bool else None
    return True


def text(items: Items) -> str | None:
    """The one string, or the text of a FHIR primitive that is written as one. Raises PathError for other things."""
    item = single(items)
    value = item.value if type(item) is Node else item
    if value is None or type(value) is str:
        return value
    raise PathError("a string is expected")


def bounded(value: str) -> str:
    """The text. Raises PathError where it has grown too long."""
    refuse_longer(len(value))
    return value


def refuse_longer(length: int) -> None:
    if length > MAX_TEXT:
        raise PathError("a text would become too long")


def integer(items: Items) -> int | None:
    """The one whole number. Raises PathError for other things."""
    value = value_of(items)
    if value is None or type(value) is int:
        return value
    raise PathError("an integer is expected")


def number(items: Items) -> int | Decimal | None:
    """The one number. Raises PathError for other things."""
    value = value_of(items)
    if value is None or type(value) in (int, Decimal):
        return value  # type: ignore[no-any-return]  # a number, as the line above says
    raise PathError("a number is expected")


def one(value: Any) -> Items:
    """The collection of a value, empty for None."""
    return NOTHING if value is None else [value]


# Equality -----------------------------------------------------------------------------------------------------------


def equal(left: Items, right: Items) -> bool | None:
    """`=`: None where a side is empty, or an item's precision leaves it open."""
    if not left or not right:
        return None
    if len(left) != len(right):
        return False
    found: bool | None = True
    for one_item, other in zip(left, right, strict=True):
        same = equal_items(one_item, other)
        if same is False:
            return False
        found = found and same
    return found


def equal_items(left: Any, right: Any) -> bool | None:
    left, right = plain(left), plain(right)
    kind, other = type(left), type(right)
    if kind is other:
        rule = _EQUAL.get(kind)
        return bool(left == right) if rule is None else rule(left, right)
    if kind in _NUMBERS and other in _NUMBERS:
        return bool(left == right)
    if kind in _MOMENTS and other in _MOMENTS:
        return _same_moment(left, right)
    if kind is Quantity and other in _NUMBERS:
        return quantity.equal(left, Quantity(Decimal(right)))
    if other is Quantity and kind in _NUMBERS:
        return quantity.equal(Quantity(Decimal(left)), right)
    return False


def _same_moment(left: temporal.Temporal, right: temporal.Temporal) -> bool | None:
    found = temporal.compare(left, right)
    return None if found is None else found == 0


_NUMBERS: Final = (int, Decimal)
_EQUAL: Final[dict[type, Callable[[Any, Any], bool | None]]] = {
    FPDate: _same_moment,
    FPDateTime: _same_moment,
    FPTime: _same_moment,
    Quantity: quantity.equal,
}


def equivalent(left: Items, right: Items) -> bool:
    """`~`: never open, and blind to the order of items."""
    if len(left) != len(right):
        return False
    rest = [plain(item) for item in right]
    for item in left:
        value = plain(item)
        match = next((position for position, each in enumerate(rest) if equivalent_values(value, each)), None)
        if match is None:
            return False
        del rest[match]
    return True


def equivalent_values(left: Any, right: Any) -> bool:
    kind, other = type(left), type(right)
    if kind is str and other is str:
        return " ".join(left.lower().split()) == " ".join(right.lower().split())
    if kind in _NUMBERS and other in _NUMBERS:
        return numbers.equivalent(Decimal(left), Decimal(right))
    if kind is Quantity and other is Quantity:
        return quantity.equivalent(left, right)
    if kind is list and other is list:
        return equivalent(left, right)
    if kind is dict and other is dict:
        names = (left.keys() | right.keys()) - {"id"}
        return all(name in left and name in right and equivalent_values(left[name], right[name]) for name in names)
    return equal_items(left, right) is True


# Order --------------------------------------------------------------------------------------------------------------


def compare(left: Items, right: Items) -> int | None:
    """-1, 0 or 1; None where a side is empty or the precision leaves it open. Raises PathError for what has no order."""
    one_value, other = value_of(left), value_of(right)
    return None if one_value is None or other is None else compare_values(one_value, other)


def compare_values(left: Any, right: Any) -> int | None:
    kind, other = type(left), type(right)
    if (kind in _NUMBERS and other in _NUMBERS) or (kind is str and other is str):
        return int(left > right) - int(left < right)
    if (kind in _MOMENTS and other in _MOMENTS) or (kind is FPTime and other is FPTime):
        return temporal.compare(left, right)
    if kind in _MEASURES and other in _MEASURES:
        return quantity.compare(*(each if type(each) is Quantity else Quantity(Decimal(each)) for each in (left, right)))
    raise PathError("these two have no order: " + " and ".join(SYSTEM_NAMES.get(each, "an object") for each in (kind, other)))


_MEASURES: Final = (int, Decimal, Quantity)


# Sets ---------------------------------------------------------------------------------------------------------------


def key(item: Any) -> Any:
    """What is the same for two items that are equal, and only then; so that sets take linear time."""
    value = plain(item)
    kind = type(value)
    if kind is str or kind is int or kind is Decimal:
        return value
    if kind in (FPDate, FPDateTime, FPTime):
        return temporal.key(value)
    return quantity.key(value) if kind is Quantity else _frozen(value)


def _frozen(value: Any) -> Any:
    if type(value) is dict:
        return tuple(sorted((name, _frozen(each)) for name, each in value.items()))
    if type(value) is list:
        return ("list", *map(_frozen, value))
    return ("boolean", value) if type(value) is bool else value


def distinct(items: Items) -> Items:
    """The items without those that equal an earlier one."""
    if len(items) < 2:
        return items
    found: dict[Any, Any] = {}
    for item in items:
        found.setdefault(key(item), item)
    return list(found.values())


def is_distinct(items: Items) -> bool:
    return len(items) < 2 or len({key(item) for item in items}) == len(items)


def keys(items: Items, env: Env) -> frozenset[Any]:
    """The keys of items. Those of a long list are kept for the evaluation: a loop may ask for the same list each time."""
    if len(items) <= _FEW:
        return frozenset(map(key, items))
    # The list is kept with its keys, so that no other list can come to bear its id.
    found = env.kept.get(id(items))
    if found is None:
        found = env.kept[id(items)] = (items, frozenset(map(key, items)))
    known: frozenset[Any] = found[1]
    return known
