"""Scores our validator against the foreign judges: a table, class by class.

    python -m tests.conformance.score                        everything
    python -m tests.conformance.score mutants --group bundle
    python -m tests.conformance.score mutants --show bdl-7-full-url-twice [--ask]

Columns: samples; faulty (expected to be rejected); found by us, HAPI, HL7; false alarms of ours. Exit code 1: some differ.
"""

# ruff: noqa: T201  # what it prints is its output

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable, Sequence

from tests.support import agreement, hl7_cases, mutants, registry, verdicts
from tests.support.agreement import Outcome
from tests.support.corpora import CORPORA
from tests.support.hapi_validator import ENGINES, HapiValidator

# No judge is asked about these: the verdict is on record.
HL7_CASES = "hl7-cases"
HEAD = ("n", "faulty", "ours", "hapi", "hl7", "missed", "alarms")


def row(outcomes: Sequence[Outcome]) -> tuple[int, ...]:
    faulty = [one for one in outcomes if one.expected is False]
    return (
        len(outcomes),
        len(faulty),
        sum(not one.accepted for one in faulty),
        sum(bool(one.record.hapi) for one in faulty),
        sum(bool(one.record.hl7) for one in faulty),
        sum(one.is_missed for one in outcomes),
        sum(one.is_alarm for one in outcomes),
    )


def print_row(name: str, cells: Iterable[object]) -> None:
    print(f"{name:42}" + "".join(f"{cell!s:>8}" for cell in cells), flush=True)


def class_names(corpus: str, group: str | None) -> list[str]:
    """The classes of a corpus of mutants, or one nameless class that is the whole of another corpus."""
    if corpus not in agreement.MUTANTS:
        return [""]
    names = dict.fromkeys(mutants.class_of(name) for name in verdicts.read(corpus))
    in_order = [name for name in mutants.CLASSES if name in names]
    return [name for name in in_order if group in (None, mutants.group_of(name))]


def score(corpus: str, group: str | None) -> list[Outcome]:
    """Prints the table of a corpus, and gives what it was made of."""
    started = time.monotonic()
    everything: list[Outcome] = []
    for name in class_names(corpus, group):
        found = list(agreement.outcomes(corpus, f"{name}/" if name else ""))
        everything += found
        if name:
            print_row(name, row(found))
    print_row(corpus, row(everything))
    print(f"  {time.monotonic() - started:.1f} s", flush=True)
    return everything


def show(corpus: str, prefix: str, ask: bool) -> None:
    """Prints each wrong outcome: ours, theirs by message and place and, if asked, in the judges' own words."""
    for one in agreement.outcomes(corpus, prefix):
        if one.is_wrong:
            print(f"\n{'ALARM' if one.is_alarm else 'MISSED'} {one.name}")
            for issue in one.errors[:10]:
                print(f"  ours  {issue.rule}  {issue.expression}  {issue.text}")
            for engine in ENGINES:
                for message, location in getattr(one.record, engine)[:5]:
                    print(f"  {engine:5} {message}  {location}")
            if ask:
                words(corpus, one.name)


def words(corpus: str, name: str) -> None:
    packages = [registry.fhir_package(each) for each in CORPORA[corpus].packages]
    for sample in agreement.samples(corpus, [name]):
        for engine in ENGINES:
            with HapiValidator([*packages, *sample.definitions], engine) as judge:
                for finding in judge.validate(sample.text, sample.profiles).errors[:5]:
                    print(f"  {engine:5} says: {finding}")


def score_hl7_cases() -> int:
    """Our score on HL7's suite: right by the verdict on record."""
    found = [(case, agreement.errors_of(HL7_CASES, case.sample)) for case in hl7_cases.cases()]
    wrong = [(case, errors) for case, errors in found if case.valid != (not errors)]
    for case, errors in wrong:
        print(f"{'alarm ' if case.valid else 'missed'} {case.sample.name}: {[(e.rule, e.expression) for e in errors[:4]]}")
    print(f"{HL7_CASES}: right on {len(found) - len(wrong)} of {len(found)}")
    return len(wrong)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    available = [*verdicts.corpora(), HL7_CASES]
    parser.add_argument("corpora", nargs="*", default=available, metavar="CORPUS", help=", ".join(available))
    parser.add_argument("--group", help="of mutants: only the classes of this group")
    parser.add_argument("--show", metavar="PREFIX", help="list what differs among samples of such names ('' for all)")
    parser.add_argument("--ask", action="store_true", help="with --show: ask the judges for their words (needs Java)")
    options = parser.parse_args()
    print_row("", HEAD)
    wrong = 0
    for corpus in options.corpora:
        if options.show is not None:
            show(corpus, options.show, options.ask)
        elif corpus == HL7_CASES:
            wrong += score_hl7_cases()
        else:
            wrong += sum(one.is_wrong for one in score(corpus, options.group))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
