"""One transaction: what is asked for each step, and what an answer proves of each, however odd it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from service.errors import ServerUnavailable
from service.fhir.search import condition
from service.sync.canonical import URN, digest_of, to_wire
from service.sync.plan import Known, Step
from service.sync.retire import is_retired, retired
from service.sync.server import Resource
from service.sync.write import Answers, altered, answers, judge, silent, transaction
from tests.support.by_hand import PATIENT, SYSTEM, case, fact, patient

BASE = "https://fhir.example.org/r4"
CREATE, UPDATE = Step("create", "a", "Observation", digest="d"), Step("update", "b", "Observation", "8", "3", digest="d")
RETIRE, DELETE = Step("retire", "c", "Observation", "9", "2"), Step("retire", "e", "Basic", "10", "1")
WANTED = case(fact("a", 1, refers="b"), fact("b", 2))
KNOWN = {
    PATIENT: Known("Patient", "7", "1", wanted="x", stored="x"),
    "b": Known("Observation", "8", "3", current=fact("b", 1)),
    "c": Known("Observation", "9", "2", current=fact("c", 3, refers="b")),
    "e": Known("Basic", "10", "1", current=fact("e", kind="Basic")),
}


def entry(identity: str, resource_id: str, status: str = "201 Created", resource: Resource | None = None) -> Resource:
    """The answer for a fact of WANTED: as it was sent, with the server's own id and version."""
    stored = to_wire(resource or WANTED.resources[identity], {PATIENT: "Patient/7", "b": "Observation/8"}, "here")
    meta = {**stored["meta"], "versionId": "4", "lastUpdated": "2026-01-02T03:04:05Z", "source": "#r1"}
    return {"resource": {**stored, "id": resource_id, "meta": meta}, "response": {"status": status}}


def reply(*entries: Any, kind: str = "transaction-response") -> Resource:
    return {"resourceType": "Bundle", "type": kind, "entry": list(entries)}


def test_each_step_is_asked_for_in_its_own_way() -> None:
    bundle = transaction(WANTED, [CREATE, UPDATE, RETIRE, DELETE], KNOWN, 0.0, BASE)
    asked = [(one.get("fullUrl"), one["request"]) for one in bundle["entry"]]
    new = {"method": "POST", "url": "Observation", "ifNoneExist": condition("identifier", SYSTEM, "a")}
    assert asked[:4] == [
        (URN + "a", new),
        (f"{BASE}/Observation/8", {"method": "PUT", "url": "Observation/8", "ifMatch": 'W/"3"'}),
        (f"{BASE}/Observation/9", {"method": "PUT", "url": "Observation/9", "ifMatch": 'W/"2"'}),
        (f"{BASE}/Basic/10", {"method": "DELETE", "url": "Basic/10", "ifMatch": 'W/"1"'}),
    ]
    created, updated, taken_back = (one["resource"] for one in bundle["entry"][:3])
    assert created["extension"][1]["valueReference"] == {"reference": "Observation/8"}
    assert created["subject"] == {"reference": "Patient/7"}
    assert "id" not in created
    assert list(updated)[:2] == ["resourceType", "id"]
    assert is_retired(taken_back)
    assert taken_back["id"] == "9"
    targets = bundle["entry"][4]["resource"]["target"]
    assert [one["reference"] for one in targets] == [
        URN + "a",
        "Observation/8",
        "Observation/9",
    ]


def test_what_is_created_or_gone_is_referred_to_by_its_urn() -> None:
    gone = KNOWN | {"b": Known("Observation", "8", "3", gone=True)}
    steps = [CREATE, Step("create", "b", "Observation", digest="d")]
    bundle = transaction(WANTED, steps, gone, 0.0, BASE)
    assert bundle["entry"][0]["resource"]["extension"][1]["valueReference"] == {"reference": URN + "b"}
    assert [one["reference"] for one in bundle["entry"][2]["resource"]["target"]] == [URN + "a", URN + "b"]


@pytest.mark.parametrize(
    "odd",
    [
        {"resourceType": "OperationOutcome"},
        {"resourceType": "Bundle", "type": "searchset", "entry": []},
        {"resourceType": "Bundle", "type": "transaction-response", "entry": {}},
        {"resourceType": "Bundle"},
        {},
    ],
)
def test_what_is_no_answer_to_a_transaction_leaves_its_outcome_unknown(odd: Resource) -> None:
    with pytest.raises(ServerUnavailable) as caught:
        answers(odd, SYSTEM)
    assert caught.value.sent
    assert [issue.rule for issue in caught.value.issues] == ["sync-reply"]


def test_answers_are_known_by_identity_and_not_by_place() -> None:
    said = answers(reply(entry("b", "8", "200 OK"), entry("a", "11")), SYSTEM)
    assert ({identity: one["resource"]["id"] for identity, one in said.held.items()}, said.failed) == (
        {"b": "8", "a": "11"},
        [],
    )


@pytest.mark.parametrize(
    "odd",
    [
        None,
        "text",
        {},
        {"response": {}},
        {"response": {"status": "422 Unprocessable"}, "resource": patient() | {"id": "1"}},
        {"response": {"status": "banana"}},
        {"response": {"status": 201}},
        {"response": {"status": "304 Not Modified"}},
    ],
    ids=str,
)
def test_an_entry_that_says_nothing_good_is_told_with_its_place(odd: Any) -> None:
    said = answers(reply(entry("a", "11"), odd, kind="batch-response"), SYSTEM)
    good = isinstance(odd, dict) and odd.get("response") == {"status": 201}
    assert list(said.held) == ["a"]
    assert [(issue.rule, issue.expression) for issue in said.failed] == ([] if good else [("sync-entry", "Bundle.entry[1]")])


def test_the_steps_of_which_an_answer_says_nothing() -> None:
    said = answers(reply(entry("a", "11")), SYSTEM)
    assert silent(said.held, [CREATE, UPDATE, RETIRE, DELETE], KNOWN) == [UPDATE, RETIRE]


@pytest.mark.parametrize(
    ("status", "resource", "is_created", "is_edited"),
    [
        ("201 Created", None, True, False),
        ("200 OK", None, False, False),
        ("200 OK", fact("a", 99, refers="b"), False, True),
    ],
    ids=["created", "there already, as wanted", "there already, with other content"],
)
def test_what_an_answer_to_a_create_proves(status: str, resource: Resource | None, is_created: bool, is_edited: bool) -> None:
    step = Step("create", "a", "Observation", digest=digest_of(WANTED.resources["a"]))
    said = answers(reply(entry("a", "11", status, resource)), SYSTEM)
    written = judge(said, WANTED, [step], KNOWN, BASE)
    one = written.known["a"]
    assert (one.resource_id, one.version, one.is_edited) == ("11", "4", is_edited)
    assert (one.wanted == step.digest) is not is_edited
    assert written.created == ({"a"} if is_created else set())
    assert written.issues == []


@pytest.mark.parametrize(
    ("change", "rules"),
    [
        (lambda one: None, []),
        (lambda one: one.pop("status"), ["error sync-dropped Observation.status"]),
        (lambda one: one.update(status="amended"), ["error sync-changed Observation.status"]),
        (lambda one: one.update(language="en"), ["information sync-added Observation.language"]),
        (lambda one: one["extension"].pop(), ["error sync-dropped Observation.extension[0]"]),
    ],
    ids=["nothing", "dropped", "changed", "added", "dropped from a list"],
)
def test_what_a_server_makes_of_what_it_takes_is_told_and_remembered(
    change: Callable[[Resource], object], rules: list[str]
) -> None:
    answer = entry("b", "8", "200 OK", fact("b", 2))
    change(answer["resource"])
    written = judge(Answers({"b": answer}, {}, []), WANTED, [UPDATE], KNOWN, BASE)
    assert [f"{one.severity} {one.rule} {one.expression}" for one in written.issues] == rules
    one = written.known["b"]
    assert one.wanted == digest_of(WANTED.resources["b"])
    assert (one.stored == one.wanted) == (not rules)
    assert not one.is_edited


def test_what_was_taken_back_or_deleted_is_known_as_such() -> None:
    made = retired(KNOWN["c"].current or {})
    written = judge(Answers({"c": entry("c", "9", "200 OK", made)}, {}, []), WANTED, [RETIRE, DELETE], KNOWN, BASE)
    assert (written.known["c"].retired, written.known["c"].wanted) == (True, digest_of(made or {}))
    assert written.known["e"].gone
    assert written.issues == []


def test_no_issue_about_an_altered_resource_shows_a_value() -> None:
    issues = list(altered({"resourceType": "Observation", "a": "Zq7canary"}, {"a": "Zq7other", "b": "Zq7more"}))
    assert len(issues) == 3
    assert "Zq7" not in str(issues)


def test_a_wanted_case_is_not_changed_by_being_sent() -> None:
    before = repr({name: dict(one) for name, one in WANTED.resources.items()})
    transaction(WANTED, [CREATE, UPDATE], KNOWN, 0.0, BASE)
    assert repr({name: dict(one) for name, one in WANTED.resources.items()}) == before
