"""The durable outbox and the ledger: what is to be sent to which server, what became of it, and what the server holds now.

`Outbox` and `open_outbox` load SQLAlchemy when they are first asked for; everything else here is plain Python.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from service.sync.outbox.jobs import OPEN, Entry, Job, LeaseLost, State, Submission, Worker
from service.sync.outbox.lease import this_worker

if TYPE_CHECKING:
    from service.sync.outbox.store import Outbox, open_outbox

__all__ = [
    "OPEN",
    "Entry",
    "Job",
    "LeaseLost",
    "Outbox",
    "State",
    "Submission",
    "Worker",
    "default_url",
    "open_outbox",
    "this_worker",
]


def default_url(home: Path) -> str:
    """The URL of the outbox in the home folder: a SQLite file."""
    return f"sqlite:///{(home / 'outbox.db').absolute()}"


def __getattr__(name: str) -> Any:
    if name in {"Outbox", "open_outbox"}:
        from service.sync.outbox import store

        return getattr(store, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
