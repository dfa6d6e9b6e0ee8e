"""An HTTP/1.1 server on loopback with a journal, which goes down and comes back on the same port: no test need wait for it."""

from __future__ import annotations

import socket
import struct
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Final, Self

from service.fhir import json
from service.issues import Issue, to_operation_outcome

# How long a test may wait before it is taken for broken, in seconds; nothing is ever measured by it.
PATIENCE: Final = 60.0


@dataclass(frozen=True)
class Request:
    """A request as it came: `path` with its query, `headers` by lower-case name, `number` in the order of arrival from 1, `at`
    by the monotonic clock."""

    number: int
    at: float
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Reply:
    """A reply; Content-Length and Date are added when it is sent."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def fhir_reply(status: int, resource: Any, headers: Mapping[str, str] | None = None) -> Reply:
    return Reply(status, {"Content-Type": "application/fhir+json;charset=UTF-8", **(headers or {})}, json.dumps(resource))


def outcome_reply(status: int, text: str) -> Reply:
    return fhir_reply(status, to_operation_outcome([Issue("error", "processing", "test-server", text)]))


class Gate:
    """Something held back. `reached` is set once a request stands before it, `passed` once it is through."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.passed = threading.Event()
        self._open = threading.Event()
        self._given_up = False

    def release(self) -> None:
        self._open.set()

    def give_up(self) -> None:
        """Lets the thread that waits go home without doing anything more."""
        self._given_up = True
        self._open.set()

    def wait(self) -> bool:
        """Whether it was released."""
        self.reached.set()
        return self._open.wait(PATIENCE) and not self._given_up


class Exchange:
    """A request that came, and what can be done with its connection."""

    def __init__(self, request: Request, handler: _Handler, answer: Callable[[Request], Reply]) -> None:
        self.request = request
        self.closing = handler.server.owner.closing
        self._handler = handler
        self._answer = answer

    def carry_out(self) -> Reply:
        return self._answer(self.request)

    def send(self, reply: Reply) -> None:
        self.begin(reply, {"Content-Length": str(len(reply.body))})
        self.write(reply.body)

    def begin(self, reply: Reply, more: Mapping[str, str]) -> None:
        """The status line and the headers."""
        self._handler.send_response(reply.status)
        for name, value in {**reply.headers, **more}.items():
            self._handler.send_header(name, value)
        self._handler.end_headers()

    def write(self, data: bytes) -> None:
        self._handler.wfile.write(data)

    def hang_up(self, *, reset: bool = False) -> None:
        """Closes the connection at once; with `reset` by RST, which the other side takes for an error in any case."""
        if reset:
            self._handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._handler.close_connection = True
        for each in (self._handler.rfile, self._handler.wfile, self._handler.connection):
            each.close()


class Loopback(ABC):
    """The server, as a context manager. `journal` has every request that came in whole."""

    def __init__(self, path: str = "") -> None:
        self.journal: list[Request] = []
        self.closing = threading.Event()
        self.errors: list[BaseException] = []
        self._path = path
        self._lock = threading.Lock()
        self._connections: set[socket.socket] = set()
        self._stopping = False
        self._socket = socket.socket()
        self._http: _Http | None = None
        self._thread: threading.Thread | None = None

    @abstractmethod
    def answer(self, request: Request) -> Reply:
        """The reply of a server in good health, once the request is carried out."""

    def treat(self, exchange: Exchange) -> None:
        """What becomes of a request: it is carried out and answered."""
        exchange.send(exchange.carry_out())

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self._socket.getsockname()[1]}"

    @property
    def base(self) -> str:
        return self.origin + self._path

    @property
    def down(self) -> bool:
        """Whether connections are refused. Going down, the server ends those that it has."""
        return self._http is None

    @down.setter
    def down(self, down: bool) -> None:
        if down and not self.down:
            address = self._socket.getsockname()
            self.stop()
            # Bound but not listening: whoever connects is refused, and nobody else takes the port.
            self._bind(address)
        elif not down and self.down:
            self._start()

    def __enter__(self) -> Self:
        self._bind(("127.0.0.1", 0))
        self._start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.closing.set()
        self.stop()
        if error is None and self.errors:
            raise self.errors[0]

    def _bind(self, address: tuple[str, int]) -> None:
        self._socket.close()
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind(address)

    def _start(self) -> None:
        self._stopping = False
        self._http = _Http(self, self._socket)
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,))
        self._thread.start()

    def stop(self) -> None:
        """Ends every connection and waits for its thread."""
        if self._http is not None and self._thread is not None:
            self._http.shutdown()
            with self._lock:
                self._stopping = True
                for each in self._connections:
                    _silence(each)
            self._http.server_close()  # waits for the threads of all requests
            self._thread.join()
            self._http = None
        self._socket.close()

    def enter(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Request:
        """Puts a request into the journal."""
        named = {name.lower(): value for name, value in headers.items()}
        with self._lock:
            request = Request(len(self.journal) + 1, time.monotonic(), method, path, named, body)
            self.journal.append(request)
        return request

    def watch(self, connection: socket.socket) -> None:
        with self._lock:
            self._connections.add(connection)
            if self._stopping:
                _silence(connection)

    def forget(self, connection: socket.socket) -> None:
        with self._lock:
            self._connections.discard(connection)


def _silence(connection: socket.socket) -> None:
    with suppress(OSError):  # it may be closed already
        connection.shutdown(socket.SHUT_RDWR)


class _Http(ThreadingHTTPServer):
    daemon_threads = False
    request_queue_size = 128

    def __init__(self, owner: Loopback, bound: socket.socket) -> None:
        super().__init__(bound.getsockname(), _Handler, bind_and_activate=False)
        self.owner = owner
        self.socket.close()
        self.socket = bound
        self.server_activate()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Nothing: `_Handler` has told the owner."""

    def shutdown_request(self, request: Any) -> None:
        """No farewell by shutdown, which would come before a reset."""
        self.close_request(request)


class _Gone(Exception):
    """The server has hung up on purpose."""


class _Handler(BaseHTTPRequestHandler):
    server: _Http
    protocol_version = "HTTP/1.1"
    # Head and body go out in two packets: the second must not wait until the first is acknowledged.
    disable_nagle_algorithm = True

    def setup(self) -> None:
        super().setup()
        self.server.owner.watch(self.connection)

    def finish(self) -> None:
        self.server.owner.forget(self.connection)
        super().finish()

    def handle(self) -> None:
        try:
            super().handle()
        except (ConnectionError, _Gone):
            pass  # one of the two sides has left
        except BaseException as error:
            self.server.owner.errors.append(error)
            raise

    def _do(self) -> None:
        owner = self.server.owner
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        request = owner.enter(self.command, self.path, dict(self.headers.items()), body)
        owner.treat(Exchange(request, self, owner.answer))
        if self.wfile.closed:
            raise _Gone

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = do_HEAD = _do

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: there is the journal."""
