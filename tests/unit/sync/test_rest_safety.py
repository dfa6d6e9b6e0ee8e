"""The FHIR server over HTTP: where nothing goes, and what nobody sees."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from joserfc import jwk

from service.config import Access
from service.errors import Usage
from service.fhir import json
from service.sync.rest import Limits, RestServer
from tests.support.loopback import Reply, Request, fhir_reply
from tests.support.rest_client import (
    BUNDLE,
    PATIENT,
    SECRETS,
    TRANSACTION,
    Simple,
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


# Where nothing goes ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirect_is_not_followed(simple: Simple, status: int) -> None:
    with Simple() as other, rest(simple.base, SECRETS) as server:
        simple.status(status, {"Location": f"{other.base}/x?SECRET"}, times=None)
        for act in (lambda: server.submit(TRANSACTION), server.capabilities):
            error = refusal(act)
            assert (error.status, rule(error)) == (status, "sync-redirect")
            assert error.issues[0].text.endswith(f"it redirects to {other.origin}")
        assert other.journal == []
    assert [request.method for request in simple.journal] == ["POST", "GET"]


@pytest.mark.parametrize("location", ["https://user:SECRET@evil.example/", "/SECRET", "javascript:SECRET", ""])
def test_address_of_a_redirect_is_shown_only_where_it_is_safe(simple: Simple, location: str) -> None:
    simple.status(302, {"Location": location})
    with rest(simple.base) as server:
        assert refusal(server.capabilities).issues[0].text.endswith("it redirects")


def test_body_of_a_redirect_is_capped_too(simple: Simple, monkeypatch: pytest.MonkeyPatch) -> None:
    simple.fault(status=302, headers={"Location": "/x", "Content-Encoding": "gzip"}, body=bomb(50_000_000))
    made = count_inflated(monkeypatch)
    # What requests itself reads by, packed or not, without a limit.
    monkeypatch.setattr(requests.Response, "content", property(lambda _: pytest.fail("the whole body was read")))
    with rest(simple.base, limits=Limits(reply_bytes=1_000_000)) as server:
        assert refusal(server.capabilities).status == 302
    assert sum(made) < 2_000_000


def test_page_on_another_server_is_refused_in_plain_words(simple: Simple) -> None:
    with Simple(BUNDLE) as other, rest(simple.base, SECRETS) as server:
        error = refusal(lambda: server.page(f"{other.base}?_getpages=SECRET"))
        assert other.journal == []
        assert f"leads to {other.origin}, which is another server than {simple.origin}" in error.issues[0].text
    assert (error.status, rule(error)) == (0, "sync-next-link")
    assert "behind a proxy" in str(error.issues[0].fix)


@pytest.mark.parametrize(
    "url",
    [
        "http://evil.example/?{base}/Patient",
        "{base}.evil.example/",
        "{base}@evil.example/",
        "{origin}/other?SECRET",
        "{origin}/fhirs",
        "{base}/../SECRET",
        "{base}/%2e%2e/SECRET",
        "//evil.example/fhir",
        "/SECRET",
        "../SECRET",
        "file:///SECRET",
        "{base}\\@evil.example/SECRET",
        "{base}/\nSECRET",
    ],
)
def test_page_that_is_not_below_the_base_is_refused(simple: Simple, url: str) -> None:
    with rest(simple.base, SECRETS) as server:
        error = refusal(lambda: server.page(url.format(base=simple.base, origin=simple.origin)))
    assert (error.status, rule(error)) == (0, "sync-next-link")
    assert simple.journal == []


@pytest.mark.parametrize(
    "base",
    ["http://169.254.169.254/fhir", "http://0xa9fea9fe/", "http://[::]/", "ftp://a.example", "http://u:SECRET@a.example/"],
)
def test_forbidden_address_is_refused_at_once(base: str) -> None:
    with pytest.raises(Usage) as caught:
        RestServer(base)
    assert rule(caught.value) == "sync-address"
    assert "SECRET" not in f"{caught.value.issues}"


def test_address_on_this_machine_is_refused_where_it_is_not_allowed(simple: Simple) -> None:
    with pytest.raises(Usage, match="on this machine"):
        RestServer(simple.base, allow_local=False)
    named = simple.base.replace("127.0.0.1", "localhost")
    with rest(named, SECRETS, allow_local=False) as server:
        error = refusal(lambda: server.submit(TRANSACTION))
        assert (error.status, rule(error)) == (0, "sync-address")
    assert simple.journal == []
    with rest(named) as server:
        assert server.read("Patient", "p1") == PATIENT


def test_name_that_leads_to_a_forbidden_address_gets_no_packet(simple: Simple, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[Any] = []
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [_found("169.254.169.254"), _found("fe80::1")])
    monkeypatch.setattr(socket.socket, "connect", lambda _, address: tried.append(address))
    with rest(BASE, SECRETS) as server:
        assert rule(refusal(server.capabilities)) == "sync-address"
    assert tried == []


def test_of_several_addresses_only_allowed_ones_are_tried(simple: Simple, monkeypatch: pytest.MonkeyPatch) -> None:
    port = int(simple.origin.rpartition(":")[2])
    dead = socket.socket()
    dead.bind(("127.0.0.1", 0))
    found = [_found("169.254.169.254"), _found("127.0.0.1", dead.getsockname()[1]), _found("127.0.0.1", port)]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    with dead, rest("http://fhir.example/fhir") as server:
        assert server.read("Patient", "p1") == PATIENT
    assert simple.journal[0].headers["host"] == "fhir.example"


def _found(ip: str, port: int = 80) -> tuple[Any, ...]:
    family = socket.AF_INET6 if ":" in ip else socket.AF_INET
    return (family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (ip, port, 0, 0) if ":" in ip else (ip, port))


def test_peer_is_judged_again_before_a_byte_is_sent(simple: Simple, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket.socket, "getpeername", lambda _: ("169.254.169.254", 80), raising=False)
    with rest(simple.base, SECRETS) as server:
        assert rule(refusal(server.capabilities)) == "sync-address"
    assert simple.journal == []


# Secrets --------------------------------------------------------------------------------------------------------------


def test_secrets_go_with_each_request_to_the_base(simple: Simple) -> None:
    with rest(simple.base, SECRETS) as server:
        server.read("Patient", "p1")
    assert simple.journal[0].headers["authorization"] == "Bearer SECRET-TOKEN"
    assert simple.journal[0].headers["x-api-key"] == "SECRET-KEY"


def test_secrets_of_another_server_are_refused_before_anything_is_sent(simple: Simple) -> None:
    with pytest.raises(Usage) as caught:
        RestServer(simple.base, Access(server="http://127.0.0.1:1/fhir", bearer="SECRET"))
    assert rule(caught.value) == "sync-credentials"
    assert "SECRET" not in f"{caught.value.issues}"


def test_rejected_login_is_said_and_not_repeated(simple: Simple) -> None:
    simple.status(401, times=None)
    with rest(simple.base, SECRETS) as server:
        error = refusal(server.capabilities)
    assert (error.status, rule(error)) == (401, "sync-login")
    assert "CASEBRIDGE_SERVER_" in str(error.issues[0].fix)
    assert len(simple.journal) == 1


def test_no_secret_or_criterion_is_logged_or_shown(simple: Simple, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    simple.status(500, times=2)
    with rest(simple.base, SECRETS) as server:
        simple.resource = BUNDLE
        server.search("Patient", [("name", "SECRET")])
        assert "SECRET" not in repr([server, vars(server)])
    assert caplog.records
    assert "SECRET" not in caplog.text


class Smart(Simple):
    """A FHIR server that takes one token at a time, and its token endpoint."""

    def __init__(self) -> None:
        super().__init__()
        self.valid = "token-1"
        self.given = 0

    def answer(self, request: Request) -> Reply:
        if request.path == "/fhir/.well-known/smart-configuration":
            return Reply(200, {"Content-Type": "application/json"}, json.dumps({"token_endpoint": f"{self.origin}/token"}))
        if request.path == "/token":
            self.given += 1
            body = {"access_token": f"token-{self.given}", "token_type": "bearer", "expires_in": 300}
            return Reply(200, {"Content-Type": "application/json"}, json.dumps(body))
        if request.headers.get("authorization") != f"Bearer {self.valid}":
            return fhir_reply(401, {"resourceType": "OperationOutcome"})
        return super().answer(request)

    def paths(self) -> list[str]:
        return [request.path for request in self.journal]


@pytest.fixture
def smart() -> Iterator[Smart]:
    with Smart() as server:
        yield server


@pytest.fixture
def client(tmp_path: Path) -> Access:
    key = jwk.ECKey.generate_key("P-384")
    (tmp_path / "key.pem").write_bytes(key.as_pem(private=True))
    return Access(smart_client="casebridge", smart_key=tmp_path / "key.pem", header=("X-API-Key", "SECRET-KEY"))


def test_token_is_fetched_renewed_after_401_and_the_same_request_replayed(smart: Smart, client: Access) -> None:
    smart.resource = BUNDLE
    with rest(smart.base, client) as server:
        server.submit(TRANSACTION)
        smart.valid = "token-2"
        assert server.submit(TRANSACTION) == BUNDLE
    assert smart.paths() == ["/fhir/.well-known/smart-configuration", "/token", "/fhir", "/fhir", "/token", "/fhir"]
    assert smart.journal[3].body == smart.journal[5].body
    assert smart.journal[5].headers["authorization"] == "Bearer token-2"
    assert all("authorization" not in smart.journal[at].headers for at in (0, 1, 4))


def test_second_401_fails_clearly(smart: Smart, client: Access) -> None:
    smart.valid = "never"
    with rest(smart.base, client) as server:
        error = refusal(lambda: server.submit(TRANSACTION))
    assert (error.status, rule(error)) == (401, "sync-login")
    assert smart.paths()[1:] == ["/token", "/fhir", "/token", "/fhir"]


def test_failing_token_server_is_asked_again_for_reading_and_sends_no_bundle(smart: Smart, client: Access) -> None:
    smart.status(502, times=2, when=lambda request: request.path == "/token")
    with rest(smart.base, client) as server:
        error = absence(lambda: server.submit(TRANSACTION))
        assert (error.sent, rule(error)) == (False, "sync-busy")
        assert server.read("Patient", "p1") == PATIENT
    assert "/fhir" not in smart.paths()
