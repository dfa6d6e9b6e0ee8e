"""Where things are in a resource: its members and values, each with what HL7's R4 definitions say of it.

Read from the official package and not from service.fhir, so that a test does not lean on what it tests.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from random import Random
from typing import Any, Final, TypeVar

from tests.support import registry

T = TypeVar("T")
Json = dict[str, Any]
# A mutator changes the resource that it is given, and returns it or a text; None where it finds nothing to change.
Mutator = Callable[[Json, Random], Json | bytes | None]

EXTENSIBLE: Final = frozenset({"id", "extension", "modifierExtension", "resourceType"})


@dataclass(frozen=True, slots=True)
class Element:
    """One element of a definition. `path` is as in the definition ("Observation.value[x]"), `targets` are type names."""

    path: str
    types: tuple[str, ...]
    targets: tuple[str, ...]
    required: bool
    repeats: bool
    strength: str
    value_set: str
    content: str

    @property
    def is_choice(self) -> bool:
        return self.path.endswith("[x]")


@dataclass(frozen=True, slots=True)
class Spot:
    """A place in a resource: `holder[key]`, an object's member or a list's item, of the FHIR type `type`."""

    holder: Any
    key: Any
    element: Element
    type: str

    @property
    def value(self) -> Any:
        return self.holder[self.key]

    def put(self, value: Any) -> None:
        self.holder[self.key] = value

    def drop(self) -> None:
        del self.holder[self.key]


@dataclass(frozen=True, slots=True)
class Node:
    """An object in a resource; `kind` is its type ("Period", "Patient") or its path in one ("Patient.contact")."""

    kind: str
    content: Json


def pick(random: Random, options: list[T]) -> T | None:
    """One of them, or None where there are none."""
    return random.choice(options) if options else None


def nodes(resource: Json) -> Iterator[Node]:
    """Every object of a resource that has a definition, from the root downwards."""
    yield from _nodes(resource, resource["resourceType"])


def nodes_of(resource: Json, kind: str) -> list[Node]:
    return [node for node in nodes(resource) if node.kind == kind]


def members(resource: Json) -> list[Spot]:
    """Every member of every object, a list as one; `id`, `extension` and what begins with "_" are left out."""
    return [spot for node in nodes(resource) for spot in _spots(node)]


def values(resource: Json, *types: str) -> list[Spot]:
    """Every single value of one of these types, the items of lists one by one."""
    found = []
    for spot in members(resource):
        if spot.type in types:
            if isinstance(spot.value, list):
                found += [Spot(spot.value, index, spot.element, spot.type) for index in range(len(spot.value))]
            else:
                found.append(spot)
    return [spot for spot in found if spot.value is not None]


def is_primitive(type_name: str) -> bool:
    return type_name[0].islower() and type_name != "xhtml"


def children(kind: str) -> dict[str, tuple[Element, str]]:
    """The members that an object of this kind may have: JSON name → element and type."""
    return _children().get(kind, {})


def _nodes(content: Json, kind: str) -> Iterator[Node]:
    node = Node(kind, content)
    yield node
    for spot in _spots(node):
        for item in spot.value if isinstance(spot.value, list) else [spot.value]:
            if isinstance(item, dict):
                yield from _nodes(item, _kind_inside(spot, item))


def _spots(node: Node) -> list[Spot]:
    known = children(node.kind)
    return [Spot(node.content, key, *known[key]) for key in node.content if key in known and key not in EXTENSIBLE]


def _kind_inside(spot: Spot, item: Json) -> str:
    if spot.type == "Resource":
        return str(item.get("resourceType"))
    return spot.element.content or (spot.element.path if spot.element.path in _children() else spot.type)


@cache
def _children() -> dict[str, dict[str, tuple[Element, str]]]:
    found: dict[str, dict[str, tuple[Element, str]]] = {}
    for path in sorted(registry.unpacked(registry.R4_CORE).glob("StructureDefinition-*.json")):
        definition = json.loads(path.read_bytes())
        if definition["kind"] in ("resource", "complex-type") and definition.get("derivation") != "constraint":
            for raw in definition["snapshot"]["element"][1:]:
                parent, _, name = raw["path"].rpartition(".")
                element = _element(raw)
                for type_name in element.types or ("",):
                    key = name.replace("[x]", type_name[:1].upper() + type_name[1:])
                    found.setdefault(parent, {})[key] = (element, type_name)
    return found


def _element(raw: Json) -> Element:
    types = raw.get("type", [])
    targets = (url.rpartition("/")[2] for each in types for url in each.get("targetProfile", []))
    binding = raw.get("binding", {})
    return Element(
        path=raw["path"],
        types=tuple(each["code"].replace("http://hl7.org/fhirpath/System.String", "string") for each in types),
        targets=tuple(targets),
        required=raw["min"] > 0,
        repeats=raw["max"] != "1",
        strength=binding.get("strength", ""),
        value_set=binding.get("valueSet", "").partition("|")[0],
        content=raw.get("contentReference", "").partition("#")[2],
    )
