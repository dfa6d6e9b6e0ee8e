"""What the outbox holds, as plain values: submissions, jobs with their states, workers, and the entries of the ledger."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class State(StrEnum):
    """Where a job stands. UNKNOWN is a state of its own: only reading back can tell what became of the request."""

    QUEUED = "queued"
    SENDING = "sending"
    UNKNOWN = "unknown"
    CONFIRMED = "confirmed"
    CONFLICT = "conflict"
    DEAD = "dead"


OPEN = (State.QUEUED, State.SENDING, State.UNKNOWN)


@dataclass(frozen=True)
class Submission:
    """A case to be sent.

    `target`: the server's base URL. `case`: the keyed UUID of the Patient, never the record's own number. `label`: what the
    user calls it, as an input file's name. `payload`: JSON. `digest`: of the payload. `mapping`: "name@version#fingerprint".
    `overwrite`: foreign edits on the server are overwritten. `plan`: the plan that the user has seen, None without one.
    """

    target: str
    case: str
    label: str
    payload: bytes
    digest: str
    mapping: str
    overwrite: bool = False
    plan: str | None = None


@dataclass(frozen=True)
class Job:
    """A submission on its way.

    `id`: a UUID in 32 hexadecimal digits. `number`: the order of acceptance, which is the order of sending within a case.
    `attempts`: how often it was claimed. `next_try`, `created` and `updated` are seconds since 1970; a `next_try` of 0 is "at
    once". `resumed`: the outcome of an earlier attempt is not known, so the server is read before anything is sent. `reason`: a
    rule id. `report`: JSON of entries, issues and the server's outcome; it may hold a patient's values. `payload`: None once
    purged, and where it was not asked for.
    """

    id: str
    number: int
    run: str
    target: str
    case: str
    label: str
    state: State
    attempts: int
    next_try: float
    created: float
    updated: float
    digest: str
    mapping: str
    overwrite: bool
    plan: str | None
    payload: bytes | None
    resumed: bool
    reason: str | None
    report: dict[str, Any] | None


@dataclass(frozen=True)
class Entry:
    """One row of the ledger: a resource as the server last confirmed it.

    `identity`: our UUID for it. `resource_id`, `version` and `updated`: the server's id, meta.versionId and meta.lastUpdated.
    `digest`: of what we wanted. `stored`: of what the server gave back. `retired`: no longer part of its case.
    """

    identity: str
    resource_type: str
    resource_id: str
    version: str
    updated: str
    digest: str
    stored: str
    retired: bool


@dataclass(frozen=True)
class Worker:
    """A thread of a process. `boot`, `namespace` and `started` tell apart processes that had the same `pid`.

    They come from /proc; where there is none they are "-", and only the end of its lease tells that such a worker is gone.
    Source: https://man7.org/linux/man-pages/man5/proc.5.html
    """

    host: str
    boot: str
    namespace: str
    pid: int
    started: str
    thread: int

    def __str__(self) -> str:
        return " ".join(map(str, (self.host, self.boot, self.namespace, self.pid, self.started, self.thread)))


class LeaseLost(Exception):
    """Another worker has the job now, or it is settled: what this one wanted to write was not written."""

    def __init__(self) -> None:
        super().__init__("the lease of this job was lost to another worker")
