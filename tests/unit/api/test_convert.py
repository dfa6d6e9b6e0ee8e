"""POST /convert and POST /to-case: the two ways, their options, and the examples through both."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from service.fhir import json

ROOT = Path(__file__).parents[3]
CASES = sorted((ROOT / "examples" / "cases").glob("*.json"))


def spelled(value: Any) -> str:
    """A value as compared digit for digit: Decimal("1.10") and Decimal("1.1") differ here."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{key!r}:{spelled(value[key])}" for key in sorted(value)) + "}"
    return "[" + ",".join(map(spelled, value)) + "]" if isinstance(value, list) else repr(value)


def test_there_are_three_examples():
    assert len(CASES) == 3


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
@pytest.mark.parametrize("bundle_type", ["collection", "transaction"])
def test_an_example_comes_back_digit_for_digit(post, path, bundle_type):
    made = post(f"/convert?type={bundle_type}", path.read_bytes())
    assert (made.status_code, made.mimetype) == (200, "application/fhir+json")
    assert json.loads(made.data)["type"] == bundle_type
    back = post("/to-case", made.data, content_type="application/fhir+json")
    assert (back.status_code, back.mimetype) == (200, "application/json")
    assert spelled(json.loads(back.data)) == spelled(json.loads(path.read_bytes()))


def test_the_type_is_collection_and_the_set_myeloma_unless_said_otherwise(post, case):
    plain = post("/convert", case)
    assert json.loads(plain.data)["type"] == "collection"
    assert post("/convert?mapping=myeloma&type=collection&lenient=false", case).data == plain.data


def test_patient_data_is_never_stored_by_caches(post, case):
    assert post("/convert", case).headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    "query",
    [
        "type=batch",
        "type=",
        "type=COLLECTION",
        "lenient=yes",
        "lenient=",
        "type=collection&type=transaction",
        "tpye=transaction",
    ],
)
def test_a_query_that_makes_no_sense_is_400(post, case, refusal, told, query):
    [issue] = refusal(post(f"/convert?{query}", case), 400)
    assert told(issue)[0] == "http-query"
    assert issue["diagnostics"]


def test_to_case_has_no_type(post, refusal):
    refusal(post("/to-case?type=collection", {}), 400)


@pytest.mark.parametrize("endpoint", ["/convert", "/to-case"])
@pytest.mark.parametrize(
    "name",
    [
        "nosuch",
        "",
        ".",
        "..",
        "../..",
        "../mappings/myeloma",
        "..%2F..",
        "%2e%2e%2f%2e%2e%2fetc%2fpasswd",
        "..%252f..",
        "myeloma/",
        "./myeloma",
        "myeloma%00",
        "Myeloma",
        "..%5C..",
        str(ROOT / "mappings" / "myeloma"),
        "%2Fetc%2Fpasswd",
        "file:///etc/passwd",
    ],
)
def test_any_name_but_that_of_a_shipped_set_is_404_and_opens_nothing(post, refusal, told, monkeypatch, endpoint, name):
    def opened(*_arguments: Any, **_options: Any) -> None:
        raise AssertionError("a file was touched")

    for function in ("open", "stat", "read_bytes", "read_text", "glob"):
        monkeypatch.setattr(Path, function, opened)
    monkeypatch.setattr("builtins.open", opened)
    response = post(f"{endpoint}?mapping={name}", b"{}")
    monkeypatch.undo()
    [issue] = refusal(response, 404)
    assert told(issue)[0] == "mapping-not-found"
    assert b"etc" not in response.data


def test_a_field_that_no_row_reads_is_422_in_strict_mode(post, case, refusal, told):
    case["labs"][0]["smell"] = "of almonds"
    [issue] = refusal(post("/convert", case), 422)
    assert told(issue) == ("case-unknown-field", "/labs/0/smell")


def test_lenient_leaves_it_out_and_says_so(post, case):
    plain = json.loads(post("/convert", case).data)
    case["labs"][0]["smell"] = "of almonds"
    response = post("/convert?lenient=true", case)
    assert (response.status_code, response.mimetype) == (200, "application/json")
    answer = json.loads(response.data)
    assert answer["bundle"] == plain
    [issue] = answer["outcome"]["issue"]
    assert issue["severity"] == "warning"


def test_lenient_without_anything_to_say_has_the_same_shape(post, case):
    answer = json.loads(post("/convert?lenient=true", case).data)
    assert answer["bundle"]["resourceType"] == "Bundle"
    assert [issue["severity"] for issue in answer["outcome"]["issue"]] == ["information"]


def test_lenient_forgives_no_wrong_value(post, case, told):
    case["patient"]["sex"] = "W"
    response = post("/convert?lenient=true", case)
    assert (response.status_code, response.mimetype) == (422, "application/json")
    answer = json.loads(response.data)
    assert answer["bundle"] is None
    assert [told(issue) for issue in answer["outcome"]["issue"]] == [("case-unknown-term", "/patient/sex")]


def test_what_the_form_cannot_hold_is_422_and_in_lenient_mode_reported_beside_the_case(post, case, refusal, told):
    bundle = json.loads(post("/convert", case).data)
    bundle["entry"][0]["resource"]["active"] = True
    [issue] = refusal(post("/to-case", bundle), 422)
    assert told(issue)[0] == "bundle-unmapped-element"
    assert issue["expression"] == ["Bundle.entry[0].resource.active"]
    lenient = post("/to-case?lenient=true", bundle)
    assert lenient.status_code == 200
    answer = json.loads(lenient.data)
    assert answer["case"] == case
    assert [told(issue)[0] for issue in answer["outcome"]["issue"]] == ["bundle-unmapped-element"]


@pytest.mark.parametrize("value", [[], 1, "Bundle", None, {}, {"resourceType": "Patient"}, {"resourceType": "Bundle"}])
def test_what_is_no_bundle_is_422(post, refusal, value):
    [issue] = refusal(post("/to-case", value), 422)
    assert issue["diagnostics"]
    answer = post("/to-case?lenient=true", value)
    assert answer.status_code == 422
    assert json.loads(answer.data)["case"] is None


@pytest.mark.parametrize("value", [[], 1, "case", None, {}])
def test_what_is_no_case_is_422(post, refusal, value):
    assert refusal(post("/convert", value), 422)
