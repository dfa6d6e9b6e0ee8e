"""What a conversion used: the case fields and the rule behind each element, rows that fire, terms without a code."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from service.mapping.compiled import Mapping
from service.mapping.scope import Entry
from service.mapping.spec import Row
from service.mapping.to_fhir import Mapped, values_of
from service.mapping.tree import Node


@dataclass(frozen=True)
class Trace:
    """One element of the bundle: its FHIRPath, the JSON Pointers of its case fields, and its row (file:line:column)."""

    expression: str
    case: tuple[str, ...]
    rule: str


def explain(mapping: Mapping, mapped: Mapped) -> Iterator[Trace]:
    """Every element that a row wrote, entry by entry; constants and links have no case field behind them and are left out."""
    for index, entry in enumerate(mapped.entries):
        for leaf, row, places in _fired(mapping, entry):
            expression = f"Bundle.entry[{index}].resource.{leaf.expression}"
            yield Trace(expression, tuple(places), str(row.origin))


def _fired(mapping: Mapping, entry: Entry) -> Iterator[tuple[Node, Row, list[str]]]:
    for leaf in mapping.by_section[entry.section].plan.root.leaves():
        row = leaf.row
        if row is None or not row.fields:
            continue
        places = [place for place, values in values_of(entry, row.fields) if any(value is not None for value in values)]
        if places:
            yield leaf, row, places


@dataclass
class Coverage:
    """Counted over any number of cases: how often each row fired, and each term of the tables that has no code."""

    rows: Counter[str] = field(default_factory=Counter)
    uncoded: Counter[tuple[str, str]] = field(default_factory=Counter)
    coded: int = 0

    def add(self, mapping: Mapping, mapped: Mapped) -> None:
        for entry in mapped.entries:
            for leaf, row, places in _fired(mapping, entry):
                self.rows[str(row.origin)] += len(places)
                self._count_terms(entry, leaf, row)

    def _count_terms(self, entry: Entry, leaf: Node, row: Row) -> None:
        table = leaf.bound.table if leaf.bound else None
        if table is None or row.derived or leaf.bound is None or leaf.bound.types[0] not in ("CodeableConcept", "Reference"):
            return
        for _place, values in values_of(entry, row.fields):
            term = table.terms.get(values[0]) if isinstance(values[0], str) else None
            if term and term.codings:
                self.coded += 1
            elif term:
                self.uncoded[table.name, term.name] += 1


def idle_rows(mapping: Mapping, coverage: Coverage) -> list[str]:
    """The rows of the set that never fired, as "file:line:column element"."""
    rows = [row for kind in mapping.kinds for row in kind.plan.file.rows if row.fields]
    return [f"{row.origin} {row.element}" for row in rows if str(row.origin) not in coverage.rows]


def missing(expected: Any, actual: Any, path: str = "") -> Iterable[str]:
    """Where `actual` lacks what `expected` has: every member of an object, every element of a list in its place."""
    if isinstance(expected, dict):
        for name, value in expected.items():
            if not isinstance(actual, dict) or name not in actual:
                yield f"{path}.{name}"
            else:
                yield from missing(value, actual[name], f"{path}.{name}")
    elif isinstance(expected, list):
        if not isinstance(actual, list) or len(actual) != len(expected):
            yield path
        else:
            for index, (one, other) in enumerate(zip(expected, actual, strict=True)):
                yield from missing(one, other, f"{path}[{index}]")
    elif expected != actual or str(expected) != str(actual):
        yield path
