"""The way back: foreign edits are reported where they stand, and nothing that anyone can put into a Bundle makes it raise."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.engine import Engine, Restored, load_engine
from service.fhir import json
from service.issues import Issue

ROOT = Path(__file__).parents[3]
CASES = sorted((ROOT / "examples" / "cases").glob("*.json"))
Edit = Callable[[dict[str, Any]], Any]

CASE = {
    "case": "case-1",
    "sex": "female",
    "born": "1972-04",
    "procedures": [
        {
            "id": "biopsy",
            "procedure": "Biopsy",
            "when": "2018-08-21",
            "counts": [{"count": "Hemoglobin", "value": Decimal("1.0"), "unit": "g/L"}],
        },
        {"procedure": "Referral", "when": "day 14 of biopsy"},
    ],
    "labs": [{"test": "Hemoglobin", "when": "2018-08", "value": Decimal("4.50"), "unit": "g/L", "note": "as printed"}],
}


@pytest.fixture(scope="module")
def tiny() -> Engine:
    return load_engine(ROOT / "tests" / "data" / "bad_mappings" / "good_nested", b"a key for tests")


@pytest.fixture
def bundle(tiny: Engine) -> dict[str, Any]:
    return converted(tiny, CASE)


def converted(engine: Engine, case: dict[str, Any]) -> dict[str, Any]:
    done = engine.convert(json.dumps(case))
    assert done.bundle is not None, done.issues
    return copy.deepcopy(done.bundle)


def back(engine: Engine, bundle: Any) -> Restored:
    return engine.to_case(json.dumps(bundle))


def at(bundle: dict[str, Any], kind: str, place: int = 0) -> dict[str, Any]:
    resources: list[dict[str, Any]] = [entry["resource"] for entry in bundle["entry"]]
    return [resource for resource in resources if resource["resourceType"] == kind][place]


def expression(bundle: dict[str, Any], resource: dict[str, Any]) -> str:
    place = next(index for index, entry in enumerate(bundle["entry"]) if entry["resource"] is resource)
    return f"Bundle.entry[{place}].resource"


def test_an_untouched_bundle_is_the_case(tiny: Engine, bundle: dict[str, Any]) -> None:
    done = back(tiny, bundle)
    assert done.issues == []
    assert json.dumps(done.record, indent=False) == json.dumps(CASE, indent=False)


def test_the_key_is_not_needed_on_the_way_back(tiny: Engine, bundle: dict[str, Any]) -> None:
    other = load_engine(tiny.mapping.spec.root, b"another key")
    assert back(other, bundle).record == CASE
    assert back(other, bundle).issues == []


# --- foreign edits ----------------------------------------------------------------------------------------------------

# what someone did to the laboratory value → where it is reported, below the resource
EDITS: dict[str, tuple[Edit, str]] = {
    "an extra element": (lambda lab: lab.update(method={"text": "by hand"}), ".method"),
    "an extra element deeper down": (lambda lab: lab["valueQuantity"].update(comparator="<"), ".value.comparator"),
    "an extension": (lambda lab: lab.update(extension=[{"url": "http://x", "valueCode": "y"}]), ".extension"),
    "a second category": (lambda lab: lab["category"].append({"text": "Other"}), ".category"),
    "another code for the text": (lambda lab: lab["code"]["coding"][0].update(code="1-1"), ".code.coding[0].code"),
    "another display": (lambda lab: lab["code"]["coding"][0].update(display="Hb"), ".code.coding[0].display"),
    "a coding less": (lambda lab: lab["code"].pop("coding"), ".code.coding"),
    "digits of a value in another row": (lambda lab: lab["valueQuantity"].update(code="kg"), ".value.code"),
    "a time zone that the row does not carry": (lambda lab: lab.update(issued="2018-08-21T00:00:00Z"), ".issued"),
    "a subject elsewhere": (lambda lab: lab["subject"].update(reference="urn:uuid:elsewhere"), ".subject.reference"),
    "a display beside a reference": (lambda lab: lab["subject"].update(display="Jane"), ".subject.display"),
    "an author of a note": (lambda lab: lab["note"][0].update(authorString="me"), ".note[0].author"),
    "a second note": (lambda lab: lab["note"].append({"text": "more"}), ".note"),
    "a profile": (lambda lab: lab.update(meta={"profile": ["http://x"]}), ".meta"),
    "an identifier of another system": (
        lambda lab: lab["identifier"].append({"system": "http://x", "value": "1"}),
        ".identifier",
    ),
}


@pytest.mark.parametrize("name", EDITS)
def test_a_foreign_edit_is_reported_where_it_stands(name: str, tiny: Engine, bundle: dict[str, Any]) -> None:
    edit, place = EDITS[name]
    lab = at(bundle, "Observation")
    edit(lab)
    done = back(tiny, bundle)
    assert [issue.rule for issue in done.issues] == ["bundle-unmapped-element"], done.issues
    assert str(done.issues[0].expression).startswith(expression(bundle, lab) + place)
    assert done.issues[0].severity == "error"
    assert done.issues[0].fix


def test_a_changed_value_that_the_form_holds_is_the_new_value(tiny: Engine, bundle: dict[str, Any]) -> None:
    at(bundle, "Observation")["valueQuantity"]["value"] = Decimal("4.70")
    done = back(tiny, bundle)
    assert done.issues == []
    assert done.record is not None
    assert str(done.record["labs"][0]["value"]) == "4.70"


def only(done: Restored) -> Issue:
    (issue,) = done.issues
    return issue


@pytest.mark.parametrize(
    ("resource", "kind"),
    [
        ({"resourceType": "Encounter", "status": "finished"}, "Encounter"),
        ({"resourceType": "Observation", "status": "final", "code": {"text": "Iron"}}, "Observation"),
        ({"resourceType": "Banana"}, "resource"),
    ],
)
def test_an_unknown_resource(resource: dict[str, Any], kind: str, tiny: Engine, bundle: dict[str, Any]) -> None:
    bundle["entry"].insert(1, {"fullUrl": "urn:uuid:new", "resource": resource})
    issue = only(back(tiny, bundle))
    assert (issue.rule, issue.expression) == ("bundle-unmapped-resource", "Bundle.entry[1].resource")
    assert kind in issue.text


def test_a_term_that_no_table_has(tiny: Engine, bundle: dict[str, Any]) -> None:
    patient = at(bundle, "Patient")
    patient["gender"] = "other"
    issue = only(back(tiny, bundle))
    assert (issue.rule, issue.expression) == ("bundle-value", "Bundle.entry[0].resource.gender")
    assert str(issue.origin) == "good_nested/resources/patient.yaml:8:3"


def test_a_reference_to_nothing(tiny: Engine, bundle: dict[str, Any]) -> None:
    count = at(bundle, "Observation", 1)
    count["partOf"] = [{"reference": "urn:uuid:nobody"}]
    issue = only(back(tiny, bundle))
    assert (issue.rule, issue.expression) == ("bundle-shape", expression(bundle, count))
    assert issue.text == "partOf leads to no procedures of this bundle"


def test_a_reference_to_an_item_of_another_section(tiny: Engine, bundle: dict[str, Any]) -> None:
    at(bundle, "Observation", 1)["partOf"] = [{"reference": bundle["entry"][0]["fullUrl"]}]
    assert only(back(tiny, bundle)).rule == "bundle-shape"


@pytest.mark.parametrize("patients", [0, 2])
def test_one_patient_and_no_other(patients: int, tiny: Engine, bundle: dict[str, Any]) -> None:
    first = bundle["entry"].pop(0)
    for place in range(patients):
        bundle["entry"].append({"fullUrl": f"urn:uuid:p{place}", "resource": first["resource"]})
    done = back(tiny, bundle)
    assert done.record is None
    assert [issue.rule for issue in done.issues] == ["bundle-patient"]
    assert f"found {patients} Patient" in done.issues[0].text


def test_an_event_that_is_not_there(tiny: Engine, bundle: dict[str, Any]) -> None:
    bundle["entry"] = [entry for entry in bundle["entry"] if entry["resource"].get("code", {}).get("text") != "Biopsy"]
    bundle["entry"] = [entry for entry in bundle["entry"] if "partOf" not in entry["resource"]]
    assert [issue.rule for issue in back(tiny, bundle).issues] == ["case-moment"]


def test_a_blank_more_in_a_constant(tiny: Engine, bundle: dict[str, Any]) -> None:
    """The short way back compares texts without their whitespace, which must not hide an edit inside a string."""
    text = json.dumps(bundle).replace(b"[Mass/volume] in Blood", b"[Mass/volume]  in Blood", 1)
    assert [issue.rule for issue in tiny.to_case(text).issues] == ["bundle-unmapped-element"]


# --- what servers do --------------------------------------------------------------------------------------------------


def as_a_server_answers(bundle: dict[str, Any]) -> dict[str, Any]:
    """Each resource under the id that a server gave it, references rewritten, meta added, in another order."""
    urls = {
        entry["fullUrl"]: f"{entry['resource']['resourceType']}/{place + 100}" for place, entry in enumerate(bundle["entry"])
    }
    text = json.dumps(bundle, indent=False).decode()
    for url, other in urls.items():
        text = text.replace(f'"reference":"{url}"', f'"reference":"{other}"')
    answered: dict[str, Any] = json.loads(text.encode())
    for entry in answered["entry"]:
        resource = entry["resource"]
        kind, resource["id"] = urls[entry["fullUrl"]].split("/")
        resource["meta"] = {
            **resource.get("meta", {}),
            "versionId": "1",
            "lastUpdated": "2026-01-01T00:00:00.000+00:00",
        }
        entry["fullUrl"] = f"https://fhir.example.org/r4/{kind}/{resource['id']}"
        entry["search"] = {"mode": "match"}
    random.Random(1).shuffle(answered["entry"])
    return {**answered, "type": "searchset", "total": len(answered["entry"])}


def test_ids_and_meta_of_a_server(tiny: Engine, bundle: dict[str, Any]) -> None:
    done = back(tiny, as_a_server_answers(bundle))
    assert done.issues == []
    assert done.record is not None
    assert sorted_items(done.record) == sorted_items(CASE)


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_the_published_cases_by_way_of_a_server(path: Path, engine: Engine) -> None:
    case = json.loads(path.read_bytes())
    done = back(engine, as_a_server_answers(converted(engine, case)))
    assert done.issues == []
    assert done.record is not None
    assert sorted_items(done.record) == sorted_items(case)


def sorted_items(record: Any) -> Any:
    """A record with its items and fields in one order: a server keeps none. Without the field that is ignored."""
    if isinstance(record, dict):
        return {name: sorted_items(record[name]) for name in sorted(record) if name != "encoder"}
    if isinstance(record, list) and all(isinstance(one, dict) for one in record):
        return sorted((sorted_items(one) for one in record), key=repr)
    return record


# --- wrong shapes -----------------------------------------------------------------------------------------------------

JUNK: list[Any] = [
    None,
    True,
    0,
    -1,
    Decimal("1.5"),
    "",
    "x",
    [],
    {},
    [[]],
    [None],
    [{}],
    {"x": 1},
    {"text": []},
    {"extension": 1},
]


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if path:
        yield path
    steps: Any = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, inner in steps:
        yield from places(inner, (*path, step))


def replaced(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    out = copy.deepcopy(value)
    here = out
    for step in path[:-1]:
        here = here[step]
    here[path[-1]] = new
    return out


def judge(engine: Engine, bundle: dict[str, Any]) -> None:
    """Either something is reported, or converting what was read gives back every resource as it was."""
    done = back(engine, bundle)
    for issue in done.issues:
        assert issue.rule
        assert issue.expression or issue.pointer is not None, issue
    if done.issues:
        return
    assert done.record is not None
    again = converted(engine, done.record)
    assert _comparable(again) == _comparable(bundle)


def _comparable(bundle: dict[str, Any]) -> list[str]:
    """The resources without what may differ under equal facts: identities, and the references made of them."""
    found = []
    for entry in bundle["entry"]:
        resource = copy.deepcopy(entry["resource"])
        resource.pop("id", None)
        meta = resource.get("meta")
        if isinstance(meta, dict):
            resource["meta"] = {name: one for name, one in meta.items() if name not in ("versionId", "lastUpdated", "source")}
        if not resource.get("meta"):
            resource.pop("meta", None)
        resource["identifier"] = len(resource["identifier"])
        found.append(json.dumps(_without_urls(resource), indent=False).decode())
    return sorted(found)


def _without_urls(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_urls(one) for name, one in sorted(value.items()) if name != "reference"}
    return [_without_urls(one) for one in value] if isinstance(value, list) else value


def test_every_place_of_a_small_bundle_with_every_junk(tiny: Engine, bundle: dict[str, Any]) -> None:
    for path in places(bundle):
        for junk in JUNK:
            judge(tiny, replaced(bundle, path, junk))


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(data=st.data())
def test_places_of_the_published_cases(engine: Engine, data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(CASES))
    bundle = converted(engine, json.loads(path.read_bytes()))
    for _ in range(data.draw(st.integers(1, 3))):
        where = data.draw(st.sampled_from(list(places(bundle))))
        bundle = replaced(bundle, where, data.draw(st.sampled_from(JUNK)))
    judge(engine, bundle)


@pytest.mark.parametrize(
    "junk", [*JUNK, {"resourceType": "Patient"}, {"resourceType": "Bundle"}, {"resourceType": "Bundle", "entry": [1]}]
)
def test_no_bundle_at_all(junk: Any, tiny: Engine) -> None:
    done = back(tiny, junk)
    assert done.record is None
    assert done.issues


# --- what servers and others do to a bundle ----------------------------------------------------------------------------


@pytest.mark.parametrize("extra", [{"type": {"text": "MRN"}}, {"period": {"end": "2019"}}, {"use": "old"}])
def test_the_identity_identifier_is_compared_but_for_its_value(tiny: Engine, bundle: dict[str, Any], extra: Any) -> None:
    identifier = bundle["entry"][0]["resource"]["identifier"][0]
    identifier.update(extra, value="the server's own")
    [issue] = back(tiny, bundle).issues
    assert issue.expression == f"Bundle.entry[0].resource.identifier[0].{next(iter(extra))}"


@pytest.mark.parametrize("empty", [{}, {"reference": None}])
def test_an_empty_reference_is_not_the_contained_one(engine: Engine, empty: Any) -> None:
    case = {"case": "c", "patient": {"sex": "male"}, "labs": [{"test": "IgG", "specimen": "Serum"}]}
    bundle = json.loads(engine.convert(json.dumps(case)).dump())
    bundle["entry"][1]["resource"]["specimen"] = empty
    assert back(engine, bundle).issues


def test_a_long_chain_of_moments_in_any_order(engine: Engine) -> None:
    scan = {"status": "completed", "kind": "Imaging", "procedure": "Chest CT"}
    items = [{**scan, "id": f"p{n}", "when": f"day 1 of p{n - 1}" if n else "2020-01-01"} for n in range(5000)]
    case = {"case": "c", "patient": {"sex": "male"}, "procedures": items[::-1]}
    done = engine.convert(json.dumps(case))
    assert done.bundle is not None
    assert done.bundle["entry"][1]["resource"]["performedDateTime"] == "2033-09-08"
    assert engine.to_case(done.dump()).record == case


@pytest.mark.parametrize("suffix", ["", "/_history/1"])
@pytest.mark.parametrize("absolute", [True, False])
def test_references_by_full_url_and_by_version(engine: Engine, absolute: bool, suffix: str) -> None:
    """As a server's searchset has them: http://hl7.org/fhir/R4/bundle.html#references"""
    case = json.loads((ROOT / "examples" / "cases" / "qian-2021.json").read_bytes())
    text = engine.convert(json.dumps(case)).dump().decode()
    bundle = json.loads(text)
    names = {entry["fullUrl"]: f"{entry['resource']['resourceType']}/{n}" for n, entry in enumerate(bundle["entry"])}
    for urn, name in names.items():
        target = f"https://server.example.org/fhir/{name}" if absolute else name
        text = text.replace(f'"reference": "{urn}"', f'"reference": "{target}{suffix}"')
        text = text.replace(f'"fullUrl": "{urn}"', f'"fullUrl": "https://server.example.org/fhir/{name}"')
    bundle = json.loads(text) | {"type": "searchset"}
    for n, entry in enumerate(bundle["entry"]):
        entry["resource"] |= {"id": str(n), "meta": {**entry["resource"].get("meta", {}), "versionId": "1"}}
    restored = engine.to_case(json.dumps(bundle))
    assert restored.issues == []
    assert restored.record == case


def test_a_reference_to_another_server_is_not_local(engine: Engine) -> None:
    case = {"case": "c", "patient": {"sex": "male"}, "labs": [{"test": "IgG"}]}
    bundle = json.loads(engine.convert(json.dumps(case)).dump())
    for n, entry in enumerate(bundle["entry"]):
        entry["resource"]["id"] = str(n)
        entry["fullUrl"] = f"https://server.example.org/fhir/{entry['resource']['resourceType']}/{n}"
    bundle["entry"][1]["resource"]["subject"]["reference"] = "https://other.example.org/fhir/Patient/0"
    [issue] = back(engine, bundle).issues
    assert issue.expression == "Bundle.entry[1].resource.subject.reference"
