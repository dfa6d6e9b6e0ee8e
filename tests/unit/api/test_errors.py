"""What every answer has, and every error: the one handler, the request's id, the headers, the line in the log."""

from __future__ import annotations

import logging
import re
from typing import Any

import pytest
from flask import Flask

from service.api import create_app
from service.engine import Engine
from service.errors import MappingInvalid
from service.fhir import json
from service.issues import Issue

ROUTES = [
    "/",
    "/convert",
    "/to-case",
    "/mappings",
    "/mappings/myeloma",
    "/mappings/myeloma/schema.json",
    "/health/live",
    "/health/ready",
]
POSTED = ("/convert", "/to-case")
LINE = re.compile(r"request method=(\S+) route=(\S+) status=(\d+) ms=[\d.]+ request_id=(\S+)")


@pytest.mark.parametrize(
    "address",
    ["/nosuch", "/convert/", "/mappings/nosuch", "/mappings/..", "/mappings/%2e%2e%2f%2e%2e", "/mappings/a/b", "/%ff%fe"],
)
def test_404(client, refusal, address):
    [issue] = refusal(client.get(address), 404)
    assert issue["code"] == "not-found"


@pytest.mark.parametrize("route", ROUTES)
def test_405_keeps_allow(client, refusal, route):
    response = client.get(route) if route in POSTED else client.post(route)
    [issue] = refusal(response, 405)
    assert issue["code"] == "not-supported"
    assert ("POST" if route in POSTED else "GET") in response.headers["Allow"]


@pytest.mark.parametrize("route", ROUTES[1:])
@pytest.mark.parametrize("accept", ["application/xml", "text/html, application/fhir+xml;q=0.9", "application/json;q=0"])
def test_406_where_accept_excludes_all_json(client, refusal, route, accept):
    method = "POST" if route in POSTED else "GET"
    refusal(client.open(route, method=method, data=b"{}", content_type="application/json", headers={"Accept": accept}), 406)


@pytest.mark.parametrize(
    "accept",
    [
        "",
        "*/*",
        "application/*",
        "application/fhir+json; fhirVersion=4.0",
        "application/xml, application/json;q=0.1",
        "text/html,application/xhtml+xml,*/*;q=0.8",
        "application/schema+json",
        "*; q=.2",
        ";;;",
    ],
)
def test_any_accept_that_leaves_room_for_json_is_served(client, accept):
    assert client.get("/mappings", headers={"Accept": accept}).status_code == 200


@pytest.fixture
def broken(settings, monkeypatch) -> Flask:
    def explode(*_arguments: Any, **_options: Any) -> None:
        raise KeyError("CANARY-in-the-exception")

    app = create_app(settings)
    monkeypatch.setattr(Engine, "convert", explode)
    return app


def test_500_tells_a_request_id_and_nothing_else(broken, refusal, caplog):
    caplog.set_level(logging.DEBUG)
    sent = {"X-Request-ID": "my.id-1"}
    response = broken.test_client().post("/convert", data=b'"CANARY"', content_type="application/json", headers=sent)
    [issue] = refusal(response, 500)
    assert issue["code"] == "exception"
    assert "my.id-1" in issue["diagnostics"]
    assert "CANARY" not in response.get_data(as_text=True)
    assert "KeyError" not in response.get_data(as_text=True)
    assert "CANARY" not in caplog.text
    assert re.search(r"failure request_id=my\.id-1 KeyError at .*test_errors\.py:\d+", caplog.text)


def test_500_is_the_same_where_flask_debugs(broken, refusal):
    broken.debug = True
    refusal(broken.test_client().post("/convert", data=b"{}", content_type="application/json"), 500)


@pytest.mark.parametrize("given", ["a", "A.b_c-9", "x" * 64])
def test_a_plain_request_id_is_echoed(client, given):
    assert client.get("/health/live", headers={"X-Request-ID": given}).headers["X-Request-ID"] == given


@pytest.mark.parametrize("given", ["", "x" * 65, "a b", "a\tb", "<script>", "é", "a;b"])
def test_any_other_is_replaced(client, given):
    found = client.get("/health/live", headers={"X-Request-ID": given}).headers["X-Request-ID"]
    assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", found)


@pytest.mark.parametrize("route", [*ROUTES, "/static/page.css", "/nosuch"])
def test_every_answer_has_its_headers(client, route):
    headers = client.get(route, buffered=True).headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Request-ID"]
    assert "default-src 'none'" in headers["Content-Security-Policy"]


def test_one_line_a_request_by_its_route_and_never_its_address(client, caplog):
    caplog.set_level(logging.DEBUG)
    client.get("/mappings/CANARY?mapping=CANARY", headers={"X-Request-ID": "r1", "Cookie": "CANARY"})
    client.open("/CANARY", method="CANARY", headers={"X-Request-ID": "r2"})
    client.get("/mappings/myeloma", headers={"X-Request-ID": "r3"})
    assert LINE.findall(caplog.text) == [
        ("GET", "/mappings/<name>", "404", "r1"),
        ("other", "-", "404", "r2"),
        ("GET", "/mappings/<name>", "200", "r3"),
    ]
    assert "CANARY" not in caplog.text


def test_a_set_that_does_not_load_is_500_with_its_issues_in_the_log_only(app, client, refusal, monkeypatch, caplog):
    def refuse(*_arguments: Any) -> None:
        raise MappingInvalid([Issue("error", "invalid", "mapping-yaml", "NOT-FOR-CLIENTS", fix="mend it")])

    monkeypatch.setattr("service.api.engines.Engines.get", refuse)
    response = client.get("/mappings/myeloma")
    refusal(response, 500)
    assert b"NOT-FOR-CLIENTS" not in response.data
    assert "NOT-FOR-CLIENTS" in caplog.text
    assert json.loads(client.get("/mappings").data) == []


def test_nothing_that_was_sent_is_repeated(client, post):
    for response in (
        client.get("/CANARY?CANARY=CANARY", headers={"X-Thing": "CANARY", "Host": "canary.example"}),
        post("/convert?CANARY=1", b"{}"),
        post("/convert?type=CANARY", b"{}"),
        post("/convert?mapping=CANARY", b"{}"),
        post("/convert", b"{}", content_type="CANARY/CANARY"),
        post("/convert", b'{"case": CANARY}'),
        client.get("/", headers={"Host": "canary.example"}),
    ):
        assert b"canary" not in response.data.lower()
        assert "canary" not in str(response.headers).lower()
