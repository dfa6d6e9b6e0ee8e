"""`casebridge validate` as its users meet it. What is right and wrong FHIR is not tested here: a stand-in validator decides."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import pytest
from click.testing import CliRunner, Result
from rich.console import Console

from service import __version__
from service.cli import main
from service.cli.inputs import resources
from service.cli.progress import drawn, progress
from service.cli.validate import FORMAT_NAMES
from service.errors import Usage
from service.fhir import json as door
from service.issues import Issue, Origin
from service.validate.report import FORMATS
from service.validate.validator import load_validator
from tests.conftest import ROOT
from tests.unit.validate.test_report import Manifest

GOOD = b'{"resourceType": "Patient", "gender": "female"}'
BAD = b'{"resourceType": "Patient", "gender": "femail"}'
VAGUE = b'{"resourceType": "Patient", "gender": "unsure"}'


class Profiles:
    """All profiles are at hand but one."""

    def structure(self, url: str) -> object:
        return None if url == "http://unknown" else url


@dataclass
class StandIn:
    """A validator for which "femail" is an error and "unsure" a warning. It notes what it was asked."""

    packages: ClassVar = [Manifest()]
    notes: ClassVar[list[Issue]] = []
    book: ClassVar = Profiles()

    limits: door.Limits = door.DEFAULT
    loaded: tuple[Sequence[Path], dict[str, Any]] = ((), {})
    asked: list[dict[str, Any]] = field(default_factory=list)

    def load(self, packages: Sequence[Path] = (), **options: Any) -> StandIn:
        if any(path.suffix != ".tgz" for path in packages):
            raise Usage([Issue("error", "not-found", "package-missing", "there is no such package", fix="see --help")])
        self.loaded = (packages, options)
        return self

    def validate(self, text: bytes, **asked: Any) -> list[Issue]:
        self.asked.append(asked)
        gender = door.loads(text, file=asked["file"], limits=self.limits).get("gender")
        if gender not in ("femail", "unsure"):
            return []
        source = Origin(asked["file"], 1, text.index(b'"fem' if gender == "femail" else b'"uns') + 1)
        severity: Any = "error" if gender == "femail" else "warning"
        return [
            Issue(
                severity, "code-invalid", "val-binding", "no code of the value set", expression="Patient.gender", source=source
            )
        ]


@pytest.fixture(autouse=True)
def validator(monkeypatch: pytest.MonkeyPatch) -> StandIn:
    stand_in = StandIn()
    monkeypatch.setattr("service.validate.validator.load_validator", stand_in.load)
    return stand_in


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with three resources in two files."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in" / "deep").mkdir(parents=True)
    (tmp_path / "in" / "z.json").write_bytes(BAD)
    (tmp_path / "in" / "deep" / "a.ndjson").write_bytes(GOOD + b"\n\n" + VAGUE + b"\n")
    (tmp_path / "in" / "notes.txt").write_text("not FHIR")
    return tmp_path


def run(*arguments: str | Path, stdin: bytes | None = None) -> Result:
    return CliRunner().invoke(main, ["validate", *(str(argument) for argument in arguments)], input=stdin)


def files(result: Result) -> list[str]:
    """The names of the resources in a JSON report."""
    return [json.loads(line)["extension"][0]["valueString"] for line in result.stdout.splitlines()]


def test_the_formats_are_those_of_the_writers() -> None:
    assert tuple(FORMATS) == FORMAT_NAMES


@pytest.mark.parametrize(
    ("text", "code"),
    [(GOOD, 0), (VAGUE, 0), (BAD, 1), (b"{", 3), (b"", 3)],
    ids=["good", "warning", "error", "cut off", "empty"],
)
def test_exit_codes(text: bytes, code: int) -> None:
    assert run("-", stdin=text).exit_code == code


def test_results_go_to_standard_output_with_a_masked_excerpt() -> None:
    result = run("-", stdin=BAD)
    assert result.stderr == ""
    assert "error val-binding: -:1:39 → Patient.gender\n" in result.stdout
    assert "femail" not in result.stdout
    line, caret = result.stdout.splitlines()[-6:-4]
    assert line[caret.index("^") :] == '"••••••"}'
    assert "1 file: 1 error" in result.stdout


def test_values_show_if_asked(validator: StandIn) -> None:
    assert '"gender": "femail"' in run("-", "--show-values", stdin=BAD).stdout
    assert validator.asked[-1]["show_values"] is True


def test_folders_are_read_with_all_below_them_in_sorted_order(folder: Path) -> None:
    result = run("in", "--json")
    assert files(result) == ["in/deep/a.ndjson:1", "in/deep/a.ndjson:3", "in/z.json"]
    assert result.exit_code == 1


def test_files_are_reported_in_the_order_given(folder: Path) -> None:
    assert files(run("in/z.json", "in/deep", "--json")) == ["in/z.json", "in/deep/a.ndjson:1", "in/deep/a.ndjson:3"]


def test_places_in_ndjson_count_in_the_file(folder: Path) -> None:
    result = run("in/deep")
    assert "warning val-binding: in/deep/a.ndjson:3:39 → Patient.gender" in result.stdout
    assert "1 file with 2 resources: 1 warning" in result.stdout


def test_a_bad_line_or_file_does_not_stop_the_others(folder: Path) -> None:
    (folder / "x.ndjson").write_bytes(BAD + b"\n{\n" + BAD)
    (folder / "y.json").write_bytes(BAD)
    result = run("x.ndjson", "y.json")
    assert result.exit_code == 3
    assert "3 errors" not in result.stdout
    assert "fatal json-syntax: x.ndjson:2:2" in result.stdout
    assert "2 files with 4 resources: 4 errors, 1 unreadable" in result.stdout


def test_a_file_that_the_system_refuses_does_not_stop_the_others(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def read(path: Path) -> bytes:
        if path.name == "a.json":
            raise PermissionError(13, "Permission denied", str(path))
        return BAD

    (folder / "in" / "a.json").touch()
    monkeypatch.setattr("service.cli.inputs.read_input", read)
    result = run("in/a.json", "in/z.json")
    assert result.exit_code == 3
    assert "fatal file-unreadable: in/a.json\n  the file cannot be read: Permission denied" in result.stdout
    assert "error val-binding: in/z.json" in result.stdout


def test_errors_only(folder: Path) -> None:
    result = run("in", "--errors-only")
    assert "warning" not in result.stdout
    assert "2 files with 3 resources: 1 error" in result.stdout
    assert "1 file with 2 resources: no errors" in run("in/deep", "--errors-only").stdout


def test_quiet_is_findings_only(folder: Path) -> None:
    result = run("in/z.json", "--quiet")
    assert result.exit_code == 1
    assert "judged by" not in result.stdout
    assert run("in/deep", "--quiet", "--errors-only").output == ""


@pytest.mark.parametrize("name", FORMAT_NAMES)
def test_every_format_goes_to_a_file_with_a_word_on_standard_error(folder: Path, name: str) -> None:
    result = run("in", "--format", name, "-o", "report")
    assert result.stdout == ""
    assert result.stderr == "2 files with 3 resources: 1 error, 1 warning\n"
    assert "val-binding" in (folder / "report").read_text(encoding="utf-8")


def test_packages_profiles_and_terminology_reach_the_validator(
    folder: Path, validator: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "own.tgz").touch()
    (folder / "always.tgz").touch()
    (folder / "codes").mkdir()
    monkeypatch.setenv("CASEBRIDGE_PACKAGES", "always.tgz")
    run("in/z.json", "--package", "own.tgz", "--profile", "http://a", "--profile", "http://b", "--terminology", "codes")
    packages, options = validator.loaded
    assert packages == [Path("always.tgz"), Path("own.tgz")]
    assert options["terminology"] == [Path("codes")]
    assert validator.asked[0]["profiles"] == ("http://a", "http://b")


def test_what_packages_lack_is_told_on_standard_error(validator: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"package {name} that another needs is missing" for name in "abc"]
    notes = [Issue("warning", "not-found", "package-dependency", text, fix="give it") for text in texts]
    monkeypatch.setattr(StandIn, "notes", notes)
    told = run("-", stdin=GOOD).stderr
    assert told.count("package-dependency") == 1
    assert f"{texts[0]}\n  and 2 more such (--all shows them)\n" in told
    assert all(text in run("-", "--all", stdin=GOOD).stderr for text in texts)
    assert run("-", "--quiet", stdin=GOOD).stderr == ""


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("nothing.json",),
        ("-", "-"),
        ("in/z.json", "--format", "pdf"),
        ("in/z.json", "--json", "--format", "html"),
        ("in/z.json", "--package", "nothing.tgz"),
        ("in/z.json", "--package", "in/notes.txt"),
        ("in/z.json", "--package", ""),
        ("in/z.json", "--terminology", "nothing"),
        ("in/z.json", "--profile", "http://unknown"),
        ("in/z.json", "--profile", ""),
        ("in/z.json", "-o", ""),
        ("in/z.json", "--suppress", "nothing.yaml"),
        ("in/z.json", "-o", "in/z.json"),
        ("in/z.json", "-o", "in"),
        ("empty",),
    ],
    ids=" ".join,
)
def test_usage_errors(folder: Path, arguments: tuple[str, ...]) -> None:
    (folder / "empty").mkdir()
    result = run(*arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert (folder / "in" / "z.json").read_bytes() == BAD


def test_a_profile_that_no_package_has_is_named() -> None:
    assert "no package at hand defines the profile http://unknown" in run("-", "--profile", "http://unknown").stderr


@pytest.mark.parametrize("command", [("validate", "in/z.json"), ("serve",)], ids=" ".join)
def test_packages_of_the_environment_must_be_there(
    folder: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    monkeypatch.setenv("CASEBRIDGE_PACKAGES", "gone.tgz")
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 2
    assert "CASEBRIDGE_PACKAGES names what is not there: gone.tgz" in result.stderr


def test_a_report_that_cannot_be_written_is_told_by_its_own_name(folder: Path) -> None:
    result = run("in/z.json", "-o", "nowhere/report.txt")
    assert result.exit_code == 2
    assert result.stderr == f"cannot read or write {folder}/nowhere/report.txt: No such file or directory\n"


def test_must_support_is_noted_if_asked(validator: StandIn) -> None:
    run("-", stdin=GOOD)
    run("-", "--must-support", stdin=GOOD)
    assert [asked["must_support"] for asked in validator.asked] == [False, True]


def test_files_longer_than_the_service_takes_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(StandIn, "limits", door.Limits(max_bytes=10))
    assert run("-", stdin=GOOD).exit_code == 0


@pytest.mark.parametrize(
    ("text", "said"),
    [(b" \n", "There is nothing in it."), (b'\xef\xbb\xbf <Patient xmlns="http://hl7.org/fhir"/>', "This looks like XML")],
    ids=["empty", "XML"],
)
def test_what_is_no_json_at_all_is_called_by_its_name(text: bytes, said: str) -> None:
    result = run("-", stdin=text)
    assert result.exit_code == 3
    assert said in result.stdout


# --- suppressions -------------------------------------------------------------------------------------------------------

ACCEPTED = "- rule: val-binding\n  expression: Patient.gender\n  reason: agreed with the registry\n"


def test_what_is_suppressed_is_counted_and_no_finding(folder: Path) -> None:
    (folder / "accepted.yaml").write_text(ACCEPTED)
    result = run("in", "--suppress", "accepted.yaml")
    assert result.exit_code == 0
    assert result.stderr == ""
    assert result.stdout.startswith("2 files with 3 resources: 2 suppressed\n")


def test_unused_and_expired_suppressions_are_told(folder: Path) -> None:
    entry = ACCEPTED.replace("Patient.gender", "Patient.name")
    (folder / "accepted.yaml").write_text(f"{entry}{entry}  expires: 2020-12-31\n")
    result = run("in/deep", "--suppress", "accepted.yaml")
    assert result.exit_code == 0
    assert "warning suppress-unused: accepted.yaml:1:9" in result.stderr
    assert "warning suppress-expired: accepted.yaml:4:9" in result.stderr
    assert run("in/deep", "--suppress", "accepted.yaml", "--quiet").stderr == ""


# --- inputs -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        (GOOD, [None]),
        (GOOD + b"\n", [None]),
        (GOOD + b"\n" + BAD, [1, 2]),
        (b"\n" + GOOD + b"\r\n\r\n" + BAD + b"\r\n", [2, 4]),
        (b'{\n"a": 1\n}', [None]),
        (b'{"a":\n{"b": 1}}', [None]),
        (GOOD + b"\n}", [None]),
        (b"[1]\n{}", [None]),
        (b"", [None]),
    ],
)
def test_ndjson_is_known_by_its_content(tmp_path: Path, text: bytes, lines: list[int | None]) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(text)
    assert [line for line, _text in resources(path)] == lines


def test_ndjson_is_known_by_its_name(tmp_path: Path) -> None:
    path = tmp_path / "x.ndjson"
    path.write_bytes(GOOD)
    assert [line for line, _text in resources(path)] == [1]


# --- the page about validation ------------------------------------------------------------------------------------------


def blocks(language: str) -> list[str]:
    page = (ROOT / "docs" / "validation.md").read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL)


def test_the_report_of_the_page_is_the_report(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.validate.validator.load_validator", load_validator)
    (resource,), (shown,) = blocks("json"), blocks("text")
    Path("patient.json").write_text(resource, encoding="utf-8")
    command, told = shown.split("\n", 1)
    assert command == "$ casebridge validate patient.json"
    assert run("patient.json").stdout == re.sub(r"casebridge \d\S+", f"casebridge {__version__}", told)


def test_the_suppressions_of_the_page_can_be_read(folder: Path) -> None:
    Path("accepted.yaml").write_text(*blocks("yaml"), encoding="utf-8")
    assert run("in/deep", "--suppress", "accepted.yaml").exit_code == 0


# --- the progress bar ---------------------------------------------------------------------------------------------------


def test_the_bar_counts_and_gives_way_to_results() -> None:
    screen = io.StringIO()
    with drawn(1000, Console(file=screen, force_terminal=True, width=100)) as bar:
        bar.advance(250)
        with bar.hidden():
            screen.write("RESULT")
        bar.advance(250)
    told = screen.getvalue()
    assert "25%" in told[: told.index("RESULT")]
    assert "50%" in told[told.index("RESULT") :]
    assert "2 resources" in told


def test_there_is_no_bar_where_nobody_looks(capsys: pytest.CaptureFixture[str]) -> None:
    with progress(10_000_000, quiet=False) as bar:
        bar.advance(5)
        with bar.hidden():
            pass
    assert capsys.readouterr() == ("", "")
