"""Functions that run their arguments: filters, projections, branches, aggregates, sorting, variables.

Source: http://hl7.org/fhirpath/N1/#filtering-and-projection, #aggregates, #utility-functions; sort() and defineVariable()
are of the release after it.
"""

from __future__ import annotations

from functools import cmp_to_key
from typing import Any, Final, TypeAlias

from service.validate.fhirpath.context import Env, PathFn, TestFn
from service.validate.fhirpath.errors import PathError
from service.validate.fhirpath.functions.table import Function, gives_items, gives_truth, loop
from service.validate.fhirpath.model import NOTHING, Items
from service.validate.fhirpath.syntax import TypeName
from service.validate.fhirpath.types import is_of, only
from service.validate.fhirpath.values import compare, key, single, text, truth

Key: TypeAlias = tuple[PathFn, bool]

# repeat() ends on any tree, and need not end on what an expression makes up: repeat($this + 1).
MAX_REPEATED: Final = 200_000


def _where(items: Items, env: Env, criteria: TestFn) -> Items:
    return [item for item in items if criteria([item], env)]


def _exists(items: Items, env: Env, criteria: TestFn | None = None) -> bool:
    if criteria is None:
        return bool(items)
    return any(criteria([item], env) for item in items)


def _all(items: Items, env: Env, criteria: TestFn) -> bool:
    return all(criteria([item], env) for item in items)


def _select(items: Items, env: Env, projection: PathFn) -> Items:
    found: Items = []
    for item in items:
        found += projection([item], env)
    return found


def _repeat(items: Items, env: Env, projection: PathFn) -> Items:
    found: dict[Any, Any] = {}
    while items:
        reached = {key(item): item for item in _select(items, env, projection)}
        items = [item for each, item in reached.items() if each not in found]
        found |= reached
        if len(found) > MAX_REPEATED:
            raise PathError("repeat() finds no end")
    return list(found.values())


def _aggregate(items: Items, env: Env, aggregator: PathFn, start: Items = NOTHING) -> Items:
    outer, env.total = env.total, start
    try:
        for item in items:
            env.total = aggregator([item], env)
        return env.total
    finally:
        env.total = outer


def _iif(items: Items, env: Env, criterion: PathFn, then: PathFn, otherwise: PathFn | None = None) -> Items:
    single(items)
    condition = criterion(items, env)
    if condition and type(condition[0]) is str:
        raise PathError("iif() wants a boolean to decide by")
    if truth(condition):
        return then(items, env)
    return otherwise(items, env) if otherwise else NOTHING


def _trace(items: Items, env: Env, name: Items, projection: PathFn | None = None) -> Items:
    if env.context.trace:
        env.context.trace(text(name) or "", _select(items, env, projection) if projection else items)
    return items


def _define_variable(items: Items, env: Env, name: Items, value: PathFn | None = None) -> Items:
    told = text(name)
    if told is None or told in env.variables:
        raise PathError("defineVariable() wants a name that is not yet taken")
    env.variables = {**env.variables, told: value(items, env) if value else items}
    return items


def _sort(items: Items, env: Env, *keys: Key) -> Items:
    # By the last key first: sorting is stable, so the earlier ones prevail.
    for path, is_downwards in reversed(keys or _BY_ITSELF):
        told = [(path([item], env), item) for item in items]
        empty = [pair for pair in told if not pair[0]]
        rest = sorted((pair for pair in told if pair[0]), key=_SORT_KEY, reverse=is_downwards)
        items = [item for _, item in (*empty, *rest)]
    return items


def _compare_keyed(left: tuple[Items, Any], right: tuple[Items, Any]) -> int:
    return compare(left[0], right[0]) or 0


_SORT_KEY: Final = cmp_to_key(_compare_keyed)
_BY_ITSELF: Final[tuple[Key, ...]] = ((lambda this, _: this, False),)


def _is(items: Items, type_name: TypeName) -> bool | None:
    item = single(items)
    return None if item is None else is_of(item, type_name)


FUNCTIONS: Final[dict[str, Function]] = {
    "where": loop(_where, "test"),
    "exists": loop(_exists, "test", least=0, is_test=True),
    "all": loop(_all, "test", is_test=True),
    "select": loop(_select, "path"),
    "repeat": loop(_repeat, "path"),
    "aggregate": loop(_aggregate, "path", "value", least=1),
    "sort": loop(_sort, "key", least=0)._replace(repeats=True),
    "iif": gives_items(_iif, "path", "path", "path", least=2, needs_env=True),
    "trace": gives_items(_trace, "value", "path", least=1, needs_env=True),
    "defineVariable": gives_items(_define_variable, "value", "path", least=1, needs_env=True),
    "is": gives_truth(_is, "type"),
    # As a function, `as` takes many items: R4's own dom-3 says %resource.descendants().as(canonical).
    "as": gives_items(only, "type"),
    "ofType": gives_items(only, "type"),
}
