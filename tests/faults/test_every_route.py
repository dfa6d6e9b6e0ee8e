"""What no route can answer, asked of every route there is: of the app, and of the service over its socket."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from flask import Flask

from service.api import create_app
from service.fhir import json
from tests.conftest import ROOT
from tests.faults.routes import Ask, bodies, wrong
from tests.faults.served import Answer, Place, Served, served

AT = "app"
STATUSES = [404, 405, 406, 413, 415]
SECRET = "what-only-the-exception-says"
# A stack trace, a file of ours, the name of an exception.
TRACE = re.compile(rb"Traceback|\.py\b|, line \d|[A-Z][a-z]+(Error|Exception)\b|<html")


def check(status: int, headers: Mapping[str, str], data: bytes, asked: Ask, expected: int) -> None:
    """What every error answer must be."""
    assert status == expected, asked
    assert headers["Content-Type"] == "application/fhir+json", asked
    assert headers["X-Request-ID"] == "fault-42", asked
    assert headers["Cache-Control"] == "no-store", asked
    body: Any = json.loads(data)
    assert body["resourceType"] == "OperationOutcome"
    assert all(
        issue["severity"] in ("error", "fatal") and issue["code"] and issue["details"]["text"] for issue in body["issue"]
    )
    assert not TRACE.search(data), asked
    assert SECRET.encode() not in data
    if expected == 405:
        assert asked.method not in headers["Allow"].split(", ")


def of_app(app: Flask, ask: Ask, expected: int) -> None:
    length = {} if ask.length is None else {"CONTENT_LENGTH": str(ask.length)}
    headers = {**ask.headers, "X-Request-ID": "fault-42"}
    response = app.test_client().open(ask.address, method=ask.method, headers=headers, data=ask.data, environ_overrides=length)
    check(response.status_code, response.headers, response.data, ask, expected)


def of_service(service: Served, ask: Ask, expected: int) -> None:
    asked = Ask(ask.method, ask.address, {**ask.headers, "X-Request-ID": "fault-42"}, ask.data, ask.length)
    answer: Answer = service.ask(asked)
    check(answer.status, dict(answer.headers), answer.data, ask, expected)


@pytest.mark.parametrize("status", STATUSES)
def test_r42_every_route_of_the_app(fault, app, status):
    asks = list(wrong(app.url_map, status))
    assert len(asks) >= len(bodies(app.url_map))
    for ask in asks:
        of_app(app, ask, status)
    fault.injected(f"a request for {status}", len(asks))


@pytest.fixture
def failing(settings) -> Flask:
    """The app, with an exception behind each of its routes."""
    app = create_app(settings)

    def explode(**_names: str) -> None:
        raise RuntimeError(SECRET)

    for endpoint in app.view_functions:
        app.view_functions[endpoint] = explode
    return app


def test_r42_every_route_where_the_code_behind_it_fails(fault, failing, caplog):
    asks = list(wrong(failing.url_map, 500))
    assert {ask.address for ask in asks} >= {"/", "/convert", "/health/live"}
    for debug in (False, True):
        failing.debug = debug
        for ask in asks:
            of_app(failing, ask, 500)
    fault.injected("a request for 500", 2 * len(asks))
    assert SECRET not in caplog.text
    assert "failure request_id=fault-42 RuntimeError at" in caplog.text


def test_r42_a_failure_before_and_after_the_route_is_told_in_the_same_way(fault, settings):
    """What runs around a route can fail as well as the route."""
    for hook in ("before_request", "after_request"):
        app = create_app(settings)

        def explode(*_arguments: Any) -> Any:
            raise RuntimeError(SECRET)

        register: Callable[[Any], Any] = getattr(app, hook)
        register(explode)
        response = app.test_client().get("/health/live", headers={"X-Request-ID": "fault-42"})
        fault.injected("a request for 500")
        assert response.status_code == 500
        assert response.mimetype == "application/fhir+json", hook
        assert not TRACE.search(response.data)


# --- over the socket -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A service with a broken set beside the one that it needs."""
    place = Place(tmp_path_factory.mktemp("every-route"))
    sets = place.root / "sets"
    shutil.copytree(ROOT / "mappings" / "myeloma", sets / "myeloma")
    shutil.copytree(ROOT / "tests" / "data" / "bad_mappings" / "python_tag", sets / "broken")
    with served(place, CASEBRIDGE_MAPPINGS=str(sets)) as running:
        yield running


@pytest.mark.parametrize("status", STATUSES)
def test_r42_every_route_of_the_service(fault, app, service, status):
    asks = list(wrong(app.url_map, status))
    for ask in asks:
        of_service(service, ask, status)
    fault.injected(f"a request for {status}", len(asks), at="service")


def test_r42_a_set_that_does_not_load_is_500_and_the_service_lives(fault, service):
    body = {"Content-Type": "application/json"}
    asks = [
        Ask("GET", "/mappings/broken"),
        Ask("GET", "/mappings/broken/schema.json"),
        Ask("POST", "/convert?mapping=broken", body, b"{}"),
        Ask("POST", "/to-case?mapping=broken", body, b"{}"),
    ]
    for ask in asks:
        of_service(service, ask, 500)
    fault.injected("a request for 500", len(asks), at="service")
    assert "broken/resources/labs.yaml:13:14" in service.place.log.read_text()
    assert service.is_alive()
