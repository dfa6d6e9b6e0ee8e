"""Random histories of an outbox against a simple model of it: no step may do anything that the model does not."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from service.errors import Usage
from service.sync.outbox import OPEN, Job, LeaseLost, Outbox, State, Submission, Worker, open_outbox, this_worker
from tests.support.outbox import DATABASES, database_url, dead_worker, entry, other_worker, submission

LEASE = 60.0
WORKERS = {"me": this_worker(), "other": other_worker(), "dead": dead_worker()}
CASES, DIGESTS, TIMES = st.sampled_from("abc"), st.sampled_from("xyz"), st.sampled_from((0.0, 1.0, 30.0, 100.0))
ENDS = st.sampled_from((State.CONFIRMED, State.CONFLICT, State.DEAD))


@dataclass
class Modelled:
    """What the model knows of a job: the job as it should be, and who has it until when."""

    job: Job
    worker: str | None = None
    lease_until: float = 0.0


class History(RuleBasedStateMachine):
    """Each history has a server of its own in one outbox: so none disturbs another, and none needs a new database."""

    outbox: Outbox
    servers: Iterator[int]

    def __init__(self) -> None:
        super().__init__()
        self.target = f"https://server-{next(self.servers)}.example.org"
        self.now = 1000.0
        self.held = 0.0
        self.jobs: list[Modelled] = []
        self.claims: list[tuple[Job, Worker]] = []
        self.ledger: dict[str, set[str]] = {case: set() for case in "abc"}

    @rule(case=CASES, digest=DIGESTS, overwrite=st.booleans())
    def accept(self, case: str, digest: str, overwrite: bool) -> None:
        asked: Submission = submission(case, target=self.target, digest=digest, overwrite=overwrite)
        [job] = self.outbox.accept("run", [asked])
        newest = next((one.job for one in reversed(self.jobs) if one.job.case == case), None)
        repeated = newest and newest.state is State.QUEUED and (newest.digest, newest.overwrite) == (digest, overwrite)
        assert (newest is not None and job.id == newest.id) == bool(repeated)
        if not repeated:
            assert all(job.number > one.job.number for one in self.jobs)
            self.jobs.append(Modelled(job))

    @rule(name=st.sampled_from(sorted(WORKERS)))
    def claim(self, name: str) -> None:
        claimed = self.outbox.claim(WORKERS[name], now=self.now, target=self.target)
        expected = self._claimable()
        if expected is None:
            assert claimed is None
            return
        before = expected.job
        expected.job = replace(
            before,
            state=State.SENDING,
            attempts=before.attempts + 1,
            resumed=before.resumed or before.state is not State.QUEUED,
            updated=self.now,
        )
        expected.worker, expected.lease_until = name, self.now + LEASE
        assert claimed == expected.job
        self.claims.append((claimed, WORKERS[name]))

    def _claimable(self) -> Modelled | None:
        if self.held > self.now:
            return None
        for case in sorted({one.job.case for one in self.jobs}):
            assert sum(one.job.state is State.SENDING for one in self.jobs if one.job.case == case) <= 1
        heads = {one.job.case: one for one in reversed(self.jobs) if one.job.state in OPEN}
        ready = [one for one in heads.values() if self._is_ready(one)]
        return min(ready, key=lambda one: one.job.number, default=None)

    def _is_ready(self, one: Modelled) -> bool:
        if one.job.state is State.SENDING:
            return one.worker == "dead" or one.lease_until <= self.now
        return one.job.next_try <= self.now

    def _held_by(self, job: Job, worker: Worker) -> Modelled | None:
        """The model's job, if this claim of it is still the one that counts."""
        one = next(one for one in self.jobs if one.job.id == job.id)
        return one if one.worker and WORKERS[one.worker] == worker and one.job.attempts == job.attempts else None

    @precondition(lambda self: self.claims)
    @rule(data=st.data(), end=ENDS)
    def settle(self, data: st.DataObject, end: State) -> None:
        job, worker = data.draw(st.sampled_from(self.claims))
        one = self._held_by(job, worker)
        if one is None:
            with pytest.raises(LeaseLost):
                self.outbox.settle(job, worker, end, entries=[entry("lost")], now=self.now)
            return
        done = self.outbox.settle(job, worker, end, reason="r", report={"a": 1}, entries=[entry(job.digest)], now=self.now)
        one.job, one.worker = replace(one.job, state=end, reason="r", report={"a": 1}, updated=self.now), None
        assert done == one.job
        self.ledger[job.case].add(job.digest)

    @precondition(lambda self: self.claims)
    @rule(data=st.data(), later=TIMES, unknown=st.booleans(), free=st.booleans())
    def park(self, data: st.DataObject, later: float, unknown: bool, free: bool) -> None:
        job, worker = data.draw(st.sampled_from(self.claims))
        one, next_try = self._held_by(job, worker), self.now + later
        if one is None:
            with pytest.raises(LeaseLost):
                self.outbox.park(job, worker, next_try=next_try, unknown=unknown, free=free, now=self.now)
            return
        parked = self.outbox.park(job, worker, next_try=next_try, unknown=unknown, free=free, now=self.now)
        one.job = replace(
            one.job,
            state=State.UNKNOWN if unknown else State.QUEUED,
            next_try=next_try,
            attempts=one.job.attempts - free,
            resumed=unknown,
            reason=None,
            report=None,
            updated=self.now,
        )
        one.worker = None
        assert parked == one.job

    @precondition(lambda self: self.claims)
    @rule(data=st.data())
    def extend(self, data: st.DataObject) -> None:
        job, worker = data.draw(st.sampled_from(self.claims))
        one = self._held_by(job, worker)
        assert self.outbox.extend(job, worker, self.now) == (one is not None)
        if one:
            one.lease_until = self.now + LEASE

    @precondition(lambda self: self.claims)
    @rule(data=st.data(), gone=st.booleans())
    def record(self, data: st.DataObject, gone: bool) -> None:
        job, worker = data.draw(st.sampled_from(self.claims))
        if self._held_by(job, worker) is None:
            with pytest.raises(LeaseLost):
                self.outbox.record(job, worker, [entry("lost")])
        elif gone:
            self.outbox.record(job, worker, [], gone=[job.digest])
            self.ledger[job.case].discard(job.digest)
        else:
            self.outbox.record(job, worker, [entry(job.digest)])
            self.ledger[job.case].add(job.digest)

    @precondition(lambda self: self.jobs)
    @rule(data=st.data(), overwrite=st.booleans())
    def retry(self, data: st.DataObject, overwrite: bool) -> None:
        one = data.draw(st.sampled_from(self.jobs))
        sent = (State.CONFIRMED, State.SENDING, State.UNKNOWN)
        newer = [other for other in self.jobs if other.job.case == one.job.case and other.job.number > one.job.number]
        if one.job.state not in (State.DEAD, State.CONFLICT) or any(other.job.state in sent for other in newer):
            with pytest.raises(Usage):
                self.outbox.retry([one.job.id], overwrite=overwrite, now=self.now)
            return
        one.job = replace(
            one.job,
            state=State.QUEUED,
            attempts=0,
            next_try=self.now,
            updated=self.now,
            resumed=True,
            reason=None,
            report=None,
            overwrite=one.job.overwrite or overwrite,
        )
        # A claim from before its end must not count as one after it.
        self.claims = [(job, worker) for job, worker in self.claims if job.id != one.job.id]
        assert self.outbox.retry([one.job.id], overwrite=overwrite, now=self.now) == [one.job]

    @rule(seconds=TIMES)
    def hold(self, seconds: float) -> None:
        self.outbox.hold(self.target, self.now + seconds, "sync-throttled")
        self.held = max(self.held, self.now + seconds)

    @rule(seconds=TIMES)
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @invariant()
    def the_outbox_is_as_the_model(self) -> None:
        assert self.outbox.jobs(target=self.target, payload=True) == [one.job for one in self.jobs]
        assert self.outbox.held(self.target, self.now) == (self.held if self.held > self.now else None)
        for case, identities in self.ledger.items():
            assert set(self.outbox.ledger(self.target, case)) == identities

    @invariant()
    def next_due_tells_when_to_claim(self) -> None:
        """Unless a worker died, there is nothing to claim before it, and something from then on."""
        due = self.outbox.next_due(target=self.target)
        if due is None:
            assert not any(one.job.state in OPEN for one in self.jobs)
        elif not any(one.worker == "dead" for one in self.jobs):
            assert (self._claimable() is not None) == (due <= self.now)


@pytest.fixture(params=DATABASES)
def outbox(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Outbox]:
    with open_outbox(database_url(request, tmp_path), lease_seconds=LEASE) as opened:
        yield opened


def test_every_history_is_one_that_the_model_allows(outbox: Outbox) -> None:
    history = type("History", (History,), {"outbox": outbox, "servers": itertools.count()})
    quick = settings(max_examples=25, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck))
    run_state_machine_as_test(history, settings=quick)
