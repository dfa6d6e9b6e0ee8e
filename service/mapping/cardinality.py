"""How often: what must be there, what may be there once, and what repeats, by the definitions of R4."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from service.fhir.definitions import Definitions
from service.issues import Issue, Origin
from service.mapping.source import problem
from service.mapping.spec import FieldRef, RowFile, Spec
from service.mapping.tree import Node


def misfits(file: RowFile, root: Node, spec: Spec, definitions: Definitions) -> Iterator[Issue]:
    """Every required element that could be missing, and every value that is one too many."""
    yield from _Cardinality(file, spec, definitions).group(root)


@dataclass(frozen=True)
class _Cardinality:
    file: RowFile
    spec: Spec
    definitions: Definitions

    def group(self, node: Node, *, repeats: bool = False) -> Iterator[Issue]:
        """`repeats`: this group, or one around it, is an element that repeats."""
        yield from self._required(node)
        yield from self._siblings(node)
        for child in node.children:
            if child.children:
                yield from self.group(child, repeats=repeats or child.element.is_list)
            elif child.row and child.row.fields and child.row.fields[0].many and not (repeats or child.element.is_list):
                text = f"{child.path} does not repeat, but the field is a list"
                yield _wrong(child.origin, "mapping-cardinality", text, "take the [] away, or write to an element that repeats")

    def _siblings(self, node: Node) -> Iterator[Issue]:
        by_choice: dict[str, list[Node]] = {}
        for child in node.children:
            by_choice.setdefault(child.declared, []).append(child)
        for same in by_choice.values():
            first, *more = same
            for other in more:
                if first.name == other.name and not first.element.is_list:
                    yield _wrong(
                        other.first_origin, "mapping-cardinality", f"{other.path} holds one value only", "remove a slice"
                    )
                elif first.name != other.name and (not first.triggers() or not other.triggers()):
                    yield _wrong(
                        other.first_origin,
                        "mapping-choice",
                        f"{first.name} and {other.name} are one choice element",
                        "keep one",
                    )

    def _required(self, node: Node) -> Iterator[Issue]:
        for element in self.definitions.children(str(self.file.resource), node.path):
            if element.min == 0:
                continue
            here = [child for child in node.children if child.declared == element.name]
            if not any(self._always(child, node) for child in here):
                where = f"{self.file.resource}.{element.path}" if node.path else f"{self.file.resource}.{element.name}"
                fix = "mark its field as required with '!'" if here else f"add a row or a constant for {element.name}"
                yield _wrong(
                    here[0].first_origin if here else self._origin(node), "mapping-required", f"{where} must have a value", fix
                )

    def _always(self, child: Node, group: Node) -> bool:
        """Whether the child has a value whenever its group is written."""
        if child.children:
            inside = list(child.leaves())
            return not any(leaf.row for leaf in inside) or any(self._always(leaf, group) for leaf in inside if leaf.row)
        row, is_root = child.row, not group.path
        if row is None or row.link or row.unknown:
            return True
        own = row.fields[0]
        if row.derived:
            return self._derived_always(child, own)
        if own.required and not (is_root and own.many and own.path != own.many):
            return True
        others = {ref.name for ref in group.triggers() if ref.name != own.name}
        return not is_root and all(own.name in self.file.requires.get(name, ()) for name in others)  # type: ignore[call-overload]

    def _derived_always(self, child: Node, ref: FieldRef) -> bool:
        """Whether the field that a derived row repeats is always there, and its table has all the terms of that field."""
        home = self.file.section.rpartition(".")[0] if ref.up else self.file.section
        rows = [row for one in self.spec.files if one.section == home for row in one.rows if not row.derived]
        for row in rows:
            if any(other.path == ref.path and other.required and not other.up for other in row.fields):
                ours = child.bound.table if child.bound else None
                theirs = self.spec.tables.get(row.use.arguments[0]) if row.use and row.use.arguments else None
                return ours is None or theirs is None or theirs.terms.keys() <= ours.terms.keys()
        return False

    def _origin(self, group: Node) -> Origin:
        """Where the first row of a group stands; of the resource itself, where its name stands."""
        return group.first_origin if group.path else self.file.resource.origin


def _wrong(origin: Origin, rule: str, text: str, fix: str) -> Issue:
    return problem(rule, text, fix, origin)
