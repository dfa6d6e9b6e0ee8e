"""The demo: it does what it says, reaches for nothing, and leaves nothing behind."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import socket
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from service.cli import main
from service.config import read_settings
from service.errors import ServerRefused
from service.issues import Issue
from service.sync.memory import MemoryServer
from service.sync.server import Resource
from tests.conftest import ROOT


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary folders are made."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mapping sets as they lie in the wheel: without the published cases beside them."""
    shelf = tmp_path / "package" / "_mappings"
    shutil.copytree(ROOT / "mappings", shelf)
    settings = replace(read_settings(), shelf=shelf)
    monkeypatch.setattr("service.cli.demo.read_settings", lambda: settings)


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: object) -> None:
        raise AssertionError("the demo reaches for the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def demo() -> Result:
    return CliRunner().invoke(main, ["demo"])


def steps(result: Result) -> list[str]:
    return re.findall(r"^\d\. (.*)$", result.stdout, re.MULTILINE)


def commands(result: Result) -> list[list[str]]:
    return [shlex.split(line) for line in re.findall(r"^   \$ casebridge (.*)$", result.stdout, re.MULTILINE)]


@pytest.mark.usefixtures("offline")
def test_it_shows_a_push_a_conflict_and_a_pull(scratch: Path) -> None:
    result = demo()
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    converted, pushed, again, conflict, replaced, pulled = steps(result)
    count = re.search(r"3 cases become (\d+) FHIR resources", converted)
    assert count
    assert f"{count[1]} resources created" in pushed
    assert "0 changes" in again
    assert "1 conflict" in conflict
    assert "1 updated" in replaced
    assert pulled.endswith("equal.")
    assert (ROOT / commands(result)[0][1]).is_dir()
    assert list(scratch.iterdir()) == []
    assert not Path(os.environ["CASEBRIDGE_HOME"]).exists()


@pytest.mark.usefixtures("installed")
def test_an_installed_package_shows_the_small_examples() -> None:
    result = demo()
    assert result.exit_code == 0, result.output
    examples = len(list((ROOT / "mappings" / "myeloma" / "examples").glob("*.json")))
    assert steps(result)[0].startswith(f"{examples} cases become ")
    assert steps(result)[-1].endswith("equal.")


@pytest.mark.usefixtures("installed")
def test_the_commands_that_it_names_exist() -> None:
    found = commands(demo())
    assert [one[0] for one in found] == ["convert", "push", "push", "plan", "push", "pull"]
    for command in found:
        # An option that there is not would end it before its help is shown.
        assert CliRunner().invoke(main, [*command, "--help"]).exit_code == 0, command


@pytest.mark.usefixtures("installed")
def test_a_server_that_forgets_something_is_told_and_ends_it_with_1(monkeypatch: pytest.MonkeyPatch, scratch: Path) -> None:
    submit = MemoryServer.submit

    def forgetful(server: MemoryServer, bundle: Resource) -> Resource:
        for entry in bundle["entry"]:
            entry.get("resource", {}).pop("managingOrganization", None)
        return submit(server, bundle)

    monkeypatch.setattr(MemoryServer, "submit", forgetful)
    result = demo()
    assert result.exit_code == 1
    assert steps(result)[-1].endswith("different.")
    assert list(scratch.iterdir()) == []


@pytest.mark.usefixtures("installed")
def test_a_step_that_goes_wrong_is_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MemoryServer, "edit", lambda *_arguments: None)
    result = demo()
    assert result.exit_code == 1
    assert len(steps(result)) == 4
    assert "0 conflict" in steps(result)[-1]


@pytest.mark.usefixtures("installed")
def test_what_breaks_it_off_leaves_nothing_behind_either(monkeypatch: pytest.MonkeyPatch, scratch: Path) -> None:
    def refuse(_server: MemoryServer, _bundle: Resource) -> Resource:
        raise ServerRefused([Issue("error", "forbidden", "sync-refused", "it was refused")], status=401)

    monkeypatch.setattr(MemoryServer, "submit", refuse)
    result = demo()
    assert result.exit_code == 4
    assert len(steps(result)) == 1
    assert list(scratch.iterdir()) == []
