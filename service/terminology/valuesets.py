"""Which codes belong to a value set, and which to a code system: decided offline, as far as the definitions at hand go.

What can't be decided is no error: it comes back as Unchecked, with the code systems and value sets that are missing.
Source: http://hl7.org/fhir/R4/valueset.html#compositions
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from service.terminology import systems
from service.terminology.codesystems import Content
from service.terminology.definitions import CodeSystem, Contained, Filter, Include, ValueSet


@dataclass(frozen=True, slots=True)
class Unchecked:
    """Not to be decided here. `systems`: the code systems without (full) content, and the value sets that are not there."""

    systems: tuple[str, ...]


Verdict = bool | Unchecked
Rule = Callable[[str], Verdict]


@dataclass(frozen=True, slots=True)
class CodeVerdict:
    """What is known of a code in its system.

    `known` is None where the system's content is not here or not complete. `displays` are what the code is called, its
    display first; `display_ok` is None where none was given, or there is none to compare with.
    """

    known: bool | None
    displays: tuple[str, ...] = ()
    display_ok: bool | None = None
    system_known: bool = True


class Terminology:
    """Answers for all value sets and code systems that two callables find by canonical URL.

    Shared by threads: it keeps nothing but what comes out the same whoever computes it first.
    """

    def __init__(self, value_set: Callable[[str], ValueSet | None], code_system: Callable[[str], CodeSystem | None]) -> None:
        self._value_set = value_set
        self._code_system = code_system
        self._contents: dict[str, Content] = {}
        self._members: dict[str, Members] = {}

    def contains(self, value_set: str, system: str | None, code: str) -> Verdict:
        """Whether a code is in a value set; with `system` None, as in an element of type code, as a code of any system.

        Abstract and inactive codes belong to it like any other, as long as its definition does not leave them out: so
        HL7's and HAPI's validators have it. A URL without a version is found at once, any other on the second try.
        """
        members = self._members.get(value_set) or self._computed(value_set)
        return (members.anywhere if system is None else members.of(system)).verdict(code)

    def few(self, value_set: str, most: int) -> list[str]:
        """The codes of a value set in alphabetical order; none where not all are known, or there are more than `most`."""
        members = self._members.get(value_set) or self._computed(value_set)
        codes = members.anywhere
        known = sorted(code for code, is_in in codes.listed.items() if is_in is True)
        return known if codes.others is False and len(known) <= most else []

    def is_whole(self, value_set: str) -> bool:
        """Whether all of a value set is known: no system in it without content, no import that is missing."""
        members = self._members.get(value_set) or self._computed(value_set)
        return not any(isinstance(each.others, Unchecked) for each in (*members.by_system.values(), members.elsewhere))

    def code(self, system: str, code: str, display: str | None = None) -> CodeVerdict:
        """Whether a code exists in its system, and whether that is what it is called (letter case and blanks aside)."""
        content = self._content(system)
        found = content.find(code) if content else None
        if content and found is not None:
            displays = content.displays(found)
            return CodeVerdict(True, displays, _is_among(display, displays) if display and displays else None)
        if content and content.complete:
            return CodeVerdict(False)
        rule = systems.rule(system)
        is_there = content is not None or rule is not None or self._code_system(system) is not None
        return CodeVerdict(rule(code) if rule else None, system_known=is_there)

    def _computed(self, canonical: str) -> Members:
        """The members of a value set, kept by its URL. What is unknown is not kept: of URLs in the data there is no end."""
        url = _bare(canonical)
        if url not in self._members:
            record = self._value_set(url)
            if record is None:
                return _unknown(url)
            try:
                self._members[url] = self._of(record, {})
            except RecursionError:  # value sets that import each other hundreds deep
                self._members[url] = _unknown(url)
        return self._members[url]

    def _of(self, record: ValueSet, met: dict[str, Members]) -> Members:
        """The members of a value set.

        `met` has the value sets whose imports led here, as empty ones, and those that were computed on the way: so a
        circle comes to an end and adds nothing to what its parts draw in, and no value set is computed twice.
        """
        met[record.url] = NONE
        if record.include:
            drawn_in = _joined(any_of, [self._part(each, met) for each in record.include])
            members = _joined(first_alone, [drawn_in, *(self._part(each, met) for each in record.exclude)])
        else:
            members = _expanded(record.expansion) if record.expansion else _unknown(record.url)
        met[record.url] = members
        return members

    def _part(self, include: Include, met: dict[str, Members]) -> Members:
        """What one include, or exclude, stands for: what its system and its value sets have in common."""
        parts = [self._imported(_bare(url), met) for url in include.value_set]
        if include.system:
            parts.append(Members({include.system: self._drawn(include)}))
        return _joined(all_of, parts) if parts else NONE

    def _imported(self, value_set: str, met: dict[str, Members]) -> Members:
        if value_set in met:
            return met[value_set]
        record = self._value_set(value_set)
        return self._of(record, met) if record else _unknown(value_set)

    def _drawn(self, include: Include) -> Codes:
        """The codes of one system that an include lists, or chooses by filters, or else all of them."""
        content = self._content(include.system)
        if include.concept:
            # They are members whatever we know of their system: the content of SNOMED CT is in no package.
            return _exactly(frozenset(each.code for each in include.concept), content)
        chosen = _chosen(content, include.filter) if content else None
        if content and chosen is not None and content.complete:
            return _exactly(chosen, content)
        others = systems.rule(include.system, include.filter) or Unchecked((include.system,))
        return Codes(dict.fromkeys(chosen or (), True), others)

    def _content(self, system: str) -> Content | None:
        """The content of a code system as far as it is here; None where there is none at all."""
        if system not in self._contents:
            record, supplement = self._code_system(system), None
            if record and record.content == "supplement":
                record, supplement = self._code_system(_bare(record.supplements)), record
            if record is None or not record.concept:
                record = systems.code_system(system)
            if record is None:
                return None
            self._contents[system] = Content(record, supplement)
        return self._contents[system]


def _chosen(content: Content, filters: Sequence[Filter]) -> frozenset[str] | None:
    """The codes that pass all filters; None where one of them can't be computed."""
    found = content.codes
    for each in filters:
        passing = content.chosen(each)
        if passing is None:
            return None
        found &= passing
    return found


def _bare(canonical: str) -> str:
    return canonical.partition("|")[0]


def _is_among(display: str, displays: Sequence[str]) -> bool:
    return display in displays or _plain(display) in map(_plain, displays)


def _plain(display: str) -> str:
    return " ".join(display.casefold().split())


# Verdicts -----------------------------------------------------------------------------------------------------------
# Three-valued logic (Kleene's): a doubt counts only where nothing else decides.

Operation = Callable[[Iterable[Verdict]], Verdict]


def any_of(verdicts: Iterable[Verdict]) -> Verdict:
    missing: dict[str, None] = {}
    for each in verdicts:
        if each is True:
            return True
        if isinstance(each, Unchecked):
            missing |= dict.fromkeys(each.systems)
    return Unchecked(tuple(missing)) if missing else False


def all_of(verdicts: Iterable[Verdict]) -> Verdict:
    return _opposite(any_of(map(_opposite, verdicts)))


def first_alone(verdicts: Iterable[Verdict]) -> Verdict:
    """The first, and none of the others."""
    first, *others = verdicts
    return all_of((first, _opposite(any_of(others))))


def _opposite(verdict: Verdict) -> Verdict:
    return verdict if isinstance(verdict, Unchecked) else not verdict


# Sets of codes ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Codes:
    """A set of codes of one system: the verdicts on some, and that on all others, or the rule that gives it."""

    listed: Mapping[str, Verdict]
    others: Verdict | Rule = False

    def verdict(self, code: str) -> Verdict:
        verdict = self.listed.get(code)
        return _told(self.others, code) if verdict is None else verdict


NO_CODES: Final = Codes({})


@dataclass(frozen=True)
class Members:
    """A set of codes with their systems: by system, and those of all systems that are not named there."""

    by_system: Mapping[str, Codes]
    elsewhere: Codes = NO_CODES

    def of(self, system: str) -> Codes:
        return self.by_system.get(system, self.elsewhere)

    @cached_property
    def anywhere(self) -> Codes:
        return _codes(any_of, [*self.by_system.values(), self.elsewhere])


NONE: Final = Members({})


def _unknown(value_set: str) -> Members:
    return Members({}, Codes({}, Unchecked((value_set,))))


def _expanded(contains: Iterable[Contained]) -> Members:
    codes: dict[str, dict[str, Verdict]] = {}
    for each in contains:
        codes.setdefault(each.system, {})[each.code] = True
    return Members({system: Codes(listed) for system, listed in codes.items()})


def _exactly(codes: frozenset[str], content: Content | None) -> Codes:
    listed = dict.fromkeys(codes, True)
    if content is None or content.case_sensitive:
        return Codes(listed)
    return Codes(listed, lambda code: content.find(code) in codes)


def _joined(operation: Operation, parts: Sequence[Members]) -> Members:
    """The set that a code is in if the operation says so of the verdicts that the parts give on it."""
    named = dict.fromkeys(system for part in parts for system in part.by_system)
    by_system = {system: _codes(operation, [part.of(system) for part in parts]) for system in named}
    return Members(by_system, _codes(operation, [part.elsewhere for part in parts]))


def _codes(operation: Operation, parts: Sequence[Codes]) -> Codes:
    if operation is any_of:  # most parts have nothing of most systems
        parts = [part for part in parts if part is not NO_CODES] or [NO_CODES]
    if len(parts) == 1:
        return parts[0]
    named = dict.fromkeys(code for part in parts for code in part.listed)
    listed = {code: operation([part.verdict(code) for part in parts]) for code in named}
    others = [part.others for part in parts]
    if all(isinstance(each, (bool, Unchecked)) for each in others):
        return Codes(listed, operation([_told(each, "") for each in others]))
    return Codes(listed, lambda code: operation([_told(each, code) for each in others]))


def _told(others: Verdict | Rule, code: str) -> Verdict:
    return others if isinstance(others, (bool, Unchecked)) else others(code)
