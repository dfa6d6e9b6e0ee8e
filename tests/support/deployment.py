"""A small deployment for tests: an engine, an outbox in a folder of its own, and any server; and cases to push there."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

from service.engine import Engine
from service.fhir import json
from service.sync.outbox import Job, Outbox, default_url, open_outbox, this_worker
from service.sync.plan import Step, Wanted
from service.sync.pull import Pulled, by_case, pull
from service.sync.push import Patience, Pusher, preview, reading
from service.sync.server import FhirServer
from service.sync.worker import Drain
from service.transfer import Transfer

ROOT = Path(__file__).parents[2]
CASES = tuple(sorted((ROOT / "examples" / "cases").glob("*.json")))

# Five resources: the Patient, an infusion that a lab value is dated by, and three lab values.
SMALL: dict[str, Any] = {
    "case": "small-1",
    "patient": {"sex": "female"},
    "cellTherapies": [
        {
            "id": "car-t",
            "procedure": "BCMA-directed CAR-T cell infusion",
            "kind": "CAR-T infusion",
            "status": "completed",
            "when": "2020-03-09",
        }
    ],
    "labs": [
        {"test": "Hemoglobin", "when": "2020-01-05", "value": 86, "unit": "g/L"},
        {"test": "IgG", "when": "2020-01-05", "value": Decimal("38.80"), "unit": "g/L"},
        {"test": "Hemoglobin", "when": "day 14 of car-t", "value": 101, "unit": "g/L"},
    ],
}


def small(case: str = "small-1", change: Callable[[dict[str, Any]], object] = lambda _record: None) -> dict[str, Any]:
    """A fresh copy of the small case under this id, changed."""
    record = copy.deepcopy(SMALL) | {"case": case}
    change(record)
    return record


class Clock:
    """A clock that stands until it is set; `sleep` sets it forward and returns at once."""

    def __init__(self, start: float = 1_800_000_000.0) -> None:
        self.time = start
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.time += seconds


class Deployment:
    """What one site runs. `server` may be exchanged between pushes."""

    def __init__(
        self, engine: Engine, home: Path, server: FhirServer, *, url: str | None = None, patience: Patience | None = None
    ) -> None:
        home.mkdir(parents=True, exist_ok=True)
        self.transfer = Transfer(engine)
        self.server = server
        self.outbox: Outbox = open_outbox(url or default_url(home))
        self.clock = Clock()
        self.patience = patience or Patience()

    def __enter__(self) -> Deployment:
        return self

    def __exit__(self, *_error: object) -> None:
        self.outbox.close()

    def wanted(self, record: dict[str, Any]) -> Wanted:
        made, issues = self.transfer.wanted(json.dumps(record))
        assert made is not None, issues
        return made

    def accept(self, record: dict[str, Any], *, overwrite: bool = False, plan: str | None = None) -> Job:
        submission = self.transfer.submission(self.wanted(record), self.server.base, overwrite=overwrite, plan=plan)
        [job] = self.outbox.accept("run", [submission])
        return job

    def attempt(self) -> Job:
        """One attempt at the oldest job that is due."""
        worker = this_worker()
        job = self.outbox.claim(worker, now=self.clock(), target=self.server.base)
        assert job is not None, "no job is due"
        pusher = Pusher(self.server, self.outbox, worker, patience=self.patience, pause=self.clock.sleep, now=self.clock)
        return pusher.run(job)

    def push(self, record: dict[str, Any], *, overwrite: bool = False, plan: str | None = None) -> Job:
        """Accepts a case and attempts it until it is settled, the clock set forward to each next try."""
        job = self.accept(record, overwrite=overwrite, plan=plan)
        while job.state in ("queued", "unknown"):
            self.clock.time = max(self.clock.time, job.next_try, self.outbox.held(job.target, self.clock()) or 0)
            job = self.attempt()
        return job

    def plan(self, record: dict[str, Any], *, overwrite: bool = False) -> list[Step]:
        return preview(self.server, self.outbox, self.wanted(record), overwrite=overwrite)

    def drain(self, **options: Any) -> None:
        Drain(self.outbox, lambda _target: self.server, stop=threading.Event(), **options).work()

    def pull(self, case: str) -> Pulled:
        [patient] = by_case(self.server, self.transfer.system, self.transfer.identity(case))
        whole = reading(self.server, self.outbox).everything
        return pull(self.server, patient, self.transfer.system, self.transfer.types, whole=whole)

    def restored(self, record: dict[str, Any]) -> dict[str, Any] | None:
        """The case as it comes back, in this one's order; fails where anything could not be held by the form."""
        made = self.transfer.restored(self.pull(record["case"]), self.wanted(record))
        assert not made.issues, made.issues
        return made.record


def counts(job: Job) -> dict[str, int]:
    """How many resources were created, updated, retired and left alone."""
    assert job.report is not None
    return dict(job.report["counts"])


def rules(job: Job) -> set[str]:
    """The rules of the issues in a job's report."""
    assert job.report is not None
    found = job.report["outcome"]["issue"]
    return {one["details"]["coding"][0]["code"] for one in found if "coding" in one["details"]}
