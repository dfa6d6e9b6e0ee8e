"""The form as data: scalars, objects and lists, from which the JSON Schema and the marshmallow schema are both made.

A mapping set builds it from its rows, so that a field exists exactly when it is mapped or deliberately ignored.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from service.issues import Origin

# What FHIR allows in a string, less blanks at its ends: http://hl7.org/fhir/R4/datatypes.html#string
# And no byte order mark: HAPI takes it out of the middle of a text without a word.
TEXT = r"[^\x00-\x20\ufeff](?:[^\x00-\x08\x0b\x0c\x0e-\x1f\ufeff]*[^\x00-\x20\ufeff])?"
# An id that a case gives to an item, by which moments and references name it.
ITEM_ID = r"[A-Za-z0-9]+(?:[-_.][A-Za-z0-9]+)*"


@dataclass(frozen=True)
class Scalar:
    """One JSON value: `schema` is its JSON Schema (type, enum, pattern, bounds), `kind` what it means ("moment", "term", …)."""

    kind: str
    schema: Mapping[str, Any]
    says: str


@dataclass(frozen=True)
class ListOf:
    """A list of at least one element: an empty list and an absent one could not be told apart on the way back."""

    item: Node


@dataclass(frozen=True)
class Object:
    """An object with known fields only, at least one of them.

    `requires`: where the key is present, so are the others. `exclusive`: pairs of which at most one may be present.
    """

    fields: Mapping[str, Field]
    requires: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    exclusive: tuple[tuple[str, str], ...] = ()


Node = Scalar | ListOf | Object


@dataclass(frozen=True)
class Field:
    """One field of an object; `origin` is the row that reads it, `element` the FHIR element that row writes, as JSON names
    it, and `expression` the same as FHIRPath does."""

    node: Node
    required: bool
    origin: Origin
    element: str = ""
    expression: str = ""


def text(kind: str = "text", pattern: str = TEXT, says: str = "text without blanks at its ends") -> Scalar:
    return Scalar(kind, {"type": "string", "pattern": f"^(?:{pattern})$"}, says)


def terms(names: tuple[str, ...], table: str) -> Scalar:
    return Scalar("term", {"type": "string", "enum": list(names)}, f"a term of the code table '{table}'")


def walk(node: Node, pointer: str = "") -> Iterator[tuple[str, Field]]:
    """Every field below `node` with its pointer; a list counts as `[]`."""
    if isinstance(node, ListOf):
        yield from walk(node.item, pointer + "[]")
    elif isinstance(node, Object):
        for name, child in node.fields.items():
            here = f"{pointer}/{name}"
            yield here, child
            yield from walk(child.node, here)
