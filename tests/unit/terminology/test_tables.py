"""Code tables: what a CSV file means, what is wrong with it, and the way back from a concept to its term."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest

from service.errors import MappingInvalid
from service.terminology.tables import COLUMNS, CodeTable, Coding, read_table

ROOT = Path(__file__).parents[3]
HEADER = "term,system,code,display,source\n"
LOINC = "http://loinc.org"


def table(path: Path, rows: str, header: str = HEADER) -> CodeTable:
    file = path / "labs.csv"
    file.write_text(header + rows, "utf-8")
    return read_table(file, "set/codes/labs.csv")


def test_terms_in_file_order_with_all_their_codings(tmp_path: Path) -> None:
    found = table(
        tmp_path,
        f'Hemoglobin,{LOINC},718-7,"Hemoglobin [Mass/volume]",x\nAsh,,,,text only\nHemoglobin,http://snomed.info/sct,1,,x\n',
    )
    assert found.name == "labs"
    assert list(found.terms) == ["Hemoglobin", "Ash"]
    assert found.terms["Hemoglobin"].codings == (
        Coding(LOINC, "718-7", "Hemoglobin [Mass/volume]"),
        Coding("http://snomed.info/sct", "1", ""),
    )
    assert found.terms["Ash"].codings == ()
    assert str(found.terms["Ash"].origin) == "set/codes/labs.csv:3:1"


def test_a_coding_without_display_has_none() -> None:
    assert Coding("s", "c", "").to_fhir() == {"system": "s", "code": "c"}
    assert Coding("s", "c", "d").to_fhir() == {"system": "s", "code": "c", "display": "d"}


def test_a_code_of_two_terms_leads_back_to_neither(tmp_path: Path) -> None:
    found = table(tmp_path, f"one,{LOINC},1,,x\ntwo,{LOINC},1,,x\ntwo,{LOINC},2,,x\n")
    assert found.by_code == {(LOINC, "2"): "two"}


@pytest.mark.parametrize(
    ("concept", "term"),
    [
        ({"text": "Hemoglobin"}, "Hemoglobin"),
        ({"text": "Hb", "coding": [{"system": LOINC, "code": "718-7"}]}, "Hemoglobin"),
        ({"coding": [{"code": "718-7"}, {"system": LOINC, "code": "718-7"}]}, "Hemoglobin"),
        # The text is what the sender wrote, so it decides.
        ({"text": "Ash", "coding": [{"system": LOINC, "code": "718-7"}]}, "Ash"),
        ({"text": "hemoglobin"}, None),
        ({"text": ["Hemoglobin"]}, None),
        ({"coding": []}, None),
        ({"coding": None}, None),
        ({}, None),
        (None, None),
        ("Hemoglobin", None),
        ([{"text": "Hemoglobin"}], None),
    ],
)
def test_the_way_back(concept: Any, term: str | None, tmp_path: Path) -> None:
    found = table(tmp_path, f"Hemoglobin,{LOINC},718-7,,x\nAsh,,,,x\n")
    assert found.term_for(concept) == term


@pytest.mark.parametrize(
    ("rows", "line", "text"),
    [
        (",,,,\n", 2, "the term is empty"),
        (" Ash,,,,\n", 2, "blanks around it"),
        (f"Ash,{LOINC},,,\n", 2, "both system and code"),
        ("Ash,,1,,\n", 2, "both system and code"),
        ("Ash,,,\n", 2, "4 columns instead of 5"),
        ("Iron,,,,\nAsh,,,,a,b\n", 3, "6 columns instead of 5"),
        ("Iron,,,,\n\n", 3, "0 columns instead of 5"),
    ],
)
def test_bad_rows(rows: str, line: int, text: str, tmp_path: Path) -> None:
    with pytest.raises(MappingInvalid) as caught:
        table(tmp_path, rows)
    (issue,) = caught.value.issues
    assert issue.rule == "mapping-code-table"
    assert text in issue.text
    assert str(issue.origin) == f"set/codes/labs.csv:{line}:1"
    assert issue.fix


@pytest.mark.parametrize(
    "header", ["", "term,code\n", "Term,system,code,display,source\n", "source,term,system,code,display\n"]
)
def test_bad_headers(header: str, tmp_path: Path) -> None:
    with pytest.raises(MappingInvalid, match="the header must be term,system,code,display,source"):
        table(tmp_path, "", header)


def test_all_bad_rows_are_reported_together(tmp_path: Path) -> None:
    with pytest.raises(MappingInvalid) as caught:
        table(tmp_path, ",,,,\nAsh,,,\n")
    assert len(caught.value.issues) == 2


def test_a_table_without_rows_has_no_terms(tmp_path: Path) -> None:
    assert table(tmp_path, "").terms == {}


@pytest.mark.parametrize(
    "path", sorted((ROOT / "mappings").glob("*/codes/*.csv")), ids=lambda path: f"{path.parts[-3]}-{path.stem}"
)
def test_the_shipped_tables(path: Path) -> None:
    """Every coding names where it was verified, and no row stands twice."""
    found = read_table(path, path.name)
    assert found.terms
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    assert [row["term"] for row in rows if row["code"] and not row["source"].strip()] == []
    keys = [(row["term"], row["system"], row["code"]) for row in rows]
    assert [key for key in set(keys) if keys.count(key) > 1] == []
