"""Says why a record is not what the form accepts: all errors at once, with their places in the case, in FHIR and in the rule.

The JSON Schema says yes or no in the hot path; here marshmallow schemas, made from the same form, name the rule that each
value breaks, the table at the end says the words, and one walk adds the places. A scalar is judged by its own JSON Schema, so
that both always give one verdict. No text holds a value of the record; a field that the form does not know is named where its
name is a plain word.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from itertools import islice
from typing import Any, NamedTuple

import jsonschema_rs
from marshmallow import RAISE, Schema, ValidationError, fields, validates_schema
from marshmallow.exceptions import SCHEMA

from service.case.form import ListOf, Node, Object, Scalar, walk
from service.case.schema import fragment
from service.fhir.json import pointer as steps_of
from service.issues import Issue, Origin

MISSING: Any = object()
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_-]{1,40}")
# Longer texts are not compared with terms: no term is near them, and the comparison is quadratic.
_LONGEST_COMPARED = 200
_MOST_LISTED = 12
# Of one list, and in all: more says nothing new, and costs the more the worse the record is.
_MOST_EXPLAINED, _MOST_ISSUES = 100, 1000


def explain(form: Object, record: Any) -> list[Issue]:
    """Everything that keeps `record` from the form, in document order, the missing fields of an object after its others.

    Empty exactly where the form's JSON Schema accepts the record. A missing field has the pointer where it would stand.
    Of a list, the first hundred elements that are wrong are explained; in all, a thousand issues.
    """
    try:
        _checker(_Same(form)).load(record)
    except ValidationError as error:
        return list(islice(_walk(error.messages, _root(form, record)), _MOST_ISSUES))
    return []


def prune_unknown(form: Object, record: Any) -> tuple[Any, list[Issue]]:
    """The record without the fields that the form does not know, each reported as a warning; `record` itself stays as it is.

    After a thousand warnings one more says how many there are besides.
    """
    issues: list[Issue] = []
    unnamed: list[str] = []
    kept = _prune(_root(form, record), issues, unnamed)
    if unnamed:
        text = f"{len(unnamed)} more fields are no fields of the form, and are left out too"
        issues.append(Issue("warning", "structure", "case-unknown-field", text, pointer=unnamed[0]))
    return kept, issues


# --- places -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Place:
    """A value of the record (MISSING where a field is not there) beside its node of the form; None for an unknown field."""

    form: Object
    pointer: str
    value: Any
    node: Node | None
    name: str = ""
    above: _Place | None = None
    origin: Origin | None = None
    element: str = ""

    def child(self, step: str | int) -> _Place:
        """The place below: `step` is a field of the object or a position in the list."""
        here = self.pointer + steps_of(step)
        if isinstance(self.node, ListOf):
            return _Place(self.form, here, self.value[step], self.node.item, "", self, self.origin, self.element)
        assert isinstance(self.node, Object), "scalars have nothing below"
        name, value = str(step), self.value.get(step, MISSING)
        field = self.node.fields.get(name)
        if field is None:
            return _Place(self.form, here, value, None, name, self, self.origin)
        # What a converter's own object holds has no row to itself: the row of the object stands for it.
        origin = field.origin if field.origin.line is not None else self.origin
        return _Place(self.form, here, value, field.node, name, self, origin, field.expression or self.element)

    def issue(self, rule: str) -> Issue:
        found = RULES[rule]
        text, fix = found.words(self)
        places = {"pointer": self.pointer, "expression": self.element or None, "origin": self.origin}
        return Issue("error", found.code, rule, text, fix=fix, **places)  # type: ignore[arg-type]

    @property
    def siblings(self) -> tuple[Object, dict[str, Any]]:
        """The object that the field stands in: its form and its value."""
        above = self.above
        assert above is not None, "a field stands in an object"
        assert isinstance(above.node, Object), "a field stands in an object"
        return above.node, above.value


def _root(form: Object, record: Any) -> _Place:
    return _Place(form, "", record, form)


def _walk(found: Any, place: _Place) -> Iterator[Issue]:
    """The issues of marshmallow's messages: rule ids, in lists, below the names and positions where they were found."""
    if isinstance(found, list):
        yield from map(place.issue, found)
        return
    # An unknown field may bear the name under which marshmallow keeps what concerns the whole object.
    yield from (place.issue(rule) for rule in found.get(SCHEMA, ()) if rule != "case-unknown-field")
    if isinstance(place.node, ListOf):
        for index in range(len(place.value)):
            if index in found:
                yield from _walk(found[index], place.child(index))
    elif isinstance(place.node, Object) and isinstance(place.value, dict):
        known = place.node.fields
        for name in [*place.value, *(name for name in known if name not in place.value)]:
            if name not in known:
                yield place.child(name).issue("case-unknown-field")
            elif name in found:
                yield from _walk(found[name], place.child(name))


def _prune(place: _Place, issues: list[Issue], unnamed: list[str]) -> Any:
    node, value = place.node, place.value
    if isinstance(node, ListOf) and isinstance(value, list):
        return [_prune(place.child(index), issues, unnamed) for index in range(len(value))]
    if not isinstance(node, Object) or not isinstance(value, dict):
        return value
    kept = {}
    for name in value:
        here = place.child(name)
        if here.node is not None:
            kept[name] = _prune(here, issues, unnamed)
        elif len(issues) < _MOST_ISSUES:
            issues.append(here.issue("case-unknown-field").at(severity="warning"))
        else:
            unnamed.append(here.pointer)
    return kept


# --- the marshmallow schema -------------------------------------------------------------------------------------------


class _Checker(Schema):
    """One object of the form. Its messages are rule ids."""

    error_messages = {"type": "case-type", "unknown": "case-unknown-field"}  # noqa: RUF012  as marshmallow wants it
    node: Object

    @validates_schema(pass_original=True, skip_on_field_errors=False)
    def _check_whole(self, _data: Any, record: Any, **_options: Any) -> None:
        if not isinstance(record, dict):
            return
        if not record and not any(field.required for field in self.node.fields.values()):
            raise ValidationError("case-empty-object")
        found: dict[str, list[str]] = {}
        for name in record:
            if _lacks(self.node, record, name):
                found.setdefault(name, []).append("case-requires")
        for name in _excluded(self.node, record):
            found.setdefault(name, []).append("case-exclusive")
        if found:
            raise ValidationError(found)


def _lacks(node: Object, record: dict[str, Any], name: str) -> list[str]:
    """The companions that the field needs and has not. One that is required anyway is reported by itself."""
    wanted = node.requires.get(name, ())
    return [other for other in wanted if other not in record and not (other in node.fields and node.fields[other].required)]


def _excluded(node: Object, record: dict[str, Any]) -> list[str]:
    """Of each pair that excludes each other and is there, the name that comes later in the record."""
    order = {name: position for position, name in enumerate(record)}
    pairs = [pair for pair in node.exclusive if pair[0] in order and pair[1] in order]
    return sorted({max(pair, key=order.__getitem__) for pair in pairs}, key=order.__getitem__)


class _Scalar(fields.Field[Any]):
    def __init__(self, node: Scalar, accepts: jsonschema_rs.Validator, **options: Any) -> None:
        super().__init__(**options)
        self.node = node
        self.accepts = accepts

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> Any:  # noqa: ARG002  marshmallow's signature
        if not self.accepts.is_valid(value):
            raise ValidationError(_broken_rule(self.node.schema, value))
        return value


class _List(fields.List[Any]):
    """A list whose elements are looked into only where their schema refuses them, and only so far as anyone would read."""

    def __init__(self, node: ListOf, **options: Any) -> None:
        super().__init__(_field(node.item), **options)
        self.accepts = jsonschema_rs.validator_for(fragment(node.item))

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> list[Any]:  # noqa: ARG002  marshmallow's signature
        if not isinstance(value, list):
            raise ValidationError("case-type")
        if not value:
            raise ValidationError("case-empty-list")
        refused = (index for index, element in enumerate(value) if not self.accepts.is_valid(element))
        errors = {index: self._errors(value[index], **kwargs) for index in islice(refused, _MOST_EXPLAINED)}
        if errors:
            raise ValidationError(errors)
        return value

    def _errors(self, element: Any, **kwargs: Any) -> Any:
        try:
            self.inner.deserialize(element, **kwargs)
        except ValidationError as error:
            return error.messages
        raise AssertionError("the form refuses what its schema refuses")


def _broken_rule(schema: Mapping[str, Any], value: Any) -> str:
    """Why a scalar is refused: its type; where that is right, the one thing that its kind of scalar can get wrong."""
    if not _is_type(value, schema.get("type", "")):
        return "case-type"
    if "enum" in schema:
        return "case-unknown-term"
    return "case-pattern" if isinstance(value, str) else "case-bound"


def _field(node: Node, *, required: bool = False, name: str | None = None) -> fields.Field[Any]:
    options: dict[str, Any] = {
        "required": required,
        "data_key": name,
        "error_messages": {"required": "case-required", "null": "case-type"},
    }
    if isinstance(node, ListOf):
        return _List(node, **options)
    if isinstance(node, Object):
        return fields.Nested(_schema(node), **options)
    accepts = jsonschema_rs.validator_for(dict(node.schema))
    return _Scalar(node, accepts, allow_none=accepts.is_valid(None), **options)


def _schema(node: Object) -> _Checker:
    """The attributes get names of their own: a field of a case may be called like a method of Schema."""
    made = {
        f"field_{position}": _field(field.node, required=field.required, name=name)
        for position, (name, field) in enumerate(node.fields.items())
    }
    checker = _Checker.from_dict(made)(unknown=RAISE)
    assert isinstance(checker, _Checker), "from_dict makes a subclass"
    checker.node = node
    return checker


class _Same(NamedTuple):
    """A form as a key of the caches: it holds dicts and has no hash, so it counts as itself alone."""

    form: Object

    def __hash__(self) -> int:
        return id(self.form)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.form is other.form


@lru_cache(maxsize=8)
def _checker(same: _Same) -> _Checker:
    return _schema(same.form)


@lru_cache(maxsize=8)
def _homes(same: _Same) -> dict[str, list[str]]:
    """Field name → the objects that have it, as a reader names them: "treatments[]/drugs[]"."""
    homes: dict[str, list[str]] = {}
    for pointer, _field in walk(same.form):
        home, _slash, name = pointer.rpartition("/")
        homes.setdefault(name.removesuffix("[]"), []).append(home.removeprefix("/") or "the record")
    return homes


# --- the words --------------------------------------------------------------------------------------------------------


def _json_type(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    names: list[tuple[type, str]] = [(str, "string"), (int, "integer"), (list, "array"), (dict, "object")]
    return next((name for kind, name in names if isinstance(value, kind)), "number")


def _is_type(value: Any, wanted: str) -> bool:
    """As JSON Schema has it: an integer is any number without a fraction, however it is written."""
    actual = _json_type(value)
    if wanted == "number":
        return actual in ("number", "integer")
    if wanted == "integer" and actual == "number":
        return Decimal(value) == Decimal(value).to_integral_value()
    return actual == wanted


def _says(node: Node | None) -> str:
    if isinstance(node, Scalar):
        return node.says
    if isinstance(node, ListOf):
        return f"a list; each element is {_says(node.item)}"
    names = _listed([name for name, field in node.fields.items() if field.required] or list(node.fields)) if node else ""
    return f"an object with {names}"


def _listed(names: list[str]) -> str:
    more = len(names) - _MOST_LISTED
    return ", ".join(names[:_MOST_LISTED]) + (f" and {more} more" if more > 0 else "")


def _near(word: str, known: list[str]) -> str:
    """The known word nearest to this one, upper and lower case being equal; empty where none is near."""
    if len(word) > _LONGEST_COMPARED:
        return ""
    lower = {name.lower(): name for name in reversed(known)}
    found = difflib.get_close_matches(word.lower(), lower, n=1)
    return lower[found[0]] if found else ""


def _type(place: _Place) -> tuple[str, str]:
    node = place.node
    wanted = "array" if isinstance(node, ListOf) else "object" if isinstance(node, Object) else ""
    if isinstance(node, Scalar):
        wanted = str(node.schema["type"])
    return f"expected {wanted}, got {_json_type(place.value)}", f"write {_says(node)}"


def _unknown_field(place: _Place) -> tuple[str, str]:
    above, _siblings = place.siblings
    plain = place.name if _PLAIN_NAME.fullmatch(place.name) else ""
    text = f"'{plain}' is no field here" if plain else "this is no field of the form"
    hints = []
    if near := _near(place.name, list(above.fields)):
        hints.append(f"did you mean '{near}'?")
    if homes := _homes(_Same(place.form)).get(place.name):
        hints.append(f"'{place.name}' is a field of {_listed(homes)}")
    return text, "; ".join(hints) or "remove it, map it in the mapping set, or list it there under `ignored`"


def _unknown_term(place: _Place) -> tuple[str, str]:
    assert isinstance(place.node, Scalar), "only scalars have terms"
    terms = [str(term) for term in place.node.schema["enum"]]
    if near := _near(place.value, terms):
        fix = f"did you mean '{near}'?"
    elif len(terms) <= _MOST_LISTED:
        fix = f"one of: {', '.join(terms)}"
    else:
        fix = "take one of its terms, or add a row to the table (casebridge mappings show)"
    return f"expected {place.node.says}", fix


_HOW_TO_WRITE = {
    "date": "write it like 1972, 1972-04 or 1972-04-30, a day that the calendar has",
    "moment": "write it like 2018, 2018-08, 2018-08-21 (a day that the calendar has) or 'day 14 of ID'",
    "moment-or-period": "write it like 2018-08-21 (a day that the calendar has), '2018-08 to 2018-11' or 'day 14 of ID'",
    "reference": "write an id that an item has: letters and digits, with single - _ . between them",
    "uri": "write it like https://example.org/trial",
    "source": "write it like https://doi.org/10.1000/182",
    "text": "remove blanks at its ends and control characters; leave an empty text out",
}


def _pattern(place: _Place) -> tuple[str, str]:
    assert isinstance(place.node, Scalar), "only scalars have patterns"
    return f"expected {place.node.says}", _HOW_TO_WRITE.get(place.node.kind, "write it as it is expected")


def _bound(place: _Place) -> tuple[str, str]:
    assert isinstance(place.node, Scalar), "only scalars have bounds"
    if "maximum" not in place.node.schema:
        return f"expected {place.node.says}", "check the number"
    low, high = place.node.schema.get("minimum"), place.node.schema.get("maximum")
    bounds = f"from {low} to {high}" if None not in (low, high) else f"from {low}" if low is not None else f"up to {high}"
    return f"expected {place.node.says} {bounds}", "check the number"


def _required(place: _Place) -> tuple[str, str]:
    return f"'{place.name}' is required", f"add it: {_says(place.node)}"


def _requires(place: _Place) -> tuple[str, str]:
    above, record = place.siblings
    missing = _lacks(above, record, place.name)
    fix = "; ".join(f"{name}: {_says(above.fields[name].node)}" for name in missing if name in above.fields)
    return f"'{place.name}' needs {' and '.join(repr(name) for name in missing)} beside it", f"add {fix}"


def _exclusive(place: _Place) -> tuple[str, str]:
    above, record = place.siblings
    pairs = [pair for pair in above.exclusive if place.name in pair and pair[0] in record and pair[1] in record]
    names = [place.name, *sorted({name for pair in pairs for name in pair} - {place.name})]
    return f"at most one of {' and '.join(repr(name) for name in sorted(names))} may be given", "keep one of them"


def _empty(what: str, part: str) -> Callable[[_Place], tuple[str, str]]:
    return lambda _place: (f"{what} is empty", f"leave it out, or give it {part}")


class Rule(NamedTuple):
    """One way to break the form: its code (http://hl7.org/fhir/R4/valueset-issue-type.html), and what it says and advises."""

    code: str
    words: Callable[[_Place], tuple[str, str]]


RULES: Mapping[str, Rule] = {
    "case-type": Rule("structure", _type),
    "case-unknown-field": Rule("structure", _unknown_field),
    "case-unknown-term": Rule("code-invalid", _unknown_term),
    "case-pattern": Rule("value", _pattern),
    "case-bound": Rule("value", _bound),
    "case-required": Rule("required", _required),
    "case-requires": Rule("required", _requires),
    "case-exclusive": Rule("invariant", _exclusive),
    "case-empty-list": Rule("structure", _empty("the list", "an element")),
    "case-empty-object": Rule("structure", _empty("the object", "a field")),
}
