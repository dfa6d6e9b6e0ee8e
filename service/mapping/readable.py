"""Checks that what a row file writes can be read back: what FHIR would allow and the way back could not tell apart.

R4 itself is held against the rows in tree.py; here stand the rules of the language, one function for each.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

from service.issues import Issue, Origin
from service.mapping.dispatch import key_of
from service.mapping.emit import clusters
from service.mapping.source import problem
from service.mapping.spec import FieldRef, Row
from service.mapping.tree import IDENTITY, MISSING, Node


def unreadable(root: Node) -> Iterator[Issue]:
    """Everything in the tree of a row file that could not be read back as it was written."""
    for leaf in root.leaves():
        if leaf.row and leaf.bound and not leaf.row.derived:
            yield from _fields(leaf, leaf.row)
    yield from _group(root, None)
    yield from _one_home_for_each_list(root)


# --- the fields of one row --------------------------------------------------------------------------------------------


def _fields(leaf: Node, row: Row) -> Iterator[Issue]:
    assert leaf.bound is not None
    assert row.use is not None
    own = [ref for ref in row.fields if not ref.up]
    inherited = row.use.converter == "moment" and len(row.fields) == 2
    last = row.fields[-1]
    if inherited and not (last.up and len(last.path) == 1 and not last.many):
        yield _wrong(row.origin, "the second field of a moment is that of the item above", "write when, ../when")
    elif len(own) != len(row.fields) - inherited:
        yield _wrong(row.origin, "../ is no field of this item", "write =../field for a row that only writes")
    elif len({(ref.path[:-1], ref.many) for ref in own}) > 1:
        yield _wrong(row.origin, "the fields of one row stand in different objects", "move them into one object")
    elif (len(own) > 1 and own[0].many) or (leaf.bound.merging and own[0].many):
        yield _wrong(row.origin, f"'{row.use.converter}' cannot take fields of a list", "take the [] away")
    else:
        yield from _optional(row, own, len(leaf.bound.forms) - leaf.bound.optional)


def _optional(row: Row, own: list[FieldRef], firm: int) -> Iterator[Issue]:
    for position, ref in enumerate(own):
        if ref.optional and position < firm:
            what = f"'{ref.name}' cannot be left out of this row"
            yield _wrong(row.origin, what, "take the ? away: a field without ! may be absent anyway, together with its row")


# --- lists and slices -------------------------------------------------------------------------------------------------


def _group(node: Node, looped: FieldRef | None) -> Iterator[Issue]:
    """`looped`: the list whose elements make the slice that we are in."""
    for same in clusters(node):
        if same[0].element.is_list:
            yield from _slices(same)
        for child in same:
            many = looped or next((ref for ref in child.triggers() if ref.many), None)
            if child.element.is_list and child.children and many and not looped:
                yield from _loop(child, many)
            if child.children:
                yield from _group(child, many if child.element.is_list else looped)
            elif child.row and child.element.is_list and many and not looped and many.path != many.many:
                what = f"{child.path} takes whole elements of a list"
                yield _wrong(child.origin, what, f"make '{many.many[0]}' a list of plain values: {many.many[0]}[]")


def _slices(same: list[Node]) -> Iterator[Issue]:
    rows = [node for node in same if any(leaf.row and not leaf.row.derived for leaf in node.leaves())]
    if len(same) > 1 and rows and not all(node.children for node in same):
        what = f"the values of {same[0].name} could not be told apart"
        yield _wrong(
            rows[0].first_origin, what, "keep one row or constant, or write to elements below, each slice with a constant"
        )
        return
    for one, other in combinations(same, 2):
        if any(node is one or node is other for node in rows) and not _differ(one, other):
            what = f"{one.label} and {other.label} could not be told apart"
            yield _wrong(other.first_origin, what, "give each a constant, such as a code, with another value")


def _differ(one: Node, other: Node) -> bool:
    ours, theirs = marks(one), marks(other)
    if any(ours[name] != theirs[name] for name in ours.keys() & theirs.keys()):
        return True
    # A slice without constants holds what no other slice claims, unless it could write what the other is known by.
    plain, marked = (one, theirs) if not ours else (other, ours)
    return bool(marked) and not marks(plain) and not any(child.name in marked for child in plain.children)


def _loop(node: Node, many: FieldRef) -> Iterator[Issue]:
    rows = [leaf.row for leaf in node.leaves() if leaf.row and leaf.row.fields and not leaf.row.derived]
    if strangers := [row for row in rows if row.fields[0].many != many.many]:
        what = f"{node.label} is written for each element of '{many.many[0]}'; its rows must all take fields of that list"
        yield _wrong(strangers[0].origin, what, f"write {many.many[0]}[].field")
    elif many.path == many.many and len(rows) > 1:
        what = f"'{many.many[0]}[]' is a list of plain values, which one row can take"
        yield _wrong(node.first_origin, what, f"make it a list of objects: {many.many[0]}[].field")


def _one_home_for_each_list(root: Node) -> Iterator[Issue]:
    homes: dict[tuple[str, ...], Node] = {}
    for node in _list_nodes(root):
        for many in dict.fromkeys(ref.many for ref in node.triggers() if ref.many):
            if homes.setdefault(many, node) is not node:
                what = f"the list '{many[0]}' is written by {homes[many].label} and by {node.label}"
                taking = next(leaf for leaf in node.leaves() if leaf.row and many in (ref.many for ref in leaf.row.fields))
                yield _wrong(taking.origin, what, "use one list for each")


def _list_nodes(node: Node) -> Iterator[Node]:
    """The outermost elements that repeat."""
    for child in node.children:
        if child.element.is_list:
            yield child
        else:
            yield from _list_nodes(child)


def marks(node: Node) -> dict[str, str]:
    """The constants directly in a slice: what tells its entries from those of the other slices."""
    found = {child.name: key_of(child.constant) for child in node.children if child.constant is not MISSING}
    return {name: key for name, key in found.items() if key != IDENTITY}


def _wrong(origin: Origin, text: str, fix: str) -> Issue:
    return problem("mapping-unreadable", text, fix, origin)
