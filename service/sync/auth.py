"""How requests are authorised: not at all, by password, by token, or as a SMART backend service.

http://hl7.org/fhir/R4/security.html#authentication
"""

from __future__ import annotations

import base64
import re
import ssl
import threading
import time
import uuid
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, Protocol

from joserfc import jwk, jwt
from joserfc.errors import JoseError

from service.config import Access
from service.errors import ServerRefused, ServerUnavailable, UnreadableInput, Usage
from service.fhir import json
from service.issues import Issue
from service.sync import origins
from service.sync.replies import Reply, garbled, read_json
from service.sync.waiting import Clock

# Sends a form to a URL by POST, or reads it where there is no form; nothing secret goes along. Gives any reply there is,
# and raises ServerUnavailable or ServerRefused where there is none.
Send = Callable[[str, Mapping[str, str] | None], Reply]

ASSERTION: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
# The longest that a client assertion may live, and how much earlier than it ends an access token is renewed; in seconds.
LIFE: Final = 300
EARLIER: Final = 60

_LIMIT: Final = 1_000_000
_HEADER: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
# What every request has already, or what says where it ends.
_OURS: Final = re.compile(
    "accept|accept-encoding|cache-control|connection|content-.*|cookie|host|prefer|te|transfer-encoding|user-agent|x-request-id"
)
# https://www.rfc-editor.org/rfc/rfc6749#section-5.2: no other text of a token server is shown.
_ERRORS: Final = frozenset(
    {"invalid_request", "invalid_client", "invalid_grant", "unauthorized_client", "unsupported_grant_type", "invalid_scope"}
)


class Authorization(Protocol):
    """What a request needs to be let in. Shared by threads."""

    def header(self) -> dict[str, str]:
        """The headers for the next request; may ask a token server, and raises what `Send` raises."""
        ...

    def refresh(self, rejected: Mapping[str, str]) -> bool:
        """Whether another try can do better, after the server answered 401 to these headers."""
        ...


class Fixed:
    """The same headers always."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        self._headers = dict(headers)

    def header(self) -> dict[str, str]:
        return dict(self._headers)

    def refresh(self, rejected: Mapping[str, str]) -> bool:  # noqa: ARG002  # as the Protocol has it
        return False


class Smart:
    """SMART Backend Services: an access token for a signed assertion, kept until a minute before it ends.

    https://hl7.org/fhir/smart-app-launch/backend-services.html
    """

    def __init__(self, access: Access, base: str, send: Send, *, clock: Clock, now: Clock) -> None:
        self._key, self._algorithm = _read_key(access)
        self._access = access
        self._base = base
        self._send = send
        self._clock = clock
        self._now = now
        self._lock = threading.Lock()
        self._token = ""
        self._until = 0.0
        self._token_url = _trusted(access.smart_token_url, base) if access.smart_token_url else ""

    def header(self) -> dict[str, str]:
        with self._lock:
            if not self._token or self._clock() >= self._until:
                try:
                    self._fetch()
                except ServerUnavailable as lost:
                    lost.sent = False  # what the token is for was not sent
                    raise
            return {"Authorization": f"Bearer {self._token}"}

    def refresh(self, rejected: Mapping[str, str]) -> bool:
        with self._lock:
            # Another thread may have fetched a new one since that request was made.
            if rejected.get("Authorization") == f"Bearer {self._token}":
                self._token = ""
        return True

    def _fetch(self) -> None:
        self._token_url = self._token_url or self._discovered()
        form = {
            "grant_type": "client_credentials",
            "scope": self._access.smart_scope,
            "client_assertion_type": ASSERTION,
            "client_assertion": self._assertion(),
        }
        reply = self._send(self._token_url, form)
        if not reply.ok:
            raise _no_token(reply)
        answer = read_json(reply, _LIMIT)
        token = answer.get("access_token")
        if not is_visible(token) or str(answer.get("token_type", "")).lower() != "bearer":
            raise garbled("it holds no access token")
        life = answer.get("expires_in")
        seconds = float(life) if isinstance(life, int) and 0 < life < 10**9 else float(LIFE)
        self._token = str(token)
        # A token that lives for less than two minutes is used for half its life, not fetched for each request.
        self._until = self._clock() + max(seconds - EARLIER, seconds / 2)

    def _discovered(self) -> str:
        """The token endpoint that the server names: https://hl7.org/fhir/smart-app-launch/conformance.html"""
        reply = self._send(f"{self._base}/.well-known/smart-configuration", None)
        found = read_json(reply, _LIMIT).get("token_endpoint") if reply.ok else None
        if not isinstance(found, str):
            text = "the server names no token endpoint in .well-known/smart-configuration"
            raise ServerRefused([_issue("not-found", "sync-token", text, "set CASEBRIDGE_SERVER_SMART_TOKEN_URL")])
        try:
            return _trusted(found, self._base)
        except Usage as bad:  # not the user's mistake, for once
            raise ServerRefused(bad.issues) from None

    def _assertion(self) -> str:
        now = int(self._now())
        client = self._access.smart_client
        claims = {
            "iss": client,
            "sub": client,
            "aud": self._token_url,
            "jti": str(uuid.uuid4()),
            "iat": now,
            "exp": now + LIFE - 10,
        }
        head = {
            "alg": self._algorithm,
            "typ": "JWT",
            "kid": self._access.smart_key_id or self._key.kid or self._key.thumbprint(),
        }
        return jwt.encode(head, claims, self._key, algorithms=[self._algorithm])


def authorization(
    access: Access, base: str, send: Send, *, clock: Clock = time.monotonic, now: Clock = time.time
) -> Authorization:
    """The way in that `access` names to the server at `base`.

    Raises Usage where credentials are another server's or no header can carry them (sync-credentials), and where a file for
    TLS (sync-tls) or with a private key (sync-key) is none.
    """
    _check(access, base)
    if access.smart_client:
        return Smart(access, base, send, clock=clock, now=now)
    headers: dict[str, str] = {}
    if access.basic:
        # In UTF-8: https://www.rfc-editor.org/rfc/rfc7617#section-2.1
        user, password = access.basic
        if ":" in user:
            raise _unfit("the user's name has a colon in it, which no password login can carry")
        headers = {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}
    elif access.bearer:
        if not is_visible(access.bearer):
            raise _unfit("the token has blanks or letters in it that no header can carry")
        headers = {"Authorization": f"Bearer {access.bearer}"}
    return Fixed(headers)


def _check(access: Access, base: str) -> None:
    secrets = (access.basic, access.bearer, access.header, access.smart_client, access.client_cert)
    if access.server and any(secrets) and not origins.same_origin(access.server, base):
        text = f"the credentials are not for the server at {origins.origin(base)}: CASEBRIDGE_SERVER names another"
        fix = "set CASEBRIDGE_SERVER to the server that the credentials are for, or unset them"
        raise Usage([_issue("security", "sync-credentials", text, fix)])
    if access.header:
        _check_header(*access.header, taken=bool(access.basic or access.bearer or access.smart_client))
    if access.ca_file or access.client_cert or access.client_key:
        _check_tls_files(access)


def _check_tls_files(access: Access) -> None:
    try:
        context = ssl.create_default_context(cafile=access.ca_file)
        if access.client_cert:
            # With a password at hand, OpenSSL does not stop to ask for one on the terminal.
            context.load_cert_chain(access.client_cert, access.client_key, password="")
        elif access.client_key:
            raise ValueError("a key without its certificate")
    except (OSError, ValueError):  # SSLError is an OSError
        text = "a file for TLS is missing, no PEM, locked with a passphrase, or its key is not the certificate's"
        fix = "check CASEBRIDGE_SERVER_CA_FILE, _CLIENT_CERT and _CLIENT_KEY"
        raise Usage([_issue("value", "sync-tls", text, fix)]) from None


def _check_header(name: str, value: str, *, taken: bool) -> None:
    if not _HEADER.fullmatch(name) or not (value.isascii() and value.isprintable() and value.strip()):
        raise _unfit("CASEBRIDGE_SERVER_HEADER has letters in it that no header can carry")
    if _OURS.fullmatch(name.lower()) or (taken and name.lower() == "authorization"):
        raise _unfit("CASEBRIDGE_SERVER_HEADER names a header that is set already")


def is_visible(text: object) -> bool:
    """Whether it is a text of visible ASCII characters only, as a token in a header is."""
    return isinstance(text, str) and text.isascii() and text.isprintable() and bool(text) and " " not in text


def _trusted(url: str, base: str) -> str:
    """A token endpoint: by TLS, or where the FHIR server itself is."""
    try:
        place = origins.origin(url)
    except Usage:
        text = "the address of the token endpoint is none"
        raise Usage(
            [_issue("value", "sync-token", text, "set CASEBRIDGE_SERVER_SMART_TOKEN_URL to an https address")]
        ) from None
    if place.scheme != "https" and place != origins.origin(base):
        text = f"the token endpoint at {place} is neither encrypted nor the FHIR server itself"
        raise Usage([_issue("security", "sync-token", text, "use a token endpoint with https")])
    return url


def _no_token(reply: Reply) -> ServerRefused:
    try:
        error = read_json(reply, _LIMIT).get("error")
    except ServerUnavailable:
        error = None
    told = f" ({error})" if error in _ERRORS else ""
    text = f"the token server gave no token: status {reply.status}{told}"
    fix = "check CASEBRIDGE_SERVER_SMART_CLIENT_ID, _SMART_KEY, _SMART_KEY_ID and _SMART_SCOPE with the server's operator"
    return ServerRefused([_issue("login", "sync-token", text, fix)], status=reply.status)


def _read_key(access: Access) -> tuple[Any, str]:
    """The private key and its algorithm: RS384 or ES384, the two that SMART names."""
    path = access.smart_key or Path()
    try:
        text = path.read_bytes()
    except OSError as error:
        raise _bad_key(f"the file cannot be read: {error.strerror}") from None
    key = _parse_key(text, access.smart_key_id)
    if not key.is_private:
        raise _bad_key("it holds a public key only")
    if isinstance(key, jwk.RSAKey) and key.private_key is not None and key.private_key.key_size >= 2048:
        return key, "RS384"
    if isinstance(key, jwk.ECKey) and key.curve_name == "P-384":
        return key, "ES384"
    raise _bad_key("its kind cannot sign with RS384 or ES384")


def _parse_key(text: bytes, key_id: str | None) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the kind of key in a PEM is for the library to find; its size is judged above
            if text.lstrip().startswith(b"-----BEGIN"):
                return jwk.import_key(text)
            value = json.loads(text, file="key")
            if isinstance(value, dict) and isinstance(value.get("keys"), list):
                value = next(each for each in value["keys"] if key_id in (None, each.get("kid")))
            return jwk.import_key(value)
    except (JoseError, UnreadableInput, ValueError, TypeError, KeyError, AttributeError, StopIteration):
        pass
    raise _bad_key("it is neither a JWK nor a PEM of a private key without a passphrase")


def _bad_key(why: str) -> Usage:
    fix = "set CASEBRIDGE_SERVER_SMART_KEY to a file with an RSA key of 2048 bits or more, or an EC key on P-384"
    return Usage([_issue("value", "sync-key", f"the private key for the server is not usable: {why}", fix)])


def _unfit(text: str) -> Usage:
    return Usage([_issue("value", "sync-credentials", text, "check how it was copied")])


def _issue(code: str, rule: str, text: str, fix: str) -> Issue:
    return Issue("error", code, rule, text, fix=fix)
