"""Who works here, and who no longer does: a worker of this machine is known to be dead as soon as it is."""

from __future__ import annotations

import itertools
import os
import platform
import threading
from functools import cache
from pathlib import Path

from service.sync.outbox.jobs import Worker

_PROC = Path("/proc")
_UNKNOWN = "-"
_threads = itertools.count(1)
_current = threading.local()


def this_worker() -> Worker:
    """The worker that is the calling thread: the same one for as long as it lives."""
    worker: Worker | None = getattr(_current, "worker", None)
    if worker is None or worker.pid != os.getpid():  # after a fork this is another process
        host = "-".join(platform.node().split()) or _UNKNOWN
        worker = Worker(host, _boot(), _namespace(), os.getpid(), _started(os.getpid()) or _UNKNOWN, next(_threads))
        _current.worker = worker
    return worker


def find_dead(workers: list[str], *, local: bool) -> list[str]:
    """Those of the workers, written as text, of which it is certain that they no longer run.

    `local`: all of them must have run on this machine, as on a SQLite file, so that none has outlived a restart of it.
    """
    dead = {process: _is_dead(process, local=local) for process in {text.rpartition(" ")[0] for text in workers}}
    return [text for text in workers if dead[text.rpartition(" ")[0]]]


def _is_dead(process: str, *, local: bool) -> bool:
    _, boot, namespace, pid, started = process.split(" ")
    if _UNKNOWN in (boot, namespace, started, _boot(), _namespace()):
        return False
    if boot != _boot():
        return local
    if namespace != _namespace():
        return False
    return not _runs(int(pid), started)


def _runs(pid: int, started: str) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True  # another user's process: with the mount option hidepid, /proc would hide it
    now = _started(pid)
    return now is None or now == started


def _started(pid: int) -> str | None:
    """When the process started, in clock ticks since boot; "dead" for one that nobody has waited for yet, None if unknown."""
    try:
        # The name in parentheses may hold blanks and parentheses itself; field 3 (state) follows the last one.
        fields = (_PROC / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()
        return "dead" if fields[0] in "ZX" else fields[19]
    except (OSError, IndexError):
        return None


@cache
def _boot() -> str:
    try:
        return (_PROC / "sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return _UNKNOWN


def _namespace() -> str:
    try:
        return str((_PROC / "self/ns/pid").readlink())
    except OSError:
        return _UNKNOWN
