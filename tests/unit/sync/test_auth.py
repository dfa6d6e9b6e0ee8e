"""Ways in: what goes into headers, how tokens are fetched, and what never shows."""

from __future__ import annotations

import base64
import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from joserfc import jwk, jwt

from service.config import Access
from service.errors import ServerRefused, ServerUnavailable, Usage
from service.fhir import json
from service.sync import origins
from service.sync.auth import ASSERTION, Smart, authorization
from service.sync.replies import Reply

BASE = "https://fhir.example/R4"
TOKENS = "https://login.example/token"
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC = ec.generate_private_key(ec.SECP384R1())
NOW = 1_800_000_000


def pem(key: Any, form: serialization.PrivateFormat = serialization.PrivateFormat.PKCS8, password: bytes = b"") -> bytes:
    lock = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    text: bytes = key.private_bytes(serialization.Encoding.PEM, form, lock)
    return text


class Tokens:
    """A token server in memory: `replies` are given in turn, the last for ever."""

    def __init__(self, *replies: tuple[int, Any]) -> None:
        self.replies = list(replies) or [(200, token("one")), (200, token("two")), (200, token("three"))]
        self.asked: list[tuple[str, Mapping[str, str] | None]] = []

    def __call__(self, url: str, form: Mapping[str, str] | None) -> Reply:
        self.asked.append((url, form))
        status, body = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        raw = body if isinstance(body, bytes) else json.dumps(body)
        return Reply(status, {"content-type": "application/json"}, raw, origins.origin(url))


def token(text: object, **more: Any) -> dict[str, Any]:
    return {"access_token": text, "token_type": "Bearer", "expires_in": 300, **more}


@pytest.fixture
def access(tmp_path: Path) -> Access:
    return smart(tmp_path, pem(RSA))


def smart(folder: Path, key: bytes, **more: Any) -> Access:
    path = folder / "key"
    path.write_bytes(key)
    return Access(smart_client="casebridge", smart_key=path, smart_token_url=TOKENS, **more)


def enter(access: Access, tokens: Tokens, clock: Any = lambda: 0.0) -> Smart:
    found = authorization(access, BASE, tokens, clock=clock, now=lambda: float(NOW))
    assert isinstance(found, Smart)
    return found


# Fixed ways in --------------------------------------------------------------------------------------------------------


def test_nothing_is_sent_where_nothing_is_set() -> None:
    nothing = authorization(Access(), BASE, Tokens())
    assert nothing.header() == {}
    assert nothing.refresh({}) is False


def test_password_is_sent_in_utf8() -> None:
    header = authorization(Access(basic=("jörg", "pass:wörd")), BASE, Tokens()).header()["Authorization"]
    kind, _, text = header.partition(" ")
    assert (kind, base64.b64decode(text).decode()) == ("Basic", "jörg:pass:wörd")


def test_bearer_token_is_sent_as_it_is_and_cannot_be_renewed() -> None:
    way = authorization(Access(bearer="abc.def-_~+/=="), BASE, Tokens())
    assert way.header() == {"Authorization": "Bearer abc.def-_~+/=="}
    assert way.refresh(way.header()) is False


@pytest.mark.parametrize(
    "access",
    [
        Access(bearer="SECRET\r\nX-Evil: 1"),
        Access(bearer="SECRET two"),
        Access(bearer="SECRETé"),
        Access(basic=("us:er", "SECRET")),
        Access(header=("X-Key", "SECRET\r\nX-Evil: 1")),
        Access(header=("X-Key", "SECRETé")),
        Access(header=("X Key", "SECRET")),
        Access(header=("Host", "SECRET")),
        Access(header=("content-length", "5")),
        Access(header=("AUTHORIZATION", "SECRET"), bearer="SECRET"),
        Access(server="https://other.example/R4", bearer="SECRET"),
        Access(server="https://fhir.example:8443/R4", basic=("u", "SECRET")),
        Access(server="http://fhir.example/R4", header=("X-Key", "SECRET")),
        Access(server="https://fhir.example.evil.example", smart_client="SECRET"),
        Access(server="no address", client_cert=Path("SECRET")),
    ],
)
def test_credentials_that_cannot_be_sent_or_are_for_another_server_are_refused(access: Access) -> None:
    with pytest.raises(Usage) as caught:
        authorization(access, BASE, Tokens())
    assert caught.value.issues[0].rule == "sync-credentials"
    assert "SECRET" not in f"{caught.value}{caught.value.issues}"


@pytest.mark.parametrize(
    "access",
    [
        Access(server="https://other.example/R4"),
        Access(server="https://FHIR.example:443/another/base", bearer="token"),
        Access(bearer="token", header=("X-API-Key", "key with blanks")),
        Access(header=("Authorization", "ApiKey abc")),
    ],
)
def test_credentials_of_this_server_are_taken(access: Access) -> None:
    authorization(access, BASE, Tokens())


@pytest.mark.parametrize(
    "access",
    [
        Access(ca_file=Path("absent")),
        Access(ca_file=Path("junk")),
        Access(client_cert=Path("junk")),
        Access(client_key=Path("junk")),
    ],
)
def test_files_for_tls_that_are_none_are_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, access: Access
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "junk").write_text("SECRET")
    with pytest.raises(Usage) as caught:
        authorization(access, BASE, Tokens())
    assert caught.value.issues[0].rule == "sync-tls"
    assert "SECRET" not in str(caught.value.issues)


# SMART Backend Services -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [
        (pem(RSA), "RS384"),
        (pem(RSA, serialization.PrivateFormat.TraditionalOpenSSL), "RS384"),
        (pem(EC), "ES384"),
        (pem(EC, serialization.PrivateFormat.TraditionalOpenSSL), "ES384"),
        (json.dumps(jwk.RSAKey.import_key(RSA).as_dict(private=True)), "RS384"),
        (json.dumps({"keys": [jwk.ECKey.import_key(EC).as_dict(private=True)]}), "ES384"),
    ],
)
def test_assertion_is_what_smart_demands(tmp_path: Path, key: bytes, algorithm: str) -> None:
    tokens = Tokens()
    assert enter(smart(tmp_path, key), tokens).header() == {"Authorization": "Bearer one"}
    ((url, form),) = tokens.asked
    assert form
    assert url == TOKENS
    assert form["grant_type"] == "client_credentials"
    assert form["scope"] == "system/*.*"
    assert form["client_assertion_type"] == ASSERTION
    public = jwk.RSAKey.import_key(RSA) if algorithm == "RS384" else jwk.ECKey.import_key(EC)
    found = jwt.decode(form["client_assertion"], public, algorithms=[algorithm])
    assert found.header == {"alg": algorithm, "typ": "JWT", "kid": public.thumbprint()}
    claims = found.claims
    assert claims["iss"] == claims["sub"] == "casebridge"
    assert claims["aud"] == TOKENS
    assert NOW < claims["exp"] <= NOW + 300
    assert len(claims["jti"]) == 36


def test_key_of_a_set_is_chosen_by_its_id_and_each_assertion_is_new(tmp_path: Path) -> None:
    keys: list[jwk.Key] = [jwk.RSAKey.import_key(RSA, {"kid": "a"}), jwk.ECKey.import_key(EC, {"kid": "b"})]
    text = json.dumps({"keys": [key.as_dict(private=True) for key in keys]})
    tokens = Tokens()
    way = enter(smart(tmp_path, text, smart_key_id="b"), tokens)
    way.refresh(way.header())
    way.header()
    found = [jwt.decode(form["client_assertion"], keys[1], algorithms=["ES384"]) for _, form in tokens.asked if form]
    assert [each.header["kid"] for each in found] == ["b", "b"]
    assert found[0].claims["jti"] != found[1].claims["jti"]


def test_token_is_kept_until_a_minute_before_it_ends(access: Access) -> None:
    at = [0.0]
    tokens = Tokens()
    way = enter(access, tokens, lambda: at[0])
    for moment in (0.0, 239.9):
        at[0] = moment
        assert way.header() == {"Authorization": "Bearer one"}
    at[0] = 240
    assert way.header() == {"Authorization": "Bearer two"}


@pytest.mark.parametrize(("life", "kept"), [(80, 40), (None, 240), (-3, 240), ("soon", 240), (10**12, 240)])
def test_odd_lives_of_tokens_are_survived(access: Access, life: Any, kept: float) -> None:
    at = [0.0]
    way = enter(access, Tokens((200, token("one", expires_in=life)), (200, token("two"))), lambda: at[0])
    way.header()
    at[0] = kept - 0.1
    assert way.header() == {"Authorization": "Bearer one"}
    at[0] = kept
    assert way.header() == {"Authorization": "Bearer two"}


def test_rejected_token_is_replaced_once_for_all_threads(access: Access) -> None:
    tokens = Tokens()
    way = enter(access, tokens)
    old = way.header()
    assert way.refresh(old)
    assert way.header() == {"Authorization": "Bearer two"}
    assert way.refresh(old)  # another thread's request, made with the old token
    assert way.header() == {"Authorization": "Bearer two"}
    assert len(tokens.asked) == 2


def test_threads_that_need_a_token_at_once_fetch_one(access: Access) -> None:
    tokens = Tokens()
    way = enter(access, tokens)
    found: list[dict[str, str]] = []
    barrier = threading.Barrier(8)

    def work() -> None:
        barrier.wait()
        found.append(way.header())

    threads = [threading.Thread(target=work) for _ in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert found == [{"Authorization": "Bearer one"}] * 8
    assert len(tokens.asked) == 1


def test_token_endpoint_is_discovered_once(access: Access) -> None:
    tokens = Tokens((200, {"token_endpoint": TOKENS}), (200, token("one")), (200, token("two")))
    way = enter(replace(access, smart_token_url=None), tokens)
    way.refresh(way.header())
    way.header()
    urls = [(url, form is None) for url, form in tokens.asked]
    assert urls == [(f"{BASE}/.well-known/smart-configuration", True), (TOKENS, False), (TOKENS, False)]


@pytest.mark.parametrize("status_body", [(404, {}), (200, {}), (200, {"token_endpoint": 5})])
def test_no_token_endpoint_is_said(access: Access, status_body: tuple[int, Any]) -> None:
    way = enter(replace(access, smart_token_url=None), Tokens(status_body))
    with pytest.raises(ServerRefused, match="names no token endpoint") as caught:
        way.header()
    assert caught.value.issues[0].rule == "sync-token"


@pytest.mark.parametrize(
    "url", ["http://login.example/token", "file:///etc/passwd", "https://u:SECRET@login.example/", "token"]
)
def test_assertion_goes_nowhere_unencrypted(access: Access, url: str) -> None:
    tokens = Tokens((200, {"token_endpoint": url}))
    with pytest.raises(Usage) as named:
        enter(replace(access, smart_token_url=url), Tokens())
    with pytest.raises(ServerRefused) as discovered:
        enter(replace(access, smart_token_url=None), tokens).header()
    for issues in (named.value.issues, discovered.value.issues):
        assert issues[0].rule == "sync-token"
        assert "SECRET" not in str(issues)
    assert all(form is None for _, form in tokens.asked)


def test_token_endpoint_beside_an_unencrypted_server_is_taken(access: Access) -> None:
    tokens = Tokens()
    local = "http://127.0.0.1:8080"
    way = authorization(replace(access, smart_token_url=f"{local}/token"), f"{local}/fhir", tokens)
    assert way.header() == {"Authorization": "Bearer one"}


@pytest.mark.parametrize(
    ("reply", "told"),
    [
        ((400, {"error": "invalid_client", "error_description": "SECRET"}), "status 400 (invalid_client)"),
        ((401, {"error": "SECRET"}), "status 401"),
        ((403, b"<html>SECRET"), "status 403"),
        ((302, b""), "status 302"),
    ],
)
def test_refusal_of_a_token_is_said_in_safe_words(access: Access, reply: tuple[int, Any], told: str) -> None:
    with pytest.raises(ServerRefused) as caught:
        enter(access, Tokens(reply)).header()
    assert caught.value.issues[0].text == f"the token server gave no token: {told}"
    assert caught.value.status == reply[0]
    assert "SECRET" not in str(caught.value.issues)


@pytest.mark.parametrize(
    "answer", [{}, b"SECRET", [], token(""), token("SECRET\r\nX: y"), token("x", token_type="mac"), token(5)]
)
def test_answer_without_a_usable_token_is_no_answer(access: Access, answer: Any) -> None:
    with pytest.raises(ServerUnavailable) as caught:
        enter(access, Tokens((200, answer))).header()
    assert caught.value.sent is False  # of what the token was for
    assert "SECRET" not in str(caught.value.issues)


@pytest.mark.parametrize(
    "key",
    [
        b"",
        b"SECRET",
        b"{}",
        b'{"keys": []}',
        b'{"kty": "RSA", "n": "SECRET"}',
        b'{"kty": "oct", "k": "U0VDUkVU"}',
        b"-----BEGIN PRIVATE KEY-----\nSECRET\n-----END PRIVATE KEY-----\n",
        pem(RSA, password=b"SECRET"),
        pem(rsa.generate_private_key(public_exponent=65537, key_size=1024)),
        pem(ec.generate_private_key(ec.SECP256R1())),
        RSA.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo),
        json.dumps(jwk.ECKey.import_key(EC).as_dict(private=False)),
        b"\xff\xfe\x00",
    ],
)
def test_key_file_that_cannot_sign_is_refused_without_being_shown(tmp_path: Path, key: bytes) -> None:
    with pytest.raises(Usage) as caught:
        enter(smart(tmp_path, key), Tokens())
    assert caught.value.issues[0].rule == "sync-key"
    assert "SECRET" not in f"{caught.value.issues}"
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_key_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(Usage, match="No such file"):
        authorization(Access(smart_client="c", smart_key=tmp_path / "absent"), BASE, Tokens())


def test_nothing_secret_is_in_a_repr(access: Access) -> None:
    way = enter(access, Tokens((200, token("SECRET"))))
    way.header()
    others = [authorization(Access(bearer="SECRET"), BASE, Tokens()), Access(bearer="SECRET", header=("X", "SECRET"))]
    assert "SECRET" not in repr([way, *others])
