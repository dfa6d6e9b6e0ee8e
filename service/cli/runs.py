"""Following jobs of the outbox while they are sent, and what is said of them at the end."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from service.cli.output import FINDINGS, OK, SERVER, render
from service.errors import CasebridgeError
from service.issues import Issue, Origin

if TYPE_CHECKING:
    from service.sync.outbox import Job, Outbox
    from service.sync.server import FhirServer

_COLOURS = {"confirmed": "green", "conflict": "red", "dead": "red"}


@dataclass
class Follow:
    """Some jobs on their way: `work` sends them, `told` then says what became of each."""

    box: Outbox
    ids: Sequence[str]
    interrupted: bool = False
    failure: CasebridgeError | None = None
    stop: threading.Event = field(default_factory=threading.Event)

    def work(self, servers: Mapping[str, FhirServer], *, workers: int, wait: float) -> None:
        """Until all are settled, none falls due within `wait` seconds, or Ctrl-C, after which those in hand are finished."""
        from service.sync.worker import Drain

        if not self.ids:
            return
        [target] = servers
        with self._bar() as advance, self._interruptible():
            drain = Drain(
                self.box,
                servers.__getitem__,
                target=target,
                threads=min(workers, len(self.ids)),
                wait=wait,
                stop=self.stop,
                settled=advance,
                only=frozenset(self.ids),
            )
            try:
                drain.work()
            except CasebridgeError as error:
                self.failure = error

    def jobs(self) -> list[Job]:
        return [self.box.job(one) for one in self.ids]

    @contextmanager
    def _interruptible(self) -> Iterator[None]:
        def stop(_signal: int, _frame: object) -> None:
            self.interrupted = True
            self.stop.set()

        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {one: signal.signal(one, stop) for one in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for one, handler in before.items():
                signal.signal(one, handler)

    @contextmanager
    def _bar(self) -> Iterator[Any]:
        from service.sync.outbox import OPEN

        if len(self.ids) < 2 or not sys.stderr.isatty():
            yield lambda _job: None
            return
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (BarColumn(), MofNCompleteColumn(), TextColumn("cases, {task.fields[rate]:.1f}/s"), TimeRemainingColumn())
        with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            bar.add_task("", total=len(self.ids), rate=0.0)
            [task] = bar.tasks

            def advance(job: Job) -> None:
                if job.state not in OPEN:
                    bar.update(task.id, advance=1, rate=(task.completed + 1) / max(task.elapsed or 0, 0.1))

            yield advance


def told(*follows: Follow, as_json: bool = False) -> int:
    """Prints what became of each job, and what to do about those that are not done; gives the exit code."""
    from service.fhir import json
    from service.sync.forms import of_job
    from service.sync.outbox import OPEN

    jobs = [job for follow in follows for job in follow.jobs()]
    if as_json:
        click.echo(json.dumps({"jobs": [of_job(job) for job in jobs]}, indent=True).decode(), nl=False)
    else:
        for job in jobs:
            click.echo(line(job))
    failures = [issue for follow in follows if follow.failure for issue in follow.failure.issues]
    for issue in [*failures, *(() if as_json else issues_of(*jobs))]:
        click.echo(render(issue), err=True)
    still_open = [job for job in jobs if job.state in OPEN]
    if still_open:
        count = f"{len(still_open)} of {len(jobs)} cases are not confirmed yet; they are safe in the outbox"
        click.echo(f"{count}. To go on: casebridge sync resume", err=True)
        return SERVER
    failed = [job for job in jobs if not (job.report or {}).get("ok")]
    if any(job.reason == "sync-unavailable" for job in failed):
        return SERVER
    return FINDINGS if failed else OK


def line(job: Job) -> str:
    """One job for people: which case, what state, what was done or what comes next, and the id to name it by."""
    counts: Mapping[str, int] = (job.report or {}).get("counts", {})
    did = ", ".join(f"{action} {count}" for action, count in counts.items()) or (job.reason or "")
    if job.next_try and job.state.value in ("queued", "unknown"):
        did = ", ".join(filter(None, [f"next try {datetime.fromtimestamp(job.next_try).astimezone():%H:%M:%S}", job.reason]))
    state = click.style(f"{job.state.value:<9}", fg=_COLOURS.get(job.state.value))
    return f"{job.label or job.case[:8]:<24} {state} {did:<32} job {job.id[:8]}"


def issues_of(*jobs: Job) -> Iterator[Issue]:
    """What the jobs' reports say went wrong, in words that hold no value; what several say once, with how often."""
    said: dict[tuple[str, str | None], list[tuple[Job, dict[str, Any]]]] = {}
    for job in jobs:
        for one in (job.report or {}).get("outcome", {}).get("issue", ()):
            if one["severity"] != "information" and "coding" in one["details"]:
                said.setdefault((one["details"]["text"], (one.get("expression") or [None])[0]), []).append((job, one))
    for (text, expression), found in said.items():
        job, one = found[0]
        yield Issue(
            one["severity"],
            one["code"],
            one["details"]["coding"][0]["code"],
            text + (f" (× {len(found)})" if len(found) > 1 else ""),
            fix=one.get("diagnostics"),
            expression=expression,
            source=Origin(job.label or job.case) if len({job.id for job, _one in found}) == 1 else None,
        )
