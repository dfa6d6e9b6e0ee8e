"""What a run of tests/faults said of each row of the fault matrix, as JSON and as the page that shows it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from service.fhir import json
from tests.support.fault_matrix import ROWS, Row, row_of

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "build" / "fault-matrix.json"
PAGE = ROOT / "docs" / "fault-matrix.md"
COMMAND = "make faults"

# Where a fault met our code: called as a library; the Flask app in the test's process; `casebridge serve` as a process of its
# own; the command line; and, of the FHIR server at the other end, the twin in memory, a scripted HTTP server, HAPI itself.
Place = Literal["library", "app", "service", "command", "memory", "fake server", "real HAPI"]
PLACES: tuple[Place, ...] = get_args(Place)
NO_TEST = "no test yet"


@dataclass(frozen=True, slots=True)
class Told:
    """What the fixture `fault` of one test was told: `times` of a `kind` of fault, injected at a place."""

    kind: str
    times: int
    at: Place


@dataclass(frozen=True, slots=True)
class Report:
    """One phase of one test. `test` is its file and name, without parameters; `reason` says why it was skipped."""

    test: str
    phase: str
    outcome: str
    reason: str = ""
    told: Sequence[Told] = ()


@dataclass
class Seen:
    """What the tests of one row said: test → how often it ran, kind of fault → how often it was injected, and where."""

    tests: Counter[str] = field(default_factory=Counter)
    injections: Counter[str] = field(default_factory=Counter)
    places: set[Place] = field(default_factory=set)
    failed: set[str] = field(default_factory=set)
    not_run: set[str] = field(default_factory=set)

    @property
    def outcome(self) -> str:
        """failed where any test failed, held where one ran, else why none did."""
        if self.failed:
            return "failed"
        return "held" if self.tests else "not run"

    @property
    def settled(self) -> bool:
        """Whether another machine must see the same."""
        return not self.failed and not self.not_run

    def add(self, report: Report) -> None:
        if report.outcome == "failed":
            self.failed.add(report.test)
        elif report.outcome == "skipped":
            self.not_run.add(report.reason)
        elif report.phase == "call":
            self.tests[report.test] += 1
            for told in report.told:
                self.injections[told.kind] += told.times
                self.places.add(told.at)


@dataclass
class Run:
    """One run of the fault tests. `whole`: none of them was left out."""

    rows: dict[str, Seen] = field(default_factory=lambda: {row.id: Seen() for row in ROWS})
    whole: bool = False
    idle: set[str] = field(default_factory=set)

    def add(self, report: Report) -> None:
        row = row_of(report.test.rpartition("::")[2])
        if row is None:
            return
        self.rows[row].add(report)
        if (report.phase, report.outcome) == ("call", "passed") and not report.told:
            self.idle.add(report.test)

    @property
    def settled(self) -> bool:
        return all(seen.settled for seen in self.rows.values())


def dump(run: Run) -> bytes:
    """The results as JSON: the same run gives the same bytes."""
    rows = {
        name: {
            "outcome": seen.outcome,
            "where": [place for place in PLACES if place in seen.places],
            "tests": dict(sorted(seen.tests.items())),
            "injections": dict(sorted(seen.injections.items())),
            "failed": sorted(seen.failed),
            "not run": sorted(seen.not_run),
        }
        for name, seen in run.rows.items()
    }
    return json.dumps({"whole": run.whole, "rows": rows}, indent=True)


def load(text: bytes) -> Run:
    """The run that `dump` wrote."""
    held: Any = json.loads(text)
    rows = {
        name: Seen(
            Counter(row["tests"]), Counter(row["injections"]), set(row["where"]), set(row["failed"]), set(row["not run"])
        )
        for name, row in held["rows"].items()
    }
    return Run(rows, held["whole"])


_HEAD = f"""# The fault matrix

What Casebridge promises when something goes wrong, and how each promise is put to the test: the fault is injected, and the test
looks at what happened. A row holds where all of its tests passed. The code is `tests/faults`; a test is named for its row.

This page is made from a run of those tests, by `{COMMAND}`. Do not edit it: a run that says something else fails the build.
"""
_PLACES = """
*Where* a fault met Casebridge stands beside the outcome: called as a library; the Flask app in the test's own process; the
service as a process, over its socket; the command. Of the FHIR server at the other end: the twin in memory that Casebridge
ships; a scripted fake server; real HAPI.
"""


def render(run: Run) -> str:
    """The page. Its table has one line a row (`line`)."""
    outcomes = Counter(seen.outcome for seen in run.rows.values())
    tests = sum(sum(seen.tests.values()) for seen in run.rows.values())
    faults = sum(sum(seen.injections.values()) for seen in run.rows.values())
    summary = f"{outcomes['held']} of {len(ROWS)} rows hold, {outcomes['failed']} failed, {outcomes['not run']} were not run"
    table = [
        "| row | fault or bad input | what must happen | how it is injected | injected in the run | tests | outcome |",
        "|---|---|---|---|---|---|---|",
        *(line(row, run.rows[row.id]) for row in ROWS),
    ]
    return "\n".join([_HEAD, f"**{summary}: {faults:,} faults injected by {tests:,} tests.**", _PLACES, *table]) + "\n"


def line(row: Row, seen: Seen) -> str:
    """The row's line in the table."""
    faults = [f"{times:,} × {kind}" for kind, times in sorted(seen.injections.items())]
    files = Counter[str]()
    for test, count in seen.tests.items():
        files[test.partition("::")[0]] += count
    tests = [f"{count:,} in [{Path(file).name}](../{file})" for file, count in sorted(files.items())]
    return _line([*_texts(row), _cell(faults), "; ".join(tests), _cell([_outcome(seen)])])


def starts_with(row: Row) -> str:
    """How the row's line begins, whatever a run says of it."""
    return _line(_texts(row))


def _texts(row: Row) -> list[str]:
    return [row.id, *(_cell([text]) for text in (row.fault, row.required, row.injected))]


def _outcome(seen: Seen) -> str:
    said = seen.outcome
    if seen.places:
        said += f" ({', '.join(place for place in PLACES if place in seen.places)})"
    left_out = sorted(seen.not_run) or ([] if seen.tests or seen.failed else [NO_TEST])
    separator = ": " if seen.outcome == "not run" else "; not run here: "
    return said + (separator + "; ".join(left_out) if left_out else "")


def _cell(texts: Iterable[str]) -> str:
    return "; ".join(texts).replace("|", "\\|").replace("<", "&lt;")


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
