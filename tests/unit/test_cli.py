"""The command as its users meet it: results on standard output, talk on standard error, exit codes, no value out of place."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from service.cli import main
from service.config import deployment_key, read_settings
from service.examples import EXAMPLE_KEY
from service.fhir import json
from tests.conftest import ROOT

CASE = ROOT / "examples" / "cases" / "qian-2021.json"
GOLDEN = ROOT / "examples" / "bundles" / "qian-2021.json"
SMALL = {"case": "c-1", "patient": {"sex": "female"}, "labs": [{"test": "Hemoglobin", "value": 86, "unit": "g/L"}]}


@pytest.fixture(autouse=True)
def _example_key(monkeypatch: pytest.MonkeyPatch, _own_home: None) -> None:
    monkeypatch.setenv("CASEBRIDGE_KEY", EXAMPLE_KEY.decode())


def run(*arguments: str | Path, stdin: bytes | None = None) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments], input=stdin)


def written(tmp_path: Path, record: object, name: str = "case.json") -> Path:
    path = tmp_path / name
    path.write_bytes(json.dumps(record))
    return path


def commands(group: click.Group, above: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found = []
    for name, command in group.commands.items():
        found.append((*above, name))
        if isinstance(command, click.Group):
            found += commands(command, (*above, name))
    return found


@pytest.mark.parametrize("command", commands(main), ids=" ".join)
def test_every_command_has_help(command: tuple[str, ...]) -> None:
    result = run(*command, "--help")
    assert result.exit_code == 0
    assert "Usage:" in result.stdout


def test_convert_prints_the_bundle() -> None:
    result = run("convert", CASE)
    assert result.exit_code == 0
    assert result.stdout_bytes == GOLDEN.read_bytes()
    assert result.stderr == ""


def test_convert_reads_standard_input() -> None:
    assert run("convert", "-", stdin=CASE.read_bytes()).stdout_bytes == GOLDEN.read_bytes()


def test_a_folder_goes_to_a_folder_under_the_same_names(tmp_path: Path) -> None:
    result = run("convert", CASE.parent, "-o", tmp_path / "out")
    assert result.exit_code == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(path.name for path in CASE.parent.iterdir())
    assert "3 of 3 written" in result.stderr


def test_several_results_on_standard_output_are_one_a_line() -> None:
    lines = run("convert", CASE.parent).stdout_bytes.splitlines()
    assert [json.loads(line)["resourceType"] for line in lines] == ["Bundle"] * 3


def test_transaction_bundles_create_conditionally() -> None:
    bundle = json.loads(run("convert", CASE, "--type", "transaction").stdout_bytes)
    assert bundle["type"] == "transaction"
    assert all(entry["request"]["ifNoneExist"].startswith("identifier=") for entry in bundle["entry"])


def test_to_case_gives_the_case_back(tmp_path: Path) -> None:
    result = run("to-case", GOLDEN, "-o", tmp_path / "case.json")
    assert result.exit_code == 0
    assert json.loads((tmp_path / "case.json").read_bytes()) == json.loads(CASE.read_bytes())


def test_what_the_form_cannot_hold_is_named_and_is_a_finding(tmp_path: Path) -> None:
    bundle = json.loads(GOLDEN.read_bytes())
    bundle["entry"][0]["resource"]["telecom"] = [{"system": "phone", "value": "0123"}]
    result = run("to-case", written(tmp_path, bundle))
    assert result.exit_code == 1
    assert "Bundle.entry[0].resource.telecom" in result.stderr
    assert "0123" not in result.stderr
    assert json.loads(result.stdout_bytes)["case"] == "qian-2021"


def test_an_unmapped_field_is_an_error_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "case.json"
    path.write_text('{"case": "c-1", "patient": {"sex": "female"},\n "labs": [{"test": "IgG", "valeu": 1, "unit": "g/L"}]}')
    result = run("convert", path)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert f"{path}:2:27 /labs/0/valeu" in result.stderr
    assert "value" in result.stderr


def test_lenient_makes_it_a_warning_that_names_it(tmp_path: Path) -> None:
    result = run("convert", "--lenient", written(tmp_path, {**SMALL, "shoeSize": 38}))
    assert result.exit_code == 0
    assert "warning case-unknown-field" in result.stderr
    assert "/shoeSize" in result.stderr
    assert len(json.loads(result.stdout_bytes)["entry"]) == 2


def test_issues_as_json_are_an_operation_outcome(tmp_path: Path) -> None:
    result = run("convert", "--json", written(tmp_path, {**SMALL, "shoeSize": 38}))
    outcome = json.loads(result.stderr_bytes)
    assert result.exit_code == 1
    assert outcome["resourceType"] == "OperationOutcome"
    assert outcome["issue"][0]["details"]["coding"][0]["code"] == "case-unknown-field"


def test_explain_names_field_and_row_of_each_element(tmp_path: Path) -> None:
    assert run("convert", written(tmp_path, SMALL), "--explain", tmp_path / "why.json").exit_code == 0
    traces = {trace["expression"]: trace for trace in json.loads((tmp_path / "why.json").read_bytes())}
    value = traces["Bundle.entry[1].resource.value"]
    assert value["case"] == ["/labs/0/value"]
    assert value["rule"].startswith("myeloma/resources/labs.yaml:")


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        (b"{", "json-syntax"),
        (b'{"a":1,"a":2}', "json-duplicate-key"),
        (b'{"a":NaN}', "json-number"),
        (b"\xff", "json-encoding"),
    ],
)
def test_what_is_no_json_is_unreadable(text: bytes, rule: str) -> None:
    result = run("convert", "-", stdin=text)
    assert result.exit_code == 3
    assert rule in result.stderr


def test_one_bad_file_does_not_stop_the_others(tmp_path: Path) -> None:
    written(tmp_path, SMALL, "a.json")
    (tmp_path / "b.json").write_bytes(b"{")
    result = run("convert", tmp_path, "-o", tmp_path / "out")
    assert result.exit_code == 3
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a.json"]
    assert "1 of 2 written" in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("convert", "no-such-file.json"),
        ("convert", str(CASE), "--mapping", "no-such-set"),
        ("convert", str(CASE), "--mapping", "../../etc/passwd"),
        ("convert", str(CASE), "--type", "banana"),
        ("convert",),
        ("mappings", "show", "myeloma", "no-such-file"),
    ],
    ids=lambda arguments: " ".join(arguments)[-40:],
)
def test_usage_errors(arguments: tuple[str, ...]) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert "Traceback" not in result.output


def test_a_bad_set_is_told_with_file_and_line(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "mappings" / "myeloma", tmp_path / "mine")
    labs = tmp_path / "mine" / "resources" / "labs.yaml"
    labs.write_text(labs.read_text().replace("  subject: ", "  subjekt: "))
    result = run("mappings", "check", tmp_path / "mine")
    assert result.exit_code == 1
    assert "mine/resources/labs.yaml:" in result.stderr
    assert "subject" in result.stderr


def test_the_shipped_set_is_listed_checked_shown_and_tested() -> None:
    assert run("mappings", "list").stdout.split() == ["myeloma"]
    assert "ok: myeloma" in run("mappings", "check").stderr
    shown = run("mappings", "show", "myeloma", "labs")
    assert "test!" in shown.stdout
    assert "Observation.code" in shown.stdout
    assert "def write(" in run("mappings", "show", "myeloma", "labs", "--code").stdout
    assert json.loads(run("mappings", "show", "--schema").stdout_bytes)["type"] == "object"
    tested = run("mappings", "test")
    assert (tested.exit_code, "examples of myeloma run" in tested.stderr) == (0, True)


def test_coverage_names_idle_rows_and_uncoded_terms(tmp_path: Path) -> None:
    result = run("mappings", "coverage", "myeloma", written(tmp_path, SMALL), "--json")
    counted = json.loads(result.stdout_bytes)
    assert any("drugs.yaml" in line for line in counted["idle"])
    assert not any("labs.yaml" in line and line.endswith(" code") for line in counted["idle"])


def test_an_internal_error_shows_its_type_and_nothing_of_the_case(monkeypatch: pytest.MonkeyPatch) -> None:
    def explode(*_arguments: object, **_named: object) -> None:
        raise RuntimeError("Jane Kowalski")

    monkeypatch.setattr("service.engine.to_resources", explode)
    result = run("convert", CASE)
    assert result.exit_code == 5
    assert "RuntimeError" in result.stderr
    assert "Kowalski" not in result.output


def test_the_deployment_key_is_made_once_and_is_its_owners(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CASEBRIDGE_KEY")
    settings = read_settings()
    first = deployment_key(settings)
    assert deployment_key(settings) == first
    assert len(first) == 64
    assert stat.S_IMODE((settings.home / "key").stat().st_mode) == 0o600
    assert [path.name for path in settings.home.iterdir()] == ["key"]


def test_a_home_that_cannot_be_written_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.delenv("CASEBRIDGE_KEY")
    monkeypatch.setenv("CASEBRIDGE_HOME", str(tmp_path / "file" / "home"))
    result = run("convert", CASE)
    assert result.exit_code == 3
    assert "CASEBRIDGE_KEY" in result.stderr


# --- nothing is overwritten that was not meant to be --------------------------------------------------------------------


def test_a_result_never_replaces_an_input(tmp_path: Path) -> None:
    case = written(tmp_path, SMALL)
    before = case.read_bytes()
    for arguments in (("-o", case), ("-o", tmp_path), ("--explain", case), ("-o", tmp_path / "x", "--explain", tmp_path / "x")):
        result = run("convert", case, *arguments)
        assert result.exit_code == 2, arguments
        assert case.read_bytes() == before


def test_two_inputs_of_one_name_are_not_one_result(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        written(tmp_path / folder, SMALL)
    result = run("convert", tmp_path / "a", tmp_path / "b", "-o", tmp_path / "out")
    assert result.exit_code == 2
    assert "two results would be written to" in result.stderr
    assert not list((tmp_path / "out").iterdir())


def test_a_link_keeps_leading_to_its_file(tmp_path: Path) -> None:
    case, real, link = written(tmp_path, SMALL), tmp_path / "real.json", tmp_path / "link.json"
    real.write_text("old")
    link.symlink_to(real)
    assert run("convert", case, "-o", link).exit_code == 0
    assert link.is_symlink()
    assert json.loads(real.read_bytes())["resourceType"] == "Bundle"


def test_a_pipe_stays_a_pipe(tmp_path: Path) -> None:
    case, pipe = written(tmp_path, SMALL), tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        assert run("convert", case, "-o", pipe).exit_code == 0
        assert stat.S_ISFIFO(pipe.stat().st_mode)
        assert json.loads(os.read(reader, 1_000_000))["resourceType"] == "Bundle"
    finally:
        os.close(reader)


@pytest.mark.parametrize("arguments", [("",), ("-", "-")], ids=["an empty name", "standard input twice"])
def test_inputs_that_make_no_sense(arguments: tuple[str, ...]) -> None:
    assert run("convert", *arguments, stdin=b"{}").exit_code == 2


def test_what_the_system_refuses_is_told(tmp_path: Path) -> None:
    result = run("convert", written(tmp_path, SMALL), "-o", tmp_path / "no" / "such" / "x.json")
    assert result.exit_code == 2
    assert "No such file or directory" in result.stderr


def test_a_failed_check_leaves_the_explanation_alone(tmp_path: Path) -> None:
    precious = tmp_path / "why.json"
    precious.write_text("precious")
    assert run("convert", tmp_path / "nothing.json", "--explain", precious).exit_code == 2
    assert precious.read_text() == "precious"


@pytest.mark.parametrize("key", ["", " ", "short"])
def test_a_key_that_is_none_is_refused(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CASEBRIDGE_KEY")
    home = read_settings().home
    home.mkdir(parents=True)
    (home / "key").write_text(key)
    result = run("convert", CASE)
    assert result.exit_code == 3
    assert "config-key" in result.stderr
