"""HL7's own FHIRPath suite for R4: every case is run; those that fail are known one by one, with the reason."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

import pytest
import yaml

from service.fhir import json
from service.validate.fhirpath import Node, PathError, PathSyntaxError, Quantity, compile_path, root_node
from service.validate.fhirpath.functions.conversions import to_string
from service.validate.fhirpath.model import plain
from tests.conformance.fhirpath.xml_resources import resource
from tests.support.registry import Missing, maven_jar

JAR = "org.hl7.fhir.testcases:fhir-test-cases:1.7.69"
FOLDER = "org/hl7/fhir/testcases/r4/"
SUITE = f"{FOLDER}fhirpath/tests-fhir-r4.xml"
KNOWN: dict[str, str] = yaml.safe_load(Path(__file__).with_name("known_failures.yaml").read_text()) or {}


class Case(NamedTuple):
    """One <test>: what it is given, and what has to come of it. `invalid`: the phase that has to refuse it."""

    name: str
    expression: str
    input: str
    outputs: tuple[tuple[str | None, str], ...]
    invalid: str | None
    is_predicate: bool
    is_strict: bool


@cache
def jar() -> zipfile.ZipFile:
    return zipfile.ZipFile(maven_jar(JAR))


def cases() -> list[Any]:
    try:
        found = list(_read(ElementTree.fromstring(jar().read(SUITE))))
    except Missing as missing:
        return [pytest.param(None, marks=pytest.mark.skip(reason=str(missing)))]
    return [
        pytest.param(case, id=case.name, marks=[pytest.mark.xfail(reason=KNOWN[case.name])] if case.name in KNOWN else [])
        for case in found
    ]


def _read(suite: ElementTree.Element) -> Iterator[Case]:
    for test in suite.iter("test"):
        expression = test.find("expression")
        assert expression is not None
        yield Case(
            test.get("name", ""),
            expression.text or "",
            test.get("inputfile", "patient-example.xml"),
            tuple((output.get("type"), output.text or "") for output in test.findall("output")),
            expression.get("invalid"),
            test.get("predicate") == "true",
            test.get("mode") == "strict" or expression.get("invalid") == "semantic",
        )


@cache
def root(name: str) -> Node:
    text = next(jar().read(FOLDER + place + name) for place in ("", "examples/") if FOLDER + place + name in jar().NameToInfo)
    return root_node(resource(ElementTree.fromstring(text)) if name.endswith(".xml") else json.loads(text))


@pytest.mark.parametrize("case", cases())
def test_suite(case: Case) -> None:
    if case.invalid:
        with pytest.raises(PathSyntaxError if case.invalid == "syntax" else PathError):
            compile_path(case.expression).evaluate(root(case.input), strict=case.is_strict)
        return
    node = root(case.input)
    if case.is_predicate:
        assert [("boolean", str(compile_path(case.expression).is_true(node)).lower())] == list(case.outputs)
        return
    found = compile_path(case.expression).evaluate(node, strict=case.is_strict)
    assert len(found) == len(case.outputs)
    for item, (kind, text) in zip(found, case.outputs, strict=True):
        assert is_told_by(item, kind, text)


SYSTEM = {"boolean": bool, "integer": int, "decimal": Decimal, "string": str, "Quantity": Quantity}


def is_told_by(item: Any, kind: str | None, text: str) -> bool:
    """Whether an item is what an <output> says: its type, where that is given, and its text."""
    is_of_type = item.type.name == kind if isinstance(item, Node) else type(item) is SYSTEM.get(kind or "", type(item))
    if kind and not is_of_type:
        return False
    if kind == "decimal":
        return bool(plain(item) == Decimal(text))
    return to_string(plain(item)) == text.removeprefix("@T").removeprefix("@")


def test_every_known_failure_is_a_case() -> None:
    try:
        names = {case.name for case in _read(ElementTree.fromstring(jar().read(SUITE)))}
    except Missing as missing:
        pytest.skip(str(missing))
    assert set(KNOWN) <= names
