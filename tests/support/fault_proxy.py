"""A proxy in front of a real FHIR server, with every fault of `http_faults` on demand."""

from __future__ import annotations

from contextlib import closing
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Final
from urllib.parse import urlsplit

from tests.support.http_faults import FaultyServer
from tests.support.loopback import PATIENCE, Reply, Request, outcome_reply

# Between two neighbours only: https://www.rfc-editor.org/rfc/rfc9110#section-7.6.1
_HOP: Final = frozenset(
    {"connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "proxy-authorization", "proxy-authenticate"}
)
# What the proxy sets anew, or could not read if the two ends agreed on it.
_OWN: Final = frozenset({"content-length", "accept-encoding", "date", "server"})


class FaultProxy(FaultyServer):
    """The proxy on a free port of loopback, its path that of `upstream`, the base URL of the true server.

    It passes the Host header on, so that a server which makes its links from that sends the client back here.
    """

    def __init__(self, upstream: str) -> None:
        parts = urlsplit(upstream.rstrip("/"))
        super().__init__(parts.path)
        self._upstream = parts

    def answer(self, request: Request) -> Reply:
        kind = HTTPSConnection if self._upstream.scheme == "https" else HTTPConnection
        headers = {name: value for name, value in request.headers.items() if name not in _HOP | _OWN}
        with closing(kind(self._upstream.netloc, timeout=PATIENCE)) as connection:
            try:
                connection.request(request.method, request.path, request.body or None, headers)
                answer = connection.getresponse()
                body = answer.read()
            except (OSError, HTTPException):
                return outcome_reply(502, "the server behind the proxy gave no answer")
        return Reply(
            answer.status, {name: value for name, value in answer.getheaders() if name.lower() not in _HOP | _OWN}, body
        )
