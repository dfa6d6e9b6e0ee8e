"""The ledger, the facts, and jobs looked at, tried again and purged, on SQLite and PostgreSQL alike."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from service.errors import Usage
from service.fhir import json
from service.sync.outbox import Job, Outbox, State, open_outbox, this_worker
from tests.support.outbox import DATABASES, SERVER, database_url, entry, other_worker, submission

OTHER = "https://other.example.org/fhir"
ME = this_worker()


@pytest.fixture(params=DATABASES)
def outbox(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Outbox]:
    with open_outbox(database_url(request, tmp_path), lease_seconds=60, clock=lambda: 5.0) as opened:
        yield opened


def accept(outbox: Outbox, *cases: str, run: str = "run", **changes: Any) -> list[Job]:
    return outbox.accept(run, [submission(case, **changes) for case in cases])


def claim(outbox: Outbox, now: float = 10.0) -> Job:
    job = outbox.claim(ME, now=now)
    assert job is not None
    return job


def names(jobs: list[Job]) -> list[str]:
    return [job.case for job in jobs]


# The ledger and what is known of servers


def test_settling_writes_state_and_ledger_together(outbox: Outbox) -> None:
    accept(outbox, "a")
    done = outbox.settle(claim(outbox), ME, State.CONFIRMED, reason="r", report={"a": [1]}, entries=[entry()], now=11)
    assert outbox.job(done.id) == done
    assert (done.state, done.updated, done.report) == (State.CONFIRMED, 11, {"a": [1]})
    assert outbox.ledger(SERVER, "a") == {"patient": entry()}


def test_the_ledger_grows_changes_and_shrinks_while_a_job_goes_on(outbox: Outbox) -> None:
    accept(outbox, "a")
    job = claim(outbox)
    outbox.record(job, ME, [entry("x"), entry("y"), entry("z")])
    outbox.record(job, ME, [entry("y", version="2", retired=True)], gone=["x", "never there"])
    assert outbox.ledger(SERVER, "a") == {"y": entry("y", version="2", retired=True), "z": entry("z")}
    outbox.settle(job, ME, State.DEAD, gone=["z"], now=12)
    assert list(outbox.ledger(SERVER, "a")) == ["y"]


def test_ledgers_of_cases_and_servers_are_apart(outbox: Outbox) -> None:
    outbox.adopt(SERVER, "b", [entry()])
    outbox.adopt(SERVER, "a", [entry(version="2"), entry("other")])
    outbox.adopt(OTHER, "c", [entry(version="3")])
    assert outbox.cases(SERVER) == ["a", "b"]
    assert outbox.ledger(SERVER, "b") == {"patient": entry()}
    assert outbox.ledger(OTHER, "a") == {}


def test_a_held_server_gets_nothing_before_its_time(outbox: Outbox) -> None:
    accept(outbox, "a")
    accept(outbox, "b", target=OTHER)
    outbox.hold(SERVER, 100, "sync-throttled")
    assert outbox.held(SERVER, 99) == 100
    assert outbox.held(SERVER, 100) is None
    assert outbox.held(OTHER, 99) is None
    assert claim(outbox, now=99).case == "b"
    assert outbox.claim(ME, now=99) is None
    assert claim(outbox, now=100).case == "a"


def test_a_shorter_hold_does_not_end_a_longer_one(outbox: Outbox) -> None:
    for until in (50, 100, 70):
        outbox.hold(SERVER, until, "sync-throttled")
    assert outbox.held(SERVER, 0) == 100


def test_facts_are_kept_by_server_and_name(outbox: Outbox) -> None:
    outbox.remember(SERVER, "watermark", "1")
    outbox.remember(SERVER, "watermark", "2")
    assert outbox.recall(SERVER, "watermark") == "2"
    assert outbox.recall(SERVER, "digest") is None
    assert outbox.recall(OTHER, "watermark") is None


# Looking at jobs


def test_a_report_as_deep_as_the_door_allows_does_not_stop_the_queue(outbox: Outbox) -> None:
    answer = json.loads(b'{"extension":[' * 31 + b"{}" + b"]}" * 31)
    accept(outbox, "a")
    parked = outbox.park(claim(outbox), ME, next_try=0, unknown=True, report={"entries": [{"outcome": answer}]}, now=11)
    assert claim(outbox).report == parked.report


def test_a_job_is_found_by_the_beginning_of_its_id(outbox: Outbox) -> None:
    jobs = accept(outbox, *(f"case-{number}" for number in range(17)))
    assert outbox.job(jobs[3].id[:20]).id == jobs[3].id
    # Of 17 ids two begin with the same digit.
    first = [job.id[0] for job in jobs]
    doubled = next(digit for digit in first if first.count(digit) > 1)
    for wrong in (doubled, "", "xyz", "%", jobs[0].id + "0"):
        with pytest.raises(Usage) as refused:
            outbox.job(wrong)
        assert refused.value.issues[0].code == "not-found"


def test_jobs_are_listed_by_run_state_server_and_number(outbox: Outbox) -> None:
    accept(outbox, "a", "b", run="first")
    accept(outbox, "c", target=OTHER, run="second")
    outbox.settle(claim(outbox), ME, State.DEAD, now=11)
    assert names(outbox.jobs(run="first")) == ["a", "b"]
    assert names(outbox.jobs(states=[State.QUEUED, State.SENDING])) == ["b", "c"]
    assert outbox.jobs(states=[]) == []
    assert names(outbox.jobs(target=OTHER)) == ["c"]
    assert names(outbox.jobs(limit=2)) == ["a", "b"]
    assert outbox.jobs()[0].payload is None
    assert outbox.jobs(payload=True)[0].payload == submission().payload
    assert outbox.last_run() == "second"


def test_counts_name_every_state(outbox: Outbox) -> None:
    accept(outbox, "a", "b", "c")
    outbox.park(claim(outbox), ME, next_try=99, unknown=True, now=11)
    outbox.settle(claim(outbox), ME, State.CONFLICT, now=11)
    some = {State.QUEUED: 1, State.UNKNOWN: 1, State.CONFLICT: 1}
    assert outbox.counts() == {state: some.get(state, 0) for state in State}
    assert outbox.counts(target=OTHER) == dict.fromkeys(State, 0)
    assert sum(outbox.counts(run="run").values()) == 3


def test_next_due_is_when_something_can_be_claimed(outbox: Outbox) -> None:
    assert outbox.next_due() is None
    accept(outbox, "a", run="first")
    accept(outbox, "a", digest="newer", run="second")
    assert outbox.next_due() == 0
    job = claim(outbox, now=10)
    assert outbox.next_due() == outbox.next_due(run="second") == 70  # the end of its lease
    outbox.park(job, ME, next_try=40, unknown=False, now=11)
    assert outbox.next_due() == outbox.next_due(run="second", target=SERVER) == 40
    outbox.hold(SERVER, 45, "sync-throttled")
    assert outbox.next_due() == 45
    accept(outbox, "b", target=OTHER, run="third")
    assert outbox.next_due() == outbox.next_due(target=OTHER) == outbox.next_due(run="third") == 0
    assert outbox.next_due(run="first") == outbox.next_due(target=SERVER) == 45
    assert outbox.next_due(run="fourth") is None


# Trying again


@pytest.mark.parametrize("end", [State.DEAD, State.CONFLICT])
def test_a_job_that_failed_is_queued_again(outbox: Outbox, end: State) -> None:
    accept(outbox, "a")
    done = outbox.settle(claim(outbox), ME, end, reason="r", report={"a": 1}, now=11)
    [again] = outbox.retry([done.id, done.id[:12]], now=20)
    assert (again.state, again.attempts, again.next_try, again.overwrite) == (State.QUEUED, 0, 20, False)
    assert outbox.job(done.id) == again
    assert outbox.claim(ME, now=19) is None
    # Whatever was sent may have arrived, so the server is read first.
    assert claim(outbox, now=20).resumed


def test_a_conflict_may_be_retried_with_leave_to_overwrite(outbox: Outbox) -> None:
    accept(outbox, "a")
    done = outbox.settle(claim(outbox), ME, State.CONFLICT, now=11)
    outbox.retry([done.id], overwrite=True, now=20)
    assert claim(outbox, now=20).overwrite


def test_a_retried_job_goes_before_newer_ones_that_wait(outbox: Outbox) -> None:
    accept(outbox, "a")
    done = outbox.settle(claim(outbox), ME, State.DEAD, now=11)
    accept(outbox, "a", digest="newer")
    outbox.retry([done.id], now=20)
    assert claim(outbox, now=20).id == done.id
    assert outbox.claim(other_worker(), now=20) is None


@pytest.mark.parametrize("since", ["sending", "unknown", "confirmed"])
def test_a_retry_never_undoes_a_newer_version(outbox: Outbox, since: str) -> None:
    accept(outbox, "a")
    done = outbox.settle(claim(outbox), ME, State.DEAD, now=11)
    accept(outbox, "a", digest="newer")
    newer = claim(outbox)
    if since == "unknown":
        outbox.park(newer, ME, next_try=99, unknown=True, now=12)
    elif since == "confirmed":
        outbox.settle(newer, ME, State.CONFIRMED, now=12)
    with pytest.raises(Usage, match="older than what was sent"):
        outbox.retry([done.id], now=20)


def test_a_retry_is_all_or_nothing(outbox: Outbox) -> None:
    accept(outbox, "a", "b")
    dead = outbox.settle(claim(outbox), ME, State.DEAD, now=11)
    waiting = outbox.jobs()[1]
    with pytest.raises(Usage, match=f"job {waiting.id} is queued"):
        outbox.retry([dead.id, waiting.id], now=20)
    assert outbox.job(dead.id).state is State.DEAD
    assert outbox.retry([], now=20) == []


# Purging


def test_purging_keeps_states_and_digests_and_nothing_of_the_patient(outbox: Outbox) -> None:
    accept(outbox, "a", "b", "c", "d")
    old = outbox.settle(claim(outbox), ME, State.CONFIRMED, report={"a": 1}, now=11)
    late = outbox.settle(claim(outbox), ME, State.DEAD, report={"a": 1}, now=99)
    outbox.park(claim(outbox), ME, next_try=5, unknown=True, report={"a": 1}, now=11)
    assert outbox.purge(before=50) == 1
    assert outbox.job(old.id) == replace(old, payload=None, label="", report=None)
    assert outbox.job(late.id) == late
    assert [job.payload is None for job in outbox.jobs(payload=True)] == [True, False, False, False]
    assert outbox.purge(before=50) == 0


def test_a_purged_job_is_not_tried_again(outbox: Outbox) -> None:
    accept(outbox, "a")
    done = outbox.settle(claim(outbox), ME, State.DEAD, now=11)
    outbox.purge(before=12)
    with pytest.raises(Usage, match="purged"):
        outbox.retry([done.id], now=20)
