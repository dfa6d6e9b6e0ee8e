"""What a reply of the FHIR server means: a resource, an error that passes, one that stays. Its own texts are not passed on."""

from __future__ import annotations

import re
import ssl
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final

from service.errors import CasebridgeError, ServerRefused, ServerUnavailable, UnreadableInput, Usage
from service.fhir import definitions, json
from service.issues import Issue
from service.sync import origins, places
from service.sync.origins import Origin
from service.sync.server import Resource
from service.sync.waiting import retry_after

# What may be over when the same request comes again. Only after 429 is it sure that nothing was done: a 503 or 504 can come
# from a gateway whose server behind it goes on working. https://www.rfc-editor.org/rfc/rfc9110#name-server-error-5xx
PASSING: Final = {
    408: "it waited too long for the request",
    429: "it has too many requests",
    500: "it failed within",
    502: "the server behind it gave no usable answer",
    503: "it is not available now",
    504: "the server behind it did not answer in time",
}
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_ADVICE: Final = {
    401: "check CASEBRIDGE_SERVER_USER and _PASSWORD, _TOKEN, _SMART_CLIENT_ID or _HEADER: the server lets nobody in with them",
    403: "ask the server's operator which rights this account needs",
    404: "check that the address is the base of a FHIR server (then ADDRESS/metadata answers), which has what is asked for",
    413: "send fewer resources in one bundle, or raise the server's limit",
}
_CODES: Final = {401: "login", 403: "forbidden", 404: "not-found", 409: "conflict", 410: "deleted", 412: "conflict"}
_JSON: Final = frozenset({"application/fhir+json", "application/json", "application/json+fhir", "text/json"})
_HAPI: Final = re.compile(r"HAPI-[0-9]{1,6}")


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole reply: `headers` by lower-case name, `body` as it was before compression, `server` that it came from; `asked` is
    the X-Request-ID of the request."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    server: Origin
    asked: str = ""

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300

    @property
    def media_type(self) -> str:
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()


def garbled(why: str) -> ServerUnavailable:
    """The reply cannot be used, and says nothing of what became of the request."""
    text = f"the server's reply cannot be used: {why}"
    fix = "try again; if it stays so, see what stands between here and the server: a proxy, or a page to log in"
    return ServerUnavailable([Issue("error", "transient", "sync-reply", text, fix=fix)], sent=True)


def unpacked(chunks: Iterable[bytes], encoding: str, limit: int) -> bytes:
    """The body of a reply, at most `limit` bytes of it before and after decompression. Raises ServerUnavailable."""
    if encoding not in ("", "identity", "gzip", "x-gzip"):
        raise garbled("it is compressed in a way that was not asked for")
    parts, size = [], 0
    for part in _capped(chunks, limit) if encoding in ("", "identity") else _inflated(_capped(chunks, limit)):
        size += len(part)
        if size > limit:
            raise garbled(f"it is longer than {limit} bytes")
        parts.append(part)
    return b"".join(parts)


def _capped(chunks: Iterable[bytes], limit: int) -> Iterator[bytes]:
    size = 0
    for chunk in chunks:
        size += len(chunk)
        if size > limit:
            raise garbled(f"it is longer than {limit} bytes")
        yield chunk


def _inflated(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """What gzip packed, in pieces of 64 KB, so that whoever counts them can stop. https://www.rfc-editor.org/rfc/rfc1952"""
    member = zlib.decompressobj(wbits=31)
    begun = False
    for chunk in chunks:
        rest = chunk
        while rest:
            if member.eof:  # another member may follow
                member, begun = zlib.decompressobj(wbits=31), False
            begun = True
            try:
                yield member.decompress(rest, 65_536)
            except zlib.error:
                raise garbled("it is not compressed as it says") from None
            rest = member.unused_data if member.eof else member.unconsumed_tail
    if begun and not member.eof:
        raise garbled("it was cut off")


def resource(reply: Reply, resource_type: str, limit: int) -> Resource:
    """The resource in a reply that is ok, by the strict JSON door. Raises ServerUnavailable (sync-reply), sent."""
    value = read_json(reply, limit)
    if value.get("resourceType") != resource_type:
        raise garbled(f"it holds no {resource_type}")
    return value


def read_json(reply: Reply, limit: int) -> dict[str, Any]:
    """The JSON object in a reply. Raises ServerUnavailable (sync-reply), sent."""
    if reply.media_type not in _JSON:
        raise garbled("it is no JSON by its Content-Type")
    try:
        value = json.loads(reply.body, file="reply", limits=json.Limits(max_bytes=limit))
    except UnreadableInput as unreadable:
        raise garbled(f"its JSON is broken ({unreadable.issues[0].rule})") from None
    if not isinstance(value, dict):
        raise garbled("it is no JSON object")
    return value


def failure(reply: Reply, limit: int, now: float) -> CasebridgeError | None:
    """What a caller has to be told of a reply; None where it is ok. `now`: seconds of the epoch."""
    if reply.ok:
        return None
    if reply.status in _REDIRECTS:
        return _redirect(reply)
    outcome = _outcome(reply, limit)
    if reply.status not in PASSING:
        return _refused(reply, outcome)
    text = f"the server at {reply.server} answered with status {reply.status}: {PASSING[reply.status]}{_told(outcome)}"
    code = "throttled" if reply.status == 429 else "transient"
    issue = Issue("error", code, "sync-busy", text, fix=f"try again later; the server's log knows it as request {reply.asked}")
    return ServerUnavailable([issue], sent=reply.status != 429, retry_after=retry_after(reply.headers.get("retry-after"), now))


def foreign_page(url: str, base: str) -> ServerRefused:
    """The link to the next page leads away from the server; nothing was sent there."""
    own = origins.origin(base)
    try:
        place = origins.origin(url)
        where = f"to {place}, which is another server than {own}" if place != own else "out of the server's base address"
    except Usage:
        where = "to what is no address of a server"
    text = f"the server's link to the next page leads {where}; it was not followed"
    fix = "mend the public address in the server's settings: behind a proxy, servers often write their inner one into links"
    return ServerRefused([Issue("error", "security", "sync-next-link", text, fix=fix)])


def late(server: Origin, seconds: float, sent: bool) -> ServerUnavailable:
    text = f"the server at {server} did not give its whole reply within {seconds:g} seconds"
    issue = Issue("error", "timeout", "sync-deadline", text, fix="try again; send smaller bundles if it stays so")
    return ServerUnavailable([issue], sent=sent)


def broken_off(server: Origin) -> ServerUnavailable:
    text = f"the connection to the server at {server} broke before its whole reply was there"
    return ServerUnavailable([Issue("error", "transient", "sync-lost", text, fix="try again")], sent=True)


def unreached(server: Origin, why: str) -> ServerUnavailable:
    text = f"the server at {server} cannot be reached: {why}"
    fix = "check its address, and that it runs and can be reached from this machine"
    return ServerUnavailable([Issue("error", "transient", "sync-connect", text, fix=fix)])


def too_busy(server: Origin, left: float | None) -> ServerUnavailable:
    """Nothing was sent: it asked to be left alone for longer than a thread waits, or all requests that may be are under way."""
    busy = "too many requests to it are under way"
    text = f"the server at {server} was not asked: "
    text += busy if left is None else f"it wants to be left alone for {left:.0f} seconds more"
    issue = Issue("error", "throttled", "sync-busy", text, fix="try again later")
    return ServerUnavailable([issue], retry_after=left)


def is_refusal(error: ssl.SSLError, sent: bool) -> bool:
    """Whether TLS failed because one side does not trust the other, rather than because the connection broke."""
    if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError | ssl.SSLSyscallError):
        return False
    # In TLS 1.3 the server judges our certificate after the request has gone out, and answers it with an alert only.
    reason = error.reason or ""
    return not sent or ("ALERT" in reason and ("CERT" in reason or "UNKNOWN_CA" in reason or "ACCESS_DENIED" in reason))


def bad_tls(server: Origin, error: ssl.SSLError) -> ServerRefused:
    if isinstance(error, ssl.SSLCertVerificationError):
        text = f"the certificate of the server at {server} is not trusted: {error.verify_message.split(',')[0].rstrip('.')}"
        fix = "set CASEBRIDGE_SERVER_CA_FILE to the PEM file of the authority that signed it, if you trust it"
    else:
        text = f"no encrypted connection to the server at {server}: {(error.reason or 'TLS').lower().replace('_', ' ')}"
        fix = "check that it speaks https, CASEBRIDGE_SERVER_CA_FILE, and _CLIENT_CERT if it asks for one"
    return ServerRefused([Issue("error", "security", "sync-tls", text, fix=fix)])


def _refused(reply: Reply, outcome: dict[str, Any] | None) -> ServerRefused:
    rule = "sync-login" if reply.status == 401 else "sync-refused"
    text = f"the server at {reply.server} refused the request with status {reply.status}{_told(outcome)}"
    fix = _ADVICE.get(reply.status, f"the server's log may say more of it, as request {reply.asked}")
    code = _CODES.get(reply.status, "processing")
    return ServerRefused([Issue("error", code, rule, text, fix=fix)], status=reply.status, outcome=outcome)


def _redirect(reply: Reply) -> ServerRefused:
    """A redirect is not followed: it would carry secrets to another place, and turn a POST into a GET."""
    text = f"the server at {reply.server} answered with status {reply.status}: it redirects{_target(reply)}"
    fix = "name the address that it redirects to as the server, if you trust it"
    return ServerRefused([Issue("error", "processing", "sync-redirect", text, fix=fix)], status=reply.status)


def _target(reply: Reply) -> str:
    try:
        return f" to {origins.origin(reply.headers.get('location', ''))}"
    except Usage:
        return ""


def _outcome(reply: Reply, limit: int) -> dict[str, Any] | None:
    try:
        return resource(reply, "OperationOutcome", limit)
    except ServerUnavailable:
        return None


def _told(outcome: dict[str, Any] | None) -> str:
    """What of an OperationOutcome can hold no value of a patient: HAPI's message number, issue codes, places."""
    found: dict[str, None] = {}
    issues = outcome.get("issue") if outcome else None
    for issue in issues[:5] if isinstance(issues, list) else ():
        if isinstance(issue, dict):
            found |= dict.fromkeys(_safe_parts(issue))
    return f" ({', '.join(found)})" if found else ""


def _safe_parts(issue: dict[str, Any]) -> Iterator[str]:
    diagnostics = issue.get("diagnostics")
    number = _HAPI.match(diagnostics) if isinstance(diagnostics, str) else None
    if number:
        yield number[0]
    code = issue.get("code")
    if isinstance(code, str) and code in _issue_codes():
        yield code
    found = issue.get("expression")
    for place in found[:3] if isinstance(found, list) else ():
        if isinstance(place, str) and places.shown(place) == place:
            yield f"at {place}"


@cache
def _issue_codes() -> frozenset[str]:
    codes = definitions.load().required_codes("http://hl7.org/fhir/ValueSet/issue-type") or ()
    return frozenset(code for _, code in codes)
