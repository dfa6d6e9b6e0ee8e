"""Units of measure: whether a code is UCUM, and what a value in it is in base units.

Case-sensitive codes by the grammar of https://ucum.org/ucum, section 2. The units themselves are UCUM's own file,
ucum-essence.xml of release 2.2 (https://github.com/ucum-org/ucum, tag v2.2), whose licence forbids changes: it is shipped
byte for byte, so the last line goes without its end, and is read at the first use. Copyright 1999-2024 Regenstrief
Institute, Inc. All rights reserved. Licensed under the UCUM License, Version 1.1: https://unitsofmeasure.org/license.
It is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND: see section 7 of that licence.
"""

from __future__ import annotations

import re
from collections import Counter
from decimal import Decimal
from fractions import Fraction
from functools import cache, lru_cache
from pathlib import Path
from typing import Final, NamedTuple
from xml.etree import ElementTree

FILE: Final = Path(__file__).parent / "ucum-essence.xml"
_NAMESPACE: Final = "{http://unitsofmeasure.org/ucum-essence}"

# Base unit → exponent, sorted by name, none of them 0: mg/dL has (("g", 1), ("m", -3)). An arbitrary unit is a base
# unit of its own, for UCUM section 24 lets it be compared with nothing else.
Dimension = tuple[tuple[str, int], ...]


def problem(code: str) -> str | None:
    """What is wrong with a UCUM code, by its place (characters counted from 1) and never quoted; None where it is right."""
    parsed = _parse(_short(code))
    return parsed if isinstance(parsed, str) else None


def canonical(value: Decimal, code: str) -> tuple[Fraction, Dimension] | None:
    """The value in base units, exact, with its dimension: two quantities can be compared where their dimensions are equal.

    None where the code is not UCUM, or its unit has no ratio to base units: logarithms (pH, dB), a temperature with an
    offset inside a product (UCUM section 22), and powers that no quantity has.
    """
    unit = _unit(_short(code))
    return None if unit is None else ((Fraction(value) + unit.zero) * unit.factor, unit.dimension)


# The table -----------------------------------------------------------------------------------------------------------


class _Atom(NamedTuple):
    """A prefix or a unit: one of it is `value` times `unit`, a code.

    Kinds: prefix, base-unit, unit, arbitrary (a unit by its own biological procedure), special (not on a ratio scale: its
    value and unit are those that its function takes, and the function is the kind: "special:Cel").
    """

    kind: str
    code: str
    metric: bool
    value: str
    unit: str


@cache
def _table() -> tuple[dict[str, Fraction], dict[str, _Atom]]:
    """The prefixes with what they stand for, and all units, by code."""
    atoms = [_atom(element) for element in ElementTree.parse(FILE).getroot()]  # noqa: S314 - our own file
    prefixes = {atom.code: Fraction(atom.value) for atom in atoms if atom.kind == "prefix"}
    return prefixes, {atom.code: atom for atom in atoms if atom.kind != "prefix"}


def _atom(element: ElementTree.Element) -> _Atom:
    tag, code = element.tag.removeprefix(_NAMESPACE), element.attrib["Code"]
    value = element.find(f"{_NAMESPACE}value")
    if value is None:
        return _Atom(tag, code, metric=True, value="", unit="")  # a base unit, and they are all metric: UCUM section 11
    metric, function = element.get("isMetric") == "yes", value.find(f"{_NAMESPACE}function")
    if function is not None:
        return _Atom(f"special:{function.attrib['name']}", code, metric, function.attrib["value"], function.attrib["Unit"])
    kind = "arbitrary" if element.get("isArbitrary") == "yes" else tag
    return _Atom(kind, code, metric, value.attrib["value"], value.get("Unit", ""))


# The grammar ---------------------------------------------------------------------------------------------------------


class _Power(NamedTuple):
    """One factor of a unit: a number or a symbol, raised to `exponent` (negative below the line)."""

    base: int | str
    exponent: int


class _Unexpected(Exception):
    """What was expected, and at which character."""

    def __init__(self, at: int, expected: str) -> None:
        super().__init__(f"at character {at + 1}: expected {expected}")


# Nobody's unit comes near these; they bound the work that a hostile code can make.
_MAX_LENGTH: Final = 1000
_MAX_DEPTH: Final = 20
_MAX_POWERS: Final = 100

# Brackets may hold what would mean something outside them: [10.nV], [m/s2/Hz^(1/2)]. Digits end a symbol, but for 10*.
_SYMBOL: Final = re.compile(r"10[*^]|(?:[A-Za-z%'_]|\[[!-Z\\^-~]*\])+")
_EXPONENT: Final = re.compile(r"[+-]?[0-9]+")
_NUMBER: Final = re.compile(r"[0-9]+")
# UCUM section 12 wants no blank in an annotation; R4's own ValueSet ucum-common has eleven: {clock time}, {# of fetuses}.
_ANNOTATION: Final = re.compile(r"\{[ -z|~]*\}")


def _short(code: str) -> str:
    """The code, or so much of one that is too long as shows it: the caches below keep what they are asked."""
    return code[: _MAX_LENGTH + 1]


@lru_cache(maxsize=4096)
def _parse(code: str) -> tuple[_Power, ...] | str:
    """The factors of a unit, or the sentence that says why there are none."""
    if len(code) > _MAX_LENGTH:
        return f"expected at most {_MAX_LENGTH} characters"
    try:
        return tuple(_Parser(code).main_term())
    except _Unexpected as unexpected:
        return str(unexpected)


class _Parser:
    """Recursive descent, one method for each rule of the grammar: `at` moves on, and `powers` collects what was read."""

    def __init__(self, code: str) -> None:
        self.code = code
        self.at = 0
        self.powers: list[_Power] = []

    def main_term(self) -> list[_Power]:
        # A leading "/" is about the first component only: UCUM itself has the oersted as 250 /[pi].A/m.
        self.term(1, -1 if self.took("/") else 1, 0)
        if self.at < len(self.code):
            raise _Unexpected(self.at, '".", "/" or the end')
        return self.powers

    def term(self, sign: int, first: int, depth: int) -> None:
        self.component(sign * first, depth)
        # From left to right: a/b.c is (a/b).c, so each operator is about the one component behind it.
        while operator := self.took(".") or self.took("/"):
            self.component(sign if operator == "." else -sign, depth)

    def component(self, sign: int, depth: int) -> None:
        if self.took("("):
            if depth == _MAX_DEPTH:
                raise _Unexpected(self.at - 1, f"at most {_MAX_DEPTH} levels of brackets")
            self.term(sign, 1, depth + 1)
            if not self.took(")"):
                raise _Unexpected(self.at, '".", "/" or ")"')
        elif symbol := self.matched(_SYMBOL):
            self.simple_unit(symbol)
            self.powers.append(_Power(symbol, sign * int(self.matched(_EXPONENT) or 1)))
        elif number := self.matched(_NUMBER):
            self.number(number, sign)
        elif self.code[self.at : self.at + 1] != "{":
            raise _Unexpected(self.at, "a unit")
        self.annotation()

    def simple_unit(self, symbol: str) -> None:
        if _split(symbol) is None:
            raise _Unexpected(self.at - len(symbol), "a unit that UCUM has, with a prefix only if metric")

    def number(self, number: str, sign: int) -> None:
        if not int(number):
            raise _Unexpected(self.at - len(number), "a positive number")
        self.powers.append(_Power(int(number), sign))

    def annotation(self) -> None:
        """The grammar has it behind a unit or alone; HL7's functional tests have 1{c} too, and it does no harm behind a ")"."""
        if self.code[self.at : self.at + 1] == "{" and not self.matched(_ANNOTATION):
            raise _Unexpected(self.at, 'an annotation: printable ASCII without "{", closed by "}"')

    def took(self, mark: str) -> str:
        if not self.code.startswith(mark, self.at):
            return ""
        self.at += 1
        return mark

    def matched(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self.code, self.at)
        if not found:
            return ""
        self.at = found.end()
        return found[0]


def _split(symbol: str) -> tuple[Fraction, _Atom] | None:
    """The prefix's factor and the unit of a symbol, or None where UCUM has no such: a unit first, so that cd is no day."""
    prefixes, atoms = _table()
    if symbol in atoms:
        return Fraction(1), atoms[symbol]
    for length in (1, 2):
        prefix, atom = prefixes.get(symbol[:length]), atoms.get(symbol[length:])
        if prefix and atom and atom.metric:
            return prefix, atom
    return None


# The arithmetic ------------------------------------------------------------------------------------------------------


class _Unit(NamedTuple):
    """A value is (value + zero) * factor in base units of this dimension."""

    factor: Fraction
    dimension: Dimension
    zero: Fraction = Fraction(0)


# The function of a special unit → its degrees between absolute zero and its own. All other functions are logarithms,
# roots and tangents: UCUM, table of special units.
_ZEROS: Final = {
    "special:Cel": Fraction("273.15"),
    "special:degF": Fraction("459.67"),
    "special:degRe": Fraction("218.52"),
}


@lru_cache(maxsize=4096)
def _unit(code: str) -> _Unit | None:
    powers = _parse(code)
    if isinstance(powers, str) or sum(abs(power.exponent) for power in powers) > _MAX_POWERS:
        return None
    units = [_factor(power.base) for power in powers]
    if len(powers) == 1 and powers[0].exponent == 1:
        return units[0]
    factor, exponents = Fraction(1), Counter[str]()
    for unit, power in zip(units, powers, strict=True):
        if unit is None or unit.zero:
            return None
        factor *= unit.factor**power.exponent
        for base, exponent in unit.dimension:
            exponents[base] += exponent * power.exponent
    return _Unit(factor, tuple(sorted((base, exponent) for base, exponent in exponents.items() if exponent)))


def _factor(base: int | str) -> _Unit | None:
    """A number or a symbol as a unit; None where it has no ratio to base units."""
    if isinstance(base, int):
        return _Unit(Fraction(base), ())
    split = _split(base)
    unit = _defined(split[1]) if split else None
    if not split or unit is None:
        return None
    return unit._replace(factor=unit.factor * split[0], zero=unit.zero / split[0])


def _defined(atom: _Atom) -> _Unit | None:
    """What one of it is: itself, or what its definition says, which leads down to base units in a few steps."""
    if atom.kind == "base-unit" or (atom.kind == "arbitrary" and atom.unit == "1"):
        return _Unit(Fraction(1), ((atom.code, 1),))
    definition = _unit(atom.unit)
    if definition is None or (atom.kind.startswith("special") and atom.kind not in _ZEROS):
        return None
    return definition._replace(factor=definition.factor * Fraction(atom.value), zero=_ZEROS.get(atom.kind, Fraction(0)))
