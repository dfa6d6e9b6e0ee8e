"""A server in memory that loses, races, limits and alters, as a test tells it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from service.errors import ServerRefused, ServerUnavailable
from service.issues import Issue
from service.sync.memory import MemoryServer
from service.sync.retire import is_retired
from service.sync.server import Resource


class Strange(MemoryServer):
    """A server whose `submit` is preceded or followed by something strange."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.before: list[Callable[[Resource], None]] = []
        self.after: list[Callable[[Resource], Resource]] = []
        self.submitted: list[Resource] = []

    def submit(self, bundle: Resource) -> Resource:
        self.submitted.append(bundle)
        if self.before:
            self.before.pop(0)(bundle)
        reply = super().submit(bundle)
        return self.after.pop(0)(reply) if self.after else reply

    @property
    def transactions(self) -> list[Resource]:
        return [one for one in self.submitted if one["type"] == "transaction"]


def lost(*, sent: bool = True, retry_after: float | None = None) -> ServerUnavailable:
    return ServerUnavailable([Issue("error", "transient", "sync-lost", "lost")], sent=sent, retry_after=retry_after)


def refuses(status: int, outcome: Resource | None = None) -> Callable[[Resource], None]:
    def act(_bundle: Resource) -> None:
        raise ServerRefused([Issue("error", "processing", "sync-refused", "refused")], status=status, outcome=outcome)

    return act


def facts(memory: MemoryServer) -> list[Resource]:
    return [one for one in memory.all() if one["resourceType"] != "Provenance"]


def found(memory: MemoryServer, text: str) -> Resource:
    """The one Observation with this text as its code."""
    [one] = [o for o in memory.all("Observation") if o["code"]["text"] == text and not is_retired(o)]
    return one


def observed(record: dict[str, Any], value: Any) -> None:
    record["labs"][1]["value"] = value
