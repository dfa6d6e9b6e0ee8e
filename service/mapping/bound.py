"""What a converter is: the types that the table of converters and its rooms share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from service.case.form import Node
from service.terminology.tables import CodeTable


@dataclass(frozen=True)
class Target:
    """What a converter may write to: the FHIR types that the element allows here, and whether it must have a value."""

    types: tuple[str, ...]
    required: bool


@dataclass(frozen=True)
class Argument:
    """What stands in a row's brackets: the words, the code tables of those names, the sections with their resource types."""

    words: tuple[str, ...]
    tables: Mapping[str, CodeTable]
    sections: Mapping[str, str]
    items_system: str

    def table(self) -> CodeTable:
        (name,) = self.words
        return self.tables[name]


@dataclass(frozen=True)
class Bound:
    """A converter bound to one row. `forms`: one form for each field, in order; `optional`: the last n fields may be absent.

    `to_fhir(*fields, scope)` gives the FHIR value; `to_case(value, scope)` gives the field, or a tuple where there are several.
    A `merging` converter writes properties of several names: `to_fhir(out, name, *fields, scope)`, and reads them by
    `to_case(source, name, inherited, scope)`, where `inherited` is the field of the item above, if its row has one.
    """

    forms: tuple[Node, ...]
    types: tuple[str, ...]
    to_fhir: Callable[..., Any]
    to_case: Callable[..., Any]
    optional: int = 0
    merging: bool = False
    identity: bool = False
    table: CodeTable | None = None


Make = Callable[[Target, Argument], Bound]


@dataclass(frozen=True)
class Converter:
    """One row of the table: how it is made, what its brackets hold, how many fields it takes, and what it says of itself."""

    make: Make
    arguments: str  # "", "table", "units", "unit", "two units", "sections"
    fields: tuple[int, int]
    says: str


def common(target: Target, types: tuple[str, ...]) -> tuple[str, ...]:
    """Of the types that a converter can write, those that the element allows."""
    return tuple(name for name in types if name in target.types)
