"""A push to servers with limits, and with answers that are not as they should be."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.engine import Engine
from service.errors import ServerRefused
from service.sync.outbox import Job, State
from service.sync.plan import changes_of
from service.sync.push import Patience
from service.sync.server import Resource
from tests.support.deployment import Deployment, counts, rules, small
from tests.support.strange import Strange, facts, found, lost, observed


@pytest.fixture
def memory() -> Strange:
    return Strange()


@pytest.mark.parametrize("most", [3, 4, 5])
def test_a_servers_limit_is_learnt_and_the_case_is_split(engine: Engine, tmp_path: Path, most: int) -> None:
    memory = Strange(max_bundle=most)
    with Deployment(engine, tmp_path / "site", memory) as site:
        job = site.push(small())
        assert (job.state, counts(job)) == (State.CONFIRMED, {"create": 5})
        assert site.restored(small()) == small()
        tried = len(memory.transactions)
        site.push(small("small-2"))
        assert all(len(one["entry"]) <= most for one in memory.transactions[tried:])


def test_a_limit_that_nothing_fits_in_is_told_with_its_number(engine: Engine, tmp_path: Path) -> None:
    with Deployment(engine, tmp_path / "site", Strange(max_bundle=1)) as site:
        job = site.push(small())
        assert (job.state, job.reason) == (State.DEAD, "sync-bundle-limit")


def test_our_own_limit_splits_without_asking(engine: Engine, tmp_path: Path) -> None:
    memory = Strange()
    with Deployment(engine, tmp_path / "site", memory, patience=Patience(entries=3)) as site:
        assert counts(site.push(small())) == {"create": 5}
        assert [len(one["entry"]) for one in memory.transactions] == [3, 3, 2]
        assert site.restored(small()) == small()


def test_a_push_that_stops_between_two_parts_goes_on_where_it_was(engine: Engine, tmp_path: Path) -> None:
    memory = Strange()

    def fail(_bundle: Resource) -> None:
        raise lost()

    memory.before += [lambda _bundle: None, fail]
    with Deployment(engine, tmp_path / "site", memory, patience=Patience(entries=3)) as site:
        job = site.push(small())
        assert (job.state, len(facts(memory))) == (State.CONFIRMED, 5)
        assert site.restored(small()) == small()


def test_answers_are_paired_by_identity_and_what_is_missing_is_looked_for(site: Deployment, memory: Strange) -> None:
    def shuffle(reply: Resource) -> Resource:
        return reply | {"entry": reply["entry"][:1:-1]}

    memory.after.append(shuffle)
    job = site.push(small())
    assert (job.state, len(facts(memory))) == (State.CONFIRMED, 5)
    rows = site.outbox.ledger(site.server.base, job.case)
    assert {(row.resource_type, row.resource_id) for row in rows.values()} == {
        (o["resourceType"], o["id"]) for o in facts(memory)
    }
    ids = {one["identifier"][0]["value"]: one["id"] for one in facts(memory)}
    assert {identity: row.resource_id for identity, row in rows.items()} == ids


def test_a_server_that_returns_no_representation_is_read(site: Deployment, memory: Strange) -> None:
    def bare(reply: Resource) -> Resource:
        return reply | {"entry": [{"response": entry["response"]} for entry in reply["entry"]]}

    memory.after += [bare]
    job = site.push(small())
    assert job.state is State.CONFIRMED
    assert len(site.outbox.ledger(site.server.base, job.case)) == 5


def test_entries_that_failed_in_a_good_answer_are_listed_and_the_case_is_not_ok(site: Deployment, memory: Strange) -> None:
    def fail_one(reply: Resource) -> Resource:
        entries = [*reply["entry"]]
        entries[2] = {"response": {"status": "422 Unprocessable"}}
        return reply | {"type": "batch-response", "entry": entries}

    memory.after.append(fail_one)
    job = site.push(small())
    assert (job.state, job.reason) == (State.DEAD, "sync-entry")
    assert job.report is not None
    assert not job.report["ok"]
    assert "Bundle.entry[2]" in str(job.report["outcome"])


def test_what_the_server_drops_or_changes_is_told_with_its_place(site: Deployment, memory: Strange) -> None:
    def alter(reply: Resource) -> Resource:
        igg = next(e["resource"] for e in reply["entry"] if e.get("resource", {}).get("code", {}).get("text") == "IgG")
        del igg["valueQuantity"]["unit"]
        igg["status"] = "amended"
        igg["language"] = "en"
        return reply

    memory.after.append(alter)
    job = site.push(small())
    assert (job.state, rules(job)) == (State.CONFIRMED, {"sync-dropped", "sync-changed", "sync-added"})
    assert job.report is not None
    assert not job.report["ok"]
    assert "Observation.valueQuantity.unit" in str(job.report["outcome"])


def test_a_server_that_cannot_do_it_is_refused_before_the_first_write(engine: Engine, tmp_path: Path) -> None:
    class Old(Strange):
        def capabilities(self) -> Resource:
            return super().capabilities() | {"fhirVersion": "3.0.2"}

    memory = Old()
    with Deployment(engine, tmp_path / "site", memory) as site:
        site.accept(small())
        with pytest.raises(ServerRefused) as refusal:
            site.attempt()
        assert [issue.rule for issue in refusal.value.issues] == ["sync-unfit"]
        assert memory.submitted == []


def test_a_plan_is_carried_out_to_the_letter_or_not_at_all(site: Deployment, memory: Strange) -> None:
    site.push(small())
    changed = small(change=lambda record: observed(record, 40))
    plan = "\n".join(step.key for step in changes_of(site.plan(changed)))
    igg = found(memory, "IgG")
    memory.edit("Observation", igg["id"], lambda one: one.update(note=[{"text": "seen"}]))
    job = site.push(changed, plan=plan, overwrite=True)
    assert (job.state, job.reason) == (State.CONFLICT, "sync-plan-stale")
    assert memory.versions("Observation", igg["id"]) == 2
    plan = "\n".join(step.key for step in changes_of(site.plan(changed, overwrite=True)))
    other = small(change=lambda record: observed(record, 41))
    assert site.push(other, plan=plan, overwrite=True).reason == "sync-plan-stale"
    assert site.push(changed, plan=plan, overwrite=True).state is State.CONFIRMED


def test_a_fault_of_ours_in_one_case_does_not_stop_the_others(site: Deployment, memory: Strange) -> None:
    def broken(_bundle: Resource) -> None:
        raise KeyError("a value of the patient")

    memory.before.append(broken)
    job: Job = site.push(small())
    assert (job.state, job.reason) == (State.DEAD, "sync-internal")
    assert "patient" not in str(job.report)
    assert site.push(small("small-2")).state is State.CONFIRMED


def test_an_edit_between_our_reading_and_our_writing_is_seen_at_the_next_push(site: Deployment, memory: Strange) -> None:
    site.push(small())
    igg = found(memory, "IgG")
    changed = small(change=lambda record: record["labs"][0].update(value=90))

    def interfere(_bundle: Resource) -> None:
        memory.edit("Observation", igg["id"], lambda one: one.update(status="amended"))

    memory.before.append(interfere)
    assert rules(site.push(changed)) == set()
    assert rules(site.push(changed)) == {"sync-foreign-edit"}
