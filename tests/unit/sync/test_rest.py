"""The FHIR server over HTTP: what is sent, and what is believed."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from urllib.parse import parse_qs

import pytest
import responses

from service.fhir import json
from service.sync.rest import Limits
from service.sync.server import FhirServer, token
from tests.support.loopback import fhir_reply
from tests.support.rest_client import (
    BUNDLE,
    PATIENT,
    TRANSACTION,
    Simple,
    Time,
    absence,
    refusal,
    rest,
    rule,
)

BASE = "http://fhir.example/R4"


@pytest.fixture
def simple() -> Iterator[Simple]:
    with Simple() as server:
        yield server


# What is sent ---------------------------------------------------------------------------------------------------------


def test_reading_asks_for_what_is_stored_now(simple: Simple) -> None:
    with rest(simple.base) as server:
        speaks: FhirServer = server
        assert speaks.read("Patient", "p1") == PATIENT
        assert speaks.read("Patient", "p1") == PATIENT
    first, second = simple.journal
    assert (first.method, first.path, first.body) == ("GET", "/fhir/Patient/p1", b"")
    assert first.headers["cache-control"] == "no-cache"
    assert first.headers["accept"] == "application/fhir+json; charset=utf-8"
    assert first.headers["accept-encoding"] == "gzip"
    assert first.headers["user-agent"].startswith("casebridge/")
    assert len(first.headers["x-request-id"]) == 36
    assert first.headers["x-request-id"] != second.headers["x-request-id"]
    assert not {"authorization", "cookie"} & set(first.headers)


def test_submit_posts_the_bundle_to_the_base_with_exact_numbers(simple: Simple) -> None:
    simple.resource = {"resourceType": "Bundle", "type": "transaction-response", "total": Decimal("1.50")}
    with rest(f"{simple.base}/") as server:
        found = server.submit({**TRANSACTION, "value": Decimal("0.010"), "name": "Ümlaut"})
    (request,) = simple.journal
    assert (request.method, request.path) == ("POST", "/fhir")
    assert request.headers["content-type"] == "application/fhir+json; charset=utf-8"
    assert request.headers["prefer"] == "return=representation"
    assert request.headers["cache-control"] == "no-cache"
    assert request.body == '{"resourceType":"Bundle","type":"transaction","value":0.010,"name":"Ümlaut"}'.encode()
    assert str(found["total"]) == "1.50"


def test_search_keeps_its_criteria_out_of_the_url(simple: Simple) -> None:
    simple.resource = BUNDLE
    with rest(simple.base) as server:
        assert server.search("Patient", [("identifier", token("urn:x", "Jäger & Söhne|1,2")), ("_count", "5")]) == BUNDLE
    (request,) = simple.journal
    assert (request.method, request.path) == ("POST", "/fhir/Patient/_search")
    assert request.headers["content-type"] == "application/x-www-form-urlencoded; charset=utf-8"
    assert parse_qs(request.body.decode("ascii")) == {"identifier": [r"urn:x|Jäger & Söhne\|1\,2"], "_count": ["5"]}


def test_capabilities_everything_and_pages_are_read(simple: Simple) -> None:
    simple.replies = [fhir_reply(200, {"resourceType": "CapabilityStatement"}), *[fhir_reply(200, BUNDLE)] * 3]
    with rest(simple.base) as server:
        server.capabilities()
        server.everything("p1")
        server.page(f"{simple.base}?_getpages=a-b&_getpagesoffset=20")
        server.page(f"{simple.base}/Patient?_page=2&x=a%7Cb")
    assert [request.path for request in simple.journal] == [
        "/fhir/metadata",
        "/fhir/Patient/p1/$everything?_count=200",
        "/fhir?_getpages=a-b&_getpagesoffset=20",
        "/fhir/Patient?_page=2&x=a%7Cb",
    ]


@pytest.mark.parametrize("place", [("Patient", "a/b"), ("Patient", ".."), ("Patient", ""), ("Patient", "a?b"), ("../x", "a")])
def test_what_is_no_type_or_id_is_not_asked_for(simple: Simple, place: tuple[str, str]) -> None:
    with rest(simple.base) as server:
        assert rule(refusal(lambda: server.read(*place))) == "sync-id"
    assert simple.journal == []


def test_connections_are_kept_open_and_used_again(simple: Simple, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[socket.socket] = []
    watch = simple.watch

    def counted(connection: socket.socket) -> None:
        opened.append(connection)
        watch(connection)

    monkeypatch.setattr(simple, "watch", counted)
    with rest(simple.base) as server:
        for _ in range(5):
            assert server.read("Patient", "p1") == PATIENT
    assert len(simple.journal) == 5
    assert len(opened) == 1


def test_nothing_is_taken_from_the_environment(simple: Simple, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login u password SECRET\n")
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    with rest(simple.base) as server:
        assert server.read("Patient", "p1") == PATIENT
    assert "authorization" not in simple.journal[0].headers


def test_cookies_are_not_kept(simple: Simple) -> None:
    simple.replies = [fhir_reply(200, PATIENT, {"Set-Cookie": "session=1; Path=/"})]
    with rest(simple.base) as server:
        server.read("Patient", "p1")
        server.read("Patient", "p1")
    assert "cookie" not in simple.journal[1].headers


# What statuses mean ---------------------------------------------------------------------------------------------------


@responses.activate
@pytest.mark.parametrize("status", [404, 410])
def test_what_is_not_there_or_deleted_is_none(status: int) -> None:
    responses.get(f"{BASE}/Patient/p1", status=status, json={"resourceType": "OperationOutcome"})
    with rest(BASE) as server:
        assert server.read("Patient", "p1") is None


@responses.activate
def test_web_page_of_a_gateway_is_no_proof_that_a_resource_is_not_there() -> None:
    responses.get(f"{BASE}/Patient/p1", status=404, body="<html>", content_type="text/html; charset=utf-8")
    with rest(BASE) as server:
        assert refusal(lambda: server.read("Patient", "p1")).status == 404


@responses.activate
@pytest.mark.parametrize(("status", "sent"), [(408, True), (429, False), (500, True), (502, True), (503, True), (504, True)])
def test_errors_that_pass_are_told_from_those_that_stay(status: int, sent: bool) -> None:
    time = Time()
    responses.post(BASE, status=status, body="SECRET", headers={"Retry-After": "7"})
    with rest(BASE, time=time) as server:
        error = absence(lambda: server.submit(TRANSACTION))
    assert (error.sent, error.retry_after, rule(error)) == (sent, 7, "sync-busy")
    assert len(responses.calls) == 1  # the outbox repeats it, not this layer
    assert time.slept == []


OUTCOME = {
    "resourceType": "OperationOutcome",
    "issue": [
        {
            "severity": "error",
            "code": "invalid",
            "diagnostics": 'HAPI-1821: Invalid date: "SECRET"',
            "details": {"text": "SECRET"},
            "expression": ["Bundle.entry[3].resource.birthDate", "Patient.SECRET", "Patient.name.where(family='SECRET')", 5],
        },
        {"severity": "error", "code": "SECRET", "diagnostics": "SECRET HAPI-0001", "expression": "SECRET"},
        "SECRET",
        {"severity": "error", "code": ["SECRET"], "expression": ["Patient.valueQuantity"]},
    ],
}


@responses.activate
@pytest.mark.parametrize("status", [400, 403, 405, 409, 412, 413, 422, 501])
def test_refusal_keeps_the_outcome_and_tells_only_what_is_safe(status: int) -> None:
    responses.post(BASE, status=status, json=OUTCOME, content_type="application/fhir+json")
    with rest(BASE) as server:
        error = refusal(lambda: server.submit(TRANSACTION))
    assert (error.status, error.outcome, rule(error)) == (status, OUTCOME, "sync-refused")
    told = "(HAPI-1821, invalid, at Bundle.entry[3].resource.birthDate, at Patient.valueQuantity)"
    assert error.issues[0].text == f"the server at http://fhir.example refused the request with status {status} {told}"


@responses.activate
@pytest.mark.parametrize("body", [b"SECRET", b"{", b"[]", b'{"resourceType":"Patient"}', b'{"a":1,"a":2}', b""])
def test_refusal_without_an_outcome_is_one_all_the_same(body: bytes) -> None:
    responses.post(BASE, status=422, body=body, content_type="application/fhir+json")
    with rest(BASE) as server:
        error = refusal(lambda: server.submit(TRANSACTION))
    assert (error.status, error.outcome) == (422, None)


@responses.activate
@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"<html>SECRET</html>", "text/html"),
        (json.dumps(PATIENT), "text/plain"),
        (b"", "application/fhir+json"),
        (b'{"resourceType":"Patient","SECRET', "application/fhir+json"),
        (b'{"resourceType":"Patient","SECRET":1,"SECRET":2}', "application/fhir+json"),
        (b'{"resourceType":"Patient","x":NaN}', "application/fhir+json"),
        (b'{"resourceType":"Patient","x":"\xff"}', "application/fhir+json"),
        (b'{"x":' * 100 + b"1" + b"}" * 100, "application/fhir+json"),
        (b'["SECRET"]', "application/fhir+json"),
        (b'{"resourceType":"SECRET"}', "application/fhir+json"),
    ],
)
def test_success_whose_reply_cannot_be_used_has_an_unknown_outcome(body: bytes, kind: str) -> None:
    responses.post(BASE, body=body, content_type=kind)
    responses.get(f"{BASE}/Patient/p1", body=body, content_type=kind)
    with rest(BASE) as server:
        posted = absence(lambda: server.submit(TRANSACTION))
        assert (posted.sent, rule(posted)) == (True, "sync-reply")
        assert len(responses.calls) == 1
        assert rule(absence(lambda: server.read("Patient", "p1"))) == "sync-reply"
        assert len(responses.calls) == 1 + Limits().attempts
