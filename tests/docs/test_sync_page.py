"""docs/sync.md says what the commands do: each of its commands is run, and its tables are those of the code."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from service import config
from service.cli import main
from service.examples import EXAMPLE_KEY
from service.sync.outbox import State
from service.sync.plan import ACTIONS
from tests.conftest import ROOT
from tests.support.fake_fhir import FakeFhir

PAGE = (ROOT / "docs" / "sync.md").read_text(encoding="utf-8")
COMMANDS = [
    line.partition("#")[0].strip()
    for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
    for line in block.splitlines()
    if line.startswith("casebridge ")
]


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeFhir]:
    monkeypatch.setenv("CASEBRIDGE_KEY", EXAMPLE_KEY.decode())
    monkeypatch.chdir(tmp_path)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    with FakeFhir() as server:
        yield server


def test_the_commands_of_the_page_do_what_it_says(fake: FakeFhir, tmp_path: Path) -> None:
    said = []
    for command in COMMANDS:
        words = shlex.split(command.replace("http://127.0.0.1:8080/fhir", fake.base).replace("URL", fake.base))
        result = CliRunner().invoke(main, words[1:])
        assert result.exit_code == 0, (command, result.stderr)
        said.append(result.stdout + result.stderr)
    assert len(said) == len(COMMANDS) == 8
    assert "create 225" in said[0]
    assert "confirmed" not in said[0]
    assert said[1].count("confirmed") == 3
    assert "unchanged 225" in said[2]
    assert said[3].count("equal") == 3
    assert said[4] == "3 cases written\n"
    assert said[5] == "1 cases written\n"
    assert said[7] == "3 cases written\n"
    assert len(list((tmp_path / "pulled").iterdir())) == 3


def test_the_page_names_every_variable_state_and_action() -> None:
    source = Path(config.__file__).read_text(encoding="utf-8")
    named = set(re.findall(r'text\("(_[A-Z_]+)"\)|path\("(_[A-Z_]+)"\)', source))
    for variable in {one or other for one, other in named}:
        assert variable in PAGE, variable
    for variable in ("CASEBRIDGE_SERVER`", "CASEBRIDGE_SERVERS`", "CASEBRIDGE_MOST_JOBS`", "CASEBRIDGE_DATABASE_URL="):
        assert variable in PAGE, variable
    for word in (*ACTIONS, *State):
        assert f"| {word} |" in PAGE, word
