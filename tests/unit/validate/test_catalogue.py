"""The catalogue: each kind of problem is one that can be had, and says what it says in FHIR's own terms."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from service.fhir.definitions import load
from service.validate import run
from service.validate.catalogue import CATALOGUE, R4, url
from tests.support.definitions import CORE, HOME, OBSERVATION, PATIENT, bundle, element, found, profile, quantity, sliced, with_

JANE = PATIENT | {"id": "jane"}
NAMED = {"name": [{"use": "old", "text": "A"}]}
DOMESTIC = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-MaritalStatus", "code": "Z"}]}


def says(id_: str, **what: Any) -> list[dict[str, Any]]:
    return [profile("x", id_.partition(".")[0], element(id_, **what))]


def slices(rules: str) -> list[dict[str, Any]]:
    own = [
        sliced("Patient.name", "value", "use", rules),
        element("Patient.name:s"),
        element("Patient.name:s.use", fixedCode="usual"),
    ]
    return [profile("x", "Patient", *own)]


def extension(**more: Any) -> dict[str, Any]:
    return PATIENT | {"extension": [{"url": HOME + "e", "valueString": "a"} | more]}


ENDLESS = element("HumanName", type=[{"code": "HumanName", "profile": [HOME + "n"]}])
NAME_OF_N = element("Patient.name:s", type=[{"code": "HumanName", "profile": [HOME + "n"]}])
SELF = {"relation": "self", "url": HOME}

# rule → a resource that breaks it, and the definitions at hand; of these it is held to the profile x
SAMPLES: dict[str, tuple[Any, list[dict[str, Any]]]] = {
    "val-resource-type": ({}, []),
    "val-unknown-element": (PATIENT | {"x": 1}, []),
    "val-type": (1, []),
    "val-list": (PATIENT | {"name": {"text": "A"}}, []),
    "val-empty": (PATIENT | {"name": []}, []),
    "val-null": (PATIENT | {"name": None}, []),
    "val-choice": (PATIENT | {"deceasedBoolean": True, "deceasedDateTime": "2020"}, []),
    "val-min": ({"resourceType": "Observation"}, []),
    "val-max": (PATIENT | NAMED, says("Patient.name", max="0")),
    "val-format": (PATIENT | {"active": "yes"}, []),
    "val-max-length": (PATIENT | {"language": "en", "name": [{"text": "AB"}]}, says("Patient.name.text", maxLength=1)),
    "val-ele-1": (PATIENT | {"name": [{}]}, []),
    "dom-3": (PATIENT | {"contained": [JANE]}, []),
    "val-ext-1": (PATIENT | {"extension": [{"url": HOME}]}, []),
    "val-attachment": (PATIENT | {"photo": [{"contentType": "text/plain", "data": "AAAA", "size": 1}]}, []),
    "val-identifier": (PATIENT | {"identifier": [{"system": "urn:ietf:rfc:3986", "value": "1"}]}, []),
    "val-element-id": (PATIENT | {"address": [{"id": "a", "city": "b"}, {"id": "a", "city": "c"}]}, []),
    "val-questionnaire": (
        {
            "resourceType": "Questionnaire",
            "status": "draft",
            "item": [{"linkId": "1", "type": "date", "enableWhen": [{"question": "2", "operator": "=", "answerDate": "2020"}]}],
        },
        [],
    ),
    "val-xhtml": (PATIENT | {"text": {"status": "empty", "div": "<p/>"}}, []),
    "val-binding": (PATIENT | {"gender": "x"}, []),
    "val-binding-extensible": (PATIENT | {"maritalStatus": DOMESTIC}, []),
    "val-binding-preferred": (PATIENT | {"language": "tlh"}, []),
    "val-binding-unchecked": (OBSERVATION | {"code": {"coding": [{"system": HOME, "code": "a"}]}}, []),
    "val-code": (PATIENT | {"maritalStatus": DOMESTIC}, []),
    "val-code-system": (OBSERVATION | {"code": {"coding": [{"system": "a", "code": "a"}]}}, []),
    "val-display": (
        PATIENT | {"maritalStatus": {"coding": [DOMESTIC["coding"][0] | {"code": "M", "display": "no"}]}},
        [],
    ),
    "val-ucum": (OBSERVATION | {"valueQuantity": quantity("1", "pills")}, []),
    "val-reference": (OBSERVATION | {"subject": {"reference": "a"}}, []),
    "val-reference-target": (OBSERVATION | {"subject": {"reference": "Practitioner/a"}}, []),
    "val-reference-contained": (OBSERVATION | {"subject": {"reference": "#a"}}, []),
    "val-reference-bundle": (bundle(OBSERVATION | {"id": "o", "subject": {"reference": "urn:oid:1.2.3"}}), []),
    "val-reference-type": (OBSERVATION | {"subject": {"reference": "Patient/a", "type": "Group"}}, []),
    "val-contained": (OBSERVATION | {"contained": [PATIENT]}, []),
    "val-extension-url": (extension(url="a"), []),
    "val-extension-unknown": (extension(url=CORE + "a"), []),
    "val-extension-unchecked": (extension(), []),
    "val-extension-context": (extension(url=CORE + "observation-bodyPosition", valueString="a"), []),
    "val-extension-modifier": (
        PATIENT | {"modifierExtension": [{"url": CORE + "patient-birthPlace", "valueAddress": {"city": "A"}}]},
        [],
    ),
    "val-bundle-full-url": ({"resourceType": "Bundle", "type": "collection", "entry": [{"resource": JANE}]}, []),
    "val-bundle-duplicate": (bundle(JANE, JANE), []),
    "val-bundle-first": (bundle(JANE, type_="document"), []),
    "val-bundle-link": (bundle(JANE, type_="searchset", link=[SELF, SELF]), []),
    "val-bundle-search": (bundle(JANE, type_="searchset"), []),
    "val-profile-unknown": (PATIENT | {"meta": {"profile": [HOME + "nowhere"]}}, []),
    "val-profile-type": (PATIENT | {"meta": {"profile": [CORE + "bp"]}}, []),
    "val-profile-match": (
        PATIENT | NAMED,
        [
            *says("Patient.name", type=[{"code": "HumanName", "profile": [HOME + "a", HOME + "b"]}]),
            *(profile(name, "HumanName", element("HumanName.family", min=1), kind="complex-type") for name in "ab"),
        ],
    ),
    "val-profile-unusable": (PATIENT, [profile("x", "Patient", baseDefinition=HOME + "x")]),
    "val-fixed": (PATIENT | NAMED, says("Patient.name.text", fixedString="B")),
    "val-pattern": (PATIENT | NAMED, says("Patient.name", patternHumanName={"text": "B"})),
    "val-range": (PATIENT | {"multipleBirthInteger": 9}, says("Patient.multipleBirth[x]", maxValueInteger=3)),
    "val-slice-closed": (PATIENT | NAMED, slices("closed")),
    "val-slice-order": (PATIENT | {"name": [*NAMED["name"], {"use": "usual", "text": "A"}]}, slices("openAtEnd")),
    "val-type-narrowed": (
        PATIENT | {"multipleBirthInteger": 9},
        says("Patient.multipleBirth[x]", type=[{"code": "boolean"}]),
    ),
    "val-must-support": (PATIENT, says("Patient.name", mustSupport=True)),
    "val-invariant-unusable": (
        PATIENT,
        says("Patient", constraint=[{"key": "x-1", "severity": "error", "human": "a", "expression": "((("}]),
    ),
    "val-too-many": (PATIENT | {"name": [{}] * run.MOST_FINDINGS}, []),
    "val-too-deep": (
        PATIENT | NAMED,
        [
            profile("n", "HumanName", kind="complex-type", snapshot={"element": [ENDLESS]}),
            profile("x", "Patient", sliced("Patient.name", "value", "family"), NAME_OF_N),
        ],
    ),
}


def test_each_rule_has_its_sample() -> None:
    assert SAMPLES.keys() == CATALOGUE.keys()


@pytest.mark.parametrize("rule", SAMPLES)
def test_each_rule_can_be_broken(tmp_path: Path, rule: str) -> None:
    resource, definitions = SAMPLES[rule]
    validator = with_(tmp_path, *definitions) if definitions else None
    told = found(resource, validator, ["x"] if definitions else [], must_support=True)
    assert rule in {each for each, _ in told}


@pytest.mark.parametrize("rule", CATALOGUE)
def test_each_kind_speaks_the_terms_of_fhir(rule: str) -> None:
    kind = CATALOGUE[rule]
    codes = load().required_codes("http://hl7.org/fhir/ValueSet/issue-type") or frozenset()
    assert kind.code in {code for _, code in codes}
    assert kind.severity in ("fatal", "error", "warning", "information")
    assert kind.fix.endswith(".")
    assert url(rule) == (R4 + kind.spec if kind.spec else None)


def test_rules_of_definitions_have_no_page_here() -> None:
    assert url("obs-6") is None
