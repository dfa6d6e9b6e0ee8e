"""Two resources, or two cases, element by element: what was added, removed and changed between them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

Kind = Literal["added", "removed", "changed"]


@dataclass(frozen=True, slots=True)
class Difference:
    """`place` leads from the root, as "valueQuantity.value" or "note[1]". The values are a patient's: shown only when asked."""

    kind: Kind
    place: str
    before: Any = field(default=None, repr=False)
    after: Any = field(default=None, repr=False)


def differences(before: Any, after: Any, place: str = "") -> Iterator[Difference]:
    """The smallest differing elements. Values are equal where their JSON is: 1.50 differs from 1.5, and true from 1."""
    if isinstance(before, dict) and isinstance(after, dict):
        for name in [*before, *(name for name in after if name not in before)]:
            yield from _member(before, after, name, f"{place}.{name}" if place else str(name))
    elif isinstance(before, list) and isinstance(after, list):
        one, other = dict(enumerate(before)), dict(enumerate(after))
        for index in range(max(len(before), len(after))):
            yield from _member(one, other, index, f"{place}[{index}]")
    elif type(before) is not type(after) or str(before) != str(after):
        yield Difference("changed", place, before, after)


def _member(before: dict[Any, Any], after: dict[Any, Any], key: Any, place: str) -> Iterator[Difference]:
    if key not in after:
        yield Difference("removed", place, before[key])
    elif key not in before:
        yield Difference("added", place, after=after[key])
    else:
        yield from differences(before[key], after[key], place)
