"""The content of a code system: its codes, their displays, what stands above and below them, and choices among them.

Source: http://hl7.org/fhir/R4/codesystem.html; the filters are those of http://hl7.org/fhir/R4/valueset-filter-operator.html
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any, Final

from service.terminology.definitions import CodeSystem, Concept, Filter

# The codes that these properties name stand above a concept, besides the one that it is nested in; "child" names those below.
# http://hl7.org/fhir/R4/codesystem-concept-properties.html; "subsumedBy" is what HL7's own systems call a parent.
ABOVE: Final = frozenset({"parent", "subsumedBy"})
BELOW: Final = "child"

# Longer than any code or value that a pattern is meant for; the work of a pattern grows with the text.
LONGEST: Final = 100

Codes = frozenset[str]


class Content:
    """The codes of one system. `complete`: a code that is not here does not exist; else it may (a fragment, an example)."""

    def __init__(self, system: CodeSystem, supplement: CodeSystem | None = None) -> None:
        self.complete = system.content == "complete"
        self.case_sensitive = system.case_sensitive
        self.concepts: dict[str, Concept] = {concept.code: concept for _, concept in _walk(system.concept)}
        self.codes: Codes = frozenset(self.concepts)
        self._nested = [(above, concept.code) for above, concept in _walk(system.concept) if above]
        self._added = {concept.code: concept for _, concept in _walk(supplement.concept)} if supplement else {}

    def find(self, code: str) -> str | None:
        """The code as the system spells it, or None where it is not here."""
        if code in self.concepts:
            return code
        return None if self.case_sensitive else self._folded.get(code.casefold())

    def displays(self, code: str) -> tuple[str, ...]:
        """All that a code is called, its display first; `code` as `find` gives it."""
        named = [each for each in (self.concepts[code], self._added.get(code)) if each]
        return tuple(dict.fromkeys(text for each in named for text in (each.display, *each.other) if text))

    def chosen(self, by: Filter) -> Codes | None:
        """The codes that a filter lets through; None where that can't be told from what is here."""
        if by.property in ("concept", "code"):
            choose = _BY_CODE.get(by.op)
            return choose(self, by.value) if choose else None
        return self._by_property(by)

    def closure(self, code: str, links: Mapping[str, Iterable[str]]) -> Codes:
        """The codes that lead on from one, itself left out unless a circle leads back."""
        found: set[str] = set()
        ahead = [*links.get(code, ())]
        while ahead:
            here = ahead.pop()
            if here not in found:
                found.add(here)
                ahead += links.get(here, ())
        return frozenset(found)

    @cached_property
    def below(self) -> dict[str, set[str]]:
        """The codes right below each code."""
        return _grouped(self._pairs())

    @cached_property
    def above(self) -> dict[str, set[str]]:
        """The codes right above each code."""
        return _grouped((lower, upper) for upper, lower in self._pairs())

    def _pairs(self) -> Iterator[tuple[str, str]]:
        yield from self._nested
        for code, concept in self.concepts.items():
            for each in concept.property:
                if each.code in ABOVE:
                    yield str(each.value), code
                elif each.code == BELOW:
                    yield code, str(each.value)

    @cached_property
    def _folded(self) -> dict[str, str]:
        return {code.casefold(): code for code in self.codes}

    def _by_property(self, by: Filter) -> Codes | None:
        values = self._values(by.property)
        test = _BY_VALUE.get(by.op)
        # A property that no concept has is one that we know nothing of, rather than one that is nowhere set.
        fits = test(by.value) if test and values else None
        return frozenset(code for code in self.codes if fits(values.get(code, set()))) if fits else None

    def _values(self, name: str) -> dict[str, set[str]]:
        """The values of a property, as filters write them, by code."""
        if name in ABOVE:
            return self.above
        if name == BELOW:
            return self.below
        if name == "display":
            return {code: {concept.display} for code, concept in self.concepts.items() if concept.display}
        pairs = ((code, each) for code, concept in self.concepts.items() for each in concept.property)
        return _grouped((code, _written(each.value)) for code, each in pairs if each.code == name)


def safe_pattern(text: str) -> re.Pattern[str] | None:
    """A regular expression that no text can keep busy for long, compiled; None for any other.

    Taken are literals, classes and groups that are not repeated, with at most two places that leave a choice: so the work
    grows with the square of the text at worst.
    """
    if not _SAFE.fullmatch(text) or _REPEATED_GROUP.search(text) or len(_CHOICE.findall(text)) > 2:
        return None
    try:
        return re.compile(text)
    except re.error:
        return None


_SAFE: Final = re.compile(r"(?:\\[.dwsDWS()\[\]\\/-]|\[\^?[\w .:/-]+\]|[\w .:/^$-]|[()|?*+]|\{\d{1,2}(?:,\d{0,2})?\})*")
_REPEATED_GROUP: Final = re.compile(r"\)[?*+{]|\(\?")
_CHOICE: Final = re.compile(r"(?<!\\)[?*+(]|\{\d+,")


def _walk(concepts: Iterable[Concept]) -> Iterator[tuple[str, Concept]]:
    """Each concept after the code that it is nested in ("" at the top)."""
    ahead = [("", concept) for concept in concepts]
    while ahead:
        above, concept = ahead.pop()
        yield above, concept
        ahead += [(concept.code, below) for below in concept.concept]


def _grouped(pairs: Iterable[tuple[str, str]]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for key, value in pairs:
        found.setdefault(key, set()).add(value)
    return found


def _written(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _listed(text: str) -> Codes:
    return frozenset(part.strip() for part in text.split(","))


# Filters ------------------------------------------------------------------------------------------------------------


def _is_a(content: Content, code: str) -> Codes:
    return (content.closure(code, content.below) | {code}) & content.codes


def _descendants(content: Content, code: str) -> Codes:
    return (content.closure(code, content.below) - {code}) & content.codes


def _generalizes(content: Content, code: str) -> Codes:
    return (content.closure(code, content.above) | {code}) & content.codes


def _matching(content: Content, text: str) -> Codes | None:
    pattern = safe_pattern(text)
    return frozenset(filter(pattern.fullmatch, filter(_is_short, content.codes))) if pattern else None


def _is_short(text: str) -> bool:
    return len(text) <= LONGEST


# By operator: the codes that a filter on the code itself lets through.
_BY_CODE: Final[Mapping[str, Callable[[Content, str], Codes | None]]] = {
    "=": lambda content, value: content.codes & {value},
    "is-a": _is_a,
    "descendent-of": _descendants,
    "is-not-a": lambda content, value: content.codes - _is_a(content, value),
    "generalizes": _generalizes,
    "in": lambda content, value: content.codes & _listed(value),
    "not-in": lambda content, value: content.codes - _listed(value),
    "regex": _matching,
    "exists": lambda content, value: content.codes if value == "true" else frozenset(),
}

Fits = Callable[[set[str]], bool]


def _value_matches(text: str) -> Fits | None:
    pattern = safe_pattern(text)
    return (lambda values: any(_is_short(each) and pattern.fullmatch(each) for each in values)) if pattern else None


# By operator: the test that the values of a concept's property must pass.
_BY_VALUE: Final[Mapping[str, Callable[[str], Fits | None]]] = {
    "=": lambda value: lambda values: value in values,
    "in": lambda value: lambda values: not values.isdisjoint(_listed(value)),
    "not-in": lambda value: lambda values: values.isdisjoint(_listed(value)),
    "regex": _value_matches,
    "exists": lambda value: lambda values: bool(values) is (value == "true"),
}
