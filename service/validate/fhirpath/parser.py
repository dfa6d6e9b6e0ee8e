"""From tokens to a tree, by operator precedence. Source: http://hl7.org/fhirpath/N1/grammar.html"""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from service.validate.fhirpath import temporal
from service.validate.fhirpath.errors import PathSyntaxError
from service.validate.fhirpath.lexer import Token, tokens
from service.validate.fhirpath.quantity import CALENDAR_UNITS, Quantity
from service.validate.fhirpath.syntax import (
    Binary,
    Call,
    Chain,
    Expr,
    Index,
    Literal,
    Member,
    Polarity,
    Special,
    This,
    TypeName,
    TypeTest,
    Variable,
)

# Parsing, compiling and evaluating use the stack in proportion to the depth of an expression.
MAX_DEPTH: Final = 100

_LOOSEST: Final = 0
_BINDING: Final = {
    "implies": 1,
    **dict.fromkeys(("or", "xor"), 2),
    "and": 3,
    **dict.fromkeys(("in", "contains"), 4),
    **dict.fromkeys(("=", "~", "!=", "!~"), 5),
    **dict.fromkeys(("<=", "<", ">", ">="), 6),
    "|": 7,
    **dict.fromkeys(("is", "as"), 8),
    **dict.fromkeys(("+", "-", "&"), 9),
    **dict.fromkeys(("*", "/", "div", "mod"), 10),
}
_POLARITY: Final = 11
_ASSOCIATIVE: Final = ("and", "or", "|")
# Names that are operators or constants, yet may name an element or a function, as the grammar has it.
_ALSO_NAMES: Final = ("as", "is", "contains", "in")
_RESERVED: Final = {*_BINDING, "true", "false"} - set(_ALSO_NAMES)
_CONSTANTS: Final = {"true": Literal((True,)), "false": Literal((False,))}


def parse(text: str) -> Expr:
    """The tree of an expression. Raises PathSyntaxError."""
    parser = _Parser(tokens(text))
    found = parser.expression(_LOOSEST, 0)
    parser.expect("end", "")
    return found


class _Parser:
    """A place in a list of tokens. `depth` is how far an expression stands inside others, by nesting or in a chain."""

    def __init__(self, found: list[Token]) -> None:
        self.tokens = found
        self.at = 0

    @property
    def next(self) -> Token:
        return self.tokens[self.at]

    def take(self) -> Token:
        token = self.tokens[self.at]
        self.at += 1
        return token

    def takes(self, symbol: str) -> bool:
        if self.next[:2] != ("symbol", symbol):
            return False
        self.at += 1
        return True

    def expect(self, kind: str, text: str) -> None:
        if self.next[:2] != (kind, text):
            raise self.error(f"expected {text!r}" if text else "expected an operator or the end")
        self.at += 1

    def error(self, text: str) -> PathSyntaxError:
        return PathSyntaxError(self.next.position, text)

    def expression(self, binding: int, depth: int) -> Expr:
        """The longest expression here whose operators bind tighter than `binding`."""
        left = self.operand(depth)
        while (operator := self._operator()) and _BINDING[operator] > binding:
            depth = self.deeper(depth)
            left = self._with_right_side(operator, left, depth)
        return left

    def deeper(self, depth: int) -> int:
        if depth == MAX_DEPTH:
            raise self.error(f"the expression is nested or chained more than {MAX_DEPTH} deep")
        return depth + 1

    def _operator(self) -> str | None:
        token = self.next
        return token.text if token.kind in ("symbol", "name") and token.text in _BINDING else None

    def _with_right_side(self, operator: str, left: Expr, depth: int) -> Expr:
        self.at += 1
        if operator in ("is", "as"):
            return TypeTest(operator, left, self.type_name())
        operands = [left, self.expression(_BINDING[operator], depth)]
        if operator not in _ASSOCIATIVE:
            return Binary(operator, *operands)
        while self._operator() == operator:
            self.at += 1
            operands.append(self.expression(_BINDING[operator], depth))
        return Chain(operator, tuple(operands))

    def operand(self, depth: int) -> Expr:
        """A term with the steps that follow it, or a signed one."""
        token = self.next
        if token.kind == "symbol" and token.text in "+-":
            self.at += 1
            return Polarity(token.text, self.expression(_POLARITY, self.deeper(depth)))
        found = self.term(depth)
        while True:
            depth = self.deeper(depth)
            if self.takes("."):
                found = self.step(found, depth)
            elif self.takes("["):
                found = Index(found, self.expression(_LOOSEST, depth))
                self.expect("symbol", "]")
            else:
                return found

    def term(self, depth: int) -> Expr:
        token = self.take()
        match token.kind:
            case "number":
                return self._number(token)
            case "string":
                return Literal((token.text,))
            case "moment":
                return Literal((_moment(token),))
            case "variable":
                return Variable(token.text)
            case "dollar":
                return This() if token.text == "$this" else Special(token.text)
            case "symbol" if token.text == "(":
                found = self.expression(_LOOSEST, self.deeper(depth))
                self.expect("symbol", ")")
                return found
            case "symbol" if token.text == "{":
                self.expect("symbol", "}")
                return Literal(())
        self.at -= 1
        if token.kind == "name" and token.text in _CONSTANTS:
            self.at += 1
            return _CONSTANTS[token.text]
        return self.step(This(), depth, is_head=True)

    def step(self, target: Expr, depth: int, *, is_head: bool = False) -> Expr:
        position, name = self.next.position, self.name()
        if not self.takes("("):
            return Member(target, name, is_head)
        arguments: list[Expr] = []
        while not self.takes(")"):
            if arguments:
                self.expect("symbol", ",")
            arguments.append(self.expression(_LOOSEST, self.deeper(depth)))
        return Call(target, name, tuple(arguments), position)

    def name(self) -> str:
        token = self.next
        if token.kind != "quoted" and (token.kind != "name" or token.text in _RESERVED):
            raise self.error("expected a name or a value")
        self.at += 1
        return token.text

    def type_name(self) -> TypeName:
        position, first = self.next.position, self.name()
        return TypeName(first, self.name(), position) if self.takes(".") else TypeName("", first, position)

    def _number(self, token: Token) -> Literal:
        value = Decimal(token.text) if "." in token.text else int(token.text)
        unit = self.next
        if unit.kind == "string":
            self.at += 1
            return Literal((Quantity(Decimal(value), unit.text),))
        if unit.kind == "name" and unit.text in CALENDAR_UNITS:
            self.at += 1
            return Literal((Quantity(Decimal(value), CALENDAR_UNITS[unit.text], is_calendar=True),))
        return Literal((value,))


def _moment(token: Token) -> temporal.Temporal:
    found = temporal.from_literal(token.text)
    if found is None:
        raise PathSyntaxError(token.position, "there is no such date or time")
    return found
