"""Conditions made of conditions, by three-valued logic, each evaluated only as far as it takes to know.

Source: http://hl7.org/fhirpath/N1/#boolean-logic
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from service.validate.fhirpath.context import Env, PathFn, TestFn
from service.validate.fhirpath.model import Items, Node
from service.validate.fhirpath.values import equal, key, keys, single


def _and(*operands: TestFn) -> TestFn:
    def run(this: Items, env: Env) -> bool | None:
        found: bool | None = True
        for operand in operands:
            each = operand(this, env)
            if each is False:
                return False
            if each is None:
                found = None
        return found

    return run


def _or(*operands: TestFn) -> TestFn:
    def run(this: Items, env: Env) -> bool | None:
        found: bool | None = False
        for operand in operands:
            each = operand(this, env)
            if each is True:
                return True
            if each is None:
                found = None
        return found

    return run


def _xor(left: TestFn, right: TestFn) -> TestFn:
    def run(this: Items, env: Env) -> bool | None:
        one, other = left(this, env), right(this, env)
        return None if one is None or other is None else one is not other

    return run


def _implies(left: TestFn, right: TestFn) -> TestFn:
    def run(this: Items, env: Env) -> bool | None:
        premise = left(this, env)
        if premise is False:
            return True
        conclusion = right(this, env)
        # From an open premise only what is true anyway follows.
        return conclusion if premise or conclusion else None

    return run


LOGIC: Final[dict[str, Callable[..., TestFn]]] = {"and": _and, "or": _or, "xor": _xor, "implies": _implies}


def negation(test: TestFn) -> TestFn:
    """`condition.not()`."""

    def run(this: Items, env: Env) -> bool | None:
        found = test(this, env)
        return None if found is None else not found

    return run


def membership(element: PathFn, collection: PathFn) -> TestFn:
    """`element in collection`: None where there is no element."""

    def run(this: Items, env: Env) -> bool | None:
        item = single(element(this, env))
        if item is None:
            return None
        return key(item) in keys(collection(this, env), env)

    return run


def same_truth(left: TestFn, right: TestFn) -> TestFn:
    """`left = right` of two conditions, without the collections that `=` compares."""

    def run(this: Items, env: Env) -> bool | None:
        one, other = left(this, env), right(this, env)
        return None if one is None or other is None else one is other

    return run


def same_text(path: PathFn, text: str) -> TestFn:
    """`path = 'text'`, the commonest of all comparisons."""
    other = [text]

    def run(this: Items, env: Env) -> bool | None:
        items = path(this, env)
        if len(items) == 1:
            item = items[0]
            if type(item) is Node and item.type.system is None:
                return bool(item.value == text)
        return equal(items, other)

    return run
