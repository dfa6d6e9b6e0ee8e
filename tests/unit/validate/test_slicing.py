"""Slicing: http://hl7.org/fhir/R4/profiling.html#slicing and #discriminator."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.definitions import CORE, HOME, OBSERVATION, PATIENT, codes, element, found, profile, sliced, with_

Slices = list[dict[str, Any]]


def names(*uses: str) -> dict[str, Any]:
    return PATIENT | {"name": [{"use": use, "text": "A"} for use in uses]}


def by_use(rules: str = "open", **more: Any) -> Slices:
    """Names sliced by use: one official (required), any number of nicknames."""
    return [
        sliced("Patient.name", "value", "use", rules, **more),
        element("Patient.name:official", min=1, max="1"),
        element("Patient.name:official.use", fixedCode="official"),
        element("Patient.name:nick", min=0, max="*"),
        element("Patient.name:nick.use", fixedCode="nickname"),
    ]


@pytest.mark.parametrize(
    ("rules", "ordered", "uses", "expected"),
    [
        ("open", False, ["official"], []),
        ("open", False, [], [("val-min", "Patient")]),
        ("open", False, ["nickname"], [("val-min", "Patient")]),
        ("open", False, ["official", "official"], [("val-max", "Patient")]),
        ("open", False, ["old", "nickname", "temp", "official"], []),
        # closed: "there can be no additional content other than that described by the slices"
        ("closed", False, ["nickname", "official"], []),
        ("closed", False, ["official", "old"], [("val-slice-closed", "Patient.name[1]")]),
        # openAtEnd: "additional content is allowed at the end of the list"
        ("openAtEnd", False, ["nickname", "official", "old", "temp"], []),
        ("openAtEnd", False, ["old", "official"], [("val-slice-order", "Patient.name[1]")]),
        # ordered: "the matching elements have to occur in the same order as defined in the profile"
        ("open", True, ["official", "nickname", "nickname"], []),
        ("open", True, ["nickname", "official"], [("val-slice-order", "Patient.name[1]")]),
        ("open", True, ["old", "official", "old", "nickname"], []),
        ("openAtEnd", True, ["official", "nickname", "old"], []),
        ("openAtEnd", True, ["official", "old", "nickname"], [("val-slice-order", "Patient.name[2]")]),
    ],
)
def test_the_rules_of_a_slicing(
    tmp_path: Path, rules: str, ordered: bool, uses: list[str], expected: list[tuple[str, str]]
) -> None:
    validator = with_(tmp_path, profile("x", "Patient", *by_use(rules, ordered=ordered)))
    resource = names(*uses) if uses else PATIENT
    assert found(resource, validator, ["x"]) == expected


UNKNOWN = {"system": "http://terminology.hl7.org/CodeSystem/data-absent-reason", "code": "unknown"}
COMPONENTS = OBSERVATION | {
    "component": [
        {"code": {"coding": [{"system": HOME + "parts", "code": "a"}]}, "valueString": "A"},
        {"code": {"coding": [{"system": HOME + "parts", "code": "b"}]}, "valueQuantity": {"value": 1}},
        {"code": {"text": "c"}, "dataAbsentReason": {"coding": [UNKNOWN]}},
    ]
}
PART_A = {"coding": [{"system": HOME + "parts", "code": "a"}]}


@pytest.mark.parametrize(
    ("by", "path", "slice_", "members"),
    [
        # value: "the slices have different values in the nominated element", told by fixed[x], pattern[x] or binding
        ("value", "code", [element("Observation.component:s.code", patternCodeableConcept=PART_A)], [0]),
        ("value", "code", [element("Observation.component:s.code", fixedCodeableConcept={"text": "c"})], [2]),
        (
            "value",
            "code",
            [element("Observation.component:s.code", binding={"strength": "required", "valueSet": f"{HOME}parts-set"})],
            [0, 1],
        ),
        # the path may lead below what is fixed, or to where a value is fixed
        ("value", "code.coding.code", [element("Observation.component:s.code", patternCodeableConcept=PART_A)], [0]),
        ("value", "code.coding.code", [element("Observation.component:s.code.coding.code", fixedCode="b")], [1]),
        ("value", "code.text", [element("Observation.component:s.code.text", fixedString="c")], [2]),
        # pattern: the same, "the values in the nominated element match a pattern"
        ("pattern", "code", [element("Observation.component:s.code", patternCodeableConcept=PART_A)], [0]),
        # exists: "by the presence or absence of the nominated element"
        ("exists", "value", [element("Observation.component:s.value[x]", min=1)], [0, 1]),
        ("exists", "value", [element("Observation.component:s.value[x]", max="0")], [2]),
        ("exists", "code.text", [element("Observation.component:s.code.text", min=1)], [2]),
        # type: "by type of the nominated element"
        ("type", "value", [element("Observation.component:s.value[x]", type=[{"code": "Quantity"}])], [1]),
        ("type", "value", [element("Observation.component:s.value[x]", type=[{"code": "string"}])], [0]),
        # profile: "by conformance of the nominated element to a specified profile"
        (
            "profile",
            "code",
            [element("Observation.component:s.code", type=[{"code": "CodeableConcept", "profile": [HOME + "worded"]}])],
            [2],
        ),
        # ofType() and a choice
        ("exists", "value.ofType(string)", [element("Observation.component:s.value[x]", min=1)], [0]),
    ],
)
def test_what_tells_slices_apart(tmp_path: Path, by: str, path: str, slice_: Slices, members: list[int]) -> None:
    """A slice that must not be there says how many items it has; then the same slice must hold just those."""
    worded = profile("worded", "CodeableConcept", element("CodeableConcept.text", min=1), kind="complex-type")
    own = [sliced("Observation.component", by, path, "closed"), element("Observation.component:s"), *slice_]
    validator = with_(tmp_path, profile("x", "Observation", *own), worded, *codes("parts", "a", "b"))
    told = found(COMPONENTS, validator, ["x"])
    others = [index for index in range(3) if index not in members]
    assert told == [("val-slice-closed", f"Observation.component[{index}]") for index in others]


def test_several_discriminators_all_have_to_tell(tmp_path: Path) -> None:
    """#discriminator: "the combination of values" identifies the slice."""
    slicing = {
        "discriminator": [{"type": "value", "path": "use"}, {"type": "value", "path": "family"}],
        "rules": "closed",
    }
    own = [
        element("Patient.name", slicing=slicing),
        element("Patient.name:s"),
        element("Patient.name:s.use", fixedCode="old"),
        element("Patient.name:s.family", fixedString="A"),
    ]
    named = [{"use": "old", "family": "A"}, {"use": "old", "family": "B"}, {"family": "A"}]
    told = found(PATIENT | {"name": named}, with_(tmp_path, profile("x", "Patient", *own)), ["x"])
    assert told == [("val-slice-closed", "Patient.name[1]"), ("val-slice-closed", "Patient.name[2]")]


def test_what_a_slice_says_holds_for_its_items_only(tmp_path: Path) -> None:
    own = [*by_use(), element("Patient.name:official.family", min=1), element("Patient.name.text", min=1)]
    resource = PATIENT | {"name": [{"use": "official", "text": "A"}, {"use": "old", "text": "A"}, {"use": "nickname"}]}
    told = found(resource, with_(tmp_path, profile("x", "Patient", *own)), ["x"])
    assert sorted(told) == [("val-min", "Patient.name[0]"), ("val-min", "Patient.name[2]")]


def test_the_whole_has_bounds_besides_its_slices(tmp_path: Path) -> None:
    head, *slices = by_use()
    validator = with_(tmp_path, profile("x", "Patient", head | {"max": "2"}, *slices))
    assert found(names("official", "nickname"), validator, ["x"]) == []
    assert found(names("official", "nickname", "old"), validator, ["x"]) == [("val-max", "Patient")]


# Reslicing: "Patient.name:official/legal" is a slice of the slice ------------------------------------------------------


def resliced(rules: str) -> Slices:
    """Official names, and of these some that are told apart by family: each slice says how it is sliced."""
    return [
        *by_use()[:2],
        sliced("Patient.name:official", "value", "family", rules) | {"max": "*"},
        element("Patient.name:official.use", fixedCode="official"),
        element("Patient.name:official/a", max="1"),
        element("Patient.name:official/a.family", fixedString="A"),
        element("Patient.name:official/b", min=1),
        element("Patient.name:official/b.family", fixedString="B"),
    ]


@pytest.mark.parametrize(
    ("rules", "families", "expected"),
    [
        ("open", ["A", "B"], []),
        ("open", ["B", "C"], []),
        ("open", ["A"], [("val-min", "Patient")]),
        ("open", ["A", "A", "B"], [("val-max", "Patient")]),
        ("closed", ["A", "B"], []),
        ("closed", ["B", "C"], [("val-slice-closed", "Patient.name[1]")]),
    ],
)
def test_a_slice_may_be_sliced(tmp_path: Path, rules: str, families: list[str], expected: list[tuple[str, str]]) -> None:
    named = [{"use": "official", "family": family} for family in families]
    # A name of another use is in no slice of the slice.
    named.append({"use": "old", "family": "A"})
    elements = [each for each in resliced(rules) if each != element("Patient.name:official", min=1, max="1")]
    validator = with_(tmp_path, profile("x", "Patient", *elements))
    assert found(PATIENT | {"name": named}, validator, ["x"]) == expected


# Extensions: sliced by url, said or not --------------------------------------------------------------------------------


def with_extension(*urls: str) -> dict[str, Any]:
    return PATIENT | {"extension": [{"url": HOME + url, "valueString": "a"} for url in urls]}


@pytest.mark.parametrize(
    ("urls", "expected"),
    [
        (["colour"], []),
        ([], [("val-min", "Patient")]),
        (["colour", "colour"], [("val-max", "Patient")]),
        (["colour", "shape"], []),
    ],
)
def test_extensions_are_slices_by_their_url(tmp_path: Path, urls: list[str], expected: list[tuple[str, str]]) -> None:
    extensions = [
        profile(name, "Extension", context=[{"type": "element", "expression": "Element"}]) for name in ("colour", "shape")
    ]
    type_ = [{"code": "Extension", "profile": [HOME + "colour"]}]
    own = profile("x", "Patient", element("Patient.extension:colour", min=1, max="1", type=type_))
    resource = with_extension(*urls) if urls else PATIENT
    assert found(resource, with_(tmp_path, own, *extensions), ["x"]) == expected


def test_extensions_may_be_closed(tmp_path: Path) -> None:
    shape, colour = (
        profile(name, "Extension", context=[{"type": "element", "expression": "Element"}]) for name in ("shape", "colour")
    )
    own = profile(
        "x",
        "Patient",
        sliced("Patient.extension", "value", "url", "closed"),
        element("Patient.extension:colour", type=[{"code": "Extension", "profile": [HOME + "colour"]}]),
    )
    told = found(with_extension("colour", "shape"), with_(tmp_path, own, shape, colour), ["x"])
    assert told == [("val-slice-closed", "Patient.extension[1]")]


# Choices, references and whatever is in doubt --------------------------------------------------------------------------


def test_a_choice_is_sliced_by_type(tmp_path: Path) -> None:
    own = profile(
        "x",
        "Observation",
        sliced("Observation.value[x]", "type", "$this", "closed"),
        element("Observation.value[x]:valueQuantity", type=[{"code": "Quantity"}]),
        element("Observation.value[x]:valueQuantity.unit", min=1),
    )
    validator = with_(tmp_path, own)
    assert found(OBSERVATION | {"valueQuantity": {"value": 1, "unit": "a"}}, validator, ["x"]) == []
    assert found(OBSERVATION | {"valueQuantity": {"value": 1}}, validator, ["x"]) == [("val-min", "Observation.value")]
    assert found(OBSERVATION | {"valueString": "a"}, validator, ["x"]) == [("val-slice-closed", "Observation.value")]


def test_references_are_sliced_by_what_they_lead_to(tmp_path: Path) -> None:
    """resolve(): "the discriminator is evaluated on the target of the reference"."""
    to_group = [{"code": "Reference", "targetProfile": [CORE + "Group"]}]
    own = profile(
        "x",
        "Observation",
        sliced("Observation.focus", "type", "resolve()", "closed"),
        element("Observation.focus:group", type=to_group),
    )
    groups = [{"resourceType": "Group", "id": "g", "type": "person", "actual": True}, PATIENT | {"id": "p"}]
    resource = OBSERVATION | {"contained": groups, "focus": [{"reference": "#g"}, {"reference": "#p"}]}
    assert found(resource, with_(tmp_path, own), ["x"]) == [("val-slice-closed", "Observation.focus[1]")]


@pytest.mark.parametrize("path", ["(((", "nothing", "use.extension('x').value", "name.use", "trace('a', b)"])
def test_a_discriminator_that_leads_nowhere_is_no_obstacle(tmp_path: Path, path: str) -> None:
    head, *slices = by_use()
    head["slicing"]["discriminator"][0]["path"] = path
    told = found(names("official"), with_(tmp_path, profile("x", "Patient", head, *slices)), ["x"])
    assert {rule for rule, _ in told} <= {"val-min"}


def test_without_a_discriminator_an_item_is_of_the_slice_that_it_fits(tmp_path: Path) -> None:
    own = [
        element("Patient.name", slicing={"rules": "closed"}),
        element("Patient.name:s"),
        element("Patient.name:s.family", min=1),
    ]
    told = found(PATIENT | {"name": [{"family": "A"}, {"text": "A"}]}, with_(tmp_path, profile("x", "Patient", *own)), ["x"])
    assert told == [("val-slice-closed", "Patient.name[1]")]
