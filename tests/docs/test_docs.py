"""The pages of docs/ say what the code does: their examples are loaded and run, their tables are those of the code."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from service.cli import main
from service.engine import Engine, load_engine
from service.fhir import json
from service.mapping import moments
from service.mapping.compiled import load_mapping
from service.mapping.converters import CONVERTERS
from service.mapping.coverage import missing
from tests.conftest import ROOT

DOCS = ROOT / "docs"
LANGUAGE = (DOCS / "mapping-language.md").read_text(encoding="utf-8")
MOMENTS = (DOCS / "moments.md").read_text(encoding="utf-8")
NAMES = ("mapping-language", "moments", "architecture", "sync", "fault-matrix")
OWN = [*(DOCS / f"{name}.md" for name in NAMES), *sorted((DOCS / "decisions").glob("*.md"))]


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


# --- the mapping language ---------------------------------------------------------------------------------------------


@pytest.fixture
def described(tmp_path: Path) -> Engine:
    """The set that the page describes, file by file."""
    root = tmp_path / "clinic"
    for block in (*blocks(LANGUAGE, "yaml"), *blocks(LANGUAGE, "csv")):
        first, rest = block.split("\n", 1)
        if name := re.fullmatch(r"# file: (\S+)", first):
            path = root / name[1]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(rest, encoding="utf-8")
    return load_engine(root, b"a key for tests")


def test_the_set_of_the_page_does_what_the_page_says(described: Engine) -> None:
    case, expected = blocks(LANGUAGE, "json")
    done = described.convert(case.encode())
    assert done.bundle is not None, done.issues
    assert [entry["resource"]["resourceType"] for entry in done.bundle["entry"]] == ["Patient", "Procedure", "Observation"]
    assert list(missing(json.loads(expected), done.bundle["entry"][-1]["resource"])) == []
    assert json.dumps(done.bundle["entry"][-1]["resource"]["valueQuantity"]["value"]) == b"9.50"
    assert described.to_case(done.dump()).record == json.loads(case)


def test_the_constants_of_the_page_load(described: Engine) -> None:
    (block,) = (block for block in blocks(LANGUAGE, "yaml") if block.startswith("# rows: constants"))
    path = described.mapping.spec.root / "resources" / "labs.yaml"
    text = path.read_text(encoding="utf-8")
    path.write_text(re.sub(r"fixed:\n(?: .*\n)+", block, text) + "  identifier[item].value: id\n", encoding="utf-8")
    load_mapping(described.mapping.spec.root)


def test_a_list_of_objects_gives_a_slice_for_each(described: Engine) -> None:
    """The two rows that the page shows for component[gene]."""
    path = described.mapping.spec.root / "resources" / "labs.yaml"
    rows = [
        "  component[gene].code: genes[].gene! | concept(labs)",
        "  component[gene].valueCodeableConcept: genes[].result | concept(categories)",
    ]
    path.write_text(path.read_text(encoding="utf-8") + "\n".join(rows) + "\n", encoding="utf-8")
    engine = load_engine(described.mapping.spec.root, b"a key for tests")
    case = {"case": "c", "labs": [{"test": "Ash", "genes": [{"gene": "Ash", "result": "Laboratory"}, {"gene": "Hemoglobin"}]}]}
    done = engine.convert(json.dumps(case))
    assert done.bundle is not None, done.issues
    assert len(done.bundle["entry"][1]["resource"]["component"]) == 2
    assert engine.to_case(done.dump()).record == case


def test_the_error_of_the_page_is_the_error() -> None:
    (shown,) = blocks(LANGUAGE, "text")
    command, expected = shown.split("\n", 1)
    arguments = command.removeprefix("$ casebridge ").split()
    done = CliRunner().invoke(main, [*arguments[:-1], str(ROOT / arguments[-1])])
    assert done.exit_code == 1
    assert done.output == expected


def test_the_table_of_converters_is_fresh() -> None:
    done = subprocess.run(
        check=False,
        args=[sys.executable, "scripts/build_docs.py", "--check"],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert all(f"| `{name}" in LANGUAGE for name in CONVERTERS)


def test_the_page_names_every_key_of_the_files() -> None:
    from service.mapping.layers import FILE_KEYS, SET_KEYS
    from service.mapping.load import WORDS_FOR_VALUES

    for name in (*SET_KEYS, *FILE_KEYS, *WORDS_FOR_VALUES):
        assert f"`{name}`" in LANGUAGE, name


# --- moments ----------------------------------------------------------------------------------------------------------


def rows(title: str) -> list[list[str]]:
    """The rows of the tables whose first column bears this title."""
    found: list[list[str]] = []
    inside = False
    for line in MOMENTS.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")] if line.startswith("|") else []
        if not cells:
            inside = False
        elif cells[0] == title:
            inside = True
        elif inside and not cells[0].startswith("---"):
            found.append(cells)
    return found


def is_moment(text: str) -> bool:
    try:
        moments.parse(text)
    except ValueError:
        return False
    return bool(re.fullmatch(f"{moments.POINT}|{moments.PERIOD}", text))


def test_what_the_page_calls_moments_are_moments() -> None:
    no_moments = [cells[0] for cells in rows("written") if cells[0] in MOMENTS.split("Not moments:")[1].split("##")[0]]
    written = [(text, cells[0] not in no_moments) for cells in rows("written") for text in re.findall(r"`([^`]+)`", cells[0])]
    assert len(no_moments) > 5
    assert len(written) > 25
    for text, right in written:
        assert is_moment(text) == right, text
        assert not right or moments.write(moments.parse(text)) == text


def in_fhir(text: str) -> dict[str, Any]:
    out: dict[str, Any] = {}
    point = moments.parse(text)
    assert isinstance(point, moments.Point)
    event = {"type": "Procedure", "identifier": {"system": "https://example.org/item", "value": "hsct"}}
    moments.put(out, "effectiveDateTime", point, lambda _event: None, lambda _event: event)
    return out


def test_the_extension_that_the_page_shows() -> None:
    (shown,) = blocks(MOMENTS, "json")
    assert json.loads(shown) == in_fhir("day 14 of hsct")


@pytest.mark.parametrize(("moment", "relationship", "offset"), rows("moment"))
def test_the_fhir_form_that_the_page_names(moment: str, relationship: str, offset: str) -> None:
    (extension,) = in_fhir(moment.strip("`"))["_effectiveDateTime"]["extension"]
    _event, found, duration = extension["extension"]
    assert found["valueCode"] == relationship
    held = duration["valueDuration"]
    words = [held.get("comparator"), held.get("value"), held.get("code")]
    assert (" ".join(str(word) for word in words if word is not None) or "absent, reason unknown") == offset


# --- all pages --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", OWN, ids=lambda path: path.name)
def test_links_and_files_exist(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", text):
        assert target.startswith("http") or (path.parent / target).exists(), target
    for name in re.findall(r"`((?:service|tests|scripts|mapping|fhir|case|bundle|terminology)/[\w./-]+)`", text):
        assert (ROOT / name).exists() or (ROOT / "service" / name).exists(), name
    for name in re.findall(r"(?<![\w/])((?:fhir|case|mapping|bundle|terminology)/[\w/]+\.(?:py|json))", text):
        assert (ROOT / "service" / name).exists(), name


@pytest.mark.parametrize("path", sorted((DOCS / "decisions").glob("*.md")), ids=lambda path: path.name)
def test_decisions_have_their_parts(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.startswith(f"# {int(path.name[:4])}. ")
    assert [line for line in text.splitlines() if line.startswith("## ")] == ["## Context", "## Decision", "## Consequence"]


def test_decision_10_names_the_types_of_the_set(engine: Engine) -> None:
    (path,) = (DOCS / "decisions").glob("0010-*.md")
    text = path.read_text(encoding="utf-8")
    assert {kind.resource for kind in engine.mapping.kinds} <= set(re.findall(r"\b[A-Z][A-Za-z]+\b", text))
