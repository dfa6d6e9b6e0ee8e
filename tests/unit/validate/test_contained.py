"""Contained resources: http://hl7.org/fhir/R4/references.html#contained and the rules dom-2 to dom-5."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.definitions import OBSERVATION, PATIENT, found

INSIDE = PATIENT | {"id": "p"}
LINK = {"subject": {"reference": "#p"}}


@pytest.mark.parametrize(
    ("resource", "expected"),
    [
        (OBSERVATION | {"contained": [INSIDE]} | LINK, []),
        # dom-3: referred to from elsewhere in the resource, or it refers to its container
        (OBSERVATION | {"contained": [INSIDE]}, [("dom-3", "Observation.contained[0]")]),
        (
            OBSERVATION | {"contained": [{"resourceType": "Provenance", "id": "v", "target": [{"reference": "#"}]}]},
            [],
        ),
        # … also from another contained resource
        (
            OBSERVATION
            | LINK
            | {
                "contained": [
                    INSIDE | {"managingOrganization": {"reference": "#c"}},
                    {"resourceType": "Organization", "id": "c", "name": "A"},
                ]
            },
            [],
        ),
        (OBSERVATION | {"contained": [PATIENT]}, [("val-contained", "Observation.contained[0]")]),
        (OBSERVATION | {"contained": [INSIDE, INSIDE]} | LINK, [("val-contained", "Observation.contained[1].id")]),
    ],
)
def test_a_contained_resource_has_an_id_and_is_referred_to(resource: Any, expected: list[tuple[str, str]]) -> None:
    # Provenance lacks what it must have; that is not what is asked here.
    about = [each for each in found(resource) if each[0] in ("dom-3", "val-contained", "val-reference-contained")]
    assert about == expected


@pytest.mark.parametrize(
    ("inside", "rule"),
    [
        (INSIDE | {"contained": [INSIDE | {"id": "q"}]}, "dom-2"),
        (INSIDE | {"meta": {"versionId": "1"}}, "dom-4"),
        (INSIDE | {"meta": {"lastUpdated": "2020-01-01T00:00:00Z"}}, "dom-4"),
        (INSIDE | {"meta": {"security": [{"code": "R"}]}}, "dom-5"),
    ],
)
def test_what_a_contained_resource_must_not_have(inside: Any, rule: str) -> None:
    assert (rule, "Observation") in found(OBSERVATION | {"contained": [inside]} | LINK)
