"""A mapping set, loaded, checked whole and compiled: what the engine holds and shares between threads."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import jsonschema_rs

from service.case.form import Object
from service.case.schema import json_schema
from service.errors import MappingInvalid
from service.fhir import definitions
from service.issues import Issue
from service.mapping.derive import derive_form
from service.mapping.dispatch import Dispatcher, overlaps
from service.mapping.emit import Read, Write, source_of_read, source_of_write
from service.mapping.load import read_spec
from service.mapping.source import problem
from service.mapping.spec import Spec
from service.mapping.tree import Plan, Planner


@dataclass(frozen=True)
class Kind:
    """One row file at work: how its items are found in the items above it, and its two generated functions."""

    plan: Plan
    section: str
    resource: str
    name: str  # the field of the item above that holds the items; empty for the record itself
    is_list: bool
    key: tuple[str, ...]
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
        for path in sorted(self.spec.root.rglob("*")):
            if path.is_file() and path.suffix in (".yaml", ".csv") and "examples" not in path.parts:
                digest.update(path.relative_to(self.spec.root).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
        return digest.hexdigest()


def load_mapping(root: Path) -> Mapping:
    """Loads, checks and compiles the mapping set in a folder. Raises MappingInvalid with everything that is wrong."""
    spec = read_spec(root)
    planner = Planner(spec, definitions.load())
    plans = [plan for file in spec.files if (plan := planner.plan(file))]
    if planner.issues:
        raise MappingInvalid(planner.issues)
    form, issues = derive_form(spec, plans)
    issues += [*overlaps(plans), *_check_set(spec, plans)]
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
        if plan.section in seen:
            issues.append(problem("mapping-section", f"two row files take {plan.section}", "merge them", plan.file.origin))
        if plan.file.each and plan.file.each[-1].endswith("[]") and not plan.file.key:
            what = "items of a list need a key: the fields that tell two of them apart"
            issues.append(problem("mapping-key-missing", what, "add key: [field, …]", plan.file.origin))
        seen.add(plan.section)
    if not any(plan.section == "" and plan.resource == "Patient" and _names_case(plan) for plan in plans):
        text = "no row file takes the record itself (each: .) as a Patient with identifier[…].value"
        issues.append(problem("mapping-patient", text, "add one: the case is named there", spec.origin))
    for name in spec.anchors:
        if name not in seen:
            issues.append(problem("mapping-anchor", f"there is no section '{name}'", "name a section of this set", name.origin))
    return issues


def _names_case(plan: Plan) -> bool:
    return any(leaf.path == "identifier.value" and leaf.row for leaf in plan.root.leaves())
