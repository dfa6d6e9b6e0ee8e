"""Profiles at work: a resource or value against the tree of a profile, its lists told apart into slices.

Source: http://hl7.org/fhir/R4/profiling.html
"""

from __future__ import annotations

from service.validate.profiles import Item, ProfileElement
from service.validate.run import Run, scope_of
from service.validate.slicing import slice_of


def check_item(run: Run, item: Item, element: ProfileElement) -> None:
    """A resource or value against all that the tree of a profile, or an element or slice in it, says."""
    if element.types is not None and not _is_of(run, item.code, element.types):
        allowed = " or ".join(sorted(element.types))
        run.add(item.at, "val-type-narrowed", f"{element.url} leaves {allowed} as type of {element.name}, got {item.code}.")
        return
    if item.value is not None:
        rules = element.rules.get(item.code)
        if rules is None and item.is_resource:
            rules = element.rules.get("Resource")
        for rule in rules or ():
            rule(run, item.value, item.at)
    for invariant in element.invariants:
        invariant.check(run, item.node, run.context(), item.at)
    if not element.children:
        return
    if item.at is not None and item.is_resource and item.at != run.scope.at:
        with run.inside(scope_of(run.scope, item.value, item.at)):
            _check_children(run, item, element)
    else:
        _check_children(run, item, element)


def _is_of(run: Run, code: str, types: frozenset[str]) -> bool:
    return code in types or any(run.book.is_a(code, each) for each in types)


def _check_children(run: Run, item: Item, element: ProfileElement) -> None:
    for child in element.children:
        _check_child(run, item, child)


def _check_child(run: Run, parent: Item, element: ProfileElement) -> None:
    items = element.items(parent)
    _count(run, parent, element, len(items), element.name)
    for item in items:
        check_item(run, item, element)
    if element.slicing is not None:
        _check_slices(run, parent, element, items)
    if element.definition.must_support and not items:
        run.must_support(parent.at, element.url, element.definition.id)


def _count(run: Run, parent: Item, element: ProfileElement, found: int, what: str) -> None:
    if element.least is not None and found < element.least:
        run.add(parent.at, "val-min", f"Expected at least {element.least} of {what}, got {found} ({element.url}).")
    if element.most is not None and found > element.most:
        most = f"at most {element.most}" if element.most else "none"
        run.add(parent.at, "val-max", f"Expected {most} of {what}, got {found} ({element.url}).")


def _check_slices(run: Run, parent: Item, element: ProfileElement, items: list[Item]) -> None:
    slicing = element.slicing
    assert slicing is not None
    found: dict[str, list[Item]] = {each.slice_name: [] for each in element.slices}
    order = list(found)
    last, is_past_slices = 0, False
    for item in items:
        slice_ = slice_of(run, item, element, element.slices, _fits)
        if slice_ is None:
            is_past_slices = True
            if slicing.rules == "closed":
                text = f"This item is of none of the slices that {element.url} closes {element.name} to."
                run.add(item.at, "val-slice-closed", text)
            continue
        found[slice_.slice_name].append(item)
        if slicing.ordered or slicing.rules == "openAtEnd":
            index = order.index(slice_.slice_name)
            if (slicing.ordered and index < last) or (slicing.rules == "openAtEnd" and is_past_slices):
                run.add(item.at, "val-slice-order", f"{slice_.slice_name} stands too late ({element.url}).")
            last = max(last, index)
    for each in element.slices:
        _check_slice(run, parent, each, found[each.slice_name])


def _check_slice(run: Run, parent: Item, slice_: ProfileElement, items: list[Item]) -> None:
    """A slice's items: how many there are, each of them, and the slices that the slice itself has."""
    _count(run, parent, slice_, len(items), f"{slice_.name}:{slice_.slice_name}")
    for item in items:
        check_item(run, item, slice_)
    if slice_.slicing is not None:
        _check_slices(run, parent, slice_, items)


def _fits(run: Run, item: Item, slice_: ProfileElement) -> bool:
    return run.meets(lambda trial: check_item(trial, item, slice_))
