"""A mapping set, loaded, checked whole and compiled: what the engine holds and shares between threads."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import jsonschema_rs

from service.case.form import ListOf, Object
from service.case.form import Node as FormNode
from service.case.schema import json_schema
from service.errors import MappingInvalid
from service.fhir import definitions
from service.issues import Issue
from service.mapping.cardinality import misfits
from service.mapping.derive import derive_form
from service.mapping.dispatch import Dispatcher, overlaps
from service.mapping.emit import Read, Write, key_function, source_of_read, source_of_write
from service.mapping.load import read_spec
from service.mapping.readable import unreadable
from service.mapping.source import problem
from service.mapping.spec import Row, Spec
from service.mapping.tree import Node, Plan, Planner


@dataclass(frozen=True)
class Kind:
    """One row file at work: how its items are found in the items above it, and its two generated functions."""

    plan: Plan
    section: str
    resource: str
    name: str  # the field of the item above that holds the items; empty for the record itself
    is_list: bool
    key: tuple[str, ...]
    key_of: Callable[[dict[str, Any]], list[Any]]  # the key fields of an item
    link: str  # the property that refers to the item above; empty where there is none
    has_id: bool  # whether items have an id, by which others name them
    write: Write
    read: Read


@dataclass(frozen=True)
class Mapping:
    """A compiled mapping set. `kinds` are in the order in which resources are written, items above before those in them."""

    spec: Spec
    kinds: tuple[Kind, ...]
    form: Object
    dispatcher: Dispatcher

    @property
    def name(self) -> str:
        return self.spec.name

    @cached_property
    def by_section(self) -> dict[str, Kind]:
        return {kind.section: kind for kind in self.kinds}

    @cached_property
    def schema(self) -> dict[str, Any]:
        """The published JSON Schema of a record."""
        return json_schema(self.form, url=f"{self.spec.url}/schema.json", title=f"A case of {self.spec.title}")

    @cached_property
    def accepts(self) -> jsonschema_rs.Validator:
        """The same schema, compiled: says yes or no in microseconds; the marshmallow form says why."""
        return jsonschema_rs.validator_for(self.schema)

    @cached_property
    def case_field(self) -> str:
        """The field that names the case: the one that the patient's own identifier carries."""
        root = self.by_section[""].plan.root
        for leaf in root.leaves():
            if leaf.row and leaf.path == "identifier.value":
                return leaf.row.fields[0].path[0]
        raise AssertionError("checked at load")

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over the files of the set: names the exact version that made a bundle."""
        digest = hashlib.sha256()
        for root in self.spec.layers:
            for path in sorted([root / "mapping.yaml", *root.glob("resources/*.yaml"), *root.glob("codes/*.csv")]):
                digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
        return digest.hexdigest()


def load_mapping(root: Path, shelf: Path | None = None) -> Mapping:
    """Loads, checks and compiles the mapping set in a folder. Raises MappingInvalid with everything that is wrong.

    `shelf`: the folder of the shipped sets, for a set that extends one of them.
    """
    spec = read_spec(root, shelf)
    r4 = definitions.load()
    planner = Planner(spec, r4)
    plans = [plan for file in spec.files if (plan := planner.plan(file))]
    if planner.issues:
        raise MappingInvalid(planner.issues)
    issues = [issue for plan in plans for issue in (*misfits(plan.file, plan.root, spec, r4), *unreadable(plan.root))]
    issues += _check_set(spec, plans)
    if issues:
        raise MappingInvalid(issues)
    form, issues = derive_form(spec, plans)
    issues += [*overlaps(plans), *_check_fields(spec, form, plans)]
    if issues:
        raise MappingInvalid(issues)
    return Mapping(spec, tuple(_kind(plan) for plan in plans), form, Dispatcher(plans))


def _kind(plan: Plan) -> Kind:
    last = plan.file.each[-1] if plan.file.each else ""
    return Kind(
        plan=plan,
        section=plan.section,
        resource=plan.resource,
        name=last.removesuffix("[]"),
        is_list=last.endswith("[]"),
        key=tuple(str(name) for name in plan.file.key),
        key_of=key_function(plan.file.key),
        has_id=any(ref.path == ("id",) for row in plan.file.rows for ref in row.fields),
        link=next((leaf.name for leaf in plan.root.leaves() if leaf.row and leaf.row.link == "parent"), ""),
        write=source_of_write(plan).function("write"),
        read=source_of_read(plan).function("read"),
    )


def _check_set(spec: Spec, plans: list[Plan]) -> list[Issue]:
    """What only the set as a whole can get wrong: the record's own file, the order of files, anchors."""
    issues = []
    seen: set[str] = set()
    for plan in plans:
        if plan.section and plan.parent not in seen:
            what = f"the items above ('{plan.parent or 'the record'}') have no row file before this one"
            issues.append(problem("mapping-order", what, "list it earlier under `resources`", plan.file.origin))
        if plan.parent and not any(leaf.row and leaf.row.link == "parent" for leaf in plan.root.leaves()):
            what = "no row refers to the item above, so that these could not be put back into it"
            issues.append(problem("mapping-no-link", what, "add a row: element: -> parent", plan.file.origin))
        if plan.section in seen:
            issues.append(
                problem("mapping-section", f"two row files take {plan.section or 'the record'}", "merge them", plan.file.origin)
            )
        if plan.file.each and plan.file.each[-1].endswith("[]") and not plan.file.key:
            what = "items of a list need a key: the fields that tell two of them apart"
            issues.append(problem("mapping-key-missing", what, "add key: [field, …]", plan.file.origin))
        seen.add(plan.section)
    if not any(plan.section == "" and plan.resource == "Patient" and _names_case(plan) for plan in plans):
        text = "no row file takes the record itself (each: .) as a Patient with the case's name in identifier[…].value"
        fix = "add one with the row identifier[case].value: case! (one field of the record, required)"
        issues.append(problem("mapping-patient", text, fix, spec.origin))
    unknown = [name for name in spec.anchors if name not in seen]
    issues += [
        problem("mapping-anchor", f"there is no section '{name}'", "name a section of this set", name.origin)
        for name in unknown
    ]
    return issues


def _names_case(plan: Plan) -> bool:
    """Whether the record's number is the first thing that a patient's identifier carries, and always there."""
    row = next((leaf.row for leaf in plan.root.leaves() if leaf.path == "identifier.value" and leaf.row), None)
    return (
        row is not None
        and not row.derived
        and row.fields[0].required
        and len(row.fields[0].path) == 1
        and not row.fields[0].many
    )


def _check_fields(spec: Spec, form: Object, plans: list[Plan]) -> Iterator[Issue]:
    """What rows say of fields that other rows read: events, ids, and fields of the item above."""
    rows = {plan.section: [(leaf, leaf.row) for leaf in plan.root.leaves() if leaf.row and leaf.row.use] for plan in plans}
    by_id = {section for section, found in rows.items() if any(_is_id(leaf, row, spec) for leaf, row in found)}
    for name in spec.anchors:
        if name not in by_id or not any(_reads(row, "when", "moment", "date") for _leaf, row in rows[name]):
            what = f"items of '{name}' cannot be events: they need an id and a moment"
            fix = "add the rows identifier[item].value: id, identifier[item].system: $items, and a moment named when"
            yield problem("mapping-anchor", what, fix, name.origin)
    for plan in plans:
        for leaf, row in rows[plan.section]:
            if _reads(row, "id") and not _is_id(leaf, row, spec):
                what = "'id' is the name under which moments and references know an item"
                yield problem(
                    "mapping-id", what, "write it to identifier[item].value, with the constant $items as its system", row.origin
                )
            for word in row.use.arguments if row.use and row.use.converter == "reference" else ():
                if word not in by_id:
                    what = f"items of '{word}' cannot be referred to: they have no id"
                    yield problem("mapping-reference", what, f"add the row identifier[item].value: id to {word}", row.origin)
            for ref in row.fields:
                home = plan.parent if ref.up else plan.section
                if ((ref.up or row.derived) and not _is_field(form, home, ref.path)) or (ref.up and not plan.section):
                    yield problem(
                        "mapping-field", f"no row reads the field '{ref.name}'", "name a field that one does", row.origin
                    )


def _reads(row: Row, name: str, *converters: str) -> bool:
    own = not row.derived and bool(row.fields) and row.fields[0].path == (name,) and not row.fields[0].many
    return own and (not converters or (row.use is not None and row.use.converter in converters))


def _is_id(leaf: Node, row: Row, spec: Spec) -> bool:
    return _reads(row, "id", "text") and leaf.path == "identifier.value" and leaf.beside.get("system") == spec.items


def _is_field(form: Object, section: str, path: tuple[str, ...]) -> bool:
    node: FormNode = form
    for step in (*(section.split(".") if section else ()), *path):
        node = node.item if isinstance(node, ListOf) else node
        if not isinstance(node, Object) or step not in node.fields:
            return False
        node = node.fields[step].node
    return True
