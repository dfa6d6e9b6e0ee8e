"""Converters between numbers of a case and FHIR's quantities, ranges and ratios: digit for digit, units as UCUM."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from service.case.form import Field as FormField
from service.case.form import Node, Object, Scalar, terms, text
from service.issues import Origin
from service.mapping.bound import Argument, Bound, Target, common
from service.mapping.moments import UCUM
from service.mapping.scope import Scope
from service.terminology.tables import CodeTable

COMPARATORS = ("<", "<=", ">=", ">")


def number() -> Scalar:
    return Scalar("decimal", {"type": "number"}, "a number, kept digit for digit")


def amount() -> Scalar:
    return Scalar("decimal", {"type": "number", "minimum": 0}, "a number that is not negative, kept digit for digit")


def _positive() -> Scalar:
    """What an age must be: http://hl7.org/fhir/R4/datatypes.html#Age age-1"""
    return Scalar("decimal", {"type": "number", "exclusiveMinimum": 0}, "a number above 0, kept digit for digit")


def _ucum(table: CodeTable) -> dict[str, str]:
    """Unit term → UCUM code."""
    return {unit: term.codings[0].code for unit, term in table.terms.items()}


def quantity(target: Target, argument: Argument) -> Bound:
    table = argument.table()
    codes = _ucum(table)

    def to_fhir(value: Any, unit: str, comparator: str | None, _scope: Scope) -> dict[str, Any]:
        out = {"value": value, "unit": unit, "system": UCUM, "code": codes[unit]}
        if comparator is not None:
            out["comparator"] = comparator
        return out

    def to_case(quantity: dict[str, Any], _scope: Scope) -> tuple[Any, str, str | None]:
        unit = quantity.get("unit")
        return quantity["value"], unit if unit in codes else _unit_term(table, quantity), quantity.get("comparator")

    forms: tuple[Node, ...] = (number(), terms(tuple(codes), table.name), _comparator())
    return Bound(forms, common(target, ("Quantity", "SimpleQuantity")), to_fhir, to_case, optional=1, table=table)


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


def measure(target: Target, argument: Argument) -> Bound:
    (unit,) = argument.words

    def to_fhir(value: Any, _scope: Scope) -> dict[str, Any]:
        return {"value": value, "unit": unit, "system": UCUM, "code": unit}

    def to_case(quantity: dict[str, Any], _scope: Scope) -> Any:
        if quantity.get("code") != unit:
            raise ValueError(f"expected a quantity in {unit}")
        return quantity["value"]

    form = _positive() if target.types == ("Age",) else number()
    return Bound((form,), common(target, ("Quantity", "SimpleQuantity", "Age", "Duration")), to_fhir, to_case)


# Powers of ten between a printed unit and the one that a profile demands: shifting the point is exact, whatever the digits.
_SHIFTS = {("Gy", "cGy"): 2, ("cm", "mm"): 1, ("g", "mg"): 3}


def converted(target: Target, argument: Argument) -> Bound:
    """A number kept in one unit and written in another: the count of decimals stays, so that 46.0 Gy comes back as 46.0."""
    unit, written = argument.words
    shift = _SHIFTS[unit, written]

    def to_fhir(value: Any, _scope: Scope) -> dict[str, Any]:
        # 46 → 4600, and 46.0 → 4600.0: zeros are added at the end, as many as the point moves.
        sign, digits, exponent = _parts(value)
        moved = Decimal((sign, digits + (0,) * shift, exponent))
        return {"value": int(moved) if type(value) is int else moved, "unit": written, "system": UCUM, "code": written}

    def to_case(quantity: dict[str, Any], _scope: Scope) -> Any:
        value = quantity["value"]
        if not value:
            return value
        sign, digits, exponent = _parts(value)
        if digits[-shift:] == (0,) * shift and len(digits) > shift:
            kept = Decimal((sign, digits[:-shift], exponent))
            return int(kept) if type(value) is int else kept
        return Decimal((sign, digits, exponent - shift))

    return Bound((number(),), common(target, ("Quantity", "SimpleQuantity")), to_fhir, to_case)


def _parts(value: Any) -> tuple[int, tuple[int, ...], int]:
    sign, digits, exponent = Decimal(value).as_tuple()
    return sign, digits, int(exponent)  # a letter only for NaN and Infinity, which the JSON door refuses


def _object(fields: dict[str, tuple[Node, bool]], **rules: Any) -> Object:
    here = Origin("the converter")
    return Object({name: FormField(node, needed, here) for name, (node, needed) in fields.items()}, **rules)


def _bounds(table: CodeTable, *, text_too: bool) -> Object:
    fields: dict[str, tuple[Node, bool]] = {
        "low": (number(), False),
        "high": (number(), False),
        "unit": (terms(tuple(table.terms), table.name), False),
    }
    if text_too:
        fields["text"] = (text(), False)
    return _object(fields, requires={"low": ("unit",), "high": ("unit",)})


def range_(target: Target, argument: Argument) -> Bound:
    table = argument.table()
    codes = _ucum(table)

    def to_fhir(value: dict[str, Any], _scope: Scope) -> dict[str, Any]:
        if "low" in value and "high" in value and value["low"] > value["high"]:
            raise ValueError("low is above high")  # http://hl7.org/fhir/R4/datatypes.html#Range rng-2
        out: dict[str, Any] = {}
        for end in ("low", "high"):
            if end in value:
                unit = value["unit"]
                out[end] = {"value": value[end], "unit": unit, "system": UCUM, "code": codes[unit]}
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
    types = common(target, ("Range", "BackboneElement"))
    return Bound((_bounds(table, text_too=is_reference_range),), types, to_fhir, to_case, table=table)


def ratio(target: Target, _argument: Argument) -> Bound:
    def to_fhir(numerator: Any, denominator: Any, _scope: Scope) -> dict[str, Any]:
        return {"numerator": {"value": numerator}, "denominator": {"value": denominator}}

    def to_case(ratio: dict[str, Any], _scope: Scope) -> tuple[Any, Any]:
        return ratio["numerator"]["value"], ratio["denominator"]["value"]

    return Bound((number(), number()), common(target, ("Ratio",)), to_fhir, to_case)
