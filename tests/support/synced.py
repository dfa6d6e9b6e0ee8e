"""The service with FHIR servers in memory behind it: what its synchronisation is asked with, and how it is driven by hand."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Final, TypeVar

from flask import Flask
from werkzeug.test import TestResponse

from service.api import create_app
from service.api.sync import Sync
from service.config import Access, Settings
from service.fhir import json
from service.sync.memory import MemoryServer
from service.sync.server import Criteria, Resource
from service.sync.worker import Drain
from tests.support.loopback import PATIENCE

T = TypeVar("T")

BASE: Final = "https://fhir.example.org/r4"
OTHER: Final = "https://other.example.org/r4"


class Watched(MemoryServer):
    """A server in memory that counts what it is asked, does what `fails` says instead of answering, and tells by `submitted`
    that a transaction is done."""

    def __init__(self, base: str = BASE, **options: Any) -> None:
        super().__init__(base, **options)
        self.asked = 0
        self.fails: Callable[[], object] = lambda: None
        self.submitted = threading.Event()

    def capabilities(self) -> Resource:
        self._meet()
        return super().capabilities()

    def submit(self, bundle: Resource) -> Resource:
        self._meet()
        done = super().submit(bundle)
        self.submitted.set()
        return done

    def search(self, resource_type: str, criteria: Criteria) -> Resource:
        self._meet()
        return super().search(resource_type, criteria)

    def everything(self, patient_id: str) -> Resource:
        self._meet()
        return super().everything(patient_id)

    def _meet(self) -> None:
        self.asked += 1
        self.fails()


def eventually(found: Callable[[], T | None]) -> T:
    """What there is at last; fails where there is nothing for too long."""
    pause, end = threading.Event(), time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if value := found():
            return value
        pause.wait(0.01)
    raise AssertionError("it never came")


def raising(error: Exception) -> Callable[[], object]:
    def fail() -> None:
        raise error

    return fail


class Site:
    """An app and its servers. Nothing is sent until `drain` or `sync.start` is called."""

    def __init__(self, settings: Settings, *servers: Watched) -> None:
        made = {server.base: server for server in servers}
        first, *others = [*made] or [""]
        configured = replace(settings, access=Access(server=first), servers=tuple(others))
        self.app: Flask = create_app(configured, connect=lambda base, _access: made[base])
        self.server: Watched = servers[0] if servers else Watched()
        found = self.app.extensions["casebridge-sync"]
        assert isinstance(found, Sync)
        self.sync = found

    def post(self, address: str, value: Any, **options: Any) -> TestResponse:
        data = value if isinstance(value, bytes) else json.dumps(value)
        return self.app.test_client().post(address, data=data, **{"content_type": "application/json", **options})

    def get(self, address: str, **options: Any) -> TestResponse:
        return self.app.test_client().get(address, buffered=True, **options)

    def delete(self, address: str) -> TestResponse:
        return self.app.test_client().delete(address)

    def pushed(self, record: dict[str, Any], query: str = "") -> str:
        """The address of the job of a case that was taken."""
        response = self.post(f"/sync/push{query}", record)
        assert response.status_code == 202, response.get_data(as_text=True)
        return str(response.headers["Content-Location"])

    def drain(self) -> None:
        """All that is due is sent, in this thread."""
        target = self.server.base
        Drain(self.sync.outbox(), self.sync.servers.__getitem__, target=target, threads=1, wait=0).work()

    def done(self, address: str) -> TestResponse:
        """The answer for a job, once it is no longer 202."""

        def ended() -> TestResponse | None:
            response = self.get(address)
            return None if response.status_code == 202 else response

        return eventually(ended)


@contextmanager
def site(settings: Settings, *servers: Watched) -> Iterator[Site]:
    made = Site(settings, *servers)
    try:
        yield made
    finally:
        made.server.fails = lambda: None
        made.sync.stop(PATIENCE)


def lines(response: TestResponse) -> list[dict[str, Any]]:
    """The values of an NDJSON answer."""
    assert response.status_code == 200, response.get_data(as_text=True)
    assert response.mimetype == "application/x-ndjson"
    return [json.loads(line) for line in response.data.splitlines()]
