"""What the compiler has to know of a function: how it is run, on which arguments, and what it gives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, TypeAlias

# How an argument comes: evaluated ("value": items); as a function of items and Env that the callee runs ("path" gives
# items, "test" True, False or None); as such a path with whether it sorts downwards ("key"); as a TypeName ("type").
Kind: TypeAlias = Literal["value", "path", "test", "key", "type"]


class Function(NamedTuple):
    """`run(items, *arguments)`, or with the Env after the items where it `needs_env`.

    It gives items or, where it `is_test`, True, False or None. `loops`: its paths and tests run for one item after the
    other, so that `$index` means something in them. `repeats`: any number of arguments of the last kind.
    """

    run: Callable[..., Any]
    takes: tuple[Kind, ...]
    least: int
    is_test: bool = False
    needs_env: bool = False
    loops: bool = False
    repeats: bool = False

    def kind(self, position: int) -> Kind:
        return self.takes[min(position, len(self.takes) - 1)]

    def accepts(self, count: int) -> bool:
        return self.least <= count and (count <= len(self.takes) or self.repeats)


def gives_items(run: Callable[..., Any], *takes: Kind, least: int | None = None, needs_env: bool = False) -> Function:
    return Function(run, takes, len(takes) if least is None else least, needs_env=needs_env)


def gives_truth(run: Callable[..., Any], *takes: Kind, least: int | None = None, needs_env: bool = False) -> Function:
    return Function(run, takes, len(takes) if least is None else least, is_test=True, needs_env=needs_env)


def loop(run: Callable[..., Any], *takes: Kind, least: int | None = None, is_test: bool = False) -> Function:
    return Function(run, takes, len(takes) if least is None else least, is_test=is_test, needs_env=True, loops=True)
