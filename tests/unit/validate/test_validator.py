"""The validator as a whole: what it takes, the places and the order of what it says, and where it stops."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from service.errors import UnreadableInput, Usage
from service.fhir.json import Limits
from service.issues import Origin
from service.validate import run
from service.validate.validator import Validator, load_validator
from tests.support.definitions import HOME, OBSERVATION, PATIENT, core, element, found, package, profile, with_

TEXT = b"""{
  "resourceType": "Patient",
  "gender": "woman",
  "name": [
    {"given": ["A", 1]}
  ]
}"""


def test_each_issue_has_all_its_places() -> None:
    first, second = core().validate(TEXT, file="a.json")
    assert (first.rule, first.pointer, first.expression) == ("val-binding", "/gender", "Patient.gender")
    assert first.source == Origin("a.json", 3, 3)
    assert (second.pointer, second.expression) == ("/name/0/given/1", "Patient.name[0].given[1]")
    assert second.source == Origin("a.json", 5, 21)


def test_issues_stand_in_the_order_of_the_text() -> None:
    members = json.loads(TEXT)
    for text in (TEXT, json.dumps(dict(reversed(members.items()))).encode()):
        lines = [(issue.source.line, issue.source.column) for issue in core().validate(text) if issue.source]
        assert lines == sorted(lines, key=lambda each: (each[0] or 0, each[1] or 0))


@pytest.mark.parametrize("text", [b"", b"{", b'{"a": 1, "a": 2}', b"\xff", b"[" * 100 + b"]" * 100, b"{} {}", b"<Patient/>"])
def test_what_is_no_json_cannot_be_read(text: bytes) -> None:
    with pytest.raises(UnreadableInput):
        core().validate(text)


def test_the_limits_are_its_own() -> None:
    small = Validator(core().book, (), limits=Limits(max_bytes=20))
    with pytest.raises(UnreadableInput):
        small.validate(TEXT)


def test_a_byte_order_mark_changes_nothing() -> None:
    assert core().validate(b"\xef\xbb\xbf" + TEXT) == core().validate(TEXT)


@pytest.mark.parametrize("shows", [False, True])
def test_urls_of_the_resource_are_quoted_only_on_request(shows: bool) -> None:
    code = {"coding": [{"system": "http://example.org/Miller", "code": "a"}]}
    text = json.dumps(OBSERVATION | {"code": code}).encode()
    (issue,) = core().validate(text, show_values=shows)
    assert ("Miller" in issue.text) is shows


def test_it_stops_where_nobody_would_read_on() -> None:
    issues = core().validate(json.dumps(PATIENT | {"name": [{}] * (run.MOST_FINDINGS + 5)}).encode())
    assert len(issues) == run.MOST_FINDINGS
    (last,) = [issue for issue in issues if issue.severity == "fatal"]
    assert (last.rule, last.expression) == ("val-too-many", "Patient")


def test_so_many_as_it_lists_are_not_too_many() -> None:
    issues = core().validate(json.dumps(PATIENT | {"name": [{}] * (run.MOST_FINDINGS - 1)}).encode())
    assert {issue.rule for issue in issues} == {"val-ele-1"}


def test_a_profile_without_end_is_given_up(tmp_path: Path) -> None:
    """Its own root element must meet the profile itself: nobody can say what that means."""
    nobody = element("HumanName", type=[{"code": "HumanName", "profile": [HOME + "x"]}])
    names = profile("x", "HumanName", kind="complex-type", snapshot={"element": [nobody]})
    own = profile(
        "p",
        "Patient",
        element("Patient.name", slicing={"discriminator": [{"type": "value", "path": "family"}], "rules": "open"}),
        element("Patient.name:s", type=[{"code": "HumanName", "profile": [HOME + "x"]}]),
    )
    text = json.dumps(PATIENT | {"name": [{"text": "A"}]}).encode()
    (issue,) = with_(tmp_path, own, names).validate(text, profiles=[HOME + "p"])
    assert (issue.rule, issue.severity) == ("val-too-deep", "fatal")


def test_packages_and_what_they_lack_are_told(tmp_path: Path) -> None:
    folder = package(tmp_path / "mine", profile("x", "Patient"))
    (folder / "package.json").write_text('{"name": "mine", "version": "1", "dependencies": {"other": "2"}}', encoding="utf-8")
    validator = load_validator([folder])
    assert [str(each) for each in validator.packages] == ["hl7.fhir.r4.core#4.0.1", "mine#1"]
    assert [issue.rule for issue in validator.notes] == ["val-package-dependency"]
    with pytest.raises(Usage):
        load_validator([tmp_path / "nowhere"])


def test_terminology_of_ones_own_wins_over_packages(tmp_path: Path) -> None:
    def validator(first: str, second: str) -> Validator:
        folders = [
            package(tmp_path / name, {"resourceType": "CodeSystem", "url": HOME + "c", "concept": [{"code": name}]})
            for name in (first, second)
        ]
        return load_validator(folders[:1], terminology=folders[1:])

    resource: dict[str, Any] = OBSERVATION | {"code": {"coding": [{"system": HOME + "c", "code": "a"}]}}
    assert found(resource, validator("b", "a")) == []
    assert [rule for rule, _ in found(resource, validator("a", "b"))] == ["val-code"]
