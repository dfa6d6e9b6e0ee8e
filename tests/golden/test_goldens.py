"""The three founding cases: converted byte for byte, back without loss, and judged by readers that nobody here wrote."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from service.engine import Engine
from service.examples import EXAMPLE_KEY, run_examples
from service.fhir import json
from service.mapping.coverage import Coverage, explain, idle_rows
from tests.conftest import ROOT
from tests.support.hapi_validator import HapiValidator

CASES = sorted((ROOT / "examples" / "cases").glob("*.json"))
KNOWN_WARNINGS = yaml.safe_load((Path(__file__).parent / "warnings.yaml").read_text(encoding="utf-8"))

each_case = pytest.mark.parametrize("case", CASES, ids=lambda path: path.stem)


def golden(case: Path) -> Path:
    return ROOT / "examples" / "bundles" / case.name


def exact(value: Any) -> bytes:
    """JSON with sorted keys and every decimal as written: 1.0 and 1.00 differ."""

    def ordered(node: Any) -> Any:
        if isinstance(node, dict):
            return {key: ordered(node[key]) for key in sorted(node)}
        return [ordered(one) for one in node] if isinstance(node, list) else node

    return json.dumps(ordered(value))


def test_there_are_three_cases() -> None:
    assert [case.stem for case in CASES] == ["chen-2023", "qian-2021", "yan-2020"]


@each_case
def test_converts_to_its_golden(case: Path, engine: Engine) -> None:
    """`make golden` writes them anew; the diff is then read, and HAPI asked below."""
    done = engine.convert(case.read_bytes(), file=case.name)
    assert done.issues == []
    assert done.dump() == golden(case).read_bytes()


@each_case
def test_comes_back_as_it_was(case: Path, engine: Engine) -> None:
    restored = engine.to_case(golden(case).read_bytes())
    assert restored.issues == []
    assert exact(restored.record) == exact(json.loads(case.read_bytes()))


@each_case
def test_comes_back_under_another_key_and_from_a_transaction(case: Path, engine: Engine) -> None:
    done = engine.convert(case.read_bytes(), bundle_type="transaction")
    restored = Engine(engine.mapping, b"another deployment").to_case(done.dump())
    assert restored.issues == []
    assert exact(restored.record) == exact(json.loads(case.read_bytes()))


@pytest.mark.hapi
@each_case
@pytest.mark.parametrize("bundle_type", ["collection", "transaction"])
def test_hapi_finds_no_error_and_no_unlisted_warning(case: Path, bundle_type: Any, engine: Engine, hapi: HapiValidator) -> None:
    verdict = hapi.validate(engine.convert(case.read_bytes(), bundle_type=bundle_type).dump(indent=False))
    assert verdict.valid, str(verdict)
    unlisted = [
        w.message for w in verdict.warnings if not any(re.search(known["message"], w.message) for known in KNOWN_WARNINGS)
    ]
    assert unlisted == []


@each_case
def test_fhir_resources_parses_it(case: Path, engine: Engine) -> None:
    done = engine.convert(case.read_bytes())
    assert done.bundle is not None
    assert len(done.model().entry) == len(done.bundle["entry"])


@each_case
def test_every_reference_stays_in_the_bundle(case: Path, engine: Engine) -> None:
    bundle = json.loads(golden(case).read_bytes())
    urls = {entry["fullUrl"] for entry in bundle["entry"]}
    references = re.findall(rb'"reference": "([^"]+)"', golden(case).read_bytes())
    assert {reference.decode() for reference in references} <= urls | {"#specimen"}


def test_every_row_fires(engine: Engine) -> None:
    """In a case or in an example of the set; a row that never fires is not known to work."""
    coverage = Coverage()
    examples = [
        json.dumps(json.loads(path.read_bytes())["case"]) for path in (engine.mapping.spec.root / "examples").glob("*.json")
    ]
    for text in [*examples, *(case.read_bytes() for case in CASES)]:
        done = engine.convert(text)
        assert done.mapped is not None, [issue.text for issue in done.issues]
        coverage.add(engine.mapping, done.mapped)
    assert idle_rows(engine.mapping, coverage) == []


def test_the_examples_of_the_set_hold(engine: Engine) -> None:
    count, issues = run_examples(engine)
    assert [str(issue) for issue in issues] == []
    assert count >= len(engine.mapping.kinds)


@each_case
def test_every_leaf_of_the_case_is_accounted_for(case: Path, engine: Engine) -> None:
    """Each value of the record stands behind some element: by the trace, which is made from the rows and not from the form."""
    record = json.loads(case.read_bytes())
    done = engine.convert(case.read_bytes())
    assert done.mapped is not None
    explained = {place for trace in explain(engine.mapping, done.mapped) for place in trace.case}
    assert [leaf for leaf in leaves(record) if not is_explained(leaf, explained)] == []


def leaves(node: Any, pointer: str = "") -> list[str]:
    if isinstance(node, dict):
        return [leaf for name, child in node.items() for leaf in leaves(child, f"{pointer}/{name}")]
    if isinstance(node, list):
        return [leaf for index, child in enumerate(node) for leaf in leaves(child, f"{pointer}/{index}")]
    return [pointer]


# Fields that a row reads together with the one that its trace names.
COMPANIONS = {"unit": ("value", "dose"), "comparator": ("value",), "typed": ("matched",)}


def is_explained(leaf: str, explained: set[str]) -> bool:
    above, _, name = leaf.rpartition("/")
    return leaf in explained or above in explained or any(f"{above}/{main}" in explained for main in COMPANIONS.get(name, ()))


@pytest.mark.parametrize(
    "environment",
    [
        {"TZ": "Pacific/Kiritimati", "LC_ALL": "C", "PYTHONHASHSEED": "1"},
        {"TZ": "America/St_Johns", "LC_ALL": "C.UTF-8", "PYTHONHASHSEED": "4711", "PYTHONUTF8": "0"},
    ],
    ids=["east", "west"],
)
def test_the_bytes_do_not_depend_on_the_environment(environment: dict[str, str], tmp_path: Path) -> None:
    case = CASES[0]
    own = {**os.environ, **environment, "CASEBRIDGE_KEY": EXAMPLE_KEY.decode(), "CASEBRIDGE_HOME": str(tmp_path)}
    run = subprocess.run(
        [sys.executable, "-m", "service", "convert", str(case)], env=own, cwd=ROOT, capture_output=True, check=True
    )
    assert run.stdout == golden(case).read_bytes()


@each_case
def test_the_bytes_do_not_depend_on_the_order_of_keys(case: Path, engine: Engine) -> None:
    def reverse(node: Any) -> Any:
        if isinstance(node, dict):
            return {key: reverse(node[key]) for key in reversed(node)}
        return [reverse(one) for one in node] if isinstance(node, list) else node

    turned = json.dumps(reverse(json.loads(case.read_bytes())))
    assert engine.convert(turned).dump() == golden(case).read_bytes()
