"""Which row file a resource belongs to: what tells row files apart, and what counts as proof."""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path
from typing import Any

import pytest

from service.engine import Engine
from service.errors import MappingInvalid
from service.fhir import json
from service.mapping.compiled import Mapping, load_mapping
from service.mapping.dispatch import key_of, overlaps, signature

ROOT = Path(__file__).parents[3]
GOOD = ROOT / "tests" / "data" / "bad_mappings" / "good"

ROWS = """# One of several kinds of Observation.
each: {each}[]
resource: Observation
key: [{key}]
fixed:
  status: final
{fixed}
rows:
  subject: -> patient
{rows}
"""


def a_set(root: Path, **files: tuple[str, str]) -> Mapping:
    """The good set with these further row files: name → (constants, rows)."""
    shutil.copytree(GOOD, root, dirs_exist_ok=True)
    head = (GOOD / "mapping.yaml").read_text("utf-8")
    (root / "mapping.yaml").write_text(head.replace("labs]", ", ".join(["labs", *files]) + "]"), "utf-8")
    for name, (fixed, rows) in files.items():
        text = ROWS.format(each=name, key="note", fixed=fixed, rows=rows + "\n  note.text: note")
        (root / "resources" / f"{name}.yaml").write_text(text, "utf-8")
    return load_mapping(root)


@pytest.mark.parametrize(
    ("value", "key"),
    [
        ("final", "final"),
        ({"text": "Laboratory", "coding": []}, "Laboratory"),
        ([{"text": "Laboratory"}, {"text": "Other"}], "Laboratory"),
        ([], "None"),
        ({}, ""),
        (None, "None"),
        (True, "True"),
        ([["x"]], "['x']"),
        ({"text": 5}, "5"),
    ],
)
def test_key_of_anything(value: Any, key: str) -> None:
    assert key_of(value) == key


def test_signature_is_constants_and_terms_of_required_rows() -> None:
    mapping = load_mapping(GOOD)
    assert signature(mapping.by_section["labs"].plan) == {
        "status": {"final"},
        "category": {"Laboratory"},
        "code": {"Hemoglobin", "Ash"},
    }
    assert signature(mapping.by_section[""].plan) == {}  # gender may be absent, so it proves nothing


def test_row_files_that_no_single_property_tells_apart(tmp_path: Path) -> None:
    """Each two differ somewhere, but in no property have all three their own values: every signature is tried."""
    mapping = a_set(
        tmp_path / "three",
        one=("  category: Imaging | concept(categories)", "  code: one! | concept(procedures)"),
        two=("  category: Imaging | concept(categories)", "  code: two! | concept(labs)"),
    )
    found = mapping.dispatcher.find
    category = {"category": [{"text": "Imaging"}], "resourceType": "Observation", "status": "final"}
    for text, name in (("Biopsy", "one"), ("Ash", "two")):
        plan = found({**category, "code": {"text": text}})
        assert plan is not None
        assert plan.file.name == name
    assert found({**category, "code": {"text": "Sand"}}) is None
    assert found({"resourceType": "Observation"}) is None


def test_row_files_without_a_common_property(tmp_path: Path) -> None:
    """One is known by its method, one by its value, one by its category: with no property of all, none is guessed."""
    mapping = a_set(
        tmp_path / "set",
        one=(
            "  code: Laboratory | concept(categories)\n  issued: 2018-08-21T00:00:00Z",
            "  category: one! | concept(procedures)",
        ),
    )
    assert mapping.dispatcher.find({"resourceType": "Observation", "status": "final", "code": {"text": "Sand"}}) is None


def test_overlap_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MappingInvalid) as caught:
        a_set(
            tmp_path / "set",
            one=("  category: Imaging | concept(categories)", "  code: one! | concept(labs)"),
            two=("  category: Imaging | concept(categories)", "  code: two! | concept(labs)"),
        )
    (issue,) = caught.value.issues
    assert issue.rule == "mapping-overlap"
    assert "both have Ash, Hemoglobin, Imaging" in issue.text


def test_the_shipped_set_has_no_overlap(engine: Engine) -> None:
    plans = [kind.plan for kind in engine.mapping.kinds]
    assert list(overlaps(plans)) == []
    for one, other in itertools.combinations(plans, 2):
        if one.resource == other.resource:
            ours, theirs = signature(one), signature(other)
            assert any(not (ours[name] & theirs[name]) for name in ours.keys() & theirs.keys())


@pytest.mark.parametrize("path", sorted((ROOT / "examples" / "cases").glob("*.json")), ids=lambda path: path.stem)
def test_every_resource_finds_the_row_file_that_wrote_it(path: Path, engine: Engine) -> None:
    done = engine.convert(path.read_bytes())
    assert done.mapped is not None
    for entry, resource in zip(done.mapped.entries, done.mapped.resources, strict=True):
        plan = engine.mapping.dispatcher.find(json.loads(json.dumps(resource)))
        assert plan is not None
        assert plan.section == entry.section


@pytest.mark.parametrize(
    "resource", [{}, {"resourceType": None}, {"resourceType": ["Patient"]}, {"resourceType": {}}, {"resourceType": "x"}]
)
def test_no_resource_of_ours(resource: dict[str, Any], engine: Engine) -> None:
    assert engine.mapping.dispatcher.find(resource) is None
