"""Our validator's verdicts beside those of the foreign judges, and what is expected of it where they differ."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml

from service.errors import UnreadableInput
from service.issues import Issue
from service.validate.validator import load_validator
from tests.support import mutants, registry, verdicts
from tests.support.corpora import CORPORA
from tests.support.sample import Sample
from tests.support.verdicts import Record

FOLDER: Final = Path(__file__).parents[1] / "conformance"
MUTANTS: Final = ("mutants", "mcode-mutants")


@dataclass(frozen=True, slots=True)
class Outcome:
    """One sample: our errors, and the judges' record. `expected`: whether we are to accept it; None where both is right."""

    name: str
    errors: tuple[Issue, ...]
    record: Record
    expected: bool | None

    @property
    def accepted(self) -> bool:
        return not self.errors

    @property
    def is_alarm(self) -> bool:
        """We reject what is expected to pass."""
        return self.expected is True and not self.accepted

    @property
    def is_missed(self) -> bool:
        """We accept what is expected to be found."""
        return self.expected is False and self.accepted

    @property
    def is_wrong(self) -> bool:
        return self.is_alarm or self.is_missed

    def __str__(self) -> str:
        ours = ", ".join(f"{issue.rule} {issue.expression}" for issue in self.errors[:4]) or "nothing"
        return f"{self.name}: ours {ours}; HAPI {list(self.record.hapi[:3])}; HL7 {list(self.record.hl7[:3])}"


class Stale(Exception):
    """A sample is not the text that was judged: `python -m scripts.judge CORPUS` judges it anew."""


def outcomes(corpus: str, prefix: str = "") -> Iterator[Outcome]:
    """The outcomes of a corpus's samples whose names begin so. Raises registry.Missing and Stale."""
    records = verdicts.read(corpus)
    for sample in samples(corpus, [name for name in records if name.startswith(prefix)]):
        record = records[sample.name]
        if verdicts.digest(sample.text) != record.digest:
            raise Stale(f"{corpus}: {sample.name} is not what was judged")
        yield Outcome(sample.name, errors_of(corpus, sample), record, expected(sample.name, record))


def samples(corpus: str, names: Iterable[str]) -> Iterator[Sample]:
    """The samples of these names. Raises registry.Missing."""
    if corpus in MUTANTS:
        yield from map(mutants.rebuilt, names)
    else:
        wanted = set(names)
        yield from (sample for sample in CORPORA[corpus].samples() if sample.name in wanted)


def errors_of(corpus: str, sample: Sample) -> tuple[Issue, ...]:
    """What our validator finds, errors alone. Raises registry.Missing."""
    validator = _validator(CORPORA[corpus].packages, sample.definitions)
    try:
        issues = validator.validate(sample.text, file=sample.name, profiles=sample.profiles)
    except UnreadableInput as unreadable:
        issues = unreadable.issues
    return tuple(issue for issue in issues if issue.is_error)


def expected(name: str, record: Record) -> bool | None:
    """Whether we are to accept a sample: as both judges, else as decided; two rejections are never overruled."""
    if record.rejected:
        return False
    decided = decisions()
    return decided.get(name, decided.get(mutants.class_of(name), True if record.accepted else None))


@cache
def decisions() -> dict[str, bool]:
    """Samples and classes of mutants on which we have decided: name → whether we accept."""
    entries = yaml.safe_load((FOLDER / "decisions.yaml").read_text(encoding="utf-8"))
    return {name: entry["ours"] == "accept" for entry in entries for name in entry["samples"]}


@cache
def known_failures(corpus: str) -> dict[str, str]:
    """Samples on which our verdict is wrong, and we know it: name → reason."""
    entries: dict[str, list[dict[str, Any]]] = yaml.safe_load((FOLDER / "known_failures.yaml").read_text(encoding="utf-8"))
    return {entry["sample"]: entry["reason"] for entry in entries.get(corpus) or []}


def complaint(corpus: str, found: Sequence[Outcome]) -> str:
    """What is wrong beyond the known failures, and which of these are wrong no more; empty where all is as it should be."""
    known = known_failures(corpus)
    wrong = [f"{'false alarm' if one.is_alarm else 'missed'}: {one}" for one in found if one.is_wrong and one.name not in known]
    right = [
        f"right now, take it off known_failures.yaml: {one.name}" for one in found if not one.is_wrong and one.name in known
    ]
    return "\n".join(wrong + right)


@cache
def _validator(packages: tuple[str, ...], definitions: tuple[Path, ...]) -> Any:
    return load_validator([*map(registry.fhir_package, packages), *definitions])
