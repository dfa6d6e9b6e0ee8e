"""Emptying an outbox: in what order, for how long, and what one server, one case or one thread may not do to the others."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from service.engine import Engine
from service.errors import CasebridgeError, OutboxFull, ServerRefused, ServerUnavailable
from service.issues import Issue
from service.sync.memory import MemoryServer
from service.sync.outbox import Job, Outbox, State, Worker
from service.sync.plan import Wanted
from service.sync.push import Patience
from service.sync.server import Resource
from service.sync.worker import Drain
from tests.support.by_hand import SAYS, SYSTEM, ByHand, fact
from tests.support.deployment import Clock
from tests.support.outbox import dead_worker, far_worker, other_worker

HERE, THERE = "http://here.invalid/fhir", "http://there.invalid/fhir"


class Server(MemoryServer):
    """A server that writes down in which order it was sent what, and first does what `fails` says."""

    def __init__(self, base: str = HERE) -> None:
        super().__init__(base)
        self.sent: list[tuple[str, Any]] = []
        self.fails: Callable[[], object] = lambda: None

    def submit(self, bundle: Resource) -> Resource:
        if bundle["type"] == "transaction":
            self.fails()
            told = [entry["resource"] for entry in bundle["entry"] if entry["resource"].get("extension")]
            self.sent += [(one["identifier"][0]["value"], one["extension"][0]["valueDecimal"]) for one in told]
        return super().submit(bundle)


class Stop(threading.Event):
    """An event for which nobody has to wait: waiting sets the clock forward and does what is due then."""

    def __init__(self, clock: Clock, then: Callable[[], object] = lambda: None) -> None:
        super().__init__()
        self._clock, self._then = clock, then
        self.waited = 0

    def wait(self, timeout: float | None = None) -> bool:
        self.waited += 1
        assert self.waited < 1000, "it waits for ever"
        self._clock.sleep(timeout or 0)
        self._then()
        return self.is_set()


@pytest.fixture
def memory() -> Server:
    return Server()


@pytest.fixture
def site(engine: Engine, memory: Server, tmp_path: Path) -> Iterator[ByHand]:
    with ByHand(engine, tmp_path / "site", memory) as deployment:
        yield deployment


def wanted(name: str, says: int) -> Wanted:
    """A case of one fact, both under this name."""
    person = {"resourceType": "Patient", "identifier": [{"system": SYSTEM, "value": f"patient of {name}"}]}
    only = fact(name, says)
    only["subject"] = {"reference": f"urn:uuid:patient of {name}"}
    return Wanted(f"patient of {name}", SYSTEM, "here", "digest", "m|1", {f"patient of {name}": person, name: only})


def drain(site: ByHand, *, servers: dict[str, MemoryServer] | None = None, **options: Any) -> Drain:
    """One thread by a clock that stands, unless told otherwise."""
    known = servers or {site.server.base: site.server}
    given = {"threads": 1, "now": site.clock, "stop": Stop(site.clock)} | options
    return Drain(site.outbox, known.__getitem__, **given)


def states(site: ByHand) -> list[str]:
    return [job.state.value for job in site.outbox.jobs()]


def refused(status: int = 401) -> ServerRefused:
    return ServerRefused([Issue("error", "login", "sync-login", "it lets nobody in")], status=status)


def busy(seconds: float) -> ServerUnavailable:
    return ServerUnavailable([Issue("error", "transient", "sync-busy", "it is busy")], retry_after=seconds)


def lost() -> ServerUnavailable:
    return ServerUnavailable([Issue("error", "transient", "sync-lost", "the answer was lost")], sent=True)


def raising(error: Exception, times: int = 1_000_000) -> Callable[[], None]:
    left = iter(range(times))

    def act() -> None:
        if next(left, None) is not None:
            raise error

    return act


# --- order and place ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("threads", [1, 4])
def test_each_case_is_sent_in_the_order_of_its_acceptance(site: ByHand, memory: Server, threads: int) -> None:
    for says in range(3):
        for name in "pqr":
            site.accept(wanted(name, says))
    drain(site, threads=threads).work()
    assert states(site) == ["confirmed"] * 9
    for name in "pqr":
        assert [says for sent, says in memory.sent if sent == name] == [0, 1, 2]
        [last] = [one for one in memory.all("Observation") if one["identifier"][0]["value"] == name]
        assert (last["extension"][0], last["meta"]["versionId"]) == ({"url": SAYS, "valueDecimal": 2}, "3")


def test_each_server_gets_its_own(site: ByHand) -> None:
    servers = {base: Server(base) for base in (HERE, THERE)}
    for number in range(4):
        site.server = servers[THERE if number % 2 else HERE]
        site.accept(wanted(f"case {number}", number))
    drain(site, servers=servers, threads=2).work()
    assert states(site) == ["confirmed"] * 4
    assert {base: sorted(name for name, _says in server.sent) for base, server in servers.items()} == {
        HERE: ["case 0", "case 2"],
        THERE: ["case 1", "case 3"],
    }


def test_a_target_narrows_what_is_taken(site: ByHand, memory: Server) -> None:
    site.accept(wanted("a", 1))
    site.server = Server(THERE)
    site.accept(wanted("b", 1))
    drain(site, servers={HERE: memory}, target=HERE).work()
    assert states(site) == ["confirmed", "queued"]


def test_an_empty_outbox_is_done_at_once(site: ByHand) -> None:
    made = drain(site)
    made.work()
    assert made.stop.waited == 0


# --- when it ends ---------------------------------------------------------------------------------------------------------


def test_a_stop_lets_the_job_in_hand_be_finished(site: ByHand, memory: Server) -> None:
    for name in "abc":
        site.accept(wanted(name, 1))
    made = drain(site)
    memory.fails = made.stop.set
    made.work()
    assert states(site) == ["confirmed", "queued", "queued"]
    drain(site, stop=made.stop).work()
    assert states(site) == ["confirmed", "queued", "queued"], "what is stopped does not begin"
    drain(site).work()
    assert states(site) == ["confirmed"] * 3


def test_it_ends_with_the_jobs_that_it_is_for_and_older_ones_go_first(site: ByHand, memory: Server) -> None:
    older = site.accept(wanted("a", 1))
    mine = site.accept(wanted("a", 2))
    site.accept(wanted("b", 1))
    heard: list[tuple[str, str]] = []
    drain(site, only=frozenset([mine.id]), settled=lambda job: heard.append((job.id, job.state.value))).work()
    assert heard == [(older.id, "confirmed"), (mine.id, "confirmed")]
    assert states(site) == ["confirmed", "confirmed", "queued"]
    made = drain(site, only=frozenset([mine.id]))
    site.outbox.hold(memory.base, site.clock() + 30, "sync-busy")
    made.work()
    assert (states(site)[2], made.stop.waited) == ("queued", 0), "there is nothing to wait for"


def test_it_stays_for_what_falls_due_soon_and_leaves_what_falls_due_late(site: ByHand, memory: Server) -> None:
    memory.fails = raising(busy(30), times=1)
    job = site.accept(wanted("a", 1))
    drain(site, wait=29).work()
    waiting = site.outbox.job(job.id)
    assert (waiting.state, waiting.attempts) == (State.QUEUED, 0)
    assert waiting.next_try - site.clock() >= 30
    drain(site, wait=60).work()
    assert site.outbox.job(job.id).state is State.CONFIRMED
    assert site.clock() >= waiting.next_try


def test_a_busy_server_keeps_nobody_from_another(site: ByHand, memory: Server) -> None:
    memory.fails = raising(busy(3600))
    site.accept(wanted("a", 1))
    site.accept(wanted("b", 1))
    site.server = other = Server(THERE)
    site.accept(wanted("c", 1))
    drain(site, servers={HERE: memory, THERE: other}).work()
    assert states(site) == ["queued", "queued", "confirmed"]


def test_a_server_that_stays_busy_is_left_in_the_end(site: ByHand, memory: Server) -> None:
    memory.fails = raising(busy(1), times=40)
    site.accept(wanted("a", 1))
    begun = site.clock()
    drain(site, wait=5).work()
    assert site.clock() - begun < 10
    assert states(site) == ["queued"]


# --- hands ----------------------------------------------------------------------------------------------------------------


def claimed(site: ByHand, worker: Worker) -> Job:
    job = site.outbox.claim(worker, now=site.clock())
    assert job is not None
    return job


def test_a_job_in_other_hands_is_waited_for(site: ByHand, memory: Server) -> None:
    site.accept(wanted("a", 1))
    mine = site.accept(wanted("a", 2))
    job = claimed(site, other_worker())

    def settle() -> None:
        if site.outbox.job(job.id).state is State.SENDING:
            site.outbox.settle(job, other_worker(), State.DEAD, now=site.clock())

    drain(site, stop=Stop(site.clock, settle), only=frozenset([mine.id]), wait=0).work()
    assert states(site) == ["dead", "confirmed"]
    assert memory.sent == [("a", 2)]


def test_a_job_whose_lease_has_ended_is_taken_over(site: ByHand) -> None:
    job = site.accept(wanted("a", 1))
    claimed(site, far_worker())
    drain(site).work()
    done = site.outbox.job(job.id)
    assert (done.state, done.resumed, done.attempts) == (State.CONFIRMED, True, 2)


def test_a_job_whose_worker_is_dead_is_taken_over_at_once(site: ByHand) -> None:
    job = site.accept(wanted("a", 1))
    claimed(site, dead_worker())
    made = drain(site)
    made.work()
    assert (site.outbox.job(job.id).state, made.stop.waited) == (State.CONFIRMED, 0)


def test_a_job_that_was_taken_over_meanwhile_is_left_to_the_other(site: ByHand, memory: Server) -> None:
    site.accept(wanted("a", 1))
    site.accept(wanted("b", 1))

    def too_slow() -> None:
        memory.fails = lambda: None
        site.clock.time += 3600
        claimed(site, other_worker())
        raise lost()

    memory.fails = too_slow
    heard: list[str] = []
    made = drain(site, settled=lambda job: heard.append(job.state.value))
    made.stop._then = made.stop.set
    made.work()
    assert states(site) == ["sending", "confirmed"]
    assert heard == ["confirmed"]


class Slow:
    """An outbox in which the first look at the jobs gives another thread time to settle one."""

    def __init__(self, outbox: Outbox, go: threading.Event, done: threading.Event) -> None:
        self._outbox, self._go, self._done = outbox, go, done

    def __getattr__(self, name: str) -> Any:
        return getattr(self._outbox, name)

    def jobs(self, **filters: Any) -> list[Job]:
        found = self._outbox.jobs(**filters)
        if not self._go.is_set():
            self._go.set()
            self._done.wait(1)
        return found


def test_two_threads_may_look_at_what_is_left_at_once(site: ByHand, memory: Server) -> None:
    jobs = [site.accept(wanted("a", says)) for says in range(3)]
    go, done = threading.Event(), threading.Event()
    memory.fails = lambda: go.wait(5)
    made = drain(site, threads=2, only=frozenset(job.id for job in jobs), settled=lambda _job: done.set())
    made.outbox = Slow(site.outbox, go, done)  # type: ignore[assignment]
    made.work()
    assert states(site) == ["confirmed"] * 3


# --- failures -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("threads", [1, 3])
def test_a_server_that_refuses_us_ends_it_and_kills_no_case(site: ByHand, memory: Server, threads: int) -> None:
    for name in "abcd":
        site.accept(wanted(name, 1))
    memory.fails = raising(refused())
    with pytest.raises(ServerRefused):
        drain(site, threads=threads).work()
    assert states(site) == ["queued"] * 4
    assert {job.attempts for job in site.outbox.jobs()} == {0}
    memory.fails = lambda: None
    site.clock.time += 3600
    drain(site).work()
    assert states(site) == ["confirmed"] * 4


def test_a_case_that_is_refused_or_fails_here_stops_no_other(site: ByHand, memory: Server) -> None:
    fates = iter([refused(422), KeyError("a value"), None])

    def fail() -> None:
        if error := next(fates):
            raise error

    memory.fails = fail
    heard: list[tuple[str, str | None]] = []
    for name in "abc":
        site.accept(wanted(name, 1))
    drain(site, settled=lambda job: heard.append((job.state.value, job.reason))).work()
    assert heard == [("dead", "sync-login"), ("dead", "sync-internal"), ("confirmed", None)]


def test_every_attempt_is_heard_of(site: ByHand, memory: Server) -> None:
    memory.fails = raising(lost(), times=3)
    heard: list[tuple[str, int]] = []
    site.accept(wanted("a", 1))
    drain(site, settled=lambda job: heard.append((job.state.value, job.attempts)), patience=Patience(attempts=3)).work()
    assert heard == [("unknown", 1), ("unknown", 2), ("dead", 3)]


class Failing:
    """An outbox that fails when it is first asked for a job."""

    def __init__(self, outbox: Outbox, error: Exception) -> None:
        self._outbox, self._error = outbox, error

    def __getattr__(self, name: str) -> Any:
        return getattr(self._outbox, name)

    def claim(self, worker: Worker, **options: Any) -> Job | None:
        error, self._error = self._error, None  # type: ignore[assignment]
        if error:
            raise error
        return self._outbox.claim(worker, **options)


def test_an_outbox_that_fails_ends_it(site: ByHand) -> None:
    site.accept(wanted("a", 1))
    made = drain(site)
    made.outbox = Failing(site.outbox, OutboxFull([Issue("error", "lock-error", "sync-outbox-locked", "locked")]))  # type: ignore[assignment]
    with pytest.raises(OutboxFull):
        made.work()
    assert states(site) == ["queued"]


# --- as a service ---------------------------------------------------------------------------------------------------------


def served(site: ByHand, *, until: Callable[[], bool], **options: Any) -> Drain:
    """Works for ever until something holds, by a clock that jumps."""
    made = drain(site, **options)
    stop = made.stop
    assert isinstance(stop, Stop)
    stop._then = lambda: stop.set() if until() else None
    made.forever()
    return made


def test_a_service_goes_on_when_there_is_nothing_to_do(site: ByHand) -> None:
    seen = iter(range(10))

    def later() -> bool:
        if next(seen) == 3:
            site.accept(wanted("a", 1))
        return states(site) == ["confirmed"]

    served(site, until=later)
    assert states(site) == ["confirmed"]


def test_a_service_leaves_a_server_alone_that_refuses_all(
    site: ByHand, memory: Server, caplog: pytest.LogCaptureFixture
) -> None:
    memory.fails = raising(refused(), times=1)
    site.accept(wanted("Zq7canary", 1))
    begun = site.clock()
    served(site, until=lambda: states(site) == ["confirmed"])
    assert site.clock() - begun >= 300
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert "sync-login" in caplog.text
    assert "Zq7canary" not in caplog.text


@pytest.mark.parametrize(
    "error",
    [
        OutboxFull([Issue("error", "lock-error", "sync-outbox-locked", "locked")]),
        CasebridgeError([Issue("error", "exception", "sync-outbox-failed", "failed")]),
        KeyError("Zq7canary"),
    ],
    ids=["an outbox that is locked", "one that fails", "a fault of ours"],
)
def test_a_service_outlives_a_failure_of_its_outbox(site: ByHand, error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    site.accept(wanted("a", 1))
    made = drain(site)
    made.outbox = Failing(site.outbox, error)  # type: ignore[assignment]
    stop = made.stop
    assert isinstance(stop, Stop)
    stop._then = lambda: stop.set() if states(site) == ["confirmed"] or stop.waited > 3 else None
    made.forever()
    assert states(site) == ["confirmed"]
    assert len(caplog.records) == 1
    assert "Zq7canary" not in caplog.text
