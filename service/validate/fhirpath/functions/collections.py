"""Functions on collections as a whole: existence, subsetting, combining, navigation.

Source: http://hl7.org/fhirpath/N1/#existence, #subsetting, #combining and #tree-navigation
"""

from __future__ import annotations

from typing import Final

from service.validate.fhirpath.context import Env
from service.validate.fhirpath.errors import PathError
from service.validate.fhirpath.functions.table import Function, gives_items, gives_truth
from service.validate.fhirpath.model import NOTHING, Items, Node, children, descendants
from service.validate.fhirpath.types import described
from service.validate.fhirpath.values import distinct, integer, is_distinct, key, keys, single, truth


def _empty(items: Items) -> bool:
    return not items


def _not(items: Items) -> bool | None:
    found = truth(items)
    return None if found is None else not found


def _booleans(items: Items) -> list[bool]:
    found = [item.value if type(item) is Node else item for item in items]
    if not all(type(each) is bool for each in found):
        raise PathError("booleans are expected")
    return found


def _subset_of(items: Items, env: Env, other: Items) -> bool:
    return not items or keys(items, env) <= keys(other, env)


def _superset_of(items: Items, env: Env, other: Items) -> bool:
    return _subset_of(other, env, items)


def _single(items: Items) -> Items:
    single(items)
    return items


def _skip(items: Items, count: Items) -> Items:
    return items[max(integer(count) or 0, 0) :]


def _take(items: Items, count: Items) -> Items:
    return items[: max(integer(count) or 0, 0)]


def _intersect(items: Items, env: Env, other: Items) -> Items:
    if not items or not other:
        return NOTHING
    wanted = keys(other, env)
    return distinct([item for item in items if key(item) in wanted])


def _exclude(items: Items, env: Env, other: Items) -> Items:
    unwanted = keys(other, env)
    return [item for item in items if key(item) not in unwanted]


def _descendants(items: Items, env: Env) -> Items:
    """Those of the resource are kept for the evaluation: dom-3 asks for them four times."""
    if len(items) != 1 or items[0] is not env.context.resource:
        return descendants(items)
    found: Items | None = env.kept.get("descendants")
    if found is None:
        found = env.kept["descendants"] = descendants(items)
    return found


FUNCTIONS: Final[dict[str, Function]] = {
    "empty": gives_truth(_empty),
    "not": gives_truth(_not),
    "allTrue": gives_truth(lambda items: all(_booleans(items))),
    "anyTrue": gives_truth(lambda items: any(_booleans(items))),
    "allFalse": gives_truth(lambda items: not any(_booleans(items))),
    "anyFalse": gives_truth(lambda items: not all(_booleans(items))),
    "subsetOf": gives_truth(_subset_of, "value", needs_env=True),
    "supersetOf": gives_truth(_superset_of, "value", needs_env=True),
    "count": gives_items(lambda items: [len(items)]),
    "distinct": gives_items(distinct),
    "isDistinct": gives_truth(is_distinct),
    "single": gives_items(_single),
    "first": gives_items(lambda items: items[:1]),
    "last": gives_items(lambda items: items[-1:]),
    "tail": gives_items(lambda items: items[1:]),
    "skip": gives_items(_skip, "value"),
    "take": gives_items(_take, "value"),
    "intersect": gives_items(_intersect, "value", needs_env=True),
    "exclude": gives_items(_exclude, "value", needs_env=True),
    "union": gives_items(lambda items, other: distinct(items + other), "value"),
    "combine": gives_items(lambda items, other: items + other, "value"),
    "children": gives_items(children),
    "descendants": gives_items(_descendants, needs_env=True),
    "type": gives_items(described),
}
