"""From profiles to trees of what they add: for each element that a profile says more of than its type, the rules of that.

The tree follows the element ids of the snapshot; what a profile only repeats of the type is left out, for the walk through
the type's shape has held it already. Source: http://hl7.org/fhir/R4/profiling.html
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from msgspec import structs

from service.fhir.definitions import UnknownElement, load
from service.fhir.json import Json
from service.fhir.structures import Discriminator, ElementBinding, ElementDefinition, Slicing, StructureDefinition
from service.validate.fhirpath import Node, TypeInfo, type_info
from service.validate.invariants import Invariant, invariants
from service.validate.place import Place
from service.validate.rules import ELEMENT_RULES, Element
from service.validate.run import Rule
from service.validate.snapshot import NoSnapshot

if TYPE_CHECKING:
    from service.validate.rulebook import Rulebook

UNBOUNDED: Final = 1_000_000_000
# Types that stand for any resource: a value has the type that it says itself.
RESOURCES: Final = ("Resource", "DomainResource")
# Value sets under bindings that R4 has by mistake: it binds all values of vital signs' components to these units, codes
# and flow rates too, and neither Java validator follows it. Later releases took it back.
ERRATA: Final = ("http://hl7.org/fhir/ValueSet/ucum-vitals-common",)
EXTENSIONS: Final = ("extension", "modifierExtension")
URL: Final = Discriminator("value", "url")


class Item(NamedTuple):
    """A value in its place. `value` is None where a primitive has a sibling (its extensions) alone."""

    value: Json
    sibling: dict[str, Any] | None
    code: str
    info: TypeInfo
    at: Place

    @property
    def node(self) -> Node:
        return Node(self.value, self.sibling, self.info)

    @property
    def is_resource(self) -> bool:
        return isinstance(self.value, dict) and "resourceType" in self.value


class Form(NamedTuple):
    """One way an element may be written: under this key (a primitive's sibling under `twin`), as this type."""

    key: str
    twin: str
    code: str
    info: TypeInfo


def _form(key: str, code: str, info: TypeInfo) -> Form:
    return Form(key, "_" + key, code, info)


@dataclass(slots=True, eq=False)
class ProfileElement:
    """What a profile says of one element or slice. `rules` and `inner`: by the type a value has.

    `least` and `most` are None where the type says the same.
    """

    name: str
    definition: ElementDefinition
    url: str
    forms: tuple[Form, ...] = ()
    keys: frozenset[str] = frozenset()
    least: int | None = None
    most: int | None = None
    types: frozenset[str] | None = None
    rules: dict[str, tuple[Rule, ...]] = field(default_factory=dict)
    invariants: tuple[Invariant, ...] = ()
    children: list[ProfileElement] = field(default_factory=list)
    slicing: Slicing | None = None
    slices: list[ProfileElement] = field(default_factory=list)
    # Of extensions, which are told apart by url: whether this element's slices are; and the url of a slice.
    is_sliced_by_url: bool = False
    urls: frozenset[str] = frozenset()

    @property
    def slice_name(self) -> str:
        return self.definition.slice_name

    @property
    def says_something(self) -> bool:
        own = self.rules or self.invariants or self.children or self.slicing or self.types is not None
        return bool(own) or self.least is not None or self.most is not None or self.definition.must_support

    def child(self, name: str) -> ProfileElement | None:
        return next((each for each in self.children if each.name.removesuffix("[x]") == name), None)

    def items(self, of: Item) -> list[Item]:
        """The values of this element in an object, or in the sibling of a primitive, each in its place."""
        value = of.value if isinstance(of.value, dict) else of.sibling
        if value is None or self.keys.isdisjoint(value):
            return []
        given = [form for form in self.forms if form.key in value or form.twin in value]
        return [item for form in given for item in _of_form(value, form, of.at)]


def _of_form(value: dict[str, Any], form: Form, at: Place) -> Iterator[Item]:
    found, beside = value.get(form.key), value.get(form.twin)
    if not isinstance(found, list) and not isinstance(beside, list):
        yield _item(found, beside, form, (at, form.key if form.key in value else form.twin, None))
        return
    values = found if isinstance(found, list) else []
    siblings = beside if isinstance(beside, list) else []
    for index in range(max(len(values), len(siblings))):
        sibling = siblings[index] if index < len(siblings) else None
        each = values[index] if index < len(values) else None
        if each is not None or sibling is not None:  # what is null in both is not there
            yield _item(each, sibling, form, (at, form.key if each is not None else form.twin, index))


def _item(value: Json, sibling: Json, form: Form, at: Place) -> Item:
    code, info = form.code, form.info
    told = value.get("resourceType") if code in RESOURCES and isinstance(value, dict) else None
    if isinstance(told, str) and told in load().types:
        code = told
        info = type_info(code)
    return Item(value, sibling if isinstance(sibling, dict) else None, code, info, at)


def compile_profile(definition: StructureDefinition, book: Rulebook) -> ProfileElement:
    """The tree of a profile. Raises NoSnapshot where it has no snapshot and none can be made."""
    return _Compiler(definition, book).tree()


@dataclass
class _Seat:
    """An element id's part of the tree in the making: its definition, and those below it by their last step."""

    definition: ElementDefinition
    children: dict[str, _Seat] = field(default_factory=dict)


class _Compiler:
    def __init__(self, definition: StructureDefinition, book: Rulebook) -> None:
        self.definition = definition
        self.book = book

    def tree(self) -> ProfileElement:
        elements = self.book.snapshot(self.definition)
        root = _Seat(elements[0])
        for element in elements[1:]:
            _place(root, element)
        top = ProfileElement(self.definition.type, elements[0], self.definition.url)
        top.invariants = self._invariants(elements[0], self.book.base(self.definition.type, ""))
        self._fill(top, root, self.definition.type, "")
        return top

    def _fill(self, parent: ProfileElement, seat: _Seat, type_name: str, path: str) -> None:
        """The children of an element or slice that lies at `path` of a type."""
        for step, each in seat.children.items():
            name, _, slice_ = step.partition(":")
            if not slice_:
                made = self._element(name, each, type_name, path)
                self._slices(made, seat, type_name, path)
                if made.says_something:
                    parent.children.append(made)

    def _slices(self, made: ProfileElement, seat: _Seat, type_name: str, path: str) -> None:
        """The slices of an element, and below each of them those that it has itself ("race/ombCategory")."""
        by_name: dict[str, ProfileElement] = {}
        for key, below in seat.children.items():
            name, _, slice_name = key.partition(":")
            if name == made.name and slice_name:
                by_name[slice_name] = self._slice(name, below, type_name, path)
                above = by_name.get(slice_name.rpartition("/")[0], made)
                above.slices.append(by_name[slice_name])
        for each in (made, *by_name.values()):
            slicing = each.definition.slicing
            if each.slices or (each is made and slicing and slicing.rules == "closed"):
                # A slice that is sliced without saying how is sliced as the whole is.
                each.slicing = slicing or made.slicing or Slicing()
                each.is_sliced_by_url = made.name in EXTENSIONS and each.slicing.discriminator in ((), (URL,))

    def _slice(self, name: str, seat: _Seat, type_name: str, path: str) -> ProfileElement:
        made = self._element(name, seat, type_name, path)
        made.least, made.most = seat.definition.min or 0, _most(seat.definition.max)
        made.urls = frozenset(_urls(made)) if name in EXTENSIONS else frozenset()
        return made

    def _element(self, name: str, seat: _Seat, type_name: str, path: str) -> ProfileElement:
        own, below = seat.definition, f"{path}.{name}" if path else name
        made = ProfileElement(name, own, self.definition.url)
        try:
            base = self.book.base(type_name, below)
            made.forms = self._forms(name, type_name, path)
            made.keys = frozenset(key for form in made.forms for key in (form.key, form.twin))
        except UnknownElement:
            return made  # not an element of FHIR's: nothing in a resource can be it
        made.least = own.min if own.min and own.min > (base.min or 0) else None
        made.most = _most(own.max) if _most(own.max) < _most(base.max) else None
        codes = {each.code for each in own.type}
        known = {form.code for form in made.forms}
        if codes and (codes < known or (known & set(RESOURCES) and not codes & known)):
            made.types = frozenset(codes)
        narrowed = _beyond(own, base)
        for code in codes or known:
            if rules := self._rules(narrowed, code):
                made.rules[code] = rules
        made.invariants = self._invariants(own, base)
        self._inside(made, seat, codes)
        return made

    def _inside(self, made: ProfileElement, seat: _Seat, codes: set[str]) -> None:
        """The children, if the element has one type; a type of its own has its elements at its top."""
        infos = [form.info for form in made.forms if not codes or form.code in codes]
        infos = infos or [type_info(code) for code in codes]
        if seat.children and len(infos) == 1:
            info = infos[0]
            self._fill(made, seat, info.owner, info.path)

    def _forms(self, name: str, type_name: str, path: str) -> tuple[Form, ...]:
        element = next((each for each in load().children(type_name, path) if each.name == name), None)
        if element is None:
            load().resolve(type_name, f"{path}.{name}" if path else name)  # raises, unless the name is told by its type
            return ()
        inner = f"{path}.{name}" if path else name
        if not element.is_choice:
            code = element.types[0] if element.types else "Element"
            own = code in ("BackboneElement", "Element")
            # An element that is defined elsewhere in the type (Questionnaire.item.item) has the members of that.
            defined = load().types[type_name].elements[inner].content_reference or inner
            return (_form(name, code, type_info(type_name, defined) if own else type_info(code)),)
        stem = name.removesuffix("[x]")
        return tuple(_form(stem + code[0].upper() + code[1:], code, type_info(code)) for code in element.types)

    def _rules(self, own: ElementDefinition, code: str) -> tuple[Rule, ...]:
        element = Element(code, own, self.definition.url)
        made = (make(element, self.book) for make in ELEMENT_RULES)
        return tuple(rule for rule in made if rule is not None)

    def _invariants(self, own: ElementDefinition, base: ElementDefinition) -> tuple[Invariant, ...]:
        known = {each.key for each in base.constraint}
        if len(own.type) == 1 and own.type[0].code not in ("BackboneElement", "Element"):
            known |= {each.key for each in self.book.base(own.type[0].code, "").constraint}
        return invariants([each for each in own.constraint if each.key not in known], self.definition.url)


def _place(root: _Seat, element: ElementDefinition) -> None:
    """Puts an element where its id says: "Observation.component:sys.code" below the slice."""
    _, *above = element.id.split(".")
    if not above:
        raise NoSnapshot(f"{element.id} stands in the snapshot, and is no part of its root")
    last = above.pop()
    seat = root
    for step in above:
        if step not in seat.children:
            # A snapshot that leaves out an element on the way says nothing of it.
            name = step.partition(":")[0]
            seat.children[step] = _Seat(ElementDefinition(id=step, path=f"{seat.definition.path}.{name}"))
        seat = seat.children[step]
    seat.children[last] = _Seat(element)


def _urls(slice_: ProfileElement) -> Iterator[str]:
    """What the url of an extension in this slice may be."""
    for type_ in slice_.definition.type:
        yield from (profile.partition("|")[0] for profile in type_.profile)
    url = slice_.child("url")
    if url is not None and isinstance(url.definition.fixed, str):
        yield url.definition.fixed


def _bound(own: ElementDefinition, base: ElementDefinition) -> ElementBinding | None:
    """The binding that a profile adds, if it is one that R4 means."""
    if own.binding is None or own.binding == base.binding or own.binding.value_set.partition("|")[0] in ERRATA:
        return None
    return own.binding


def _beyond(own: ElementDefinition, base: ElementDefinition) -> ElementDefinition:
    """An element's definition without what the type says as well, and without what the tree holds in other ways."""
    types = {each.code: each for each in base.type}
    told = tuple(each for each in own.type if types.get(each.code) != each)
    length = own.max_length if own.max_length != base.max_length else None
    return structs.replace(own, type=told, binding=_bound(own, base), max_length=length, constraint=())


def _most(most: str | None) -> int:
    return int(most) if most is not None and most.isdecimal() and len(most) < 10 else UNBOUNDED
