"""A deployment over a server in memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from service.engine import Engine
from service.sync.memory import MemoryServer
from tests.support.deployment import Deployment


@pytest.fixture
def memory() -> MemoryServer:
    return MemoryServer()


@pytest.fixture
def site(engine: Engine, memory: MemoryServer, tmp_path: Path) -> Iterator[Deployment]:
    with Deployment(engine, tmp_path / "site", memory) as deployment:
        yield deployment
