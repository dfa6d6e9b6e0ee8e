"""Search in the memory server: the few parameters that Casebridge sends, each as R4 defines it; any other is refused.

Sources: http://hl7.org/fhir/R4/search.html and, for what the text leaves open, HAPI 8.8.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Final

from service.errors import ServerRefused
from service.fhir.definitions import load
from service.sync.memory_store import Key, Store, identifiers, refused, tags
from service.sync.server import Criteria, Resource

Test = Callable[[Resource], bool]


@dataclass(frozen=True)
class Criterion:
    """One parameter with its value: the test, and the words of the index of which a match has one; None: it may have any."""

    test: Test
    words: frozenset[str] | None = None


def find(store: Store, resource_type: str, criteria: Criteria) -> list[Key]:
    """The keys of all current resources that meet the criteria, sorted as these ask. Raises ServerRefused."""
    _check_type(resource_type)
    compiled = [_compiled(resource_type, *each) for each in criteria if each[0] not in RESULT]
    named = [each.words for each in compiled if each.words is not None]
    pool = store.candidates(named[0]) if named else store.keys(resource_type)
    found = [key for key in pool if key[0] == resource_type and meets(store.current(key), compiled)]
    return _sorted(store, found, [value for name, value in criteria if name == "_sort"])


def satisfies(resource: Resource, criteria: Criteria) -> bool:
    """Whether a resource, stored or not, meets the criteria. Raises ServerRefused."""
    return meets(resource, [_compiled(resource["resourceType"], *each) for each in criteria])


def meets(resource: Resource | None, compiled: Iterable[Criterion]) -> bool:
    return resource is not None and all(each.test(resource) for each in compiled)


def page_size(criteria: Criteria, most: int) -> int:
    """How many entries a page shall have; 0 where only the total is asked for."""
    if ("_summary", "count") in criteria:
        return 0
    asked = [value for name, value in criteria if name == "_count"]
    if not all(value.isdecimal() for value in asked):
        raise _bad("_count is no whole number", "write _count=50")
    return min([most, *map(int, asked)])


def _compiled(resource_type: str, name: str, value: str) -> Criterion:
    if name not in PARAMETERS or name not in _known(resource_type):
        raise _bad("a search parameter is not known for this type", "search by identifier, _id, _tag, patient or _lastUpdated")
    return PARAMETERS[name](value)


def _bad(text: str, fix: str) -> ServerRefused:
    return refused(400, text, fix)


def _check_type(resource_type: str) -> None:
    found = load().type(resource_type)
    if found is None or found.kind != "resource" or found.abstract:
        raise refused(404, "FHIR R4 has no such resource type", "name a resource type of R4")


@cache
def _known(resource_type: str) -> frozenset[str]:
    """The parameters that a type has, which its elements tell: http://hl7.org/fhir/R4/searchparameter-registry.html"""
    elements = {each.name for each in load().children(resource_type)}
    names = {"_id", "_tag", "_lastUpdated", *({"identifier", "subject", "target"} & elements)}
    if elements & {"patient", "subject"} or resource_type == "Provenance":
        names.add("patient")
    return frozenset(names)


# Tokens: http://hl7.org/fhir/R4/search.html#token -------------------------------------------------------------------


def split(text: str, mark: str) -> list[str]:
    """The parts of a value between a separator; one after a backslash does not separate. The parts stay escaped."""
    parts = [""]
    letters = iter(text)
    for letter in letters:
        if letter == mark:
            parts.append("")
        else:
            parts[-1] += letter + next(letters, "") if letter == "\\" else letter
    return parts


def unescaped(text: str) -> str:
    letters = iter(text)
    return "".join(next(letters, "") if letter == "\\" else letter for letter in letters)


def _tokens(value: str) -> list[tuple[str | None, str]]:
    """(system or None for any, value or "" for any) of each alternative."""
    out: list[tuple[str | None, str]] = []
    for each in split(value, ","):
        *system, code = map(unescaped, split(each, "|"))
        out.append(("|".join(system) if system else None, code))
    return out


def _identifier(value: str) -> Criterion:
    return _token(value, identifiers, "value")


def _tag(value: str) -> Criterion:
    return _token(value, tags, "code")


def _token(value: str, of: Callable[[Resource], list[Resource]], name: str) -> Criterion:
    tokens = _tokens(value)

    def test(resource: Resource) -> bool:
        return any(
            (system is None or system == each.get("system", "")) and code in ("", each.get(name, ""))
            for each in of(resource)
            for system, code in tokens
        )

    codes = frozenset(code for _system, code in tokens)
    return Criterion(test, None if "" in codes else codes)


def _id(value: str) -> Criterion:
    ids = frozenset(map(unescaped, split(value, ",")))
    return Criterion(lambda resource: resource.get("id") in ids, ids)


# References: http://hl7.org/fhir/R4/search.html#reference -----------------------------------------------------------


def _patient(value: str) -> Criterion:
    return _refers(("subject", "patient", "target"), [f"Patient/{each.removeprefix('Patient/')}" for each in split(value, ",")])


def _subject(value: str) -> Criterion:
    return _refers(("subject",), [each if "/" in each else f"Patient/{each}" for each in split(value, ",")])


def _target(value: str) -> Criterion:
    return _refers(("target",), split(value, ","))


def _refers(names: tuple[str, ...], literals: Iterable[str]) -> Criterion:
    wanted = frozenset(map(unescaped, literals))
    return Criterion(lambda resource: not wanted.isdisjoint(referred(resource, names)), wanted)


def referred(resource: Resource, names: Iterable[str]) -> set[str]:
    """The literal references in these elements of a resource."""
    found = [resource.get(name, []) for name in names]
    each = [one for many in found for one in (many if isinstance(many, list) else [many])]
    return {one["reference"] for one in each if isinstance(one.get("reference"), str)}


# Dates: http://hl7.org/fhir/R4/search.html#date ---------------------------------------------------------------------


def _last_updated(value: str) -> Criterion:
    prefix, text = (value[:2], value[2:]) if value[:2].isalpha() else ("eq", value)
    if prefix not in _PREFIXES:
        raise _bad("_lastUpdated has an unknown prefix", "begin it with ge, gt, le, lt or eq")
    first, end = _interval(text)
    holds = _PREFIXES[prefix]
    return Criterion(lambda resource: holds(datetime.fromisoformat(resource["meta"]["lastUpdated"]), first, end))


def _interval(text: str) -> tuple[datetime, datetime]:
    """The time that a day, second or millisecond lasts; without a zone, in UTC."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise _bad("_lastUpdated is no date", "write it like ge2020-05-07T10:00:00.000Z") from None
    length = timedelta(days=1) if "T" not in text else timedelta(milliseconds=1 if "." in text else 1000)
    first = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return first, first + length


_PREFIXES: Final[dict[str, Callable[[datetime, datetime, datetime], bool]]] = {
    "eq": lambda it, first, end: first <= it < end,
    "ge": lambda it, first, _end: it >= first,
    "gt": lambda it, _first, end: it >= end,
    "le": lambda it, _first, end: it < end,
    "lt": lambda it, first, _end: it < first,
}


def _sorted(store: Store, keys: list[Key], orders: list[str]) -> list[Key]:
    for order in orders:
        if order.removeprefix("-") != "_lastUpdated":
            raise _bad("only _sort=_lastUpdated is known", "sort by _lastUpdated")
        # The instants are all in UTC and of one length, so they sort as text.
        keys = sorted(keys, key=lambda key: (store.current(key) or {})["meta"]["lastUpdated"], reverse=order.startswith("-"))
    return keys


PARAMETERS: Final[dict[str, Callable[[str], Criterion]]] = {
    "identifier": _identifier,
    "_id": _id,
    "_tag": _tag,
    "patient": _patient,
    "subject": _subject,
    "target": _target,
    "_lastUpdated": _last_updated,
}
# What these ask is how the matches are given, not which: http://hl7.org/fhir/R4/search.html#return
RESULT: Final = frozenset({"_count", "_summary", "_sort", "_total"})
