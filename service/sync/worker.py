"""Emptying an outbox: threads that claim what is due and push it, until all is settled, or nothing can be done for now."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from service.errors import CasebridgeError, ServerRefused
from service.sync.outbox import OPEN, Job, Outbox, Worker, this_worker
from service.sync.push import Patience, Pusher
from service.sync.server import FhirServer

# How often, in seconds, to look for jobs that another process may have left or finished.
_LOOK_AGAIN = 0.5


@dataclass
class Drain:
    """One run of workers over an outbox. `stop` ends it after the jobs in hand; `target` narrows what it takes.

    `only` names the jobs with which it ends: older ones for the same server go first, for they may be of the same case.

    `server`: gives the server for a target; it is shared by the threads. `settled` hears of every job that an attempt at it
    left, from the thread that made it. `wait`: how long, in seconds, to stay for jobs that are not due yet.
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

    def work(self) -> None:
        """Works until no open job is left, none falls due within `wait`, or `stop` is set.

        Raises ServerRefused where the server would refuse every job.
        """
        with ThreadPoolExecutor(self.threads, "push") as pool:
            for done in [pool.submit(self._thread) for _ in range(self.threads)]:
                done.result()
        if self._failure:
            raise self._failure

    def forever(self) -> None:
        """Works until `stop` is set, as a service does: what is refused now is tried again when it is due."""
        while not self.stop.is_set():
            self._thread()
            self.stop.wait(_LOOK_AGAIN)

    def _thread(self) -> None:
        worker = this_worker()
        pushers: dict[str, Pusher] = {}
        while not self.stop.is_set() and not self._failure:
            job = self.outbox.claim(worker, now=self.now(), target=self.target)
            if job is None:
                if not self._stays():
                    return
                continue
            try:
                pusher = pushers.get(job.target) or self._pusher(job.target, worker)
                pushers[job.target] = pusher
                self._note(pusher.run(job))
            except ServerRefused as error:
                self._failure = error

    def _note(self, job: Job) -> None:
        if job.state not in OPEN:
            self._pending.discard(job.id)
        self.settled(job)
        if self.only and not self._pending:
            self.stop.set()

    def _pusher(self, target: str, worker: Worker) -> Pusher:
        server = self.server(target)
        return Pusher(server, self.outbox, worker, patience=self.patience, pause=self.stop.wait, now=self.now)

    def _stays(self) -> bool:
        """Waits for what falls due or is in other hands; False where there is nothing to wait for."""
        self._pending = {one for one in self._pending if self.outbox.job(one).state in OPEN}
        if self.only and not self._pending:
            return False
        due = self.outbox.next_due(target=self.target)
        if due is None:
            counts = self.outbox.counts(target=self.target)
            return any(counts.get(state) for state in OPEN) and not self.stop.wait(_LOOK_AGAIN)
        left = due - self.now()
        return left <= self.wait and not self.stop.wait(min(max(left, 0.01), _LOOK_AGAIN))
