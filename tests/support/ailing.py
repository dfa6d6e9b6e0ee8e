"""Servers in memory with one ailment each, for the doctor."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from service.errors import ServerRefused, ServerUnavailable
from service.issues import Issue
from service.sync.memory import MemoryServer
from service.sync.server import Criteria, Resource

NOW = datetime(2026, 5, 7, 10, 0, tzinfo=UTC)

# What stands between the doctor and the server: it gets the request and what answers it.
Ailment = Callable[[Resource, Callable[[Resource], Resource]], Resource]


class Patient(MemoryServer):
    """A server in memory, healthy but for its `ailment`. `claims` changes its statement; `submits` has all bundles."""

    def __init__(
        self, ailment: Ailment | None = None, claims: Callable[[Resource], object] = lambda _statement: None, **options: Any
    ) -> None:
        super().__init__(**{"base": "https://fhir.example.org/r4", "clock": lambda: NOW} | options)
        self._ailment, self._claims = ailment, claims
        self.submits: list[Resource] = []

    def capabilities(self) -> Resource:
        statement = super().capabilities()
        self._claims(statement)
        return statement

    def submit(self, bundle: Resource) -> Resource:
        self.submits.append(bundle)
        return self._ailment(bundle, super().submit) if self._ailment else super().submit(bundle)


class Cached(Patient):
    """A search is answered as the first time, whatever was written since."""

    def __init__(self) -> None:
        super().__init__()
        self._answers: dict[str, Resource] = {}

    def search(self, resource_type: str, criteria: Criteria) -> Resource:
        return self._answers.setdefault(repr((resource_type, criteria)), super().search(resource_type, criteria))


class Elsewhere(Patient):
    """Its links to further pages lead to another host."""

    def search(self, resource_type: str, criteria: Criteria) -> Resource:
        page = super().search(resource_type, criteria)
        for link in page.get("link", ()):
            if link["relation"] == "next":
                link["url"] = link["url"].replace("//fhir.", "//inner.")
        return page


class Unlinked(Patient):
    """Pages without a link to the next."""

    def search(self, resource_type: str, criteria: Criteria) -> Resource:
        return {**super().search(resource_type, criteria), "link": []}


class Whole(Patient):
    """`_count` is ignored."""

    def search(self, resource_type: str, criteria: Criteria) -> Resource:
        return super().search(resource_type, [one for one in criteria if one[0] != "_count"])


class Dated(Patient):
    """A search says when it was run, as HAPI does."""

    def search(self, resource_type: str, criteria: Criteria) -> Resource:
        return {**super().search(resource_type, criteria), "meta": {"lastUpdated": "2026-05-07T10:20:00.000+00:00"}}


def failing(error: Exception, nth: int, *, done: bool = False) -> Ailment:
    """The nth transaction fails; `done`: it is carried out all the same.

    They are: create, create again, change, change by the stale version, count, delete.
    """
    seen: list[Resource] = []

    def act(bundle: Resource, submit: Callable[[Resource], Resource]) -> Resource:
        seen.extend([bundle] if bundle["type"] == "transaction" else [])
        if bundle["type"] == "transaction" and len(seen) == nth:
            if done:
                with suppress(ServerRefused):
                    submit(bundle)
            raise error
        return submit(bundle)

    return act


def refusal(status: int, diagnostics: str = "") -> ServerRefused:
    outcome = {"resourceType": "OperationOutcome", "issue": [{"diagnostics": diagnostics}]}
    return ServerRefused([Issue("error", "processing", "sync-refused", "it was refused")], status=status, outcome=outcome)


def lost() -> ServerUnavailable:
    return ServerUnavailable([Issue("error", "transient", "sync-lost", "the answer was lost")], sent=True)
