"""How fast the invariants of R4 are evaluated, beside fhirpathpy. No number in here is a test.

    make bench                                       the table, on the terminal
    .venv/bin/python bench/bench_fhirpath.py --write also into docs/performance.md

One pass is every invariant of severity error that a resource's type has at its root, on each of HL7's examples. All
expressions are compiled before. What fhirpathpy cannot evaluate is counted, and left out for both.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import json as stdlib_json
import platform
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, NamedTuple

import clock
import page

from service.fhir import json
from service.fhir.structures import Constraint
from service.validate.fhirpath import Context, Node, compile_path, root_node
from service.validate.packages import core
from tests.support import registry
from tests.support.corpora import CORPORA

GOAL = 20
_CORE = "http://hl7.org/fhir/StructureDefinition/"
OURS, THEIRS = "ours", "fhirpathpy"


class Subject(NamedTuple):
    """A resource, as each engine likes it best, and the keys and expressions of what must hold of it."""

    node: Node
    context: Context
    plain: dict[str, Any]
    invariants: list[Constraint]


@cache
def invariants(type_name: str) -> list[Constraint]:
    """The invariants of severity error at the root of a type of R4."""
    definition = core().get("StructureDefinition", _CORE + type_name)
    return [each for each in definition.snapshot[0].constraint if each.severity == "error"]


def subjects() -> Iterator[Subject]:
    """HL7's examples of R4. Raises registry.Missing."""
    for sample in CORPORA["r4-examples"].samples():
        node = root_node(json.loads(sample.text))
        yield Subject(node, Context(node, node), stdlib_json.loads(sample.text), invariants(node.type.name))


# --- the two engines --------------------------------------------------------------------------------------------------


def ours(found: list[Subject]) -> Callable[[], None]:
    """One pass over all of them."""
    work = [(each.node, each.context, [_compiled(one.expression) for one in each.invariants]) for each in found]

    def run() -> None:
        for node, context, tests in work:
            for is_true in tests:
                is_true(node, context)

    return run


def theirs(found: list[Subject]) -> Callable[[], None]:
    """One pass over all of them. Raises whatever fhirpathpy raises."""
    work = [(each.plain, _surroundings(each), [_compiled_by_them(one.expression) for one in each.invariants]) for each in found]

    def run() -> None:
        for resource, surroundings, paths in work:
            for path in paths:
                path(resource, surroundings)

    return run


@cache
def _compiled(expression: str) -> Callable[[Node, Context], bool]:
    return compile_path(expression).is_true


@cache
def _compiled_by_them(expression: str) -> Callable[[Any, Any], list[Any]]:
    import fhirpathpy
    from fhirpathpy.models import models

    # Without a function of one's own, trace() prints.
    found: Callable[[Any, Any], list[Any]] = fhirpathpy.compile(expression, models["r4"], {"traceFn": lambda *_: None})
    return found


def _surroundings(subject: Subject) -> dict[str, Any]:
    return {"resource": subject.plain, "rootResource": subject.plain}


# --- the same work ----------------------------------------------------------------------------------------------------


class Common(NamedTuple):
    """What both engines can evaluate; the keys of what they differ on, and of what fhirpathpy refuses."""

    subjects: list[Subject]
    differ: Counter[str]
    refused: Counter[str]


def common(found: list[Subject]) -> Common:
    differ: Counter[str] = Counter()
    refused: Counter[str] = Counter()
    both = []
    for subject in found:
        kept = []
        for one in subject.invariants:
            verdict = _their_verdict(one, subject)
            if verdict is None:
                refused[one.key] += 1
                continue
            kept.append(one)
            differ[one.key] += verdict is not _compiled(one.expression)(subject.node, subject.context)
        both.append(subject._replace(invariants=kept))
    return Common(both, +differ, refused)


def _their_verdict(one: Constraint, subject: Subject) -> bool | None:
    """None where it raises."""
    try:
        items = _compiled_by_them(one.expression)(subject.plain, _surroundings(subject))
    except Exception:  # noqa: BLE001  # bare exceptions are how it says what it does not do
        return None
    return items[0] is not False if len(items) == 1 else bool(items)


# --- the table --------------------------------------------------------------------------------------------------------


def report(rounds: int) -> str:
    try:
        found = list(subjects())
    except registry.Missing as missing:
        raise SystemExit(f"no measurement of FHIRPath: {missing}") from None
    if importlib.util.find_spec("fhirpathpy") is None:
        return "\n".join(["fhirpathpy is not installed: nothing to compare with.", "", *alone(found, rounds)])
    return "\n".join(compared(common(found), rounds))


def alone(found: list[Subject], rounds: int) -> list[str]:
    return details(clock.take_turns({OURS: ours(found)}, rounds), _count(found))


def compared(work: Common, rounds: int) -> list[str]:
    times = clock.take_turns({OURS: ours(work.subjects), THEIRS: theirs(work.subjects)}, rounds)
    ratio, count = times[THEIRS].best / times[OURS].best, _count(work.subjects)
    versions = f"Python {platform.python_version()}, fhirpathpy {importlib.metadata.version('fhirpathpy')}"
    verdicts = f"Same verdict: {count - work.differ.total():,} of {count:,}{_keys('; different on', work.differ)}."
    refused = f"Refused by fhirpathpy, and left out for both: {work.refused.total():,}{_keys(', of', work.refused)}."
    expressions = len({one.expression for each in work.subjects for one in each.invariants})
    return [
        f"{versions}. {len(work.subjects)} resources, {expressions} expressions, {count:,} evaluations a pass.",
        "",
        "| Invariants of R4 on HL7's examples | Ratio | Goal | |",
        "|---|---:|---:|---|",
        f"| Casebridge is faster than fhirpathpy, by | {ratio:.1f} × | ≥ {GOAL} | {'met' if ratio >= GOAL else 'missed'} |",
        "",
        *details(times, count),
        "",
        f"{verdicts} {refused}",
    ]


def _count(found: list[Subject]) -> int:
    return sum(len(each.invariants) for each in found)


_SAYS = {OURS: "`Path.is_true(node, context)`", THEIRS: "fhirpathpy: `compile(expression, models['r4'])`, then a call"}


def details(times: dict[str, clock.Times], count: int) -> list[str]:
    lines = ["| One core | Evaluations/s | One, best (median) |", "|---|---:|---:|"]
    for name, one in times.items():
        each = f"{one.best / count * 1e6:.2f} µs ({one.median / count * 1e6:.2f} µs)"
        lines.append(f"| {_SAYS[name]} | {count / one.best:,.0f} | {each} |")
    return lines


def _keys(words: str, found: Counter[str]) -> str:
    return f"{words} {', '.join(f'{key} ({times})' for key, times in sorted(found.items()))}" if found else ""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=10, help="turns of each contender (10)")
    parser.add_argument("--write", action="store_true", help="write the tables into docs/performance.md")
    arguments = parser.parse_args()
    text = report(arguments.rounds)
    print(text)
    if arguments.write:
        page.write("fhirpath", text)


if __name__ == "__main__":
    main()
