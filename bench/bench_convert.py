"""How fast a case becomes a bundle and a bundle a case, beside what people write otherwise. No number in here is a test.

    make bench                                      the table, on the terminal
    .venv/bin/python bench/bench_convert.py --write also into docs/performance.md

Everything is measured from bytes to bytes, as a user gets it. All contenders make the same bundle: that is checked first.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json as stdlib_json
import platform
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import by_hand
import by_liquid
import by_models
import clock
import msgspec
import page
import parts
from record60 import MAPPING, RESOURCES, make_text

from service.engine import Engine, load_engine
from service.fhir import json

ROOT = Path(__file__).parent.parent
CASES = ROOT / "examples" / "cases"
_decode = parts.decode
_sorted = msgspec.json.Encoder(decimal_format="number", order="deterministic").encode


@dataclass(frozen=True)
class Work:
    """One input, and what each contender does with it."""

    engine: Engine
    raw: bytes
    bundle: bytes
    record_value: Any
    bundle_value: Any

    def convert(self) -> bytes:
        return self.engine.convert(self.raw).dump(indent=False)

    def to_case(self) -> bytes:
        return self.engine.to_case(self.bundle).dump(indent=False)

    def limit(self) -> None:
        """What no converter can do without: the record read, the bundle written, with nothing between them."""
        _decode(self.raw)
        parts.encode(self.bundle_value)

    def back_limit(self) -> None:
        _decode(self.bundle)
        parts.encode(self.record_value)


def prepare(engine: Engine, raw: bytes) -> Work:
    conversion = engine.convert(raw)
    if conversion.bundle is None:
        raise SystemExit(f"the case is not accepted: {conversion.issues[0]}")
    bundle = conversion.dump(indent=False)
    return Work(engine, raw, bundle, _decode(raw), _decode(bundle))


# --- the same work ----------------------------------------------------------------------------------------------------


def check(work: Work) -> None:
    """Stops where a contender does other work than the service: such a number would say nothing."""
    ours = json.loads(work.bundle)
    found = len(ours["entry"])
    if found != RESOURCES:
        raise SystemExit(f"the record of the benchmark becomes {found} resources instead of {RESOURCES}")
    _same("by_hand.convert", _sorted(ours), _sorted(json.loads(by_hand.convert(work.raw))))
    _same("by_hand.to_case", _sorted(json.loads(work.raw)), _sorted(json.loads(by_hand.to_case(work.bundle))))
    _same("to_case", _sorted(json.loads(work.raw)), _sorted(json.loads(work.to_case())))
    # Models and templates may write 1.5 for 1.50: their numbers are compared as numbers.
    plain = stdlib_json.loads(work.bundle)
    _same("by_models.convert", plain, stdlib_json.loads(by_models.convert(work.raw)))
    _same("by_liquid.convert", plain, stdlib_json.loads(by_liquid.convert(work.raw)))


def _same(name: str, ours: Any, theirs: Any) -> None:
    if ours != theirs:
        if isinstance(ours, bytes):
            ours, theirs = _decode(ours), _decode(theirs)
        raise SystemExit(f"{name} does other work than the service, at {_difference(ours, theirs)}; bring it into line")


def _difference(ours: Any, theirs: Any, place: str = "") -> str:
    """The first place where two values differ."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for name in sorted(ours.keys() | theirs.keys()):
            if ours.get(name) != theirs.get(name):
                return _difference(ours.get(name), theirs.get(name), f"{place}.{name}")
    if isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for index, (one, other) in enumerate(zip(ours, theirs, strict=True)):
            if one != other:
                return _difference(one, other, f"{place}[{index}]")
    return f"{place or '.'}: {str(ours)[:100]} instead of {str(theirs)[:100]}"


# --- cold start -------------------------------------------------------------------------------------------------------

_ONE_CASE = (
    "import sys; from pathlib import Path; from service.engine import load_engine; "
    "engine = load_engine(Path(sys.argv[1]), sys.argv[2].encode()); "
    "sys.stdout.buffer.write(engine.convert(Path(sys.argv[3]).read_bytes()).dump())"
)


def cold_start(rounds: int) -> dict[str, clock.Times]:
    """A whole process that converts one case, and one of the same interpreter that does nothing."""
    case = str(min(CASES.glob("*.json")))
    name, command = _command(case)
    with tempfile.TemporaryDirectory() as home:
        environment = {"CASEBRIDGE_HOME": home, "CASEBRIDGE_KEY": parts.KEY.decode(), "PYTHONPATH": str(ROOT)}
        return {
            name: clock.of_process(command, cwd=ROOT, environment=environment, rounds=rounds),
            "bare interpreter": clock.of_process([sys.executable, "-c", ""], cwd=ROOT, environment={}, rounds=rounds),
        }


def _command(case: str) -> tuple[str, list[str]]:
    installed = Path(sys.executable).parent / "casebridge"
    if installed.exists():
        return "`casebridge convert CASE`", [str(installed), "convert", case]
    if (ROOT / "service" / "__main__.py").exists():
        return "`python -m service convert CASE`", [sys.executable, "-m", "service", "convert", case]
    return "load_engine and convert in Python", [sys.executable, "-c", _ONE_CASE, str(MAPPING), parts.KEY.decode(), case]


# --- the table --------------------------------------------------------------------------------------------------------

OURS, MODELS, LIQUID, HAND = "ours", "fhir.resources", "python-liquid", "by hand"
BACK, BACK_HAND = "ours, back", "by hand, back"


def measure(work: Work, rounds: int) -> dict[str, clock.Times]:
    contenders: dict[str, Callable[[], object]] = {
        OURS: work.convert,
        MODELS: lambda: by_models.convert(work.raw),
        LIQUID: lambda: by_liquid.convert(work.raw),
        HAND: lambda: by_hand.convert(work.raw),
        BACK: work.to_case,
        BACK_HAND: lambda: by_hand.to_case(work.bundle),
    }
    return clock.take_turns(contenders, rounds)


def measure_case(work: Work, rounds: int) -> dict[str, clock.Times]:
    contenders: dict[str, Callable[[], object]] = {
        OURS: work.convert,
        "limit": work.limit,
        MODELS: lambda: by_models.read_and_write(work.bundle_value),
        BACK: work.to_case,
        "limit, back": work.back_limit,
    }
    return clock.take_turns(contenders, rounds)


def ratios(times: dict[str, clock.Times]) -> list[str]:
    def ratio(slow: str, fast: str) -> str:
        return f"{times[slow].best / times[fast].best:.1f}"

    return [
        f"| Case of {RESOURCES} resources, bytes to bytes | Ratio | Goal |",
        "|---|---:|---:|",
        f"| Casebridge is faster than models of fhir.resources, by | {ratio(MODELS, OURS)} × | ≥ 40 |",
        f"| Casebridge is faster than a python-liquid template, by | {ratio(LIQUID, OURS)} × | ≥ 6 |",
        f"| Plain dicts by hand, without any check, are faster than Casebridge, by | {ratio(OURS, HAND)} × | ≤ 4 |",
        f"| Back to a case: by hand, without any check, is faster than Casebridge, by | {ratio(BACK, BACK_HAND)} × | ≤ 4 |",
    ]


_SAYS = {
    OURS: "`Engine.convert(raw).dump()`: strict JSON, form check, mapping, accounting",
    MODELS: "fhir.resources (R4B): constructors, `model_dump_json`",
    LIQUID: "python-liquid: one template, precompiled; its text checked as JSON",
    HAND: "plain dicts by hand, msgspec at both ends, no check of any kind",
    BACK: "`Engine.to_case(bundle).dump()`: strict JSON, reading, proof by writing again",
    BACK_HAND: "plain dicts by hand, back: msgspec at both ends, no check of any kind",
}


def details(times: dict[str, clock.Times]) -> list[str]:
    lines = ["| One core | Cases/s | A case, best (median) | A resource |", "|---|---:|---:|---:|"]
    for name, one in times.items():
        each = f"{one.best / RESOURCES * 1e6:.1f} µs"
        lines.append(f"| {_SAYS[name]} | {1 / one.best:,.0f} | {one} | {each} |")
    return lines


def case_lines(works: dict[str, Work], rounds: int) -> list[str]:
    titles = [
        "Published case",
        "Resources",
        "Convert",
        "Faster than models alone",
        "Times the limit",
        "To case",
        "Times the limit",
    ]
    lines = [f"| {' | '.join(titles)} |", "|---|" + (len(titles) - 1) * "---:|"]
    for name, work in works.items():
        times = measure_case(work, rounds)
        count = len(work.bundle_value["entry"])
        there, back = times[OURS].best, times[BACK].best
        models = times[MODELS].best / there
        more, more_back = there / times["limit"].best, back / times["limit, back"].best
        cells = [
            name,
            count,
            f"{1 / there:,.0f}/s",
            f"{models:.0f} ×",
            f"{more:.1f} ×",
            f"{1 / back:,.0f}/s",
            f"{more_back:.1f} ×",
        ]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return lines


def report(rounds: int) -> str:
    engine = load_engine(MAPPING, parts.KEY)
    work = prepare(engine, make_text())
    check(work)
    times = measure(work, rounds)
    works = {path.stem: prepare(engine, path.read_bytes()) for path in sorted(CASES.glob("*.json"))}
    starts = cold_start(max(3, rounds // 2))
    cold = ["| Cold start, a whole process | Processor time, best (median) |", "|---|---:|"]
    cold += [f"| {name} | {one.best:.2f} s ({one.median:.2f} s) |" for name, one in starts.items()]
    versions = [f"{name} {importlib.metadata.version(name)}" for name in ("fhir.resources", "python-liquid", "msgspec")]
    sizes = f"Record {len(work.raw):,} bytes, bundle {len(work.bundle):,} bytes."
    first = f"{', '.join([f'Python {platform.python_version()}', *versions])}. {sizes}"
    tables = [ratios(times), details(times), case_lines(works, rounds), cold]
    return "\n\n".join([first, *("\n".join(table) for table in tables)])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20, help="turns of each contender (20)")
    parser.add_argument("--write", action="store_true", help="write the tables into docs/performance.md")
    arguments = parser.parse_args()
    text = report(arguments.rounds)
    print(text)
    if arguments.write:
        page.write("convert", text)


if __name__ == "__main__":
    main()
