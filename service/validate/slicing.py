"""Slicing: which slice of a profile's element an item of a list belongs to, by the discriminators.

Source: http://hl7.org/fhir/R4/profiling.html#slicing
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from msgspec import UNSET

from service.fhir.json import Json
from service.fhir.structures import Discriminator, ElementDefinition
from service.validate.fhirpath import Node, PathError, PathSyntaxError, compile_path
from service.validate.profiles import Item, ProfileElement
from service.validate.rules import covers, same
from service.validate.run import Run

# Steps of a discriminator's path that are no elements: http://hl7.org/fhir/R4/profiling.html#discriminator
FUNCTIONS: Final = ("resolve()", "$this", "ofType(")

# Whether an item fits a slice as a whole: asked where a profile slices without saying how.
Fits = Callable[[Run, Item, ProfileElement], bool]


def slice_of(run: Run, item: Item, element: ProfileElement, slices: list[ProfileElement], fits: Fits) -> ProfileElement | None:
    """The first of some slices of an element that an item belongs to."""
    if element.is_sliced_by_url:
        url = item.value.get("url") if isinstance(item.value, dict) else None
        return next((each for each in slices if url in each.urls), None) if isinstance(url, str) else None
    by = element.slicing.discriminator if element.slicing else ()
    for each in slices:
        # Without a discriminator nothing tells slices apart but that they fit.
        if _belongs(run, item, by, each) if by else fits(run, item, each):
            return each
    return None


def _belongs(run: Run, item: Item, by: Sequence[Discriminator], slice_: ProfileElement) -> bool:
    """Whether every discriminator of which the slice says anything tells that an item is of it; at least one does."""
    told = [_discriminates(run, item, each, slice_) for each in by]
    return True in told and False not in told


def _discriminates(run: Run, item: Item, by: Discriminator, slice_: ProfileElement) -> bool | None:
    """Whether an item is of a slice by one discriminator; None where the slice says nothing at the end of its path."""
    steps = [step for step in _steps(by.path) if not step.startswith(FUNCTIONS)]
    targets = list(_targets(run, item, by.path))
    told = list(_told(run, slice_, steps))
    if by.type == "exists":
        return _exists(told, targets)
    if by.type == "type":
        return any(_is_of(target, told) for target in targets)
    if by.type == "profile":
        return any(_meets_profile(run, target, told) for target in targets)
    told = [each for each in told if isinstance(each, _Expected) or _is_telling(each)]
    return any(_has_value(run, target, each) for each in told for target in targets) if told else None


def _is_telling(told: ElementDefinition) -> bool:
    """Whether an element has what a value can be compared with."""
    is_bound = told.binding is not None and told.binding.strength == "required"
    return told.fixed is not UNSET or told.pattern is not UNSET or is_bound


def _steps(path: str) -> list[str]:
    return [step for step in path.split(".") if step and step != "$this"]


def _targets(run: Run, item: Item, path: str) -> Iterator[Node]:
    """The nodes that a discriminator's path leads to."""
    if path in ("$this", ""):
        yield item.node
        return
    try:
        for each in compile_path(path).evaluate(item.node, run.context()):
            if isinstance(each, Node):
                yield each
    except (PathSyntaxError, PathError):
        return


# What a slice says at the end of a path: a definition, or a part of a pattern above it.
Told = Any


def _told(run: Run, slice_: ProfileElement, steps: list[str]) -> Iterator[Told]:
    """The element of the slice at the end of the path; or what a fixed value or pattern on the way has there."""
    if not steps:
        yield slice_.definition
        return
    own = slice_.definition
    for value in (own.fixed, own.pattern):
        if value is not UNSET:
            yield from (_Expected(each) for each in _dig(value, steps))
            return
    child = slice_.child(steps[0])
    if child is not None:
        for each in (child, *child.slices):
            yield from _told(run, each, steps[1:])
        return
    for type_ in own.type:
        for url in type_.profile:
            tree = run.book.tree(url)
            if tree is not None:
                yield from _told(run, tree, steps)


class _Expected:
    """A value that a pattern has at a place below its own."""

    def __init__(self, value: Json) -> None:
        self.value = value


def _dig(value: Json, steps: list[str]) -> Iterator[Json]:
    if isinstance(value, list):
        for each in value:
            yield from _dig(each, steps)
    elif not steps:
        yield value
    elif isinstance(value, dict) and steps[0] in value:
        yield from _dig(value[steps[0]], steps[1:])


def _has_value(run: Run, target: Node, told: Told) -> bool:
    if isinstance(told, _Expected):
        return covers(target.value, told.value)
    if told.fixed is not UNSET:
        return same(target.value, told.fixed)
    if told.pattern is not UNSET:
        return covers(target.value, told.pattern)
    if told.binding is not None and told.binding.strength == "required":
        return run.book.is_bound(told.binding.value_set, target)
    return False


def _exists(told: list[Told], targets: list[Node]) -> bool:
    element = next((each for each in told if not isinstance(each, _Expected)), None)
    if element is not None and element.max == "0":
        return not targets
    return bool(targets) if told and (element is None or element.min) else not told


def _is_of(target: Node, told: list[Told]) -> bool:
    codes = {type_.code for each in told if not isinstance(each, _Expected) for type_ in each.type}
    profiles = [url for each in told if not isinstance(each, _Expected) for type_ in each.type for url in type_.target_profile]
    names = set(target.type.names)
    return bool(names & codes) or any(url.rpartition("/")[2] in names for url in profiles)


def _meets_profile(run: Run, target: Node, told: list[Told]) -> bool:
    types = [type_ for each in told if not isinstance(each, _Expected) for type_ in each.type]
    urls = [url for type_ in types for url in (*type_.profile, *type_.target_profile)]
    return any(run.book.node_meets(run, target, url) for url in urls)
