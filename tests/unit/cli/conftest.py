"""Two servers in memory that the commands reach, a folder of cases, and the mapping set, which is loaded once for all."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.engine import Engine
from service.errors import Usage
from service.examples import EXAMPLE_KEY
from service.fhir import json
from service.issues import Issue
from service.transfer import Transfer
from tests.support.command import HERE, THERE, Record, Server, Write, to
from tests.support.deployment import small


@pytest.fixture(autouse=True)
def servers(monkeypatch: pytest.MonkeyPatch, _own_home: None, engine: Engine) -> dict[str, Server]:
    """The servers that the commands reach, by their URLs."""
    known = {base: Server(base) for base in (HERE, THERE)}

    def connect(_settings: object, url: str) -> Server:
        if url not in known:
            raise Usage([Issue("error", "value", "sync-address", "this is no address of a server", fix="mend it")])
        return known[url]

    for module in ("push", "pull", "sync"):
        monkeypatch.setattr(f"service.cli.{module}.connect", connect)
    for module in ("push", "pull"):
        monkeypatch.setattr(f"service.cli.{module}.load", lambda _settings, _mapping: engine)
    # Long enough for a push that does not wait, and short for one that goes on with it.
    monkeypatch.setattr("service.sync.push.backoff", lambda *_arguments, **_named: 0.2)
    monkeypatch.setenv("CASEBRIDGE_KEY", EXAMPLE_KEY.decode())
    return known


@pytest.fixture
def memory(servers: dict[str, Server]) -> Server:
    return servers[HERE]


@pytest.fixture
def transfer(engine: Engine) -> Transfer:
    return Transfer(engine)


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a record into the folder of cases, under the name of its case or the one given; gives the file."""
    (tmp_path / "cases").mkdir()

    def written(record: Record, name: str = "") -> Path:
        path = tmp_path / "cases" / f"{name or record['case']}.json"
        path.write_bytes(json.dumps(record))
        return path

    return written


@pytest.fixture
def case(write: Write) -> Path:
    return write(small())


@pytest.fixture
def two(case: Path, write: Write, memory: Server) -> list[Path]:
    """Two cases that are on the server, the first one first."""
    paths = [case, write(small("small-2"))]
    assert to("push", case.parent, "--workers", "1").exit_code == 0
    return paths
