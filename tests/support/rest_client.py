"""A server that answers whatever a test wants, and the client that asks it, on a clock that moves only when somebody sleeps."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeVar

import pytest

from service.config import Access
from service.errors import CasebridgeError, ServerRefused, ServerUnavailable
from service.sync import replies
from service.sync.rest import Limits, RestServer
from tests.support.http_faults import FaultyServer
from tests.support.loopback import Reply, Request, fhir_reply

PATIENT: Final = {"resourceType": "Patient", "id": "p1"}
BUNDLE: Final = {"resourceType": "Bundle", "type": "searchset"}
TRANSACTION: Final = {"resourceType": "Bundle", "type": "transaction"}
SECRETS: Final = Access(bearer="SECRET-TOKEN", header=("X-API-Key", "SECRET-KEY"))
NONE: Final = Access()
NORMAL: Final = Limits()
ONCE: Final = Limits(attempts=1)

E = TypeVar("E", bound=CasebridgeError)


class Simple(FaultyServer):
    """Answers every request with `resource`, by `replies` where those are given."""

    def __init__(self, resource: Any = PATIENT) -> None:
        super().__init__("/fhir")
        self.resource = resource
        self.replies: list[Reply] = []

    def answer(self, request: Request) -> Reply:
        with self._lock:
            return self.replies.pop(0) if self.replies else fhir_reply(200, self.resource)


class Time:
    """A clock that only moves when somebody sleeps."""

    def __init__(self) -> None:
        self.at = 1000.0
        self.slept: list[float] = []

    def now(self) -> float:
        return self.at

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.at += seconds


@contextmanager
def rest(
    base: str, access: Access = NONE, limits: Limits = NORMAL, *, time: Time | None = None, **more: Any
) -> Iterator[RestServer]:
    """A client for the length of a `with`, by default on a time of its own."""
    time = time or Time()
    with RestServer(base, access, limits, sleep=time.sleep, clock=time.now, now=time.now, **more) as server:
        yield server


def refusal(act: Callable[[], object]) -> ServerRefused:
    return failing(act, ServerRefused)


def absence(act: Callable[[], object]) -> ServerUnavailable:
    return failing(act, ServerUnavailable)


def failing(act: Callable[[], object], kind: type[E]) -> E:
    """The error, which carries no secret, no word of the server's and nothing of requests'."""
    with pytest.raises(kind) as caught:
        act()
    error: BaseException | None = caught.value
    assert "SECRET" not in f"{caught.value}{caught.value.issues}"
    assert all(issue.fix and issue.rule.startswith("sync-") for issue in caught.value.issues)
    while error is not None:
        assert type(error).__module__.partition(".")[0] not in ("requests", "urllib3", "http", "ssl")
        error = error.__cause__ or error.__context__
    return caught.value


def rule(error: CasebridgeError) -> str:
    return error.issues[0].rule


def bomb(size: int) -> bytes:
    return gzip.compress(b'{"resourceType":"Patient"}' + b" " * size, 9)


def count_inflated(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of all pieces that are decompressed."""
    made: list[int] = []
    honest = replies._inflated

    def counted(chunks: Any) -> Iterator[bytes]:
        for part in honest(chunks):
            made.append(len(part))
            yield part

    monkeypatch.setattr(replies, "_inflated", counted)
    return made
