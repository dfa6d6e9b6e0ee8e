"""The converters: named pairs of functions between fields of a case and one FHIR element, in a table at the end.

A converter is bound to its element and its arguments when the mapping set loads, and then knows the form of its fields and
the FHIR types that it writes. Its two functions raise ValueError with a sentence and no value; the caller's loop adds the
places. What `to_fhir` makes of any value that the form accepts, `to_case` turns back into that value.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from service.case.form import ITEM_ID, ListOf, Node, Object, Scalar, terms, text
from service.case.form import Field as FormField
from service.issues import Origin
from service.mapping import moments
from service.mapping.scope import Scope
from service.terminology.tables import CodeTable

UCUM = moments.UCUM
COMPARATORS = ("<", "<=", ">=", ">")
# FHIR's integer is 32 bits wide: http://hl7.org/fhir/R4/datatypes.html#integer
_INTEGER_BOUNDS = {"integer": -(2**31), "unsignedInt": 0, "positiveInt": 1}


@dataclass(frozen=True)
class Target:
    """What a converter may write to: the FHIR types that the element allows here, and whether it must have a value."""

    types: tuple[str, ...]
    required: bool
    reference_targets: tuple[str, ...] = ()


@dataclass(frozen=True)
class Argument:
    """What stands in a row's brackets: the words, the code tables of those names, the sections with their resource types."""

    words: tuple[str, ...]
    tables: Mapping[str, CodeTable]
    sections: Mapping[str, str]
    items_system: str

    def table(self) -> CodeTable:
        (name,) = self.words
        return self.tables[name]


@dataclass(frozen=True)
class Bound:
    """A converter bound to one row. `forms`: one form for each field, in order; `optional`: the last n fields may be absent.

    `to_fhir(*fields, scope)` gives the FHIR value; `to_case(value, scope)` gives the field, or a tuple where there are several.
    A `merging` converter writes properties of several names: `to_fhir(out, name, *fields, scope)`, and reads them by
    `to_case(source, name, inherited, scope)`, where `inherited` is the field of the item above, if its row has one.
    """

    forms: tuple[Node, ...]
    types: tuple[str, ...]
    to_fhir: Callable[..., Any]
    to_case: Callable[..., Any]
    optional: int = 0
    merging: bool = False
    identity: bool = False
    table: CodeTable | None = None


Make = Callable[[Target, Argument], Bound]


@dataclass(frozen=True)
class Converter:
    """One row of the table: how it is made, what its brackets hold, how many fields it takes, and what it says of itself."""

    make: Make
    arguments: str  # "", "table", "units", "unit", "two units", "sections"
    fields: tuple[int, int]
    says: str


def _same(value: Any, _scope: Scope) -> Any:
    return value


def _direct(*types: str, form: Callable[[Target], Node]) -> Make:
    """A converter that carries the JSON value over as it is."""

    def make(target: Target, _argument: Argument) -> Bound:
        return Bound((form(target),), _common(target, types), _same, _same, identity=True)

    return make


def _common(target: Target, types: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name for name in types if name in target.types)


def _integer_form(target: Target) -> Scalar:
    kind = next((name for name in target.types if name in _INTEGER_BOUNDS), "integer")
    bounds = {"minimum": _INTEGER_BOUNDS[kind], "maximum": 2**31 - 1}
    return Scalar("integer", {"type": "integer", **bounds}, "a whole number")


def _number() -> Scalar:
    return Scalar("decimal", {"type": "number"}, "a number, kept digit for digit")


def _whole(value: Any, _scope: Scope) -> Any:
    # JSON Schema counts 1.0 as an integer; FHIR's integer has no decimals, so it could not come back as written.
    if type(value) is not int:
        raise ValueError("expected a whole number written without decimals")
    return value


def _integer(target: Target, _argument: Argument) -> Bound:
    return Bound((_integer_form(target),), _common(target, ("integer", "positiveInt", "unsignedInt")), _whole, _whole)


def _date(target: Target, _argument: Argument) -> Bound:
    pattern = moments.DATE.replace(f"(?:{moments.TIME})?", "")

    def check(value: str, _scope: Scope) -> str:
        return moments.parse(value).date or ""  # type: ignore[union-attr]

    form = text("date", pattern, "a date as precise as it is known: 1972, 1972-04, 1972-04-30")
    return Bound((form,), _common(target, ("date", "dateTime")), check, check)


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

    return Bound((terms(tuple(table.terms), table.name),), _common(target, ("code",)), to_fhir, to_case, table=table)


def _concept(target: Target, argument: Argument) -> Bound:
    table = argument.table()
    codings = {name: [coding.to_fhir() for coding in term.codings] for name, term in table.terms.items()}

    def to_fhir(term: str, _scope: Scope) -> dict[str, Any]:
        if found := codings[term]:
            return {"coding": [coding.copy() for coding in found], "text": term}
        return {"text": term}

    def to_case(concept: Any, _scope: Scope) -> str:
        term = table.term_for(concept)
        if term is None:
            raise ValueError(f"the code table '{table.name}' has no term for this concept")
        return term

    form = terms(tuple(table.terms), table.name)
    return Bound((form,), _common(target, ("CodeableConcept",)), to_fhir, to_case, table=table)


def _term(target: Target, argument: Argument) -> Bound:
    table = argument.table()
    return Bound((terms(tuple(table.terms), table.name),), _common(target, ("string",)), _same, _same, identity=True)


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

    return Bound(concept.forms, _common(target, ("Reference",)), to_fhir, to_case, merging=True, table=concept.table)


# --- quantities -----------------------------------------------------------------------------------------------------


def _ucum(table: CodeTable, unit: str) -> str:
    return table.terms[unit].codings[0].code


def _quantity(target: Target, argument: Argument) -> Bound:
    table = argument.table()
    codes = {unit: _ucum(table, unit) for unit in table.terms}

    def to_fhir(value: Any, unit: str, comparator: str | None, _scope: Scope) -> dict[str, Any]:
        out = {"value": value, "unit": unit, "system": UCUM, "code": codes[unit]}
        if comparator is not None:
            out["comparator"] = comparator
        return out

    def to_case(quantity: dict[str, Any], _scope: Scope) -> tuple[Any, str, str | None]:
        return quantity["value"], _unit_term(table, quantity), quantity.get("comparator")

    forms: tuple[Node, ...] = (_number(), terms(tuple(codes), table.name), _comparator())
    return Bound(forms, _common(target, ("Quantity", "SimpleQuantity")), to_fhir, to_case, optional=1, table=table)


def _comparator() -> Scalar:
    schema = {"type": "string", "enum": list(COMPARATORS)}
    return Scalar("comparator", schema, "how the true value relates to the printed one: " + ", ".join(COMPARATORS))


def _unit_term(table: CodeTable, quantity: dict[str, Any]) -> str:
    """The term of a Quantity's unit: the printed one where the table knows it, else that of its UCUM code."""
    unit = quantity.get("unit")
    if unit in table.terms:
        return str(unit)
    term = table.by_code.get((quantity.get("system", ""), quantity.get("code", "")))
    if term is None:
        raise ValueError(f"the code table '{table.name}' has no term for this unit")
    return term


def _measure(target: Target, argument: Argument) -> Bound:
    (unit,) = argument.words

    def to_fhir(value: Any, _scope: Scope) -> dict[str, Any]:
        return {"value": value, "unit": unit, "system": UCUM, "code": unit}

    def to_case(quantity: dict[str, Any], _scope: Scope) -> Any:
        if quantity.get("code") != unit:
            raise ValueError(f"expected a quantity in {unit}")
        return quantity["value"]

    return Bound((_number(),), _common(target, ("Quantity", "SimpleQuantity", "Age", "Duration")), to_fhir, to_case)


# Exact factors between a printed unit and the one that a profile demands.
_FACTORS = {("Gy", "cGy"): 100, ("cm", "mm"): 10, ("g", "mg"): 1000}


def _converted(target: Target, argument: Argument) -> Bound:
    """A number kept in one unit and written in another: the count of decimals stays, so that 46.0 Gy comes back as 46.0."""
    unit, written = argument.words
    factor = _FACTORS[unit, written]

    def to_fhir(value: Any, _scope: Scope) -> dict[str, Any]:
        return {"value": value * factor, "unit": written, "system": UCUM, "code": written}

    def to_case(quantity: dict[str, Any], _scope: Scope) -> Any:
        value = quantity["value"]
        exact = Decimal(value) / factor
        rounded = exact.quantize(Decimal(1).scaleb(int(Decimal(value).as_tuple().exponent)))
        if rounded != exact:
            return exact
        return int(rounded) if type(value) is int else rounded

    return Bound((_number(),), _common(target, ("Quantity", "SimpleQuantity")), to_fhir, to_case)


def _object(fields: dict[str, tuple[Node, bool]], **rules: Any) -> Object:
    here = Origin("the converter")
    return Object({name: FormField(node, needed, here) for name, (node, needed) in fields.items()}, **rules)


def _bounds(table: CodeTable, *, text_too: bool) -> Object:
    fields: dict[str, tuple[Node, bool]] = {
        "low": (_number(), False),
        "high": (_number(), False),
        "unit": (terms(tuple(table.terms), table.name), False),
    }
    if text_too:
        fields["text"] = (text(), False)
    return _object(fields, requires={"low": ("unit",), "high": ("unit",)})


def _range(target: Target, argument: Argument) -> Bound:
    table = argument.table()

    def to_fhir(value: dict[str, Any], _scope: Scope) -> dict[str, Any]:
        out: dict[str, Any] = {}
        for end in ("low", "high"):
            if end in value:
                unit = value["unit"]
                out[end] = {"value": value[end], "unit": unit, "system": UCUM, "code": _ucum(table, unit)}
        if "unit" in value and not out:
            raise ValueError("a unit without low or high")
        if "text" in value:
            out["text"] = value["text"]
        return out

    def to_case(source: dict[str, Any], _scope: Scope) -> dict[str, Any]:
        out: dict[str, Any] = {}
        for end in ("low", "high"):
            if end in source:
                out[end] = source[end]["value"]
                out["unit"] = _unit_term(table, source[end])
        if "text" in source:
            out["text"] = source["text"]
        return out

    is_reference_range = "Range" not in target.types
    types = _common(target, ("Range", "BackboneElement"))
    return Bound((_bounds(table, text_too=is_reference_range),), types, to_fhir, to_case, table=table)


def _ratio(target: Target, _argument: Argument) -> Bound:
    def to_fhir(numerator: Any, denominator: Any, _scope: Scope) -> dict[str, Any]:
        return {"numerator": {"value": numerator}, "denominator": {"value": denominator}}

    def to_case(ratio: dict[str, Any], _scope: Scope) -> tuple[Any, Any]:
        return ratio["numerator"]["value"], ratio["denominator"]["value"]

    return Bound((_number(), _number()), _common(target, ("Ratio",)), to_fhir, to_case)


# --- time and references --------------------------------------------------------------------------------------------


def _moment(target: Target, _argument: Argument) -> Bound:
    takes_period = "Period" in target.types
    pattern, says = (moments.POINT, moments.POINT_SAYS)
    if takes_period:
        pattern, says = rf"(?:{moments.POINT}|{moments.PERIOD})", moments.PERIOD_SAYS
    choice = len(target.types) > 1
    # fhir.resources wants a value wherever a choice is required: there, an undated point is a period of that one point.
    as_period = takes_period and target.required

    def to_fhir(out: dict[str, Any], name: str, own: str | None, inherited: str | None, scope: Scope) -> None:
        moment = moments.parse(own if own is not None else inherited or "")
        if own is not None and own == inherited:
            raise ValueError("the same moment as that of the item above: leave it out, it is taken from there")
        if isinstance(moment, moments.Span):
            _put_period(out, name, moment.start, moment.end, scope)
        elif as_period and moments.computed_date(moment, scope.day_of) is None:
            _put_period(out, name, moment, moment, scope)
        else:
            moments.put(out, name + "DateTime" if choice else name, moment, scope.day_of, scope.event)

    def to_case(source: dict[str, Any], name: str, inherited: str | None, _scope: Scope) -> str | None:
        moment = moments.take(source, name + "DateTime" if choice else name) or _take_period(source, name)
        own = moments.write(moment) if moment else None
        return None if own == inherited else own

    types = _common(target, ("dateTime", "Period"))
    return Bound((text("moment" if not takes_period else "moment-or-period", pattern, says),), types, to_fhir, to_case, merging=True)


def _put_period(
    out: dict[str, Any], name: str, start: moments.Point | None, end: moments.Point | None, scope: Scope
) -> None:
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
    return Bound((form,), _common(target, ("Reference",)), to_fhir, to_case)


def _url(_target: Target) -> Scalar:
    return text("uri", r"[A-Za-z][A-Za-z0-9+.-]*:[^\s<>\"{}|\\^`\x00-\x20]+", "an absolute URI")


CONVERTERS: Mapping[str, Converter] = {
    "text": Converter(
        _direct("string", "markdown", form=lambda _target: text()), "", (1, 1), "text ↔ string or markdown, unchanged"
    ),
    "uri": Converter(_direct("uri", "url", "canonical", form=_url), "", (1, 1), "an absolute URI ↔ uri, url or canonical"),
    "boolean": Converter(
        _direct("boolean", form=lambda _target: Scalar("boolean", {"type": "boolean"}, "true or false")),
        "",
        (1, 1),
        "true or false ↔ boolean",
    ),
    "integer": Converter(_integer, "", (1, 1), "a whole number ↔ integer, positiveInt or unsignedInt"),
    "decimal": Converter(
        _direct("decimal", form=lambda _target: _number()), "", (1, 1), "a number ↔ decimal, digit for digit"
    ),
    "date": Converter(_date, "", (1, 1), "a partial date (1972, 1972-04, 1972-04-30) ↔ date"),
    "moment": Converter(
        _moment,
        "",
        (1, 2),
        "a partial date, a period or a distance from a named event ↔ dateTime or Period with the relative-date extension; "
        "a second field ../x is the moment of the item above, taken where the item has none of its own",
    ),
    "code": Converter(_code, "table", (1, 1), "a term of a code table ↔ code"),
    "concept": Converter(_concept, "table", (1, 1), "a term of a code table ↔ CodeableConcept with all its codings and the term as text"),
    "term": Converter(_term, "table", (1, 1), "a term of a code table ↔ the same words as string"),
    "specimen": Converter(_specimen, "table", (1, 1), "a term of a code table ↔ a contained Specimen of that type"),
    "quantity": Converter(
        _quantity, "table", (2, 3), "value, unit, comparator? ↔ Quantity: the unit term as printed, its UCUM code beside it"
    ),
    "measure": Converter(_measure, "unit", (1, 1), "a number in one fixed UCUM unit ↔ Quantity, Age or Duration"),
    "converted": Converter(_converted, "two units", (1, 1), "a number in the first unit ↔ Quantity in the second, exactly"),
    "range": Converter(_range, "table", (1, 1), "{low, high, unit} ↔ Range"),
    "reference_range": Converter(_range, "table", (1, 1), "{low, high, unit, text} ↔ Observation.referenceRange"),
    "ratio": Converter(_ratio, "", (2, 2), "two numbers ↔ Ratio"),
    "reference": Converter(_reference, "sections", (1, 1), "the id of another item ↔ Reference to its resource"),
}

__all__ = ["CONVERTERS", "Argument", "Bound", "Converter", "ListOf", "Target"]
