"""Where both Java validators agree on something unusual, so do we: each row was put to both of them."""

from __future__ import annotations

from typing import Any, Final

import pytest

from service.fhir.json import dumps
from tests.support.definitions import core

R4: Final = "http://hl7.org/fhir/StructureDefinition/"
FHIR: Final = "http://example.org/fhir"
HERE: Final = "urn:uuid:c757873d-ec9a-4326-a141-556f43239520"
RELATIVE: Final = {"system": "codes/x", "code": "a"}
VALUE_SET: Final = {"system": "http://hl7.org/fhir/ValueSet/administrative-gender", "code": "male"}

Json = dict[str, Any]


def basic(**members: Any) -> Json:
    return {"resourceType": "Basic", "code": {"text": "x"}} | members


def patient(**members: Any) -> Json:
    return {"resourceType": "Patient"} | members


def refers(literal: str) -> Json:
    return basic(subject={"reference": literal})


def observation(**members: Any) -> Json:
    return {"resourceType": "Observation", "status": "final", "code": {"text": "x"}} | members


def bundle(kind: str, *entries: Json, **members: Any) -> Json:
    return {"resourceType": "Bundle", "type": kind, "entry": list(entries)} | members


def stored(resource: Json, **members: Any) -> Json:
    """An entry of a resource with an id."""
    return {"fullUrl": f"{FHIR}/{resource['resourceType']}/{resource['id']}", "resource": resource} | members


def asked(resource: Json, **members: Any) -> Json:
    return {"resource": resource, "request": {"method": "POST", "url": "Basic"}} | members


def document(*entries: Json, **members: Any) -> Json:
    composition = {"resourceType": "Composition", "id": "c", "status": "final", "type": {"text": "x"}, "date": "2020"}
    first = stored(composition | {"author": [{"display": "x"}], "title": "x"} | members)
    identifier = {"system": "http://example.org/documents", "value": "1"}
    return bundle("document", first, *entries, identifier=identifier, timestamp="2020-02-03T10:00:00Z")


def message(focus: str) -> Json:
    header = {"resourceType": "MessageHeader", "id": "m", "eventUri": "http://example.org/e", "source": {"endpoint": FHIR}}
    return bundle("message", stored(header | {"focus": [{"reference": focus}]}), stored(JANE))


def search(url: str, *entries: Json) -> Json:
    return bundle("searchset", *entries, link=[{"relation": "self", "url": url}])


def match(resource: Json) -> Json:
    return stored(resource, search={"mode": "match"})


def questionnaire(*items: Json) -> Json:
    return {"resourceType": "Questionnaire", "status": "draft", "item": list(items)}


def item(link: str, kind: str = "string", **members: Any) -> Json:
    return {"linkId": link, "type": kind, "text": "x"} | members


def depends_on(link: str) -> list[Json]:
    return [{"question": link, "operator": "=", "answerString": "x"}]


def extension(name: str, **value: Any) -> Json:
    return {"url": R4 + name} | value


def system(**members: Any) -> Json:
    return {"resourceType": "CodeSystem", "url": "http://example.org/s", "status": "draft"} | members


def definition(path: str) -> Json:
    elements = [{"id": "Patient", "path": "Patient"}, {"id": "Patient.x", "path": path}]
    named = {
        "resourceType": "StructureDefinition",
        "url": "http://example.org/p",
        "name": "P",
        "status": "draft",
        "kind": "resource",
    }
    base = {"abstract": False, "type": "Patient", "baseDefinition": f"{R4}Patient", "derivation": "constraint"}
    return named | base | {"differential": {"element": elements}}


def value_set(of: str) -> Json:
    return {
        "resourceType": "ValueSet",
        "url": "http://example.org/v",
        "status": "draft",
        "compose": {"include": [{"system": of}]},
    }


def narrative(link: str) -> Json:
    return {"status": "generated", "div": f'<div xmlns="http://www.w3.org/1999/xhtml"><a href="{link}">x</a></div>'}


ORGANIZATION: Final = {"resourceType": "Organization", "id": "o", "name": "x"}
JANE: Final = patient(id="jane")
CONTAINED: Final = {
    "resourceType": "Provenance",
    "id": "p",
    "target": [{"reference": "#"}],
    "recorded": "2020-02-03T10:00:00Z",
    "agent": [{"who": {"display": "x"}}],
}
BASIC: Final = basic(id="b")
ABOUT_JANE: Final = basic(id="b", subject={"reference": "Patient/jane"})
UNIT: Final = extension("questionnaire-unit", valueCoding={"system": "http://unitsofmeasure.org", "code": "mg"})
WORK_GROUP: Final = extension("structuredefinition-wg", valueCode="fhir")
CATEGORY: Final = extension("structuredefinition-category", valueString="x")
CHANGE: Final = extension("list-changeBase", valueReference={"reference": "List/1"})
NAMED: Final = {"id": "a", "family": "x"}

# description, resource, the rule that both judges find broken (None: both accept)
ROWS: Final[list[tuple[str, Json, str | None]]] = [
    ("an identifier's system that is relative", patient(identifier=[{"system": "ids", "value": "1"}]), "val-identifier"),
    ("a tag's system that is relative", basic(meta={"tag": [RELATIVE]}), "val-code-system"),
    ("a tag's system that is relative, without a code", basic(meta={"tag": [{"system": "x", "display": "x"}]}), None),
    ("a concept's system that is relative", basic(code={"coding": [RELATIVE]}), None),
    ("a quantity's system that is relative", observation(valueQuantity={"value": 1} | RELATIVE), "val-code-system"),
    ("a value set for a tag's system", basic(meta={"tag": [VALUE_SET]}), "val-code-system"),
    ("a value set for a concept's system", observation(bodySite={"coding": [VALUE_SET]}), None),
    ("a text where a maximum value set is bound", patient(communication=[{"language": {"text": "x"}}]), None),
    ("# outside a contained resource", refers("#"), "val-reference-contained"),
    ("# in a contained resource", basic(contained=[CONTAINED]), None),
    ("a contained resource that the narrative links to", basic(contained=[ORGANIZATION], text=narrative("#o")), None),
    ("a contained resource that it does not link to", basic(contained=[ORGANIZATION], text=narrative(FHIR)), "dom-3"),
    ("a reference to a data type", refers("Quantity/1"), "val-reference-target"),
    (
        "a reference to a data type elsewhere",
        observation(specimen={"reference": f"{FHIR}/HumanName/1"}),
        "val-reference-target",
    ),
    ("a type that the element does not take, alone", observation(specimen={"type": "Slot", "display": "x"}), None),
    ("a reference that is one word", refers("x"), None),
    ("one word in a Bundle", bundle("collection", {"fullUrl": HERE, "resource": refers("x")}), "val-reference"),
    ("a leading slash in a Bundle", bundle("collection", {"fullUrl": HERE, "resource": refers("/Patient/1")}), "val-reference"),
    ("an odd type in a Bundle", bundle("collection", {"fullUrl": HERE, "resource": refers("patient/1")}), None),
    ("a reference from a new entry without fullUrl", bundle("transaction", asked(ABOUT_JANE)), "val-bundle-full-url"),
    ("no reference from a new entry without fullUrl", bundle("transaction", asked(basic())), None),
    ("a reference to what is contained", bundle("batch", asked(basic(contained=[CONTAINED]))), None),
    ("a document's entry that nothing leads to", document(stored(JANE)), "val-bundle-first"),
    ("two entries that lead to each other alone", document(stored(JANE), stored(ABOUT_JANE)), "val-bundle-first"),
    ("entries that lead back", document(stored(JANE), stored(ABOUT_JANE), subject={"reference": "Patient/jane"}), None),
    ("a message without what it is about", message("Patient/joe"), "val-reference-bundle"),
    ("a message with what it is about", message("Patient/jane"), None),
    ("another type than was searched for", search(f"{FHIR}/Patient?name=x", match(JANE), match(BASIC)), "val-bundle-search"),
    ("a search in all types", search(f"{FHIR}?name=x", match(JANE), match(BASIC)), None),
    ("the id of an element twice", patient(name=[NAMED, NAMED]), "val-element-id"),
    ("the id of an element and of the resource", patient(id="a", name=[NAMED]), None),
    ("a value's id beyond the values", patient(address=[{"line": ["x"], "_line": [{"id": "a"}, {"id": "b"}]}]), "val-ele-1"),
    ("a value's id beside the value", patient(birthDate="2020", _birthDate={"id": "a"}), None),
    ("a unit for a text", questionnaire(item("1", extension=[UNIT])), "val-extension-context"),
    ("a unit for a number", questionnaire(item("1", "decimal", extension=[UNIT])), None),
    (
        "a base of changes for a list of changes",
        {"resourceType": "List", "status": "current", "mode": "changes", "extension": [CHANGE]},
        None,
    ),
    (
        "a base of changes for a list of none",
        {"resourceType": "List", "status": "current", "mode": "working", "extension": [CHANGE]},
        "val-extension-context",
    ),
    ("a definition's work group on a Patient", patient(extension=[WORK_GROUP]), None),
    ("a definition's category on a Patient", patient(extension=[CATEGORY]), "val-extension-context"),
    ("a condition on no item", questionnaire(item("1", enableWhen=depends_on("2"))), "val-questionnaire"),
    ("a condition on the item itself", questionnaire(item("1", enableWhen=depends_on("1"))), "val-questionnaire"),
    (
        "a condition on an inner item",
        questionnaire(item("1", enableWhen=depends_on("2"), item=[item("2")])),
        "val-questionnaire",
    ),
    ("a condition on a later item", questionnaire(item("1", enableWhen=depends_on("2")), item("2")), None),
    ("concepts of a system that has none here", system(content="not-present", concept=[{"code": "a"}]), "val-code-system"),
    ("an element's path with an empty name", definition("Patient..name"), "eld-19"),
    ("an element's path", definition("Patient.name"), None),
    ("a value set of a system with its version", value_set("http://example.org/s|1"), "val-code-system"),
    ("a value set of a system", value_set("http://example.org/s"), None),
    ("a supplement of nothing", system(content="supplement"), "val-code-system"),
    ("a wrong count of concepts", system(content="complete", count=5, concept=[{"code": "a"}]), "val-code-system"),
    ("the count of a fragment", system(content="fragment", count=5, concept=[{"code": "a"}]), None),
]


@pytest.mark.parametrize(("resource", "expected"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_as_both_java_validators(resource: Json, expected: str | None) -> None:
    errors = {issue.rule for issue in core().validate(dumps(resource)) if issue.is_error}
    assert errors == ({expected} if expected else set())
