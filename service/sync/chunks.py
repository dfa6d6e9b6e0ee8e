"""Splitting a push for servers that take only so many entries at once: every part refers only to itself or to earlier parts."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final

from service.errors import ServerRefused

# HAPI's check for equal conditions in one bundle is quadratic: beyond this a bundle costs more than two.
MOST_ENTRIES: Final = 500
# As HAPI and Microsoft's server word it: "maximum permitted transaction bundle size of 50", "exceeded configured limit of 500".
_NAMED: Final = re.compile(r"(?:bundle|entries)[^.]*?(?:limit|size|maximum) of (\d{1,6})\b", re.IGNORECASE)


class Inseparable(ValueError):
    """A set of resources that refer to one another in a circle is larger than a part may be; `size` is its number."""

    def __init__(self, size: int) -> None:
        super().__init__(f"{size} resources refer to one another in a circle")
        self.size = size


def chunks(names: Sequence[str], references: Mapping[str, Collection[str]], most: int) -> list[list[str]]:
    """`names` in parts of at most `most`; references to what is not among them count as satisfied.

    A part is filled in the order of `names`, after all that it refers to. Raises Inseparable where a circle does not fit.
    """
    if len(names) <= most:
        return [list(names)]
    parts: list[list[str]] = [[]]
    for circle in circles(names, references):
        if len(circle) > most:
            raise Inseparable(len(circle))
        if len(parts[-1]) + len(circle) > most:
            parts.append([])
        parts[-1] += circle
    return parts


def named_limit(refusal: ServerRefused) -> int | None:
    """The number of entries that a refusal names as its limit."""
    issues = (refusal.outcome or {}).get("issue")
    words = [str(one.get("diagnostics", "")) for one in issues if isinstance(one, dict)] if isinstance(issues, list) else []
    said = _NAMED.search(" ".join(words))
    return int(said[1]) if said else None


def after_refusal(refusal: ServerRefused, sent: int) -> int | None:
    """How many entries to try next where a server refused `sent` of them: as many as it names, else half.

    None where it was not their number that it refused.
    """
    named = named_limit(refusal)
    if refusal.status != 413 and named is None:
        return None
    return named if named is not None and named < sent else sent // 2


def circles(names: Sequence[str], references: Mapping[str, Collection[str]]) -> Iterator[list[str]]:
    """The strongly connected components, each after those that it refers to (Tarjan's algorithm, without recursion)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    on_stack: set[str] = set()
    order = {name: position for position, name in enumerate(names)}
    for root in names:
        if root in index:
            continue
        work = [(root, _targets(root, references, order))]
        _open(root, index, low, stack, on_stack)
        while work:
            name, targets = work[-1]
            for target in targets:
                if target not in index:
                    _open(target, index, low, stack, on_stack)
                    work.append((target, _targets(target, references, order)))
                    break
                if target in on_stack:
                    low[name] = min(low[name], index[target])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[name])
                if low[name] == index[name]:
                    yield _close(name, stack, on_stack, order)


def _targets(name: str, references: Mapping[str, Collection[str]], order: Mapping[str, int]) -> Iterator[str]:
    return iter(sorted((one for one in references.get(name, ()) if one in order), key=order.__getitem__))


def _open(name: str, index: dict[str, int], low: dict[str, int], stack: list[str], on_stack: set[str]) -> None:
    index[name] = low[name] = len(index)
    stack.append(name)
    on_stack.add(name)


def _close(name: str, stack: list[str], on_stack: set[str], order: Mapping[str, int]) -> list[str]:
    found: list[str] = []
    while not found or found[-1] != name:
        found.append(stack.pop())
    on_stack.difference_update(found)
    return sorted(found, key=order.__getitem__)
