"""What gunicorn does in each of its worker processes: begins to send what lies in the outbox, and loses none of it at the end;
and how it refuses what is no HTTP.

Source: https://docs.gunicorn.org/en/stable/settings.html#server-hooks
"""

from __future__ import annotations

import signal
import threading
from typing import Any

from service.api.sync import Sync

# Of the time that gunicorn gives a worker to end, what the jobs in hand may take; the rest is for the answers under way.
_SHARE = 0.6


def post_worker_init(worker: Any) -> None:
    """After the fork, when the app is loaded: threads do not outlive a fork, nor do connections to a database."""
    found = worker.wsgi.extensions["casebridge-sync"]
    assert isinstance(found, Sync)
    found.start()
    threading.Thread(target=_leave, args=(worker, found), name="leave", daemon=True).start()
    # On SIGTERM the worker goes on answering until the jobs in hand are done, but takes no new work: 503.
    signal.signal(signal.SIGTERM, lambda _signal, _frame: found.stopping.set())
    signal.siginterrupt(signal.SIGTERM, False)


def _leave(worker: Any, found: Sync) -> None:
    found.stopping.wait()
    found.stop(worker.cfg.graceful_timeout * _SHARE)
    worker.handle_exit(signal.SIGTERM, None)
