"""The durable outbox: what is accepted is on disk, and each job is sent by one worker at a time, in order for each case."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

from sqlalchemy import Connection, func, select

from service.errors import Usage
from service.issues import Issue
from service.sync.outbox import queries
from service.sync.outbox.accept import accept_all
from service.sync.outbox.connect import ACCEPT, ORDER, Database
from service.sync.outbox.facts import list_holds, read_fact, set_fact, set_hold
from service.sync.outbox.jobs import Entry, Job, LeaseLost, State, Submission, Worker
from service.sync.outbox.lease import find_dead
from service.sync.outbox.ledger import list_cases, read_ledger, write_ledger
from service.sync.outbox.tables import JOB


def open_outbox(
    url: str,
    *,
    most_open: int = 10_000,
    busy_seconds: float = 10.0,
    lease_seconds: float = 60.0,
    clock: Callable[[], float] = time.time,
) -> Outbox:
    """The outbox at a database URL, made or migrated where need be; any number of processes may do so at once.

    `url`: sqlite:////folder/outbox.db or postgresql://user:password@host/database. `most_open`: open jobs that it holds.
    `busy_seconds`: how long it waits for another process. `lease_seconds`: how long a worker that gives no sign keeps a job.
    `clock`: seconds since 1970, for the time of acceptance. Raises Usage for a URL that is none, and CasebridgeError where the
    database cannot be reached, is not ours, or is of a newer version; OutboxFull where its disk is full or it is locked.
    """
    database = Database(url, busy_seconds)
    try:
        database.open()
    except BaseException:
        database.close()
        raise
    return Outbox(database, most_open=most_open, lease_seconds=lease_seconds, clock=clock)


class Outbox:
    """Jobs, ledger and facts of one database; for threads and processes at once.

    Every method raises OutboxFull where the database is locked for too long or its disk is full, and CasebridgeError where it
    fails otherwise. Times (`now`, `until`, `before`) are seconds since 1970.
    """

    def __init__(self, database: Database, *, most_open: int, lease_seconds: float, clock: Callable[[], float]) -> None:
        self._database = database
        self._most_open = most_open
        self._lease_seconds = lease_seconds
        self._clock = clock

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self._database.close()

    # Jobs come in

    def accept(self, run: str, submissions: Iterable[Submission]) -> list[Job]:
        """One job for each submission, in one transaction: when this returns they survive a crash.

        A submission that repeats the newest job of its case, while that is queued, gets that job. Raises OutboxFull, and
        accepts none, where more than `most_open` jobs would be open.
        """
        wanted = list(submissions)
        with self._database.write() as connection:
            self._database.serialise(connection, ACCEPT)
            return accept_all(connection, run, wanted, most_open=self._most_open, now=self._clock())

    # Workers take jobs, and give them back

    def claim(self, worker: Worker, *, now: float, target: str | None = None, run: str | None = None) -> Job | None:
        """The oldest job that can be sent now, leased to this worker; None where there is none.

        A case's jobs are sent in the order of their acceptance, each when the one before is settled. A job whose worker is
        dead or whose lease has ended is handed on, `resumed`, as is one whose outcome was unknown.
        """
        with self._database.write() as connection:
            self._database.serialise(connection, ORDER, shared=True)
            workers = [text for text in connection.execute(queries.WORKERS).scalars() if text is not None]
            found = connection.execute(
                queries.due(target=target is not None, run=run is not None),
                {
                    "now": now,
                    "dead": find_dead(workers, local=self._database.is_sqlite),
                    "held": list(list_holds(connection, now)),
                    "of_target": target,
                    "of_run": run,
                },
            ).one_or_none()
            if found is None:
                return None
            job = queries.to_job(found)
            taken = replace(
                job,
                state=State.SENDING,
                attempts=job.attempts + 1,
                resumed=job.resumed or job.state is not State.QUEUED,
                updated=now,
            )
            connection.execute(
                queries.TAKE,
                {
                    "of_number": taken.number,
                    "new_state": taken.state,
                    "new_worker": str(worker),
                    "new_lease_until": now + self._lease_seconds,
                    "new_attempts": taken.attempts,
                    "new_resumed": taken.resumed,
                    "new_updated": now,
                },
            )
        return taken

    def extend(self, job: Job, worker: Worker, now: float) -> bool:
        """A sign of life: the lease begins anew. False where it was lost."""
        with self._database.write() as connection:
            values = _mine(job, worker) | {"new_lease_until": now + self._lease_seconds}
            return connection.execute(queries.EXTEND, values).rowcount == 1

    def record(self, job: Job, worker: Worker, entries: Iterable[Entry], gone: Iterable[str] = ()) -> None:
        """Writes to the ledger of the job's case, while it goes on. Raises LeaseLost, and writes nothing, without the lease."""
        with self._database.write() as connection:
            if connection.execute(queries.MINE, _mine(job, worker)).one_or_none() is None:
                raise LeaseLost
            write_ledger(connection, job.target, job.case, entries, gone)

    def settle(
        self,
        job: Job,
        worker: Worker,
        state: State,
        *,
        reason: str | None = None,
        report: dict[str, Any] | None = None,
        entries: Iterable[Entry] = (),
        gone: Iterable[str] = (),
        now: float,
    ) -> Job:
        """The job's end (CONFIRMED, CONFLICT or DEAD) and its ledger in one transaction. Raises LeaseLost without the lease."""
        if state not in (State.CONFIRMED, State.CONFLICT, State.DEAD):
            raise ValueError(f"a job is not settled as {state}")
        done = replace(job, state=state, reason=reason, report=report, updated=now)
        with self._database.write() as connection:
            _release(connection, job, worker, done)
            write_ledger(connection, job.target, job.case, entries, gone)
        return done

    def park(
        self,
        job: Job,
        worker: Worker,
        *,
        next_try: float,
        unknown: bool,
        reason: str | None = None,
        report: dict[str, Any] | None = None,
        free: bool = False,
        now: float,
    ) -> Job:
        """Back to wait until `next_try`. Raises LeaseLost without the lease.

        `unknown`: the server may have done what was asked, now or in an earlier attempt that was not read back since.
        `free`: this attempt does not count.
        """
        state = State.UNKNOWN if unknown else State.QUEUED
        attempts = job.attempts - free
        parked = replace(
            job,
            state=state,
            next_try=next_try,
            attempts=attempts,
            resumed=unknown,
            reason=reason,
            report=report,
            updated=now,
        )
        with self._database.write() as connection:
            _release(connection, job, worker, parked)
        return parked

    def retry(self, jobs: Iterable[str], *, overwrite: bool = False, now: float) -> list[Job]:
        """Queues jobs that ended DEAD or in CONFLICT once more, all of them or none; they read the server first.

        `overwrite`: foreign edits on the server may now be overwritten. Raises Usage for a job that is in another state or
        purged, and for one that would undo a newer job of its case, which is confirmed or on its way.
        """
        with self._database.write() as connection:
            self._database.serialise(connection, ORDER)
            found = {job.number: job for job in (_find(connection, name) for name in jobs)}
            for job in found.values():
                _check_retry(connection, job)
            queued = [
                replace(
                    job,
                    state=State.QUEUED,
                    attempts=0,
                    next_try=now,
                    updated=now,
                    resumed=True,
                    reason=None,
                    report=None,
                    overwrite=job.overwrite or overwrite,
                )
                for job in found.values()
            ]
            if queued:
                rows = [{"of_number": job.number, "now": now, "new_overwrite": job.overwrite} for job in queued]
                connection.execute(queries.RETRY, rows)
        return queued

    def cancel(self, job_id: str, now: float) -> Job:
        """Takes a queued job back: it ends DEAD. Raises Usage (sync-job-not-found, or sync-cancel in any other state)."""
        with self._database.write() as connection:
            job = _find(connection, job_id)
            done = replace(job, state=State.DEAD, reason="sync-cancelled", updated=now)
            asked = {"of_number": job.number, "now": now, "new_reason": done.reason}
            if connection.execute(queries.CANCEL, asked).rowcount != 1:
                text, fix = f"job {job.id} is no longer queued", "only what no worker has begun to send can be taken back"
                raise Usage([Issue("error", "conflict", "sync-cancel", text, fix=fix)])
        return done

    # What is known of servers

    def ledger(self, target: str, case: str) -> dict[str, Entry]:
        """What the server was last seen to hold of a case, by identity."""
        with self._database.read() as connection:
            return read_ledger(connection, target, case)

    def adopt(self, target: str, case: str, entries: Iterable[Entry]) -> None:
        """Writes to the ledger of a case without a job, as a pull does."""
        with self._database.write() as connection:
            write_ledger(connection, target, case, entries)

    def cases(self, target: str) -> list[str]:
        """The cases that the ledger knows on a server."""
        with self._database.read() as connection:
            return list_cases(connection, target)

    def hold(self, target: str, until: float, reason: str) -> None:
        """Sends nothing to a server before a time. A longer hold stays as it is."""
        with self._database.write() as connection:
            set_hold(connection, target, until, reason)

    def held(self, target: str, now: float) -> float | None:
        """Until when the server is left alone, None where it need not be."""
        with self._database.read() as connection:
            return list_holds(connection, now).get(target)

    def remember(self, target: str, name: str, value: str) -> None:
        """Keeps a small fact about a server, as its capability digest or the watermark of a pull."""
        with self._database.write() as connection:
            set_fact(connection, target, name, value)

    def recall(self, target: str, name: str) -> str | None:
        """The fact as it was last remembered."""
        with self._database.read() as connection:
            return read_fact(connection, target, name)

    # Looking at jobs

    def job(self, id_or_prefix: str) -> Job:
        """The job with this id, or the only one whose id begins so. Raises Usage where there is none, or several."""
        with self._database.read() as connection:
            return _find(connection, id_or_prefix)

    def jobs(
        self,
        *,
        run: str | None = None,
        states: Iterable[State] | None = None,
        target: str | None = None,
        limit: int | None = None,
        payload: bool = False,
    ) -> list[Job]:
        """Jobs, oldest first; with their payloads only where asked for."""
        statement = select(*queries.COLUMNS, *([queries.BODY] if payload else [])).order_by(JOB.c.number).limit(limit)
        statement = statement.where(*_filters(run, target))
        if states is not None:
            statement = statement.where(JOB.c.state.in_(list(states)))
        with self._database.read() as connection:
            return [queries.to_job(row) for row in connection.execute(statement)]

    def counts(self, *, run: str | None = None, target: str | None = None) -> dict[State, int]:
        """How many jobs are in each state; every state is there."""
        statement = select(JOB.c.state, func.count()).where(*_filters(run, target)).group_by(JOB.c.state)
        with self._database.read() as connection:
            found: dict[str, int] = dict(connection.execute(statement).all())
        return {state: found.get(state, 0) for state in State}

    def next_due(self, run: str | None = None, target: str | None = None) -> float | None:
        """When to claim next; a time in the past is "now". None where no job is open.

        For a job that is being sent, or waits for one that is, it is the end of that lease.
        """
        statement = queries.next_due(target=target is not None, run=run is not None)
        with self._database.read() as connection:
            found: float | None = connection.execute(statement, {"of_target": target, "of_run": run}).scalar()
        return found

    def last_run(self) -> str | None:
        """The run of the job that was accepted last."""
        with self._database.read() as connection:
            return connection.execute(queries.LAST_RUN).scalar()

    def purge(self, *, before: float) -> int:
        """Deletes payload, label and report of the jobs that were settled before a time; the number of such jobs.

        Their states and digests stay. In SQLite nothing of them is left in any file. PostgreSQL overwrites them in its own
        time, and its archived logs and backups are its administrator's.
        """
        with self._database.write() as connection:
            self._database.serialise(connection, ORDER)  # nor may a retry find a payload that goes away meanwhile
            connection.execute(queries.BLANK, {"before": before})
            count = connection.execute(queries.PURGE, {"before": before}).rowcount
        self._database.forget()
        return count


def _mine(job: Job, worker: Worker) -> dict[str, Any]:
    return {"of_number": job.number, "of_worker": str(worker), "of_attempts": job.attempts}


def _release(connection: Connection, job: Job, worker: Worker, after: Job) -> None:
    is_open = after.state in (State.QUEUED, State.UNKNOWN)
    values = {
        "new_state": after.state,
        "new_settled": None if is_open else after.updated,
        "new_next_try": after.next_try,
        "new_attempts": after.attempts,
        "new_resumed": after.resumed,
        "new_reason": after.reason,
        "new_report": queries.to_text(after.report),
        "new_updated": after.updated,
    }
    if connection.execute(queries.RELEASE, _mine(job, worker) | values).rowcount != 1:
        raise LeaseLost


def _find(connection: Connection, id_or_prefix: str) -> Job:
    """By a range of ids, which an index answers; they are of hexadecimal digits, so "g" comes after all of them."""
    asked = {"of_id": id_or_prefix, "of_end": id_or_prefix + "g"}
    hexadecimal = id_or_prefix and set(id_or_prefix) <= set("0123456789abcdef")
    rows = connection.execute(queries.FIND, asked).all() if hexadecimal else []
    if len(rows) == 1:
        return queries.to_job(rows[0])
    text = "several jobs have ids that begin so" if rows else "there is no job with this id"
    fix = "give more of the id" if rows else "casebridge sync status shows the ids"
    raise Usage([Issue("error", "not-found", "sync-job-not-found", text, fix=fix)])


def _check_retry(connection: Connection, job: Job) -> None:
    newer = {"of_target": job.target, "of_case": job.case, "of_number": job.number}
    if job.state not in (State.DEAD, State.CONFLICT):
        problem, fix = f"is {job.state}", "only jobs that are dead or in conflict are tried again"
    elif job.payload is None:
        problem, fix = "was purged", "push its case again"
    elif connection.execute(queries.NEWER, newer).first() is not None:
        problem, fix = "is older than what was sent of its case since", "push its case again, if it has changed"
    else:
        return
    raise Usage([Issue("error", "business-rule", "sync-retry", f"job {job.id} {problem}", fix=fix)])


def _filters(run: str | None, target: str | None) -> list[Any]:
    found = []
    if run is not None:
        found.append(JOB.c.run == run)
    if target is not None:
        found.append(JOB.c.target == target)
    return found
