"""Jobs go in and out, on SQLite and PostgreSQL alike: accepting, claiming, and the fence around a claim."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from service.errors import OutboxFull
from service.sync.outbox import Job, LeaseLost, Outbox, State, open_outbox, this_worker
from tests.support.outbox import (
    DATABASES,
    SERVER,
    database_url,
    dead_worker,
    entry,
    far_worker,
    other_worker,
    submission,
)

OTHER = "https://other.example.org/fhir"
ME = this_worker()


@pytest.fixture(params=DATABASES)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return database_url(request, tmp_path)


@pytest.fixture
def outbox(url: str) -> Iterator[Outbox]:
    with open_outbox(url, lease_seconds=60, clock=lambda: 5.0) as opened:
        yield opened


def accept(outbox: Outbox, *cases: str, run: str = "run", **changes: Any) -> list[Job]:
    return outbox.accept(run, [submission(case, **changes) for case in cases])


def claim(outbox: Outbox, now: float = 10.0, **scope: Any) -> Job:
    job = outbox.claim(ME, now=now, **scope)
    assert job is not None
    return job


def names(jobs: list[Job]) -> list[str]:
    return [job.case for job in jobs]


# Accepting


def test_an_accepted_job_is_as_it_was_submitted(outbox: Outbox, url: str) -> None:
    sent = submission("a", label="Über.json", overwrite=True, plan="plan-1")
    [job] = outbox.accept("run-1", [sent])
    for name in ("target", "case", "label", "payload", "digest", "mapping", "overwrite", "plan"):
        assert getattr(job, name) == getattr(sent, name)
    assert (job.state, job.attempts, job.resumed, job.created, job.run) == (State.QUEUED, 0, False, 5.0, "run-1")
    with open_outbox(url) as again:
        assert again.job(job.id) == job


def test_jobs_are_numbered_in_the_order_of_acceptance(outbox: Outbox) -> None:
    first, second = accept(outbox, "a", "b")
    [third] = accept(outbox, "c")
    assert first.number < second.number < third.number
    assert [job.id for job in outbox.jobs()] == [first.id, second.id, third.id]


def test_a_repeated_submission_gets_the_job_that_waits(outbox: Outbox) -> None:
    [job] = accept(outbox, "a")
    assert accept(outbox, "a", run="later") == [job]
    assert outbox.counts()[State.QUEUED] == 1


def test_a_submission_repeated_in_one_batch_gets_one_job(outbox: Outbox) -> None:
    first, between, again = accept(outbox, "a", "b", "a")
    assert first == again
    assert first != between


@pytest.mark.parametrize("change", [{"digest": "other"}, {"overwrite": True}, {"plan": "p"}, {"mapping": "m@2#d"}])
def test_a_submission_that_differs_is_a_job_of_its_own(outbox: Outbox, change: dict[str, Any]) -> None:
    [first] = accept(outbox, "a")
    [second] = accept(outbox, "a", **change)
    assert second.number > first.number


def test_only_the_newest_job_of_a_case_is_repeated(outbox: Outbox) -> None:
    """What was asked for last has to be what is sent last: A, B, A is three jobs."""
    jobs = [accept(outbox, "a", digest=digest)[0] for digest in ("A", "B", "A")]
    assert len({job.id for job in jobs}) == 3


def test_a_job_that_is_being_sent_or_done_is_not_repeated(outbox: Outbox) -> None:
    [first] = accept(outbox, "a")
    job = claim(outbox)
    [second] = accept(outbox, "a")
    outbox.settle(job, ME, State.CONFIRMED, now=11)
    outbox.settle(claim(outbox), ME, State.CONFIRMED, now=12)
    [third] = accept(outbox, "a")
    assert len({first.id, second.id, third.id}) == 3


def test_the_same_case_on_two_servers_is_two_jobs(outbox: Outbox) -> None:
    here, there = outbox.accept("run", [submission("a"), submission("a", target=OTHER)])
    assert here.id != there.id
    assert {claim(outbox).target, claim(outbox).target} == {SERVER, OTHER}


def test_a_full_outbox_accepts_nothing_of_a_batch(url: str) -> None:
    with open_outbox(url, most_open=3) as outbox:
        accept(outbox, "a", "b")
        with pytest.raises(OutboxFull) as refused:
            accept(outbox, "c", "d")
        assert [issue.rule for issue in refused.value.issues] == ["sync-outbox-full"]
        assert not refused.value.disk
        assert names(outbox.jobs()) == ["a", "b"]
        accept(outbox, "a", "b", "c")  # two of them wait already


def test_what_is_settled_makes_room(url: str) -> None:
    with open_outbox(url, most_open=1) as outbox:
        accept(outbox, "a")
        job = claim(outbox)
        with pytest.raises(OutboxFull):
            accept(outbox, "b")
        outbox.settle(job, ME, State.DEAD, now=11)
        accept(outbox, "b")


def test_nothing_submitted_is_nothing_accepted(outbox: Outbox) -> None:
    assert outbox.accept("run", []) == []
    assert outbox.last_run() is None


def test_a_batch_may_be_larger_than_a_database_takes_parameters(outbox: Outbox) -> None:
    cases = [f"case-{number}" for number in range(2500)]
    assert names(accept(outbox, *cases)) == cases
    assert len({job.id for job in accept(outbox, *cases)}) == outbox.counts()[State.QUEUED] == 2500


def test_a_label_that_is_no_text_does_not_stop_its_case(outbox: Outbox) -> None:
    """A file's name is bytes: what is no UTF-8 in it comes as lone surrogates."""
    [job] = accept(outbox, "a", label="M\udcfcller\0.json")
    assert outbox.job(job.id).label == "M?ller.json"


# Claiming


def test_a_claimed_job_is_being_sent_with_all_it_needs(outbox: Outbox) -> None:
    [job] = accept(outbox, "a")
    claimed = claim(outbox, now=10)
    assert claimed == replace(job, state=State.SENDING, attempts=1, updated=10.0)
    assert outbox.job(job.id) == claimed


def test_jobs_are_claimed_in_order_and_each_once(outbox: Outbox) -> None:
    accept(outbox, "a", "b", "c")
    assert names([claim(outbox), claim(outbox), claim(outbox)]) == ["a", "b", "c"]
    assert outbox.claim(ME, now=10) is None


def test_a_case_is_sent_in_order_one_job_at_a_time(outbox: Outbox) -> None:
    first, second = (accept(outbox, "a", digest=digest)[0] for digest in "12")
    job = claim(outbox)
    assert job.id == first.id
    assert outbox.claim(other_worker(), now=10) is None
    outbox.settle(job, ME, State.CONFIRMED, now=11)
    assert claim(outbox).id == second.id


@pytest.mark.parametrize("unknown", [True, False])
def test_a_job_that_waits_keeps_its_case_waiting_and_no_other(outbox: Outbox, unknown: bool) -> None:
    accept(outbox, "a")
    accept(outbox, "a", digest="newer")
    accept(outbox, "b")
    outbox.park(claim(outbox), ME, next_try=100, unknown=unknown, now=10)
    assert claim(outbox, now=50).case == "b"
    assert outbox.claim(ME, now=50) is None
    assert claim(outbox, now=100).digest == "digest of a"


@pytest.mark.parametrize("end", [State.DEAD, State.CONFLICT])
def test_a_poison_case_blocks_no_other_and_not_its_next_version(outbox: Outbox, end: State) -> None:
    accept(outbox, "poison", "a")
    accept(outbox, "poison", digest="mended")
    outbox.settle(claim(outbox), ME, end, now=11)
    assert [claim(outbox).digest, claim(outbox).digest] == ["digest of a", "mended"]


def test_a_claim_may_be_for_one_server_or_run(outbox: Outbox) -> None:
    accept(outbox, "a")
    accept(outbox, "b", target=OTHER, run="second")
    assert outbox.claim(ME, now=10, target="https://third.example.org") is None
    assert outbox.claim(ME, now=10, run="third") is None
    assert outbox.claim(ME, now=10, target=SERVER, run="second") is None
    assert claim(outbox, run="second").case == "b"
    assert claim(outbox, target=SERVER).case == "a"


def test_an_older_job_of_another_run_goes_first(outbox: Outbox) -> None:
    accept(outbox, "a", run="first")
    accept(outbox, "a", run="second", digest="newer")
    assert outbox.claim(ME, now=10, run="second") is None


def test_a_live_worker_keeps_its_job_until_its_lease_ends(outbox: Outbox) -> None:
    accept(outbox, "a")
    outbox.claim(far_worker(), now=10)
    assert outbox.claim(ME, now=69.9) is None
    taken = claim(outbox, now=70)
    assert (taken.resumed, taken.attempts) == (True, 2)


def test_a_dead_worker_is_known_at_once(outbox: Outbox) -> None:
    accept(outbox, "a")
    outbox.claim(dead_worker(), now=10)
    taken = claim(outbox, now=10)
    assert (taken.resumed, taken.attempts) == (True, 2)


def test_a_worker_from_before_a_restart_is_dead_on_a_file_and_far_on_a_server(outbox: Outbox, url: str) -> None:
    """Two machines share no SQLite file in WAL mode, but they may share a PostgreSQL."""
    accept(outbox, "a")
    outbox.claim(replace(ME, boot="another"), now=10)
    assert (outbox.claim(ME, now=10) is not None) == url.startswith("sqlite")


def test_a_lease_that_is_extended_begins_anew(outbox: Outbox) -> None:
    accept(outbox, "a")
    job = claim(outbox, now=10)
    assert outbox.extend(job, ME, 60)
    assert outbox.claim(other_worker(), now=119) is None
    assert outbox.claim(other_worker(), now=120) is not None
    assert not outbox.extend(job, ME, 121)


def test_an_unknown_outcome_is_resumed_and_a_known_one_is_not(outbox: Outbox) -> None:
    accept(outbox, "a")
    outbox.park(claim(outbox), ME, next_try=20, unknown=True, now=11)
    again = claim(outbox, now=20)
    assert again.resumed
    outbox.park(again, ME, next_try=30, unknown=False, now=21)
    assert not claim(outbox, now=30).resumed


def test_parking_keeps_count_unless_the_attempt_is_free(outbox: Outbox) -> None:
    accept(outbox, "a")
    parked = outbox.park(claim(outbox), ME, next_try=20, unknown=False, reason="sync-x", report={"n": Decimal("1.50")}, now=11)
    assert (parked.attempts, parked.state, parked.reason) == (1, State.QUEUED, "sync-x")
    assert outbox.job(parked.id) == parked
    assert str(outbox.job(parked.id).report) == str({"n": Decimal("1.50")})
    freed = outbox.park(claim(outbox, now=20), ME, next_try=30, unknown=True, free=True, now=21)
    assert (freed.attempts, freed.state, freed.report) == (1, State.UNKNOWN, None)


def test_threads_never_share_a_job(outbox: Outbox) -> None:
    accept(outbox, *(f"case-{number}" for number in range(200)))

    def drain(_: int) -> list[int]:
        mine = []
        worker = this_worker()
        while job := outbox.claim(worker, now=10):
            mine.append(job.number)
            outbox.settle(job, worker, State.CONFIRMED, now=11)
        return mine

    with ThreadPoolExecutor(4) as pool:
        taken = [number for numbers in pool.map(drain, range(4)) for number in numbers]
    assert sorted(taken) == [job.number for job in outbox.jobs()]
    assert outbox.counts()[State.CONFIRMED] == 200


def test_threads_accept_at_once_without_losing_or_doubling(outbox: Outbox) -> None:
    def submit(part: int) -> None:
        for number in range(10):
            outbox.accept(f"run-{part}", [submission(f"own-{part}-{number}"), submission("shared", digest="same")])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(submit, range(4)))
    assert outbox.counts()[State.QUEUED] == 41
    assert len({job.number for job in outbox.jobs()}) == 41


# Fencing


LATE_ACTS: dict[str, Callable[[Outbox, Job], object]] = {
    "record": lambda outbox, job: outbox.record(job, ME, [entry()], gone=["patient"]),
    "settle": lambda outbox, job: outbox.settle(job, ME, State.CONFIRMED, entries=[entry()], now=71),
    "park": lambda outbox, job: outbox.park(job, ME, next_try=0, unknown=False, now=71),
}


@pytest.mark.parametrize("act", LATE_ACTS)
def test_who_lost_the_lease_writes_nothing(outbox: Outbox, act: str) -> None:
    accept(outbox, "a")
    late = claim(outbox, now=10)
    taken = outbox.claim(other_worker(), now=70)
    with pytest.raises(LeaseLost):
        LATE_ACTS[act](outbox, late)
    assert outbox.ledger(SERVER, "a") == {}
    assert taken is not None
    assert outbox.job(late.id) == taken


def test_a_worker_that_lost_a_job_and_took_it_again_cannot_end_the_first_attempt(outbox: Outbox) -> None:
    accept(outbox, "a")
    first = claim(outbox, now=10)
    second = claim(outbox, now=70)
    with pytest.raises(LeaseLost):
        outbox.settle(first, ME, State.CONFIRMED, now=71)
    assert outbox.settle(second, ME, State.CONFIRMED, now=71).state is State.CONFIRMED


def test_a_settled_job_is_settled_once(outbox: Outbox) -> None:
    accept(outbox, "a")
    job = claim(outbox)
    outbox.settle(job, ME, State.CONFIRMED, now=11)
    with pytest.raises(LeaseLost):
        outbox.settle(job, ME, State.DEAD, now=12)
    assert not outbox.extend(job, ME, 12)


def test_a_lease_that_ended_is_still_its_own_while_nobody_took_the_job(outbox: Outbox) -> None:
    accept(outbox, "a")
    assert outbox.settle(claim(outbox, now=10), ME, State.CONFIRMED, now=1000).state is State.CONFIRMED


def test_a_job_is_not_settled_as_open(outbox: Outbox) -> None:
    accept(outbox, "a")
    with pytest.raises(ValueError, match="queued"):
        outbox.settle(claim(outbox), ME, State.QUEUED, now=11)
