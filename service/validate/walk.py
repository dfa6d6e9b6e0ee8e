"""The walk through a resource: each member against its shape, in the order of the text; the happy path does next to nothing."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

from service.fhir.json import Json
from service.issues import Severity
from service.validate import bundles, canonical, conformance, contained, narrative, questionnaires, vital_signs
from service.validate.fhirpath import Node
from service.validate.place import Place, below, steps
from service.validate.run import Rule, Run, scope_of

if TYPE_CHECKING:
    from service.validate.shapes import Member, Shape

# What is said of every resource, and of single types, beyond their elements and invariants.
ANY_RESOURCE: Final[tuple[Rule, ...]] = (
    contained.contained,
    narrative.links,
    canonical.canonical,
    conformance.claimed,
)
RESOURCES: Final[dict[str, tuple[Rule, ...]]] = {
    "Bundle": (bundles.bundle,),
    "CodeSystem": (canonical.code_system,),
    "ConceptMap": (canonical.concept_map,),
    "Observation": (vital_signs.vital_signs,),
    "Questionnaire": (questionnaires.questionnaire,),
    "ValueSet": (canonical.value_set,),
}

# A longer name is no slip of the pen, and looking for its like costs more than it helps.
LONGEST_NAME: Final = 60


def walk(run: Run, value: Json, at: Place, shape: Shape) -> None:
    """An object against the shape of its type."""
    if type(value) is not dict:
        run.add(at, "val-type", f"Expected an object of type {shape.type_name}, got {kind_of(value)}.")
        return
    members = shape.members
    for name, item in value.items():
        member = members.get(name)
        if member is None:
            _unknown(run, name, at, shape)
        elif member.is_list or item is None:
            _items(run, value, name, item, at, member)
        else:
            if member.format is not None:
                wrong = member.format(item)
                if wrong is not None:
                    _misformed(run, wrong, item, (at, name, None))
            if member.rules:
                place = (at, name, None)
                for rule in member.rules:
                    rule(run, item, place)
    _whole(run, value, at, shape)
    for rule in shape.rules:
        rule(run, value, at)
    if shape.invariants:
        _hold(run, value, at, shape)


def _whole(run: Run, value: dict[str, Any], at: Place, shape: Shape) -> None:
    """What is missing in an object, and what stands there twice in different forms."""
    for element, names in shape.required:
        if names.isdisjoint(value):
            run.add(at, "val-min", f"{_of(shape)} must have {element}.")
    for element, forms in shape.choices:
        given = {forms[name] for name in value if name in forms}
        if len(given) > 1:
            run.add(at, "val-choice", f"{element} is given in {len(given)} forms: {', '.join(sorted(given))}.")
    for twin, name, url in shape.coded:
        if twin in value and _lacks_code(value.get(name), value[twin]):
            run.add((at, twin, None), "val-binding", f"There is no code: one of {url} is required.")
    if shape.is_element and (not value or (len(value) == 1 and "id" in value)):
        _hollow(run, value, at)


def _lacks_code(codes: Json, siblings: Json) -> bool:
    """Whether an element that must have a code has extensions alone, in one of its items at least."""
    if not isinstance(siblings, list):
        return codes is None
    codes = codes if isinstance(codes, list) else []
    return any(each is not None and (index >= len(codes) or codes[index] is None) for index, each in enumerate(siblings))


def _hold(run: Run, value: dict[str, Any], at: Place, shape: Shape) -> None:
    node = run.scope.node if value is run.scope.resource else Node(value, None, shape.info)
    context = run.context()
    for invariant in shape.invariants:
        invariant.check(run, node, context, at)


def _items(run: Run, value: dict[str, Any], name: str, item: Json, at: Place, member: Member) -> None:
    """The items of a list, one by one; and everything that should have been a list, or should not."""
    if item is None:
        run.add((at, name, None), "val-null", f"{name} is null.")
        return
    if type(item) is not list:
        run.add((at, name, None), "val-list", f"{name} repeats: expected a list, got {kind_of(item)}.")
    elif not item:
        # Of a sibling that is empty nothing is lost, and the Java validators pass it.
        severity: Severity = "warning" if name.startswith("_") else "error"
        run.add((at, name, None), "val-empty", f"{name} is an empty list.", severity=severity)
    for index, each in enumerate(item if type(item) is list else ()):
        place = (at, name, index)
        if each is None:
            if not _has_twin(value, name, index):
                run.add(place, "val-null", f"An item of {name} is null.")
            continue
        wrong = member.format(each) if member.format is not None else None
        if wrong is not None:
            _misformed(run, wrong, each, place)
        for rule in member.rules:
            rule(run, each, place)


def _misformed(run: Run, wrong: str, value: Json, at: Place) -> None:
    got = "" if isinstance(value, str) and "JSON" not in wrong else f", got {kind_of(value)}"
    run.add(at, "val-format", f"{wrong[0].upper()}{wrong[1:]}{got}.")


def _has_twin(value: dict[str, Any], name: str, index: int) -> bool:
    """Whether the other one of name and _name holds an item in this place: http://hl7.org/fhir/R4/json.html#primitive"""
    twin = value.get(name[1:] if name.startswith("_") else "_" + name)
    return isinstance(twin, list) and index < len(twin) and twin[index] is not None


def _unknown(run: Run, name: str, at: Place, shape: Shape) -> None:
    run.add((at, name, None), "val-unknown-element", f"{_of(shape)} has no such element.{_hint(name, shape.members)}")


def _hint(name: str, known: Iterable[str]) -> str:
    """The known name that is most like another, if one is."""
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.6) if len(name) <= LONGEST_NAME else []
    return f" Did you mean {near[0]}?" if near else ""


def _hollow(run: Run, value: dict[str, Any], at: Place) -> None:
    """An object that says nothing. The sibling of a primitive may hold an id alone where the value stands beside it."""
    if not value:
        run.add(at, "val-ele-1", "The object is empty.")
    elif at is None or not at[1].startswith("_"):
        # Neither Java validator minds an id alone on most types, though ele-1 does.
        run.add(at, "val-ele-1", "The object has an id and nothing else.", severity="warning")
    elif not _value_beside(run, at):
        run.add(at, "val-ele-1", "There is an id, and no value that it could be the id of.")


def _value_beside(run: Run, at: tuple[Place, str, int | None]) -> bool:
    """Whether the primitive whose sibling stands here has a value."""
    above, name, index = at
    value: Json = run.scope.resource
    for step in steps((above, name.removeprefix("_"), index))[len(steps(run.scope.at)) :]:
        value = below(value, step)
    return value is not None


def walk_resource(run: Run, value: Json, at: Place) -> None:
    """A resource in its place: the text's own, contained, or in an entry."""
    if type(value) is not dict:
        run.add(at, "val-type", f"Expected a resource, got {kind_of(value)}.")
        return
    name = value.get("resourceType")
    shape = run.book.resource_shape(name) if isinstance(name, str) else None
    if shape is None:
        _no_type(run, name, at)
        return
    with run.inside(scope_of(run.scope, value, at)) as scope:
        walk(run, value, at, shape)
        for rule in (*ANY_RESOURCE, *RESOURCES.get(str(name), ())):
            rule(run, value, at)
    # What it kept leads back to it: cleared, it is gone at once, and no collector has to search the whole heap for it.
    scope.caches.clear()


def _no_type(run: Run, name: Json, at: Place) -> None:
    if isinstance(name, str):
        text = f"resourceType names no resource of FHIR R4.{_hint(name, run.book.resource_types())}"
        run.add((at, "resourceType", None), "val-resource-type", text)
    else:
        run.add(at, "val-resource-type", "The resource has no resourceType.")


def _of(shape: Shape) -> str:
    return f"{shape.type_name}.{shape.path}" if shape.path else shape.type_name


def kind_of(value: Json) -> str:
    """What a JSON value is, without the value."""
    if value is None:
        return "null"
    kinds = {dict: "an object", list: "a list", str: "a string", bool: "a boolean"}
    return kinds.get(type(value), "a number")
