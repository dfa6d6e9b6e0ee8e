"""Emptying an outbox: threads that claim what is due and push it, until all is settled, or nothing can be done for now."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from service.errors import CasebridgeError, ServerRefused
from service.sync.outbox import OPEN, Job, LeaseLost, Outbox, State, Worker, this_worker
from service.sync.push import Patience, Pusher
from service.sync.server import FhirServer

# How often, in seconds, to look for jobs that others may have left or finished: of a service, and of a run that is awaited.
_LOOK_AGAIN, _LOOK_SOON = 0.5, 0.125
# How long, in seconds, a service leaves a server alone that would refuse every job, and an outbox that failed.
_REFUSED_FOR = 300.0
_FAILED_FOR = 5.0

_log = logging.getLogger(__name__)


@dataclass
class Drain:
    """One run of workers over an outbox. `stop` ends it after the jobs in hand; `target` narrows what it takes.

    `only` names the jobs with which it ends: older ones for the same server go first, for they may be of the same case.

    `server`: gives the server for a target; it is shared by the threads. `settled` hears of every job that an attempt at it
    left, from the thread that made it. `wait`: how long, in seconds, to stay while none gets settled.
    """

    outbox: Outbox
    server: Callable[[str], FhirServer]
    target: str | None = None
    only: frozenset[str] = frozenset()
    threads: int = 4
    wait: float = 60.0
    settled: Callable[[Job], None] = lambda _job: None
    patience: Patience = field(default_factory=Patience)
    stop: threading.Event = field(default_factory=threading.Event)
    now: Callable[[], float] = time.time

    def __post_init__(self) -> None:
        self._failure: CasebridgeError | None = None
        self._pending = set(self.only)
        self._since = self.now()
        self._lock = threading.Lock()

    def work(self) -> None:
        """Works until no open job is left, none falls due within `wait`, or `stop` is set.

        Raises ServerRefused where the server would refuse every job.
        """
        with ThreadPoolExecutor(self.threads, "push") as pool:
            for done in [pool.submit(self._thread, self._stays, self._give_up) for _ in range(self.threads)]:
                done.result()
        if self._failure:
            raise self._failure

    def forever(self) -> None:
        """Works until `stop` is set, as one thread of a service does; nothing else ends it.

        A server that would refuse every job is left alone for some minutes. A failure of the outbox, or a fault of ours, costs
        a line in the log, which tells no value, and a pause; the job in hand is handed on when its lease ends.
        """
        while not self.stop.is_set():
            try:
                self._thread(lambda: not self.stop.wait(_LOOK_AGAIN), self._leave_alone)
            except Exception as error:  # noqa: BLE001  the thread is all that sends what was acknowledged
                _log.error("the outbox is not worked on for %g s: %s", _FAILED_FOR, _named(error))
                self.stop.wait(_FAILED_FOR)

    def _give_up(self, _job: Job, error: ServerRefused) -> None:
        self._failure = error

    def _leave_alone(self, job: Job, error: ServerRefused) -> None:
        self.outbox.hold(job.target, self.now() + _REFUSED_FOR, _named(error))
        _log.error("a server refused all jobs, and is left alone for %g s: %s", _REFUSED_FOR, _named(error))

    def _thread(self, stays: Callable[[], bool], refused: Callable[[Job, ServerRefused], None]) -> None:
        """`stays` waits where no job is due, and says whether to look again; `refused` hears of a server that wants no job."""
        worker = this_worker()
        pushers: dict[str, Pusher] = {}
        while not self.stop.is_set() and not self._failure:
            job = self.outbox.claim(worker, now=self.now(), target=self.target)
            if job is None:
                if not stays():
                    return
                continue
            try:
                pusher = pushers.get(job.target) or self._pusher(job.target, worker)
                pushers[job.target] = pusher
                self._note(pusher.run(job))
            except ServerRefused as error:
                refused(job, error)
            except LeaseLost:
                continue  # while it waited for the server, another worker took the job over

    def _note(self, job: Job) -> None:
        with self._lock:
            if job.state not in OPEN:
                self._pending.discard(job.id)
                self._since = self.now()
            if self.only and not self._pending:
                self.stop.set()
        self.settled(job)

    def _pusher(self, target: str, worker: Worker) -> Pusher:
        server = self.server(target)
        return Pusher(server, self.outbox, worker, patience=self.patience, pause=self.stop.wait, now=self.now)

    def _stays(self) -> bool:
        """Waits for what falls due or is in other hands; False where there is nothing to wait for, or it takes too long."""
        if self.only:
            still_open = {job.id for job in self.outbox.jobs(states=OPEN, target=self.target)}
            with self._lock:
                self._pending &= still_open
            if not self._pending:
                return False
        due = self.outbox.next_due(target=self.target)
        if due is None:
            return False
        is_in_hands = self.outbox.counts(target=self.target)[State.SENDING] > 0
        left = min(max(due - self.now(), 0.01), _LOOK_SOON)
        return (is_in_hands or due - self._since <= self.wait) and not self.stop.wait(left)


def _named(error: Exception) -> str:
    """The rule that an error is about, else its type: never its text, in which a value may stand."""
    return error.issues[0].rule if isinstance(error, CasebridgeError) and error.issues else type(error).__name__
