"""What a loop need not evaluate again: expressions inside it that begin at %resource and the like are marked Once.

So `contained.where('#' + id in %resource.descendants().reference)` walks the resource once, whatever the number of turns.
"""

from __future__ import annotations

from service.validate.fhirpath.functions import FUNCTIONS
from service.validate.fhirpath.syntax import Call, Expr, Literal, Once, Special, This, Variable, map_parts, parts, walk


def hoisted(expr: Expr) -> Expr:
    """The expression with Once around each part of a loop's body that is the same for every turn."""
    if any(isinstance(each, Call) and each.name == "defineVariable" for each in walk(expr)):
        return expr
    return _outside(expr)


def _outside(expr: Expr) -> Expr:
    if isinstance(expr, Call) and _loops(expr):
        return expr._replace(target=_outside(expr.target), arguments=tuple(map(_inside, expr.arguments)))
    return map_parts(_outside, expr)


def _inside(expr: Expr) -> Expr:
    if isinstance(expr, Variable | Literal):
        return expr
    return Once(expr) if _is_fixed(expr) else map_parts(_inside, expr)


def _is_fixed(expr: Expr) -> bool:
    """Whether nothing in it depends on the turn: no $this, said or meant, no $index, no $total."""
    if isinstance(expr, This | Special):
        return False
    if isinstance(expr, Call) and (function := FUNCTIONS.get(expr.name)):
        # The other arguments have a $this of their own.
        values = [each for position, each in enumerate(expr.arguments) if function.takes and function.kind(position) == "value"]
        return _is_fixed(expr.target) and all(map(_is_fixed, values)) and not _has_special(expr)
    return all(map(_is_fixed, parts(expr)))


def _has_special(expr: Call) -> bool:
    return any(isinstance(each, Special) for argument in expr.arguments for each in walk(argument))


def _loops(expr: Call) -> bool:
    function = FUNCTIONS.get(expr.name)
    return function is not None and function.loops
