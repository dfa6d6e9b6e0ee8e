"""From a tree to closures: each expression becomes a function of `this` and the Env that gives its items.

Conditions have a second face, a function that gives True, False or None (open), so that logic runs without collections.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any, Final

from service.validate.fhirpath import types
from service.validate.fhirpath.context import Env, PathFn, TestFn, as_items
from service.validate.fhirpath.errors import PathError, PathSyntaxError
from service.validate.fhirpath.functions import FUNCTIONS
from service.validate.fhirpath.functions.table import Function
from service.validate.fhirpath.logic import LOGIC, membership, negation, same_text, same_truth
from service.validate.fhirpath.members import head, member_path
from service.validate.fhirpath.model import NOTHING, Items
from service.validate.fhirpath.operators import COMPARISONS, arithmetic, concatenated, negated
from service.validate.fhirpath.quantity import UCUM_SYSTEM
from service.validate.fhirpath.syntax import (
    Binary,
    Call,
    Chain,
    Expr,
    Index,
    Literal,
    Member,
    Once,
    Polarity,
    Special,
    This,
    TypeName,
    TypeTest,
    Variable,
    walk,
)
from service.validate.fhirpath.values import ITEMS_OF, distinct, integer, number, single, truth

_LOGICAL: Final = ("and", "or", "xor", "implies")
_MEMBERSHIP: Final = ("in", "contains")
_UNKNOWN: Final = object()


def path_of(expr: Expr) -> PathFn:
    """The function that gives the items of an expression. Raises PathSyntaxError for names that do not exist."""
    if is_condition(expr):
        test = test_of(expr)
        return lambda this, env: ITEMS_OF[test(this, env)]
    return _PATHS[type(expr)](expr)


def test_of(expr: Expr) -> TestFn:
    """The function that says whether an expression holds: None where it is empty. Raises as path_of() does."""
    if is_condition(expr):
        return _TESTS[type(expr)](expr)
    path = path_of(expr)
    return lambda this, env: truth(path(this, env))


def is_condition(expr: Expr) -> bool:
    """Whether an expression can only give a boolean or nothing."""
    match expr:
        case Chain(operator) | Binary(operator):
            return operator in _LOGICAL or operator in COMPARISONS or operator in _MEMBERSHIP
        case Call(_, name):
            return name in FUNCTIONS and FUNCTIONS[name].is_test
        case TypeTest(operator):
            return operator == "is"
        case Once(operand):
            return is_condition(operand)
    return False


# Terms and steps ----------------------------------------------------------------------------------------------------


def _literal(expr: Literal) -> PathFn:
    items = list(expr.items)
    return lambda _, __: items


def _this(_: This) -> PathFn:
    return lambda this, _: this


def _special(expr: Special) -> PathFn:
    return (lambda _, env: [env.index]) if expr.name == "$index" else (lambda _, env: env.total or NOTHING)


def _member(expr: Member) -> PathFn:
    if expr.is_head and expr.name[:1].isupper():
        return head(expr.name)
    names: list[str] = []
    target: Expr = expr
    while isinstance(target, Member) and not (target.is_head and target.name[:1].isupper()):
        names.insert(0, target.name)
        target = target.target
    return member_path(None if isinstance(target, This) else path_of(target), tuple(names))


def _index(expr: Index) -> PathFn:
    target, position = path_of(expr.target), _operand(expr.position)

    def run(this: Items, env: Env) -> Items:
        items, place = target(this, env), integer(position(this, env))
        return NOTHING if place is None or place < 0 else items[place : place + 1]

    return run


def _once(expr: Once) -> PathFn:
    return _kept(path_of(expr.operand))


def _kept(run: Callable[[Items, Env], Any]) -> Callable[[Items, Env], Any]:
    def keep(this: Items, env: Env) -> Any:
        found = env.kept.get(run, _UNKNOWN)
        if found is _UNKNOWN:
            found = env.kept[run] = run(this, env)
        return found

    return keep


# Variables ----------------------------------------------------------------------------------------------------------

_CONSTANTS: Final = {"ucum": UCUM_SYSTEM, "sct": "http://snomed.info/sct", "loinc": "http://loinc.org"}
_PREFIXES: Final = {"vs-": "http://hl7.org/fhir/ValueSet/", "ext-": "http://hl7.org/fhir/StructureDefinition/"}
_SURROUNDINGS: Final[dict[str, PathFn]] = {
    "resource": lambda _, env: [env.context.resource],
    "rootResource": lambda _, env: [env.context.root],
    "context": lambda _, env: [env.node],
}


def _variable(expr: Variable) -> PathFn:
    name = expr.name
    if name in _SURROUNDINGS:
        return _SURROUNDINGS[name]
    if name in _CONSTANTS:
        return _literal(Literal((_CONSTANTS[name],)))
    for prefix, url in _PREFIXES.items():
        if name.startswith(prefix):
            return _literal(Literal((url + name.removeprefix(prefix),)))

    def run(_: Items, env: Env) -> Items:
        if name in env.variables:
            return env.variables[name]
        if name not in env.context.variables:
            raise PathError(f"there is no variable %{name}")
        return as_items(env.context.variables[name])

    return run


# Operators ----------------------------------------------------------------------------------------------------------


def _polarity(expr: Polarity) -> PathFn:
    operand = path_of(expr.operand)
    if expr.sign == "-":
        return lambda this, env: negated(operand(this, env))

    def run(this: Items, env: Env) -> Items:
        items = operand(this, env)
        number(items)
        return items

    return run


def _operation(expr: Binary) -> PathFn:
    left, right = _operand(expr.left), _operand(expr.right)
    apply = concatenated if expr.operator == "&" else arithmetic(expr.operator)
    return lambda this, env: apply(left(this, env), right(this, env))


def _union(expr: Chain) -> PathFn:
    operands = [_operand(each) for each in expr.operands]
    if all(isinstance(each, Literal) for each in expr.operands):
        items = distinct([item for each in expr.operands if isinstance(each, Literal) for item in each.items])
        return lambda _, __: items

    def run(this: Items, env: Env) -> Items:
        found: Items = []
        for operand in operands:
            found += operand(this, env)
        return distinct(found)

    return run


def _as(expr: TypeTest) -> PathFn:
    operand, type_name = path_of(expr.operand), types.checked(expr.type)

    def run(this: Items, env: Env) -> Items:
        items = operand(this, env)
        single(items)
        return types.only(items, type_name)

    return run


def _is(expr: TypeTest) -> TestFn:
    operand, type_name = path_of(expr.operand), expr.type

    def run(this: Items, env: Env) -> bool | None:
        item = single(operand(this, env))
        return None if item is None else types.is_of(item, type_name)

    return run


def _logic(expr: Chain) -> TestFn:
    return LOGIC[expr.operator](*(_scoped(test_of(each), each) for each in expr.operands))


def _comparison(expr: Binary) -> TestFn:
    operator = expr.operator
    if operator in _LOGICAL:
        return LOGIC[operator](*(_scoped(test_of(each), each) for each in (expr.left, expr.right)))
    if operator == "=" and is_condition(expr.left) and is_condition(expr.right):
        return same_truth(_scoped(test_of(expr.left), expr.left), _scoped(test_of(expr.right), expr.right))
    left, right = _operand(expr.left), _operand(expr.right)
    if operator in _MEMBERSHIP:
        return membership(left, right) if operator == "in" else membership(right, left)
    match expr:
        case Binary("=", _, Literal((str() as text,))):
            return same_text(left, text)
    compare = COMPARISONS[operator]
    return lambda this, env: compare(left(this, env), right(this, env))


def _operand(expr: Expr) -> PathFn:
    return _scoped(path_of(expr), expr)


def _scoped(run: Callable[[Items, Env], Any], expr: Expr) -> Callable[[Items, Env], Any]:
    """A variable that is defined in an operand or an argument ends with it."""
    if not any(isinstance(each, Call) and each.name == "defineVariable" for each in walk(expr)):
        return run

    def scoped(this: Items, env: Env) -> Any:
        outer = env.variables
        try:
            return run(this, env)
        finally:
            env.variables = outer

    return scoped


# Calls --------------------------------------------------------------------------------------------------------------


def _call(expr: Call) -> Callable[[Items, Env], Any]:
    """What a function gives: items, or a truth where it is a test."""
    function = FUNCTIONS.get(expr.name)
    if function is None:
        raise PathSyntaxError(expr.position, f"there is no function {expr.name}()")
    if not function.accepts(len(expr.arguments)):
        raise PathSyntaxError(expr.position, f"{expr.name}() does not take {len(expr.arguments)} arguments")
    if expr.name == "not" and is_condition(expr.target):
        return negation(test_of(expr.target))
    target = path_of(expr.target)
    prepared = [_argument(function, position, expr) for position in range(len(expr.arguments))]
    if all(function.kind(position) != "value" for position in range(len(prepared))):
        return _call_with_bodies(function, target, prepared, expr)
    return _call_with_values(function, target, prepared)


def _argument(function: Function, position: int, expr: Call) -> Any:
    argument = expr.arguments[position]
    match function.kind(position):
        case "type":
            return _type_name(argument, expr)
        case "test":
            return _scoped(test_of(argument), argument)
        case "key":
            descends = isinstance(argument, Polarity) and argument.sign == "-"
            return path_of(argument.operand if isinstance(argument, Polarity) else argument), descends
    return _scoped(path_of(argument), argument)


def _type_name(argument: Expr, expr: Call) -> TypeName:
    match argument:
        case Member(This(), name, _):
            found = TypeName("", name, expr.position)
        case Member(Member(This(), namespace, _), name, _):
            found = TypeName(namespace, name, expr.position)
        case _:
            raise PathSyntaxError(expr.position, f"{expr.name}() wants the name of a type")
    return found if expr.name == "is" else types.checked(found)


def _call_with_bodies(function: Function, target: PathFn, bodies: list[Any], expr: Call) -> Callable[[Items, Env], Any]:
    run = function.run
    # Half of all invariants are made of these two: a call less for each.
    if expr.name == "empty":
        return lambda this, env: not target(this, env)
    if expr.name == "exists" and not bodies:
        return lambda this, env: bool(target(this, env))
    if not function.needs_env:
        return lambda this, env: run(target(this, env), *bodies)
    if function.loops and any(isinstance(each, Special) for argument in expr.arguments for each in walk(argument)):
        return lambda this, env: run(target(this, env), env, *(_counted(each, env) for each in bodies))
    return lambda this, env: run(target(this, env), env, *bodies)


def _counted(body: Any, env: Env) -> Any:
    """The body with `$index` as the number of times it ran before, for one run of a loop."""
    turns = count()

    def counted(this: Items, _: Env) -> Any:
        outer, env.index = env.index, next(turns)
        try:
            return body(this, env)
        finally:
            env.index = outer

    return counted if callable(body) else (_counted(body[0], env), body[1])


def _call_with_values(function: Function, target: PathFn, prepared: list[Any]) -> Callable[[Items, Env], Any]:
    run, needs_env = function.run, function.needs_env
    if len(prepared) == 1:
        argument = prepared[0]
        if needs_env:
            return lambda this, env: run(target(this, env), env, argument(this, env))
        return lambda this, env: run(target(this, env), argument(this, env))
    arguments = [each if function.kind(position) == "value" else _always(each) for position, each in enumerate(prepared)]

    def call(this: Items, env: Env) -> Any:
        items = target(this, env)
        values = [each(this, env) for each in arguments]
        return run(items, env, *values) if needs_env else run(items, *values)

    return call


def _always(body: Any) -> Callable[[Items, Env], Any]:
    """What the callee runs is handed over as it is."""
    return lambda _, __: body


_PATHS: Final[dict[type, Callable[[Any], PathFn]]] = {
    Literal: _literal,
    This: _this,
    Special: _special,
    Variable: _variable,
    Member: _member,
    Call: _call,
    Index: _index,
    Polarity: _polarity,
    Binary: _operation,
    Chain: _union,
    TypeTest: _as,
    Once: _once,
}
_TESTS: Final[dict[type, Callable[[Any], TestFn]]] = {
    Call: _call,
    Binary: _comparison,
    Chain: _logic,
    TypeTest: _is,
    Once: lambda expr: _kept(test_of(expr.operand)),
}
