"""Structure: http://hl7.org/fhir/R4/json.html says how elements are written, each type's page which there are."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.definitions import HOME, PATIENT, core, found

EXTENSION = {"url": HOME + "x", "valueString": "a"}


@pytest.mark.parametrize(
    ("resource", "rule"),
    [
        ([], "val-type"),
        ("Patient", "val-type"),
        (1, "val-type"),
        (None, "val-type"),
        ({}, "val-resource-type"),
        ({"resourceType": None}, "val-resource-type"),
        ({"resourceType": ["Patient"]}, "val-resource-type"),
        ({"resourceType": "patient"}, "val-resource-type"),
        ({"resourceType": "HumanName"}, "val-resource-type"),  # a type, and no resource
        ({"resourceType": "DomainResource"}, "val-resource-type"),  # abstract
    ],
)
def test_a_text_holds_a_resource_of_r4(resource: Any, rule: str) -> None:
    assert [each for each, _ in found(resource)] == [rule]


@pytest.mark.parametrize(
    "member",
    [
        {"active": True},
        {"birthDate": "2020-02"},
        {"birthDate": "2020", "_birthDate": {"id": "a"}},
        # json.html#primitive: a primitive may have extensions and no value.
        {"_birthDate": {"extension": [EXTENSION]}},
        # json.html#null: null holds the place of an item that has only the other half.
        {
            "name": [
                {"given": ["A", None], "_given": [None, {"extension": [{"url": "http://example.org/x", "valueCode": "a"}]}]}
            ]
        },
        {"name": [{"given": ["A"], "_given": [{"id": "a"}]}]},
        {"deceasedDateTime": "2020"},
        {"id": "a", "meta": {"lastUpdated": "2020-01-01T00:00:00Z"}, "implicitRules": "http://example.org/rules"},
    ],
)
def test_what_the_specification_allows_passes(member: dict[str, Any]) -> None:
    rules = {rule for rule, _ in found(PATIENT | member)}
    assert rules <= {"val-extension-unchecked"}


@pytest.mark.parametrize(
    ("member", "rule", "place"),
    [
        ({"nickname": "A"}, "val-unknown-element", "nickname"),
        ({"Active": True}, "val-unknown-element", "Active"),
        ({"deceased": True}, "val-unknown-element", "deceased"),  # formats.html#choice: the name tells the type
        ({"deceasedString": "no"}, "val-unknown-element", "deceasedString"),
        ({"_name": [{"id": "a"}]}, "val-unknown-element", "name"),  # only primitives have a sibling
        ({"_resourceType": {"id": "a"}}, "val-unknown-element", "resourceType"),
        ({"name": [{"resourceType": "HumanName", "text": "A"}]}, "val-unknown-element", "name[0].resourceType"),
        ({"name": {"text": "A"}}, "val-list", "name"),
        ({"name": "A"}, "val-list", "name"),
        ({"name": ["A"]}, "val-type", "name[0]"),
        ({"name": [["A"]]}, "val-type", "name[0]"),
        ({"maritalStatus": [{"text": "A"}]}, "val-type", "maritalStatus"),
        ({"birthDate": ["2020"]}, "val-format", "birthDate"),
        ({"birthDate": {"value": "2020"}}, "val-format", "birthDate"),
        ({"_birthDate": "2020"}, "val-type", "birthDate"),
        ({"name": []}, "val-empty", "name"),
        ({"name": [{"given": []}]}, "val-empty", "name[0].given"),
        ({"name": None}, "val-null", "name"),
        ({"birthDate": None}, "val-null", "birthDate"),
        ({"name": [None]}, "val-null", "name[0]"),
        ({"name": [{"given": ["A", None]}]}, "val-null", "name[0].given[1]"),
        ({"name": [{"text": "A", "given": [None], "_given": [None]}]}, "val-null", "name[0].given[0]"),
        ({"name": [{}]}, "val-ele-1", "name[0]"),
        ({"name": [{"id": "a"}]}, "val-ele-1", "name[0]"),  # ele-1: "@value or children", and an id is neither
        ({"_birthDate": {}}, "val-ele-1", "birthDate"),
        ({"active": "true"}, "val-format", "active"),
        ({"active": 1}, "val-format", "active"),
        ({"birthDate": ""}, "val-format", "birthDate"),
        ({"id": "a b"}, "val-format", "id"),  # resource.html#id
        ({"multipleBirthInteger": "1"}, "val-format", "multipleBirth"),
        ({"contact": [{"name": {"family": 1}}]}, "val-format", "contact[0].name.family"),
    ],
)
def test_what_it_forbids_is_told_at_its_place(member: dict[str, Any], rule: str, place: str) -> None:
    assert (rule, f"Patient.{place}") in found(PATIENT | member)


def test_an_element_that_must_be_there() -> None:
    assert found({"resourceType": "Observation", "code": {"text": "a"}}) == [("val-min", "Observation")]


def test_a_sibling_is_enough_for_an_element_that_must_be_there() -> None:
    item = {"_linkId": {"extension": [EXTENSION]}, "type": "display", "text": "a"}
    rules = [rule for rule, _ in found({"resourceType": "Questionnaire", "status": "draft", "item": [item]})]
    assert "val-min" not in rules


@pytest.mark.parametrize(
    "member",
    [
        {"deceasedBoolean": True, "deceasedDateTime": "2020"},
        {"deceasedBoolean": True, "_deceasedDateTime": {"id": "a"}},
    ],
)
def test_a_choice_has_one_form(member: dict[str, Any]) -> None:
    assert ("val-choice", "Patient") in found(PATIENT | member)


def test_the_two_halves_of_a_primitive_are_one_form() -> None:
    assert found(PATIENT | {"deceasedBoolean": True, "_deceasedBoolean": {"id": "a"}}) == []


def test_an_element_that_is_defined_elsewhere_in_its_type() -> None:
    """Questionnaire.item.item is defined as Questionnaire.item."""
    item = {"linkId": "1", "type": "group", "item": [{"type": "display", "text": "a"}]}
    resource = {"resourceType": "Questionnaire", "status": "draft", "item": [item]}
    assert ("val-min", "Questionnaire.item[0].item[0]") in found(resource)


@pytest.mark.parametrize("resource", [1, [], {"resourceType": "X"}, {}])
def test_a_resource_inside_is_a_resource(resource: Any) -> None:
    bundle = {"resourceType": "Bundle", "type": "collection", "entry": [{"fullUrl": "urn:oid:1.2.3", "resource": resource}]}
    rules = [rule for rule, place in found(bundle) if place.startswith("Bundle.entry[0].resource")]
    assert set(rules) & {"val-type", "val-resource-type"}


def test_a_near_name_is_suggested() -> None:
    (issue,) = core().validate(b'{"resourceType": "Patient", "birthdate": "2020"}')
    assert "Did you mean birthDate?" in issue.text
