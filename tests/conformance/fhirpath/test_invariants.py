"""The invariants of R4, mCODE and US Core: all compile, and R4's are evaluated on each element of HL7's examples."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest

from service.fhir import json
from service.validate.fhirpath import Context, Node, compile_path, root_node
from service.validate.fhirpath.model import children
from tests.support import registry

PACKAGES = (registry.R4_CORE, registry.MCODE, registry.GENOMICS)
LARGEST = 200_000

# R4's wording of these is empty, and so not true, of what FHIR means to allow; HL7's validator replaces each by a better one.
CORRECTED_BY_HL7 = {
    "ref-1": "a Reference without a reference",
    "bdl-8": "an entry without a fullUrl",
    "ras-2": "a prediction without a probability",
    "que-7": "an answerBoolean: it is a FHIR boolean, not the System.Boolean that `is Boolean` asks for",
}


def definitions(package: str) -> Iterator[dict[str, Any]]:
    for path in sorted(registry.needs(registry.unpacked, package).glob("StructureDefinition-*.json")):
        yield json.loads(path.read_bytes())


def constraints(definition: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for element in definition.get("snapshot", {}).get("element", []):
        for constraint in element.get("constraint", []):
            if "expression" in constraint:
                yield element["path"], constraint


@pytest.mark.parametrize("package", PACKAGES)
def test_every_invariant_compiles(package: str) -> None:
    texts = {each["expression"] for definition in definitions(package) for _, each in constraints(definition)}
    assert len(texts) > 10
    for text in texts:
        compile_path(text)


def test_every_invariant_of_us_core_compiles() -> None:
    test_every_invariant_compiles(registry.US_CORE)


@cache
def invariants() -> dict[str, list[dict[str, Any]]]:
    """Element path, as R4's types have it, → its constraints of severity error."""
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for definition in definitions(registry.R4_CORE):
        if definition.get("derivation") == "specialization" or definition["type"] == "Element":
            for path, constraint in constraints(definition):
                if constraint["severity"] == "error":
                    found[path].append(constraint)
    return found


def examples() -> Iterator[dict[str, Any]]:
    core = {path.name for path in registry.needs(registry.unpacked, registry.R4_CORE).iterdir()}
    for path in sorted(registry.needs(registry.unpacked, registry.R4_EXAMPLES).glob("*.json")):
        if path.name not in core and path.stat().st_size <= LARGEST:
            resource = json.loads(path.read_bytes())
            if isinstance(resource, dict) and "resourceType" in resource:
                yield resource


def broken(node: Node, context: Context) -> Iterator[str]:
    """The keys of the invariants that do not hold of a node, or of one below it."""
    info = node.type
    for constraint in invariants().get(f"{info.owner}.{info.path}".rstrip("."), ()):
        if not compile_path(constraint["expression"]).is_true(node, context):
            yield constraint["key"]
    for child in children([node]):
        yield from broken(child, Context(child, context.root) if "Resource" in child.type.names else context)


def test_examples_meet_the_invariants_but_for_those_that_hl7_corrects() -> None:
    found: set[str] = set()
    for resource in examples():
        node = root_node(resource)
        found.update(broken(node, Context(node, node)))
    assert found == set(CORRECTED_BY_HL7)
