"""Hypothesis strategies for records with faults, derived from the form: each fault knows its rule and where it shows."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from typing import Any, TypeVar

import jsonschema_rs
from hypothesis import strategies as st

from service.case.form import ListOf, Node, Object
from service.fhir.json import pointer as steps_of
from service.mapping.compiled import Mapping
from tests.support.strategies import Draw, Record, cases, numbers

T = TypeVar("T")


def _one_of(draw: Draw, options: list[T]) -> T:
    """As sampled_from, which is slow where each draw has options of its own."""
    return options[draw(st.integers(0, len(options) - 1))]


@dataclass(frozen=True)
class Fault:
    """One change to a record: `apply` makes it, and then `rule` is broken at `pointer`."""

    rule: str
    pointer: str
    apply: Callable[[Record], None]


@dataclass(frozen=True)
class Broken:
    """A record with one fault, and where it must be reported."""

    record: Record
    rule: str
    pointer: str


CANARY = "Zq7canary"
_WRONG: tuple[Any, ...] = (None, True, 12, Decimal("7654321.5"), CANARY, [CANARY], {CANARY: CANARY})


def broken(mapping: Mapping) -> st.SearchStrategy[Broken]:
    """A record that was good, with one fault of a drawn rule."""
    good, form = cases(mapping), mapping.form

    @st.composite
    def records(draw: Draw) -> Broken:
        record = draw(good)
        by_rule: dict[str, list[Fault]] = {}
        for fault in faults(form, record):
            by_rule.setdefault(fault.rule, []).append(fault)
        fault = _one_of(draw, by_rule[_one_of(draw, sorted(by_rule))])
        fault.apply(record)
        return Broken(record, fault.rule, fault.pointer)

    return records()


def faults(node: Node, value: Any, steps: tuple[str | int, ...] = ()) -> Iterator[Fault]:
    """Every single fault that this value of a record can be given."""
    if steps:  # what else than an object the record itself could be is tested by hand
        yield from _type_faults(node, steps)
    if isinstance(node, ListOf):
        yield _put("case-empty-list", steps, [])
        for index, one in enumerate(value if isinstance(value, list) else ()):
            yield from faults(node.item, one, (*steps, index))
    elif isinstance(node, Object):
        yield from _object_faults(node, value, steps)
        for name in [name for name in node.fields if isinstance(value, dict) and name in value]:
            yield from faults(node.fields[name].node, value[name], (*steps, name))
    elif "enum" in node.schema:
        yield _put("case-unknown-term", steps, CANARY)
    elif "pattern" in node.schema:
        yield _put("case-pattern", steps, f" {CANARY}")
    elif "maximum" in node.schema:
        yield _put("case-bound", steps, node.schema["maximum"] + 1)


def _type_faults(node: Node, steps: tuple[str | int, ...]) -> Iterator[Fault]:
    wanted = "array" if isinstance(node, ListOf) else "object" if isinstance(node, Object) else node.schema.get("type")
    if wanted:
        wrong = _wrong(wanted)
        yield _put("case-type", steps, wrong[len("".join(map(str, steps))) % len(wrong)])


@cache
def _wrong(wanted: str) -> list[Any]:
    judge = jsonschema_rs.validator_for({"type": wanted})
    return [one for one in _WRONG if not judge.is_valid(one)]


def _object_faults(node: Object, value: Any, steps: tuple[str | int, ...]) -> Iterator[Fault]:
    if not isinstance(value, dict):
        return
    yield _put("case-unknown-field", (*steps, CANARY), CANARY)
    if steps and not any(one.required for one in node.fields.values()):
        yield _put("case-empty-object", steps, {})
    for name, one in node.fields.items():
        if one.required and name in value:
            yield _drop("case-required", (*steps, name), steps_of(*steps, name))
    for name in value:
        for other in node.requires.get(name, ()):
            if other in value and not node.fields[other].required:
                yield _drop("case-requires", (*steps, other), steps_of(*steps, name))
    for first, second in node.exclusive:
        if first in value or second in value:
            added = second if first in value else first
            yield _put("case-exclusive", (*steps, added), CANARY)


def _put(rule: str, steps: tuple[str | int, ...], new: Any) -> Fault:
    def apply(record: Record) -> None:
        _above(record, steps)[steps[-1]] = copy.deepcopy(new)

    return Fault(rule, steps_of(*steps), apply)


def _drop(rule: str, steps: tuple[str | int, ...], pointer: str) -> Fault:
    def apply(record: Record) -> None:
        del _above(record, steps)[steps[-1]]

    return Fault(rule, pointer, apply)


def _above(record: Any, steps: tuple[str | int, ...]) -> Any:
    for step in steps[:-1]:
        record = record[step]
    return record


def any_json() -> st.SearchStrategy[Any]:
    """Any JSON value, as the door reads it."""
    leaves = st.one_of(
        st.none(), st.booleans(), st.integers(), numbers(), st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
    )
    return st.recursive(
        leaves,
        lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=6), inner, max_size=4)),
        max_leaves=12,
    )


def spoiled(mapping: Mapping) -> st.SearchStrategy[Any]:
    """Records with none to several faults, which may hide one another."""
    good, form = cases(mapping), mapping.form

    @st.composite
    def records(draw: Draw) -> Any:
        record = draw(good)
        for _ in range(draw(st.integers(0, 4))):
            _one_of(draw, list(faults(form, record))).apply(record)
        return record

    return records()
