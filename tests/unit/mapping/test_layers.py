"""A site's layer over a set: it changes and adds rows, terms and ignored fields, and copies nothing."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from service.engine import Engine, load_engine
from service.errors import MappingInvalid
from service.fhir import json
from service.mapping.compiled import load_mapping
from tests.conftest import ROOT

SHELF = ROOT / "mappings"
WARD = ROOT / "tests" / "data" / "overlays" / "ward"
CASE = {
    "case": "w-1",
    "patient": {"sex": "male"},
    "labs": [{"test": "IgG", "value": 4, "unit": "g/L", "laboratory": "Ward 3"}],
    "weights": [{"when": "2020-03-09", "value": 71, "unit": "kg"}],
}


@pytest.fixture(scope="module")
def ward() -> Engine:
    return load_engine(WARD, b"key", shelf=SHELF)


def test_rows_are_changed_and_added(ward: Engine) -> None:
    done = ward.convert(json.dumps(CASE))
    assert done.bundle is not None
    _patient, lab, weight = (entry["resource"] for entry in done.bundle["entry"])
    assert (lab["status"], lab["performer"]) == ("preliminary", [{"display": "Ward 3"}])
    assert lab["code"]["text"] == "IgG"
    assert weight["code"]["coding"][0]["code"] == "29463-7"
    assert weight["valueQuantity"]["code"] == "kg"
    assert ward.to_case(done.dump()).record == CASE


def test_what_is_not_named_stays_as_it_is_below(ward: Engine, engine: Engine) -> None:
    above, below = ward.mapping, engine.mapping
    assert [kind.plan.file.name for kind in above.kinds] == [*(kind.plan.file.name for kind in below.kinds), "weights"]
    assert above.spec.tables["labs"] == below.spec.tables["labs"]
    assert above.spec.identifier == below.spec.identifier
    assert (above.name, above.spec.title) == ("ward", "Myeloma at one ward")
    assert set(above.spec.ignored) == {*below.spec.ignored, "bed"}


def test_an_issue_names_the_file_of_the_layer(ward: Engine) -> None:
    [lost] = ward.convert(json.dumps({**CASE, "weights": [{"when": "2020-03-09", "value": 71, "unit": "stone"}]})).issues
    assert str(lost.origin).startswith("ward/resources/weights.yaml:")


def test_the_fingerprint_is_of_all_layers(ward: Engine, tmp_path: Path) -> None:
    shutil.copytree(SHELF / "myeloma", tmp_path / "myeloma")
    shutil.copytree(WARD, tmp_path / "ward")
    beside = load_mapping(tmp_path / "ward")
    assert beside.fingerprint == ward.mapping.fingerprint
    with (tmp_path / "myeloma" / "codes" / "units.csv").open("a") as table:
        table.write("m,http://unitsofmeasure.org,m,,UCUM\n")
    assert load_mapping(tmp_path / "ward").fingerprint != beside.fingerprint


@pytest.mark.parametrize("name", ["myelom", "ward", "../myeloma", "/etc", "."])
def test_what_cannot_be_extended_is_told(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "ward"
    shutil.copytree(WARD, folder)
    head = folder / "mapping.yaml"
    head.write_text(head.read_text().replace("extends: myeloma", f"extends: {name}"))
    with pytest.raises(MappingInvalid) as caught:
        load_mapping(folder, SHELF)
    [issue] = caught.value.issues
    assert (issue.rule, str(issue.origin)) == ("mapping-extends", "ward/mapping.yaml:2:10")


def test_two_sets_that_extend_each_other(tmp_path: Path) -> None:
    for name, other in (("a", "b"), ("b", "a")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "mapping.yaml").write_text(f"extends: {other}\nname: {name}\n")
    with pytest.raises(MappingInvalid):
        load_mapping(tmp_path / "a")
