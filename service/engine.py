"""The whole data path on one screen: a case's text to a Bundle, and a Bundle's text back to a case."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from service.bundle.build import BUNDLE_TYPES, BundleType, build_bundle
from service.bundle.read import read_bundle
from service.fhir import json
from service.issues import Issue, Origin, has_errors
from service.mapping.compiled import Mapping, load_mapping
from service.mapping.to_case import Located, read_record, to_record
from service.mapping.to_fhir import Mapped, to_resources

if TYPE_CHECKING:
    from service.validate.models import Bundle


LONGEST_LOCATED = 500_000


@dataclass(frozen=True)
class Conversion:
    """A converted case: its Bundle (None where an error stands among `issues`), and what each resource was made of."""

    bundle: dict[str, Any] | None
    issues: list[Issue]
    mapped: Mapped | None = field(default=None, repr=False)
    plain: bool = field(default=False, repr=False)

    def dump(self, *, indent: bool = True) -> bytes:
        """The Bundle as JSON text with exact decimals. Raises ValueError where there is none."""
        if self.bundle is None:
            raise ValueError("the case was not converted: see the issues")
        return json.dumps(self.bundle, indent=indent, plain=self.plain)

    def model(self) -> Bundle:
        """The Bundle as a typed model of fhir.resources (R4B), for Python users; it rounds decimals when dumped."""
        from service.validate.models import parse_bundle

        return parse_bundle(self.dump(indent=False))


@dataclass(frozen=True)
class Restored:
    """A case read back: the record (None where there was no patient to start from), and what it could not hold."""

    record: dict[str, Any] | None
    issues: list[Issue]

    def dump(self, *, indent: bool = True) -> bytes:
        if self.record is None:
            raise ValueError("no case was read: see the issues")
        return json.dumps(self.record, indent=indent)


@dataclass(frozen=True)
class Engine:
    """A mapping set and a deployment's key; frozen, and shared by threads and processes."""

    mapping: Mapping
    key: bytes = field(repr=False)
    limits: json.Limits = json.DEFAULT

    def convert(
        self, text: bytes, *, file: str = "-", bundle_type: BundleType = "collection", lenient: bool = False
    ) -> Conversion:
        """A case as JSON text → Bundle. Raises UnreadableInput for what is no JSON; all else is told by `issues`.

        `lenient`: fields that the form does not know are left out with a warning each, instead of an error.
        """
        read, plain = json.read(text, file=file, limits=self.limits)
        record, issues = load_case(read, text, self.mapping, file=file, lenient=lenient)
        if record is None:
            return Conversion(None, issues)
        mapped, more = to_resources(record, self.mapping, self.key)
        issues += _located(more, text, file) if more else more
        if mapped is None:
            return Conversion(None, issues)
        return Conversion(self._bundle(mapped, bundle_type), issues, mapped, plain)

    def to_case(self, text: bytes, *, file: str = "-") -> Restored:
        """A Bundle as JSON text → case. Raises UnreadableInput for what is no JSON; what no row holds is told by `issues`."""
        if record := self._unchanged(text):
            return Restored(record, [])
        resources, issues = read_bundle(json.loads(text, file=file, limits=self.limits))
        if issues:
            return Restored(None, issues)
        record, issues = to_record([Located(*one) for one in resources], self.mapping, self.key)
        return Restored(record, issues)

    def _unchanged(self, text: bytes) -> dict[str, Any] | None:
        """The case of a Bundle that this engine wrote and nobody changed; None for every other.

        The proof is that the case, converted again, gives the same text: a key twice, an element that no row reads or a
        digit lost on the way would show. So neither the JSON nor the resources need to be searched for them.
        """
        if len(text) > self.limits.max_bytes:
            return None
        bundle = json.peek(text)
        resources, issues = read_bundle(bundle)
        if issues or bundle.get("type") not in BUNDLE_TYPES:
            return None
        record, reading = read_record([Located(*one) for one in resources], self.mapping)
        if record is None or reading.issues or not self.mapping.accepts.is_valid(record):
            return None
        mapped, _issues = to_resources(record, self.mapping, self.key)
        if mapped and json.is_text_of(text, self._bundle(mapped, bundle["type"]), bundle, self.limits):
            return record
        return None

    def _bundle(self, mapped: Mapped, bundle_type: BundleType) -> dict[str, Any]:
        return build_bundle(zip((entry.full_url for entry in mapped.entries), mapped.resources, strict=True), bundle_type)


def load_engine(mapping: Path, key: bytes, *, shelf: Path | None = None, max_bytes: int = json.DEFAULT.max_bytes) -> Engine:
    """The engine for the mapping set in a folder. Raises MappingInvalid with everything that is wrong in it."""
    return Engine(load_mapping(mapping, shelf), key, json.Limits(max_bytes=max_bytes))


def load_case(
    record: json.Json, text: bytes, mapping: Mapping, *, file: str, lenient: bool
) -> tuple[dict[str, Any] | None, list[Issue]]:
    """The record if the form accepts it, else None; and the issues, with the places that they have in the record's text."""
    if mapping.accepts.is_valid(record):
        return record, list(_ignored(record, mapping))
    from service.case.explain import explain, prune_unknown

    issues: list[Issue] = []
    if lenient:
        record, issues = prune_unknown(mapping.form, record)
    issues = list(_located([*issues, *explain(mapping.form, record)], text, file))
    return (None if has_errors(issues) else record), issues


def _ignored(record: dict[str, Any], mapping: Mapping) -> Iterator[Issue]:
    """A note on each field that the set leaves out on purpose, with the reason that it gives."""
    for name, reason in mapping.spec.ignored.items():
        if name in record:
            yield Issue(
                "information", "informational", "case-ignored-field", f"left out on purpose: {reason}", pointer=f"/{name}"
            )


def _located(issues: Iterable[Issue], text: bytes, file: str) -> list[Issue]:
    """The issues with line and column of the case's text beside their JSON Pointers."""
    # Finding every place is slow work for a long text; there, the JSON Pointers have to do.
    places = json.locate(text) if len(text) <= LONGEST_LOCATED else {}
    found = []
    for issue in issues:
        pointer = issue.pointer or ""
        place = places.get(pointer + "#key") if issue.rule == "case-unknown-field" else None
        line, column = place or places.get(pointer) or _nearest(pointer, places)
        found.append(issue.at(source=Origin(file, line, column)))
    return found


def _nearest(pointer: str, places: dict[str, tuple[int, int]]) -> tuple[int, int] | tuple[None, None]:
    """The place of the object in which something is missing."""
    while pointer:
        pointer = pointer.rpartition("/")[0]
        if pointer in places:
            return places[pointer]
    return None, None
