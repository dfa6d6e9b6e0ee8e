"""Imported by every Python that is started with this folder on PYTHONPATH: notes each file and socket that it opens.

The notes are lines "event<tab>what" in the file that WATCHED names: https://docs.python.org/3/library/audit_events.html
"""

from __future__ import annotations

import os
import sys
from typing import Any

# Audit event → which of its arguments says what was opened or reached for.
_EVENTS = {
    "open": 0,
    "os.listdir": 0,
    "os.scandir": 0,
    "socket.__new__": 1,
    "socket.bind": 1,
    "socket.connect": 1,
    "socket.sendto": 1,
    "socket.getaddrinfo": 0,
    "socket.gethostbyname": 0,
}


def _watch(notes: int) -> None:
    def note(event: str, arguments: tuple[Any, ...]) -> None:
        if event in _EVENTS:
            os.write(notes, f"{event}\t{arguments[_EVENTS[event]]!r}\n".encode(errors="backslashreplace"))

    sys.addaudithook(note)


_watch(os.open(os.environ["WATCHED"], os.O_WRONLY | os.O_CREAT | os.O_APPEND))
