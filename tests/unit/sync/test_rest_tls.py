"""The FHIR server by TLS: who is trusted with what."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from service.config import Access
from service.errors import CasebridgeError
from service.sync.rest import Limits
from tests.support.loopback import Reply
from tests.support.rest_client import (
    BUNDLE,
    ONCE,
    PATIENT,
    SECRETS,
    TRANSACTION,
    Simple,
    absence,
    failing,
    refusal,
    rest,
    rule,
)

CURVE = ec.SECP256R1()


@pytest.fixture
def simple() -> Iterator[Simple]:
    with Simple() as server:
        yield server


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())


class Authority:
    """A certificate authority of the test's own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(CURVE)
        self._name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Test CA")])
        self.ca_file = folder / "ca.pem"
        self.ca_file.write_bytes(self._sign(self._name, self._key, None))

    def files(self, name: str, curve: ec.EllipticCurve = CURVE) -> tuple[Path, Path]:
        """A certificate for 127.0.0.1 and its key."""
        key = ec.generate_private_key(curve)
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        cert, secret = self._folder / f"{name}.pem", self._folder / f"{name}.key"
        cert.write_bytes(self._sign(subject, key, IPv4Address("127.0.0.1")))
        secret.write_bytes(_pem(key))
        return cert, secret

    def _sign(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, address: IPv4Address | None) -> bytes:
        now = datetime.now(UTC)
        built = x509.CertificateBuilder().subject_name(subject).issuer_name(self._name).public_key(key.public_key())
        built = built.serial_number(x509.random_serial_number())
        built = built.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
        built = built.add_extension(x509.BasicConstraints(ca=address is None, path_length=None), critical=True)
        if address:
            built = built.add_extension(x509.SubjectAlternativeName([x509.IPAddress(address)]), critical=False)
        return built.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


class TlsServer(Simple):
    """`Simple` by TLS, which asks each client for a certificate that the authority signed; with `demands`, it must have one.
    `shown`: whether each connection had one."""

    def __init__(self, authority: Authority, *, demands: bool = False) -> None:
        super().__init__()
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(*authority.files("server"))
        self._context.verify_mode = ssl.CERT_REQUIRED if demands else ssl.CERT_OPTIONAL
        self._context.load_verify_locations(authority.ca_file)
        self.shown: list[bool] = []

    @property
    def origin(self) -> str:
        return super().origin.replace("http:", "https:")

    def watch(self, connection: socket.socket) -> None:
        assert isinstance(connection, ssl.SSLSocket)
        self.shown.append(bool(connection.getpeercert()))
        super().watch(connection)

    def _bind(self, address: Any) -> None:
        super()._bind(address)
        self._socket = self._context.wrap_socket(self._socket, server_side=True)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def test_server_whose_authority_is_named_is_trusted(authority: Authority) -> None:
    with TlsServer(authority) as server, rest(server.base, Access(ca_file=authority.ca_file)) as client:
        for _ in range(2):
            assert client.read("Patient", "p1") == PATIENT
        server.resource = BUNDLE
        assert client.submit(TRANSACTION) == BUNDLE


def test_server_that_nobody_vouches_for_gets_nothing(authority: Authority) -> None:
    with TlsServer(authority) as server, rest(server.base, SECRETS) as client:
        error = refusal(lambda: client.submit(TRANSACTION))
        assert server.journal == []
    assert (error.status, rule(error)) == (0, "sync-tls")
    assert "CASEBRIDGE_SERVER_CA_FILE" in str(error.issues[0].fix)


def test_certificate_of_another_host_is_not_trusted(authority: Authority) -> None:
    with TlsServer(authority) as server:
        named = server.base.replace("127.0.0.1", "localhost")
        with rest(named, Access(ca_file=authority.ca_file)) as client:
            assert rule(refusal(client.capabilities)) == "sync-tls"


def test_client_certificate_opens_the_door(authority: Authority) -> None:
    cert, key = authority.files("client")
    with TlsServer(authority, demands=True) as server:
        with rest(server.base, Access(ca_file=authority.ca_file, client_cert=cert, client_key=key)) as client:
            assert client.read("Patient", "p1") == PATIENT
        with rest(server.base, Access(ca_file=authority.ca_file), ONCE) as client:
            error = failing(lambda: client.submit(TRANSACTION), CasebridgeError)
            # The server's alert may come before or after its reset, and before or after our request.
            assert rule(error) in ("sync-tls", "sync-lost", "sync-connect")
        assert len(server.journal) == 1


def test_plain_http_behind_https_is_said(simple: Simple) -> None:
    with rest(simple.base.replace("http:", "https:")) as server:
        assert rule(refusal(server.capabilities)) == "sync-tls"


def test_deadline_holds_within_tls(authority: Authority) -> None:
    with TlsServer(authority) as server, rest(server.base, Access(ca_file=authority.ca_file), Limits(total=0.5)) as client:
        server.drip()
        error = absence(lambda: client.submit(TRANSACTION))
    assert (error.sent, rule(error)) == (True, "sync-deadline")


def test_deadline_holds_before_tls_is_agreed_on() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        base = f"https://127.0.0.1:{silent.getsockname()[1]}"
        with rest(base, limits=Limits(total=0.3)) as server:
            error = absence(lambda: server.submit(TRANSACTION))
    assert (error.sent, rule(error)) == (False, "sync-deadline")


def test_token_server_elsewhere_gets_the_assertion_only(authority: Authority) -> None:
    with TlsServer(authority) as fhir, TlsServer(authority) as login:
        login.replies = [Reply(200, {"Content-Type": "application/json"}, b'{"access_token":"t","token_type":"Bearer"}')]
        cert, key = authority.files("client")
        access = Access(
            header=("X-API-Key", "SECRET-KEY"),
            smart_client="casebridge",
            smart_key=authority.files("smart", ec.SECP384R1())[1],
            smart_token_url=f"{login.origin}/token",
            ca_file=authority.ca_file,
            client_cert=cert,
            client_key=key,
        )
        with rest(fhir.base, access) as server:
            assert server.read("Patient", "p1") == PATIENT
        (asked,) = login.journal
        assert (fhir.shown, login.shown) == ([True], [False])
    assert "x-api-key" not in asked.headers
    assert "authorization" not in asked.headers
    assert parse_qs(asked.body.decode())["grant_type"] == ["client_credentials"]
    assert fhir.journal[0].headers["authorization"] == "Bearer t"
