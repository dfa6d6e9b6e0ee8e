"""Bodies that are too deep or too long for a service that runs by itself: bounded work, bounded memory, and it lives."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator
from contextlib import suppress
from http.client import HTTPResponse
from pathlib import Path

import pytest

from service.fhir import json
from tests.conftest import ROOT
from tests.faults.routes import JSON, Ask, bodies
from tests.faults.served import Answer, Place, Served, served

AT = "service"
pytestmark = pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="there is no /proc here to read a peak of memory"
)

FLAT = 50_000_000
LIMIT = 5_000_000
CHUNK = 1_000_000


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Running, with all that is loaded at its first use."""
    case = (ROOT / "examples" / "cases" / "chen-2023.json").read_bytes()
    bundle = (ROOT / "examples" / "bundles" / "chen-2023.json").read_bytes()
    with served(Place(tmp_path_factory.mktemp("heavy"))) as running:
        for address, body in (("/convert", case), ("/to-case", bundle), ("/validate", bundle), ("/fhir/$validate", bundle)):
            assert running.ask(Ask("POST", address, {"Content-Type": JSON}, body)).status == 200
        yield running


def head(address: str, *fields: str) -> bytes:
    lines = [f"POST {address} HTTP/1.1", "Host: localhost", f"Content-Type: {JSON}", *fields, "", ""]
    return "\r\n".join(lines).encode()


def answer(connection: socket.socket) -> Answer:
    response = HTTPResponse(connection)
    response.begin()
    return Answer(response.status, response.headers, response.read())


def is_too_long(found: Answer) -> bool:
    body = json.loads(found.data)
    rule = body["issue"][0]["details"]["coding"][0]["code"]
    return (found.status, found.headers.get_content_type(), rule) == (413, "application/fhir+json", "json-size")


def flood(connection: socket.socket, pieces: Iterable[bytes]) -> None:
    """Sends until the server has had enough."""
    with suppress(BrokenPipeError, ConnectionResetError):
        for piece in pieces:
            connection.sendall(piece)


def test_r29_50_mb_are_refused_by_their_length_alone(fault, app, service):
    """Not a byte of the body is sent, and there is an answer all the same: the server did not wait to read it."""
    for address in bodies(app.url_map):
        with service.connected() as connection:
            connection.sendall(head(address, f"Content-Length: {FLAT}"))
            assert is_too_long(answer(connection)), address
        fault.injected("a body that says it has 50 MB")
    assert service.is_alive()


def test_r29_50_mb_that_are_sent_all_the_same_do_no_harm(fault, app, service):
    """The bound is the weight of one such body: who keeps it whole, anywhere, holds more than that."""
    before = service.peak()
    for address in bodies(app.url_map):
        with service.connected() as connection:
            connection.sendall(head(address, f"Content-Length: {FLAT}", "Connection: close"))
            flood(connection, (b" " * CHUNK for _ in range(FLAT // CHUNK)))
            assert is_too_long(answer(connection)), address
        fault.injected("a body of 50 MB")
    assert service.peak() - before < FLAT
    assert service.is_alive()


def test_r29_50_mb_in_chunks_are_refused_at_the_limit(fault, app, service):
    before = service.peak()
    for address in bodies(app.url_map):
        with service.connected() as connection:
            connection.sendall(head(address, "Transfer-Encoding: chunked", "Connection: close"))
            chunk = b"%x\r\n%b\r\n" % (CHUNK, b" " * CHUNK)
            flood(connection, (chunk for _ in range(FLAT // CHUNK)))
            assert is_too_long(answer(connection)), address
        fault.injected("a chunked body of 50 MB")
    assert service.peak() - before < FLAT
    assert service.is_alive()


def test_r29_a_refused_body_is_never_read_as_the_next_request(fault, service):
    """The connection may live on: what was refused unread must not be taken for requests of its own."""
    smuggled = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n"
    body = smuggled * ((LIMIT + CHUNK) // len(smuggled))
    with service.connected() as connection:
        connection.sendall(head("/convert", f"Content-Length: {len(body)}"))
        assert is_too_long(answer(connection))
        flood(connection, [body, head("/nosuch", "Content-Length: 0", "Connection: close")])
        fault.injected("a body of requests")
        rest = b""
        with suppress(ConnectionResetError):
            rest = b"".join(iter(lambda: connection.recv(CHUNK), b""))
    assert b"live" not in rest
    assert rest.count(b"HTTP/1.1 ") == rest.count(b"HTTP/1.1 404 ") <= 1, "only what follows the body is a request"
    assert service.is_alive()


@pytest.mark.parametrize("text", [b"[" * 100_000, b'{"a":' * 100_000], ids=["arrays", "objects"])
def test_r29_deep_json_is_refused_and_the_process_lives(fault, app, service, text):
    before, workers = service.peak(), service.workers()
    for address in bodies(app.url_map):
        found = service.ask(Ask("POST", address, {"Content-Type": JSON}, text))
        fault.injected("a text 100,000 levels deep")
        assert found.status == 400
        assert json.loads(found.data)["issue"][0]["details"]["coding"][0]["code"] == "json-depth"
    assert service.peak() - before < FLAT
    assert service.workers() == workers, "no worker died and was replaced"
    assert service.is_alive()


@pytest.mark.parametrize("value", [b"0.1", b"{}", b'""', b"[]"])
def test_r29_the_longest_flat_body_that_is_taken_has_a_bounded_weight(fault, service, value):
    """A value of few bytes becomes an object of a hundred and a place in a list, and so again where the text is read a second
    time to be explained: 200 bytes for each byte of text bound all of that."""
    text = b"[%b]" % b",".join([value] * ((LIMIT - 2) // (len(value) + 1)))
    before, workers = service.peak(), service.workers()
    for address, status in (("/convert", 422), ("/to-case", 422), ("/validate", 200)):
        found = service.ask(Ask("POST", address, {"Content-Type": JSON}, text))
        fault.injected("a flat body as long as is taken")
        assert found.status == status
        assert len(found.data) < LIMIT
    assert service.peak() - before < 200 * LIMIT
    assert service.workers() == workers
