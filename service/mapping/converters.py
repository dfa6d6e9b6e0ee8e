"""The converters: named pairs of functions between fields of a case and one FHIR element, in a table at the end.

A converter is bound to its element and its arguments when the mapping set loads, and then knows the form of its fields and
the FHIR types that it writes. Its two functions raise ValueError with a sentence and no value; the caller's loop adds the
places. What `to_fhir` makes of any value that the form accepts, `to_case` turns back into that value.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from service.case.form import ITEM_ID, Node, Scalar, terms, text
from service.mapping import moments, quantities
from service.mapping.bound import Argument, Bound, Converter, Make, Target, common
from service.mapping.quantities import amount, number
from service.mapping.scope import Scope

# FHIR's integer is 32 bits wide: http://hl7.org/fhir/R4/datatypes.html#integer
_INTEGER_BOUNDS = {"integer": -(2**31), "unsignedInt": 0, "positiveInt": 1}


def _same(value: Any, _scope: Scope) -> Any:
    return value


def _direct(*types: str, form: Callable[[Target], Node]) -> Make:
    """A converter that carries the JSON value over as it is."""

    def make(target: Target, _argument: Argument) -> Bound:
        return Bound((form(target),), common(target, types), _same, _same, identity=True)

    return make


def _integer_form(target: Target) -> Scalar:
    kind = next((name for name in target.types if name in _INTEGER_BOUNDS), "integer")
    bounds = {"minimum": _INTEGER_BOUNDS[kind], "maximum": 2**31 - 1}
    return Scalar("integer", {"type": "integer", **bounds}, "a whole number")


def _whole(value: Any, _scope: Scope) -> Any:
    # JSON Schema counts 1.0 as an integer; FHIR's integer has no decimals, so it could not come back as written.
    if type(value) is not int:
        raise ValueError("expected a whole number written without decimals")
    return value


def _integer(target: Target, _argument: Argument) -> Bound:
    return Bound((_integer_form(target),), common(target, ("integer", "positiveInt", "unsignedInt")), _whole, _whole)


def _date(_target: Target) -> Scalar:
    return text("date", moments.DATE, "a date as precise as it is known: 1972, 1972-04, 1972-04-30")


# --- codes ----------------------------------------------------------------------------------------------------------


def _code(target: Target, argument: Argument) -> Bound:
    table = argument.table()
    to_code = {name: term.codings[0].code for name, term in table.terms.items() if term.codings}
    to_term = {code: name for name, code in to_code.items()}

    def to_fhir(term: str, _scope: Scope) -> str:
        return to_code[term]

    def to_case(code: str, _scope: Scope) -> str:
        if code not in to_term:
            raise ValueError(f"the code table '{table.name}' has no term for this code")
        return to_term[code]

    return Bound((terms(tuple(table.terms), table.name),), common(target, ("code",)), to_fhir, to_case, table=table)


def _concept(target: Target, argument: Argument) -> Bound:
    table = argument.table()
    codings = {name: [coding.to_fhir() for coding in term.codings] for name, term in table.terms.items()}

    def to_fhir(term: str, _scope: Scope) -> dict[str, Any]:
        found = codings[term]
        if len(found) == 1:
            return {"coding": [found[0].copy()], "text": term}
        if found:
            return {"coding": [coding.copy() for coding in found], "text": term}
        return {"text": term}

    def to_case(concept: Any, _scope: Scope) -> Any:
        text = concept.get("text")
        if text in codings:
            return text
        term = table.term_for(concept)
        if term is None:
            raise ValueError(f"the code table '{table.name}' has no term for this concept")
        return term

    form = terms(tuple(table.terms), table.name)
    return Bound((form,), common(target, ("CodeableConcept",)), to_fhir, to_case, table=table)


def _term(target: Target, argument: Argument) -> Bound:
    table = argument.table()
    return Bound((terms(tuple(table.terms), table.name),), common(target, ("string",)), _same, _same, identity=True)


def _specimen(target: Target, argument: Argument) -> Bound:
    """A Specimen contained in the Observation: it has no life of its own where only its type is known."""
    concept = _concept(Target(("CodeableConcept",), False), argument)

    def to_fhir(out: dict[str, Any], name: str, term: str, scope: Scope) -> None:
        kind = concept.to_fhir(term, scope)
        out["contained"] = [{"resourceType": "Specimen", "id": "specimen", "type": kind, "subject": scope.patient()}]
        out[name] = {"reference": "#specimen"}

    def to_case(source: dict[str, Any], name: str, _inherited: None, scope: Scope) -> str | None:
        if name not in source:
            return None
        (held,) = source["contained"]
        return str(concept.to_case(held["type"], scope))

    return Bound(concept.forms, common(target, ("Reference",)), to_fhir, to_case, merging=True, table=concept.table)


# --- time and references --------------------------------------------------------------------------------------------


def _moment(target: Target, _argument: Argument) -> Bound:
    takes_period = "Period" in target.types
    pattern, says = (moments.POINT, moments.POINT_SAYS)
    if takes_period:
        pattern, says = rf"(?:{moments.POINT}|{moments.PERIOD})", moments.PERIOD_SAYS
    suffix = "DateTime" if len(target.types) > 1 else ""
    # fhir.resources wants a value wherever a choice is required: there, an undated point is a period of that one point.
    as_period = takes_period and target.required

    def to_fhir(out: dict[str, Any], name: str, own: str | None, inherited: str | None, scope: Scope) -> None:
        if own is not None and own == inherited:
            raise ValueError("the same moment as that of the item above: leave it out, it is taken from there")
        text = own if own is not None else inherited or ""
        if " " not in text:  # the form accepts it, so it is a date: all other moments are several words
            out[name + suffix] = text
            return
        moment = scope.moment(text)
        if isinstance(moment, moments.Span):
            _put_period(out, name, moment.start, moment.end, scope)
        elif as_period and moments.computed_date(moment, scope.day_of) is None:
            _put_period(out, name, moment, moment, scope)
        else:
            moments.put(out, name + suffix, moment, scope.day_of, scope.event)

    def to_case(source: dict[str, Any], name: str, inherited: str | None, _scope: Scope) -> str | None:
        own = source.get(name + suffix)
        if own is None or f"_{name}{suffix}" in source:
            moment = moments.take(source, name + suffix) or _take_period(source, name)
            own = moments.write(moment) if moment else None
        return None if own == inherited else own

    types = common(target, ("dateTime", "Period"))
    return Bound(
        (text("moment" if not takes_period else "moment-or-period", pattern, says),), types, to_fhir, to_case, merging=True
    )


def _put_period(out: dict[str, Any], name: str, start: moments.Point | None, end: moments.Point | None, scope: Scope) -> None:
    period: dict[str, Any] = {}
    if start is not None:
        moments.put(period, "start", start, scope.day_of, scope.event)
    if end is not None:
        moments.put(period, "end", end, scope.day_of, scope.event)
    out[name + "Period"] = period


def _take_period(source: dict[str, Any], name: str) -> moments.Point | moments.Span | None:
    period = source.get(name + "Period")
    if period is None:
        return None
    start, end = moments.take(period, "start"), moments.take(period, "end")
    if start is None and end is None:
        return None
    return start if start is not None and start == end else moments.Span(start, end)


def _reference(target: Target, argument: Argument) -> Bound:
    sections = argument.words

    def to_fhir(item: str, scope: Scope) -> dict[str, Any]:
        return scope.refer(item, sections)

    def to_case(reference: dict[str, Any], scope: Scope) -> str:
        return scope.item_at(reference, sections)

    form = text("reference", ITEM_ID, "the id of an item of " + ", ".join(sections))
    return Bound((form,), common(target, ("Reference",)), to_fhir, to_case)


# Without a fragment.
_URI = r"[A-Za-z][A-Za-z0-9+.-]*:[^\s<>\"{}|\\^`#\x00-\x20]+"


def _source(target: Target, _argument: Argument) -> Bound:
    """Servers add "#" and the id of a request to what they were given, or write that alone: what follows "#" is never ours."""

    def to_fhir(out: dict[str, Any], name: str, value: str, _scope: Scope) -> None:
        out[name] = value

    def to_case(source: dict[str, Any], name: str, _inherited: None, _scope: Scope) -> str | None:
        return str(source.get(name, "")).partition("#")[0] or None

    form = text("source", _URI, "an absolute URI without '#'")
    return Bound((form,), common(target, ("uri",)), to_fhir, to_case, merging=True)


def _url(_target: Target) -> Scalar:
    return text("uri", _URI.replace("#", ""), "an absolute URI")


CONVERTERS: Mapping[str, Converter] = {
    "text": Converter(
        _direct("string", "markdown", form=lambda _target: text()), "", (1, 1), "text ↔ string or markdown, unchanged"
    ),
    "source": Converter(
        _source, "", (1, 1), "an absolute URI ↔ meta.source; what a server adds behind '#' is cut off on the way back"
    ),
    "uri": Converter(_direct("uri", "url", "canonical", form=_url), "", (1, 1), "an absolute URI ↔ uri, url or canonical"),
    "boolean": Converter(
        _direct("boolean", form=lambda _target: Scalar("boolean", {"type": "boolean"}, "true or false")),
        "",
        (1, 1),
        "true or false ↔ boolean",
    ),
    "integer": Converter(_integer, "", (1, 1), "a whole number ↔ integer, positiveInt or unsignedInt"),
    "decimal": Converter(_direct("decimal", form=lambda _target: number()), "", (1, 1), "a number ↔ decimal, digit for digit"),
    "amount": Converter(
        _direct("decimal", form=lambda _target: amount()),
        "",
        (1, 1),
        "a number that is not negative ↔ decimal, digit for digit",
    ),
    "date": Converter(_direct("date", "dateTime", form=_date), "", (1, 1), "a partial date (1972, 1972-04, 1972-04-30) ↔ date"),
    "moment": Converter(
        _moment,
        "",
        (1, 2),
        "a partial date, a period or a distance from a named event ↔ dateTime or Period with the relative-date extension; "
        "a second field ../x is the moment of the item above, taken where the item has none of its own",
    ),
    "code": Converter(_code, "table", (1, 1), "a term of a code table ↔ code"),
    "concept": Converter(
        _concept, "table", (1, 1), "a term of a code table ↔ CodeableConcept with all its codings and the term as text"
    ),
    "term": Converter(_term, "table", (1, 1), "a term of a code table ↔ the same words as string"),
    "specimen": Converter(_specimen, "table", (1, 1), "a term of a code table ↔ a contained Specimen of that type"),
    "quantity": Converter(
        quantities.quantity,
        "table",
        (2, 3),
        "value, unit, comparator? ↔ Quantity: the unit term as printed, its UCUM code beside it",
    ),
    "measure": Converter(quantities.measure, "unit", (1, 1), "a number in one fixed UCUM unit ↔ Quantity, Age or Duration"),
    "converted": Converter(
        quantities.converted, "two units", (1, 1), "a number in the first unit ↔ Quantity in the second, exactly"
    ),
    "range": Converter(quantities.range_, "table", (1, 1), "{low, high, unit} ↔ Range"),
    "reference_range": Converter(quantities.range_, "table", (1, 1), "{low, high, unit, text} ↔ Observation.referenceRange"),
    "ratio": Converter(quantities.ratio, "", (2, 2), "two numbers ↔ Ratio"),
    "reference": Converter(_reference, "sections", (1, 1), "the id of another item ↔ Reference to its resource"),
}
