"""A job to its end, on a server in memory that loses answers, races, and is worked on by others."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from service.engine import Engine
from service.errors import ServerRefused
from service.sync.canonical import DEPLOYMENT
from service.sync.outbox import State
from service.sync.provenance import is_ours
from service.sync.retire import is_retired
from service.sync.server import Resource
from tests.support.deployment import CASES, Deployment, counts, rules, small
from tests.support.strange import Strange, facts, found, lost, observed, refuses


@pytest.fixture
def memory() -> Strange:
    return Strange()


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_a_case_comes_back_as_it_was_and_a_second_push_writes_nothing(site: Deployment, memory: Strange, path: Path) -> None:
    from service.fhir import json

    record: Any = json.loads(path.read_bytes())
    job = site.push(record)
    assert (job.state, rules(job)) == (State.CONFIRMED, set())
    assert counts(job) == {"create": len(facts(memory))}
    assert site.restored(record) == record
    before = [(one["id"], one["meta"]["versionId"]) for one in memory.all()]
    again = site.push(record)
    assert counts(again) == {"unchanged": len(facts(memory))}
    assert [(one["id"], one["meta"]["versionId"]) for one in memory.all()] == before
    assert len(memory.transactions) == 1


def test_every_resource_bears_the_tag_of_the_deployment(site: Deployment, memory: Strange) -> None:
    site.push(small())
    tags = [{"system": DEPLOYMENT, "code": site.transfer.deployment} in one["meta"]["tag"] for one in memory.all()]
    assert len(tags) == 6
    assert all(tags)


def test_provenance_names_the_record_and_the_mapping_and_only_what_was_written(site: Deployment, memory: Strange) -> None:
    site.push(small())
    site.push(small())
    site.push(small(change=lambda record: observed(record, 40)))
    first, second = memory.all("Provenance")
    assert is_ours(first)
    assert {one["reference"] for one in first["target"]} == {f"{one['resourceType']}/{one['id']}" for one in facts(memory)}
    assert [one["reference"] for one in second["target"]] == [f"Observation/{found(memory, 'IgG')['id']}"]
    roles = {one["role"]: one["what"]["identifier"]["value"] for one in second["entity"]}
    assert roles["derivation"] == site.transfer.mapping
    assert roles["source"] == site.wanted(small(change=lambda record: observed(record, 40))).source
    assert "small-1" not in str(memory.all("Provenance"))


def test_a_change_is_an_update_of_the_version_that_we_know(site: Deployment, memory: Strange) -> None:
    site.push(small())
    job = site.push(small(change=lambda record: observed(record, Decimal("40.10"))))
    assert counts(job) == {"update": 1, "unchanged": 4}
    igg = found(memory, "IgG")
    assert (str(igg["valueQuantity"]["value"]), igg["meta"]["versionId"]) == ("40.10", "2")
    [entry, _provenance] = memory.transactions[-1]["entry"]
    assert entry["request"] == {"method": "PUT", "url": f"Observation/{igg['id']}", "ifMatch": 'W/"1"'}


def test_a_fact_that_leaves_the_case_is_retired_and_written_again_when_it_returns(site: Deployment, memory: Strange) -> None:
    site.push(small())
    shorter = small(change=lambda record: record["labs"].pop(1))
    assert counts(site.push(shorter)) == {"retire": 1, "unchanged": 4}
    [igg] = [one for one in memory.all("Observation") if is_retired(one)]
    assert (igg["status"], igg["code"]["text"]) == ("entered-in-error", "IgG")
    assert site.restored(shorter) == shorter
    assert site.pull("small-1").retired == 1
    assert counts(site.push(shorter)) == {"unchanged": 4}
    assert counts(site.push(small())) == {"update": 1, "unchanged": 4}
    assert found(memory, "IgG")["id"] == igg["id"]
    assert site.restored(small()) == small()


@pytest.mark.parametrize("sent", [True, False])
def test_a_lost_answer_is_resolved_by_reading_back(site: Deployment, memory: Strange, sent: bool) -> None:
    def lose(_reply: Resource) -> Resource:
        raise lost()

    def keep_back(_bundle: Resource) -> None:
        raise lost()

    (memory.after if sent else memory.before).append(lose if sent else keep_back)
    site.accept(small())
    first = site.attempt()
    assert (first.state, first.reason) == (State.UNKNOWN, "sync-lost")
    site.clock.time = first.next_try
    second = site.attempt()
    assert second.state is State.CONFIRMED
    assert counts(second) == ({"unchanged": 5} if sent else {"create": 5})
    assert len(facts(memory)) == 5
    assert len(memory.all("Provenance")) == 1


def test_a_request_that_arrives_late_as_well_leaves_one_copy(site: Deployment, memory: Strange) -> None:
    late: list[Resource] = []

    def keep_back(bundle: Resource) -> None:
        late.append(bundle)
        raise lost()

    memory.before.append(keep_back)
    assert site.push(small()).state is State.CONFIRMED
    memory.submit(late[0])
    assert len(facts(memory)) == 5
    assert len(memory.all("Provenance")) == 1


def test_a_late_update_cannot_undo_a_newer_one(site: Deployment, memory: Strange) -> None:
    site.push(small())
    late: list[Resource] = []

    def keep_back(bundle: Resource) -> None:
        late.append(bundle)
        raise lost()

    memory.before.append(keep_back)
    site.push(small(change=lambda record: observed(record, 40)))
    site.push(small(change=lambda record: observed(record, 50)))
    with pytest.raises(ServerRefused):
        memory.submit(late[0])
    assert str(found(memory, "IgG")["valueQuantity"]["value"]) == "50"


@pytest.mark.parametrize("status", [409, 412])
def test_a_race_is_run_again_after_a_pause(site: Deployment, memory: Strange, status: int) -> None:
    memory.before += [refuses(status), refuses(status)]
    job = site.push(small())
    assert (job.state, job.attempts) == (State.CONFIRMED, 1)
    assert len(site.clock.slept) == 2
    assert len(facts(memory)) == 5


def test_endless_races_end(site: Deployment, memory: Strange) -> None:
    memory.before += [refuses(409)] * 1000
    job = site.push(small())
    assert (job.state, job.reason, job.attempts) == (State.DEAD, "sync-unavailable", site.patience.attempts)
    assert "sync-race" in rules(job)


def test_foreign_edit_of_what_we_change_is_a_conflict_and_stays(site: Deployment, memory: Strange) -> None:
    site.push(small())
    igg = found(memory, "IgG")
    memory.edit("Observation", igg["id"], lambda one: one.update(status="amended"))
    changed = small(change=lambda record: observed(record, 40))
    job = site.push(changed)
    assert (job.state, job.reason) == (State.CONFLICT, "sync-conflict")
    assert job.report is not None
    [entry] = job.report["entries"]
    assert (entry["action"], entry["type"], entry["id"]) == ("conflict", "Observation", igg["id"])
    assert entry["differs"] == ["changed status", "changed valueQuantity.value"]
    assert found(memory, "IgG")["status"] == "amended"
    assert memory.versions("Observation", igg["id"]) == 2
    assert counts(site.push(changed, overwrite=True)) == {"update": 1, "unchanged": 4}
    assert site.restored(changed) == changed


def test_foreign_edit_of_what_we_leave_alone_is_left_alone_and_told(site: Deployment, memory: Strange) -> None:
    site.push(small())
    igg = found(memory, "IgG")
    memory.edit("Observation", igg["id"], lambda one: one.update(status="amended"))
    for _ in range(2):
        job = site.push(small())
        assert (job.state, counts(job), rules(job)) == (State.CONFIRMED, {"unchanged": 5}, {"sync-foreign-edit"})
    # Told once more with a change elsewhere, and still a conflict when we change it too.
    other = small(change=lambda record: record["labs"][0].update(value=90))
    assert rules(site.push(other)) == {"sync-foreign-edit"}
    observed(other, 40)
    assert site.push(other).state is State.CONFLICT
    assert found(memory, "IgG")["status"] == "amended"
    assert counts(site.push(other, overwrite=True))["update"] == 1


def test_a_foreign_tag_is_an_edit_like_any_other(site: Deployment, memory: Strange) -> None:
    site.push(small())
    tag = {"system": "https://example.org/tags", "code": "seen"}
    memory.edit("Observation", found(memory, "IgG")["id"], lambda one: one["meta"]["tag"].append(tag))
    assert rules(site.push(small())) == {"sync-foreign-edit"}


def test_what_someone_else_deleted_is_a_conflict_until_it_is_overwritten(site: Deployment, memory: Strange) -> None:
    site.push(small())
    memory.delete("Observation", found(memory, "IgG")["id"])
    for _ in range(2):
        assert (site.push(small()).state, len(facts(memory))) == (State.CONFLICT, 4)
    assert counts(site.push(small(), overwrite=True)) == {"create": 1, "unchanged": 4}
    assert site.restored(small()) == small()


def test_an_outbox_that_lost_its_memory_recognises_what_is_there(
    site: Deployment, memory: Strange, engine: Engine, tmp_path: Path
) -> None:
    site.push(small())
    with Deployment(engine, tmp_path / "second", memory) as second:
        assert counts(second.push(small())) == {"unchanged": 5}
        assert len(memory.all("Provenance")) == 1
    changed = small(change=lambda record: observed(record, 40))
    with Deployment(engine, tmp_path / "third", memory) as third:
        job = third.push(changed)
        assert (job.state, job.reason) == (State.CONFLICT, "sync-conflict")
        assert counts(third.push(changed, overwrite=True)) == {"update": 1, "unchanged": 4}


def test_two_copies_of_one_identity_are_told_and_not_touched(site: Deployment, memory: Strange) -> None:
    [patient, *_] = site.wanted(small()).resources.values()
    for _ in range(2):
        entry = {"resource": patient, "request": {"method": "POST", "url": "Patient"}}
        memory.submit({"resourceType": "Bundle", "type": "batch", "entry": [entry]})
    job = site.push(small())
    assert (job.state, job.reason, job.attempts) == (State.DEAD, "sync-duplicates", 1)
    assert len(memory.all()) == 2
    assert site.push(small("small-2")).state is State.CONFIRMED


def test_a_refused_case_is_dead_with_the_servers_words_kept_and_others_go_on(site: Deployment, memory: Strange) -> None:
    said = {"resourceType": "OperationOutcome", "issue": [{"severity": "error", "code": "invalid", "diagnostics": "of Jane"}]}
    memory.before.append(refuses(422, said))
    job = site.push(small())
    assert (job.state, job.reason) == (State.DEAD, "sync-refused")
    assert job.report is not None
    assert job.report["server"] == said
    assert "Jane" not in str(job.report["outcome"])
    assert site.push(small("small-2")).state is State.CONFIRMED
    [again] = site.outbox.retry([job.id], now=site.clock())
    assert site.attempt().state is State.CONFIRMED
    assert again.id == job.id


def test_a_server_that_refuses_us_kills_no_case(site: Deployment, memory: Strange) -> None:
    memory.before.append(refuses(401))
    job = site.accept(small())
    with pytest.raises(ServerRefused):
        site.attempt()
    waiting = site.outbox.job(job.id)
    assert (waiting.state, waiting.attempts) == (State.QUEUED, 0)
    site.clock.time = waiting.next_try
    assert site.attempt().state is State.CONFIRMED


@pytest.mark.parametrize("status", [403, 404, 405])
def test_what_may_be_about_one_case_only_holds_up_no_other_and_ends(site: Deployment, memory: Strange, status: int) -> None:
    memory.before.append(refuses(status))
    poison = site.accept(small())
    site.accept(small("small-2"))
    assert site.attempt().state is State.QUEUED
    assert site.attempt().state is State.CONFIRMED
    memory.before += [refuses(status)] * 20
    while site.outbox.job(poison.id).state is State.QUEUED:
        site.clock.time = site.outbox.job(poison.id).next_try
        site.attempt()
    ended = site.outbox.job(poison.id)
    assert (ended.state, ended.attempts) == (State.DEAD, site.patience.attempts)


def test_a_busy_server_is_left_alone_as_long_as_it_asks_and_no_longer_than_we_bear(site: Deployment, memory: Strange) -> None:
    def busy(_bundle: Resource) -> None:
        raise lost(sent=False, retry_after=1e9)

    memory.before.append(busy)
    site.accept(small())
    site.accept(small("small-2"))
    job = site.attempt()
    assert (job.state, job.attempts) == (State.QUEUED, 0)
    held = site.outbox.held(site.server.base, site.clock())
    assert held == site.clock() + site.patience.longest
    assert job.next_try >= held  # behind the others, which may not have been the reason
    site.clock.time = job.next_try
    assert [site.attempt().state, site.attempt().state] == [State.CONFIRMED, State.CONFIRMED]


def test_endless_failure_ends_in_a_dead_letter(site: Deployment, memory: Strange) -> None:
    def fail(_bundle: Resource) -> None:
        raise lost()

    memory.before += [fail] * 100
    job = site.push(small())
    assert (job.state, job.reason, job.attempts) == (State.DEAD, "sync-unavailable", site.patience.attempts)
    memory.before.clear()
    assert site.push(small("small-2")).state is State.CONFIRMED
