"""The table of rules: for each kind of statement in an ElementDefinition a small factory that makes a rule of it, or None.

A factory sees the element as one of its types has it; a rule sees a value of that type. Types and profiles share the table.
Source: http://hl7.org/fhir/R4/elementdefinition-definitions.html
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from msgspec import UNSET

from service.fhir.json import Json
from service.fhir.structures import ElementDefinition, TypeRef
from service.validate import attachments, bounds, codes, extensions, identifiers, narrative, references
from service.validate.fhirpath import type_info
from service.validate.invariants import as_rule, invariants
from service.validate.place import Place
from service.validate.run import Rule, Run

if TYPE_CHECKING:
    from service.validate.rulebook import Rulebook


class Element(NamedTuple):
    """An element as one of its types: `code` the type, `url` the definition that says so."""

    code: str
    definition: ElementDefinition
    url: str

    @property
    def type(self) -> TypeRef | None:
        return next((each for each in self.definition.type if each.code == self.code), None)


Factory: TypeAlias = "Callable[[Element, Rulebook], Rule | None]"


def max_length(element: Element, _book: Rulebook) -> Rule | None:
    most = element.definition.max_length
    if most is None:
        return None

    def rule(run: Run, value: Json, at: Place) -> None:
        if isinstance(value, str) and len(value) > most:
            run.add(at, "val-max-length", f"Expected at most {most} characters, got {len(value)}.")

    return rule


def fixed(element: Element, _book: Rulebook) -> Rule | None:
    expected = element.definition.fixed
    if expected is UNSET:
        return None

    def rule(run: Run, value: Json, at: Place) -> None:
        if not same(value, expected):
            run.add(at, "val-fixed", f"Expected {shown(expected)}, as {element.url} fixes it.")

    return rule


def pattern(element: Element, _book: Rulebook) -> Rule | None:
    expected = element.definition.pattern
    if expected is UNSET:
        return None

    def rule(run: Run, value: Json, at: Place) -> None:
        if not covers(value, expected):
            run.add(at, "val-pattern", f"Expected at least {shown(expected)}, as {element.url} has it.")

    return rule


def constraint(element: Element, _book: Rulebook) -> Rule | None:
    """Constraints that an element adds to those of its type. A backbone element's own are those of its shape."""
    found = invariants(element.definition.constraint, element.url)
    if not found or element.code in ("BackboneElement", "Element", ""):
        return None
    return as_rule(found, type_info(element.code))


def profile(element: Element, book: Rulebook) -> Rule | None:
    """A value meets one of the profiles that its type names."""
    type_ = element.type
    if type_ is None or not type_.profile:
        return None
    return book.meets_one_of(type_.profile)


ELEMENT_RULES: Final[tuple[Factory, ...]] = (
    max_length,
    fixed,
    pattern,
    bounds.bounds,
    constraint,
    codes.binding,
    references.target,
    profile,
)

# What the specification says of a type in words, or what only a look beyond the object can tell.
TYPE_RULES: Final[dict[str, tuple[Rule, ...]]] = {
    "Attachment": (attachments.attachment,),
    "Coding": (codes.coding,),
    "Extension": (extensions.extension,),
    "Identifier": (identifiers.identifier,),
    "Narrative": (narrative.narrative,),
    **dict.fromkeys(("Quantity", "Age", "Count", "Distance", "Duration"), (codes.quantity,)),
    "Reference": (references.reference,),
}


def element_id(run: Run, value: Json, at: Place) -> None:
    """The id of an element is unique within its resource."""
    taken: dict[object, Place] = run.scope.caches.setdefault("ids", {})
    if isinstance(value, str) and taken.setdefault(value, at) != at:
        run.add(at, "val-element-id", "Another element of the resource has this id.")


def same(value: Json, expected: Json) -> bool:
    """Equality of JSON values to the letter: 1.0 is not 1.00, and true is not 1."""
    if type(value) is not type(expected):
        return False
    if isinstance(expected, dict):
        return value.keys() == expected.keys() and all(same(value[name], each) for name, each in expected.items())
    if isinstance(expected, list):
        return len(value) == len(expected) and all(map(same, value, expected))
    if isinstance(expected, Decimal):
        return bool(value.as_tuple() == expected.as_tuple())
    return bool(value == expected)


def covers(value: Json, pattern: Json) -> bool:
    """Whether a value has at least what a pattern has, the items of its lists in any place.

    Source: http://hl7.org/fhir/R4/elementdefinition-definitions.html#ElementDefinition.pattern_x_
    """
    if isinstance(pattern, dict):
        return isinstance(value, dict) and all(name in value and covers(value[name], each) for name, each in pattern.items())
    if isinstance(pattern, list):
        return isinstance(value, list) and all(any(covers(item, each) for item in value) for each in pattern)
    return same(value, pattern)


def shown(expected: Json) -> str:
    """A value of a definition, on one line and not too long."""
    from service.fhir import json

    text = expected if isinstance(expected, str) else json.dumps(expected).decode()
    return text if len(text) <= 300 else text[:300] + "…"
