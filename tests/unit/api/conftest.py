"""One app for all tests of the service, and the words in which they ask it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from service.api import create_app
from service.config import Settings
from service.fhir import json

ROOT = Path(__file__).parents[3]
KEY = b"a key for tests of the service"

Post = Callable[..., TestResponse]


@pytest.fixture(scope="session")
def mappings() -> Path:
    return ROOT / "mappings"


@pytest.fixture
def settings(tmp_path: Path, mappings: Path) -> Settings:
    return Settings(home=tmp_path / "home", key=KEY, mappings=mappings)


@pytest.fixture(scope="session")
def app(tmp_path_factory: pytest.TempPathFactory, mappings: Path) -> Flask:
    return create_app(Settings(home=tmp_path_factory.mktemp("home"), key=KEY, mappings=mappings))


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.fixture
def post(client: FlaskClient) -> Post:
    """POST a value, or bytes as they are, as JSON."""

    def send(address: str, value: Any, **options: Any) -> TestResponse:
        data = value if isinstance(value, bytes) else json.dumps(value)
        return client.post(address, data=data, **{"content_type": "application/json", **options})

    return send


@pytest.fixture
def case() -> dict[str, Any]:
    """A fresh copy of one example case."""
    record = json.loads((ROOT / "examples" / "cases" / "chen-2023.json").read_bytes())
    assert isinstance(record, dict)
    return record


@pytest.fixture
def refusal() -> Callable[[TestResponse, int], list[dict[str, Any]]]:
    """The issues of an error answer, after all that every error answer must be."""

    def check(response: TestResponse, status: int) -> list[dict[str, Any]]:
        assert response.status_code == status, response.get_data(as_text=True)[:2000]
        assert response.mimetype == "application/fhir+json"
        assert response.headers["X-Request-ID"]
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["Cache-Control"] == "no-store"
        body = json.loads(response.data)
        assert body["resourceType"] == "OperationOutcome"
        assert b"Traceback" not in response.data
        return list(body["issue"])

    return check


def rule(issue: dict[str, Any]) -> str:
    return str(issue["details"]["coding"][0]["code"])


def extension(issue: dict[str, Any], name: str) -> Any:
    """The value of one of the issue's extensions, named by the end of its URL."""
    found = [one for one in issue.get("extension", ()) if one["url"].endswith(name)]
    return next((value for one in found for key, value in one.items() if key != "url"), None)


@pytest.fixture
def told() -> Callable[[dict[str, Any]], tuple[str, str | None]]:
    """(rule, case path) of an issue."""
    return lambda issue: (rule(issue), extension(issue, "/case-path"))


@pytest.fixture
def origin() -> Callable[[dict[str, Any]], str | None]:
    return lambda issue: extension(issue, "/rule-origin")
