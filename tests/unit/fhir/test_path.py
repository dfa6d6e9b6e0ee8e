"""JSON's names against FHIRPath's: http://hl7.org/fhir/R4/fhirpath.html#polymorphism"""

from __future__ import annotations

import pytest

from service.fhir.path import fhirpath


@pytest.mark.parametrize(
    ("type_name", "json_path", "expected"),
    [
        ("Observation", "status", "status"),
        ("Observation", "valueQuantity.unit", "value.unit"),
        ("Observation", "component[1].valueQuantity.value", "component[1].value.value"),
        ("Observation", "note[0].authorString", "note[0].author"),
        ("Condition", "onsetAge", "onset"),
        ("Procedure", "extension[0].valueTiming.repeat.count", "extension[0].value.repeat.count"),
        ("Observation", "effective[x]", "effective[x]"),
        ("Observation", "shoeSize.unit", "shoeSize.unit"),
        ("Observation", "valueBanana", "valueBanana"),
        ("NoSuchType", "valueQuantity", "valueQuantity"),
    ],
)
def test_a_choice_goes_by_its_stem(type_name: str, json_path: str, expected: str) -> None:
    assert fhirpath(type_name, json_path) == expected
