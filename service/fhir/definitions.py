"""What FHIR R4 says of its types, elements, required codes and extensions: read once, from r4/definitions.json.

The file is built by scripts/build_definitions.py from the package hl7.fhir.r4.core 4.0.1. Nothing here changes it.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec

# The URL of a type, an extension or a profile of R4 itself begins so; the URL of a type ends with its name.
CORE = "http://hl7.org/fhir/StructureDefinition/"
FILE = Path(__file__).parent / "r4" / "definitions.json"


class UnknownElement(ValueError):
    """No such type or element. `step` is the part that failed, `nearest` the known names like it, the likest first."""

    def __init__(self, type_name: str, path: str, step: str, text: str, known: Iterable[str]) -> None:
        self.type_name = type_name
        self.path = path
        self.step = step
        self.nearest = tuple(difflib.get_close_matches(step, known, n=3, cutoff=0.5))
        hint = f"; did you mean {' or '.join(self.nearest)}?" if self.nearest else ""
        super().__init__(text + hint)


class Binding(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """A binding to a value set, its URL without a version. Source: http://hl7.org/fhir/R4/terminologies.html#strength"""

    strength: Literal["required", "extensible", "preferred", "example"]
    value_set: str


class Facts(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """What one ElementDefinition says. `targets` are the types its references may point to ("Resource": any),
    `profiles` what its type must meet besides ("SimpleQuantity": no comparator)."""

    min: int = 0
    max: str = "1"
    types: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    profiles: tuple[str, ...] = ()
    content_reference: str | None = None
    binding: Binding | None = None
    modifier: bool = False


class TypeDefinition(msgspec.Struct, frozen=True):
    """A type. `elements` has every element, inherited ones too, in definition order, by path ("component.value[x]")."""

    kind: Literal["resource", "complex-type", "primitive-type"]
    base: str | None = None
    abstract: bool = False
    elements: dict[str, Facts] = {}


class ExtensionDefinition(msgspec.Struct, frozen=True):
    """An extension of the specification: its `value`, or its `parts` by name ("offset"; deeper down "revision.date").

    `contexts` are the types and element paths it may stand on ("Element": anywhere), `max` how often.
    """

    contexts: tuple[str, ...] = ()
    max: str = "1"
    modifier: bool = False
    value: Facts | None = None
    parts: dict[str, Facts] = {}


class Element(msgspec.Struct, frozen=True):
    """One element of a type, at `path` from that type on. A choice told by its name, "valueQuantity", is no choice."""

    name: str
    path: str
    min: int
    max: str
    types: tuple[str, ...]
    targets: tuple[str, ...]
    profiles: tuple[str, ...]
    binding: Binding | None
    is_modifier: bool

    @property
    def is_list(self) -> bool:
        return self.max not in ("0", "1")

    @property
    def is_choice(self) -> bool:
        return self.name.endswith("[x]")


class Package(msgspec.Struct, frozen=True):
    """Where the definitions come from: the NPM package, and the SHA-256 of its archive."""

    id: str
    version: str
    sha256: str


class Definitions(msgspec.Struct, frozen=True, rename="camel"):
    """All of it. Read-only: its dicts are shared by every caller."""

    package: Package
    types: dict[str, TypeDefinition]
    extensions: dict[str, ExtensionDefinition]
    value_sets: dict[str, dict[str, tuple[str, ...]]]
    open_value_sets: tuple[str, ...]

    def type(self, name: str) -> TypeDefinition | None:
        return self.types.get(name)

    def extension(self, url: str) -> ExtensionDefinition | None:
        return self.extensions.get(url)

    def resolve(self, type_name: str, path: str) -> Element:
        """The element at a dotted path from a type: ("Observation", "component.code.coding.display").

        Walks on through datatypes and contentReferences. A choice is "value[x]" or, told by its name, "valueQuantity".
        Raises UnknownElement.
        """
        found = self._find(type_name, path)
        return _element(found.name, path, found.facts)

    def children(self, type_name: str, path: str = "") -> list[Element]:
        """The direct children of a type, or of the element at `path`, in definition order. Raises UnknownElement."""
        place = _inside(self._find(type_name, path)) if path else self._top(type_name, path)
        head = f"{path}." if path else ""
        return [_element(name, head + name, facts) for name, facts in self._members(place)]

    def required_codes(self, value_set: str) -> frozenset[tuple[str, str]] | None:
        """The (system, code) pairs of a value set under a required binding, its URL with or without "|version".

        None: open. The package cannot list its codes (MIME types), or it is under no required binding.
        """
        systems = self.value_sets.get(value_set.partition("|")[0])
        if systems is None:
            return None
        return frozenset((system, code) for system, codes in systems.items() for code in codes)

    def _find(self, type_name: str, path: str) -> _Found:
        place = self._top(type_name, path)
        found: _Found | None = None
        for step in path.split("."):
            place = _inside(found) if found else place
            facts = _at(self.types[place.type_name].elements, place.prefix, step)
            if facts is None:
                raise self._unknown(type_name, path, step, found, place)
            found = _Found(place, step, facts)
        assert found is not None  # str.split gives at least one step
        return found

    def _top(self, type_name: str, path: str) -> _Place:
        if type_name not in self.types:
            raise UnknownElement(type_name, path, type_name, f"FHIR R4 has no type {type_name!r}", self.types)
        return _Place(type_name, "")

    def _members(self, place: _Place) -> list[tuple[str, Facts]]:
        elements = self.types[place.type_name].elements.items()
        below = [(path.removeprefix(place.prefix), facts) for path, facts in elements if path.startswith(place.prefix)]
        return [(name, facts) for name, facts in below if "." not in name]

    def _unknown(self, type_name: str, path: str, step: str, parent: _Found | None, place: _Place) -> UnknownElement:
        where = f"{type_name}.{path}: "
        if parent and len(parent.facts.types) > 1:
            names = ", ".join(_choice_names(parent.name, parent.facts))
            text = f"{where}the types of {parent.name!r} have no {step!r} in common; name one: {names}"
            return UnknownElement(type_name, path, step, text, ())
        known = [each for name, facts in self._members(place) for each in (name, *_choice_names(name, facts))]
        text = f"{where}{place.prefix.rstrip('.') or place.type_name} has no element {step!r}"
        return UnknownElement(type_name, path, step, text, known)


class _Place(NamedTuple):
    """Where elements stand: in a type, under a prefix ("component.", or none at its top)."""

    type_name: str
    prefix: str


class _Found(NamedTuple):
    """An element, by the name a path gives it, where it stands."""

    place: _Place
    name: str
    facts: Facts


@cache
def load() -> Definitions:
    """The definitions, decoded on the first call."""
    return msgspec.json.decode(FILE.read_bytes(), type=Definitions)


def choice_name(element: Element, type_code: str) -> str:
    """The name a choice has in JSON with a type chosen: ("value[x]", "Quantity") gives "valueQuantity".

    Raises ValueError where it is no choice or may not have that type. Source: http://hl7.org/fhir/R4/formats.html#choice
    """
    if not element.is_choice or type_code not in element.types:
        raise ValueError(f"{element.name} cannot be a {type_code}: it is {' or '.join(element.types)}")
    return _told(element.name, type_code)


def _told(choice: str, type_code: str) -> str:
    return choice.removesuffix("[x]") + type_code[0].upper() + type_code[1:]


def _choice_names(name: str, facts: Facts) -> list[str]:
    return [_told(name, code) for code in facts.types] if name.endswith("[x]") else []


def _at(elements: dict[str, Facts], prefix: str, step: str) -> Facts | None:
    """The facts of the element a step names, narrowed to one type where it tells a choice by its name."""
    if facts := elements.get(prefix + step):
        return facts
    for position, letter in enumerate(step):
        choice = step[:position] + "[x]"
        if letter.isupper() and (facts := elements.get(prefix + choice)):
            codes = [code for code in facts.types if _told(choice, code) == step]
            return _narrowed(facts, codes[0]) if codes else None
    return None


def _narrowed(facts: Facts, type_code: str) -> Facts:
    targets = facts.targets if type_code in ("Reference", "canonical") else ()
    profiles = facts.profiles if type_code == "Quantity" else ()
    return msgspec.structs.replace(facts, types=(type_code,), targets=targets, profiles=profiles)


def _inside(found: _Found) -> _Place:
    """Where the children of an element stand."""
    place, name, facts = found
    if facts.content_reference:
        return _Place(place.type_name, facts.content_reference + ".")
    if facts.types in (("BackboneElement",), ("Element",)):
        return _Place(place.type_name, f"{place.prefix}{name}.")
    # What several types have in common is what any element has: id and extension.
    return _Place(facts.types[0] if len(facts.types) == 1 else "Element", "")


def _element(name: str, path: str, facts: Facts) -> Element:
    return Element(
        name=name,
        path=path,
        min=facts.min,
        max=facts.max,
        types=facts.types,
        targets=facts.targets,
        profiles=facts.profiles,
        binding=facts.binding,
        is_modifier=facts.modifier,
    )
