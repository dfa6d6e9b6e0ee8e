"""Derives the form of a case from the plans of a mapping set: a field exists because a row reads it or it is ignored."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import combinations, product
from typing import Any

from service.case import form
from service.issues import Issue, Origin
from service.mapping.source import Located, problem
from service.mapping.spec import FieldRef, Row, Spec
from service.mapping.tree import NOWHERE, Node, Plan

ANY_JSON = form.Scalar("ignored", {}, "not read by any row")


@dataclass
class Slot:
    """A form under construction: a scalar, or an object that still grows."""

    scalar: form.Node | None = None
    fields: dict[str, Slot] = field(default_factory=dict)
    is_list: bool = False
    is_item: bool = False  # named by `each`: there or not as a whole
    required: bool = False
    origin: Origin = NOWHERE
    element: str = ""
    expression: str = ""
    requires: dict[str, set[str]] = field(default_factory=dict)
    exclusive: set[tuple[str, str]] = field(default_factory=set)

    def descend(self, name: str, *, is_list: bool = False) -> Slot:
        slot = self.fields.setdefault(name, Slot())
        slot.is_list = slot.is_list or is_list
        return slot

    def is_taken(self, name: str, *, is_list: bool) -> bool:
        """Whether the name is there already as something else than an object that may grow."""
        slot = self.fields.get(name)
        return slot is not None and (slot.scalar is not None or slot.is_list != is_list)

    def freeze(self) -> form.Node:
        node: form.Node
        if self.scalar is not None:
            node = self.scalar
        else:
            node = form.Object(
                {name: slot.field() for name, slot in self.fields.items()},
                {name: tuple(sorted(others)) for name, others in sorted(self.requires.items())},
                tuple(sorted(self.exclusive)),
            )
        return form.ListOf(node) if self.is_list else node

    def field(self) -> form.Field:
        return form.Field(self.freeze(), self.needed, self.origin, self.element, self.expression)

    @property
    def needed(self) -> bool:
        """Whether the field must be there: it is required itself, or it is an object that holds something required."""
        return self.required or (not self.is_list and not self.is_item and any(slot.needed for slot in self.fields.values()))


def derive_form(spec: Spec, plans: Sequence[Plan]) -> tuple[form.Object, list[Issue]]:
    """The form of the whole record, and what the row files contradict each other in."""
    root = Slot()
    issues: list[Issue] = []
    for plan in plans:
        slot = root
        for step in plan.file.each:
            name, is_list = step.removesuffix("[]"), step.endswith("[]")
            if slot.is_taken(name, is_list=is_list):
                what = f"'{name}' is a field of another row, or a list in one place and none in the other"
                issues.append(problem("mapping-each", what, "give these items another name", plan.file.origin))
            slot = slot.descend(name, is_list=is_list)
            slot.is_item = True
            if not slot.origin.file:
                slot.origin, slot.element, slot.expression = plan.file.origin, plan.resource, plan.resource
        issues += _add_rows(slot, plan)
    for plan in plans:
        issues += _add_rules(_at(root, plan), plan)
    for name, reason in spec.ignored.items():
        if name in root.fields:
            issues.append(
                problem("mapping-ignored", f"'{name}' is ignored and mapped", "remove it from `ignored`", name.origin)
            )
        root.fields[str(name)] = Slot(ANY_JSON, origin=reason.origin)
    frozen = root.freeze()
    assert isinstance(frozen, form.Object)
    return frozen, issues


def _add_rows(slot: Slot, plan: Plan) -> Iterable[Issue]:
    for leaf in plan.root.leaves():
        row = leaf.row
        if row is None or row.derived or leaf.bound is None:
            continue
        for ref, node in zip([ref for ref in row.fields if not ref.up], leaf.bound.forms, strict=False):
            issue = _add_field(slot, ref, node, row, leaf, plan.resource)
            if issue:
                yield issue
        _add_companions(slot, row)


def _at(root: Slot, plan: Plan) -> Slot:
    for step in plan.file.each:
        root = root.fields[step.removesuffix("[]")]
    return root


def _add_field(slot: Slot, ref: FieldRef, node: form.Node, row: Row, leaf: Node, resource: str) -> Issue | None:
    taken = False
    for name in ref.path[:-1]:
        taken = taken or slot.is_taken(name, is_list=ref.many == (name,))
        slot = slot.descend(name, is_list=ref.many == (name,))
        slot.origin = slot.origin if slot.origin.file else row.origin
    if taken:
        what = f"'{ref.path[0]}' is a field of its own elsewhere, or a list in one row and none in another"
        return problem("mapping-field-twice", what, "give one of the two another name", row.origin)
    if ref.path[-1] in slot.fields:
        fix = "use another field, or '=' for a row that only writes"
        return problem("mapping-field-twice", f"the field '{ref.name}' is read twice", fix, row.origin)
    made = Slot(node, is_list=ref.many == ref.path, required=ref.required, origin=row.origin)
    made.element, made.expression = f"{resource}.{leaf.path}", f"{resource}.{leaf.expression}"
    slot.fields[ref.path[-1]] = made
    return None


def _add_companions(slot: Slot, row: Row) -> None:
    """Fields of one row come together: value with unit; a comparator only beside them."""
    refs = [ref for ref in row.fields if not ref.up]
    home = _home(slot, refs[0])
    names = [ref.path[-1] for ref in refs]
    firm = [ref.path[-1] for ref in refs if not ref.optional]
    for name in names:
        others = {other for other in firm if other != name}
        if others:
            home.requires.setdefault(name, set()).update(others)


def _add_rules(slot: Slot, plan: Plan) -> Iterable[Issue]:
    for name, others in plan.file.requires.items():
        home = _object_of(slot, name)
        for word in (name, *others):
            if _object_of(slot, word) is not home or word.rpartition(".")[2] not in home.fields:
                yield _no_field("mapping-requires", word, home)
        last, *needed = (str(word).rpartition(".")[2] for word in (name, *others))
        home.requires.setdefault(last, set()).update(needed)
    for word in plan.file.key:
        if word not in slot.fields:
            yield _no_field("mapping-key-field", word, slot)
    _exclude(slot, plan.root)


def _object_of(slot: Slot, word: str) -> Slot:
    """The object in which a field named like outer.inner stands; the slot itself where there is no such object."""
    for step in word.split(".")[:-1]:
        slot = slot.fields.get(step, slot)
    return slot


def _no_field(rule: str, word: Located, slot: Slot) -> Issue:
    near = difflib.get_close_matches(word, slot.fields, n=1)
    fix = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(slot.fields)}"
    return problem(rule, f"there is no field '{word}'", fix, word.origin)


def _exclude(slot: Slot, node: Node) -> None:
    """Two forms of one choice element: at most one of their fields may be present."""
    by_choice: dict[str, list[list[FieldRef]]] = {}
    for child in node.children:
        if child.declared.endswith("[x]"):
            by_choice.setdefault(child.declared, []).append(child.triggers())
        _exclude(slot, child)
    for forms in by_choice.values():
        for ours, theirs in combinations(forms, 2):
            for one, other in product(ours, theirs):
                if (one.path[:-1], one.many) == (other.path[:-1], other.many):
                    _home(slot, one).exclusive.add((one.path[-1], other.path[-1]))


def _home(slot: Slot, ref: FieldRef) -> Slot:
    for name in ref.path[:-1]:
        slot = slot.fields[name]
    return slot


def describe(record_form: form.Object) -> list[dict[str, Any]]:
    """Every field with its pointer, what it takes and the element it reaches: the rows of a reference page."""
    return [
        {"field": pointer, "takes": getattr(one.node, "says", ""), "required": one.required, "element": one.element}
        for pointer, one in form.walk(record_form)
    ]
