"""Every road ends at the case: the odd ones, one by one. The laws over random roads are in tests/property/test_push_laws.py."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from service.engine import Engine
from service.sync.memory import MemoryServer
from service.sync.outbox import State, Submission
from service.sync.plan import Wanted
from service.sync.retire import is_retired
from service.sync.server import Resource
from tests.support.by_hand import ByHand, case, fact, facts_on, in_use, versions
from tests.support.deployment import counts, rules

FULL, LESS = case(fact("a", 1), fact("b", 1, refers="a")), case(fact("a", 1))
CHANGED = case(fact("a", 2), fact("b", 2, refers="a"))


class Piecemeal(MemoryServer):
    """A server that answers its next transaction as a batch in which every entry failed: it stores nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.fails = False

    def submit(self, bundle: Resource) -> Resource:
        if not self.fails or bundle["type"] != "transaction":
            return super().submit(bundle)
        self.fails = False
        failed = [{"response": {"status": "422 Unprocessable Entity"}} for _ in bundle["entry"]]
        return {"resourceType": "Bundle", "type": "batch-response", "entry": failed}


@pytest.fixture
def memory() -> Piecemeal:
    return Piecemeal()


@pytest.fixture
def site(engine: Engine, memory: Piecemeal, tmp_path: Path) -> Iterator[ByHand]:
    with ByHand(engine, tmp_path / "site", memory) as deployment:
        yield deployment


@pytest.fixture
def other(engine: Engine, memory: Piecemeal, tmp_path: Path) -> Iterator[ByHand]:
    """The same deployment with an outbox that knows nothing."""
    with ByHand(engine, tmp_path / "other", memory) as deployment:
        yield deployment


def stored(memory: MemoryServer, identity: str) -> Resource:
    [one] = [one for one in facts_on(memory) if one["identifier"][0]["value"] == identity]
    return one


def edit(memory: MemoryServer, identity: str, **change: Any) -> None:
    one = stored(memory, identity)
    memory.edit(one["resourceType"], one["id"], lambda resource: resource.update(change))


@pytest.mark.parametrize("everything", [True, False])
def test_a_server_without_everything_is_searched(engine: Engine, tmp_path: Path, everything: bool) -> None:
    memory = MemoryServer(everything=everything, page_size=1)
    with ByHand(engine, tmp_path / "site", memory) as site:
        for wanted in (FULL, CHANGED, LESS, FULL):
            edit(memory, "a", language="de") if facts_on(memory) else None
            assert site.push(wanted, overwrite=True).state is State.CONFIRMED
            assert in_use(memory) == wanted.resources


def test_what_was_deleted_and_what_referred_to_it_is_mended(site: ByHand, memory: Piecemeal) -> None:
    site.push(FULL)
    memory.delete("Observation", stored(memory, "a")["id"])
    assert site.push(FULL).state is State.CONFLICT
    assert counts(site.push(FULL, overwrite=True)) == {"create": 1, "update": 1, "unchanged": 1}
    assert in_use(memory) == FULL.resources


def test_a_reference_that_someone_moved_is_an_edit(site: ByHand, memory: Piecemeal) -> None:
    site.push(FULL)
    elsewhere = fact("b", 1)["extension"] + [{"url": "x", "valueReference": {"reference": "Observation/1002"}}]
    edit(memory, "b", extension=elsewhere)
    assert rules(site.push(FULL)) == {"sync-foreign-edit"}
    site.push(FULL, overwrite=True)
    assert in_use(memory) == FULL.resources


@pytest.mark.parametrize("wanted", [CHANGED, LESS], ids=["update", "retire"])
def test_what_a_batch_refused_is_still_to_be_done(site: ByHand, memory: Piecemeal, wanted: Wanted) -> None:
    site.push(FULL)
    memory.fails = True
    assert site.push(wanted).state is State.DEAD
    assert site.push(wanted).state is State.CONFIRMED
    assert in_use(memory) == wanted.resources


def test_what_was_taken_back_and_brought_back_by_someone_is_taken_back_again(site: ByHand, memory: Piecemeal) -> None:
    site.push(FULL)
    site.push(LESS)
    edit(memory, "b", status="final", extension=[])
    assert not is_retired(stored(memory, "b"))
    site.push(LESS, overwrite=True)
    assert in_use(memory) == LESS.resources


@pytest.mark.parametrize("lost", ["deleted", "without its identity"])
def test_a_patient_that_was_lost_gets_all_facts_again(site: ByHand, memory: Piecemeal, lost: str) -> None:
    site.push(FULL)
    if lost == "deleted":
        memory.delete("Patient", stored(memory, "patient")["id"])
    else:
        edit(memory, "patient", identifier=[])
    assert site.push(FULL, overwrite=True).state is State.CONFIRMED
    new = max((one["id"] for one in memory.all("Patient")), key=int)
    assert {one["subject"]["reference"] for one in memory.all("Observation")} == {f"Patient/{new}"}


def test_an_outbox_that_knows_nothing_finds_what_left_the_case(site: ByHand, other: ByHand, memory: Piecemeal) -> None:
    site.push(FULL)
    assert "b" in {step.identity for step in other.plan(LESS, overwrite=True) if step.action == "retire"}
    assert other.push(LESS, overwrite=True).state is State.CONFIRMED
    assert in_use(memory) == LESS.resources


def test_overwriting_takes_back_what_another_outbox_has_added_since(site: ByHand, other: ByHand, memory: Piecemeal) -> None:
    site.push(case())
    other.push(FULL)
    assert {step.action for step in site.plan(case(), overwrite=True)} == {"unchanged", "retire"}
    assert site.push(case(), overwrite=True).state is State.CONFIRMED
    assert in_use(memory) == case().resources


def test_a_plan_that_has_nothing_to_do_is_carried_out(site: ByHand, other: ByHand, memory: Piecemeal) -> None:
    site.push(FULL)
    assert {step.action for step in other.plan(FULL)} == {"unchanged"}
    assert other.push(FULL, plan="").state is State.CONFIRMED


def test_a_fact_of_a_type_that_cannot_say_so_is_taken_back_all_the_same(site: ByHand, memory: Piecemeal) -> None:
    site.push(case(fact("e", kind="Basic")))
    assert site.push(case()).state is State.CONFIRMED
    assert "e" not in in_use(memory)


def test_a_payload_that_cannot_be_read_stops_no_other_case(site: ByHand, memory: Piecemeal) -> None:
    spoilt = Submission(memory.base, "another case", "spoilt.json", b"{}", "digest", "m|1")
    [job] = site.outbox.accept("run", [spoilt])
    site.accept(FULL)
    assert site.attempt().state is State.DEAD
    assert site.outbox.job(job.id).reason == "sync-internal"
    assert site.attempt().state is State.CONFIRMED


def test_a_push_of_what_is_there_writes_nothing_whatever_happened_before(site: ByHand, memory: Piecemeal) -> None:
    for wanted in (FULL, CHANGED, LESS, CHANGED):
        site.push(wanted)
        before = (versions(memory), len(memory.all("Provenance")))
        assert site.push(wanted).state is State.CONFIRMED
        assert (versions(memory), len(memory.all("Provenance"))) == before
