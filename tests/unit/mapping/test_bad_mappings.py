"""Every folder of tests/data/bad_mappings has one defect: all issues of the set are the one that its expected.yaml names."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from service.errors import MappingInvalid
from service.issues import Issue
from service.mapping.compiled import load_mapping

SETS = sorted(path.parent for path in Path(__file__).parents[2].glob("data/bad_mappings/*/expected.yaml"))


def issues_of(root: Path) -> list[Issue]:
    try:
        load_mapping(root)
    except MappingInvalid as error:
        return error.issues
    return []


@pytest.mark.parametrize("root", SETS, ids=lambda root: root.name)
def test_the_one_defect_is_found_at_its_place(root: Path) -> None:
    expected = yaml.safe_load((root / "expected.yaml").read_text(encoding="utf-8"))
    found = issues_of(root)
    if expected.get("loads"):
        assert found == []
        return
    assert [issue.rule for issue in found] == [expected["rule"]], [f"{issue.origin} {issue.text}" for issue in found]
    (issue,) = found
    assert issue.origin is not None
    assert issue.origin.file == f"{root.name}/{expected['file']}"
    assert (issue.origin.line, issue.origin.column) == (expected.get("line"), expected.get("column"))
    assert re.search(expected["text"], issue.text), issue.text
    assert issue.fix
    assert re.search(expected["fix"], issue.fix), issue.fix
    assert (issue.severity, issue.code, issue.source) == ("error", "invalid", issue.origin)


def test_every_folder_says_what_it_expects() -> None:
    folders = {path for path in Path(__file__).parents[2].glob("data/bad_mappings/*") if path.is_dir()}
    assert folders == set(SETS)
    assert len(folders) > 50
