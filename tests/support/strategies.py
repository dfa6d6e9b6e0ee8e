"""Hypothesis strategies for records, derived from a loaded mapping set: no field of any set is named here.

`cases` makes records that the form accepts and that convert; `wild_cases` records that the form accepts, whose texts may be
anything that their patterns allow. Records with faults: tests/support/faults.py.
"""

from __future__ import annotations

import datetime
import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cache, lru_cache
from typing import Any

import jsonschema_rs
from hypothesis import assume
from hypothesis import strategies as st

from service.case.form import ListOf, Node, Object, Scalar
from service.fhir import json as fhir_json
from service.mapping import moments
from service.mapping.compiled import Kind, Mapping
from service.mapping.spec import FieldRef, Row

Draw = Callable[..., Any]
Record = dict[str, Any]

# --- scalars ----------------------------------------------------------------------------------------------------------

# Ids that look like the words of the moment grammar, and plain ones.
_ID_STEMS = ("to", "of", "day", "at", "2018", "1", "from", "by", "car-t", "A.b_c-d", "hsct")
# NFD and NFC, astral, zero-width, right-to-left, no-break space, DEL and C1, line ends inside, what JSON escapes.
_TEXTS = (
    *("e\u0301", "\u00e9", "\U0001f9ec", "a\u200db", "\u05d0\u05d1", "\u00a0x\u00a0"),
    *("\x7f\x85", "a\n\tb\r\nc", 'q"\\/', "<&>"),
)
_NUMBERS = (
    *("0", "1.0", "0.010", "19.00", "-0.0", "0.0", "100", "1.10", "-4.50", "1E2", "1.5E+3", "0.0000001", "1e-9", "7E-30"),
    *("12345678901234567890", "123456789012345678901234567890123.4567890", "0." + "0" * 40 + "10", "9" * 60 + ".0"),
)


@cache
def texts() -> st.SearchStrategy[str]:
    free = st.text(st.characters(exclude_categories=["Cs"], min_codepoint=0x20), min_size=1, max_size=12)
    # A byte order mark is no part of a text: the form says why.
    return st.one_of(st.sampled_from(_TEXTS), free.map(lambda text: text.replace("\ufeff", "").strip(" ")).filter(bool))


@cache
def numbers() -> st.SearchStrategy[Any]:
    """Numbers as the JSON door reads them: every literal with its own digits."""
    digits = st.decimals(-10_000, 10_000, places=None, allow_nan=False, allow_infinity=False)
    placed = st.integers(0, 6).flatmap(lambda places: st.decimals(-999, 99_999, places=places, allow_nan=False))
    literals = st.one_of(st.sampled_from(_NUMBERS), st.integers(-1000, 10**6).map(str), placed.map(str), digits.map(str))
    return literals.map(fhir_json.loads)


def integers(low: int, high: int) -> st.SearchStrategy[int]:
    return st.one_of(st.integers(low, high), st.sampled_from([low, high]), st.integers(max(low, 0), min(high, 60)))


@cache
def days() -> st.SearchStrategy[str]:
    """Partial dates, without time; years far enough from the ends of the calendar for any distance that we draw."""
    full = st.dates(min_value=_day("1900-01-01"), max_value=_day("2200-12-31")).map(str)
    return st.tuples(full, st.sampled_from([10, 10, 7, 4])).map(lambda pair: pair[0][: pair[1]])


def _day(text: str) -> Any:
    return datetime.date.fromisoformat(text)


_TIMES = ("T00:00:00Z", "T23:59:60Z", "T10:30:05+02:00", "T09:15:00.120-11:30", "T12:00:00.000000001+14:00")


@lru_cache(maxsize=256)
def points(events: tuple[str, ...]) -> st.SearchStrategy[str]:
    timed = st.tuples(st.dates(_day("1900-01-01"), _day("2200-12-31")).map(str), st.sampled_from(_TIMES)).map("".join)
    if not events:
        return st.one_of(days(), days(), timed)
    event, bound = st.sampled_from(events), st.sampled_from(["", "", "by ", "past "])
    number = st.one_of(st.integers(-40, 400), st.integers(-5000, 5000))
    distance = st.builds("{}day {} of {}".format, bound, number, event)
    span = st.builds("{}{} {} {}".format, bound, spans(), st.sampled_from(["before", "after"]), event)
    vague = st.builds("{} {}".format, st.sampled_from(["at", "before", "after", "during"]), event)
    return st.one_of(days(), timed, distance, span, vague)


@cache
def spans() -> st.SearchStrategy[str]:
    unit = st.sampled_from(["hour", "week", "month", "year"])
    amount = st.one_of(st.integers(2, 9999).map(str), st.from_regex(r"(0|[1-9][0-9]{0,3})\.[0-9]{1,3}", fullmatch=True))
    return st.one_of(unit.map("1 {}".format), st.builds("{} {}s".format, amount, unit))


@lru_cache(maxsize=256)
def moments_or_periods(events: tuple[str, ...]) -> st.SearchStrategy[str]:
    point = points(events)
    periods = [
        st.builds("{} to {}".format, point, point),
        st.builds("from {}".format, point),
        st.builds("until {}".format, point),
    ]
    if events:
        number = st.integers(-60, 60)
        periods.append(st.builds("days {} to {} of {}".format, number, number, st.sampled_from(events)))
    return st.one_of(point, *periods).filter(_is_moment)


def _is_moment(text: str) -> bool:
    try:
        moments.parse(text)
    except ValueError:
        return False
    return True


@lru_cache(maxsize=1024)
def by_schema(text: bytes) -> st.SearchStrategy[Any]:
    """Whatever the JSON Schema of a scalar allows."""
    schema = fhir_json.loads(text)
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if schema.get("type") == "integer":
        return integers(schema.get("minimum", -(2**63)), schema.get("maximum", 2**63))
    if schema.get("type") == "number":
        judge = jsonschema_rs.validator_for(schema)
        bounded = numbers().map(lambda number: number.copy_abs() if isinstance(number, Decimal) else abs(number))
        return numbers() if len(schema) == 1 else bounded.filter(judge.is_valid)
    if schema.get("type") == "boolean":
        return st.booleans()
    # JSON Schema's \d and \s are those of JavaScript, so what Python makes of the pattern is held against the schema.
    pattern = schema.get("pattern", ".*").removeprefix("^").removesuffix("$")
    judge = jsonschema_rs.validator_for(schema)
    return st.from_regex(re.compile(pattern, re.ASCII), fullmatch=True).filter(judge.is_valid)


_KNOWN: dict[int, tuple[Scalar, st.SearchStrategy[Any]]] = {}


def _by_schema(node: Scalar) -> st.SearchStrategy[Any]:
    if id(node) not in _KNOWN:
        _KNOWN[id(node)] = (node, by_schema(fhir_json.dumps(dict(node.schema))))
    return _KNOWN[id(node)][1]


@cache
def uris() -> st.SearchStrategy[str]:
    rest = st.text(
        st.characters(exclude_characters='<>"{}|\\^`', exclude_categories=("Cs", "Cc", "Zs", "Zl", "Zp", "Cf")), min_size=1
    )
    return st.builds(
        "{}:{}".format, st.sampled_from(["https", "urn", "a+b.c-1"]), st.one_of(st.just("//example.org/a?b=c#d"), rest)
    )


_BY_KIND = {"text": texts, "uri": uris, "date": days}

# --- what the plans say of a field ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Atlas:
    """The mapping set by form pointer ("/treatments[]/drugs[]/when"): rows of fields, kinds of items."""

    mapping: Mapping
    rows: dict[str, Row]
    kinds: dict[str, Kind]

    def sections(self, pointer: str) -> tuple[str, ...]:
        """The sections that the reference at this pointer may lead to."""
        use = self.rows[pointer].use
        return use.arguments if use else ()

    def inherited(self, pointer: str) -> str:
        """The field of the item above that this one takes its value from; the two must differ."""
        row = self.rows.get(pointer)
        return next((ref.path[0] for ref in row.fields if ref.up), "") if row else ""


def atlas(mapping: Mapping) -> Atlas:
    rows, kinds = {}, {}
    for kind in mapping.kinds:
        base = "".join("/" + step for step in kind.plan.file.each)
        if base:
            kinds[base.removesuffix("[]")] = kind
        for leaf in kind.plan.root.leaves():
            if leaf.row and leaf.bound and not leaf.row.derived:
                rows.update({base + _pointer(ref): leaf.row for ref in leaf.row.fields if not ref.up})
    return Atlas(mapping, rows, kinds)


def _pointer(ref: FieldRef) -> str:
    many = len(ref.many) if len(ref.many) < len(ref.path) else 0
    return "".join("/" + step + ("[]" if place < many else "") for place, step in enumerate(ref.path))


# --- records ----------------------------------------------------------------------------------------------------------


@dataclass
class _Builder:
    """Fills a record: first all items with their ids, so that references can lead anywhere; then their fields."""

    draw: Draw
    atlas: Atlas
    wild: bool = False
    dense: bool = False  # most fields of the form, for seeing that each can be drawn
    ids: dict[str, list[str]] = field(default_factory=dict)  # section → ids
    events: list[str] = field(default_factory=list)  # ids of anchors that will have a date, in the order of who may name whom
    planned: dict[int, str] = field(default_factory=dict)  # id(item) → its id
    seen: list[Record] = field(default_factory=list)  # keeps items alive while `planned` knows them by id()

    def record(self) -> Record:
        form = self.atlas.mapping.form
        out: Record = {}
        self.plan_items(form, out, "")
        self.fill(form, out, "", above=None)
        return out

    # Items

    def plan_items(self, form: Object, item: Record, pointer: str) -> None:
        for name, one in form.fields.items():
            here = f"{pointer}/{name}"
            kind = self.atlas.kinds.get(here)
            if kind is None or not self.draw(st.integers(0, 9)) < (9 if self.dense else 5):
                continue
            node = one.node.item if isinstance(one.node, ListOf) else one.node
            assert isinstance(node, Object)
            if not self.possible(node, here + ("[]" if kind.is_list else "")):
                continue
            items = [self.plan_item(node, kind, here) for _ in range(self.draw(st.integers(1, 3)) if kind.is_list else 1)]
            item[name] = items if kind.is_list else items[0]

    def plan_item(self, node: Object, kind: Kind, here: str) -> Record:
        item: Record = {}
        self.seen.append(item)
        if "id" in node.fields and (node.fields["id"].required or self.draw(st.booleans())):
            self.name(item, kind.section)
        self.plan_items(node, item, here + ("[]" if kind.is_list else ""))
        return item

    def name(self, item: Record, section: str) -> None:
        name = f"{self.draw(st.sampled_from(_ID_STEMS))}{'-' if self.draw(st.booleans()) else ''}{len(self.seen)}"
        if self.draw(st.integers(0, 9)) == 0:
            # An id may be any text; one that is no plain word cannot be referred to.
            self.planned[id(item)] = self.draw(texts()) + name
            return
        self.planned[id(item)] = name
        self.ids.setdefault(section, []).append(name)
        if section in self.atlas.mapping.spec.anchors and self.draw(st.booleans()):
            self.events.append(name)

    def possible(self, node: Object, pointer: str) -> bool:
        """Whether each required reference of such an item has something to lead to."""
        needed = [name for name, one in node.fields.items() if one.required and _kind(one.node) == "reference"]
        return all(any(self.ids.get(section) for section in self.atlas.sections(f"{pointer}/{name}")) for name in needed)

    # Fields

    def fill(self, form: Object, out: Record, pointer: str, above: Record | None) -> None:
        """Draws the fields of an object, then those of the items that stand in it."""
        self.fill_own(form, out, pointer, above, frozenset())
        self.fill_below(form, out, pointer)

    def fill_own(self, form: Object, out: Record, pointer: str, above: Record | None, force: frozenset[str]) -> None:
        own = self.planned.get(id(out), "")
        force |= {"when"} if own in self.events else set()
        chosen = self.choose(form, out, pointer, force)
        if own:
            out["id"] = own
        for name in (name for name in form.fields if name in chosen and name != "id"):
            here = f"{pointer}/{name}"
            other = self.atlas.inherited(here)
            value = self.value(form.fields[name].node, here, own, out)
            if not (other and above is not None and above.get(other) == value):
                out[name] = value
        assume(out)

    def fill_below(self, form: Object, out: Record, pointer: str) -> None:
        for name in (name for name in form.fields if f"{pointer}/{name}" in self.atlas.kinds and name in out):
            here, node = f"{pointer}/{name}", form.fields[name].node
            if isinstance(node, ListOf):
                self.fill_items(node.item, out, name, here)
            else:
                assert isinstance(node, Object)
                self.fill(node, out[name], here, out)

    def fill_items(self, node: Node, out: Record, name: str, here: str) -> None:
        """The items of a list, no two of them with the same key."""
        assert isinstance(node, Object)
        key, taken = self.atlas.kinds[here].key, set()
        for item in out[name]:
            below = dict(item)
            for force in (frozenset(), frozenset(key), frozenset(key), None):
                assume(force is not None)
                item.clear()
                item.update(below)
                self.fill_own(node, item, here + "[]", out, force or frozenset())
                mark = unicodedata.normalize("NFC", fhir_json.dumps([item.get(one) for one in key]).decode())
                if mark not in taken:
                    break
            taken.add(mark)
            self.fill_below(node, item, here + "[]")

    def choose(self, form: Object, out: Record, pointer: str, force: frozenset[str]) -> set[str]:
        """Which scalar fields the object gets: what is required, what is forced, and some others, within the form's rules."""
        wanted = self.draw(st.integers(0, 2 ** len(form.fields) - 1))
        if self.dense:
            wanted |= self.draw(st.integers(0, 2 ** len(form.fields) - 1))
        usable = [name for name, one in form.fields.items() if self.usable(one.node, f"{pointer}/{name}")]
        chosen: set[str] = {
            name for name, one in form.fields.items() if one.required and f"{pointer}/{name}" not in self.atlas.kinds
        }
        if form.exclusive and self.draw(st.booleans()):
            usable.reverse()  # so that each of two that exclude each other gets its turn
        order = sorted(usable, key=lambda name: name not in force)
        picked = [name for name in order if name in force or wanted >> list(form.fields).index(name) & 1]
        rest = [name for name in order if name not in picked] if not out else []
        for name in [*picked, *rest]:
            if name in rest and chosen:
                break
            more = _closure(form, chosen | {name})
            clash = any(one in more and other in more for one, other in form.exclusive)
            if not clash and more <= {*usable, *chosen} and name not in _idle(form, more):
                chosen = more
        return chosen

    def usable(self, node: Node, pointer: str) -> bool:
        kind = _kind(node)
        if kind == "reference":
            return self.wild or any(self.ids.get(section) for section in self.atlas.sections(pointer))
        return kind != "ignored" and pointer not in self.atlas.kinds and not pointer.endswith("[]/id")

    # Values

    def value(self, node: Node, pointer: str, own: str, item: Record) -> Any:
        if isinstance(node, ListOf):
            return [self.value(node.item, pointer, own, item) for _ in range(self.draw(st.integers(1, 3)))]
        if isinstance(node, Object):
            inner: Record = {}
            self.fill(node, inner, pointer, None)
            if {"low", "high"} <= inner.keys() and inner["low"] > inner["high"]:
                inner["low"], inner["high"] = inner["high"], inner["low"]
            return inner
        return self.draw(self.scalar(node, pointer, own))

    def scalar(self, node: Scalar, pointer: str, own: str) -> st.SearchStrategy[Any]:
        if self.wild:
            return _by_schema(node)
        # An event is dated by events before it only, so that none is dated by itself.
        events = tuple(self.events[: self.events.index(own)] if own in self.events else self.events)
        if node.kind == "moment":
            return points(events)
        if node.kind == "moment-or-period":
            return moments_or_periods(events)
        if node.kind == "reference":
            return st.sampled_from([one for section in self.atlas.sections(pointer) for one in self.ids.get(section, ())])
        return _BY_KIND[node.kind]() if node.kind in _BY_KIND else _by_schema(node)


def _kind(node: Node) -> str:
    """What the scalars at a node are; empty for objects."""
    inner = node.item if isinstance(node, ListOf) else node
    return inner.kind if isinstance(inner, Scalar) else ""


def _idle(form: Object, chosen: set[str]) -> set[str]:
    """In an object of a converter's own: companions of nothing, as a unit without a number."""
    needed = {other for others in form.requires.values() for other in others}
    used = {other for name in chosen for other in form.requires.get(name, ())}
    return {name for name in chosen & (needed - used) if form.fields[name].origin.line is None}


def _closure(form: Object, names: set[str]) -> set[str]:
    more = names | {other for name in names for other in form.requires.get(name, ())}
    return names if more == names else _closure(form, more)


def cases(mapping: Mapping, *, dense: bool = False) -> st.SearchStrategy[Record]:
    """Records that the form accepts and that convert; `dense` ones have most fields of the form."""
    return _records(atlas(mapping), dense=dense)


def wild_cases(mapping: Mapping) -> st.SearchStrategy[Record]:
    """Records that the form accepts: moments and references are whatever their patterns allow, so that many do not convert."""
    return _records(atlas(mapping), wild=True)


def _records(where: Atlas, *, wild: bool = False, dense: bool = False) -> st.SearchStrategy[Record]:
    # The mapping set is no argument of the strategy: Hypothesis would print all of it.
    @st.composite
    def records(draw: Draw) -> Record:
        return _Builder(draw, where, wild, dense).record()

    return records()


def fields_used(form: Node, value: Any, pointer: str = "") -> Iterator[str]:
    """The form pointers of all fields that a record has, as service.case.form.walk names them."""
    if isinstance(form, ListOf):
        for one in value:
            yield from fields_used(form.item, one, pointer + "[]")
    elif isinstance(form, Object):
        for name, one in value.items():
            yield f"{pointer}/{name}"
            yield from fields_used(form.fields[name].node, one, f"{pointer}/{name}")
