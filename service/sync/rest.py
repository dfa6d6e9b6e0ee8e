"""The FHIR server over HTTP: the one home of requests, with its own deadlines, caps, retries and care for secrets."""

from __future__ import annotations

import http.client
import random
import re
import socket
import ssl
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from http.cookiejar import DefaultCookiePolicy
from types import TracebackType
from typing import Any, Final, TypeVar
from urllib.parse import urlencode

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError

from service import __version__
from service.config import Access
from service.errors import CasebridgeError, ServerRefused, ServerUnavailable
from service.fhir import json
from service.issues import Issue
from service.sync import origins, replies
from service.sync.auth import authorization
from service.sync.exchange import Exchange
from service.sync.replies import Reply
from service.sync.server import Criteria, Resource
from service.sync.waiting import Clock, Gate, backoff, retry_after

# Resources on a page of $everything, which its `_count` names: servers' own choice is often 10 or 20.
PAGE: Final = 200

_FHIR: Final = "application/fhir+json; charset=utf-8"
_FORM: Final = "application/x-www-form-urlencoded; charset=utf-8"
_TYPE: Final = re.compile(r"[A-Z][A-Za-z]{1,63}")
_ID: Final = re.compile(r"(?!\.{1,2}\Z)[A-Za-z0-9.-]{1,64}")
_CHUNK: Final = 65_536
# What requests and the layers under it raise. Their texts may hold URLs and header values: none of them is passed on.
_BROKEN: Final = (requests.RequestException, HTTPError, http.client.HTTPException, OSError, ValueError)

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Limits:
    """What a request may cost.

    In seconds: `connect`; `total`, the whole request with its reply; `longest_wait`, what a thread waits for a server that asks
    to be left alone; `longest_closed`, after which a server is asked again, whatever it said. `reply_bytes` count before and
    after decompression; `attempts` are for reading; `pool` connections stay open; `concurrent` requests are under way at once.
    The time for looking up the host's name is the system's to limit.
    """

    connect: float = 10
    total: float = 120
    reply_bytes: int = 64_000_000
    attempts: int = 4
    longest_wait: float = 60
    longest_closed: float = 3600
    pool: int = 8
    concurrent: int = 4


class RestServer:
    """A FHIR server at a base URL, as `server.FhirServer` has it. Shared by threads; `close` it, or use it in a `with`.

    Reading is repeated here, with full jitter and as the server's Retry-After has it; `submit` goes out once, for only the
    outbox can tell what became of the first. `allow_local`: it may be on this machine or in a private network.
    """

    def __init__(
        self,
        base: str,
        access: Access = Access(),  # noqa: B008  # frozen
        limits: Limits = Limits(),
        *,
        allow_local: bool = True,
        sleep: Callable[[float], None] = time.sleep,
        clock: Clock = time.monotonic,
        now: Clock = time.time,
    ) -> None:
        """Sends nothing. Raises Usage: sync-address, sync-credentials (they are another server's, or no header can carry
        them), sync-key or sync-tls (a file is not what it should be)."""
        self._base = origins.base_url(base)
        origins.check_host(self._base, allow_local=allow_local)
        self._limits = limits
        self._sleep = sleep
        self._now = now
        self._auth = authorization(access, self._base, self._send_for_token, clock=clock, now=now)
        self._wire = _Wire(self._base, access, limits, allow_local=allow_local, sleep=sleep, clock=clock, now=now)

    def __enter__(self) -> RestServer:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections that are kept open."""
        self._wire.close()

    @property
    def base(self) -> str:
        return self._base

    def capabilities(self) -> Resource:
        return self._get(f"{self._base}/metadata", "CapabilityStatement")

    def read(self, resource_type: str, resource_id: str) -> Resource | None:
        url = f"{self._base}/{_legal(_TYPE, resource_type)}/{_legal(_ID, resource_id)}"

        def attempt() -> Resource | None:
            reply = self._send("GET", url)
            # A gateway that has lost the server says so in a web page; only the server knows that a resource is not there.
            if reply.status in (404, 410) and reply.media_type != "text/html":
                return None
            return self._resource(reply, resource_type)

        return self._repeated(attempt)

    def search(self, resource_type: str, criteria: Criteria) -> Resource:
        url = f"{self._base}/{_legal(_TYPE, resource_type)}/_search"
        form = urlencode(list(criteria)).encode()
        return self._repeated(lambda: self._resource(self._send("POST", url, form, {"Content-Type": _FORM}), "Bundle"))

    def everything(self, patient_id: str) -> Resource:
        return self._get(f"{self._base}/Patient/{_legal(_ID, patient_id)}/$everything?_count={PAGE}", "Bundle")

    def page(self, url: str) -> Resource:
        if not origins.is_below(url, self._base):
            raise replies.foreign_page(url, self._base)
        return self._get(url, "Bundle")

    def submit(self, bundle: Resource) -> Resource:
        headers = {"Content-Type": _FHIR, "Prefer": "return=representation"}
        return self._resource(self._send("POST", self._base, json.dumps(bundle), headers), "Bundle")

    def _get(self, url: str, resource_type: str) -> Resource:
        return self._repeated(lambda: self._resource(self._send("GET", url), resource_type))

    def _repeated(self, attempt: Callable[[], _T]) -> _T:
        for number in range(self._limits.attempts - 1):
            try:
                return attempt()
            except ServerUnavailable as lost:
                if (lost.retry_after or 0) > self._limits.longest_wait:
                    raise
            self._sleep(backoff(number, cap=self._limits.longest_wait, random=random.random))
        return attempt()

    def _resource(self, reply: Reply, resource_type: str) -> Resource:
        problem = self._problem(reply)
        if problem:
            raise problem
        return replies.resource(reply, resource_type, self._limits.reply_bytes)

    def _problem(self, reply: Reply) -> CasebridgeError | None:
        return replies.failure(reply, self._limits.reply_bytes, self._now())

    def _send(self, method: str, url: str, body: bytes | None = None, headers: Mapping[str, str] | None = None) -> Reply:
        """The reply, whatever its status; the second one where the first was 401 and the login could be renewed."""
        plain = {"Accept": _FHIR, **(headers or {})}
        secret = self._auth.header()
        reply = self._wire.send(method, url, body, {**plain, **secret})
        if reply.status == 401 and self._auth.refresh(secret):
            reply = self._wire.send(method, url, body, {**plain, **self._auth.header()})
        return reply

    def _send_for_token(self, url: str, form: Mapping[str, str] | None) -> Reply:
        headers = {"Accept": "application/json"}
        if form is None:
            reply = self._wire.send("GET", url, None, headers)
        else:
            reply = self._wire.send("POST", url, urlencode(form).encode(), {**headers, "Content-Type": _FORM})
        problem = self._problem(reply)
        if isinstance(problem, ServerUnavailable):
            raise problem
        return reply


def _legal(pattern: re.Pattern[str], text: str) -> str:
    """The text, where it may stand in a path: another would lead elsewhere. http://hl7.org/fhir/R4/datatypes.html#id"""
    if pattern.fullmatch(text):
        return text
    issue = Issue("error", "value", "sync-id", "a resource is asked for by a type or id that FHIR does not allow")
    raise ServerRefused([issue.at(fix="check the reference that it was taken from")])


# The wire -----------------------------------------------------------------------------------------------------------

_under_way: ContextVar[Exchange] = ContextVar("exchange")


class _Watched(HTTPConnection):
    """A connection whose socket is opened, judged and shut by the request that is under way in this thread."""

    def _new_conn(self) -> socket.socket:
        return _under_way.get().connect(self._dns_host, self.port or origins.PORTS["http"])

    def request(self, *args: Any, **options: Any) -> None:
        if self.sock is not None:
            _under_way.get().hold(self.sock)
        super().request(*args, **options)

    def send(self, data: Any) -> None:
        super().send(data)
        # The first piece is the head. Until all of it is out the server has no request, and can carry none out.
        _under_way.get().sent = True


class _WatchedTls(_Watched, HTTPSConnection):
    pass


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Watched


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _WatchedTls


class _Adapter(HTTPAdapter):
    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, **options)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}


class _Session(requests.Session):
    def get_redirect_target(self, resp: requests.Response) -> None:
        """None: even where it is told not to follow a redirect, requests would read its body, without a limit."""


@dataclass(frozen=True, slots=True)
class _Request:
    method: str
    url: str
    body: bytes | None = field(repr=False)
    headers: dict[str, str] = field(repr=False)
    own: bool  # to the origin of the base, which alone may see the client certificate

    @property
    def server(self) -> origins.Origin:
        return origins.origin(self.url)


class _Wire:
    """Single requests: each when the server may be asked, within the deadline, with secrets to the base's origin only."""

    def __init__(
        self,
        base: str,
        access: Access,
        limits: Limits,
        *,
        allow_local: bool,
        sleep: Callable[[float], None],
        clock: Clock,
        now: Clock,
    ) -> None:
        self._origin = origins.origin(base)
        self._header = dict([access.header] if access.header else [])
        self._verify: str | bool = str(access.ca_file) if access.ca_file else True
        self._cert = (str(access.client_cert), str(access.client_key or access.client_cert)) if access.client_cert else None
        self._limits = limits
        self._allow_local = allow_local
        self._sleep = sleep
        self._now = now
        self._gate = Gate(clock)
        self._slots = threading.BoundedSemaphore(limits.concurrent)
        self._session = _open_session(limits)

    def close(self) -> None:
        self._session.close()

    def send(self, method: str, url: str, body: bytes | None, headers: Mapping[str, str]) -> Reply:
        """The reply, whatever its status. Raises ServerUnavailable and ServerRefused where none came, and where the request
        succeeded but its reply is broken."""
        own = origins.origin(url) == self._origin
        every = {"Cache-Control": "no-cache", "X-Request-ID": str(uuid.uuid4()), **(self._header if own else {})}
        request = _Request(method, url, body, {**headers, **every}, own)
        with self._turn(request.server):
            reply = self._fetch_afresh(request)
        wait = retry_after(reply.headers.get("retry-after"), self._now())
        if reply.status in replies.PASSING and wait:
            self._gate.close(request.server, min(wait, self._limits.longest_closed))
        return reply

    @contextmanager
    def _turn(self, server: origins.Origin) -> Iterator[None]:
        """Waits until fewer requests are under way and the server may be asked, but not longer than it is worth a thread."""
        if not self._slots.acquire(timeout=self._limits.total):
            raise replies.too_busy(server, None)
        try:
            while left := self._gate.left(server):
                if left > self._limits.longest_wait:
                    raise replies.too_busy(server, left)
                self._sleep(left)
            yield
        finally:
            self._slots.release()

    def _fetch_afresh(self, request: _Request) -> Reply:
        """The reply; by a new connection where the one from the pool was dead before the request had gone out."""
        exchange, found = self._fetch(request)
        if exchange.reused and not exchange.sent and not exchange.late and not isinstance(found, Reply):
            _, found = self._fetch(request)
        if isinstance(found, Reply):
            return found
        raise found  # here, where no exception of requests hangs on it

    def _fetch(self, request: _Request) -> tuple[Exchange, Reply | CasebridgeError]:
        limits = self._limits
        connect = min(limits.connect, limits.total)
        exchange = Exchange(seconds=limits.total, connect=connect, allow_local=self._allow_local)
        before = _under_way.set(exchange)
        found: Reply | CasebridgeError
        try:
            with exchange:
                found = self._reply(request)
        except CasebridgeError as problem:
            found = problem
        except _BROKEN as error:
            found = self._lost(error, exchange.sent, request.server)
        finally:
            _under_way.reset(before)
        return exchange, replies.late(request.server, limits.total, exchange.sent) if exchange.late else found

    def _reply(self, request: _Request) -> Reply:
        response = self._session.request(
            request.method,
            request.url,
            data=request.body,
            headers=request.headers,
            # The exchange keeps the time; a read timeout runs anew with each byte, and only ends what the timer left over.
            timeout=(self._limits.connect, self._limits.total + 1),
            allow_redirects=False,
            stream=True,
            verify=self._verify,
            cert=self._cert if request.own else None,
        )
        with response:
            if response.status_code < 200:
                # Early hints and the like: the answer comes after it, and would be taken for that to the next request.
                raise replies.garbled("it is not final")
            headers = {name.lower(): value for name, value in response.headers.items()}
            asked = request.headers["X-Request-ID"]
            return Reply(response.status_code, headers, self._body(response), request.server, asked)

    def _body(self, response: requests.Response) -> bytes:
        """The body, whole where the request succeeded: of an error's, nothing is needed so much."""
        encoding = response.headers.get("Content-Encoding", "").strip().lower()
        chunks = iter(lambda: response.raw.read(_CHUNK, decode_content=False), b"")
        try:
            return replies.unpacked(chunks, encoding, self._limits.reply_bytes)
        except (ServerUnavailable, *_BROKEN):
            if response.status_code < 300:
                raise
            return b""

    def _lost(self, error: Exception, sent: bool, server: origins.Origin) -> CasebridgeError:
        """What to say where no reply came."""
        tls = _cause(error, ssl.SSLError)
        if isinstance(tls, ssl.SSLError) and replies.is_refusal(tls, sent):
            return replies.bad_tls(server, tls)
        if sent:
            return replies.broken_off(server)
        why = next((text for kind, text in _UNREACHED.items() if _cause(error, kind)), "the connection failed")
        return replies.unreached(server, why)


_UNREACHED: Final[dict[type[Exception], str]] = {
    socket.gaierror: "its host name is not known",
    ConnectionRefusedError: "nothing listens there",
    TimeoutError: "it did not answer in time",
}


def _cause(error: BaseException, kind: type[BaseException]) -> BaseException | None:
    """The exception of this kind that lies under an error, however requests and urllib3 have wrapped it."""
    open_ones, seen = [error], set()
    while open_ones:
        each = open_ones.pop()
        if isinstance(each, kind):
            return each
        if id(each) not in seen:
            seen.add(id(each))
            inside = (*each.args, getattr(each, "reason", None), each.__cause__, each.__context__)
            open_ones += [found for found in inside if isinstance(found, BaseException)]
    return None


def _open_session(limits: Limits) -> requests.Session:
    session = _Session()
    # No proxy, .netrc or certificate bundle of the environment: they would lead secrets and patients past what was set here.
    session.trust_env = False
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    session.headers.update({"User-Agent": f"casebridge/{__version__}", "Accept-Encoding": "gzip"})
    for scheme in ("http://", "https://"):
        session.mount(scheme, _Adapter(pool_connections=4, pool_maxsize=limits.pool, pool_block=True))
    return session
