"""A mapping set as its files say it, parsed but not yet held against FHIR: rows, constants, row files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from service.issues import Origin
from service.mapping.source import Located
from service.terminology.tables import CodeTable


@dataclass(frozen=True)
class Step:
    """One step of an element path: `name` as FHIR's JSON writes it (an open choice ends in [x]), `slice` its label."""

    name: str
    slice: str = ""


@dataclass(frozen=True)
class FieldRef:
    """A field of the case that a row reads: `path` from the item on; `many` is the part of it that is a list, empty where none.

    `required`: written with "!", `optional`: written with "?", `up`: of the item above (../field).
    """

    path: tuple[str, ...]
    many: tuple[str, ...] = ()
    required: bool = False
    optional: bool = False
    up: bool = False

    @property
    def name(self) -> str:
        return ("../" if self.up else "") + ".".join(self.path)


@dataclass(frozen=True)
class Use:
    """A converter as a row names it: "concept(labs)"."""

    converter: str
    arguments: tuple[str, ...]


@dataclass(frozen=True)
class Row:
    """element: fields | converter. `link` is "patient" or "parent" ("-> patient"); `derived` rows are not read back."""

    element: Located
    steps: tuple[Step, ...]
    fields: tuple[FieldRef, ...]
    use: Use | None
    origin: Origin
    derived: bool = False
    unknown: bool = False
    link: str = ""


@dataclass(frozen=True)
class Constant:
    """element: value, or element: TERM | converter."""

    element: Located
    steps: tuple[Step, ...]
    value: str
    use: Use | None
    origin: Origin


@dataclass(frozen=True)
class RowFile:
    """One file of resources/: which items of the record it takes (`each`), and what it makes of each."""

    name: str
    says: str
    each: tuple[str, ...]  # ("treatments[]", "drugs[]"); empty for the record itself
    resource: Located
    key: tuple[Located, ...]
    requires: Mapping[Located, tuple[Located, ...]]
    rows: tuple[Row, ...]
    constants: tuple[Constant, ...]
    origin: Origin

    @property
    def section(self) -> str:
        """How references and anchors name this kind of item: "treatments", "treatments.drugs"."""
        return ".".join(step.removesuffix("[]") for step in self.each)


@dataclass(frozen=True)
class Spec:
    """A whole mapping set. `layers` are the folders that it is read from, `root` the last of them."""

    root: Path
    layers: tuple[Path, ...]
    name: str
    version: str
    url: str
    title: str
    identifier: str
    items: str
    anchors: tuple[Located, ...]
    ignored: Mapping[Located, Located]
    files: tuple[RowFile, ...]
    tables: Mapping[str, CodeTable]
    origin: Origin
