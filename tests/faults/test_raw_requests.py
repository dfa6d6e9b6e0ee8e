"""Requests that no client library sends: broken before they reach the app, or cut off on the way."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import suppress
from http.client import HTTPResponse

import pytest

from service.fhir import json
from tests.faults.served import Answer, Place, Served, served
from tests.support.faults import CANARY

AT = "service"
POST = "POST /convert HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
GET = "GET / HTTP/1.1\r\nHost: localhost\r\n"
# What the server in front of the app refuses → with which status.
BROKEN = {
    "a space in the address": (f"GET /?name={CANARY} {CANARY} HTTP/1.1\r\n\r\n", 400),
    "Latin-1 in the address": (f"GET /?name=\u00fc{CANARY} HTTP/1.1\r\n\r\n", 400),
    "no such version": (f"GET / HTTP/{CANARY}\r\n\r\n", 400),
    "no method": (f"GET@{CANARY} / HTTP/1.1\r\n\r\n", 400),
    "no colon in a header": (f"{GET}{CANARY}\r\n\r\n", 400),
    "a space in the name of a header": (f"{GET}{CANARY} {CANARY}: x\r\n\r\n", 400),
    "a folded header": (f"{GET}A: x\r\n {CANARY}\r\n\r\n", 400),
    "a length that is no number": (f"{POST}Content-Length: {CANARY}\r\n\r\n{{}}", 400),
    "two lengths": (f"{POST}Content-Length: 2\r\nContent-Length: 3\r\n\r\n{{}}", 400),
    "a length and chunks": (f"{POST}Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{{}}\r\n0\r\n\r\n", 400),
    "an expectation": (f"{POST}Expect: {CANARY}\r\nContent-Length: 2\r\n\r\n{{}}", 417),
    "an address without end": (f"GET /{CANARY}{'x' * 5000} HTTP/1.1\r\n\r\n", 414),
    "a header without end": (f"{GET}A: {CANARY}{'x' * 70000}\r\n\r\n", 431),
    "headers without end": (f"{GET}{f'A: {CANARY}{chr(13)}{chr(10)}' * 200}\r\n", 431),
}
# What reaches the app, whose body then is not what was announced.
CUT = {
    "shorter than its length": f"{POST}Content-Length: 100\r\n\r\n{{}}",
    "a chunk cut off": f"{POST}Transfer-Encoding: chunked\r\n\r\nff\r\n{{}}",
    "no last chunk": f"{POST}Transfer-Encoding: chunked\r\n\r\n2\r\n{{}}\r\n",
    "no end of a chunk": f"{POST}Transfer-Encoding: chunked\r\n\r\n2\r\n{{}}{CANARY}\r\n0\r\n\r\n",
    "a chunk without a size": f"{POST}Transfer-Encoding: chunked\r\n\r\n{CANARY}\r\n{{}}\r\n0\r\n\r\n",
}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(Place(tmp_path_factory.mktemp("raw"))) as running:
        yield running


def sent(service: Served, text: str) -> Answer:
    """The answer to these bytes, after which nothing more is sent."""
    with service.connected() as connection:
        with suppress(OSError):
            connection.sendall(text.encode("latin-1"))
            connection.shutdown(socket.SHUT_WR)
        response = HTTPResponse(connection)
        response.begin()
        return Answer(response.status, response.headers, response.read())


def check(found: Answer, status: int) -> None:
    assert found.status == status
    assert found.headers.get_content_type() == "application/fhir+json"
    assert found.headers["X-Request-ID"]
    assert json.loads(found.data)["resourceType"] == "OperationOutcome"
    assert CANARY not in found.data.decode() + str(found.headers)


@pytest.mark.parametrize("name", BROKEN)
def test_r42_what_never_reaches_the_app_is_refused_like_all_else(fault, service, name):
    text, status = BROKEN[name]
    found = sent(service, text)
    fault.injected("a request that is no HTTP")
    check(found, status)
    assert service.is_alive()


@pytest.mark.parametrize("name", CUT)
def test_r42_a_body_that_did_not_arrive_whole_is_400(fault, service, name):
    found = sent(service, CUT[name])
    fault.injected("a body that did not arrive whole")
    check(found, 400)
    [issue] = json.loads(found.data)["issue"]
    assert issue["details"]["coding"][0]["code"] == "http-request"


def test_r39_no_log_tells_what_was_no_request(fault, service):
    for text in [*(text for text, _status in BROKEN.values()), *CUT.values()]:
        sent(service, text)
        fault.injected("a request with a canary in it")
    log = service.place.log.read_text(encoding="utf-8")
    assert CANARY not in log
    assert "request" in log
