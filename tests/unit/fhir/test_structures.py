"""StructureDefinitions as records: http://hl7.org/fhir/R4/elementdefinition.html says what each field means."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from service.fhir.structures import FHIR_TYPE, MAX_VALUE_SET, Constraint, ElementBinding, TypeRef, from_resource

HEAD = {"url": "http://example.org/x", "kind": "resource", "type": "Patient"}


def only(**says: Any) -> Any:
    """The record of an element that says this."""
    view = {"element": [{"path": "Patient.x", **says}]}
    return from_resource({**HEAD, "differential": view}).differential[0]


@pytest.mark.parametrize(
    ("says", "field", "expected"),
    [
        ({}, "id", "Patient.x"),  # ids are optional in a differential
        ({}, "min", None),
        ({}, "fixed", msgspec.UNSET),
        ({"fixedBoolean": False}, "fixed", False),
        ({"patternCodeableConcept": {"text": "a"}}, "pattern", {"text": "a"}),
        ({"minValueDecimal": Decimal("1.50")}, "min_value", Decimal("1.50")),
        ({"maxValueQuantity": {"value": 3}}, "max_value", {"value": 3}),
        ({"minValueless": 1}, "min_value", msgspec.UNSET),
        ({"mustSupport": True}, "must_support", True),
        ({"type": [{"code": "Reference", "targetProfile": ["p"]}]}, "type", (TypeRef("Reference", (), ("p",)),)),
        # The types of FHIRPath's System stand for the FHIR type that an extension names: elementdefinition.html#type
        (
            {"type": [{"code": "http://hl7.org/fhirpath/System.String", "extension": [{"url": FHIR_TYPE, "valueUrl": "id"}]}]},
            "type",
            (TypeRef("id"),),
        ),
        ({"type": [{"code": "http://hl7.org/fhirpath/System.String"}]}, "type", (TypeRef("string"),)),
        ({"binding": {"strength": "example"}}, "binding", ElementBinding("example")),
        (
            {
                "binding": {
                    "strength": "extensible",
                    "valueSet": "v",
                    "extension": [{"url": MAX_VALUE_SET, "valueCanonical": "m"}],
                }
            },
            "binding",
            ElementBinding("extensible", "v", "m"),
        ),
        # ele-1 and ext-1 are held by the walker, and a constraint without an expression is for people.
        (
            {"constraint": [{"key": key, "expression": "true", "severity": "error"} for key in ("ele-1", "ext-1", "x-1")]},
            "constraint",
            (Constraint("x-1", "true"),),
        ),
        ({"constraint": [{"key": "x-2", "severity": "error", "human": "be good"}]}, "constraint", ()),
    ],
)
def test_an_element_says(says: dict[str, Any], field: str, expected: Any) -> None:
    assert getattr(only(**says), field) == expected


def test_the_differential_is_kept_only_where_there_is_no_snapshot() -> None:
    view = {"element": [{"path": "Patient"}]}
    assert from_resource({**HEAD, "snapshot": view, "differential": view}).differential == ()
    assert len(from_resource({**HEAD, "differential": view}).differential) == 1


@pytest.mark.parametrize(
    "broken", [{"kind": "thing"}, {"url": 1}, {"type": None}, {"context": [{"type": "x", "expression": ""}]}]
)
def test_what_breaks_its_own_rules_is_refused(broken: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        from_resource({**HEAD, **broken})
