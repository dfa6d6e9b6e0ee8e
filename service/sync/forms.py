"""Jobs and plans as JSON, for whoever reads them by program: the command's --json and the service's answers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from service.sync.outbox import OPEN, State
from service.sync.places import shown

if TYPE_CHECKING:
    from service.sync.differences import Difference
    from service.sync.outbox import Job
    from service.sync.plan import Step

_STEP = ("action", "identity", "resource_type", "resource_id", "version", "digest", "reason")


def of_job(job: Job) -> dict[str, Any]:
    """A job; `ok` is None until it is settled. What the server said in its own words is left out: it may repeat a patient's
    values."""
    report = {name: value for name, value in (job.report or {}).items() if name != "server"}
    return {
        "id": job.id,
        "run": job.run,
        "server": job.target,
        "case": job.case,
        "label": job.label,
        "state": job.state.value,
        "ok": None if job.state in OPEN else job.state is State.CONFIRMED and report.get("ok", True),
        "attempts": job.attempts,
        "nextTry": _instant(job.next_try) if job.next_try else None,
        "created": _instant(job.created),
        "reason": job.reason,
        "report": report or None,
    }


def of_case(label: str, case: str, steps: Sequence[Step], *, show_values: bool = False) -> dict[str, Any]:
    """What a push of one case would do; the values that differ are a patient's."""
    return {"label": label, "case": case, "steps": [_of_step(step, show_values=show_values) for step in steps]}


def of_plan(server: str, mapping: str, cases: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """A plan: of each case what `of_case` gives."""
    return {"server": server, "mapping": mapping, "cases": list(cases)}


def _of_step(step: Step, *, show_values: bool) -> dict[str, Any]:
    changes = [_of_change(one, show_values=show_values) for one in step.changes]
    return {name: getattr(step, name) for name in _STEP} | {"changes": changes}


def _of_change(change: Difference, *, show_values: bool) -> dict[str, Any]:
    values = {"before": change.before, "after": change.after} if show_values else {}
    return {"kind": change.kind, "place": change.place if show_values else shown(change.place), **values}


def _instant(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
