"""Holds a row file against FHIR R4: each path, type, cardinality, binding and required element; the result is a tree of nodes.

The tree has FHIR's shape and FHIR's order; its leaves are constants and bound rows. All that is generated or checked later
reads the tree, never the paths. Every error names the row, file, line and column, and says what would be right.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from service.fhir.definitions import Definitions, Element, UnknownElement
from service.issues import Issue, Origin
from service.mapping.bound import Argument, Bound, Target
from service.mapping.converters import CONVERTERS
from service.mapping.primitives import PRIMITIVES, constant_value
from service.mapping.source import Located, problem
from service.mapping.spec import Constant, FieldRef, Row, RowFile, Spec, Step, Use
from service.terminology.tables import CodeTable

MISSING: Any = object()
NOWHERE = Origin("")
# Stands in the tree where the writer puts the identity of the item.
IDENTITY = "$identity"
# What a constant may be written by, and what writes codes and so needs one for each term.
_FOR_CONSTANTS = ("concept", "code", "term")
_NEED_CODES = ("code", "quantity", "range", "reference_range")
_SAMPLE_WORDS = {"": (), "table": ("",), "unit": ("1",), "two units": ("Gy", "cGy"), "sections": ("",)}


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
    origin: Origin = NOWHERE
    declared: str = ""
    expression: str = ""  # its FHIRPath from the resource on
    beside: dict[str, Any] = field(default_factory=dict)  # the constants of the same group, by name

    @property
    def label(self) -> str:
        return f"{self.name}[{self.slice}]" if self.slice else self.name

    def leaves(self) -> Iterator[Node]:
        if not self.children:
            yield self
        for child in self.children:
            yield from child.leaves()

    @property
    def first_origin(self) -> Origin:
        """Where the first row or constant below stands."""
        return next(self.leaves()).origin

    def triggers(self) -> list[FieldRef]:
        """The fields whose presence makes this element appear: the first of each row below it."""
        rows = [leaf.row for leaf in self.leaves() if leaf.row]
        return [row.fields[0] for row in rows if row.fields and not row.derived]


@dataclass(frozen=True)
class Plan:
    """A row file that fits FHIR: its tree, and the row file itself."""

    file: RowFile
    root: Node
    section: str
    parent: str  # the section of the items above; empty for the record
    resource: str


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
            names = [name for name, one in self.definitions.types.items() if one.kind == "resource" and not one.abstract]
            text = f"FHIR R4 has no resource {file.resource} to write"
            near = _near(file.resource, names) or "choose a resource of http://hl7.org/fhir/R4/resourcelist.html"
            self._wrong(file.resource.origin, "mapping-resource", text, near)
            return None
        if not any(element.name == "identifier" and element.is_list for element in self.definitions.children(file.resource)):
            what = f"{file.resource} has no list of identifiers, which would carry its identity"
            self._wrong(file.resource.origin, "mapping-resource", what, "choose a resource that has one")
            return None
        root = Node(
            str(file.resource), "", "", Element(str(file.resource), "", 1, "1", (), (), (), None, False), origin=file.origin
        )
        for constant in (*self._identity(file), *file.constants):
            self._insert_constant(file, root, constant)
        for row in file.rows:
            self._insert_row(file, root, row)
        self._order(str(file.resource), root)
        section = file.section
        above = section.rpartition(".")[0]
        return Plan(file, root, section, above, str(file.resource)) if len(self.issues) == before else None

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
            self._insert_term(node, constant, constant.use)
        else:
            node.constant = self._primitive(node, constant)

    def _insert_term(self, node: Node, constant: Constant, use: Use) -> None:
        if use.converter in CONVERTERS and use.converter not in _FOR_CONSTANTS:
            text = f"a constant cannot be written by '{use.converter}'"
            self._wrong(
                constant.origin, "mapping-constant", text, f"write TERM | {' or '.join(_FOR_CONSTANTS)}, or the value alone"
            )
            return
        bound = self._bind(node, use, constant.origin, term=constant.value)
        if bound and bound.table and constant.value in bound.table.terms:
            node.constant = bound.to_fhir(constant.value, None)

    def _insert_row(self, file: RowFile, root: Node, row: Row) -> None:
        node = self._leaf(file, root, row.steps, row.origin, row.element.origin)
        if node is None:
            return
        node.row = row
        if row.link:
            self._check_link(file, node, row)
        elif row.use:
            node.bound = self._bind(node, row.use, row.origin)
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
            if (is_last and (found.children or found.origin.file)) or (
                not is_last and (found.row or found.constant is not MISSING)
            ):
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
            stem = child.declared.removesuffix("[x]")
            child.expression = f"{node.expression}.{stem}" if node.expression else stem
        node.children.sort(key=lambda child: position[child.declared])
        constants = {child.name: child.constant for child in node.children if child.constant is not MISSING}
        for child in node.children:
            child.beside = constants
            self._order(resource, child)

    def _declared(self, child: Node, known: Mapping[str, int]) -> str:
        if child.name in known:
            return child.name
        return next(name for name in known if name.endswith("[x]") and child.name.startswith(name[:-3]))

    # --- types and bindings -------------------------------------------------------------------------------------

    def _bind(self, node: Node, use: Use, origin: Origin, term: str | None = None) -> Bound | None:
        """The converter for this element. `term`: the only one that is ever written, where it is a constant."""
        converter = CONVERTERS.get(use.converter)
        if converter is None:
            near = _near(use.converter, CONVERTERS)
            self._wrong(
                origin,
                "mapping-converter",
                f"there is no converter '{use.converter}'",
                near or f"known: {', '.join(CONVERTERS)}",
            )
            return None
        if not self._arguments_fit(converter.arguments, use, origin) or not self._terms_fit(use, origin, term):
            return None
        element = node.element
        target = Target(element.types, element.min > 0)
        try:
            bound = converter.make(target, Argument(use.arguments, self.spec.tables, self.sections, self.spec.items))
        except (KeyError, IndexError, ValueError):
            text = f"'{use.converter}' cannot work with ({', '.join(use.arguments)})"
            self._wrong(origin, "mapping-argument", text, f"it is: {converter.says}")
            return None
        # A moment is a dateTime, or a Period beside one in a choice.
        if not bound.types or (use.converter == "moment" and "dateTime" not in element.types):
            text = f"{node.path} is {' or '.join(element.types)}; the converter '{use.converter}' does not write that"
            self._wrong(origin, "mapping-type", text, self._fitting(target))
            return None
        if len(element.types) > 1 and not bound.merging:
            names = ", ".join(f"{node.name}{kind[0].upper()}{kind[1:]}" for kind in bound.types)
            self._wrong(origin, "mapping-choice", f"{node.path} is a choice of types", f"name the type: {names}")
            return None
        self._check_binding(node, bound, origin, term)
        self._check_targets(node, use, origin)
        self._check_place(node, bound, use, origin)
        return bound

    def _fitting(self, target: Target) -> str:
        """The converters that write one of these types: each is asked, with a table, a unit or a section where it needs one."""
        fit = []
        for name, one in CONVERTERS.items():
            words = _SAMPLE_WORDS[one.arguments]
            if one.make(target, Argument(words, {"": CodeTable("", {})}, {"": ""}, "")).types:
                fit.append(name)
        return (
            f"fitting here: {', '.join(fit)}" if fit else "no converter writes that: choose an element below it, or a constant"
        )

    def _terms_fit(self, use: Use, origin: Origin, term: str | None) -> bool:
        """Whether the code table holds what the converter needs: terms, the constant's among them, and codes."""
        if CONVERTERS[use.converter].arguments != "table":
            return True
        table = self.spec.tables[use.arguments[0]]
        before = len(self.issues)
        if term is not None and term not in table.terms:
            text = f"the code table '{table.name}' has no term '{term}'"
            self._wrong(origin, "mapping-term", text, _near(term, table.terms) or "add a row to the table")
        elif not table.terms:
            self._wrong(origin, "mapping-term", f"the code table '{table.name}' has no terms", "add rows to the table")
        elif use.converter in _NEED_CODES:
            owners: dict[str, str] = {}
            for one in table.terms.values():
                code = one.codings[0].code if one.codings else ""
                if not code:
                    text = f"the term '{one.name}' has no code, and '{use.converter}' writes codes (row {origin})"
                    self._wrong(one.origin, "mapping-term", text, "give it system and code, or take it out")
                elif use.converter == "code" and owners.setdefault(code, one.name) != one.name:
                    text = f"'{owners[code]}' and '{one.name}' have one code, {code}: it could not be read back (row {origin})"
                    self._wrong(one.origin, "mapping-term", text, "keep one of the two terms")
        return len(self.issues) == before

    def _arguments_fit(self, wanted: str, use: Use, origin: Origin) -> bool:
        count = {"": 0, "table": 1, "unit": 1, "two units": 2}.get(wanted)
        if count is not None and len(use.arguments) != count:
            self._wrong(
                origin,
                "mapping-argument",
                f"'{use.converter}' takes {wanted or 'nothing'} in brackets",
                f"write {use.converter}({wanted})",
            )
            return False
        known: Mapping[str, Any] = self.spec.tables if wanted == "table" else self.sections if wanted == "sections" else {}
        for word in use.arguments if wanted in ("table", "sections") else ():
            if word not in known:
                kind = "code table" if wanted == "table" else "section"
                self._wrong(
                    origin,
                    f"mapping-unknown-{kind.replace(' ', '-')}",
                    f"there is no {kind} '{word}'",
                    _near(word, known) or f"known: {', '.join(known)}",
                )
                return False
        return bool(use.arguments) or wanted != "sections"

    def _check_binding(self, node: Node, bound: Bound, origin: Origin, only: str | None) -> None:
        binding, table = node.element.binding, bound.table
        if not binding or binding.strength != "required" or table is None:
            return
        allowed = self.definitions.required_codes(binding.value_set)
        if allowed is None:
            return
        codes = {code for _system, code in allowed}
        for term in table.terms.values():
            fits = (only is not None and term.name != only) or any(
                (c.system, c.code) in allowed or (node.element.types == ("code",) and c.code in codes) for c in term.codings
            )
            if not fits:
                text = f"the term '{term.name}' has no code of {binding.value_set}, which {node.path} requires"
                self._wrong(term.origin, "mapping-binding", text, f"one of: {', '.join(sorted(codes)[:12])}", origin)

    def _check_place(self, node: Node, bound: Bound, use: Use, origin: Origin) -> None:
        if bound.merging and node.element.is_list:
            self._wrong(
                origin,
                "mapping-cardinality",
                f"{node.path} repeats, and '{use.converter}' writes one",
                "choose another element",
            )
        elif use.converter == "specimen" and "." in node.path:
            self._wrong(
                origin, "mapping-type", "a contained Specimen belongs to the whole resource", "write to its own specimen"
            )

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
            what = f"'{use.converter}' takes {count} field{'s' * (high > 1)}, not {len(row.fields)}"
            self._wrong(row.origin, "mapping-fields", what, f"it is: {CONVERTERS[use.converter].says}")
        if row.unknown and (node.element.is_list or not _may_be_unknown(bound)):
            what = f"{node.path} cannot say that it is unknown"
            self._wrong(
                row.origin, "mapping-unknown", what, "take 'else unknown' away: it is for Quantity, CodeableConcept and Period"
            )
        if len(row.fields) == 3 and "SimpleQuantity" in node.element.profiles:
            self._wrong(
                row.origin,
                "mapping-type",
                f"{node.path} is a SimpleQuantity, which has no comparator",
                "leave the comparator out",
            )

    def _primitive(self, node: Node, constant: Constant) -> Any:
        (kind, *others) = node.element.types or ("",)
        text = constant.value
        if others or kind not in PRIMITIVES:
            self._wrong(
                constant.origin,
                "mapping-constant",
                f"{node.path} is {' or '.join(node.element.types)}",
                "write it with a converter: TERM | concept(TABLE)",
            )
            return MISSING
        self._check_code_constant(node, constant)
        try:
            return constant_value(kind, text)
        except ValueError:
            self._wrong(constant.origin, "mapping-constant", f"'{text}' is no {kind}", f"write a {kind}")
            return MISSING

    def _check_code_constant(self, node: Node, constant: Constant) -> None:
        binding = node.element.binding
        allowed = self.definitions.required_codes(binding.value_set) if binding and binding.strength == "required" else None
        codes = sorted({code for _system, code in allowed or ()})
        if codes and node.element.types == ("code",) and constant.value not in codes:
            text = f"'{constant.value}' is no code of {binding.value_set if binding else ''}"
            self._wrong(constant.origin, "mapping-binding", text, _near(constant.value, codes) or f"one of: {', '.join(codes)}")

    def _wrong(self, origin: Origin, rule: str, text: str, fix: str, row: Origin | None = None) -> None:
        self.issues.append(problem(rule, text if row is None else f"{text} (row {row})", fix, origin))


def _may_be_unknown(bound: Bound) -> bool:
    """An element that holds others can be absent with a reason; for a primitive the property beside it would have to."""
    return (
        "Period" in bound.types
        if bound.merging
        else bound.types[0] in ("Quantity", "SimpleQuantity", "CodeableConcept", "Range")
    )


def _near(word: str, known: Any) -> str:
    near = difflib.get_close_matches(word, list(known), n=1)
    return f"did you mean '{near[0]}'?" if near else ""


def code_tables(node: Node) -> Iterator[CodeTable]:
    for leaf in node.leaves():
        if leaf.bound and leaf.bound.table:
            yield leaf.bound.table
