"""Asks the foreign judges (HAPI's and HL7's validators) about test corpora and keeps their verdicts as data.

    python -m scripts.judge r4-examples synthea        writes tests/conformance/verdicts/CORPUS.json
    python -m scripts.judge mutants --only bad-ucum    judges these classes of the mutants anew, and keeps the rest

Needs Java 17, Maven and the package registries. Exit code 3: something of these cannot be had.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections.abc import Iterable, Iterator, Sequence

from tests.support import registry, verdicts
from tests.support.corpora import CORPORA, Corpus
from tests.support.hapi_validator import ENGINES, Engine, HapiValidator, Verdict
from tests.support.sample import Sample


def judge(corpus: Corpus, samples: Sequence[Sample]) -> dict[str, verdicts.Record]:
    """Both judges' records of these samples by name. Raises registry.Missing."""
    found: dict[str, dict[str, Verdict]] = {sample.name: {} for sample in samples}
    for engine in ENGINES:
        started = time.monotonic()
        for sample, verdict in ask(engine, corpus, samples):
            found[sample.name][engine] = verdict
        print(f"  {engine}: {len(samples)} samples in {time.monotonic() - started:.0f} s", file=sys.stderr)
    return {sample.name: verdicts.record(sample, found[sample.name]) for sample in samples}


def ask(engine: Engine, corpus: Corpus, samples: Iterable[Sample]) -> Iterator[tuple[Sample, Verdict]]:
    """The verdicts of one judge; a process of its own for each set of definitions. Raises registry.Missing."""
    packages = [registry.fhir_package(name) for name in corpus.packages]
    in_order = sorted(samples, key=lambda sample: sample.definitions)
    for definitions, group in itertools.groupby(in_order, key=lambda sample: sample.definitions):
        with HapiValidator([*packages, *definitions], engine) as validator:
            for sample in group:
                yield sample, validator.validate(sample.text, sample.profiles)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpora", nargs="+", choices=CORPORA, metavar="CORPUS", help=", ".join(CORPORA))
    parser.add_argument("--only", action="append", default=[], metavar="PREFIX", help="only samples of such names; repeatable")
    options = parser.parse_args()
    try:
        for name in options.corpora:
            print(name, file=sys.stderr)
            corpus = CORPORA[name]
            samples = [each for each in corpus.samples() if not options.only or each.name.startswith(tuple(options.only))]
            kept = verdicts.read(name) if options.only else {}
            kept = {key: one for key, one in kept.items() if not key.startswith(tuple(options.only))}
            verdicts.write(name, corpus.packages, kept | judge(corpus, samples))
    except registry.Missing as missing:
        print(missing, file=sys.stderr)
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
