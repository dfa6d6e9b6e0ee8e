"""The Provenance of a push, and the transaction that it comes in, as R4 has them: judged by our validator and by HAPI's."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from service.fhir import json
from service.sync.canonical import DEPLOYMENT
from service.sync.memory import MemoryServer
from service.sync.outbox import State
from service.sync.plan import Known, Step, Wanted, changes_of
from service.sync.provenance import PUSH, RECORD, is_ours, provenance, push_code
from service.sync.server import Resource
from service.sync.write import transaction
from service.validate.validator import load_validator
from tests.support.deployment import Deployment, small
from tests.support.hapi_validator import HapiValidator

STEPS = [Step("create", "a", "Observation", digest="1"), Step("update", "b", "Observation", "7", "3", digest="2")]
WANTED = Wanted("p", "https://example.org/identity", "here", "digest-of-record", "https://example.org/mapping|1", {})


class Watched(MemoryServer):
    """A server that keeps what it was sent."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[Resource] = []

    def submit(self, bundle: Resource) -> Resource:
        self.sent += [bundle] if bundle["type"] == "transaction" else []
        return super().submit(bundle)


@pytest.fixture
def memory() -> Watched:
    return Watched()


@pytest.fixture
def sent(site: Deployment, memory: Watched) -> list[Resource]:
    """The transactions of a first push, and of one that creates, updates and takes back."""
    assert site.push(small()).state is State.CONFIRMED
    assert site.push(small(change=change)).state is State.CONFIRMED
    return memory.sent


def change(record: dict[str, Any]) -> None:
    record["labs"][1]["value"] = Decimal("40.10")
    record["labs"][2] = {"test": "IgA", "when": "2020-02", "value": 3, "unit": "g/L"}


def errors(resource: Resource) -> list[str]:
    return [f"{one.rule} at {one.expression}" for one in load_validator().validate(json.dumps(resource)) if one.is_error]


def made_by(sent: list[Resource]) -> list[Resource]:
    return [entry["resource"] for bundle in sent for entry in bundle["entry"] if is_ours(entry.get("resource", {}))]


def test_what_it_says() -> None:
    made = provenance(WANTED, STEPS, ["urn:uuid:a", "Observation/7"], 1_800_000_000.25)
    assert made["recorded"] == "2027-01-15T08:00:00.250Z"
    assert made["target"] == [{"reference": "urn:uuid:a"}, {"reference": "Observation/7"}]
    assert [(one["role"], one["what"]["identifier"]) for one in made["entity"]] == [
        ("source", {"system": RECORD, "value": "digest-of-record"}),
        ("derivation", {"system": "urn:ietf:rfc:3986", "value": "https://example.org/mapping|1"}),
    ]
    [agent] = made["agent"]
    assert agent["who"]["identifier"] == {"system": DEPLOYMENT, "value": "here"}
    assert made["meta"]["tag"] == [{"system": PUSH, "code": push_code(STEPS)}]
    assert errors(made) == []


def test_it_is_the_same_to_the_letter_in_a_second_attempt() -> None:
    again = [Step(one.action, one.identity, one.resource_type, one.resource_id, one.version, one.digest) for one in STEPS]
    first, second = (provenance(WANTED, steps, ["urn:uuid:a"], 1.5) for steps in (STEPS, again))
    assert json.dumps(first) == json.dumps(second)


@pytest.mark.parametrize(
    "other", [STEPS[:1], STEPS[::-1], [STEPS[0], Step("update", "b", "Observation", "7", "4", digest="2")]]
)
def test_other_changes_have_another_code(other: list[Step]) -> None:
    assert push_code(other) != push_code(STEPS)


@pytest.mark.parametrize(
    ("resource", "ours"),
    [
        ({"resourceType": "Provenance", "meta": {"tag": [{"code": "x"}, {"system": PUSH, "code": "c"}]}}, True),
        ({"resourceType": "Provenance", "meta": {"tag": [{"system": DEPLOYMENT, "code": "c"}]}}, False),
        ({"resourceType": "Provenance"}, False),
        ({"resourceType": "Observation", "meta": {"tag": [{"system": PUSH, "code": "c"}]}}, False),
        ({}, False),
    ],
)
def test_which_provenance_is_ours(resource: Resource, ours: bool) -> None:
    assert is_ours(resource) is ours


def test_both_are_valid_by_our_validator(sent: list[Resource], memory: Watched) -> None:
    assert [entry["request"]["method"] for entry in sent[1]["entry"]] == ["PUT", "POST", "PUT", "POST"]
    assert len(made_by(sent)) == len(memory.all("Provenance")) == 2
    assert [errors(one) for one in (*sent, *made_by(sent), *memory.all())] == [[]] * (2 + 2 + len(memory.all()))


@pytest.mark.hapi
def test_both_are_valid_by_hapi_too(sent: list[Resource], memory: Watched, hapi: HapiValidator) -> None:
    for one in (*sent, *made_by(sent), *memory.all("Provenance")):
        assert [str(error) for error in hapi.validate(json.dumps(one)).errors] == []


def test_a_bundle_that_deletes_is_valid_and_bears_no_provenance_of_what_is_gone() -> None:
    basic = {"resourceType": "Basic", "code": {"text": "x"}, "identifier": [{"system": WANTED.system, "value": "b"}]}
    known = {"b": Known("Basic", "7", "3", wanted="1", stored="1", current=basic)}
    bundle = transaction(WANTED, [Step("retire", "b", "Basic", "7", "3")], known, 0.0, "https://fhir.example.org/r4")
    request = {"method": "DELETE", "url": "Basic/7", "ifMatch": 'W/"3"'}
    assert bundle["entry"] == [{"fullUrl": "https://fhir.example.org/r4/Basic/7", "request": request}]
    assert errors(bundle) == []


def test_a_push_that_finds_all_there_writes_none(site: Deployment, memory: Watched, second: Deployment) -> None:
    site.push(small(change=change))
    site.push(small())
    count = len(memory.all("Provenance"))
    assert second.push(small()).state is State.CONFIRMED
    assert len(memory.all("Provenance")) == count


@pytest.fixture
def second(site: Deployment, tmp_path: Any) -> Iterator[Deployment]:
    """The same deployment with an outbox that lost its memory."""
    with Deployment(site.transfer.engine, tmp_path / "second", site.server) as deployment:
        yield deployment


def test_a_plan_has_the_code_of_its_push(site: Deployment, memory: Watched) -> None:
    steps = list(changes_of(site.plan(small())))
    site.push(small())
    [made] = memory.all("Provenance")
    assert {"system": PUSH, "code": push_code(steps)} in made["meta"]["tag"]
