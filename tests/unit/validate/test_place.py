"""Places: http://hl7.org/fhir/R4/fhirpath.html#polymorphism for the names that FHIRPath gives to choices."""

from __future__ import annotations

from typing import Any

import pytest

from service.validate.place import Place, steps, to_expression

ROOT: Place = None
ENTRY: Place = (ROOT, "entry", 1)
RESOURCE: Place = (ENTRY, "resource", None)
BUNDLE = {"resourceType": "Bundle", "entry": [{}, {"resource": {"resourceType": "Observation", "valueQuantity": {"value": 1}}}]}


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        (ROOT, []),
        ((ROOT, "status", None), ["status"]),
        (((ROOT, "name", 2), "given", 0), ["name", 2, "given", 0]),
    ],
)
def test_steps_are_keys_and_indexes_from_the_root_down(place: Place, expected: list[str | int]) -> None:
    assert steps(place) == expected


@pytest.mark.parametrize(
    ("place", "root", "expected"),
    [
        (ROOT, {"resourceType": "Patient"}, "Patient"),
        (ROOT, [], "Resource"),
        (ROOT, {"resourceType": "Patienz"}, "Resource"),
        ((ROOT, "name", 0), {"resourceType": "Patient"}, "Patient.name[0]"),
        # A choice goes by its stem.
        ((ROOT, "deceasedBoolean", None), {"resourceType": "Patient"}, "Patient.deceased"),
        # The sibling of a primitive is the same element.
        (((ROOT, "_birthDate", None), "extension", 0), {"resourceType": "Patient"}, "Patient.birthDate.extension[0]"),
        # Within a Bundle the names are those of the resource in the entry.
        (((RESOURCE, "valueQuantity", None), "value", None), BUNDLE, "Bundle.entry[1].resource.value.value"),
        # What no type has, stays as it is.
        ((ROOT, "nickname", None), {"resourceType": "Patient"}, "Patient.nickname"),
    ],
)
def test_expressions_are_fhirpath(place: Place, root: Any, expected: str) -> None:
    assert to_expression(place, root) == expected
