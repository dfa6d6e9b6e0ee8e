"""One job of the outbox to its end: what is wanted against what is there, written, read back and confirmed.

The loop is: decide what has to be done; if nothing has, confirm; else write it and decide again. So a lost answer, a race and
a foreign edit are all met in the same way: by looking at what is there now. No step relies on an answer having arrived, for
a create names its identity as condition and an update the version that it replaces.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from service.errors import CasebridgeError, ServerRefused, ServerUnavailable
from service.issues import Issue, has_errors, to_operation_outcome
from service.sync import payload
from service.sync.abilities import Abilities, usable
from service.sync.canonical import references_in
from service.sync.chunks import MOST_ENTRIES, Inseparable, after_refusal, chunks
from service.sync.known import is_as_left, look_for, of_ledger, read, to_ledger
from service.sync.outbox import Entry, Job, LeaseLost, Outbox, State, Worker
from service.sync.places import shown
from service.sync.plan import ACTIONS, Known, Step, Wanted, changes_of, decide
from service.sync.server import FhirServer, Resource
from service.sync.waiting import backoff
from service.sync.write import answers, judge, silent, transaction

# How often a race is run again before the job is put off.
ROUNDS: Final = 6
# Under which name the outbox remembers how many entries a server takes.
LIMIT: Final = "most-entries"
# Refusals that may be about this case, or about what we may do at all: tried again for a while, but nobody waits for it.
_MAY_PASS: Final = (403, 404, 405)
# Refusals that concern who we are or where we ask, and so every case alike.
_RULES_OF_THE_SERVER: Final = ("sync-unfit", "sync-tls", "sync-token", "sync-redirect", "sync-address")


@dataclass(frozen=True)
class Patience:
    """`attempts`: how often a job is tried whose outcome stayed unknown; `longest`: the longest wait, in seconds, whatever a
    server asks for; `entries`: the most entries of one transaction."""

    attempts: int = 8
    longest: float = 3600.0
    entries: int = MOST_ENTRIES


@dataclass
class _Run:
    """What one attempt at a job has come to so far."""

    job: Job
    known: dict[str, Known]
    wanted: Wanted = field(init=False)
    seen: bool = False
    submitted: bool = False
    done: dict[str, Step] = field(default_factory=dict)
    issues: list[Issue] = field(default_factory=list)


class Pusher:
    """Sends the jobs of an outbox to one server. Not shared by threads: each has its own, over the same outbox and server."""

    def __init__(
        self,
        server: FhirServer,
        outbox: Outbox,
        worker: Worker,
        *,
        patience: Patience = Patience(),
        pause: Callable[[float], object] = time.sleep,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._server, self._outbox, self._worker = server, outbox, worker
        self._patience, self._pause, self._now = patience, pause, now
        self._failures = 0

    def run(self, job: Job) -> Job:
        """Tries a claimed job once: it is settled or put off when this returns.

        Raises ServerRefused, after putting it off, where the server would refuse every job; OutboxFull or CasebridgeError where
        the outbox fails, and LeaseLost where another worker has taken the job: then it is tried again without us.
        """
        run = _Run(job, of_ledger(self._outbox.ledger(job.target, job.case)))
        # What an earlier attempt found altered is altered still.
        run.issues += [Issue(**one) for one in (job.report or {}).get("altered", ())]
        able = None
        try:
            assert job.payload is not None, "a job that was purged is not claimed"
            run.wanted = payload.load(job.payload)
            able = usable(self._server, self._outbox, _types(run.wanted), now=self._now())
            job = self._push(run, whole=able.everything)
        except ServerUnavailable as error:
            return self._put_off(run, error)
        except ServerRefused as error:
            # What is forbidden before this case was even named is about no case.
            if is_of_the_server(error) or (able is None and error.status in _MAY_PASS):
                self._park(run, self._backoff(run.job.attempts), error, free=True)
                raise
            if error.status in _MAY_PASS and run.job.attempts < self._patience.attempts:
                return self._park(run, self._backoff(run.job.attempts), error, free=False)
            return self._settle(run, State.DEAD, error)
        except (CasebridgeError, LeaseLost):
            raise  # the outbox's own trouble, which is no fault of the case
        except Exception as error:  # noqa: BLE001  a fault of ours in one case must not stop the others
            return self._settle(run, State.DEAD, _internal(error))
        self._failures = 0
        return job

    # --- the loop -------------------------------------------------------------------------------------------------------

    def _push(self, run: _Run, *, whole: bool) -> Job:
        if run.job.resumed or run.job.overwrite or run.job.plan is not None:
            self._read(run, whole=whole)
        for round_ in range(ROUNDS):
            steps = decide(run.wanted, run.known, overwrite=run.job.overwrite)
            if stopped := _stop(run, steps):
                return self._settle(run, State.CONFLICT, stopped, steps)
            todo = list(changes_of(steps))
            if not todo and (run.seen or is_as_left(self._server, run.wanted, run.known)):
                return self._settle(run, State.CONFIRMED, None, steps)
            if not run.seen:
                # Nothing is written on the ledger's word alone, and least of all on its silence.
                self._read(run, whole=whole)
                continue
            try:
                self._write(run, todo)
            except ServerRefused as error:
                if error.status not in (409, 412):
                    raise
                # Someone was faster. What is there now decides what is left to do; jitter, so that two do not meet again.
                self._pause(backoff(round_, base=0.05, cap=2.0, random=random.random))
                self._read(run, whole=whole)
        text, fix = "others kept changing this case on the server at the same time", "it will be tried again by itself"
        raise ServerUnavailable([Issue("error", "conflict", "sync-race", text, fix=fix)], sent=True)

    def _read(self, run: _Run, *, whole: bool) -> None:
        ledger = of_ledger(self._outbox.ledger(run.job.target, run.job.case))
        run.known, run.seen = read(self._server, run.wanted, ledger, whole=whole), True

    def _write(self, run: _Run, steps: Sequence[Step]) -> None:
        """All steps, in as many transactions as the server's limit makes necessary."""
        by_name = {step.identity: step for step in steps}
        most = told = self._most_entries(run)
        while by_name:
            try:
                for part in self._parts(run, list(by_name), most - 1):
                    self._send(run, [by_name[name] for name in part])
                    for name in part:
                        del by_name[name]
            except Inseparable as error:
                raise _too_large(error.size, most) from None
            except ServerRefused as refusal:
                most = _fewer(refusal, min(most, len(by_name) + 1))
        # Only now is it known that their number was what the server minded.
        if most < told:
            self._outbox.remember(run.job.target, LIMIT, str(most))

    def _parts(self, run: _Run, names: list[str], most: int) -> list[list[str]]:
        if len(names) <= most:
            return [names]
        return chunks(names, {name: references_in(run.wanted.resources.get(name, {})) for name in names}, most)

    def _send(self, run: _Run, steps: Sequence[Step]) -> None:
        job = run.job
        if not self._outbox.extend(job, self._worker, self._now()):
            raise LeaseLost
        said = answers(self._submit(run, steps), run.wanted.system)
        if missing := silent(said.held, steps, run.known):
            said.held.update(look_for(self._server, run.wanted.system, missing))
        written = judge(said, run.wanted, steps, run.known, self._server.base)
        run.seen = True
        run.known |= written.known
        run.issues += written.issues
        for step in steps:
            if step.identity in written.known and (step.action != "create" or step.identity in written.created):
                run.done[step.identity] = step
        deleted = [step.identity for step in steps if step.action == "retire" and run.known[step.identity].gone]
        self._outbox.record(job, self._worker, self._rows(run), deleted)
        if said.failed:
            raise ServerRefused(said.failed, status=422)
        if any(step.action == "create" and step.identity not in written.known for step in steps):
            raise _lost_identity()

    def _submit(self, run: _Run, steps: Sequence[Step]) -> Resource:
        bundle = transaction(run.wanted, steps, run.known, run.job.created, self._server.base)
        try:
            reply = self._server.submit(bundle)
        except ServerUnavailable as error:
            run.submitted |= error.sent
            raise
        run.submitted = True
        return reply

    def _most_entries(self, run: _Run) -> int:
        remembered = self._outbox.recall(run.job.target, LIMIT)
        return min(int(remembered), self._patience.entries) if remembered else self._patience.entries

    # --- the end of an attempt --------------------------------------------------------------------------------------------

    def _settle(
        self, run: _Run, state: State, error: CasebridgeError | None, steps: Sequence[Step] = (), reason: str | None = None
    ) -> Job:
        report = _report(run, steps, error)
        reason = reason or (error.issues[0].rule if error else None)
        # A conflict keeps the rows of what someone else has deleted: until then it is one.
        gone = [identity for identity, one in run.known.items() if one.gone] if state is State.CONFIRMED else ()
        rows = self._rows(run)
        settle = self._outbox.settle
        return settle(run.job, self._worker, state, reason=reason, report=report, entries=rows, gone=gone, now=self._now())

    def _rows(self, run: _Run) -> list[Entry]:
        return to_ledger(run.known, self._outbox.ledger(run.job.target, run.job.case))

    def _put_off(self, run: _Run, error: ServerUnavailable) -> Job:
        """Later again: by the server's own word, by backoff, or never where it failed too often."""
        self._failures += 1
        if error.retry_after is not None or not error.sent:
            # The server, and not this case, has to wait: nobody asks it until then, and no attempt is counted.
            # However soon a server asks to be asked again, never at once.
            asked = max(error.retry_after or 0.0, self._backoff(self._failures))
            until = self._now() + min(asked, self._patience.longest)
            self._outbox.hold(run.job.target, until, error.issues[0].rule)
            # Behind the others, which may not have been the reason.
            return self._park(run, until - self._now() + self._backoff(self._failures), error, free=True)
        if run.job.attempts >= self._patience.attempts:
            return self._settle(run, State.DEAD, error, reason="sync-unavailable")
        return self._park(run, self._backoff(run.job.attempts), error, free=False)

    def _park(self, run: _Run, seconds: float, error: ServerUnavailable | ServerRefused, *, free: bool) -> Job:
        return self._outbox.park(
            run.job,
            self._worker,
            next_try=self._now() + seconds,
            # Part of the case may be written; and an older doubt stays until the server was read.
            unknown=run.submitted or (run.job.resumed and not run.seen),
            reason=error.issues[0].rule,
            report=_report(run, (), error),
            free=free,
            now=self._now(),
        )

    def _backoff(self, attempt: int) -> float:
        return backoff(attempt, base=1.0, cap=300.0, random=random.random)


def reading(server: FhirServer, outbox: Outbox) -> Abilities:
    """What a server can do, for one who only reads."""
    return usable(server, outbox, (), now=time.time())


def preview(server: FhirServer, outbox: Outbox, wanted: Wanted, *, overwrite: bool = False) -> list[Step]:
    """What a push of this case would do now, by what the server holds; nothing is written."""
    able = usable(server, outbox, _types(wanted), now=time.time())
    known = read(server, wanted, of_ledger(outbox.ledger(server.base, wanted.case)), whole=able.everything)
    return decide(wanted, known, overwrite=overwrite)


def _types(wanted: Wanted) -> list[str]:
    return sorted({str(one["resourceType"]) for one in wanted.resources.values()} | {"Provenance"})


def is_of_the_server(error: ServerRefused) -> bool:
    """Whether a refusal is about who we are or where we ask, so that every case would meet it."""
    return error.status == 401 or error.issues[0].rule in _RULES_OF_THE_SERVER


def _stop(run: _Run, steps: Sequence[Step]) -> ServerRefused | None:
    """Why nothing of this may be written: someone else's work would be lost, or it is not what was approved."""
    if any(step.action == "conflict" for step in steps):
        written = "part of the case is written" if run.submitted or run.job.resumed else "nothing was written"
        text = f"someone else has changed resources that this case changes too; {written}"
        fix = "look at what they changed (casebridge plan), then push with --overwrite, or take their change into the case"
        return ServerRefused([Issue("error", "conflict", "sync-conflict", text, fix=fix)], status=409)
    plan = run.job.plan
    if plan is not None and not {step.key for step in changes_of(steps)} <= set(plan.split("\n")):
        text, fix = "the plan is stale: the case or the server has changed since it was made", "plan again"
        return ServerRefused([Issue("error", "conflict", "sync-plan-stale", text, fix=fix)], status=409)
    return None


def _internal(error: Exception) -> CasebridgeError:
    # The type and no more: a message might hold a value of the case.
    text, fix = f"Casebridge failed on this case: {type(error).__name__}", "report it; the other cases are not affected"
    return CasebridgeError([Issue("error", "exception", "sync-internal", text, fix=fix)])


def _fewer(refusal: ServerRefused, sent: int) -> int:
    """How many entries to send after this refusal. Raises it where it is about something else, or where one is too many."""
    most = after_refusal(refusal, sent)
    if most is None:
        raise refusal
    if most < 2:
        raise _too_large(1, most)
    return most


def _lost_identity() -> ServerRefused:
    """To create it again would make copies without end."""
    text = "the server has stored a resource and cannot find it by its identifier"
    fix = "have it keep and index identifiers (casebridge sync doctor --probe); delete what this push has left there"
    return ServerRefused([Issue("error", "not-found", "sync-identity-lost", text, fix=fix)], status=422)


def _too_large(size: int, most: int) -> ServerRefused:
    text = f"{size} resources can only be sent together, and the server takes {most} entries, our Provenance among them"
    return ServerRefused([Issue("error", "too-costly", "sync-bundle-limit", text, fix="have the limit raised")], status=422)


def _report(run: _Run, steps: Sequence[Step], error: CasebridgeError | None) -> dict[str, Any]:
    """What is kept with the job: counts, each resource that was not left alone, issues, and the server's own words."""
    final = {step.identity: step for step in steps} | run.done
    counts = {action: sum(step.action == action for step in final.values()) for action in ACTIONS}
    issues = [*(error.issues if error else ()), *run.issues]
    issues += [_note(step) for step in steps if step.action == "unchanged" and step.reason]
    issues += [_otherwise(step) for step in steps if step.identity not in run.done and _is_altered(step, run.known)]
    report: dict[str, Any] = {
        "counts": {action: count for action, count in counts.items() if count},
        "entries": [_entry(step, run.known.get(step.identity)) for step in final.values() if step.action != "unchanged"],
        "outcome": to_operation_outcome(issues),
        "ok": error is None and not has_errors(issues),
    }
    if run.issues:
        report["altered"] = [{name: getattr(one, name) for name in _ISSUE} for one in run.issues]
    if isinstance(error, ServerRefused) and error.outcome:
        report["server"] = error.outcome
    return report


_ISSUE: Final = ("severity", "code", "rule", "text", "fix", "expression")


def _note(step: Step) -> Issue:
    fix = "push with --overwrite to bring it back to what the case says"
    place = f"{step.resource_type}/{step.resource_id}"
    return Issue("warning", "conflict", "sync-foreign-edit", step.reason, fix=fix, expression=place)


def _is_altered(step: Step, known: dict[str, Known]) -> bool:
    one = known.get(step.identity)
    return step.action == "unchanged" and not step.reason and one is not None and one.wanted != one.stored


def _otherwise(step: Step) -> Issue:
    text, fix = "the server holds this otherwise than it was sent, since an earlier push", "casebridge pull --compare shows how"
    place = f"{step.resource_type}/{step.resource_id}"
    return Issue("warning", "incomplete", "sync-altered", text, fix=fix, expression=place)


def _entry(step: Step, known: Known | None) -> dict[str, Any]:
    entry: dict[str, Any] = {"action": step.action, "identity": step.identity, "type": step.resource_type}
    if known and known.resource_id:
        entry |= {"id": known.resource_id, "version": known.version}
    if step.reason:
        entry["reason"] = step.reason
    if step.action == "conflict":
        entry["differs"] = [f"{one.kind} {shown(one.place)}" for one in step.changes]
    return entry
