"""Taking submissions in: one job for each, unless it repeats one that still waits, and no more than may be open."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from uuid import uuid4

from sqlalchemy import Connection, insert

from service.errors import OutboxFull
from service.issues import Issue
from service.sync.outbox import queries
from service.sync.outbox.jobs import Job, State, Submission
from service.sync.outbox.tables import JOB, PAYLOAD

# Cases asked for at once: SQLite takes 32766 parameters, PostgreSQL 65535.
_CHUNK = 1000


def accept_all(connection: Connection, run: str, submissions: Sequence[Submission], *, most_open: int, now: float) -> list[Job]:
    """The job of each submission. No other transaction may accept at the same time. Raises OutboxFull."""
    newest = _newest(connection, submissions)
    number, waiting = connection.execute(queries.TALLY).one()
    jobs, fresh = [], []
    for submission in submissions:
        job = newest.get((submission.target, submission.case))
        if job is None or not _repeats(submission, job):
            number += 1
            job = _new_job(run, number, submission, now)
            fresh.append(job)
        newest[submission.target, submission.case] = job
        jobs.append(replace(job, payload=submission.payload))
    if fresh and waiting + len(fresh) > most_open:
        raise _full(waiting, most_open)
    if fresh:
        connection.execute(insert(JOB), [_row(job) for job in fresh])
        connection.execute(insert(PAYLOAD), [{"number": job.number, "body": job.payload} for job in fresh])
    return jobs


def _newest(connection: Connection, submissions: Sequence[Submission]) -> dict[tuple[str, str], Job]:
    """The newest jobs of these cases, as far as they are queued."""
    found: dict[tuple[str, str], Job] = {}
    for target in {submission.target for submission in submissions}:
        cases = sorted({submission.case for submission in submissions if submission.target == target})
        for start in range(0, len(cases), _CHUNK):
            asked = {"of_target": target, "of_cases": cases[start : start + _CHUNK]}
            jobs = map(queries.to_job, connection.execute(queries.NEWEST, asked))
            found.update({(job.target, job.case): job for job in jobs})
    return found


def _repeats(submission: Submission, job: Job) -> bool:
    return all(getattr(submission, name) == getattr(job, name) for name in ("digest", "mapping", "overwrite", "plan"))


def _new_job(run: str, number: int, submission: Submission, now: float) -> Job:
    return Job(
        id=uuid4().hex,
        number=number,
        run=run,
        target=submission.target,
        case=submission.case,
        # A file's name may hold bytes that are no text; and PostgreSQL's text has no NUL.
        label=submission.label.encode(errors="replace").decode().replace("\0", ""),
        state=State.QUEUED,
        attempts=0,
        next_try=0.0,
        created=now,
        updated=now,
        digest=submission.digest,
        mapping=submission.mapping,
        overwrite=submission.overwrite,
        plan=submission.plan,
        payload=submission.payload,
        resumed=False,
        reason=None,
        report=None,
    )


def _row(job: Job) -> dict[str, Any]:
    return {column.name: getattr(job, column.name) for column in queries.COLUMNS}


def _full(waiting: int, most_open: int) -> OutboxFull:
    text = f"the outbox holds {waiting} jobs that are not done, and no more than {most_open} may be"
    fix = "try again when some are done; casebridge sync status shows them"
    return OutboxFull([Issue("error", "throttled", "sync-outbox-full", text, fix=fix)])
