"""The synchronisation of this process: the servers that it may be told to use, its outbox, and the threads that send."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from flask import current_app

from service.api.errors import Unready
from service.api.pulls import Pulls
from service.config import Access, Settings
from service.errors import CasebridgeError, ServerUnavailable, Usage
from service.issues import Issue
from service.sync import origins
from service.sync.server import FhirServer

if TYPE_CHECKING:
    from service.sync.outbox import Outbox

# Makes the server at a base URL. Raises Usage where it may not be asked, or not in this way.
Connect = Callable[[str, Access], FhirServer]

# Threads that send to one server; its own limit on requests at once bounds them as well.
_THREADS: Final = 4
# In seconds. Longer than a request and what follows it take: who waits for a slow server keeps its job.
_LEASE: Final = 180.0
_OPEN_AGAIN: Final = 5.0

_log = logging.getLogger(__name__)


@dataclass
class Sync:
    """`servers`: by base URL; `default`: the one that is meant where none is named. `stopping` is set once and for all.

    `busy_seconds`: how long a request waits for an outbox that another process holds.
    """

    settings: Settings
    servers: Mapping[str, FhirServer]
    default: str | None
    stopping: threading.Event
    pulls: Pulls
    busy_seconds: float = 10.0
    _outbox: Outbox | None = field(default=None, repr=False)
    _threads: list[threading.Thread] = field(default_factory=list, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def named(self, url: str | None) -> str | None:
        """The base URL of the server that a request means, None where it names none and there is no default.

        Raises Usage for any that this service was not told that it may use, before anything is sent there.
        """
        base = self.default if url is None else origins.base_url(url)
        if base is not None and base not in self.servers:
            text, fix = "this service may not use this server", "leave it out, or have it added to CASEBRIDGE_SERVERS"
            raise Usage([Issue("error", "security", "sync-server", text, fix=fix)])
        return base

    def server(self, base: str | None) -> FhirServer:
        """The server that `named` gave. Raises Usage where it gave none."""
        if base is None:
            text, fix = "no FHIR server is configured", "set CASEBRIDGE_SERVER to its base URL, and start the service again"
            raise Usage([Issue("error", "not-supported", "sync-no-server", text, fix=fix)])
        return self.servers[base]

    def ask(self, base: str | None) -> FhirServer:
        """The same, to be asked at once. Raises ServerUnavailable while it is to be left alone."""
        server, now = self.server(base), time.time()
        until = self.outbox().held(server.base, now)
        if until is not None:
            text = "the server asked to be left alone, or refused all that it was sent"
            issue = Issue("error", "throttled", "sync-busy", text, fix="try again later")
            raise ServerUnavailable([issue], retry_after=until - now)
        return server

    def outbox(self) -> Outbox:
        """The outbox, opened by the first who asks. Raises CasebridgeError, and not Usage, where that cannot be done."""
        from service.sync.outbox import default_url, open_outbox

        with self._lock:
            if self._outbox is None:
                url = self.settings.database or default_url(self.settings.home)
                most = self.settings.most_jobs
                try:
                    self._outbox = open_outbox(url, most_open=most, busy_seconds=self.busy_seconds, lease_seconds=_LEASE)
                except Usage as error:
                    raise CasebridgeError(error.issues) from None
            return self._outbox

    def must_go_on(self) -> None:
        """Raises Unready once the service is about to end."""
        if self.stopping.is_set():
            text = "the service is stopping, and takes no new work"
            raise Unready([Issue("error", "transient", "sync-stopping", text, fix="send it again in a moment")])

    def must_be_reachable(self) -> None:
        """Raises Unready where the outbox cannot be read."""
        try:
            self.outbox().last_run()
        except CasebridgeError as error:
            _log.error("the outbox cannot be read: %s", error)
            text, fix = "the outbox cannot be read", "its operator finds the reason in the log of the service"
            raise Unready([Issue("error", "transient", "sync-outbox", text, fix=fix)]) from None

    # --- the threads ------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begins to send what lies in the outbox for these servers, whoever accepted it. Not before a fork."""
        if not self._threads:
            self._threads = [
                threading.Thread(target=self._send, args=(base,), name=f"push-{number}", daemon=True)
                for base in self.servers
                for number in range(_THREADS)
            ]
            for thread in self._threads:
                thread.start()

    def stop(self, seconds: float) -> None:
        """Waits for the jobs in hand, but no longer than that: whatever is not done is safe in the outbox."""
        self.stopping.set()
        end = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(end - time.monotonic(), 0.0))
        self.pulls.end(max(end - time.monotonic(), 0.0))
        with self._lock:
            if self._outbox is not None:
                self._outbox.close()

    def _send(self, base: str) -> None:
        from service.sync.worker import Drain

        while not self.stopping.is_set():
            try:
                drain = Drain(self.outbox(), self.servers.__getitem__, target=base, stop=self.stopping)
                drain.forever()
            except CasebridgeError as error:
                _log.error("the outbox cannot be opened: %s", error)
                self.stopping.wait(_OPEN_AGAIN)


def open_sync(settings: Settings, connect: Connect | None = None) -> Sync:
    """The synchronisation for these settings; nothing is opened and nobody asked yet. Raises Usage for a server that may not be
    asked, or not with what is configured for it: a service that could not deliver what it takes must not start."""
    servers: dict[str, FhirServer] = {}
    for url, access in settings.reachable():
        base = origins.base_url(url)
        if base not in servers:
            servers[base] = (connect or _by_http)(base, access)
    default = origins.base_url(settings.access.server) if settings.access.server else None
    stopping = threading.Event()
    return Sync(settings, servers, default, stopping, Pulls(settings.home / "pulled", stopping))


def _by_http(base: str, access: Access) -> FhirServer:
    from service.sync.rest import Limits, RestServer

    # A request waits for the answer, and the outbox for everything else: no thread does.
    return RestServer(base, access, Limits(total=60, attempts=2, longest_wait=5))


def sync() -> Sync:
    """The synchronisation of the app that answers the present request."""
    found = current_app.extensions["casebridge-sync"]
    assert isinstance(found, Sync)
    return found
