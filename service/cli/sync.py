"""`casebridge sync`: what lies in the outbox, going on with it, and what a server is fit for."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from service.cli.output import EXIT_CODES, FINDINGS, OK, render
from service.cli.runs import Follow, issues_of, line, told
from service.cli.servers import connect, outbox, seconds, server_option
from service.config import Settings, read_settings
from service.errors import Usage

if TYPE_CHECKING:
    from service.sync.outbox import Job, Outbox, State

_json = click.option("--json", "json_", is_flag=True, help="As JSON.")
_workers = click.option(
    "--workers", default=4, show_default=True, type=click.IntRange(1, 32), help="Cases sent at the same time."
)
_wait = click.option(
    "--wait", default="60s", show_default=True, help="How long to stay for a server that is busy: 90s, 5m, 2h."
)


@click.group()
def sync() -> None:
    """The outbox: what is on its way to a server, and what became of it."""


@sync.command(epilog="Example: casebridge sync status   " + EXIT_CODES)
@click.argument("job", nargs=-1)
@click.option("--all", "all_", is_flag=True, help="Confirmed jobs too.")
@_json
@click.option(
    "--show-values", is_flag=True, help="Show what the server said in its own words: it may repeat a patient's values."
)
def status(job: tuple[str, ...], all_: bool, json_: bool, show_values: bool) -> None:
    """Show the jobs that are not confirmed, or JOB with all that is known of it.

    Exit code 1 where the newest job of a case is dead or in conflict.
    """
    from service.fhir import json
    from service.sync.forms import of_job
    from service.sync.outbox import State

    with outbox(read_settings()) as box:
        counts = box.counts()
        jobs = [box.job(one) for one in job] if job else box.jobs(states=None if all_ else _unfinished())
        # A job that failed is over once a newer one of its case was confirmed.
        newest = {(one.target, one.case): one for one in box.jobs()}.values()
        if json_:
            said = {"counts": {state.value: count for state, count in counts.items()}, "jobs": [of_job(one) for one in jobs]}
            click.echo(json.dumps(said, indent=True).decode(), nl=False)
        else:
            click.echo(", ".join(f"{state.value} {count}" for state, count in counts.items() if count) or "the outbox is empty")
            for one in jobs:
                _show(one, details=bool(job), show_values=show_values)
    failed = [one for one in (jobs if job else newest) if one.state in (State.DEAD, State.CONFLICT)]
    raise SystemExit(FINDINGS if failed else OK)


def _show(job: Job, *, details: bool, show_values: bool) -> None:
    from service.fhir import json

    click.echo(line(job))
    if not details:
        return
    for entry in (job.report or {}).get("entries", ()):
        place = f"{entry['type']}/{entry.get('id', '(new)')}"
        click.echo("  " + " ".join(filter(None, [f"{entry['action']:<9}", place, entry.get("reason")])))
        for one in entry.get("differs", ()):
            click.echo(f"            {one}")
    for issue in issues_of(job):
        click.echo(render(issue))
    if show_values and "server" in (job.report or {}):
        click.echo(json.dumps((job.report or {})["server"], indent=True).decode(), nl=False)


@sync.command(epilog="Example: casebridge sync resume   " + EXIT_CODES)
@_workers
@_wait
@_json
def resume(workers: int, wait: str, json_: bool) -> None:
    """Go on with all jobs that are not settled: after a crash, a busy server, Ctrl-C. What was sent is looked for first."""
    from service.sync.outbox import OPEN

    settings = read_settings()
    with outbox(settings) as box:
        _work(settings, box, box.jobs(states=OPEN), workers=workers, wait=seconds(wait), json_=json_)


@sync.command(epilog="Example: casebridge sync retry --dead   " + EXIT_CODES)
@click.argument("job", nargs=-1)
@click.option("--dead", is_flag=True, help="All that failed, once what failed them is mended.")
@click.option("--overwrite", is_flag=True, help="Replace what someone else has changed on the server.")
@_workers
@_wait
@_json
def retry(job: tuple[str, ...], dead: bool, overwrite: bool, workers: int, wait: str, json_: bool) -> None:
    """Send JOBs again that are dead or in conflict."""
    from service.sync.outbox import State

    if not job and not dead:
        raise click.UsageError("name jobs, or give --dead")
    settings = read_settings()
    with outbox(settings) as box:
        again = [*job, *(one.id for one in box.jobs(states=[State.DEAD]) if dead)]
        queued = box.retry(again, overwrite=overwrite, now=time.time())
        _work(settings, box, queued, workers=workers, wait=seconds(wait), json_=json_)


@sync.command(epilog="Example: casebridge sync cancel 3d7d5a48   " + EXIT_CODES)
@click.argument("job", nargs=-1, required=True)
def cancel(job: tuple[str, ...]) -> None:
    """Take back queued JOBs, as those for a server whose address was wrong: they are never sent."""
    with outbox(read_settings()) as box:
        for one in job:
            click.echo(f"cancelled job {box.cancel(one, time.time()).id[:8]}")


@sync.command(epilog="Example: casebridge sync purge --older-than 720h   " + EXIT_CODES)
@click.option("--older-than", default="0s", show_default=True, help="Only jobs that were settled so long ago: 90s, 5m, 2h.")
def purge(older_than: str) -> None:
    """Delete the patients' data from the outbox: what settled jobs carried. What was sent stays known by its digests.

    Jobs that are dead or in conflict are settled too, and cannot be retried then.
    """
    with outbox(read_settings()) as box:
        click.echo(f"purged {box.purge(before=time.time() - seconds(older_than))} jobs")


@sync.command(epilog="Example: casebridge sync doctor --server http://localhost:8080/fhir --probe   " + EXIT_CODES)
@server_option
@click.option("--probe", is_flag=True, help="Try it out: writes three resources of type Basic there, and deletes them.")
@_json
def doctor(url: str, probe: bool, json_: bool) -> None:
    """Examine a server: what push will do there, and what is not possible. Exit code 1 where push cannot be done."""
    from service.fhir import json
    from service.sync.doctor import examine

    settings = read_settings()
    with connect(settings, url) as server, outbox(settings) as box:
        findings = examine(server, box, probe=probe, now=time.time())
    if json_:
        click.echo(json.dumps([one.to_json() for one in findings], indent=True).decode(), nl=False)
    else:
        for one in findings:
            click.echo(f"{click.style(f'{one.verdict:<5}', fg=one.colour)} {one.topic}: {one.text}")
    raise SystemExit(FINDINGS if any(one.verdict == "no" for one in findings) else OK)


def _unfinished() -> list[State]:
    from service.sync.outbox import State

    return [state for state in State if state is not State.CONFIRMED]


def _work(settings: Settings, box: Outbox, jobs: list[Job], *, workers: int, wait: float, json_: bool) -> None:
    """Sends these jobs, server by server, and exits."""
    follows = []
    if not jobs:
        click.echo("there is nothing to do", err=True)
    for target in dict.fromkeys(job.target for job in jobs):
        follow = Follow(box, [job.id for job in jobs if job.target == target])
        follows.append(follow)
        try:
            with connect(settings, target) as server:
                follow.work({target: server}, workers=workers, wait=wait)
        except Usage as error:
            follow.failure = error
    raise SystemExit(told(*follows, as_json=json_))
