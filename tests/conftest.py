"""What every test shares: a home of its own, a time zone that nobody expects, the engine of the shipped set, HAPI as judge."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.engine import Engine, load_engine
from service.examples import EXAMPLE_KEY
from tests.support import hapi_validator

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
