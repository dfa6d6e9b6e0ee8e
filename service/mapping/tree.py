"""Holds a row file against FHIR R4: each path, type, cardinality, binding and required element; the result is a tree of nodes.

The tree has FHIR's shape and FHIR's order; its leaves are constants and bound rows. All that is generated or checked later
reads the tree, never the paths. Every error names the row, file, line and column, and says what would be right.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any

from service.fhir.definitions import Definitions, Element, UnknownElement
from service.issues import Issue, Origin
from service.mapping.converters import CONVERTERS, Argument, Bound, Target
from service.mapping.source import Located, problem
from service.mapping.spec import Constant, FieldRef, Row, RowFile, Spec, Step, Use
from service.terminology.tables import CodeTable

MISSING: Any = object()
# Stands in the tree where the writer puts the identity of the item.
IDENTITY = "$identity"
_IN_SYSTEM_TYPES = ("string", "code", "uri", "url", "canonical", "id", "markdown", "dateTime", "date", "instant", "oid")


@dataclass
class Node:
    """An element as this row file writes it. `name` is its JSON name (without [x] for a choice of several types),
    `declared` its name in the definition: "value[x]" for valueQuantity."""

    name: str
    slice: str
    path: str
    element: Element
    children: list[Node] = field(default_factory=list)
    constant: Any = MISSING
    row: Row | None = None
    bound: Bound | None = None
    origin: Origin = Origin("")
    declared: str = ""

    @property
    def label(self) -> str:
        return f"{self.name}[{self.slice}]" if self.slice else self.name

    def leaves(self) -> Iterator[Node]:
        if not self.children:
            yield self
        for child in self.children:
            yield from child.leaves()

    def triggers(self) -> list[FieldRef]:
        """The fields whose presence makes this element appear: the first of each row below it."""
        rows = [leaf.row for leaf in self.leaves() if leaf.row]
        return [row.fields[0] for row in rows if row.fields and not row.derived]


@dataclass(frozen=True)
class Plan:
    """A row file that fits FHIR: its tree, and the row file itself."""

    file: RowFile
    root: Node
    parent: str  # the section of the items above; empty for the record

    @property
    def section(self) -> str:
        return self.file.section

    @property
    def resource(self) -> str:
        return str(self.file.resource)


class Planner:
    """Makes the plan of each row file of a set and collects what is wrong in `issues`."""

    def __init__(self, spec: Spec, definitions: Definitions) -> None:
        self.spec = spec
        self.definitions = definitions
        self.issues: list[Issue] = []
        self.sections = {file.section: str(file.resource) for file in spec.files}

    def plan(self, file: RowFile) -> Plan | None:
        """The plan, or None where the file has errors."""
        before = len(self.issues)
        kind = self.definitions.type(file.resource)
        if kind is None or kind.kind != "resource" or kind.abstract:
            names = [name for name, one in self.definitions.types.items() if one.kind == "resource"]
            self._wrong(file.resource.origin, "mapping-resource", f"FHIR R4 has no resource {file.resource}", _near(file.resource, names))
            return None
        root = Node(str(file.resource), "", "", Element(str(file.resource), "", 1, "1", (), (), (), None, False), origin=file.origin)
        for constant in (*self._identity(file), *file.constants):
            self._insert_constant(file, root, constant)
        for row in file.rows:
            self._insert_row(file, root, row)
        self._order(str(file.resource), root)
        if len(self.issues) == before:
            self._check_group(file, root)
        return Plan(file, root, ".".join(file.section.split(".")[:-1])) if len(self.issues) == before else None

    def _identity(self, file: RowFile) -> Iterator[Constant]:
        """The identifier that every resource carries: the set's system and the item's keyed identity."""
        for name, value in (("system", self.spec.identifier), ("value", IDENTITY)):
            steps = (Step("identifier", "identity"), Step(name))
            yield Constant(Located("identifier", file.resource.origin), steps, value, None, file.resource.origin)

    # --- paths --------------------------------------------------------------------------------------------------

    def _insert_constant(self, file: RowFile, root: Node, constant: Constant) -> None:
        node = self._leaf(file, root, constant.steps, constant.origin, constant.element.origin)
        if node is None:
            return
        if constant.use:
            bound = self._bind(file, node, constant.use, constant.origin)
            if bound and bound.table and constant.value in bound.table.terms:
                node.constant = bound.to_fhir(constant.value, None)
            elif bound and bound.table:
                near = _near(constant.value, bound.table.terms)
                text = f"the code table '{bound.table.name}' has no term '{constant.value}'"
                self._wrong(constant.origin, "mapping-term", text, near or "add a row to the table")
        else:
            node.constant = self._primitive(node, constant)

    def _insert_row(self, file: RowFile, root: Node, row: Row) -> None:
        node = self._leaf(file, root, row.steps, row.origin, row.element.origin)
        if node is None:
            return
        node.row = row
        if row.link:
            self._check_link(file, node, row)
        elif row.use:
            node.bound = self._bind(file, node, row.use, row.origin)
            if node.bound:
                self._check_fields(node, row, node.bound, row.use)

    def _leaf(self, file: RowFile, root: Node, steps: tuple[Step, ...], origin: Origin, at: Origin) -> Node | None:
        node = root
        for position, step in enumerate(steps):
            try:
                found = self._child(file, node, step)
            except UnknownElement as error:
                self._wrong(at, "mapping-element", str(error), "use an element of the R4 definition")
                return None
            is_last = position == len(steps) - 1
            if (is_last and (found.children or found.origin.file)) or (not is_last and (found.row or found.constant is not MISSING)):
                text = f"{found.label} is written twice in this file"
                self._wrong(at, "mapping-twice", text, "keep one row, or give each a slice label in brackets")
                return None
            node = found
        node.origin = origin
        return node

    def _child(self, file: RowFile, parent: Node, step: Step) -> Node:
        path = f"{parent.path}.{step.name}" if parent.path else step.name
        element = self.definitions.resolve(str(file.resource), path)
        name = step.name.removesuffix("[x]")
        for child in parent.children:
            if (child.name, child.slice) == (name, step.slice):
                return child
        child = Node(name, step.slice, path, element)
        parent.children.append(child)
        return child

    def _order(self, resource: str, node: Node) -> None:
        """Children in definition order, so that resources read like the specification and are the same every time."""
        if not node.children:
            return
        position = {child.name: place for place, child in enumerate(self.definitions.children(resource, node.path))}
        for child in node.children:
            child.declared = self._declared(child, position)
        node.children.sort(key=lambda child: position[child.declared])
        for child in node.children:
            self._order(resource, child)

    def _declared(self, child: Node, known: Mapping[str, int]) -> str:
        if child.name in known:
            return child.name
        return next(name for name in known if name.endswith("[x]") and child.name.startswith(name[:-3]))

    # --- types and bindings -------------------------------------------------------------------------------------

    def _bind(self, file: RowFile, node: Node, use: Use, origin: Origin) -> Bound | None:
        converter = CONVERTERS.get(use.converter)
        if converter is None:
            near = _near(use.converter, CONVERTERS)
            self._wrong(origin, "mapping-converter", f"there is no converter '{use.converter}'", near or f"known: {', '.join(CONVERTERS)}")
            return None
        if not self._arguments_fit(converter.arguments, use, origin):
            return None
        element = node.element
        target = Target(element.types, element.min > 0, element.targets)
        bound = converter.make(target, Argument(use.arguments, self.spec.tables, self.sections, self.spec.items))
        if not bound.types:
            text = f"{node.path} is {' or '.join(element.types)}; the converter '{use.converter}' does not write that"
            fit = [name for name, one in CONVERTERS.items() if one.arguments == "" and one.make(target, _NO_ARGUMENT).types]
            self._wrong(origin, "mapping-type", text, f"fitting here: {', '.join(fit)}" if fit else "choose a converter of that type")
            return None
        if len(element.types) > 1 and not bound.merging:
            names = ", ".join(f"{node.name}{kind[0].upper()}{kind[1:]}" for kind in bound.types)
            self._wrong(origin, "mapping-choice", f"{node.path} is a choice of types", f"name the type: {names}")
            return None
        self._check_binding(node, bound, origin)
        self._check_targets(node, use, origin)
        return bound

    def _arguments_fit(self, wanted: str, use: Use, origin: Origin) -> bool:
        count = {"": 0, "table": 1, "unit": 1, "two units": 2}.get(wanted)
        if count is not None and len(use.arguments) != count:
            self._wrong(origin, "mapping-argument", f"'{use.converter}' takes {wanted or 'nothing'} in brackets", f"write {use.converter}({wanted})")
            return False
        known: Mapping[str, Any] = self.spec.tables if wanted == "table" else self.sections if wanted == "sections" else {}
        for word in use.arguments if wanted in ("table", "sections") else ():
            if word not in known:
                kind = "code table" if wanted == "table" else "section"
                self._wrong(origin, f"mapping-unknown-{kind.replace(' ', '-')}", f"there is no {kind} '{word}'", _near(word, known) or f"known: {', '.join(known)}")
                return False
        return bool(use.arguments) or wanted != "sections"

    def _check_binding(self, node: Node, bound: Bound, origin: Origin) -> None:
        binding, table = node.element.binding, bound.table
        if not binding or binding.strength != "required" or table is None:
            return
        allowed = self.definitions.required_codes(binding.value_set)
        if allowed is None:
            return
        codes = {code for _system, code in allowed}
        for term in table.terms.values():
            fits = any((c.system, c.code) in allowed or (node.element.types == ("code",) and c.code in codes) for c in term.codings)
            if not fits:
                text = f"the term '{term.name}' has no code of {binding.value_set}, which {node.path} requires"
                self._wrong(term.origin, "mapping-binding", text, f"one of: {', '.join(sorted(codes)[:12])}", origin)

    def _check_targets(self, node: Node, use: Use, origin: Origin) -> None:
        allowed = node.element.targets
        if use.converter != "reference" or not allowed or "Resource" in allowed:
            return
        for section in use.arguments:
            if self.sections[section] not in allowed:
                text = f"{node.path} may not point to {self.sections[section]}, which {section} become"
                self._wrong(origin, "mapping-target", text, f"allowed: {', '.join(allowed)}")

    def _check_link(self, file: RowFile, node: Node, row: Row) -> None:
        parent = ".".join(file.section.split(".")[:-1])
        if row.link == "parent" and not parent:
            self._wrong(row.origin, "mapping-parent", "these items stand in no other item", "use -> patient, or nest `each`")
            return
        kind = "Patient" if row.link == "patient" else self.sections.get(parent, "")
        if node.element.types != ("Reference",) or not ({kind, "Resource"} & set(node.element.targets)):
            self._wrong(row.origin, "mapping-target", f"{node.path} cannot point to {kind}", "choose an element that can")

    def _check_fields(self, node: Node, row: Row, bound: Bound, use: Use) -> None:
        low, high = CONVERTERS[use.converter].fields
        if not low <= len(row.fields) <= high:
            count = str(low) if low == high else f"{low} to {high}"
            self._wrong(row.origin, "mapping-fields", f"'{use.converter}' takes {count} fields", "see docs/mapping-language.md")
        if len(row.fields) == 3 and "SimpleQuantity" in node.element.profiles:
            self._wrong(row.origin, "mapping-type", f"{node.path} is a SimpleQuantity, which has no comparator", "leave the comparator out")

    def _primitive(self, node: Node, constant: Constant) -> Any:
        (kind, *others) = node.element.types or ("",)
        text = constant.value
        if others or kind not in (*_IN_SYSTEM_TYPES, "boolean", "integer", "positiveInt", "unsignedInt", "decimal"):
            self._wrong(constant.origin, "mapping-constant", f"{node.path} is {' or '.join(node.element.types)}", "write it with a converter: TERM | concept(TABLE)")
            return MISSING
        self._check_code_constant(node, constant)
        try:
            if kind == "boolean":
                return {"true": True, "false": False}[text]
            return int(text) if kind.endswith("nt") else Decimal(text) if kind == "decimal" else text
        except (KeyError, ValueError, InvalidOperation):
            self._wrong(constant.origin, "mapping-constant", f"'{text}' is no {kind}", f"write a {kind}")
            return MISSING

    def _check_code_constant(self, node: Node, constant: Constant) -> None:
        binding = node.element.binding
        allowed = self.definitions.required_codes(binding.value_set) if binding and binding.strength == "required" else None
        codes = sorted({code for _system, code in allowed or ()})
        if codes and constant.value not in codes:
            text = f"'{constant.value}' is no code of {binding.value_set if binding else ''}"
            self._wrong(constant.origin, "mapping-binding", text, _near(constant.value, codes) or f"one of: {', '.join(codes)}")

    # --- cardinality and required elements ----------------------------------------------------------------------

    def _check_group(self, file: RowFile, node: Node) -> None:
        self._check_required(file, node)
        self._check_siblings(node)
        for child in node.children:
            if child.children:
                self._check_group(file, child)
            elif child.row and child.row.fields and child.row.fields[0].many and not _repeats(node, child):
                text = f"{child.path} does not repeat, but the field is a list"
                self._wrong(child.origin, "mapping-cardinality", text, "take the [] away, or write to an element that repeats")

    def _check_siblings(self, node: Node) -> None:
        by_choice: dict[str, list[Node]] = {}
        for child in node.children:
            by_choice.setdefault(child.declared, []).append(child)
        for same in by_choice.values():
            first, *more = same
            for other in more:
                if first.name == other.name and not first.element.is_list:
                    self._wrong(other.origin, "mapping-cardinality", f"{other.path} holds one value only", "remove a slice")
                elif first.name != other.name and (first.constant is not MISSING or other.constant is not MISSING):
                    self._wrong(other.origin, "mapping-choice", f"{first.name} and {other.name} are one choice element", "keep one")

    def _check_required(self, file: RowFile, node: Node) -> None:
        for element in self.definitions.children(str(file.resource), node.path):
            if element.min == 0:
                continue
            here = [child for child in node.children if child.declared == element.name]
            if not any(_always(child, node, file, is_root=not node.path) for child in here):
                where = f"{file.resource}.{element.path}" if node.path else f"{file.resource}.{element.name}"
                fix = "mark its field as required with '!'" if here else f"add a row or a constant for {element.name}"
                self._wrong(here[0].origin if here else node.origin, "mapping-required", f"{where} must have a value", fix)

    def _wrong(self, origin: Origin, rule: str, text: str, fix: str, row: Origin | None = None) -> None:
        self.issues.append(problem(rule, text if row is None else f"{text} (row {row})", fix, origin))


_NO_ARGUMENT = Argument((), {}, {}, "")


def _repeats(parent: Node, leaf: Node) -> bool:
    return leaf.element.is_list or parent.element.is_list


def _always(child: Node, group: Node, file: RowFile, *, is_root: bool) -> bool:
    """Whether the child has a value whenever its group is written."""
    if child.children:
        return any(_always(one, child, file, is_root=is_root) for one in child.children if one.row)
    if child.row is None or child.row.link or child.row.derived or child.row.unknown:
        return True
    own = child.row.fields[0]
    if own.required:
        return True
    others = {ref.name for ref in group.triggers() if ref.name != own.name}
    return not is_root and all(own.name in file.requires.get(name, ()) for name in others)  # type: ignore[call-overload]


def _near(word: str, known: Any) -> str:
    near = difflib.get_close_matches(word, list(known), n=1)
    return f"did you mean '{near[0]}'?" if near else ""


def code_tables(node: Node) -> Iterator[CodeTable]:
    for leaf in node.leaves():
        if leaf.bound and leaf.bound.table:
            yield leaf.bound.table
