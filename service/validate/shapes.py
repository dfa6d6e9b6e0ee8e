"""From StructureDefinitions of FHIR's own types to shapes: what each object of a type may hold, ready for the walker.

A shape is made once for a type and for each of its backbone elements. It is mutable only while it is being made, for types
hold each other in circles (an Identifier has an assigner, whose Reference has an Identifier).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from service.fhir.json import Json
from service.fhir.primitives import CHECKS, Check
from service.fhir.structures import ElementDefinition, StructureDefinition
from service.validate.fhirpath import TypeInfo, type_info
from service.validate.invariants import Invariant, invariants
from service.validate.place import Place
from service.validate.rules import ELEMENT_RULES, TYPE_RULES, Element, element_id
from service.validate.run import Rule, Run
from service.validate.walk import walk, walk_resource

if TYPE_CHECKING:
    from service.validate.rulebook import Rulebook

# Primitive types that inherit their format: a type of R4 that CHECKS does not name is complex.
RESOURCES: Final = ("Resource", "DomainResource")
# Types whose ids say what they define: the same in a snapshot and a differential, each of which sdf-16 and sdf-17 look at.
OWN_IDS: Final = ("ElementDefinition",)


@dataclass(slots=True, eq=False)
class Member:
    """What may stand under one name of an object. `element` is its name in the definition ("value[x]"), `format` tells what
    is wrong with a primitive."""

    element: str
    is_list: bool
    format: Check | None = None
    rules: tuple[Rule, ...] = ()


@dataclass(slots=True, eq=False)
class Shape:
    """What an object of a type, or of a backbone element, may hold.

    `members` are the names that JSON has for them, the `_name` siblings of primitives too; `required` the alternatives for
    each element that has to be there; `choices` the names of each choice, and which of its forms they are; `coded` (sibling,
    name, value set) of the codes under a required binding; `rules` look at the object as a whole, `invariants` at its
    FHIRPath node.
    """

    type_name: str
    path: str
    info: TypeInfo
    members: dict[str, Member] = field(default_factory=dict)
    required: tuple[tuple[str, frozenset[str]], ...] = ()
    choices: tuple[tuple[str, dict[str, str]], ...] = ()
    coded: tuple[tuple[str, str, str], ...] = ()
    rules: tuple[Rule, ...] = ()
    invariants: tuple[Invariant, ...] = ()
    is_element: bool = True


def compile_type(definition: StructureDefinition, book: Rulebook) -> Shape:
    """The shape of a type, with those of its backbone elements inside. `book` gives the shapes of other types."""
    return _Compiler(definition, book).shape("")


class _Compiler:
    """One type in the making; `shapes` are those of its root ("") and backbone elements, by path."""

    def __init__(self, definition: StructureDefinition, book: Rulebook) -> None:
        self.definition = definition
        self.book = book
        self.type_name = definition.type
        self.elements = definition.snapshot
        self.shapes: dict[str, Shape] = {}

    def shape(self, path: str) -> Shape:
        if path in self.shapes:
            return self.shapes[path]
        full = f"{self.type_name}.{path}" if path else self.type_name
        own = next(each for each in self.elements if each.path == full)
        shape = self.shapes[path] = Shape(self.type_name, path, type_info(self.type_name, path))
        shape.is_element = self.definition.kind != "resource" or bool(path)
        if path == "":
            self.book.shapes[self.type_name] = shape  # before its members, which may need it
            shape.rules = tuple(TYPE_RULES.get(self.type_name, ()))
            if not shape.is_element:
                shape.members["resourceType"] = Member("resourceType", is_list=False)
        children = [each for each in self.elements if each.path.rpartition(".")[0] == full]
        for child in children:
            self._add(shape, path, child)
        forms = [(child, child.path.rpartition(".")[2]) for child in children]
        shape.required = tuple((name, frozenset(_forms(name, child))) for child, name in forms if child.min)
        shape.choices = tuple((name, _forms(name, child)) for child, name in forms if name.endswith("[x]"))
        shape.coded = tuple(("_" + name, name, _required_set(each)) for each, name in forms if _required_set(each))
        shape.invariants = invariants(own.constraint, self.definition.url)
        return shape

    def _add(self, shape: Shape, path: str, child: ElementDefinition) -> None:
        name = child.path.rpartition(".")[2]
        is_list = child.max not in ("0", "1")
        for code, key in _names(name, child):
            # R4 types Resource.id as a string, and says in words that it is an id: http://hl7.org/fhir/R4/resource.html#id
            code = "id" if name == "id" and not shape.is_element else code
            rules = self._rules(path, name, child, code)
            if name == "id" and shape.is_element and self.type_name not in OWN_IDS:
                rules = (*rules, element_id)
            shape.members[key] = Member(name, is_list, CHECKS.get(code), rules)
            if code in CHECKS and not _is_attribute(shape, name):
                shape.members["_" + key] = Member(name, is_list, rules=(_into(self.book, "Element"),))

    def _rules(self, path: str, name: str, child: ElementDefinition, code: str) -> tuple[Rule, ...]:
        element = Element(code, child, self.definition.url)
        made = (make(element, self.book) for make in ELEMENT_RULES)
        rules = tuple(rule for rule in made if rule is not None)
        inner = self._inner(path, name, child, code)
        return (inner, *rules) if inner else rules

    def _inner(self, path: str, name: str, child: ElementDefinition, code: str) -> Rule | None:
        """The rule that walks on into the objects of an element."""
        if child.content_reference:
            _, _, target = child.content_reference.partition("#")
            return self._backbone(target.partition(".")[2])
        if code in ("BackboneElement", "Element") and any(each.path.startswith(child.path + ".") for each in self.elements):
            return self._backbone(f"{path}.{name}" if path else name)
        if code in RESOURCES:
            return walk_resource
        return None if code in CHECKS else _into(self.book, code)

    def _backbone(self, path: str) -> Rule:
        shape = self.shape(path)

        def into(run: Run, value: Json, at: Place) -> None:
            walk(run, value, at, shape)

        return into


def _is_attribute(shape: Shape, name: str) -> bool:
    """Whether an element is an attribute in XML, or as an id is the resource's identity: such have no extensions.

    Source: http://hl7.org/fhir/R4/xml.html#1 and http://hl7.org/fhir/R4/narrative.html for div
    """
    return (not shape.path and name == "id") or (shape.type_name, name) in (("Extension", "url"), ("Narrative", "div"))


def _required_set(element: ElementDefinition) -> str:
    """The value set that a code must be of; empty where there is none."""
    is_code = len(element.type) == 1 and element.type[0].code == "code"
    return element.binding.value_set if is_code and element.binding and element.binding.strength == "required" else ""


def _forms(name: str, child: ElementDefinition) -> dict[str, str]:
    """Each JSON name that an element may have, a primitive's sibling too → the form that it is."""
    keys = [key for _code, key in _names(name, child)]
    return {key: key for key in keys} | {"_" + key: key for key in keys}


def _names(name: str, child: ElementDefinition) -> list[tuple[str, str]]:
    """(type, JSON name) of each form that an element may have."""
    if child.content_reference:
        return [("", name)]
    if not name.endswith("[x]"):
        code = child.type[0].code if child.type else "Element"
        return [(code, name)]
    return [(each.code, name.removesuffix("[x]") + each.code[0].upper() + each.code[1:]) for each in child.type]


def _into(book: Rulebook, type_name: str) -> Rule:
    """The rule that walks into an object of another type, whose shape is looked up when the first such object comes."""
    shapes = book.shapes

    def into(run: Run, value: Json, at: Place) -> None:
        walk(run, value, at, shapes.get(type_name) or book.shape(type_name))

    return into
