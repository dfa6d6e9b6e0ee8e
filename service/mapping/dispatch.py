"""Which row file a resource belongs to on the way back: by its constants and by the code tables of its required rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from service.issues import Issue
from service.mapping.source import problem
from service.mapping.tree import IDENTITY, MISSING, Node, Plan
from service.terminology.tables import CodeTable

Keys = frozenset[str]


def signature(plan: Plan) -> dict[str, Keys]:
    """What every resource of this row file has at its top: property → the only values that it may have.

    A concept counts by its text, which is the term; several slices of one list, and optional rows, prove nothing.
    """
    names = [child.name for child in plan.root.children]
    found = {}
    for child in plan.root.children:
        if names.count(child.name) == 1 and (keys := _keys(child)):
            found[child.name] = keys
    return found


def _keys(node: Node) -> Keys:
    if node.constant is not MISSING and node.constant != IDENTITY:
        return frozenset([key_of(node.constant)])
    row, bound = node.row, node.bound
    if (
        row
        and bound
        and bound.table
        and bound.types[0] in ("CodeableConcept", "code")
        and row.fields[0].required
        and not row.derived
    ):
        return _table_keys(bound.table, is_code=bound.types == ("code",))
    return frozenset()


def _table_keys(table: CodeTable, *, is_code: bool) -> Keys:
    if is_code:
        return frozenset(coding.code for term in table.terms.values() for coding in term.codings[:1])
    return frozenset(table.terms)


def key_of(value: Any) -> str:
    """A primitive as text; a concept as its text; the first of a list."""
    if isinstance(value, list):
        value = value[0] if value else None
    if isinstance(value, dict):
        return str(value.get("text", ""))
    return str(value)


def overlaps(plans: Sequence[Plan]) -> Iterator[Issue]:
    """An error for each two row files that one resource could match."""
    signatures = [(plan, signature(plan)) for plan in plans]
    for position, (one, ours) in enumerate(signatures):
        for other, theirs in signatures[position + 1 :]:
            if one.resource != other.resource:
                continue
            shared = ours.keys() & theirs.keys()
            if all(ours[name] & theirs[name] for name in shared):
                text = f"a {one.resource} could be read by '{one.file.name}' and by '{other.file.name}'"
                common = sorted({key for name in shared for key in ours[name] & theirs[name]})[:3]
                fix = "give one a constant (category, code) or terms that the other does not have"
                yield problem(
                    "mapping-overlap", text + (f": both have {', '.join(common)}" if common else ""), fix, other.file.origin
                )


class Dispatcher:
    """Finds the plan of a resource with one look-up in the property that tells most plans of its type apart."""

    def __init__(self, plans: Sequence[Plan]) -> None:
        self._by_type: dict[str, tuple[str, Mapping[str, list[Plan]]]] = {}
        self._signatures = {plan.section: signature(plan) for plan in plans}
        self._plans: dict[str, list[Plan]] = {}
        for plan in plans:
            self._plans.setdefault(plan.resource, []).append(plan)
        for kind, same in self._plans.items():
            self._by_type[kind] = self._index(same)

    def _index(self, plans: list[Plan]) -> tuple[str, Mapping[str, list[Plan]]]:
        names = sorted({name for plan in plans for name in self._signatures[plan.section]})
        indexes = [(name, self._split(name, plans)) for name in names]
        usable = [(name, index) for name, index in indexes if index is not None]
        return min(usable, key=lambda pair: (max(map(len, pair[1].values())), pair[0]), default=("", {}))

    def _split(self, name: str, plans: list[Plan]) -> dict[str, list[Plan]] | None:
        index: dict[str, list[Plan]] = {}
        for plan in plans:
            keys = self._signatures[plan.section].get(name)
            if keys is None:
                return None
            for key in keys:
                index.setdefault(key, []).append(plan)
        return index

    def find(self, resource: Mapping[str, Any]) -> Plan | None:
        """The one plan whose signature the resource has, None where there is none."""
        kind = str(resource.get("resourceType", ""))
        plans = self._plans.get(kind, ())
        name, index = self._by_type.get(kind, ("", {}))
        found = index.get(key_of(resource.get(name)), ()) if name else plans
        if name and len(found) == 1:
            # Another constant that differs is then told as that element, which says more than "no row file writes this".
            return found[0]
        fitting = [plan for plan in found if self._fits(plan, resource)]
        return fitting[0] if len(fitting) == 1 else None

    def _fits(self, plan: Plan, resource: Mapping[str, Any]) -> bool:
        return all(key_of(resource.get(name)) in keys for name, keys in self._signatures[plan.section].items())
