"""Runs the examples of a mapping set: small cases beside the resources that they must become."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from service.engine import Engine
from service.errors import UnreadableInput
from service.fhir import json
from service.issues import Issue, Origin
from service.mapping.coverage import missing

# Examples are made under a key that everyone knows, so that they come out the same everywhere.
EXAMPLE_KEY = b"casebridge-example-key-do-not-use-in-production"


def run_examples(engine: Engine) -> tuple[int, list[Issue]]:
    """How many examples the set has, and what is wrong with them: unreadable, not as expected, not the same on the way back."""
    engine = replace(engine, key=EXAMPLE_KEY)
    files = sorted((engine.mapping.spec.root / "examples").glob("*.json"))
    return len(files), [issue for path in files for issue in _run(engine, path)]


def _run(engine: Engine, path: Path) -> Iterator[Issue]:
    origin = Origin(f"{engine.mapping.name}/examples/{path.name}")
    try:
        example = json.loads(path.read_bytes(), file=str(origin))
    except UnreadableInput as error:
        yield from error.issues
        return
    if not isinstance(example, dict) or example.keys() != {"case", "expect"} or not isinstance(example["expect"], list):
        yield _wrong("an example is an object with 'case' and a list 'expect'", origin)
        return
    done = engine.convert(json.dumps(example["case"]), file=str(origin))
    yield from done.issues
    if done.bundle is None:
        return
    for index, expected in enumerate(example["expect"]):
        yield from _check(expected, done.bundle, f"/expect/{index}", origin)
    back = engine.to_case(done.dump())
    yield from back.issues
    if back.record != example["case"]:
        yield _wrong("the case does not come back as it was", origin)


def _check(expected: Any, bundle: dict[str, Any], pointer: str, origin: Origin) -> Iterator[Issue]:
    """No resource of the bundle has all that is expected: says what the nearest one lacks."""
    lacking = [list(missing(expected, entry["resource"])) for entry in bundle["entry"]]
    nearest = min(lacking, key=len)
    if nearest:
        yield _wrong(f"no resource has all that is expected; the nearest differs at {', '.join(nearest[:5])}", origin, pointer)


def _wrong(text: str, origin: Origin, pointer: str | None = None) -> Issue:
    return Issue(
        "error", "invariant", "mapping-example", text, fix="correct the example or the rows", pointer=pointer, source=origin
    )
