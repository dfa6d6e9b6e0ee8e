"""Nodes and types, against http://hl7.org/fhir/R4/fhirpath.html and http://hl7.org/fhir/R4/json.html."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from service.fhir.definitions import UnknownElement
from service.validate.fhirpath import Context, Node, PathError, compile_path, root_node, type_info

EXTENSION = {"extension": [{"url": "http://a.example/x", "valueString": "y"}]}


def run(text: str, resource: dict[str, Any], **context: Any) -> list[Any]:
    node = root_node(resource)
    return compile_path(text).evaluate(node, Context(node, node, **context))


def test_types_by_name_and_by_path() -> None:
    assert type_info("Observation").names == {"Observation", "DomainResource", "Resource"}
    assert type_info("Observation", "component").name == "BackboneElement"
    assert type_info("Observation", "code") is type_info("CodeableConcept")
    assert type_info("ValueSet", "expansion.contains.contains") is type_info("ValueSet", "expansion.contains")
    with pytest.raises(UnknownElement):
        type_info("Observation", "valu")


def test_an_unknown_resource_still_has_what_all_have() -> None:
    assert run("id = 'a' and text.exists().not()", {"resourceType": "Foo", "id": "a", "foo": 1}) == [True]
    assert run("foo", {"resourceType": "Foo", "foo": 1}) == []
    assert root_node({}).type.name == "Resource"


def test_a_choice_has_its_stem_as_name() -> None:
    observation = {"resourceType": "Observation", "valueQuantity": {"value": Decimal("1.50"), "code": "g"}}
    assert [item.value for item in run("value.value", observation)] == [Decimal("1.50")]
    assert run("valueQuantity", observation) == []
    assert run("value is Quantity and value.ofType(string).empty()", observation) == [True]


def test_a_primitive_with_a_sibling_is_its_value() -> None:
    patient = {"resourceType": "Patient", "gender": "male", "_gender": EXTENSION}
    assert run("gender = 'male' and gender.extension('http://a.example/x').value = 'y'", patient) == [True]


def test_a_primitive_without_a_value() -> None:
    patient = {
        "resourceType": "Patient",
        "_birthDate": EXTENSION,
        "name": [{"given": [None, "B"], "_given": [EXTENSION, None]}],
    }
    assert run("birthDate.exists() and birthDate.hasValue().not()", patient) == [True]
    assert run("birthDate < today()", patient) == []
    assert run("name.given.select(hasValue())", patient) == [False, True]
    assert run("name.children().count()", patient) == [2]
    assert run("descendants().where($this is date).count()", patient) == [1]


def test_a_choice_of_which_only_the_sibling_stands() -> None:
    patient = {"resourceType": "Patient", "_deceasedBoolean": EXTENSION}
    assert run("deceased.exists() and deceased is boolean and (deceased or false).empty()", patient) == [True]


def test_contained_resources_have_types_of_their_own() -> None:
    patient = {"resourceType": "Patient", "contained": [{"resourceType": "Organization", "id": "o", "name": "N"}]}
    assert [item.value for item in run("contained.ofType(Organization).name", patient)] == ["N"]
    assert run("contained.first() is Patient", patient) == [False]


@pytest.mark.parametrize(
    "broken",
    [
        {"name": "text"},
        {"name": [["text"]]},
        {"name": [None]},
        {"name": [{"given": {"a": 1}}]},
        {"birthDate": 7, "_birthDate": []},
        {"birthDate": "no date"},
        {"contained": ["text"], "extension": [1, {"url": 2}]},
        {"multipleBirthInteger": "x", "multipleBirthBoolean": []},
    ],
)
def test_json_of_the_wrong_shape_does_no_harm(broken: dict[str, Any]) -> None:
    resource = {"resourceType": "Patient", **broken}
    for text in (
        "descendants().count() >= 0",
        "name.given.exists()",
        "extension('u').empty()",
        "contained.id",
        "birthDate = 'x'",
    ):
        run(text, resource)


def test_strict_refuses_what_the_type_does_not_have() -> None:
    node = root_node({"resourceType": "Patient", "name": [{"family": "X"}]})
    assert compile_path("name.surname").evaluate(node) == []
    with pytest.raises(PathError, match="surname"):
        compile_path("name.surname").evaluate(node, strict=True)


def test_is_true_is_java_s() -> None:
    node = root_node({"resourceType": "Patient", "active": False, "name": [{"family": "X"}, {"family": "Y"}]})
    verdicts = {text: compile_path(text).is_true(node) for text in ("active", "gender", "name", "name.first()", "{}", "1 = 1")}
    assert verdicts == {"active": False, "gender": False, "name": True, "name.first()": True, "{}": False, "1 = 1": True}


def test_what_the_caller_answers() -> None:
    organization = root_node({"resourceType": "Organization", "id": "o"})
    patient = {"resourceType": "Patient", "managingOrganization": {"reference": "Organization/o"}, "gender": "male"}

    def resolve(reference: str, _: Context) -> Node | None:
        return organization if reference == "Organization/o" else None

    assert run("managingOrganization.resolve() is Organization", patient, resolve=resolve) == [True]
    assert run("managingOrganization.resolve()", patient) == []
    assert run("gender.memberOf('v')", patient, member_of=lambda value_set, _, code: (value_set, code) == ("v", "male")) == [
        True
    ]
    assert run("gender.memberOf('v')", patient) == []
    assert run("conformsTo('p')", patient, conforms_to=lambda _, url: url == "p") == [True]
    with pytest.raises(PathError, match="not known"):
        run("conformsTo('p')", patient)


def test_equal_items_count_once() -> None:
    codings = [{"system": "s", "code": "a"}, {"code": "a", "system": "s"}, {"code": "b"}]
    observation = {"resourceType": "Observation", "code": {"coding": codings}}
    assert run("code.coding.distinct().count()", observation) == [2]
    assert run("code.coding.isDistinct()", observation) == [False]
    assert run("(1 | 1.0 | true | 'a' | 'a').count()", observation) == [3]


def test_a_quantity_with_a_comparator_has_no_amount() -> None:
    low, high = {"value": 1, "code": "g"}, {"value": 900, "code": "mg", "comparator": "<"}
    observation = {"resourceType": "Observation", "referenceRange": [{"low": low, "high": {**low, "value": Decimal("0.5")}}]}
    assert run("referenceRange.all(low > high)", observation) == [True]
    with pytest.raises(PathError):
        run("value > 1 'g'", {"resourceType": "Observation", "valueQuantity": high})


def test_a_loop_looks_at_the_resource_once() -> None:
    contained = [{"resourceType": "Organization", "id": f"o{number}"} for number in range(3000)]
    links = [{"other": {"reference": f"#o{number}"}, "type": "seealso"} for number in range(3000)]
    patient = {"resourceType": "Patient", "contained": contained, "link": links}
    # Nine million comparisons, were it done anew for each of the contained.
    assert run("contained.where(('#' + id in %resource.descendants().reference).not()).empty()", patient) == [True]
    assert run("contained.id.isDistinct() and contained.id.intersect(contained.id).count() = 3000", patient) == [True]
