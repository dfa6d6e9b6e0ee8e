"""How long to wait: Retry-After, backoff, deadlines, and the gate that keeps off a server that asked for it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final

LONGEST: Final = 1e9

Clock = Callable[[], float]


def retry_after(header: str | None, now: float) -> float | None:
    """The seconds from `now` (of the epoch) that a Retry-After asks for, at most 10^9; None for what is none.

    Both forms: seconds, and a date in any of HTTP's three formats, which is 0 where it is past.
    https://www.rfc-editor.org/rfc/rfc9110#field.retry-after
    """
    text = (header or "").strip()
    if text.isascii() and text.isdigit():
        return min(float(text), LONGEST)
    try:
        moment = parsedate_to_datetime(text)
        # asctime has no zone, and HTTP's dates are all in UTC.
        when = moment.replace(tzinfo=moment.tzinfo or UTC).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return min(max(when - now, 0.0), LONGEST)


def backoff(attempt: int, *, base: float = 0.5, cap: float = 60.0, random: Callable[[], float]) -> float:
    """Seconds before the next attempt after `attempt` (from 0) failed, with full jitter; `random` gives 0 up to 1.

    https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
    """
    return random() * min(cap, base * 2.0 ** min(attempt, 60))


class Deadline:
    """A moment some seconds from now, by a clock that never goes back."""

    def __init__(self, seconds: float, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._end = clock() + seconds

    def left(self) -> float:
        """Seconds until then; 0 where it is past."""
        return max(self._end - self._clock(), 0.0)

    def check(self) -> None:
        """Raises TimeoutError once it is past."""
        if not self.left():
            raise TimeoutError("the deadline is past")


class Gate:
    """Until when each server asked to be left alone; shared by threads."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._until: dict[object, float] = {}

    def close(self, server: object, seconds: float) -> None:
        """Nothing goes to `server` for so long; never shortens what was asked before."""
        with self._lock:
            self._until[server] = max(self._clock() + seconds, self._until.get(server, 0.0))

    def left(self, server: object) -> float:
        """Seconds until `server` may be asked again; 0 where it may."""
        with self._lock:
            return max(self._until.get(server, 0.0) - self._clock(), 0.0)
