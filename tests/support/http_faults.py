"""The faults that a server on loopback can be asked for, whoever answers behind it.

A fault is taken by the next request that its `when` is true of, as often as `times` says (None: always); faults are tried in
the order in which they were asked for. `injected` counts by kind what was really done to somebody.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from service.fhir import json
from tests.support.loopback import Exchange, Gate, Loopback, Reply, Request, outcome_reply

When = Callable[[Request], bool]
# Does with a request and its connection what the fault is.
Act = Callable[[Exchange], None]
# The reply as the fault makes it; None where there is nothing that it could change.
Change = Callable[[Reply], Reply | None]
# How a reply can end too early, as the client sees it: http://www.rfc-editor.org/rfc/rfc9112#name-incomplete-messages
Cut = Literal["length", "chunked", "close"]

_CRUMB: Final = 0.01


@dataclass
class _Fault:
    kind: str
    when: When
    left: int | None
    act: Act | None = None
    change: Change | None = None


def _always(_request: Request) -> bool:
    return True


class FaultyServer(Loopback):
    """A server whose faults are its methods. All are safe to ask for while requests are under way."""

    def __init__(self, path: str = "") -> None:
        super().__init__(path)
        self.injected: Counter[str] = Counter()
        self._faults: list[_Fault] = []
        self._gates: list[Gate] = []

    def stop(self) -> None:
        for gate in self._gates:
            if gate.reached.is_set() or self.closing.is_set():
                gate.give_up()
        super().stop()

    def treat(self, exchange: Exchange) -> None:
        fault = self._take(exchange.request)
        if fault is None:
            super().treat(exchange)
        elif fault.act is not None:
            fault.act(exchange)
        elif fault.change is not None:
            reply = exchange.carry_out()
            changed = fault.change(reply)
            if changed is None:
                self._give_back(fault)
            exchange.send(changed or reply)

    def inject(self, kind: str, act: Act, times: int | None = 1, when: When | None = None) -> None:
        """Any fault of the caller's own."""
        self._add(_Fault(kind, when or _always, times, act=act))

    def change(self, kind: str, change: Change, times: int | None = 1, when: When | None = None) -> None:
        """Any change of the caller's own to a reply. The fault waits for a reply that it can change."""
        self._add(_Fault(kind, when or _always, times, change=change))

    def _add(self, fault: _Fault) -> None:
        with self._lock:
            self._faults.append(fault)

    def clear(self) -> None:
        """Takes back what has been asked for and not been done."""
        with self._lock:
            self._faults.clear()

    def _take(self, request: Request) -> _Fault | None:
        with self._lock:
            for fault in self._faults:
                if fault.left != 0 and fault.when(request):
                    fault.left = None if fault.left is None else fault.left - 1
                    self.injected[fault.kind] += 1
                    return fault
        return None

    def _give_back(self, fault: _Fault) -> None:
        with self._lock:
            fault.left = None if fault.left is None else fault.left + 1
            self.injected[fault.kind] -= 1

    def _gate(self) -> Gate:
        gate = Gate()
        self._gates.append(gate)
        return gate

    # Answers that are not the server's -------------------------------------------------------------------------------

    def fault(
        self,
        times: int | None = 1,
        *,
        when: When | None = None,
        status: int = 503,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        before: bool = True,
    ) -> None:
        """A canned answer, by default an OperationOutcome. `before`: it comes at once, and nothing is carried out."""
        plain = outcome_reply(status, "the test asked for this")
        canned = Reply(status, {**plain.headers, **(headers or {})}, plain.body if body is None else body)

        def act(exchange: Exchange) -> None:
            if not before:
                exchange.carry_out()
            exchange.send(canned)

        self.inject("fault", act, times, when)

    def status(
        self, code: int, headers: Mapping[str, str] | None = None, times: int | None = 1, when: When | None = None
    ) -> None:
        """A canned answer with this status; nothing is carried out."""
        self.fault(times, when=when, status=code, headers=headers)

    # Connections that end --------------------------------------------------------------------------------------------

    def drop_request(self, times: int | None = 1, when: When | None = None) -> None:
        """The connection ends before the request is carried out."""
        self.inject("drop_request", _drop_request, times, when)

    def drop_reply(self, times: int | None = 1, when: When | None = None) -> None:
        """The request is carried out, and the connection ends without an answer."""
        self.inject("drop_reply", _drop_reply, times, when)

    def reset(self, times: int | None = 1, when: When | None = None) -> None:
        """The connection is reset before the request is carried out."""
        self.inject("reset", _reset, times, when)

    def cut(self, how: Cut = "length", times: int | None = 1, when: When | None = None, *, at: int | None = None) -> None:
        """The request is carried out, and the answer ends after `at` bytes of its body, else in its middle.

        "length": short of its Content-Length; "chunked": without the last chunk; "close": without any length told.
        """
        self.inject("cut", lambda exchange: _cut(exchange, how, at), times, when)

    def truncate(self, at: int, times: int | None = 1, when: When | None = None) -> None:
        """As `cut`, by Content-Length."""
        self.inject("truncate", lambda exchange: _cut(exchange, "length", at), times, when)

    def drip(self, times: int | None = 1, when: When | None = None, *, head: bool = False, every: float = _CRUMB) -> None:
        """The request is carried out, and the answer never ends: blanks before its body, each by itself, until the client
        goes away; with `head`, a header without an end. `every` in seconds."""
        self.inject("drip", lambda exchange: _drip(exchange, head, every), times, when)

    # Requests that come at other times -------------------------------------------------------------------------------

    def hold(self, times: int | None = 1, when: When | None = None) -> Gate:
        """The request is carried out, and the answer waits behind the gate."""
        gate = self._gate()
        self.inject("hold", lambda exchange: _hold(exchange, gate), times, when)
        return gate

    def late_delivery(self, times: int | None = 1, when: When | None = None) -> Gate:
        """The client sees a reset at once; the request is carried out when the gate is released."""
        gate = self._gate()
        self.inject("late_delivery", lambda exchange: _late_delivery(exchange, gate), times, when)
        return gate

    def dup_request(self, times: int | None = 1, when: When | None = None) -> None:
        """The request is carried out twice, and the second answer given."""
        self.inject("dup_request", _dup_request, times, when)

    # Answers that are changed ----------------------------------------------------------------------------------------

    def alter(self, kind: str, edit: Callable[[Any], object], times: int | None = 1, when: When | None = None) -> None:
        """`edit` changes the JSON of a reply in place."""
        self.change(kind, lambda reply: _edited(reply, edit), times, when)

    def rewrite_next(self, url: str, times: int | None = 1, when: When | None = None) -> None:
        """The next page of a search is at another URL."""
        self.alter("rewrite_next", lambda body: _rewrite_next(body, url), times, when)

    def missing_entry(self, index: int = 0, times: int | None = 1, when: When | None = None) -> None:
        """The answer to a transaction or batch lacks one entry."""
        self.alter("missing_entry", lambda body: _drop_entry(body, index), times, when)

    def corrupt(self, times: int | None = 1, when: When | None = None) -> None:
        """The request is carried out, and the body of the answer is JSON no more; its length is as it was."""
        self.change("corrupt", _corrupted, times, when)


def _drop_request(exchange: Exchange) -> None:
    exchange.hang_up()


def _drop_reply(exchange: Exchange) -> None:
    exchange.carry_out()
    exchange.hang_up()


def _reset(exchange: Exchange) -> None:
    exchange.hang_up(reset=True)


def _cut(exchange: Exchange, how: Cut, at: int | None) -> None:
    reply = exchange.carry_out()
    part = reply.body[: len(reply.body) // 2 if at is None else at]
    if how == "length":
        exchange.begin(reply, {"Content-Length": str(len(reply.body))})
        exchange.write(part)
    elif how == "chunked":
        exchange.begin(reply, {"Transfer-Encoding": "chunked"})
        exchange.write(_chunk(part))
    else:
        exchange.begin(reply, {"Connection": "close"})
        exchange.write(part)
    exchange.hang_up()


def _drip(exchange: Exchange, head: bool, every: float) -> None:
    reply = exchange.carry_out()
    if head:
        exchange.write(f"HTTP/1.1 {reply.status} OK\r\nX-Drip: ".encode())
    else:
        exchange.begin(reply, {"Transfer-Encoding": "chunked"})
    # Ends by the error that the client's going away makes, or with the server.
    while not exchange.closing.wait(every):
        exchange.write(b"a" if head else _chunk(b" "))
    exchange.hang_up()


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def _hold(exchange: Exchange, gate: Gate) -> None:
    reply = exchange.carry_out()
    if gate.wait():
        exchange.send(reply)
        gate.passed.set()
    else:
        exchange.hang_up()


def _late_delivery(exchange: Exchange, gate: Gate) -> None:
    exchange.hang_up(reset=True)
    if gate.wait():
        exchange.carry_out()
        gate.passed.set()


def _dup_request(exchange: Exchange) -> None:
    exchange.carry_out()
    exchange.send(exchange.carry_out())


def _edited(reply: Reply, edit: Callable[[Any], object]) -> Reply | None:
    if "json" not in reply.headers.get("Content-Type", ""):
        return None
    body = reply.json
    edit(body)
    return None if json.dumps(body) == json.dumps(reply.json) else Reply(reply.status, reply.headers, json.dumps(body))


def _rewrite_next(body: Any, url: str) -> None:
    for link in body.get("link", ()):
        if link["relation"] == "next":
            link["url"] = url


def _drop_entry(body: Any, index: int) -> None:
    if body.get("type") in ("transaction-response", "batch-response"):
        del body["entry"][index]


def _corrupted(reply: Reply) -> Reply | None:
    middle = len(reply.body) // 2
    spoilt = reply.body[:middle] + b"\x00" + reply.body[middle + 1 :]
    return Reply(reply.status, reply.headers, spoilt) if reply.body else None
