"""The few exceptions, grouped by what a caller does about them. None carries a patient's value."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from service.issues import Issue


class CasebridgeError(Exception):
    """Base of all. `issues` says what is wrong and where."""

    def __init__(self, issues: Sequence[Issue]) -> None:
        self.issues = list(issues)
        super().__init__("; ".join(issue.text for issue in self.issues))


class UnreadableInput(CasebridgeError):
    """The text is not what it should be (JSON, UTF-8, within limits): nothing of it was used. Exit code 3, HTTP 400 or 413."""


class MappingInvalid(CasebridgeError):
    """A mapping set does not load. Its author mends the files that the issues name; nothing can be converted with it."""


class Usage(CasebridgeError):
    """A name, path or setting that the caller gave does not exist or makes no sense. Exit code 2, HTTP 404 or 400."""


class ServerUnavailable(CasebridgeError):
    """The FHIR server gave no usable answer: lost, late, cut off, 429 or 5xx. The same request may succeed later. Exit code 4.

    `sent`: whether the server may have carried the request out all the same, so that only reading back can tell.
    `retry_after`: seconds for which it asked to be left alone, None where it did not ask.
    """

    def __init__(self, issues: Sequence[Issue], *, sent: bool = False, retry_after: float | None = None) -> None:
        super().__init__(issues)
        self.sent = sent
        self.retry_after = retry_after


class ServerRefused(CasebridgeError):
    """The FHIR server said no, and will say so again. Exit code 4.

    `status`: of HTTP, 0 where the request was not made because it must not be. `outcome`: the server's OperationOutcome, which
    may hold a patient's values: it is kept with the job and never shown unasked.
    """

    def __init__(self, issues: Sequence[Issue], *, status: int = 0, outcome: dict[str, Any] | None = None) -> None:
        super().__init__(issues)
        self.status = status
        self.outcome = outcome


class OutboxFull(CasebridgeError):
    """The outbox takes nothing now: too many jobs wait, its disk is full, or another process holds it. Nothing was accepted.

    HTTP 503, or 507 where `disk` is full; exit code 4. `retry_after` is in seconds.
    """

    def __init__(self, issues: Sequence[Issue], *, retry_after: float = 30, disk: bool = False) -> None:
        super().__init__(issues)
        self.retry_after = retry_after
        self.disk = disk
