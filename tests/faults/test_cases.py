"""Cases and Bundles that are JSON and yet cannot be taken as they stand: what they say is refused or kept, never guessed."""

from __future__ import annotations

import copy
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from service.cli import main
from service.fhir import json
from tests.support.faults import CANARY

AT = "app"
Record = dict[str, Any]
HSCT = {
    "id": "hsct",
    "when": "2021-07",
    "status": "completed",
    "kind": "Allogeneic transplantation",
    "procedure": "Haploidentical allogeneic HSCT",
}


def small(when: str) -> Record:
    """A case with one laboratory value at this moment."""
    lab = {"test": "Hemoglobin", "value": 86, "unit": "g/L", "when": when}
    return {"case": "c-1", "patient": {"sex": "female"}, "cellTherapies": [HSCT], "labs": [lab]}


def observation(bundle: Record) -> Record:
    found = [entry["resource"] for entry in bundle["entry"] if entry["resource"]["resourceType"] == "Observation"]
    assert isinstance(found[-1], dict)
    return found[-1]


# --- R-10 ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bundle_type", ["collection", "transaction"])
def test_r10_an_item_twice_is_refused_and_both_are_named(fault, post, refusal, told, case, bundle_type):
    """Two items with one identity would be two entries with one fullUrl, and one condition for their creation."""
    sections = [name for name, items in case.items() if isinstance(items, list)]
    assert len(sections) > 15
    for section in sections:
        items = case[section]
        issues = refusal(post(f"/convert?type={bundle_type}", {**case, section: [*items, items[0]]}), 422)
        fault.injected("an item twice in one case")
        assert told(issues[0]) == ("case-same-identity", f"/{section}/{len(items)}")
        assert f"/{section}/0 are the same" in issues[0]["details"]["text"]
        assert {told(issue)[0] for issue in issues} == {"case-same-identity"}


def test_r10_what_is_no_key_field_does_not_tell_two_items_apart(fault, post, refusal, told, case):
    case["labs"].append({**case["labs"][0], "value": 1, "note": f"Said again, in other words {CANARY}"})
    [issue] = refusal(post("/convert?type=transaction", case), 422)
    fault.injected("an item twice in one case")
    assert told(issue) == ("case-same-identity", f"/labs/{len(case['labs']) - 1}")


def test_r10_two_spellings_of_one_text_are_one_identity(fault, post, refusal, told):
    spellings = [unicodedata.normalize(form, "frère") for form in ("NFC", "NFD")]
    donors = [{"id": spelling, "relationship": "Son", "sex": "male"} for spelling in spellings]
    [issue] = refusal(post("/convert", {"case": "c-1", "patient": {"sex": "female"}, "donors": donors}), 422)
    fault.injected("an item twice in one case")
    assert told(issue) == ("case-same-identity", "/donors/1")


def test_r10_no_two_entries_of_a_bundle_share_a_url_or_a_condition(fault, post, case):
    """Items that differ in nothing but one field of their key stay apart."""
    first = case["labs"][0]
    case["labs"] += [{**first, "when": f"20{year}"} for year in range(10, 60)]
    fault.injected("an item that is nearly another", 50)
    entries = json.loads(post("/convert?type=transaction", case).data)["entry"]
    assert len({entry["fullUrl"] for entry in entries}) == len(entries)
    assert len({entry["request"]["ifNoneExist"] for entry in entries}) == len(entries)


def test_r10_an_entry_twice_in_a_bundle_that_is_read(fault, post, refusal, told, case):
    bundle = json.loads(post("/convert", case).data)
    bundle["entry"].append(bundle["entry"][5])
    fault.injected("an entry twice in one Bundle", 2)
    [issue] = refusal(post("/to-case", bundle), 422)
    assert told(issue)[0] == "bundle-full-url"
    found = json.loads(post("/validate", bundle).data)["issue"]
    assert [issue for issue in found if issue["severity"] == "error" and told(issue)[0] == "val-bundle-duplicate"]


# --- R-33 ---------------------------------------------------------------------------------------------------------------

NO_TIMES = [
    "2018-08-21T10:30:00",
    "2018-08-21T10:30:00.000",
    "2018-08-21 10:30:00Z",
    "2018-08-21T10:30+02:00",
    "2018-08-21T10:30Z",
    "2018-08-21T24:00:00+02:00",
    "2018-08-21T10:60:00+02:00",
    "2018-08-21T10:30:00+02",
    "2018-08-21T10:30:00+15:00",
    "2018-02-30",
    "2019-02-29",
    "2018-02-30T10:30:00Z",
    "2018-13",
    "2018-00",
    "2018-8-1",
    "20180821",
    "0000",
]


@pytest.mark.parametrize("when", NO_TIMES)
def test_r33_in_a_case_it_is_refused_wherever_it_stands(fault, post, refusal, told, case, when):
    dated = [name for name, items in case.items() if isinstance(items, list) and any("when" in item for item in items)]
    assert len(dated) > 10
    for section in dated:
        index = next(index for index, item in enumerate(case[section]) if "when" in item)
        for query in ("", "?lenient=true"):
            broken = copy.deepcopy(case)
            broken[section][index]["when"] = when
            response = post(f"/convert{query}", broken)
            fault.injected("a time that is none, in a case")
            if query:
                assert (response.status_code, json.loads(response.data)["bundle"]) == (422, None)
            else:
                assert f"/{section}/{index}/when" in [told(issue)[1] for issue in refusal(response, 422)]


@pytest.mark.parametrize("when", NO_TIMES)
def test_r33_in_a_bundle_it_is_refused_or_handed_over_as_it_stands(fault, post, refusal, told, when):
    bundle = json.loads(post("/convert", small("2018-08")).data)
    observation(bundle)["effectiveDateTime"] = when
    refusal(post("/to-case", bundle), 422)
    lenient = json.loads(post("/to-case?lenient=true", bundle).data)
    assert any(issue["severity"] == "error" for issue in lenient["outcome"]["issue"])
    assert lenient["case"]["labs"][0].get("when", when) == when
    issues = json.loads(post("/validate", bundle).data)["issue"]
    [error] = [issue for issue in issues if issue["severity"] == "error"]
    fault.injected("a time that is none, in a Bundle", 3)
    assert told(error)[0] == "val-format"
    assert error["expression"] == [f"Bundle.entry[{len(bundle['entry']) - 1}].resource.effective"]


# --- R-34 ---------------------------------------------------------------------------------------------------------------

KEPT = ["2018", "2018-08", "2018-08-21", "2018-08-21T23:30:00-05:00", "2018-08-21T10:30:00Z", "2018-08-21T10:30:00.50+00:00"]
RELATIVE = [
    "day 12 of hsct",
    "day -3 of hsct",
    "by day 30 of hsct",
    "2 weeks after hsct",
    "1 month before hsct",
    "during hsct",
    "before hsct",
]


@pytest.mark.parametrize("when", KEPT)
def test_r34_a_date_is_as_precise_as_it_was_written(fault, post, when):
    made = post("/convert", small(when))
    fault.injected("a date of some precision")
    written = observation(json.loads(made.data))
    assert written["effectiveDateTime"] == when
    assert "_effectiveDateTime" not in written
    assert json.loads(post("/to-case", made.data).data)["labs"][0]["when"] == when


@pytest.mark.parametrize("when", RELATIVE)
def test_r34_a_day_counted_from_an_event_stays_counted(fault, post, when):
    """Though the event's own month is known, no date is made of it."""
    made = post("/convert", small(when))
    fault.injected("a moment counted from an event")
    written = observation(json.loads(made.data))
    assert "effectiveDateTime" not in written
    [extension] = written["_effectiveDateTime"]["extension"]
    assert extension["url"] == "http://hl7.org/fhir/StructureDefinition/relative-date"
    assert json.loads(post("/to-case", made.data).data)["labs"][0]["when"] == when
    issues = json.loads(post("/validate", made.data).data)["issue"]
    assert not [issue for issue in issues if issue["severity"] in ("error", "fatal")]


@pytest.mark.parametrize(
    ("event", "when", "date"),
    [
        ("2021-07", "at hsct", "2021-07"),
        ("2021", "at hsct", "2021"),
        ("2021-07-31", "day 1 of hsct", "2021-08-01"),
        ("2021-07-31", "2 weeks after hsct", None),
    ],
)
def test_r34_a_date_is_computed_only_where_it_is_known(fault, post, event, when, date):
    record = small(when)
    record["cellTherapies"] = [{**HSCT, "when": event}]
    made = post("/convert", record)
    fault.injected("a moment counted from an event")
    written = observation(json.loads(made.data))
    assert written.get("effectiveDateTime") == date
    assert written["_effectiveDateTime"]["extension"], "what was written stays beside it"
    assert json.loads(post("/to-case", made.data).data)["labs"][0]["when"] == when


@pytest.mark.parametrize("when", ["Day +12", "D12", "day 12", "day 12 of nosuch", "day 1.5 of hsct", "12 days after hsct"])
def test_r34_a_day_that_could_mean_two_things_is_refused(fault, post, refusal, told, when):
    issues = refusal(post("/convert", small(when)), 422)
    fault.injected("a day counted from nothing")
    assert {told(issue)[1] for issue in issues} == {"/labs/0/when"}


# --- R-35 ---------------------------------------------------------------------------------------------------------------


def with_more(case: Record) -> tuple[Record, set[str]]:
    """The case with fields that no row reads, and where they stand."""
    more = copy.deepcopy(case)
    more["nosuch"] = CANARY
    more["other"] = {"deep": [CANARY]}
    more["patient"]["shoeSize"] = 38
    more["labs"][0]["valeu"] = CANARY
    more["treatments"][0]["drugs"][0]["color"] = [CANARY]
    return more, {"/nosuch", "/other", "/patient/shoeSize", "/labs/0/valeu", "/treatments/0/drugs/0/color"}


def test_r35_a_field_that_no_row_reads_is_refused_at_its_place(fault, post, refusal, told, case):
    more, places = with_more(case)
    issues = refusal(post("/convert", more), 422)
    fault.injected("a field that no row reads", len(places))
    assert {told(issue) for issue in issues} == {("case-unknown-field", place) for place in places}
    assert all(issue["diagnostics"] for issue in issues)


def test_r35_a_lenient_caller_gets_all_the_rest_and_is_told(fault, post, told, case):
    more, places = with_more(case)
    answer = json.loads(post("/convert?lenient=true", more).data)
    fault.injected("a field that no row reads", len(places))
    assert answer["bundle"] == json.loads(post("/convert", case).data)
    found = {(issue["severity"], *told(issue)) for issue in answer["outcome"]["issue"]}
    assert found == {("warning", "case-unknown-field", place) for place in places}


def test_r35_the_coverage_report_names_it(fault, tmp_path: Path, case):
    more, places = with_more(case)
    (tmp_path / "case.json").write_bytes(json.dumps(more))
    done = CliRunner().invoke(main, ["mappings", "coverage", "myeloma", str(tmp_path)])
    fault.injected("a field that no row reads", len(places), at="command")
    assert done.exit_code == 1
    assert all(place in done.stderr for place in places)
    assert CANARY not in done.output


def test_r35_an_element_that_no_row_reads_is_refused_or_told(fault, post, refusal, told, case):
    bundle = json.loads(post("/convert", case).data)
    before = json.loads(post("/to-case", bundle).data)
    more = {
        "Bundle.entry[0].resource.telecom": [{"system": "phone", "value": CANARY}],
        "Bundle.entry[5].resource.language": "de",
        "Bundle.entry[9].resource.implicitRules": "https://example.org/rules",
    }
    for index, (expression, value) in zip((0, 5, 9), more.items(), strict=True):
        bundle["entry"][index]["resource"][expression.rpartition(".")[2]] = value
    issues = refusal(post("/to-case", bundle), 422)
    lenient = json.loads(post("/to-case?lenient=true", bundle).data)
    fault.injected("an element that no row reads", 2 * len(more))
    for found in (issues, lenient["outcome"]["issue"]):
        assert {issue["expression"][0] for issue in found} == set(more)
        assert {told(issue)[0] for issue in found} == {"bundle-unmapped-element"}
    assert lenient["case"] == before
