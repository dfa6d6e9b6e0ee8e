"""What an evaluation may know beyond its node: the caller's Context, and the state that the engine itself keeps."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Hashable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final, TypeAlias

import msgspec

from service.validate.fhirpath.model import Items, Node


class Context(msgspec.Struct):
    """What surrounds a node: the resource it is in (%resource), the outermost one (%rootResource), and the caller's answers.

    `resolve` gives the target of a reference, `member_of` whether (value set, system, code) is a member, `conforms_to`
    whether a node meets a profile: None from any of them means that it cannot tell. `variables` are further %names, each an
    item or a list of items. `trace` is told what trace() meets. All but the first two may be missing.
    """

    resource: Node
    root: Node
    resolve: Callable[[str, Context], Node | None] | None = None
    member_of: Callable[[str, str | None, str], bool | None] | None = None
    conforms_to: Callable[[Node, str], bool | None] | None = None
    variables: Mapping[str, Any] = {}
    trace: Callable[[str, Items], None] | None = None


# Shared, for most evaluations have none, and making an Env is a good part of a short one.
_NO_VARIABLES: Final[Mapping[str, Items]] = MappingProxyType({})


class Env(msgspec.Struct, gc=False):
    """The state of one evaluation: $index, $total and %variables as they stand, and what need not be found twice."""

    context: Context
    node: Node
    strict: bool = False
    index: int = 0
    total: Items | None = None
    variables: Mapping[str, Items] = _NO_VARIABLES
    kept: dict[Hashable, Any] = {}
    moment: datetime.datetime | None = None

    def now(self) -> datetime.datetime:
        """The time of the evaluation: the same all through it, with the local offset."""
        if self.moment is None:
            self.moment = datetime.datetime.now(datetime.UTC).astimezone()
        return self.moment


# What expressions compile to: an evaluation of `this` (the items a path begins at), to items or to true, false or open.
PathFn: TypeAlias = Callable[[Items, Env], Items]
TestFn: TypeAlias = Callable[[Items, Env], bool | None]


def as_items(value: Any) -> Items:
    """The items of a variable that a caller gave."""
    return list(value) if isinstance(value, Iterable) and not isinstance(value, str | dict | Mapping) else [value]
