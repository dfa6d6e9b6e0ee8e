"""Regular expressions, with a guard: what could take Python's backtracking beyond all bounds is refused before it starts.

Loops side by side cost at most the product of their turns. A loop around something that may match in two ways costs two to
the power of its turns: so what is repeated must be deterministic, each next character telling what it belongs to.
"""

from __future__ import annotations

import re
import sys
import warnings
from collections.abc import Callable, Iterator
from functools import lru_cache
from math import prod
from re import _parser  # type: ignore[attr-defined]  # the one reader of patterns that reads them as `re` does
from typing import Any, Final, NamedTuple, TypeAlias

from service.validate.fhirpath.errors import PathError
from service.validate.fhirpath.values import refuse_longer

# How many steps a match may take in the worst case.
MAX_STEPS: Final = 10**8

# A parsed pattern: (operation, argument) pairs.
Tree: TypeAlias = Any

_FLAGS: Final = re.DOTALL
_REPEATS: Final = ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT")
_ONE_CHARACTER: Final = ("LITERAL", "NOT_LITERAL", "ANY", "IN")
# So many loops in a row cost more than any text may take.
_MOST_LOOPS: Final = 10
_LOOKS: Final = ("ASSERT", "ASSERT_NOT")


class _Pattern(NamedTuple):
    """A compiled pattern, and how many turns each of its loops may take."""

    regex: re.Pattern[str]
    loops: tuple[int, ...]


def found(pattern: str, text: str, *, whole: bool = False) -> bool:
    """Whether the pattern matches in the text, or all of it. Raises PathError where it is none, or could take too long."""
    regex = _guarded(pattern, text)
    return (regex.fullmatch(text) if whole else regex.search(text)) is not None


def substituted(pattern: str, template: str, text: str) -> str:
    """The text with every match replaced by a template of Python's re. Raises PathError as found() does."""
    regex = _guarded(pattern, text)
    try:
        result = regex.sub(template, text)
    except (re.error, IndexError):
        raise PathError("a replacement names a group that its pattern does not have") from None
    refuse_longer(len(result))
    return result


def _guarded(pattern: str, text: str) -> re.Pattern[str]:
    regex, loops = _compiled(pattern)
    if prod(min(len(text) + 1, turns) for turns in loops) > MAX_STEPS:
        raise PathError("a text is too long for a regular expression with so many repeats")
    return regex


@lru_cache(maxsize=256)
def _compiled(pattern: str) -> _Pattern:
    try:
        with warnings.catch_warnings():
            # Python warns of characters that may mean more in a later version.
            warnings.simplefilter("ignore", FutureWarning)
            tree = _parser.parse(pattern, _FLAGS)
            # A search is a loop too, over where a match may begin.
            search = () if len(tree) and str(tree[0][1]) == "AT_BEGINNING" else (MAX_STEPS,)
            return _Pattern(re.compile(pattern, _FLAGS), (*search, *_loops(tree)))
    except (re.error, RecursionError, OverflowError):
        raise PathError("this is no regular expression that can be read here") from None


def _loops(tree: Tree) -> tuple[int, ...]:
    return tuple(turns for operation, argument in tree for turns in _loops_of(str(operation), argument))


def _loops_of(operation: str, argument: Any) -> tuple[int, ...]:
    if operation in _REPEATS:
        return _loops_of_repeat(*argument)
    if operation in ("GROUPREF", "GROUPREF_EXISTS"):
        raise PathError("a regular expression may not refer to its own groups here")
    return tuple(turns for tree in _inside(operation, argument) for turns in _loops(tree))


def _loops_of_repeat(least: int, most: Any, body: Tree) -> tuple[int, ...]:
    inner, turns = _loops(body), int(most)
    if turns <= 1:
        return inner
    if least == turns:
        if len(inner) * turns > _MOST_LOOPS:
            raise _refused()
        return inner * turns
    if _is_one_character(body):
        return (turns,)
    _starts([("MAX_REPEAT", (least, most, body))], frozenset((_END,)), _alphabet(body))
    return (MAX_STEPS,)


def _inside(operation: str, argument: Any) -> list[Tree]:
    """The trees within an operation that is no repeat."""
    if operation == "SUBPATTERN":
        return [argument[3]]
    if operation == "BRANCH":
        return list(argument[1])
    if operation == "ATOMIC_GROUP":
        return [argument]
    return [argument[1]] if operation in _LOOKS else []


def _is_one_character(tree: Tree) -> bool:
    if len(tree) != 1:
        return False
    operation, argument = str(tree[0][0]), tree[0][1]
    return operation in _ONE_CHARACTER or (operation == "SUBPATTERN" and _is_one_character(argument[3]))


# Determinism --------------------------------------------------------------------------------------------------------

# Stands for what comes after the part that is looked at.
_END: Final = -1


def _starts(tree: Tree, after: frozenset[int], alphabet: frozenset[int]) -> frozenset[int]:
    """The characters that may come next where a tree begins and one of `after` follows it.

    Raises PathError where a character does not tell what it belongs to.
    """
    for each, argument in reversed(list(tree)):
        operation = str(each)
        if operation in _ONE_CHARACTER:
            after = frozenset(code for code in alphabet if _matches_one(code, operation, argument))
        elif operation in _REPEATS:
            after = _starts_of_repeat(argument, after, alphabet)
        elif operation == "SUBPATTERN":
            after = _starts(argument[3], after, alphabet)
        elif operation == "BRANCH":
            after = _told_apart(*(_starts(branch, after, alphabet) for branch in argument[1]))
        elif operation != "AT":
            raise _refused()
    return after


def _starts_of_repeat(argument: Any, after: frozenset[int], alphabet: frozenset[int]) -> frozenset[int]:
    least, most, body = argument
    first = _starts(body, frozenset((_END,)), alphabet)
    if _END in first:
        raise _refused()
    if least != int(most):
        _told_apart(first, after)
    _starts(body, first | after if int(most) > 1 else after, alphabet)
    return first if least else first | after


def _told_apart(*choices: frozenset[int]) -> frozenset[int]:
    union = frozenset().union(*choices)
    if len(union) < sum(map(len, choices)):
        raise _refused()
    return union


def _refused() -> PathError:
    return PathError("a regular expression could take exponential time, for what it repeats may match in several ways")


def _alphabet(tree: Tree) -> frozenset[int]:
    """Characters enough to see whether two sets of a pattern overlap: the edges of every range, and what lies beside them."""
    return frozenset(range(256)).union(
        near for code in _codes(tree) for near in (code - 1, code, code + 1) if 0 <= near <= sys.maxunicode
    )


def _codes(tree: Tree) -> Iterator[int]:
    for each, argument in tree:
        operation = str(each)
        if operation in ("LITERAL", "NOT_LITERAL"):
            yield int(argument)
        elif operation == "RANGE":
            yield from argument
        elif operation == "IN":
            yield from _codes(argument)
        elif operation in _REPEATS:
            yield from _codes(argument[2])
        else:
            for inner in _inside(operation, argument):
                yield from _codes(inner)


def _matches_one(code: int, operation: str, argument: Any) -> bool:
    """Whether one character may match, in one case or the other, since a flag may make them the same."""
    return any(_matches(char, operation, argument) for char in {chr(code), chr(code).swapcase()[:1]})


def _matches(char: str, operation: str, argument: Any) -> bool:
    if operation == "ANY":
        return True
    if operation in ("LITERAL", "NOT_LITERAL"):
        return (ord(char) == int(argument)) == (operation == "LITERAL")
    is_negated = str(argument[0][0]) == "NEGATE"
    return any(_in_set(char, str(each), inner) for each, inner in argument) != is_negated


_CATEGORIES: Final[dict[str, Callable[[str], bool]]] = {
    "DIGIT": str.isdigit,
    "SPACE": str.isspace,
    "WORD": lambda char: char.isalnum() or char == "_",
}


def _in_set(char: str, operation: str, argument: Any) -> bool:
    if operation == "LITERAL":
        return ord(char) == int(argument)
    if operation == "RANGE":
        return bool(argument[0] <= ord(char) <= argument[1])
    if operation == "NEGATE":
        return False
    _, *negation, name = str(argument).split("_")
    return _CATEGORIES[name](char) != bool(negation)
