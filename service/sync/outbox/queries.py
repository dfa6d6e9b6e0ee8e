"""The outbox's statements on jobs, built once: SQLAlchemy compiles each of them a single time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from functools import cache
from typing import Any

from sqlalchemy import Select, and_, bindparam, case, delete, exists, func, or_, select, update

from service.fhir import json
from service.sync.outbox.jobs import Job, State
from service.sync.outbox.tables import HOLD, JOB, PAYLOAD

_NAMES = [field.name for field in fields(Job) if field.name != "payload"]
COLUMNS = [JOB.c[name] for name in _NAMES]
BODY = select(PAYLOAD.c.body).where(PAYLOAD.c.number == JOB.c.number).scalar_subquery().label("payload")
IS_OPEN = JOB.c.settled.is_(None)
# A report that we wrote is read again, however close to the limits of the door the server's answer in it was.
_OURS = json.Limits(max_bytes=1_000_000_000, max_depth=4 * json.DEFAULT.max_depth)

# The highest number so far, and how many jobs are open.
TALLY = select(
    select(func.coalesce(func.max(JOB.c.number), 0)).scalar_subquery(),
    select(func.count()).select_from(JOB).where(IS_OPEN).scalar_subquery(),
)
_OF_CASES = select(func.max(JOB.c.number)).where(
    JOB.c.target == bindparam("of_target"), JOB.c.case.in_(bindparam("of_cases", expanding=True))
)
# Of each case its newest job, where that waits.
NEWEST = select(*COLUMNS).where(JOB.c.number.in_(_OF_CASES.group_by(JOB.c.case)), JOB.c.state == State.QUEUED)

WORKERS = select(JOB.c.worker).where(JOB.c.worker.is_not(None)).distinct()
TAKE = (
    update(JOB)
    .where(JOB.c.number == bindparam("of_number"))
    .values({name: bindparam(f"new_{name}") for name in ("state", "worker", "lease_until", "attempts", "resumed", "updated")})
)
# Only while this worker still has the job, by this very attempt.
_MINE = (
    JOB.c.number == bindparam("of_number"),
    JOB.c.worker == bindparam("of_worker"),
    JOB.c.attempts == bindparam("of_attempts"),
)
MINE = select(JOB.c.number).where(*_MINE).with_for_update()
EXTEND = update(JOB).where(*_MINE).values(lease_until=bindparam("new_lease_until"))
_RELEASED = ("state", "settled", "next_try", "attempts", "resumed", "reason", "report", "updated")
RELEASE = (
    update(JOB)
    .where(*_MINE)
    .values({"worker": None, "lease_until": None} | {name: bindparam(f"new_{name}") for name in _RELEASED})
)
RETRY = (
    update(JOB)
    .where(JOB.c.number == bindparam("of_number"))
    .values(
        state=State.QUEUED,
        settled=None,
        attempts=0,
        resumed=True,
        reason=None,
        report=None,
        next_try=bindparam("now"),
        updated=bindparam("now"),
        overwrite=bindparam("new_overwrite"),
    )
)
# In one statement, so that no worker takes the job in between.
CANCEL = (
    update(JOB)
    .where(JOB.c.number == bindparam("of_number"), JOB.c.state == State.QUEUED)
    .values(state=State.DEAD, settled=bindparam("now"), reason=bindparam("new_reason"), updated=bindparam("now"))
)
NEWER = (
    select(JOB.c.number)
    .where(
        JOB.c.target == bindparam("of_target"),
        JOB.c.case == bindparam("of_case"),
        JOB.c.number > bindparam("of_number"),
        JOB.c.state.in_((State.CONFIRMED, State.SENDING, State.UNKNOWN)),
    )
    .limit(1)
)
_OLD = JOB.c.settled < bindparam("before")
BLANK = update(JOB).where(_OLD, exists().where(PAYLOAD.c.number == JOB.c.number)).values(label="", report=None)
PURGE = delete(PAYLOAD).where(PAYLOAD.c.number.in_(select(JOB.c.number).where(_OLD)))
FIND = (
    select(*COLUMNS, BODY).where(JOB.c.id >= bindparam("of_id"), JOB.c.id < bindparam("of_end")).order_by(JOB.c.number).limit(2)
)
LAST_RUN = select(JOB.c.run).order_by(JOB.c.number.desc()).limit(1)


def to_job(row: Sequence[Any]) -> Job:
    """The job of a row of COLUMNS, with or without BODY behind them."""
    values = dict(zip(_NAMES, row, strict=False))
    values["state"] = State(values["state"])
    if values["report"] is not None:
        values["report"] = json.loads(values["report"], limits=_OURS)
    return Job(**values, payload=row[len(_NAMES)] if len(row) > len(_NAMES) else None)


def to_text(report: dict[str, Any] | None) -> str | None:
    return None if report is None else json.dumps(report).decode()


@cache
def due(*, target: bool, run: bool) -> Select[Any]:
    """The oldest job that may be sent: due, or left behind by its worker; and with no older open job of its case.

    It should walk the open jobs by number until one fits, and look for older ones by case. `+ 0` and `|| ''` say so to both
    databases, whose planners otherwise like the one index for the other's work, and sort 10,000 jobs to find the first.
    """
    older = JOB.alias("older")
    first = ~exists().where(
        older.c.settled.is_(None), older.c.target == JOB.c.target, older.c.case == JOB.c.case, older.c.number + 0 < JOB.c.number
    )
    ready = or_(
        and_(JOB.c.worker.is_(None), JOB.c.next_try <= bindparam("now")),
        JOB.c.lease_until <= bindparam("now"),
        JOB.c.worker.in_(bindparam("dead", expanding=True)),
    )
    free = JOB.c.target.not_in(bindparam("held", expanding=True))
    statement = select(*COLUMNS, BODY).where(IS_OPEN, ready, free, first)
    if target:
        statement = statement.where(JOB.c.target.concat("") == bindparam("of_target"))
    if run:
        statement = statement.where(JOB.c.run == bindparam("of_run"))
    return statement.order_by(JOB.c.number).limit(1).with_for_update(skip_locked=True, of=JOB)


@cache
def next_due(*, target: bool, run: bool) -> Select[Any]:
    """When the first of the cases in question can go on: the time of its oldest open job, or the end of the server's hold."""
    inner, asked = JOB.alias("inner"), JOB.alias("asked")
    heads = select(func.min(inner.c.number)).where(inner.c.settled.is_(None)).group_by(inner.c.target, inner.c.case)
    if target:
        heads = heads.where(inner.c.target == bindparam("of_target"))
    if run:
        same_case = and_(asked.c.target == inner.c.target, asked.c.case == inner.c.case)
        heads = heads.where(exists().where(asked.c.settled.is_(None), same_case, asked.c.run == bindparam("of_run")))
    time, hold = func.coalesce(JOB.c.lease_until, JOB.c.next_try), func.coalesce(HOLD.c.until, 0.0)
    held_jobs = JOB.outerjoin(HOLD, HOLD.c.target == JOB.c.target)
    return select(func.min(case((time > hold, time), else_=hold))).select_from(held_jobs).where(JOB.c.number.in_(heads))
