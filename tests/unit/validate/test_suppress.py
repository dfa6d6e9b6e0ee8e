"""Suppressions: what they silence, what they never do, when they end, and what is wrong with a file of them."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from service.errors import Usage
from service.issues import Issue, Severity
from service.validate.suppress import KEYS, Suppressions, read_suppressions

TODAY = date(2026, 3, 1)
ENTRY = """\
- rule: val-display
  expression: Bundle.entry[*].resource.code.coding[0]
  reason: the registry's own wording
"""


def suppressions(tmp_path: Path, text: str) -> Suppressions:
    path = tmp_path / "accepted.yaml"
    path.write_text(text, encoding="utf-8")
    return read_suppressions(path, "accepted.yaml", today=TODAY)


def issue(
    expression: str | None = "Bundle.entry[7].resource.code.coding[0]", rule: str = "val-display", severity: Severity = "error"
) -> Issue:
    return Issue(severity, "invalid", rule, "another display", expression=expression)


def silenced(held: Suppressions, one: Issue, file: str = "cases/a.json") -> str | None:
    """The reason for which an issue is silenced."""
    kept, found = held.split([one], file)
    assert len(kept) + len(found) == 1
    return found[0][1] if found else None


def test_an_entry_silences_its_rule_at_its_place_with_its_reason(tmp_path: Path) -> None:
    held = suppressions(tmp_path, ENTRY)
    assert silenced(held, issue()) == "the registry's own wording"
    assert held.leftovers() == []


@pytest.mark.parametrize(
    "other",
    [
        issue(rule="val-code"),
        issue("Bundle.entry[7].resource.code.coding[1]"),
        issue("Bundle.entry[7].resource.code.coding[0].display"),
        issue("Bundle.entry[x].resource.code.coding[0]"),
        issue("Bundle.entryXresource.code.coding[0]"),
        issue(None),
        issue(severity="fatal"),
    ],
    ids=["rule", "index", "below", "no index", "a dot is a dot", "no place", "fatal"],
)
def test_it_silences_nothing_else(tmp_path: Path, other: Issue) -> None:
    held = suppressions(tmp_path, ENTRY)
    assert silenced(held, other) is None
    [left] = held.leftovers()
    assert (left.severity, left.rule, str(left.source)) == ("warning", "suppress-unused", "accepted.yaml:1:9")


@pytest.mark.parametrize(
    ("pattern", "file", "matches"),
    [
        ("a.json", "cases/a.json", True),
        ("cases/*.json", "/data/cases/a.json", True),
        ("*.ndjson", "cases/a.json", False),
        ("other/*.json", "cases/a.json", False),
        ("-", "-", True),
    ],
)
def test_a_file_narrows_it(tmp_path: Path, pattern: str, file: str, matches: bool) -> None:
    held = suppressions(tmp_path, f'{ENTRY}  file: "{pattern}"\n')
    assert (silenced(held, issue(), file) is not None) == matches


@pytest.mark.parametrize(("day", "holds"), [("2026-03-02", True), ("2026-03-01", True), ("2026-02-28", False)])
def test_it_holds_until_the_end_of_its_last_day(tmp_path: Path, day: str, holds: bool) -> None:
    held = suppressions(tmp_path, f"{ENTRY}  expires: {day}\n")
    assert (silenced(held, issue()) is not None) == holds
    assert [left.rule for left in held.leftovers()] == ([] if holds else ["suppress-expired"])


def test_of_two_that_match_both_are_of_use(tmp_path: Path) -> None:
    held = suppressions(tmp_path, ENTRY + ENTRY.replace("[*]", "[7]").replace("registry's", "hospital's"))
    assert silenced(held, issue()) == "the registry's own wording"
    assert held.leftovers() == []


def test_order_is_kept(tmp_path: Path) -> None:
    issues = [issue(rule="a"), issue(), issue(rule="b"), issue("Bundle.entry[1].resource.code.coding[0]")]
    kept, found = suppressions(tmp_path, ENTRY).split(issues, "a.json")
    assert kept == [issues[0], issues[2]]
    assert [one for one, _reason in found] == [issues[1], issues[3]]


@pytest.mark.parametrize(
    ("text", "rule", "place"),
    [
        ("rule: a\n", "suppress-value", "accepted.yaml:1:1"),
        ("- just text\n", "suppress-value", "accepted.yaml:1:3"),
        ("- rule: a\n  expression: A.b\n", "suppress-missing", "accepted.yaml:1:9"),
        (ENTRY.replace("the registry's own wording", ""), "suppress-missing", "accepted.yaml:1:9"),
        (f"{ENTRY}  until: 2026-12-31\n", "suppress-key", "accepted.yaml:4:3"),
        (f"{ENTRY}  expires: 2026-02-30\n", "suppress-date", "accepted.yaml:4:12"),
        (f"{ENTRY}  expires: 20261231\n", "suppress-date", "accepted.yaml:4:12"),
        (f"{ENTRY}  file: [a, b]\n", "suppress-yaml", "accepted.yaml:4:9"),
        (f"{ENTRY}  file: .\n", "suppress-file", "accepted.yaml:4:9"),
        (f"{ENTRY}  reason: again\n", "suppress-duplicate-key", "accepted.yaml:4:3"),
        ("- rule: 'a\n", "suppress-yaml", "accepted.yaml:2:1"),
        ("", "suppress-yaml", "accepted.yaml:1:1"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(tmp_path: Path, text: str, rule: str, place: str) -> None:
    with pytest.raises(Usage) as caught:
        suppressions(tmp_path, text)
    [told] = caught.value.issues
    assert (told.rule, str(told.source)) == (rule, place)
    assert told.fix


def test_all_bad_entries_are_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(Usage) as caught:
        suppressions(tmp_path, f"- rule: a\n{ENTRY}- resaon: typo\n  rule: b\n  expression: c\n")
    assert [told.rule for told in caught.value.issues] == ["suppress-missing", "suppress-key"]
    assert "did you mean 'reason'?" in caught.value.issues[1].text


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(Usage, match="cannot be read"):
        read_suppressions(tmp_path / "nothing.yaml", "nothing.yaml", today=TODAY)


def test_an_empty_list_silences_nothing(tmp_path: Path) -> None:
    held = suppressions(tmp_path, "[]\n")
    assert silenced(held, issue()) is None
    assert held.leftovers() == []


def test_the_page_names_every_key() -> None:
    page = (Path(__file__).parents[3] / "docs" / "validation.md").read_text(encoding="utf-8")
    assert all(f"`{key}`" in page for key in KEYS)
