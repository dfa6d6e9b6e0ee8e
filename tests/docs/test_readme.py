"""The README says what happens: its case is converted, its resource is in the Bundle, its rows and commands exist."""

from __future__ import annotations

import re

from click.testing import CliRunner

from service.cli import main
from service.engine import Engine
from service.fhir import json
from service.mapping.coverage import missing
from tests.conftest import ROOT

TEXT = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


def test_the_case_becomes_the_resource_and_comes_back(engine: Engine) -> None:
    case, resource = blocks("json")
    done = engine.convert(case.encode())
    assert done.bundle is not None, [issue.text for issue in done.issues]
    expected = json.loads(resource)
    assert any(not list(missing(expected, entry["resource"])) for entry in done.bundle["entry"])
    assert len(done.bundle["entry"]) == 3
    assert engine.to_case(done.dump()).record == json.loads(case)


def test_the_rows_shown_are_the_rows() -> None:
    rows = (ROOT / "mappings" / "myeloma" / "resources" / "labs.yaml").read_text(encoding="utf-8")
    written = {" ".join(line.split()) for line in rows.splitlines()}
    (shown,) = blocks("yaml")
    assert {" ".join(line.split()) for line in shown.splitlines()} <= written


def test_the_commands_exist() -> None:
    named = set(re.findall(r"`casebridge ([a-z-]+)(?: ([a-z|\\]+))?", TEXT))
    for command, more in named:
        for sub in [[one] for one in more.replace("\\", "").split("|") if one] if command == "mappings" else [[]]:
            assert CliRunner().invoke(main, [command, *sub, "--help"]).exit_code == 0, command


def test_every_link_leads_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", TEXT):
        assert target.startswith("http") or (ROOT / target).exists(), target
