"""FHIR elements as FHIRPath sees them: a node is a value with its type, and a type knows how to read its members from JSON.

Source: http://hl7.org/fhir/R4/fhirpath.html; types come from service.fhir.definitions.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from functools import cache
from itertools import zip_longest
from typing import Any, Final, NamedTuple, TypeAlias

import msgspec

from service.fhir import definitions
from service.fhir.definitions import Facts
from service.fhir.scan import Json
from service.validate.fhirpath import quantity, temporal

# An item of a collection is a Node or a System value: bool, int, Decimal, str, FPDate, FPDateTime, FPTime, Quantity.
Items: TypeAlias = list[Any]
# Reads the nodes of one member from a JSON object. The list may be shared: it is never changed.
Reader: TypeAlias = Callable[[dict[str, Any]], Items]

NOTHING: Final[Items] = []


class Node(msgspec.Struct, gc=False):
    """One FHIR element. `sibling` is the _x object of a primitive (id, extension), whose own `value` may then be None."""

    value: Json
    sibling: dict[str, Any] | None
    type: TypeInfo


class TypeInfo:
    """A FHIR type, or the anonymous type of an element with members of its own, such as ("Observation", "component").

    `owner` and `path` tell where its members are defined. `names` are its own name and those of the types above it;
    `system` turns a value into its System value (None: as it is). `members` has what reads a member, by FHIRPath's name,
    from the JSON object of a value (or from the _x of a primitive); `by_key` by JSON's key: valueString reads just that, and
    _valueString where it stands alone. Both give None for what the type does not have.
    """

    def __init__(self, name: str, owner: str, path: str) -> None:
        self.name = name
        self.owner = owner
        self.path = path
        self.names = _lineage(name)
        found = definitions.load().type(name)
        self.is_primitive = found is not None and found.kind == "primitive-type"
        # A primitive can be cast to just its own type: a code is a string, but not `as` string.
        self.castable = frozenset((name,)) if self.is_primitive else self.names
        self.system = _SYSTEM.get("Quantity" if "Quantity" in self.names else name)
        self.members = _Readers(self._make_members, remembers=True)
        self.by_key = _Readers(self._make_by_key, remembers=False)

    def __repr__(self) -> str:
        return f"TypeInfo({self.owner!r}, {self.path!r})"

    def _make_members(self) -> dict[str, Reader]:
        return {path.removesuffix("[x]").rpartition(".")[2]: _reader(slots) for path, slots in self._slots().items()}

    def _make_by_key(self) -> dict[str, Reader]:
        return _readers_by_key([slot for slots in self._slots().values() for slot in slots])

    def _slots(self) -> dict[str, list[_Slot]]:
        prefix = f"{self.path}." if self.path else ""
        found = _elements(self.owner).items()
        return {path: _slots(self.owner, path, facts) for path, facts in found if _is_child(path, prefix)}


class _Readers(dict[str, "Reader | None"]):
    """A name → what reads it, None for all other names. It is filled when first asked, since types refer to each other."""

    def __init__(self, make: Callable[[], dict[str, Reader]], *, remembers: bool) -> None:
        super().__init__()
        self._make = make
        self._remembers = remembers

    def __missing__(self, name: str) -> Reader | None:
        if not self:
            self.update(self._make())
        # Names from expressions are few, names from data need not be.
        return self.setdefault(name, None) if self._remembers else self.get(name)


class _Slot(NamedTuple):
    """A key of a JSON object and the type of what stands there."""

    key: str
    type: TypeInfo


@cache
def type_info(name: str, path: str = "") -> TypeInfo:
    """The type of a name, or of an element: ("Observation"), ("Observation", "component"), ("Patient", "name").

    A name that R4 does not have is taken for a resource's. Raises UnknownElement for a path that the type does not have.
    """
    if not path:
        return TypeInfo(name, name, "")
    facts = _elements(name).get(path)
    if facts is None:
        types = definitions.load().resolve(name, path).types
    elif facts.content_reference:
        return type_info(name, facts.content_reference)
    elif any(each.startswith(f"{path}.") for each in _elements(name)):
        return TypeInfo(facts.types[0], name, path)
    else:
        types = facts.types
    return type_info(types[0] if len(types) == 1 else "Element")


def root_node(resource: dict[str, Any]) -> Node:
    """The node of a resource, typed by its resourceType; what has none, or an unknown one, still gives a node."""
    name = resource.get("resourceType")
    if type(name) is not str:
        return Node(resource, None, type_info("Resource"))
    # What data call a type is not to be remembered, unless there is one.
    return Node(resource, None, type_info(name) if name in definitions.load().types else TypeInfo(name, name, ""))


def class_info(namespace: str, name: str) -> Node:
    """What `type()` gives: an object with a namespace and a name."""
    return Node({"namespace": namespace, "name": name}, None, _CLASS_INFO)


def children(items: Items) -> Items:
    """The child nodes of all nodes among the items, in the order of the JSON."""
    found: Items = []
    for item in items:
        if type(item) is Node:
            data = item.value if type(item.value) is dict else item.sibling
            if data:
                by_key = item.type.by_key
                for key in data:
                    if read := by_key[key]:
                        found += read(data)
    return found


def descendants(items: Items) -> Items:
    """Children, their children and so on, level by level, so that depth costs no stack."""
    found: Items = []
    level = children(items)
    while level:
        found += level
        level = children(level)
    return found


def plain(item: Any) -> Any:
    """The System value of an item: itself, or what a node stands for. A node without one gives its JSON, None for no value."""
    if type(item) is not Node:
        return item
    system = item.type.system
    return item.value if system is None else system(item.value)


# Types --------------------------------------------------------------------------------------------------------------


def _lineage(name: str) -> frozenset[str]:
    types = definitions.load().types
    if name not in types:
        return frozenset((name, "DomainResource", "Resource"))
    names, base = {name}, types[name].base
    while base:
        names.add(base)
        base = types[base].base
    return frozenset(names)


def _elements(owner: str) -> dict[str, Facts]:
    types = definitions.load().types
    return types[owner if owner in types else "DomainResource"].elements


def _is_child(path: str, prefix: str) -> bool:
    return path.startswith(prefix) and "." not in path[len(prefix) :]


def _slots(owner: str, path: str, facts: Facts) -> list[_Slot]:
    name = path.rpartition(".")[2]
    if not name.endswith("[x]"):
        return [_Slot(name, type_info(owner, path))]
    return [_Slot(name[:-3] + code[0].upper() + code[1:], type_info(code)) for code in facts.types]


def _of_text(read: Callable[[str], Any]) -> Callable[[Any], Any]:
    """A reader of texts for JSON: what it cannot read stays as it is."""

    def convert(value: Any) -> Any:
        return (read(value) or value) if type(value) is str else value

    return convert


def _decimal(value: Any) -> Any:
    return Decimal(value) if type(value) is int else value


_SYSTEM: Final[dict[str, Callable[[Any], Any]]] = {
    "decimal": _decimal,
    "date": _of_text(temporal.date),
    "dateTime": _of_text(temporal.date_time),
    "instant": _of_text(temporal.date_time),
    "time": _of_text(temporal.time),
    "Quantity": quantity.from_fhir,
}


# Readers ------------------------------------------------------------------------------------------------------------


def _reader(slots: list[_Slot]) -> Reader:
    return _one_reader(slots[0]) if len(slots) == 1 else _choice_reader(_readers_by_key(slots))


def _readers_by_key(slots: list[_Slot]) -> dict[str, Reader]:
    readers = {slot.key: _one_reader(slot) for slot in slots}
    return readers | {f"_{slot.key}": _reader_without_value(slot) for slot in slots if slot.type.is_primitive}


def _one_reader(slot: _Slot) -> Reader:
    if slot.type.is_primitive:
        return _primitive_reader(*slot)
    return _resource_reader(slot.key) if slot.type.name == "Resource" else _complex_reader(*slot)


def _complex_reader(key: str, info: TypeInfo) -> Reader:
    def read(data: dict[str, Any]) -> Items:
        value = data.get(key)
        if value is None:
            return NOTHING
        if type(value) is list:
            return [Node(each, None, info) for each in value if each is not None]
        return [Node(value, None, info)]

    return read


def _resource_reader(key: str) -> Reader:
    def read(data: dict[str, Any]) -> Items:
        value = data.get(key)
        if value is None:
            return NOTHING
        values = value if type(value) is list else [value]
        return [root_node(each) for each in values if type(each) is dict]

    return read


def _primitive_reader(key: str, info: TypeInfo) -> Reader:
    sibling_key = f"_{key}"

    def read(data: dict[str, Any]) -> Items:
        value, sibling = data.get(key), data.get(sibling_key)
        if sibling is None and type(value) is not list:
            return NOTHING if value is None else [Node(value, None, info)]
        if type(value) is list or type(sibling) is list:
            return _paired(value, sibling, info)
        return [Node(value, sibling if type(sibling) is dict else None, info)]

    return read


def _reader_without_value(slot: _Slot) -> Reader:
    read_all = _primitive_reader(*slot)

    def read(data: dict[str, Any]) -> Items:
        return NOTHING if data.get(slot.key) is not None else read_all(data)

    return read


def _choice_reader(by_key: dict[str, Reader]) -> Reader:
    def read(data: dict[str, Any]) -> Items:
        for key in data:
            if (read_one := by_key.get(key)) and (found := read_one(data)):
                return found
        return NOTHING

    return read


def _paired(values: Any, siblings: Any, info: TypeInfo) -> Items:
    """The nodes of a list of primitives and the list of their siblings, either of which may have nulls, or be missing."""
    pairs = zip_longest(values if type(values) is list else (), siblings if type(siblings) is list else ())
    return [
        Node(value, sibling if type(sibling) is dict else None, info)
        for value, sibling in pairs
        if value is not None or sibling is not None
    ]


def _class_info() -> TypeInfo:
    info, text = TypeInfo("Element", "Element", ""), type_info("string")
    info.members.update({key: _primitive_reader(key, text) for key in ("namespace", "name")})
    return info


_CLASS_INFO: Final = _class_info()
