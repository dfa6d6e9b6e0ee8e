"""The shapes an expression is made of, as the parser gives them: a tree, made once and only read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeAlias


class Literal(NamedTuple):
    """A constant: its one item, or none for `{}`."""

    items: tuple[Any, ...]


class This(NamedTuple):
    """`$this`, said or meant: what a path begins at."""


class Special(NamedTuple):
    """`$index` or `$total`."""

    name: str


class Variable(NamedTuple):
    """`%name`."""

    name: str


class Member(NamedTuple):
    """`target.name`. At the head of a path, where `name` may be a type as well, the target is This."""

    target: Expr
    name: str
    is_head: bool


class Call(NamedTuple):
    """`target.name(arguments)`; `position` is where the name stands in the text."""

    target: Expr
    name: str
    arguments: tuple[Expr, ...]
    position: int


class Index(NamedTuple):
    """`target[position]`."""

    target: Expr
    position: Expr


class Polarity(NamedTuple):
    """`-operand` or `+operand`."""

    sign: str
    operand: Expr


class Binary(NamedTuple):
    """`left operator right`."""

    operator: str
    left: Expr
    right: Expr


class Chain(NamedTuple):
    """`a or b or c`: several operands of one associative operator (and, or, |), however many, on one level."""

    operator: str
    operands: tuple[Expr, ...]


class TypeName(NamedTuple):
    """`FHIR.Patient`; `namespace` is "" where none is given, `position` where the name stands in the text."""

    namespace: str
    name: str
    position: int


class TypeTest(NamedTuple):
    """`operand is type` or `operand as type`."""

    operator: str
    operand: Expr
    type: TypeName


class Once(NamedTuple):
    """An expression that has the same result for every item of a loop around it."""

    operand: Expr


Expr: TypeAlias = Literal | This | Special | Variable | Member | Call | Index | Polarity | Binary | Chain | TypeTest | Once
_SHAPES = Expr.__args__


def parts(expr: Expr) -> Iterator[Expr]:
    """The expressions directly inside one."""
    if isinstance(expr, Literal):
        return
    for field in expr:
        if isinstance(field, _SHAPES):
            yield field
        elif type(field) is tuple:
            yield from field


def walk(expr: Expr) -> Iterator[Expr]:
    """An expression and all inside it."""
    yield expr
    for part in parts(expr):
        yield from walk(part)


def map_parts(change: Callable[[Expr], Expr], expr: Expr) -> Expr:
    """The expression with each one directly inside it changed."""
    if isinstance(expr, Literal):
        return expr
    shape: Any = type(expr)
    changed: Expr = shape(
        *(
            change(field) if isinstance(field, _SHAPES) else tuple(map(change, field)) if type(field) is tuple else field
            for field in expr
        )
    )
    return changed
