"""`casebridge plan` and `casebridge push`: cases to a FHIR server, first as a preview, then in earnest."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from service.cli.inputs import Inputs, input_files, read_input
from service.cli.mapping_sets import load, mapping_option
from service.cli.output import EXIT_CODES, FINDINGS, UNREADABLE, Report
from service.cli.runs import Follow, told
from service.cli.servers import connect, outbox, seconds, server_option, show_option
from service.config import read_settings
from service.errors import ServerRefused, UnreadableInput
from service.issues import Issue, Origin

if TYPE_CHECKING:
    from service.sync.outbox import Outbox
    from service.sync.plan import Step, Wanted
    from service.transfer import Transfer

# Cases that are made durable together: one fsync for all of them.
_TOGETHER = 50

_cases = click.argument("case", nargs=-1, required=True)
_lenient = click.option("--lenient", is_flag=True, help="Leave out fields that the form does not know; a warning each.")
_overwrite = click.option("--overwrite", is_flag=True, help="Replace also what someone else has changed on the server.")


@click.command(epilog="Example: casebridge plan examples/cases --server http://localhost:8080/fhir   " + EXIT_CODES)
@_cases
@server_option
@mapping_option
@_lenient
@_overwrite
@click.option("--json", "as_json", is_flag=True, help="The plan as JSON: push --plan carries out just that.")
@show_option
def plan(
    case: tuple[str, ...], url: str, mapping: str, lenient: bool, overwrite: bool, as_json: bool, show_values: bool
) -> None:
    """Show what a push of CASE files, folders or - would do, resource by resource; nothing is written.

    A conflict is a resource that someone else changed on the server and that the case would change too: exit code 1.
    """
    from service.fhir import json
    from service.sync.forms import of_case, of_plan
    from service.sync.push import is_of_the_server, preview

    settings, report = read_settings(), Report()
    transfer = _transfer(settings, mapping)
    plans: list[dict[str, Any]] = []
    with connect(settings, url) as server, outbox(settings) as box:
        for name, wanted in _converted(transfer, list(input_files(case)), report, lenient=lenient):
            try:
                steps = preview(server, box, wanted, overwrite=overwrite)
            except ServerRefused as error:
                if is_of_the_server(error):
                    raise
                report.add(issue.at(source=Origin(name)) for issue in error.issues)
                continue
            plans.append(of_case(name, wanted.case, steps, show_values=show_values))
            if any(step.action == "conflict" for step in steps):
                report.code = max(report.code, FINDINGS)
            if not as_json:
                click.echo("\n".join(_lines(name, steps, show_values=show_values)))
        if as_json:
            made = of_plan(server.base, transfer.mapping, plans)
            click.echo(json.dumps(made, indent=True).decode(), nl=False)
    report.finish()


@click.command(epilog="Example: casebridge push examples/cases --server http://localhost:8080/fhir   " + EXIT_CODES)
@_cases
@server_option
@mapping_option
@_lenient
@_overwrite
@click.option("--plan", "plan_file", type=click.Path(exists=True, dir_okay=False), help="Do what this plan says, or nothing.")
@click.option("--workers", default=4, show_default=True, type=click.IntRange(1, 32), help="Cases sent at the same time.")
@click.option("--wait", default="60s", show_default=True, help="How long to stay for a server that is busy: 90s, 5m, 2h.")
@click.option("--json", "as_json", is_flag=True, help="The report as JSON, with each resource that was written.")
def push(
    case: tuple[str, ...],
    url: str,
    mapping: str,
    lenient: bool,
    overwrite: bool,
    plan_file: str | None,
    workers: int,
    wait: str,
    as_json: bool,
) -> None:
    """Push CASE files, folders or - (standard input) to a FHIR server, effectively once.

    Each case is safe in the outbox before it is sent. A case that is there already is not written again.
    """
    settings, report = read_settings(), Report()
    transfer, patience = _transfer(settings, mapping), seconds(wait)
    with connect(settings, url) as server, outbox(settings) as box:
        plans = _read_plan(plan_file, server.base)
        converted = _converted(transfer, list(input_files(case)), report, lenient=lenient)
        jobs = _accept(box, transfer, server.base, converted, overwrite=overwrite, plans=plans)
        follow = Follow(box, jobs)
        follow.work({server.base: server}, workers=workers, wait=patience)
        code = told(follow, as_json=as_json)
    raise SystemExit(max(report.code, code))


def _transfer(settings: Any, mapping: str) -> Transfer:
    from service.transfer import Transfer

    return Transfer(load(settings, mapping))


def _converted(transfer: Transfer, inputs: Inputs, report: Report, *, lenient: bool) -> Iterator[tuple[str, Wanted]]:
    """Each case that can be converted, under the name of its file; what cannot is reported, and the others go on."""
    seen: dict[str, str] = {}
    for name, path in inputs:
        try:
            wanted, issues = transfer.wanted(read_input(path), file=name, lenient=lenient)
        except UnreadableInput as error:
            report.add(error.issues, UNREADABLE)
            continue
        report.add(issues)
        if wanted is None:
            continue
        if (first := seen.setdefault(wanted.case, name)) is not name:
            text, fix = f"this is the same case as {first}, by its id; only that one is taken", "leave one of the two out"
            report.add([Issue("error", "duplicate", "sync-same-case", text, fix=fix, source=Origin(name))])
            continue
        yield name, wanted


def _accept(
    box: Outbox,
    transfer: Transfer,
    server: str,
    cases: Iterable[tuple[str, Wanted]],
    *,
    overwrite: bool,
    plans: dict[str, str] | None,
) -> list[str]:
    """The ids of the jobs for these cases, all durable."""
    run = f"{time.time_ns():x}"[-12:]
    accepted: list[str] = []
    waiting = []
    for name, wanted in cases:
        # A case that the plan does not name may change nothing.
        plan = None if plans is None else plans.get(wanted.case, "")
        waiting.append(transfer.submission(wanted, server, label=Path(name).name, overwrite=overwrite, plan=plan))
        if len(waiting) == _TOGETHER:
            accepted += [job.id for job in box.accept(run, waiting)]
            waiting = []
    return accepted + [job.id for job in box.accept(run, waiting)] if waiting else accepted


def _read_plan(path: str | None, server: str) -> dict[str, str] | None:
    """The keys of the steps that a plan approved, by case. Raises UsageError for any other file, and for another server."""
    from service.fhir import json
    from service.sync.plan import Step, changes_of

    if path is None:
        return None
    try:
        held: Any = json.loads(Path(path).read_bytes(), file=path)
        planned = held["server"]
        cases = {one["case"]: [Step(**{**step, "changes": ()}) for step in one["steps"]] for one in held["cases"]}
    except (KeyError, TypeError):
        raise click.UsageError("--plan takes what casebridge plan --json has written") from None
    if planned != server:
        raise click.UsageError("the plan was made for another server")
    return {case: "\n".join(step.key for step in changes_of(steps)) for case, steps in cases.items()}


def _lines(name: str, steps: Sequence[Step], *, show_values: bool) -> Iterator[str]:
    """One case of a plan for people: counts, then each resource that is changed, retired or in conflict, by its elements."""
    from service.sync import places
    from service.sync.plan import ACTIONS

    counts = {action: sum(step.action == action for step in steps) for action in ACTIONS}
    yield f"{name}: " + ", ".join(f"{action} {count}" for action, count in counts.items() if count)
    created = [step.resource_type for step in steps if step.action == "create"]
    for resource_type in dict.fromkeys(created):
        yield f"  create    {created.count(resource_type)} {resource_type}"
    for step in steps:
        if step.action in ("create", "unchanged") and not (step.reason and step.action == "unchanged"):
            continue
        yield f"  {step.action:<9} {step.resource_type}/{step.resource_id}" + (f": {step.reason}" if step.reason else "")
        for one in step.changes:
            told = f"{one.place}: {one.before!s} → {one.after!s}" if show_values else places.shown(one.place)
            yield f"            {one.kind} {told}"
