"""The writers of reports: each format in its own terms, and in none a value of a patient."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from html.parser import HTMLParser
from typing import Any, ClassVar
from xml.etree import ElementTree

import pytest

from service import __version__
from service.issues import Issue, Origin
from service.validate.report import FORMATS, Result, Run, Tally, with_spec
from tests.support.hapi_validator import HapiValidator

CANARY = "Kowalski"
TEXT = f'{{\n  "resourceType": "Patient",\n  "name": [{{"family": "{CANARY}", "use": "offical"}}],\n  "gender": 7.50\n}}\n'
SPEC = "http://hl7.org/fhir/R4/terminologies.html#required"


@dataclass(frozen=True)
class Manifest:
    id: str = "hl7.fhir.r4.core"
    version: str = "4.0.1"
    sha256: str = "0a" * 32


def issue(line: int = 3, column: int = 40, *, expression: str = "Patient.name[0].use", **more: Any) -> Issue:
    given = {"fix": "Take a code of the value set.", "spec": SPEC, **more}
    severity, rule = given.pop("severity", "error"), given.pop("rule", "val-binding")
    source = Origin("patient.json", line, column)
    text = "expected a code of NameUse"
    return Issue(severity, "code-invalid", rule, text, expression=expression, pointer="/name/0/use", source=source, **given)


def result(*issues: Issue, **more: Any) -> Result:
    return Result(**{"file": "patient.json", "text": TEXT.encode(), "issues": issues, **more})


def report(name: str, *results: Result, **options: Any) -> str:
    return "".join(FORMATS[name](results, Run(**{"packages": [Manifest()], **options})))


UNREADABLE = result(
    Issue("fatal", "structure", "json-syntax", 'Expected "," here.', source=Origin("bad.json", 1, 9)),
    file="bad.json",
    text=f'{{"name" "{CANARY}"}}'.encode(),
    readable=False,
)
ALL_KINDS = [
    result(issue(), issue(expression="Patient.gender", line=4, column=13, severity="warning")),
    result(file="fine.json"),
    result(file="known.json", suppressed=[(issue(), "agreed with the registry")]),
    result(issue(), file="export.ndjson", line=3),
    result(file="export.ndjson", line=4),
    UNREADABLE,
]


# --- all formats --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FORMATS)
def test_no_value_in_any_report(name: str) -> None:
    told = report(name, *ALL_KINDS)
    assert CANARY not in told
    assert "7.50" not in told


@pytest.mark.parametrize("name", FORMATS)
def test_every_report_names_versions_and_hashes(name: str) -> None:
    told = report(name, *ALL_KINDS)
    for part in (__version__, "hl7.fhir.r4.core", "4.0.1", Manifest.sha256):
        assert part in told, part


@pytest.mark.parametrize("name", FORMATS)
def test_every_report_tells_rule_place_and_remedy(name: str) -> None:
    told = report(name, result(issue()))
    for part in ("val-binding", "Patient.name[0].use", "expected a code of NameUse", "Take a code of the value set."):
        assert part in told, part


@pytest.mark.parametrize("name", FORMATS)
def test_a_report_on_nothing(name: str) -> None:
    assert "error" not in report(name).replace("errors", "").replace(".error", "").replace("--error", "")


@pytest.mark.parametrize("name", FORMATS)
def test_what_a_terminal_or_a_page_would_obey_is_told_as_text(name: str) -> None:
    hostile = issue(expression='Patient.\x1b[31m\x00<script>"&')
    told = report(name, result(hostile, file="<b>\x07.json"))
    assert not re.search("[\x00\x07\x1b]", told)
    assert name not in ("html", "junit") or "<script>" not in told


def test_with_spec_adds_the_clause_and_keeps_what_is_there() -> None:
    known, own, other = with_spec([issue(spec=None), issue(spec="urn:x"), issue(spec=None, rule="obs-6")])
    assert known.spec == SPEC
    assert own.spec == "urn:x"
    assert other.spec is None


# --- text ---------------------------------------------------------------------------------------------------------------


def test_text_shows_place_remedy_clause_and_the_masked_line() -> None:
    assert report("text", result(issue()), summary=False) == (
        "error val-binding: patient.json:3:40 → Patient.name[0].use\n"
        "  expected a code of NameUse\n"
        "  fix: Take a code of the value set.\n"
        f"  see: {SPEC}\n"
        '      3 |   "name": [{"family": "••••••••", "use": "•••••••"}],\n'
        "        |                                        ^\n\n"
    )


def test_text_shows_values_if_asked() -> None:
    assert f'"family": "{CANARY}", "use": "offical"' in report("text", result(issue()), show_values=True)


def test_repeats_are_one_finding_with_a_count() -> None:
    repeated = [issue(line=3, expression=f"Patient.name[{index}].use") for index in range(37)]
    told = report("text", result(*repeated))
    assert told.count("val-binding") == 1
    assert "Patient.name[0].use  × 37\n" in told
    assert report("text", result(*repeated), show_all=True).count("val-binding") == 37


def test_two_elements_that_a_resource_lacks_are_two_findings() -> None:
    lacking = [issue(rule="val-min", expression="Patient").at(text=f"Patient must have {name}.") for name in ("name", "id")]
    told = report("text", result(*lacking))
    assert "must have name" in told
    assert "must have id" in told


def test_other_rules_paths_and_files_are_findings_of_their_own() -> None:
    told = report(
        "text",
        result(issue(), issue(rule="val-code"), issue(expression="Patient.use"), issue(severity="warning")),
        result(issue(), file="other.json"),
    )
    assert told.count("expected a code") == 5
    assert "×" not in told


@pytest.mark.parametrize("name", ["text", "html"])
def test_a_note_is_told_once_for_all_files_and_at_the_end(name: str) -> None:
    note = issue(severity="information", rule="val-binding-unchecked")
    elsewhere = issue(severity="information", rule="val-binding-unchecked", expression="Patient.gender")
    results = [result(note, issue()), result(elsewhere, file="other.json")]
    told = report(name, *results)
    assert told.count("val-binding-unchecked") == 1
    assert told.index("val-binding<" if name == "html" else "val-binding:") < told.index("val-binding-unchecked")
    assert "× 2" in told
    assert report(name, *results, show_all=True).count("val-binding-unchecked") == 2


def test_repeats_are_counted_over_the_lines_of_ndjson() -> None:
    lines = [
        Result("a.ndjson", b'{"use": 1}', [issue().at(source=Origin("a.ndjson", line, 9))], line=line) for line in (1, 2, 3)
    ]
    told = report("text", *lines)
    assert "a.ndjson:1:9 → Patient.name[0].use  × 3" in told
    assert '      1 | {"use": •}\n        |         ^\n' in told


def test_colour_marks_the_severity_only_if_asked() -> None:
    assert report("text", result(issue()), colour=True).startswith("\x1b[31merror\x1b[0m val-binding: ")
    assert "\x1b" not in report("text", result(issue()))


@pytest.mark.parametrize(
    ("results", "sentence"),
    [
        ([], "0 files: no issues"),
        ([result()], "1 file: no issues"),
        (ALL_KINDS, "5 files with 6 resources: 3 errors, 1 warning, 1 suppressed, 1 unreadable"),
        ([result(issue(severity="information"))], "1 file: 1 note"),
    ],
)
def test_the_summary_counts(results: list[Result], sentence: str) -> None:
    tally = Tally()
    assert list(tally.counting(results)) == results
    assert str(tally) == sentence
    assert report("text", *results).count(f"{sentence}\njudged by") == 1


# --- JSON ---------------------------------------------------------------------------------------------------------------


def extensions(part: dict[str, Any]) -> dict[str, Any]:
    """The values of extensions by the last word of their URLs."""
    found = part.get("extension", [])
    return {one["url"].rpartition("/")[2]: next(one[key] for key in one if key != "url") for one in found}


def test_one_result_is_one_indented_outcome() -> None:
    outcome = json.loads(report("json", result(issue())))
    [told] = outcome["issue"]
    assert outcome["resourceType"] == "OperationOutcome"
    assert extensions(outcome)["operationoutcome-file"] == "patient.json"
    assert told["expression"] == ["Patient.name[0].use"]
    assert told["details"]["coding"][0]["code"] == "val-binding"
    assert extensions(told) == {
        "operationoutcome-issue-line": 3,
        "operationoutcome-issue-col": 40,
        "case-path": "/name/0/use",
        "operationoutcome-authority": SPEC,
    }


def test_several_results_are_one_outcome_a_line_in_their_order() -> None:
    lines = [json.loads(line) for line in report("json", *ALL_KINDS).splitlines()]
    names = ["patient.json", "fine.json", "known.json", "export.ndjson:3", "export.ndjson:4", "bad.json"]
    assert [extensions(line)["operationoutcome-file"] for line in lines] == names
    assert lines[1]["issue"][0]["details"]["text"] == "No issues found."
    assert lines[2]["issue"][0]["details"]["coding"][0]["code"] == "issues-suppressed"


@pytest.mark.hapi
def test_hapi_accepts_the_outcomes(hapi: HapiValidator) -> None:
    for line in report("json", *ALL_KINDS).splitlines():
        verdict = hapi.validate(line.encode())
        assert verdict.valid, verdict


# --- SARIF --------------------------------------------------------------------------------------------------------------


def test_sarif_has_what_the_standard_requires() -> None:
    """Required properties: SARIF 2.1.0, sections 3.13 (log), 3.14 (run), 3.18 (tool), 3.19, 3.27 (result), 3.35."""
    log = json.loads(report("sarif", *ALL_KINDS))
    assert log["version"] == "2.1.0"
    [run] = log["runs"]
    driver = run["tool"]["driver"]
    assert driver["name"] == "casebridge"
    assert [rule["id"] for rule in driver["rules"]] == ["val-binding", "json-syntax"]
    assert [one["ruleId"] for one in run["results"]] == ["val-binding"] * 4 + ["json-syntax"]
    assert [one["level"] for one in run["results"]] == ["error", "warning", "error", "error", "error"]
    assert all(one["message"]["text"] for one in run["results"])
    assert run["invocations"] == [{"executionSuccessful": True}]
    suppressed = run["results"][2]["suppressions"]
    assert suppressed == [{"kind": "external", "justification": "agreed with the registry"}]


@pytest.mark.parametrize(
    ("file", "uri"),
    [
        ("a b/ü.json", "a%20b/%C3%BC.json"),
        ("-", "stdin"),
        ("/tmp/x y.json", "file:///tmp/x%20y.json"),
        ("a:b.json", "a%3Ab.json"),
    ],
)
def test_sarif_names_files_by_uri_and_places_by_line(file: str, uri: str) -> None:
    log = json.loads(report("sarif", result(issue(), file=file)))
    [location] = log["runs"][0]["results"][0]["locations"]
    physical = {"artifactLocation": {"uri": uri}, "region": {"startLine": 3, "startColumn": 40}}
    assert location["physicalLocation"] == physical
    assert location["logicalLocations"][0]["fullyQualifiedName"] == "Patient.name[0].use"


# --- JUnit --------------------------------------------------------------------------------------------------------------


def test_junit_has_a_suite_a_file_and_a_case_a_resource() -> None:
    suites = ElementTree.fromstring(report("junit", *ALL_KINDS))
    counts = [(one.get("name"), one.get("tests"), one.get("failures"), one.get("errors")) for one in suites]
    assert counts == [
        ("patient.json", "1", "1", "0"),
        ("fine.json", "1", "0", "0"),
        ("known.json", "1", "0", "0"),
        ("export.ndjson", "2", "1", "0"),
        ("bad.json", "1", "0", "1"),
    ]
    case = suites.find("testsuite/testcase")
    assert case is not None
    assert [child.tag for child in case] == ["failure", "system-out"]
    assert case[0].get("type") == "val-binding"


# --- HTML ---------------------------------------------------------------------------------------------------------------


class Page(HTMLParser):
    """Checks that every element is closed where it should be, and collects what the page would load."""

    VOID: ClassVar = {"meta", "br"}

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        assert not {"src", "style", "onclick"} & {name for name, _value in attrs}
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_whole_loads_nothing_and_can_be_read_aloud() -> None:
    told = report("html", *ALL_KINDS)
    page = Page()
    page.feed(told)
    assert page.open == []
    assert not page.seen & {"script", "img", "link", "iframe"}
    assert page.seen >= {"main", "caption", "th", "h1", "h2"}
    assert '<html lang="en">' in told
    assert "prefers-color-scheme: dark" in told
    assert "url(" not in told
    assert "@import" not in told
    assert f'<a href="{SPEC}">' in told
    assert "agreed with the registry" in told
