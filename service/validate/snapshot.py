"""Snapshots: what a profile says of every element, made from its differential and the snapshot of what it is based on.

A definition is held as a tree of elements meanwhile. The step to a child is the last part of the child's id: its name, and
for a slice the slice's name too, "component:systolic". So ids, paths and slice names are never copied or mended: the way
down the tree tells them. Source: http://hl7.org/fhir/R4/profiling.html#snapshot, http://hl7.org/fhir/R4/elementdefinition.html#id
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from msgspec import UNSET
from msgspec.structs import replace

from service.fhir.definitions import CORE
from service.fhir.structures import (
    Constraint,
    Discriminator,
    ElementBinding,
    ElementDefinition,
    Slicing,
    StructureDefinition,
    TypeRef,
)

Structures = Callable[[str], StructureDefinition | None]

# Slicing that goes without saying: http://hl7.org/fhir/R4/profiling.html#slicing
BY_URL: Final = Slicing((Discriminator("value", "url"),))
BY_TYPE: Final = Slicing((Discriminator("type", "$this"),))
# Far more than any published definition has, and far less than Python's stack holds.
MOST_DEFINITIONS: Final = 20
MOST_STEPS: Final = 50


class NoSnapshot(ValueError):
    """A snapshot can't be made; the text is a sentence that names the definition and what it lacks."""


def snapshot(definition: StructureDefinition, structure: Structures) -> tuple[ElementDefinition, ...]:
    """The snapshot that the definition has, or else one made from its differential and the definitions it builds on.

    `structure` finds a definition by canonical URL. A contentReference out of a base is given with its definition's URL.
    Raises NoSnapshot where a definition is missing or builds on itself, or constrains an element its base does not have.
    """
    return _Maker(structure).elements(definition)


class _Node:
    """An element and its children by step; a slice is a child beside the whole that it is a slice of.

    `base` is the node as it was before the differential came to it: there its slices start. What the differential says of
    the whole holds for every slice anyway.
    """

    def __init__(self, element: ElementDefinition) -> None:
        self.element = element
        self.children: dict[str, _Node] = {}
        self.base: _Node | None = None

    def remember(self) -> None:
        if self.base is None:
            self.base = self.copy()

    def copy(self) -> _Node:
        twin = _Node(self.element)
        twin.children = {step: child.copy() for step, child in self.children.items()}
        return twin


class _Maker:
    """One call's work: the snapshots made, and the URLs of those under way, by URL."""

    def __init__(self, structure: Structures) -> None:
        self.structure = structure
        self.made: dict[str, tuple[ElementDefinition, ...]] = {}
        self.under_way: list[str] = []

    def elements(self, definition: StructureDefinition) -> tuple[ElementDefinition, ...]:
        if definition.snapshot:
            return definition.snapshot
        url = definition.url
        if url not in self.made:
            if url in self.under_way:
                raise NoSnapshot(f"{url} builds on itself")
            if len(self.under_way) == MOST_DEFINITIONS:
                raise NoSnapshot(f"{self.under_way[0]} builds on more than {MOST_DEFINITIONS} definitions without a snapshot")
            self.under_way.append(url)
            self.made[url] = _Differential(self, definition).applied()
            self.under_way.pop()
        return self.made[url]

    def tree(self, url: str, wanted_by: str) -> _Node:
        """A new tree of a definition's elements. Raises NoSnapshot."""
        definition = self.structure(url)
        if definition is None:
            raise NoSnapshot(f"{wanted_by} builds on {url}, which is not there")
        home = _type_url(definition.type)
        return _tree(definition.url, [_from_home(each, home) for each in self.elements(definition)])


class _Differential:
    """One differential, and the tree of its base, which it changes element by element."""

    def __init__(self, maker: _Maker, definition: StructureDefinition) -> None:
        self.maker = maker
        self.definition = definition
        self.name = definition.type.rpartition("/")[2]
        # A type adds elements to its base, a profile may not.
        self.adds = definition.derivation == "specialization"
        if not definition.base_definition:
            raise NoSnapshot(f"{definition.url} has neither a snapshot nor a base")
        self.root = maker.tree(definition.base_definition, definition.url)

    def applied(self) -> tuple[ElementDefinition, ...]:
        for steps, element in _with_steps(self.definition.differential):
            if steps[0] != self.name:
                raise NoSnapshot(f"{self.definition.url} is on {self.name}, but its differential on {steps[0]}")
            self.constrain(self.node_at(steps), element)
        return tuple(_flat(self.root, self.name, self.name))

    def node_at(self, steps: Sequence[str]) -> _Node:
        node = self.root
        for depth, step in enumerate(steps[1:], start=2):
            found = self.child(node, step)
            if found is None:
                found = self.added(node, step, ".".join(steps[:depth]))
            found.remember()
            node = found
        return node

    def child(self, node: _Node, step: str) -> _Node | None:
        found = _child(node, step)
        if found is None:
            self.unfold(node)
            found = _child(node, step)
        return found

    def added(self, node: _Node, step: str, place: str) -> _Node:
        if not self.adds:
            raise NoSnapshot(f"{self.definition.url} constrains {place}, which its base does not have")
        return node.children.setdefault(step, _Node(ElementDefinition(place, place, min=0, max="1")))

    def unfold(self, node: _Node) -> None:
        """Gives a node the children of what it refers to, or else of its type. Those that it has already, stay."""
        source = self.referred(node) if node.element.content_reference else self.type_of(node.element)
        if source is not None:
            node.children = source.children | node.children

    def referred(self, node: _Node) -> _Node | None:
        """The element that a contentReference names. Its type takes the reference's place: an element has one or the other."""
        url, _, place = node.element.content_reference.partition("#")
        found = self.maker.tree(url, self.definition.url) if url else None
        for step in place.split(".")[1:]:
            found = found and _child(found, step)
        if found is not None:
            node.element = replace(node.element, content_reference="", type=found.element.type)
        return found

    def type_of(self, element: ElementDefinition) -> _Node | None:
        if not element.type:
            return None
        if len(element.type) > 1:
            return self.maker.tree(f"{CORE}Element", self.definition.url)
        profile = self.profile(element.type)
        return self.maker.tree(profile.url if profile else _type_url(element.type[0].code), self.definition.url)

    def profile(self, types: tuple[TypeRef, ...]) -> StructureDefinition | None:
        """The one profile of a single type. None of several, which are alternatives, nor one that is not there or under way:
        the element still names it, and whoever validates will come to it."""
        if len(types) != 1 or len(types[0].profile) != 1:
            return None
        found = self.maker.structure(types[0].profile[0])
        return None if found is None or found.url in self.maker.under_way else found

    def constrain(self, node: _Node, said: ElementDefinition) -> None:
        base = node.element
        profile = None if self.adds else self.profile(said.type)
        if profile is not None and profile.kind == "complex-type":
            base = _profiled(base, self.maker.elements(profile)[0])
        node.element = _constrained(base, said)


# Elements -----------------------------------------------------------------------------------------------------------

_REPLACED: Final = ("min", "max", "type", "fixed", "pattern", "min_value", "max_value", "max_length")
_SILENT: Final = (None, (), UNSET)
# eld-11 in http://hl7.org/fhir/R4/elementdefinition.html#invs
BINDABLE: Final = frozenset({"code", "Coding", "CodeableConcept", "Quantity", "string", "uri"})


def _constrained(base: ElementDefinition, said: ElementDefinition) -> ElementDefinition:
    """The element as the differential has it, and where that is silent, as the base has it."""
    types = said.type or base.type
    bindable = not types or any(type_.code in BINDABLE for type_ in types)
    return replace(
        base,
        **{name: value for name in _REPLACED if (value := getattr(said, name)) not in _SILENT},
        content_reference="" if base.type else base.content_reference or said.content_reference,
        slicing=_slicing(base.slicing, said.slicing, said.path),
        constraint=_constraints(base.constraint, said.constraint),
        binding=_binding(base.binding, said.binding) if bindable else None,
        must_support=base.must_support or said.must_support,
        is_modifier=base.is_modifier or said.is_modifier,
    )


def _profiled(base: ElementDefinition, root: ElementDefinition) -> ElementDefinition:
    """The element with what a profile of its type says of the whole value; an extension also says how often it may stand."""
    once = root.path == "Extension" and root.max == "1" and base.max != "0"
    return replace(base, max="1" if once else base.max, constraint=_constraints(base.constraint, root.constraint))


def _constraints(base: tuple[Constraint, ...], said: tuple[Constraint, ...]) -> tuple[Constraint, ...]:
    keys = {each.key for each in said}
    return tuple(each for each in base if each.key not in keys) + said


def _slicing(base: Slicing | None, said: Slicing | None, path: str) -> Slicing | None:
    if said is None:
        return base
    if base is None and not said.discriminator:
        base = _implied(path.rpartition(".")[2])
    known = base.discriminator if base else ()
    more = tuple(each for each in said.discriminator if each not in known)
    return replace(said, discriminator=known + more)


def _binding(base: ElementBinding | None, said: ElementBinding | None) -> ElementBinding | None:
    if base is None or said is None:
        return said or base
    return replace(said, value_set=said.value_set or base.value_set, max_value_set=said.max_value_set or base.max_value_set)


def _from_home(element: ElementDefinition, home: str) -> ElementDefinition:
    """The element fit for another definition's tree: there a bare "#Bundle.link" would lead nowhere."""
    if not element.content_reference.startswith("#"):
        return element
    return replace(element, content_reference=home + element.content_reference)


def _type_url(code: str) -> str:
    return code if "/" in code else CORE + code


# Children and slices ------------------------------------------------------------------------------------------------


def _child(node: _Node, step: str) -> _Node | None:
    """The child at a step. A slice comes to be when it is first asked for; that of a choice also by its type's name."""
    if step in node.children:
        return node.children[step]
    name, _, slice_name = step.partition(":")
    if name not in node.children:
        choice = _choice(node, name)
        return _typed(node, choice, slice_name or name) if choice else None
    parent, _, _ = slice_name.rpartition("/")
    whole = _child(node, f"{name}:{parent}" if parent else name)
    if whole is not None:
        node.children[step] = _slice(whole, name, slice_name)
    return node.children.get(step)


def _choice(node: _Node, name: str) -> str | None:
    """The choice of types that an element's name is short for: "value[x]" for "valueQuantity"."""
    choices = (step for step in node.children if step.endswith("[x]"))
    return next((each for each in choices if _chosen(node.children[each].element, each, name)), None)


def _typed(node: _Node, choice: str, slice_name: str) -> _Node | None:
    """The slice of a choice for one type, beside which others may stand. The choice itself, where no other type is left."""
    step = f"{choice}:{slice_name}"
    alone = len(node.children[choice].element.type) == 1
    return node.children[choice] if alone and step not in node.children else _child(node, step)


def _chosen(element: ElementDefinition, choice: str, name: str) -> tuple[TypeRef, ...]:
    """Of a choice's types, the one that a name tells."""
    start = choice.removesuffix("[x]")
    return tuple(each for each in element.type if name == start + each.code[:1].upper() + each.code[1:])


def _slice(whole: _Node, name: str, slice_name: str) -> _Node:
    """A new slice: as the base has the whole, but it need not be there. The whole is sliced from now on, said or not.

    A slice of a slice, "a/b", starts from what is said of "a", for no one else says what "a" is.
    """
    start = whole if "/" in slice_name else whole.base
    part = (start or whole).copy()
    types = _chosen(whole.element, name, slice_name) or part.element.type
    part.element = replace(part.element, slicing=None, min=0, type=types)
    if whole.element.slicing is None:
        whole.element = replace(whole.element, slicing=_implied(name))
    return part


def _implied(name: str) -> Slicing | None:
    if name in ("extension", "modifierExtension"):
        return BY_URL
    return BY_TYPE if name.endswith("[x]") else None


# Lists and trees ----------------------------------------------------------------------------------------------------


def _tree(url: str, elements: Sequence[ElementDefinition]) -> _Node:
    root = _Node(elements[0])
    for steps, element in _with_steps(elements[1:]):
        node = root
        for step in steps[1:-1]:
            if step not in node.children:
                raise NoSnapshot(f"The snapshot of {url} has {'.'.join(steps)}, but not what it is a part of")
            node = node.children[step]
        node.children[steps[-1]] = _Node(element)
    return root


def _flat(node: _Node, id_: str, path: str) -> Iterator[ElementDefinition]:
    """The elements in a snapshot's order, each with its id, path and slice name."""
    _, _, slice_name = id_.rpartition(".")[2].partition(":")
    yield replace(node.element, id=id_, path=path, slice_name=slice_name)
    for step in _in_order(node.children):
        name, _, _ = step.partition(":")
        yield from _flat(node.children[step], f"{id_}.{step}", f"{path}.{name}")


def _in_order(steps: Iterable[str]) -> list[str]:
    """Slices behind the whole that they are slices of, and otherwise in the order in which they came."""
    ranks = {step: rank for rank, step in enumerate(steps)}

    def order(step: str) -> list[int]:
        ends = [end for end, sign in enumerate(step) if sign in ":/"]
        return [ranks.get(step[:end], ranks[step]) for end in [*ends, len(step)]]

    return sorted(ranks, key=order)


def _with_steps(elements: Sequence[ElementDefinition]) -> Iterator[tuple[list[str], ElementDefinition]]:
    """Each element with the steps of its id. Where ids do not fit what else is said, the order tells what is a part of what."""
    ids = (each.id for each in elements) if all(map(_id_fits, elements)) else _ids(elements)
    for id_, element in zip(ids, elements, strict=True):
        steps = id_.split(".")
        if len(steps) > MOST_STEPS:
            raise NoSnapshot(f"{steps[0]} has an element that is more than {MOST_STEPS} steps deep")
        yield steps, element


def _id_fits(element: ElementDefinition) -> bool:
    steps = [step.partition(":") for step in element.id.split(".")]
    return ".".join(name for name, _, _ in steps) == element.path and steps[-1][2] == element.slice_name


def _ids(elements: Iterable[ElementDefinition]) -> Iterator[str]:
    latest: dict[str, str] = {}  # by path: the id of the element whose parts would come now
    for element in elements:
        path = element.path
        latest = {each: id_ for each, id_ in latest.items() if not each.startswith(f"{path}.")}
        latest[path] = _id(path, latest) + (f":{element.slice_name}" if element.slice_name else "")
        yield latest[path]


def _id(path: str, latest: dict[str, str]) -> str:
    """The id of what is at a path, were it no slice: its parent may be one."""
    parent, dot, name = path.rpartition(".")
    if not dot:
        return name
    return f"{latest.get(parent) or _id(parent, latest)}.{name}"
