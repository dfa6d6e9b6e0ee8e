"""How fast resources are judged, beside HAPI's validator (and HL7's, where asked for). No number in here is a test.

    make bench                                              the tables, on the terminal
    .venv/bin/python bench/bench_validate.py --write        also into docs/performance.md
    .venv/bin/python bench/bench_validate.py --hl7          with HL7's validator too
    .venv/bin/python bench/bench_validate.py --every 10     a quick look: one text of ten

A pass is every text of a corpus, one after another, from its bytes to the list of what is wrong. The validators take turns,
pass by pass.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import clock
import page
import parts
from judges import Java, Judge, Ours
from record60 import MAPPING, make_text

from service.engine import load_engine
from service.fhir import json
from service.validate.validator import load_validator
from tests.support import hapi_validator, registry
from tests.support.corpora import CORPORA
from tests.support.hapi_validator import Engine

ROOT = Path(__file__).parent.parent
BUNDLES = ROOT / "examples" / "bundles"
GOAL, START_GOAL, MEMORY_GOAL = 10, 1.0, 200
WARM_UP = 3
OURS = "Casebridge"
NAMES: dict[Engine, str] = {"hapi": "HAPI", "hl7": "HL7"}
PATIENT = b'{"resourceType": "Patient", "name": [{"family": "Doe"}], "gender": "female", "birthDate": "1961-04"}'


# --- what is judged ---------------------------------------------------------------------------------------------------


def _goldens() -> Iterator[bytes]:
    for path in sorted(BUNDLES.glob("*.json")):
        yield path.read_bytes()


def _examples() -> Iterator[bytes]:
    yield from (sample.text for sample in CORPORA["r4-examples"].samples())


def _observations() -> Iterator[bytes]:
    """Each alone: one of four of those in the goldens, and those among the examples."""
    entries = (entry["resource"] for text in _goldens() for entry in json.loads(text)["entry"])
    found = [each for each in entries if each["resourceType"] == "Observation"]
    yield from (json.dumps(each) for each in found[::4])
    yield from (text for text in _examples() if json.loads(text)["resourceType"] == "Observation")


def _sixty() -> Iterator[bytes]:
    """The same Bundle ten times: alone it is judged in less time than a clock and a cold cache can tell."""
    engine = load_engine(MAPPING, parts.KEY)
    yield from [engine.convert(make_text()).dump(indent=False)] * 10


def _synthea() -> Iterator[bytes]:
    yield from (sample.text for sample in CORPORA["synthea"].samples())


TEXTS: dict[str, Callable[[], Iterator[bytes]]] = {
    "Observations": _observations,
    "Bundles of 60 entries": _sixty,
    "Synthea's bundles": _synthea,
    "The published cases": _goldens,
    "HL7's examples of R4": _examples,
}


class Corpus(NamedTuple):
    """Texts, and how many resources are in them."""

    name: str
    texts: list[bytes]
    resources: int


def corpora(every: int) -> Iterator[Corpus]:
    for name, read in TEXTS.items():
        try:
            texts = list(itertools.islice(read(), 0, None, every))
        except registry.Missing as missing:
            print(f"{name}: left out. {missing}", file=sys.stderr)
            continue
        yield Corpus(name, texts, sum(map(_resources, texts)))


def _resources(text: bytes) -> int:
    resource = json.loads(text)
    return len(resource.get("entry", ())) or 1 if resource["resourceType"] == "Bundle" else 1


# --- passes -----------------------------------------------------------------------------------------------------------


class Measured(NamedTuple):
    """A corpus; by judge the times of its passes, and the texts that it accepts."""

    corpus: Corpus
    times: dict[str, clock.Times]
    accepted: dict[str, list[bool]]

    def rate(self, name: str) -> float:
        """Resources a second."""
        return self.corpus.resources / self.times[name].best

    def agreed(self, name: str) -> int:
        """On how many texts a judge's verdict is ours."""
        return sum(one is other for one, other in zip(self.accepted[OURS], self.accepted[name], strict=True))


def measure(found: Sequence[Corpus], judges: Mapping[str, Judge], rounds: int) -> list[Measured]:
    """All corpora a few times, for Java compiles what it meets often; then in each round each corpus by each judge."""
    accepted = [{name: [judge.accepts(text) for text in each.texts] for name, judge in judges.items()} for each in found]
    times: list[dict[str, list[float]]] = [{name: [] for name in judges} for _ in found]
    for turn in range(1 - WARM_UP, rounds):
        for corpus, seconds in zip(found, times, strict=True):
            for name, judge in judges.items():
                spent = _pass(judge, corpus.texts)
                if turn >= 0:
                    seconds[name].append(spent)
    return [
        Measured(corpus, {name: clock.Times(min(each), statistics.median(each)) for name, each in seconds.items()}, verdicts)
        for corpus, seconds, verdicts in zip(found, times, accepted, strict=True)
    ]


def _pass(judge: Judge, texts: Sequence[bytes]) -> float:
    start = judge.seconds()
    for text in texts:
        judge.accepts(text)
    return judge.seconds() - start


# --- the first verdict, and memory ------------------------------------------------------------------------------------


class Start(NamedTuple):
    """Seconds from nothing to the first verdict."""

    elapsed: float
    processor: float

    def __str__(self) -> str:
        return f"{self.elapsed:.2f} s ({self.processor:.2f} s)"


def our_start(text: bytes, rounds: int) -> Start:
    """A whole process of `casebridge validate`."""
    installed = Path(sys.executable).parent / "casebridge"
    command = [str(installed)] if installed.exists() else [sys.executable, "-m", "service"]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "resource.json"
        path.write_bytes(text)
        found = []
        for _ in range(rounds):
            start = time.perf_counter()
            spent = clock.of_process(
                [*command, "validate", str(path)], cwd=ROOT, environment={"CASEBRIDGE_HOME": folder}, rounds=1
            )
            found.append(Start(time.perf_counter() - start, spent.best))
    return min(found)


def their_start(engine: Engine, text: bytes) -> Start:
    start = time.perf_counter()
    with Java(engine) as judge:
        judge.accepts(text)
        return Start(time.perf_counter() - start, judge.seconds(with_compilers=True))


_MEMORY = """
import sys
from pathlib import Path
from judges import peak
from service.validate.validator import load_validator

validator = load_validator()
for path in sorted(Path(sys.argv[1]).iterdir()):
    validator.validate(path.read_bytes())
    print(peak(Path("/proc/self")))
"""


def our_memory(texts: Sequence[bytes]) -> list[float]:
    """The most memory, in megabytes, that a process of its own had: after its first text, and after all of them."""
    with tempfile.TemporaryDirectory() as folder:
        for number, text in enumerate([PATIENT, *texts]):
            (Path(folder) / f"{number:06d}.json").write_bytes(text)
        environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{Path(__file__).parent}"}
        command = [sys.executable, "-c", _MEMORY, folder]
        done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    told = [float(line) for line in done.stdout.split() if line != "None"]
    return [told[0], told[-1]] if told else []


# --- the tables -------------------------------------------------------------------------------------------------------


def rates(found: Sequence[Measured], engines: Sequence[Engine]) -> list[str]:
    theirs = [NAMES[engine] for engine in engines]
    titles = ["Resources a second, one core", "Texts", "Resources", OURS]
    titles += [title for name in theirs for title in (name, f"Faster than {name}, by", "Same verdict")]
    lines = [_row(titles), "|---|" + (len(titles) - 1) * "---:|"]
    for each in found:
        cells = [each.corpus.name, f"{len(each.corpus.texts):,}", f"{each.corpus.resources:,}", f"{each.rate(OURS):,.0f}"]
        for name in theirs:
            ratio, agreed = each.rate(OURS) / each.rate(name), each.agreed(name)
            cells += [
                f"{each.rate(name):,.0f}",
                f"{ratio:.1f} ×, {_verdict(ratio >= GOAL)}",
                f"{agreed:,} of {len(each.corpus.texts):,}",
            ]
        lines.append(_row(cells))
    return lines


def starts(engines: Sequence[Engine], rounds: int) -> list[str]:
    titles = ["First verdict of a new process: elapsed (processor)", f"`casebridge validate`, goal < {START_GOAL:.0f} s"]
    lines = [_row([*titles, *(NAMES[engine] for engine in engines)]), "|---|" + (1 + len(engines)) * "---:|"]
    golden = min(BUNDLES.glob("*.json"))
    for name, text in {"a Patient of one line": PATIENT, f"{golden.stem}, a bundle": golden.read_bytes()}.items():
        ours = our_start(text, rounds)
        cells = [name, f"{ours}, {_verdict(ours.elapsed < START_GOAL)}"]
        lines.append(_row([*cells, *(str(their_start(engine, text)) for engine in engines)]))
    return lines


def memory(texts: Sequence[bytes], peaks: Mapping[Engine, float | None]) -> list[str]:
    ours = our_memory(texts)
    if not ours:
        return []
    first, last = ours
    titles = ["The most memory of a process", f"{OURS}, goal < {MEMORY_GOAL} MB", *(NAMES[engine] for engine in peaks)]
    rest = [f"{each:,.0f} MB" for each in peaks.values() if each is not None]
    return [
        _row(titles),
        "|---|" + (len(titles) - 1) * "---:|",
        _row(["R4 loaded, one Patient judged", f"{first:.0f} MB", *("" for _ in rest)]),
        _row(["all of the above judged", f"{last:.0f} MB, {_verdict(last < MEMORY_GOAL)}", *rest]),
    ]


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _verdict(is_met: bool) -> str:
    return "met" if is_met else "missed"


def report(engines: Sequence[Engine], rounds: int, every: int) -> str:
    found = list(corpora(every))
    with ExitStack() as stack:
        theirs = {engine: stack.enter_context(Java(engine)) for engine in engines}
        judges: dict[str, Judge] = {OURS: Ours(load_validator()), **{NAMES[each]: judge for each, judge in theirs.items()}}
        # As in clock.take_turns: what the bench itself holds is no part of anyone's garbage.
        gc.collect()
        gc.freeze()
        measured = measure(found, judges, rounds)
        peaks = {engine: judge.peak() for engine, judge in theirs.items()}
    tables = [
        rates(measured, engines),
        starts(engines, max(3, rounds)),
        memory([text for each in found for text in each.texts], peaks),
    ]
    head = f"Python {platform.python_version()}, R4 alone, without further packages."
    return "\n\n".join([head, *("\n".join(table) for table in tables if table)])


def available(*, hl7: bool) -> list[Engine]:
    """The engines to compare with; none where there is no Java."""
    reason = hapi_validator.available()
    if reason:
        print(f"no comparison: {reason}", file=sys.stderr)
        return []
    return ["hapi", "hl7"] if hl7 else ["hapi"]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help=f"measured passes of each, after {WARM_UP} to warm up (5)")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="judge one text of N")
    parser.add_argument("--hl7", action="store_true", help="compare with HL7's validator too")
    parser.add_argument("--write", action="store_true", help="write the tables into docs/performance.md")
    arguments = parser.parse_args()
    text = report(available(hl7=arguments.hl7), arguments.rounds, arguments.every)
    print(text)
    if arguments.write:
        page.write("validate", text)


if __name__ == "__main__":
    main()
