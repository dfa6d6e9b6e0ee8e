"""One request's socket: connected only to where it may go, and shut at the deadline whatever the other side does."""

from __future__ import annotations

import os
import socket
import threading
from contextlib import suppress
from types import TracebackType

from service.errors import ServerRefused, Usage
from service.sync import origins
from service.sync.waiting import Deadline


class Exchange:
    """One request and its reply. A context manager: on leaving it, its time no longer runs.

    A socket's own timeout runs anew with every byte, so that a server which drips them holds a client for ever. Here a timer
    shuts the socket down, and what waits for it ends. `late`: that has happened; `sent`: the server may have read the whole
    head of the request; `reused`: the connection had served an earlier request.
    """

    def __init__(self, *, seconds: float, connect: float, allow_local: bool) -> None:
        self.late = False
        self.sent = False
        self.reused = False
        self._fresh = False
        self._connect = connect
        self._allow_local = allow_local
        self._lock = threading.Lock()
        self._held: socket.socket | None = None
        self._timer = threading.Timer(seconds, self._expire)
        self._timer.daemon = True

    def __enter__(self) -> Exchange:
        self._timer.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._timer.cancel()
        with self._lock:
            if self._held:
                self._held.close()
            self._held = None

    def connect(self, host: str, port: int) -> socket.socket:
        """A socket connected to one of the host's addresses, all of them tried within the time for connecting.

        Each address is judged before a packet goes there, and again as the one that answered: a name may lead anywhere, and
        elsewhere the next time it is looked up. Raises OSError, and ServerRefused where no address is allowed.
        """
        self._fresh = True
        deadline = Deadline(self._connect)
        failure: OSError = TimeoutError("no connection in time")
        for family, kind, protocol, address in self._addresses(host, port):
            sock = socket.socket(family, kind, protocol)
            try:
                deadline.check()
                sock.settimeout(deadline.left())
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                sock.connect(address)
                self._judge(sock.getpeername()[0])
                self.hold(sock)
            except OSError as error:
                sock.close()
                failure = error
            except ServerRefused:
                sock.close()
                raise
            else:
                return sock
        raise failure

    def hold(self, sock: socket.socket) -> None:
        """This socket carries the request. Its duplicate is kept: TLS takes the socket's own handle over."""
        with self._lock:
            if self._held is None:
                self.reused = not self._fresh
                self._held = socket.socket(fileno=os.dup(sock.fileno()))
            if self.late:
                self._shut()

    def _addresses(self, host: str, port: int) -> list[tuple[int, int, int, tuple[str, int] | tuple[str, int, int, int]]]:
        found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
        allowed, refusal = [], None
        for family, kind, protocol, _, address in found:
            try:
                self._judge(str(address[0]))
                allowed.append((family, kind, protocol, address))
            except ServerRefused as refused:
                refusal = refused
        if refusal and not allowed:
            raise refusal
        return allowed  # type: ignore[return-value]  # the names of IPv4 and IPv6, as SOCK_STREAM has them

    def _judge(self, ip: str) -> None:
        try:
            origins.check_address(ip, allow_local=self._allow_local)
        except Usage as bad:
            raise ServerRefused(bad.issues) from None

    def _expire(self) -> None:
        with self._lock:
            self.late = True
            self._shut()

    def _shut(self) -> None:
        if self._held:
            with suppress(OSError):
                self._held.shutdown(socket.SHUT_RDWR)
