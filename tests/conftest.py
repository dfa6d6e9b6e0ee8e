"""What every test shares: a home of its own, a time zone that nobody expects, the engine of the shipped set, HAPI as judge and
as server, PostgreSQL."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from service.engine import Engine, load_engine
from service.examples import EXAMPLE_KEY
from tests.support import hapi_server as servers
from tests.support import hapi_validator, postgres

ROOT = Path(__file__).parent.parent
# 45 minutes off the hour: what confuses local time with UTC shows here.
os.environ["TZ"] = "Asia/Kathmandu"


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("CASEBRIDGE_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("CASEBRIDGE_HOME", str(tmp_path / "home"))


@pytest.fixture(scope="session")
def engine() -> Engine:
    """The myeloma set under the documented example key, as the goldens are made."""
    return load_engine(ROOT / "mappings" / "myeloma", EXAMPLE_KEY)


@pytest.fixture(scope="session")
def hapi() -> Iterator[hapi_validator.HapiValidator]:
    """HAPI's validator, one process for the session."""
    if reason := hapi_validator.available():
        pytest.skip(f"HAPI's validator was not asked: {reason}")
    with hapi_validator.HapiValidator() as validator:
        yield validator


@pytest.fixture(scope="session")
def hapi_with() -> Iterator[Callable[..., servers.HapiServer]]:
    """Starts a real FHIR server with settings of Setting.java, as in hapi_with(maxBundle=50): one for each set of them.

    Each costs seven seconds and up to a gigabyte, for it lives until the session ends: ask for few.
    """
    if reason := servers.available():
        pytest.skip(f"HAPI's server was not started: {reason}")
    with ExitStack() as running:
        yield functools.cache(lambda **settings: running.enter_context(servers.running(**settings)))


@pytest.fixture(scope="session")
def hapi_server(hapi_with: Callable[..., servers.HapiServer]) -> servers.HapiServer:
    """The real FHIR server as it comes, in memory. The tests share it: a module that counts begins with `reset()`."""
    return hapi_with()


@pytest.fixture(scope="session")
def postgres_cluster() -> Iterator[postgres.Cluster]:
    """A real PostgreSQL, for those who want several databases, or more than a URL."""
    if reason := postgres.available():
        pytest.skip(f"PostgreSQL was not started: {reason}")
    with postgres.running() as cluster:
        yield cluster


@pytest.fixture
def postgres_url(postgres_cluster: postgres.Cluster) -> Iterator[str]:
    """The SQLAlchemy URL of an empty PostgreSQL database, the test's own."""
    with postgres_cluster.database() as url:
        yield url
