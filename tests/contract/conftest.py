"""The servers of which the contract holds: the twin in memory, REST over the fake server, and HAPI itself."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import responses

from service.config import Access
from service.sync.memory import MemoryServer
from service.sync.rest import RestServer
from service.sync.server import FhirServer
from tests.support.fake_fhir import FakeFhir, FhirRest
from tests.support.loopback import Request


@pytest.fixture(params=["memory", "rest over fake", "rest with responses", pytest.param("hapi", marks=pytest.mark.hapi)])
def server(request: pytest.FixtureRequest) -> Iterator[FhirServer]:
    yield from SERVERS[request.param](request)


def _memory(_request: pytest.FixtureRequest) -> Iterator[FhirServer]:
    yield MemoryServer()


def _rest_over_fake(_request: pytest.FixtureRequest) -> Iterator[FhirServer]:
    with FakeFhir() as fake, RestServer(fake.base, Access()) as rest:
        yield rest


def _rest_with_responses(_request: pytest.FixtureRequest) -> Iterator[FhirServer]:
    fhir = FhirRest(MemoryServer("http://fhir.example/base"))

    def answer(asked: Any) -> tuple[int, dict[str, str], bytes]:
        headers = {name.lower(): value for name, value in asked.headers.items()}
        reply = fhir.answer(Request(0, 0, asked.method, asked.path_url, headers, asked.body or b""))
        return reply.status, dict(reply.headers), reply.body

    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock, RestServer(fhir.memory.base, Access()) as rest:
        for method in ("GET", "POST"):
            mock.add_callback(method, re.compile(re.escape(fhir.memory.base)), answer, content_type=None)
        yield rest


def _hapi(request: pytest.FixtureRequest) -> Iterator[FhirServer]:
    with RestServer(request.getfixturevalue("hapi_server").base, Access()) as rest:
        yield rest


SERVERS: dict[str, Callable[[pytest.FixtureRequest], Iterator[FhirServer]]] = {
    "memory": _memory,
    "rest over fake": _rest_over_fake,
    "rest with responses": _rest_with_responses,
    "hapi": _hapi,
}


@pytest.fixture
def system() -> str:
    """A system of identifiers that is the test's own, for the servers are shared."""
    return f"https://contract.example/{uuid.uuid4()}"
