"""Cases on their way to a server and back: who they are there, in which order they return, and how they differ."""

from __future__ import annotations

import random
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from service.engine import Engine
from service.errors import UnreadableInput
from service.fhir import json
from service.sync import payload
from service.sync.canonical import URN, identity_of
from service.sync.plan import Wanted
from service.sync.pull import Pulled
from service.transfer import Transfer, compared
from tests.support.deployment import CASES, small


@pytest.fixture(scope="module")
def transfer(engine: Engine) -> Transfer:
    return Transfer(engine)


def wanted(transfer: Transfer, record: dict[str, Any]) -> Wanted:
    made, issues = transfer.wanted(json.dumps(record))
    assert made is not None, issues
    return made


def held(made: Wanted, order: list[str] | None = None) -> Pulled:
    """As a server gives the case back, in this order."""
    names = order or list(made.resources)
    return Pulled("7", made.case, [(URN + name, made.resources[name]) for name in names])


# --- who they are ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_a_case_is_known_by_the_identity_of_its_patient(transfer: Transfer, path: Any) -> None:
    text = path.read_bytes()
    made, _issues = transfer.wanted(text)
    assert made is not None
    record: Any = json.loads(text)
    assert made.case == transfer.identity(record["case"])
    assert made.resources[made.case]["resourceType"] == "Patient"
    assert {identity_of(one, transfer.system) for one in made.resources.values()} == set(made.resources)
    assert {one["resourceType"] for one in made.resources.values()} <= set(transfer.types)


def test_without_the_key_nobody_knows_whose_a_case_is(transfer: Transfer) -> None:
    other = Transfer(replace(transfer.engine, key=b"another key of sixteen bytes or more"))
    here, there = wanted(transfer, small()), wanted(other, small())
    for one, two in ((here.case, there.case), (here.source, there.source), (here.deployment, there.deployment)):
        assert one != two
    assert not set(here.resources) & set(there.resources)
    assert other.mapping == transfer.mapping


@pytest.mark.parametrize("length", [16, 64, 65, 500])
def test_a_key_may_be_long(transfer: Transfer, length: int) -> None:
    keyed = [Transfer(replace(transfer.engine, key=b"k" * length + end)) for end in (b"1", b"2")]
    assert len({one.deployment for one in keyed}) == len({one.identity("c") for one in keyed}) == 2
    assert keyed[0].deployment == Transfer(keyed[0].engine).deployment


def test_the_source_is_of_the_record_and_not_of_how_it_is_written(transfer: Transfer) -> None:
    record = small()
    texts = [json.dumps(record), json.dumps(record, indent=True), json.dumps(dict(reversed(record.items())))]
    assert len({made.source for text in texts if (made := transfer.wanted(text)[0])}) == 1
    changed = small(change=lambda one: one["labs"][1].update(value=Decimal("38.8")))
    assert wanted(transfer, changed).source != wanted(transfer, record).source


def test_neither_who_nor_what_stands_in_what_is_made_of_it(transfer: Transfer) -> None:
    made = wanted(transfer, small("Zq7canary"))
    sent = transfer.submission(made, "http://fhir.invalid", label="a.json")
    told = (made.case, made.source, sent.case, sent.digest, sent.mapping, sent.label, *made.resources)
    assert not any("Zq7canary" in text for text in told)
    assert "Zq7canary" not in repr(made)


def test_a_submission_is_the_same_for_the_same_case_and_its_payload_brings_it_back(transfer: Transfer) -> None:
    first, second = (transfer.submission(wanted(transfer, small()), "http://fhir.invalid") for _ in range(2))
    assert first == second
    assert payload.load(first.payload) == wanted(transfer, small())
    assert payload.digest(first.payload) == first.digest
    other = transfer.submission(wanted(transfer, small(change=lambda one: one["labs"].pop())), "http://fhir.invalid")
    assert (other.case, other.mapping) == (first.case, first.mapping)
    assert other.digest != first.digest
    assert first.mapping.startswith(transfer.mapping + "#")


def test_what_cannot_be_converted_is_told_and_not_sent(transfer: Transfer) -> None:
    made, issues = transfer.wanted(json.dumps({**small(), "shoeSize": 38}), file="a.json")
    assert made is None
    assert [(issue.rule, str(issue.source)[:6]) for issue in issues] == [("case-unknown-field", "a.json")]
    made, issues = transfer.wanted(json.dumps({**small(), "shoeSize": 38}), lenient=True)
    assert made is not None
    assert [issue.severity for issue in issues] == ["warning"]
    with pytest.raises(UnreadableInput):
        transfer.wanted(b"{")


# --- back again -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_a_case_comes_back_in_the_order_of_the_local_one(transfer: Transfer, path: Any) -> None:
    record: Any = json.loads(path.read_bytes())
    made = wanted(transfer, record)
    order = list(made.resources)
    random.Random(1).shuffle(order)
    restored = transfer.restored(held(made, order), made)
    assert restored.issues == []
    assert json.dumps(in_order(restored.record)) == json.dumps(in_order(record))


def in_order(value: Any) -> Any:
    """With sorted names, for only items have an order."""
    if isinstance(value, dict):
        return {name: in_order(value[name]) for name in sorted(value)}
    return [in_order(item) for item in value] if isinstance(value, list) else value


def test_without_a_local_one_it_comes_in_the_order_in_which_it_was_written(transfer: Transfer) -> None:
    record = small()
    restored = transfer.restored(held(wanted(transfer, record)))
    assert (restored.record, restored.issues) == (record, [])


def test_what_the_local_case_does_not_know_comes_last_and_what_is_no_fact_of_the_form_is_told(transfer: Transfer) -> None:
    record, local = small(), small(change=lambda one: one["labs"].pop(0))
    made = wanted(transfer, record)
    foreign = {"resourceType": "AllergyIntolerance", "code": {"text": "Zq7canary"}, "patient": {"reference": URN + made.case}}
    found = held(made)
    found = replace(found, resources=[*found.resources, ("http://fhir.invalid/AllergyIntolerance/9", foreign)])
    restored = transfer.restored(found, wanted(transfer, local))
    assert restored.record is not None
    assert restored.record["labs"] == [*record["labs"][1:], record["labs"][0]]
    assert restored.issues
    assert "Zq7canary" not in str(restored.issues)


def test_a_server_that_holds_a_patient_only_gives_a_case_of_nothing_else(transfer: Transfer) -> None:
    made = wanted(transfer, {"case": "c", "patient": {"sex": "female"}})
    restored = transfer.restored(held(made))
    assert restored.record == {"case": "c", "patient": {"sex": "female"}}


def test_what_a_server_holds_may_be_longer_than_a_file(transfer: Transfer) -> None:
    """As payload.load has it: a case was within the limits of the door, and its resources are more than it was."""
    record = small()
    text = json.dumps(record)
    tight = Transfer(replace(transfer.engine, limits=json.Limits(max_bytes=len(text))))
    made, issues = tight.wanted(text)
    assert made is not None, issues
    assert tight.restored(held(made)).record == record


# --- compared -------------------------------------------------------------------------------------------------------------


def told(transfer: Transfer, local: dict[str, Any], there: dict[str, Any]) -> list[tuple[str | None, str]]:
    found = list(compared(transfer.engine, json.dumps(local), there, "a.json"))
    assert {issue.rule for issue in found} <= {"sync-difference"}
    assert {str(issue.source) for issue in found} <= {"a.json"}
    return [(issue.pointer, issue.text) for issue in found]


def test_equal_cases_have_no_difference_whatever_their_order(transfer: Transfer) -> None:
    record: Any = json.loads(CASES[0].read_bytes())
    turned = {name: record[name][::-1] if isinstance(record[name], list) else record[name] for name in reversed(record)}
    assert turned != record
    assert told(transfer, record, turned) == []


def test_each_difference_names_its_item_and_field_and_no_value(transfer: Transfer) -> None:
    def change(record: dict[str, Any]) -> None:
        record["labs"][1]["value"] = Decimal("4711.5")
        record["labs"][0]["note"] = "Zq7canary"
        record["labs"].append({"test": "IgA", "when": "2020", "value": 3, "unit": "g/L"})
        record["labs"].reverse()

    found = told(transfer, small(), small(change=change))
    assert found == [
        ("/labs/0", "note is on the server only"),
        ("/labs/1", "value differs on the server"),
        ("/labs", "the server has an item here that the case has not"),
    ]
    assert told(transfer, small(change=change), small()) == [
        ("/labs/0", "this item is in the local case only"),
        ("/labs/2", "value differs on the server"),
        ("/labs/3", "note is in the local case only"),
    ]


def test_a_decimal_of_other_precision_is_another_value(transfer: Transfer) -> None:
    other = small(change=lambda one: one["labs"][1].update(value=Decimal("38.8")))
    assert told(transfer, small(), other) == [("/labs/1", "value differs on the server")]


def test_an_item_that_the_server_lost_is_told(transfer: Transfer) -> None:
    other = small(change=lambda one: one["labs"].pop(2))
    assert told(transfer, small(), other) == [("/labs/2", "this item is in the local case only")]


def test_items_within_items_are_compared_for_themselves(transfer: Transfer) -> None:
    record: Any = json.loads(next(path for path in CASES if path.stem.startswith("chen")).read_bytes())
    other: Any = json.loads(json.dumps(record))
    index, treatment = next((index, one) for index, one in enumerate(other["treatments"]) if len(one.get("drugs", ())) > 1)
    treatment["drugs"].reverse()
    assert told(transfer, record, other) == []
    lost = treatment["drugs"].pop()
    position = record["treatments"][index]["drugs"].index(lost)
    assert told(transfer, record, other) == [(f"/treatments/{index}/drugs/{position}", "this item is in the local case only")]


def test_against_nothing_there_is_nothing_to_compare(transfer: Transfer) -> None:
    [(pointer, text)] = told(transfer, small(), {})
    assert pointer == "/"
    assert text.endswith("cannot be compared")


def test_a_case_that_the_form_no_longer_accepts_has_not_lost_everything(transfer: Transfer) -> None:
    """As when someone has removed an element on the server that the form demands."""
    found = told(transfer, small(), small(change=lambda one: one["cellTherapies"][0].pop("kind")))
    assert found
    assert ("/labs/0", "this item is in the local case only") not in found
