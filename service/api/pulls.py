"""Pulls that take long: done one after another by a thread of the process, each into a folder that any process can look at.

A folder is named by the pull's random id, and holds `state.json` and `cases.ndjson` for its owner's eyes only. It goes when the
pull is deleted, which ends one under way, or after a day.
"""

from __future__ import annotations

import logging
import os
import queue
import shutil
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, Final

from service.api.answers import outcome
from service.api.errors import Unready, refusal
from service.errors import CasebridgeError, OutboxFull, UnreadableInput
from service.fhir import json
from service.issues import Issue
from service.sync.outbox import this_worker
from service.sync.outbox.lease import find_dead

# How many pulls there may be, done ones too: each holds what a whole server holds.
MOST: Final = 20
_KEPT_FOR: Final = 86_400.0
_STATE, _CASES = "state.json", "cases.ndjson"

_TOO_MANY: Final = Issue(
    "error", "throttled", "sync-pulls-full", f"there are {MOST} pulls already", fix="fetch what is done, and DELETE it"
)
_NO_ROOM: Final = Issue(
    "error", "no-store", "sync-pulls-disk", "there is no room for the cases", fix="have CASEBRIDGE_HOME looked at; ask again"
)
_ENDED: Final = Issue(
    "error", "transient", "sync-pull-interrupted", "the service was stopped while it pulled", fix="ask for the pull again"
)
_FAILED: Final = Issue(
    "fatal", "exception", "internal", "the service failed", fix="the log tells its operator more; ask for the pull again"
)

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Pull:
    """Where a pull stands. `state`: queued, running, done or failed; `worker`: who does it; `cases`: how many there are so far.
    `status` and `outcome`: the error answer, where it failed."""

    state: str
    worker: str
    cases: int = 0
    status: int = 0
    outcome: dict[str, Any] | None = None

    @property
    def is_open(self) -> bool:
        return self.state in ("queued", "running")

    def failed(self, status: int, *issues: Issue) -> Pull:
        return replace(self, state="failed", status=status, outcome=outcome(issues))


@dataclass(frozen=True)
class Task:
    """What to pull. `lines` gives case after case, asking the server as it goes; `safe` is called once all are on disk."""

    lines: Callable[[], Iterator[dict[str, Any]]]
    safe: Callable[[], None]


class Pulls:
    """The pulls in a folder. `stopping` ends the one under way after the case in hand."""

    def __init__(self, folder: Path, stopping: threading.Event) -> None:
        self._folder = folder
        self._stopping = stopping
        self._tasks: queue.SimpleQueue[tuple[str, Task] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def start(self, task: Task) -> str:
        """Puts a pull behind those that wait; its id. Raises OutboxFull where there are too many, or there is no room."""
        pull_id = uuid.uuid4().hex
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._sweep()
            (self._folder / pull_id).mkdir(mode=0o700)
            self._write(pull_id, Pull("queued", str(this_worker())))
        except OSError:
            raise OutboxFull([_NO_ROOM], disk=True) from None
        self._tasks.put((pull_id, task))
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="pull", daemon=True)
                self._thread.start()
        return pull_id

    def find(self, pull_id: str) -> Pull | None:
        """Where a pull stands, None where there is none. One whose process has ended has failed."""
        try:
            held: Any = json.loads((self._folder / pull_id / _STATE).read_bytes())
        except (OSError, UnreadableInput):
            return None
        found = Pull(**held)
        return found.failed(503, _ENDED) if found.is_open and find_dead([found.worker], local=True) else found

    def open(self, pull_id: str) -> BinaryIO | None:
        """The cases of a pull that is done, as NDJSON; None where it was deleted meanwhile."""
        try:
            return (self._folder / pull_id / _CASES).open("rb")
        except OSError:
            return None

    def delete(self, pull_id: str) -> None:
        """Takes a pull away; a thread that is at it finds its folder gone, and stops."""
        gone = self._folder / f"gone-{pull_id}"
        with suppress(OSError):  # another request may be faster
            (self._folder / pull_id).rename(gone)
        shutil.rmtree(gone, ignore_errors=True)

    def end(self, seconds: float) -> None:
        """Waits for the thread, once `stopping` is set, but no longer than that."""
        self._tasks.put(None)
        if self._thread:
            self._thread.join(seconds)

    def _sweep(self) -> None:
        """Takes away what is older than a day. Raises OutboxFull where too many are left."""
        for path in self._folder.iterdir():
            with suppress(FileNotFoundError):
                if path.stat().st_mtime < time.time() - _KEPT_FOR:
                    self.delete(path.name)
        if len(list(self._folder.iterdir())) >= MOST:
            raise OutboxFull([_TOO_MANY])

    def _write(self, pull_id: str, pull: Pull) -> None:
        """Raises FileNotFoundError where the pull was deleted."""
        path = self._folder / pull_id / _STATE
        aside = path.with_suffix(".new")
        with _private(aside) as file:
            file.write(json.dumps(asdict(pull)))
        aside.replace(path)

    # --- the thread -------------------------------------------------------------------------------------------------------

    def _work(self) -> None:
        while task := self._tasks.get():
            self._run(*task)

    def _run(self, pull_id: str, task: Task) -> None:
        """One pull to its end, whatever that is."""
        pull = Pull("running", str(this_worker()))
        try:
            self._collect(pull_id, task, pull)
            task.safe()
        except FileNotFoundError:
            return
        except OSError:
            self._fail(pull_id, pull.failed(507, _NO_ROOM))
        except CasebridgeError as error:
            status, issues = refusal(error) or (500, [_FAILED])
            self._fail(pull_id, pull.failed(status, *issues))
        except Exception as error:  # noqa: BLE001  the next pull is not to suffer from a fault of ours
            _log.error("a pull failed: %s", type(error).__name__)
            self._fail(pull_id, pull.failed(500, _FAILED))

    def _collect(self, pull_id: str, task: Task, pull: Pull) -> None:
        """All cases onto the disk, and then the word that they are there."""
        self._must_go_on()
        self._write(pull_id, pull)
        with _private(self._folder / pull_id / _CASES) as file:
            for line in task.lines():
                self._must_go_on()
                file.write(json.dumps(line) + b"\n")
                pull = replace(pull, cases=pull.cases + 1)
                self._write(pull_id, pull)
            file.flush()
            os.fsync(file.fileno())
        self._write(pull_id, replace(pull, state="done"))

    def _must_go_on(self) -> None:
        if self._stopping.is_set():
            raise Unready([_ENDED])

    def _fail(self, pull_id: str, pull: Pull) -> None:
        try:
            (self._folder / pull_id / _CASES).unlink(missing_ok=True)
            self._write(pull_id, pull)
        except OSError:
            self.delete(pull_id)


def _private(path: Path) -> BinaryIO:
    """A file to write, anew, for its owner's eyes only."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb")
