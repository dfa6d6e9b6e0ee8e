"""The FHIR server over HTTP: what is repeated, how long it is waited, and what is too much."""

from __future__ import annotations

import gzip
import socket
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from service.fhir import json
from service.sync.exchange import Exchange
from service.sync.rest import Limits
from tests.support.loopback import PATIENCE, Reply, Request, fhir_reply
from tests.support.loopback import Exchange as ServerSide
from tests.support.rest_client import (
    BUNDLE,
    ONCE,
    PATIENT,
    TRANSACTION,
    Simple,
    Time,
    absence,
    bomb,
    count_inflated,
    refusal,
    rest,
    rule,
)

BASE = "http://fhir.example/R4"


@pytest.fixture
def simple() -> Iterator[Simple]:
    with Simple() as server:
        yield server


# Repeating and waiting ------------------------------------------------------------------------------------------------


def test_reading_is_repeated_with_growing_random_waits() -> None:
    time = Time()
    with Simple() as simple, rest(simple.base, time=time) as server:
        simple.status(500, times=3)
        assert server.read("Patient", "p1") == PATIENT
        assert len(simple.journal) == 4
    assert len(time.slept) == 3
    assert all(0 <= slept <= most for slept, most in zip(time.slept, (0.5, 1, 2), strict=True))


def test_reading_gives_up_after_its_attempts(simple: Simple) -> None:
    simple.status(503, times=None)
    with rest(simple.base, limits=Limits(attempts=3)) as server:
        assert absence(server.capabilities).sent
    assert len(simple.journal) == 3


def test_searching_is_repeated_too_and_broken_bodies_are_read_again(simple: Simple) -> None:
    simple.resource = BUNDLE
    for how in ("length", "chunked", "close"):
        simple.cut(how)
    with rest(simple.base) as server:
        assert server.search("Patient", [("_id", "p1")]) == BUNDLE
    assert [request.body for request in simple.journal] == [b"_id=p1"] * 4


@pytest.mark.parametrize("fault", ["reset", "drop_request", "corrupt", "length", "chunked", "close"])
def test_broken_replies_to_a_submit_have_an_unknown_outcome(simple: Simple, fault: str) -> None:
    simple.resource = BUNDLE
    getattr(simple, fault)() if hasattr(simple, fault) else simple.cut(fault)  # type: ignore[arg-type]
    with rest(simple.base) as server:
        error = absence(lambda: server.submit(TRANSACTION))
        assert error.sent
        assert rule(error) in ("sync-lost", "sync-reply")
        assert len(simple.journal) == 1
        assert server.submit(TRANSACTION) == BUNDLE


def test_server_that_is_down_was_sent_nothing(simple: Simple) -> None:
    simple.down = True
    with rest(simple.base) as server:
        error = absence(lambda: server.submit(TRANSACTION))
        assert (error.sent, rule(error)) == (False, "sync-connect")
        assert "nothing listens there" in error.issues[0].text
        simple.resource, simple.down = BUNDLE, False
        assert server.submit(TRANSACTION) == BUNDLE


def test_unknown_host_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", _raises(socket.gaierror(-2, "SECRET")))
    with rest(BASE, limits=ONCE) as server:
        error = absence(server.capabilities)
    assert error.issues[0].text == "the server at http://fhir.example cannot be reached: its host name is not known"


def _raises(error: BaseException) -> Callable[..., Any]:
    def fail(*_: Any, **__: Any) -> Any:
        raise error

    return fail


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("dated", [False, True])
def test_nobody_asks_before_retry_after_is_over(simple: Simple, status: int, dated: bool) -> None:
    time = Time()
    date = (datetime.fromtimestamp(time.at, UTC) + timedelta(seconds=30)).strftime("%a, %d %b %Y %H:%M:%S GMT")
    simple.status(status, {"Retry-After": date if dated else "30"})
    with rest(simple.base, time=time) as server:
        error = absence(lambda: server.submit(TRANSACTION))
        assert error.retry_after == 30
        assert server.read("Patient", "p1") == PATIENT  # another request, which waits at the same gate
    assert time.slept == [30]
    assert time.at == 1030


def test_reading_waits_for_retry_after_itself(simple: Simple) -> None:
    time = Time()
    simple.status(429, {"Retry-After": "40"})
    with rest(simple.base, time=time) as server:
        assert server.read("Patient", "p1") == PATIENT
    assert time.at == pytest.approx(1040)


@pytest.mark.parametrize("seconds", ["61", "1000000000", "9" * 40])
def test_long_retry_after_blocks_no_thread(simple: Simple, seconds: str) -> None:
    time = Time()
    simple.status(503, {"Retry-After": seconds})
    with rest(simple.base, time=time) as server:
        assert absence(server.capabilities).retry_after == min(float(seconds), 1e9)
        later = absence(lambda: server.submit(TRANSACTION))
        assert (later.sent, later.retry_after) == (False, min(float(seconds), 3600))
        assert time.slept == []
        assert len(simple.journal) == 1
        time.at += 3600  # whatever it said
        assert server.read("Patient", "p1") == PATIENT


@pytest.mark.parametrize("value", ["-5", "soon", "", "0"])
def test_meaningless_retry_after_closes_no_gate(simple: Simple, value: str) -> None:
    time = Time()
    simple.status(503, {"Retry-After": value})
    with rest(simple.base, time=time) as server:
        assert server.read("Patient", "p1") == PATIENT
    assert time.at <= 1000.5


class Counting(Simple):
    """Counts how many requests it has before it at once."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0
        self.most = 0

    def treat(self, exchange: ServerSide) -> None:
        with self._lock:
            self.now += 1
            self.most = max(self.most, self.now)
        super().treat(exchange)

    def answer(self, request: Request) -> Reply:
        with self._lock:
            self.now -= 1
        return super().answer(request)


def test_only_so_many_requests_are_under_way_at_once() -> None:
    got: list[Any] = []
    barrier = threading.Barrier(6)
    limits = Limits(concurrent=2)
    with Counting() as server, rest(server.base, limits=limits) as client:
        # Answered once two are there, so that a third would be seen.
        both = threading.Barrier(2)

        def meet(exchange: ServerSide) -> None:
            both.wait(PATIENCE)
            exchange.send(exchange.carry_out())

        def work() -> None:
            barrier.wait(PATIENCE)
            got.append(client.read("Patient", "p1"))

        server.inject("meet", meet, times=None)
        threads = [threading.Thread(target=work) for _ in range(6)]
        for each in threads:
            each.start()
        for each in threads:
            each.join(PATIENCE)
    assert got == [PATIENT] * 6
    assert server.most == 2


def test_request_that_finds_no_turn_was_not_sent(simple: Simple) -> None:
    gate = simple.hold()
    with rest(simple.base, limits=Limits(concurrent=1, attempts=1)) as server:
        thread = threading.Thread(target=lambda: server.read("Patient", "p1"))
        thread.start()
        assert gate.reached.wait(PATIENCE)
        server._wire._slots.acquire = lambda timeout: False  # type: ignore[assignment,method-assign,misc]
        error = absence(lambda: server.submit(TRANSACTION))
        gate.release()
        thread.join(PATIENCE)
    assert (error.sent, rule(error)) == (False, "sync-busy")
    assert len(simple.journal) == 1


# Deadlines and caps ---------------------------------------------------------------------------------------------------


def _slow_body(exchange: ServerSide) -> None:
    exchange.begin(fhir_reply(200, PATIENT), {"Connection": "close"})
    while not exchange.closing.wait(0.005):
        exchange.write(b" ")


@pytest.mark.parametrize("how", ["head", "chunked body", "body until the end", "silence", "error body"])
def test_total_deadline_holds_against_a_server_that_drips(simple: Simple, how: str) -> None:
    if how == "silence":
        simple.hold()
    elif how == "body until the end":
        simple.inject("slow", _slow_body)
    else:
        simple.drip(head=how == "head")
    with rest(simple.base, limits=Limits(total=0.3)) as server:
        error = absence(lambda: server.submit(TRANSACTION))
        assert (error.sent, rule(error)) == (True, "sync-deadline")
        assert len(simple.journal) == 1
        simple.resource = BUNDLE
        assert server.submit(TRANSACTION) == BUNDLE


def test_compressed_replies_are_read(simple: Simple) -> None:
    packed = gzip.compress(json.dumps(PATIENT)[:10]) + gzip.compress(json.dumps(PATIENT)[10:])
    simple.replies = [Reply(200, {"Content-Type": "application/fhir+json", "Content-Encoding": "gzip"}, packed)]
    with rest(simple.base, limits=ONCE) as server:
        assert server.read("Patient", "p1") == PATIENT


def test_bomb_is_refused_at_the_cap(simple: Simple, monkeypatch: pytest.MonkeyPatch) -> None:
    body = bomb(200_000_000)
    assert len(body) < 300_000
    simple.replies = [Reply(200, {"Content-Type": "application/fhir+json", "Content-Encoding": "gzip"}, body)]
    made = count_inflated(monkeypatch)
    with rest(simple.base, limits=Limits(attempts=1, reply_bytes=1_000_000)) as server:
        error = absence(lambda: server.read("Patient", "p1"))
    assert "longer than 1000000 bytes" in error.issues[0].text
    assert sum(made) < 2_000_000


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate", "gzip, gzip"])
def test_other_packing_than_was_asked_for_is_not_guessed_at(simple: Simple, encoding: str) -> None:
    simple.replies = [Reply(200, {"Content-Type": "application/fhir+json", "Content-Encoding": encoding}, b"SECRET")]
    with rest(simple.base, limits=ONCE) as server:
        assert rule(absence(lambda: server.read("Patient", "p1"))) == "sync-reply"


@pytest.mark.parametrize("end", [-1, -8, 12, 0])
def test_packed_reply_that_is_cut_is_noticed(simple: Simple, end: int) -> None:
    packed = gzip.compress(json.dumps(PATIENT))[:end]
    simple.replies = [Reply(200, {"Content-Type": "application/fhir+json", "Content-Encoding": "gzip"}, packed)]
    with rest(simple.base, limits=ONCE) as server:
        assert rule(absence(lambda: server.read("Patient", "p1"))) == "sync-reply"


def test_long_reply_is_refused_at_the_cap(simple: Simple) -> None:
    simple.resource = {**PATIENT, "language": "x" * 3000}
    with rest(simple.base, limits=Limits(attempts=1, reply_bytes=3000)) as server:
        assert "longer than 3000 bytes" in absence(lambda: server.read("Patient", "p1")).issues[0].text
    with rest(simple.base, limits=Limits(attempts=1, reply_bytes=3100)) as server:
        assert server.read("Patient", "p1") == simple.resource


def test_long_error_is_an_error_without_its_body(simple: Simple) -> None:
    simple.fault(status=422, body=b"x" * 5000)
    with rest(simple.base, limits=Limits(reply_bytes=1000)) as server:
        error = refusal(lambda: server.submit(TRANSACTION))
    assert (error.status, error.outcome) == (422, None)


@pytest.mark.parametrize(
    "head", [b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200, b"X" * 100_000, b"SSH-2.0\r\n", b"HTTP/1.1 abc\r\n\r\n"]
)
def test_what_is_no_http_is_no_reply(simple: Simple, head: bytes) -> None:
    def act(exchange: ServerSide) -> None:
        exchange.write(head)
        exchange.hang_up()

    simple.inject("noise", act)
    with rest(simple.base) as server:
        error = absence(lambda: server.submit(TRANSACTION))
    assert (error.sent, rule(error)) == (True, "sync-lost")


# Connections that died in the pool ------------------------------------------------------------------------------------


def test_connection_that_died_while_it_was_kept_is_replaced(simple: Simple) -> None:
    simple.resource = BUNDLE
    with rest(simple.base) as server:
        server.submit(TRANSACTION)
        simple.down = True
        simple.down = False
        assert server.submit(TRANSACTION) == BUNDLE
    assert len(simple.journal) == 2


def test_connection_that_dies_before_the_head_is_out_is_replaced(simple: Simple, monkeypatch: pytest.MonkeyPatch) -> None:
    simple.resource = BUNDLE
    with rest(simple.base) as server:
        server.submit(TRANSACTION)
        send, failures = socket.socket.sendall, [BrokenPipeError()]

        def broken(sock: socket.socket, data: bytes) -> None:
            if failures and data.startswith(b"POST"):
                sock.shutdown(socket.SHUT_RDWR)
                raise failures.pop()
            send(sock, data)

        monkeypatch.setattr(socket.socket, "sendall", broken, raising=False)
        assert server.submit(TRANSACTION) == BUNDLE
    assert failures == []
    assert len(simple.journal) == 2


def test_connection_that_dies_after_the_head_is_out_leaves_the_outcome_unknown(simple: Simple) -> None:
    simple.resource = BUNDLE
    with rest(simple.base) as server:
        server.submit(TRANSACTION)
        simple.drop_reply()
        assert absence(lambda: server.submit(TRANSACTION)).sent
    assert len(simple.journal) == 2


def test_hint_before_the_answer_is_not_taken_for_it_nor_the_answer_for_the_next(simple: Simple) -> None:
    def act(exchange: ServerSide) -> None:
        exchange.write(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n")
        exchange.send(fhir_reply(200, {**BUNDLE, "id": "late"}))

    simple.resource = BUNDLE
    simple.inject("hint", act)
    with rest(simple.base) as server:
        error = absence(lambda: server.submit(TRANSACTION))
        assert (error.sent, rule(error)) == (True, "sync-reply")
        assert server.submit(TRANSACTION) == BUNDLE


def test_socket_that_opens_after_the_deadline_is_shut_at_once() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, Exchange(seconds=PATIENCE, connect=1, allow_local=True) as exchange:
        exchange._expire()
        exchange.hold(ours)
        theirs.setblocking(False)
        assert exchange.late
        assert theirs.recv(1) == b""
