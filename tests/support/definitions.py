"""Definitions small enough to be read in a test, in a package of their own, and what the validator then says of a resource."""

from __future__ import annotations

import json
from collections.abc import Iterable
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

from service.fhir.json import dumps
from service.validate.validator import Validator, load_validator

Json = dict[str, Any]

HOME = "http://example.org/"
CORE = "http://hl7.org/fhir/StructureDefinition/"

PATIENT: Json = {"resourceType": "Patient"}
OBSERVATION: Json = {"resourceType": "Observation", "status": "final", "code": {"text": "a test"}}


def element(id_: str, **says: Any) -> Json:
    """An ElementDefinition by its id; the path and slice name follow from that."""
    steps = [step.partition(":") for step in id_.split(".")]
    own = {"id": id_, "path": ".".join(name for name, _, _ in steps)}
    return own | ({"sliceName": steps[-1][2]} if steps[-1][2] else {}) | says


def profile(name: str, type_: str, *elements: Json, **more: Any) -> Json:
    """A profile as its author writes it: a differential only."""
    return {
        "resourceType": "StructureDefinition",
        "url": HOME + name,
        "kind": "resource" if type_[0].isupper() and type_ != "Extension" else "complex-type",
        "type": type_,
        "derivation": "constraint",
        "baseDefinition": CORE + type_,
        "differential": {"element": list(elements)},
        **more,
    }


def sliced(id_: str, by: str, path: str, rules: str = "open", **more: Any) -> Json:
    """The element that is sliced, by one discriminator."""
    return element(id_, slicing={"discriminator": [{"type": by, "path": path}], "rules": rules, **more})


def codes(name: str, *listed: str) -> list[Json]:
    """A code system with these codes, and the value set of all of them: {HOME}{name} and {HOME}{name}-set."""
    system = {"resourceType": "CodeSystem", "url": HOME + name, "content": "complete", "concept": [{"code": c} for c in listed]}
    all_ = {"resourceType": "ValueSet", "url": f"{HOME}{name}-set", "compose": {"include": [{"system": HOME + name}]}}
    return [system, all_]


def package(folder: Path, *definitions: Json) -> Path:
    """A folder of these definitions."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, each in enumerate(definitions):
        (folder / f"{number:03}.json").write_text(json.dumps(each), encoding="utf-8")
    return folder


@cache
def core() -> Validator:
    """R4 alone."""
    return load_validator()


def with_(folder: Path, *definitions: Json) -> Validator:
    """R4 and these definitions."""
    return load_validator([package(folder / "definitions", *definitions)])


def found(
    resource: Any, validator: Validator | None = None, profiles: Iterable[str] = (), **options: Any
) -> list[tuple[str, str]]:
    """(rule, FHIRPath) of each issue with a resource, in the order of its text; `profiles` by their names here."""
    urls = [each if ":" in each else HOME + each for each in profiles]
    issues = (validator or core()).validate(dumps(resource), profiles=urls, **options)
    return [(issue.rule, issue.expression or "") for issue in issues]


def bundle(*resources: Json, type_: str = "collection", **more: Any) -> Json:
    """A Bundle of resources, each under http://example.org/[type]/[id]."""
    entries = [{"fullUrl": f"{HOME}{each['resourceType']}/{each['id']}", "resource": each} for each in resources]
    return {"resourceType": "Bundle", "type": type_, "entry": entries, **more}


def quantity(value: str, unit: str = "mg") -> Json:
    return {"value": Decimal(value), "unit": unit, "system": "http://unitsofmeasure.org", "code": unit}
