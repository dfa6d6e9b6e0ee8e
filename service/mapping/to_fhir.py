"""Item by item from a record to its resources, by the generated functions; what goes wrong is explained row by row."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from service.issues import Issue
from service.mapping.compiled import Kind, Mapping
from service.mapping.converters import CONVERTERS
from service.mapping.identity import Identities
from service.mapping.scope import Entry, Scope
from service.mapping.spec import FieldRef
from service.mapping.tree import Node

MOST_ISSUES = 1000
Record = dict[str, Any]
Resource = dict[str, Any]


@dataclass(frozen=True)
class Mapped:
    """The resources of one record, each beside the entry that it came from, in the order of the mapping set."""

    entries: list[Entry]
    resources: list[Resource]


def to_resources(record: Record, mapping: Mapping, key: bytes) -> tuple[Mapped | None, list[Issue]]:
    """The resources of a record that the form accepts, or None with the issues: unknown ids, impossible dates, collisions.

    Pure: the same record, mapping set and key give the same resources, byte for byte.
    """
    scope = Scope(mapping.spec.items, anchors=frozenset(mapping.spec.anchors))
    entries, issues = _enter(record, mapping, key, scope)
    if issues:
        return None, issues
    resources: list[Resource] = []
    try:
        for kind, found in entries:
            write = kind.write
            for entry in found:
                above = entry.parent or entry
                resources.append(write(entry.item, above.item, entry.full_url[9:], above.full_url, scope))
    except ValueError:
        return None, list(islice(_explain(entries, scope), MOST_ISSUES))
    return Mapped([entry for _kind, found in entries for entry in found], resources), []


def _enter(record: Record, mapping: Mapping, key: bytes, scope: Scope) -> tuple[list[tuple[Kind, list[Entry]]], list[Issue]]:
    """Every item of the record with its identity; ids and identities that two items share are issues."""
    identities = Identities(key, record[mapping.case_field])
    root = Entry("", "Patient", record, None, identities.of("", "", ()))
    scope.patient_url = root.full_url
    scope.by_url[root.full_url] = root
    found: dict[str, list[Entry]] = {"": [root]}
    issues: list[Issue] = []
    for kind in mapping.kinds[1:]:
        found[kind.section] = here = []
        for above in found[kind.plan.parent]:
            held = above.item.get(kind.name)
            if held is None:
                continue
            for index, item in enumerate(held) if kind.is_list else ((-1, held),):
                url = identities.of(kind.section, above.full_url, kind.key_of(item))
                entry = Entry(kind.section, kind.resource, item, above, url, (kind.name, index))
                here.append(entry)
                if (first := scope.by_url.setdefault(url, entry)) is not entry:
                    issues.append(_collision(kind, entry, first))
                elif kind.has_id and "id" in item and (first := scope.items.setdefault(item["id"], entry)) is not entry:
                    issues.append(_same_id(entry, first))
    return [(kind, found[kind.section]) for kind in mapping.kinds], issues


def _collision(kind: Kind, entry: Entry, other: Entry) -> Issue:
    return Issue(
        "error",
        "duplicate",
        "case-same-identity",
        f"this item and {other.pointer} are the same in all fields that tell items apart ({', '.join(kind.key)})",
        fix="remove one of them, or give them different values in one of these fields",
        pointer=entry.pointer,
        origin=kind.plan.file.origin,
    )


def _same_id(entry: Entry, other: Entry) -> Issue:
    text = f"this id is also that of {other.pointer}"
    return Issue("error", "duplicate", "case-same-id", text, fix="give each item its own id", pointer=entry.pointer + "/id")


_FIXES = {
    "moment": "name an item that has `id` and `when`, or write a date",
    "reference": "give the item that is meant this id, or correct the id here",
    "integer": "write it without a decimal point",
    "range": "give low or high beside the unit",
    "reference_range": "give low or high beside the unit",
}


# --- explaining -------------------------------------------------------------------------------------------------------


def _explain(entries: list[tuple[Kind, list[Entry]]], scope: Scope) -> Iterator[Issue]:
    """Runs each row of each item by itself, and says of every one that fails where it stands."""
    for kind, found in entries:
        for entry in found:
            for leaf in kind.plan.root.leaves():
                yield from _explain_row(kind, entry, leaf, scope)


def _explain_row(kind: Kind, entry: Entry, leaf: Node, scope: Scope) -> Iterator[Issue]:
    row, bound = leaf.row, leaf.bound
    if row is None or bound is None or row.derived:
        return
    for place, values in values_of(entry, row.fields):
        if all(value is None for value in values):
            continue
        try:
            _run(leaf, values, scope)
        except ValueError as error:
            yield Issue(
                "error",
                "value",
                "case-" + (row.use.converter if row.use else "value"),
                str(error),
                fix=_FIXES.get(row.use.converter if row.use else "", "see what the field takes: casebridge mappings show"),
                pointer=place,
                expression=f"{kind.resource}.{leaf.expression}",
                origin=row.origin,
            )


def _run(leaf: Node, values: list[Any], scope: Scope) -> None:
    bound = leaf.bound
    assert bound is not None
    if bound.merging:
        bound.to_fhir({}, leaf.name, *_pad(values, leaf), scope)
    elif not bound.identity:
        bound.to_fhir(*_pad(values, leaf), scope)


def _pad(values: list[Any], leaf: Node) -> list[Any]:
    assert leaf.row is not None
    assert leaf.row.use is not None
    wanted = CONVERTERS[leaf.row.use.converter].fields[1]
    return (values + [None] * wanted)[:wanted]


def values_of(entry: Entry, fields: tuple[FieldRef, ...]) -> Iterator[tuple[str, list[Any]]]:
    """The values of a row's fields with the JSON Pointer of the first; once for each element where the field is a list."""
    first = fields[0]
    if not first.many:
        yield f"{entry.pointer}/{'/'.join(first.path)}", [_get(entry, ref) for ref in fields]
        return
    for index, element in enumerate(entry.item.get(first.many[0]) or ()):
        place = "/".join((entry.pointer, first.many[0], str(index), *first.path[1:]))
        yield place, [element.get(ref.path[1]) if ref.path[1:] else element for ref in fields]


def _get(entry: Entry, ref: FieldRef) -> Any:
    value: Any = entry.parent.item if ref.up and entry.parent else entry.item
    for step in ref.path:
        value = value.get(step) if isinstance(value, dict) else None
    return value
