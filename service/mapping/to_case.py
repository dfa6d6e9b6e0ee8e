"""Resources back to the record that they came from; proved by writing that record again and comparing.

What the form cannot hold (a resource of no row file, an element that no row reads, a value that changed on the way) is an
issue with its FHIRPath expression. Nothing is dropped in silence.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from collections.abc import Mapping as MappingABC
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec

from service.fhir import definitions
from service.fhir.path import fhirpath
from service.issues import Issue
from service.mapping.compiled import Kind, Mapping
from service.mapping.scope import Entry, Scope
from service.mapping.to_fhir import Mapped, Record, Resource, to_resources
from service.mapping.tree import Node

_encode = msgspec.json.Encoder(decimal_format="number").encode
UNREADABLE = (ValueError, KeyError, IndexError, TypeError, AttributeError, ArithmeticError)
# What servers set by themselves and no record holds: http://hl7.org/fhir/R4/resource.html#Meta
_SERVER_META = ("versionId", "lastUpdated", "source")


class Located(NamedTuple):
    """A resource with its fullUrl and its expression in the bundle ("Bundle.entry[3].resource")."""

    resource: Resource
    full_url: str
    expression: str
    names: tuple[str, ...] = ()  # what else references may call it


@dataclass
class Reading:
    """A record as it is read: what was found so far, and what could not be read."""

    mapping: Mapping
    scope: Scope
    issues: list[Issue] = field(default_factory=list)
    sources: dict[int, Located] = field(default_factory=dict)  # id(item) → where it was read

    def report(self, code: str, rule: str, text: str, expression: str, **more: Any) -> None:
        self.issues.append(Issue("error", code, rule, text, expression=expression, **more))


def to_record(resources: Sequence[Located], mapping: Mapping, key: bytes) -> tuple[Record | None, list[Issue]]:
    """The record that these resources hold, and what it could not hold. None where there is no patient to start from.

    `key` only saves work: under another deployment's key the same record comes back, its identities set aside.
    """
    record, reading = read_record(resources, mapping)
    if record is not None and not reading.issues:
        reading.issues += _compare(record, reading, key)
    return record, reading.issues


def read_record(resources: Sequence[Located], mapping: Mapping) -> tuple[Record | None, Reading]:
    """The record that these resources hold, read but not yet proved: only `to_record` knows that nothing was left behind."""
    reading = Reading(mapping, Scope(mapping.spec.items, anchors=frozenset(mapping.spec.anchors)))
    found = _sort(resources, reading)
    patients = found[""]
    if len(patients) != 1:
        text = f"expected the resources of one patient, found {len(patients)} Patient resources that this set writes"
        reading.report("not-found", "bundle-patient", text, "Bundle.entry", fix="convert one patient at a time")
        return None, reading
    record: Record = {}
    for kind in mapping.kinds:
        _read_kind(kind, found[kind.section], record, reading)
    return record, reading


Found = dict[str, list[tuple[Entry, Located]]]


def _sort(resources: Sequence[Located], reading: Reading) -> Found:
    """Resources by section. One that no row file, or more than one, would have written is an issue."""
    found: Found = {kind.section: [] for kind in reading.mapping.kinds}
    find, by_section, by_url = reading.mapping.dispatcher.find, reading.mapping.by_section, reading.scope.by_url
    for located in resources:
        plan = find(located.resource)
        if plan is None:
            _report_unmapped(located, reading)
            continue
        entry = by_url[located.full_url] = Entry(plan.section, plan.resource, {}, None, located.full_url)
        for name in located.names:
            by_url.setdefault(name, entry)
        found[plan.section].append((entry, located))
        if by_section[plan.section].has_id:
            _take_id(entry, located.resource, reading.mapping.spec.items)
    return found


def _report_unmapped(located: Located, reading: Reading) -> None:
    kind = located.resource["resourceType"]
    # Only a name that FHIR knows is repeated: anything else there could be anybody's data.
    known = kind if definitions.load().type(kind) else "resource"
    text = f"no row file of '{reading.mapping.name}' writes such a {known}"
    fix = "add a row file or a term to the mapping set, or take the resource out of the bundle"
    reading.report("not-supported", "bundle-unmapped-resource", text, located.expression, fix=fix)


def _take_id(entry: Entry, resource: Resource, system: str) -> None:
    """The item's own id, read ahead of all else: other resources refer to it wherever they stand in the bundle."""
    identifiers = resource.get("identifier")
    for identifier in identifiers if isinstance(identifiers, list) else ():
        if isinstance(identifier, dict) and identifier.get("system") == system and "value" in identifier:
            entry.item["id"] = identifier["value"]


def _read_kind(kind: Kind, found: list[tuple[Entry, Located]], record: Record, reading: Reading) -> None:
    for entry, located in found:
        try:
            above = _above(kind, located.resource, reading) if kind.plan.parent else record
            item = kind.read(located.resource, above, reading.scope)
        except UNREADABLE as error:
            reading.issues += _explain(kind, located, reading, error)
            continue
        if kind.is_list:
            above.setdefault(kind.name, []).append(item)
        elif kind.section == "":
            record.update(item)
            item = record
        else:
            _attach(kind, item, above, located, reading)
        entry.item = item
        reading.sources[id(item)] = located


def _above(kind: Kind, resource: Resource, reading: Reading) -> dict[str, Any]:
    """The item that the item of this resource stands in: the one that its -> parent row refers to."""
    held = resource[kind.link]
    reference = (held[0] if isinstance(held, list) else held)["reference"]
    entry = reading.scope.at(reference)
    if entry is None or entry.section != kind.plan.parent:
        raise ValueError(f"{kind.link} leads to no {kind.plan.parent} of this bundle")
    return entry.item


def _attach(kind: Kind, item: dict[str, Any], above: dict[str, Any], located: Located, reading: Reading) -> None:
    if kind.name in above:
        text = f"a second resource for '{kind.name}', which the form holds once"
        reading.report("duplicate", "bundle-second", text, located.expression, origin=kind.plan.file.origin)
    else:
        above[kind.name] = item


def _explain(kind: Kind, located: Located, reading: Reading, error: Exception) -> Iterator[Issue]:
    """Which rows fail, each tried by itself; where none does, the resource has not the shape of its type."""
    failed = False
    for leaf in kind.plan.root.leaves():
        if leaf.row is None or leaf.bound is None or leaf.row.derived or leaf.bound.merging:
            continue
        for expression, value in _values(leaf, located):
            try:
                leaf.bound.to_case(value, reading.scope)
            except UNREADABLE as one:
                failed = True
                text = str(one) if type(one) is ValueError else "not the shape that FHIR R4 gives this element"
                fix = "see the row for what it reads, and the code table for its terms"
                where = _in_fhirpath(expression, located)
                yield Issue("error", "value", "bundle-value", text, fix=fix, expression=where, origin=leaf.row.origin)
    if not failed:
        text = str(error) if type(error) is ValueError else f"not the shape that FHIR R4 gives a {kind.resource}"
        yield Issue("error", "structure", "bundle-shape", text, expression=located.expression, origin=kind.plan.file.origin)


def _values(leaf: Node, located: Located) -> Iterator[tuple[str, Any]]:
    """The values at a leaf's path in the resource, with their expressions."""
    here: list[tuple[str, Any]] = [(located.expression, located.resource)]
    for step in leaf.path.split("."):
        nearer: list[tuple[str, Any]] = []
        for expression, value in here:
            held = value.get(step) if isinstance(value, dict) else None
            if isinstance(held, list):
                nearer += [(f"{expression}.{step}[{index}]", one) for index, one in enumerate(held)]
            elif held is not None:
                nearer.append((f"{expression}.{step}", held))
        here = nearer
    return iter(here)


# --- the proof --------------------------------------------------------------------------------------------------------


def _compare(record: Record, reading: Reading, key: bytes) -> list[Issue]:
    """Writes the record again and compares each resource with the one that was read."""
    if not reading.mapping.accepts.is_valid(record):
        text = "what these resources hold is no record that the form accepts"
        return [*_form_errors(record, reading), Issue("error", "invariant", "bundle-form", text, expression="Bundle")]
    mapped, issues = to_resources(record, reading.mapping, key)
    if mapped is None:
        return issues
    sources = [reading.sources[id(entry.item)] for entry in mapped.entries]
    if _encode(mapped.resources) == _encode([source.resource for source in sources]):
        return []
    same = _Same(_urls(mapped, reading), reading.scope, reading.mapping.spec.identifier)
    out: list[Issue] = []
    for ours, theirs in zip(mapped.resources, sources, strict=True):
        found = _differences(ours, theirs.resource, theirs.expression, same)
        out += [issue.at(expression=_in_fhirpath(issue.expression or "", theirs)) for issue in found]
    return out


def _in_fhirpath(expression: str, located: Located) -> str:
    inner = expression.removeprefix(located.expression + ".")
    return f"{located.expression}.{fhirpath(located.resource['resourceType'], inner)}"


def _form_errors(record: Record, reading: Reading) -> Iterator[Issue]:
    for error in reading.mapping.accepts.iter_errors(record):
        pointer = "".join(f"/{step}" for step in error.instance_path)
        yield Issue("error", "invariant", "bundle-form", "the form does not accept what was read here", pointer=pointer)


def _urls(mapped: Mapped, reading: Reading) -> dict[str, str]:
    """Our fullUrl of each item → the one under which the bundle has it."""
    return {entry.full_url: reading.sources[id(entry.item)].full_url for entry in mapped.entries}


@dataclass(frozen=True)
class _Same:
    """What counts as equal although it is spelled otherwise: references by their target, identities, what servers set."""

    urls: MappingABC[str, str]
    scope: Scope
    identifier: str

    def target(self, ours: Any, theirs: Any) -> bool:
        """Whether both references lead to the same resource of the bundle."""
        entry = self.scope.at(theirs)
        return entry is not None and entry.full_url == self.urls.get(ours)

    def ignores(self, path: str, name: str) -> bool:
        return (path == "" and name == "id") or (path == "meta" and name in _SERVER_META)


def _differences(ours: Any, theirs: Any, expression: str, same: _Same, path: str = "") -> Iterator[Issue]:
    if isinstance(ours, dict) and isinstance(theirs, dict):
        yield from _object_differences(ours, theirs, expression, same, path)
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for index, (one, other) in enumerate(zip(ours, theirs, strict=True)):
            yield from _differences(one, other, f"{expression}[{index}]", same, path)
    elif ours != theirs or str(ours) != str(theirs):  # 1.0 and 1.00 are equal numbers, and different data
        yield _lost(expression)


def _object_differences(ours: Resource, theirs: Resource, expression: str, same: _Same, path: str) -> Iterator[Issue]:
    is_identity = path == "identifier" and ours.get("system") == theirs.get("system") == same.identifier
    for name in sorted(ours.keys() | theirs.keys()):
        if same.ignores(path, name):
            continue
        here = f"{expression}.{name}"
        inner = f"{path}.{name}" if path else name
        if name == "reference" and same.target(ours.get(name), theirs.get(name)):
            continue
        if is_identity and name == "value" and isinstance(theirs.get(name), str):
            continue
        if name in ours and name in theirs:
            yield from _differences(ours[name], theirs[name], here, same, inner)
        elif not _only_ignored(ours.get(name, theirs.get(name)), inner, same):
            yield _lost(here)


def _only_ignored(value: Any, path: str, same: _Same) -> bool:
    return isinstance(value, dict) and bool(value) and all(same.ignores(path, name) for name in value)


def _lost(expression: str) -> Issue:
    return Issue(
        "error",
        "not-supported",
        "bundle-unmapped-element",
        "the record cannot hold this as it stands: converting the record again would not give it back",
        fix="map the element, or accept that it stays behind",
        expression=expression,
    )
