"""Single-fault mutants of valid resources: seeded, so that a mutant is known by its class, its seed and a number.

A class is a small function in a literal table. The neutral classes change nothing that matters: nobody may reject them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from random import Random
from typing import Final

from service.fhir.json import dumps, loads
from tests.support import verdicts
from tests.support.corpora import CORPORA
from tests.support.elements import Json, Mutator
from tests.support.mutants_bundle import BUNDLE
from tests.support.mutants_invariants import INVARIANT
from tests.support.mutants_meaning import CONTAINED, EXTENSION, META, NARRATIVE, QUANTITY, REFERENCE, TERMINOLOGY
from tests.support.mutants_profile import PROFILE
from tests.support.mutants_structure import STRUCTURE
from tests.support.mutants_text import JSON_TEXT, NEUTRAL
from tests.support.mutants_values import PRIMITIVE
from tests.support.sample import Sample

BASE: Final[Mapping[str, Mapping[str, Mutator]]] = {
    "structure": STRUCTURE,
    "primitive": PRIMITIVE,
    "terminology": TERMINOLOGY,
    "invariant": INVARIANT,
    "extension": EXTENSION,
    "contained": CONTAINED,
    "reference": REFERENCE,
    "bundle": BUNDLE,
    "json": JSON_TEXT,
    "narrative": NARRATIVE,
    "quantity": QUANTITY,
    "meta": META,
    "neutral": NEUTRAL,
}
MCODE: Final[Mapping[str, Mapping[str, Mutator]]] = {"profile": PROFILE}

BASE_SEEDS: Final = ("r4-examples", "r4-definitions", "made", "synthea")
MCODE_SEEDS: Final = ("mcode-examples",)

# name → (group, function)
BASE_CLASSES: Final = {name: (group, mutator) for group, table in BASE.items() for name, mutator in table.items()}
MCODE_CLASSES: Final = {name: (group, mutator) for group, table in MCODE.items() for name, mutator in table.items()}
CLASSES: Final = BASE_CLASSES | MCODE_CLASSES

PER_CLASS = 20
# Where few seeds have what a class changes, each is taken several times.
ROUNDS = 5
LARGEST_SEED = 8_000
LARGEST_BUNDLE = 60_000


def base_mutants() -> Iterator[Sample]:
    """The mutants of R4's examples and definitions and of bundles, named CLASS/SEED/NUMBER. Raises registry.Missing."""
    for name in BASE_CLASSES:
        yield from _of_class(name, seeds(*BASE_SEEDS))


def mcode_mutants() -> Iterator[Sample]:
    """The mutants of mCODE's examples under mCODE's profiles. Raises registry.Missing."""
    for name in MCODE_CLASSES:
        yield from _of_class(name, seeds(*MCODE_SEEDS))


def rebuilt(name: str) -> Sample:
    """The mutant of this name. Raises registry.Missing."""
    class_name, seed, _ = name.split("/")
    mutant = _mutant(name, seeds(*(MCODE_SEEDS if class_name in MCODE_CLASSES else BASE_SEEDS))[seed])
    if mutant is None:
        raise ValueError(f"{class_name} makes nothing of {seed}: judge the mutants anew")
    return mutant


def class_of(name: str) -> str:
    return name.partition("/")[0]


def group_of(class_name: str) -> str:
    return CLASSES[class_name][0]


@cache
def seeds(*corpora: str) -> dict[str, bytes]:
    """Texts that both judges accept, of a size to work with, by name. Raises registry.Missing."""
    found = {}
    for corpus in corpora:
        records = verdicts.read(corpus)
        for sample in CORPORA[corpus].samples():
            is_bundle = sample.name.startswith("Bundle-") or corpus in ("synthea", "made")
            largest = LARGEST_BUNDLE if is_bundle else LARGEST_SEED
            if len(sample.text) <= largest and records[sample.name].accepted:
                found[sample.name] = dumps(loads(sample.text))
    return found


def _of_class(name: str, texts: Mapping[str, bytes]) -> Iterator[Sample]:
    """Up to PER_CLASS different mutants, from as many seeds as can be."""
    order = sorted(texts)
    Random(name).shuffle(order)
    seen: set[bytes] = set()
    for number in range(ROUNDS):
        fertile = []
        for seed in order:
            mutant = _mutant(f"{name}/{seed}/{number}", texts[seed])
            if mutant is None:
                continue
            fertile.append(seed)
            if mutant.text not in seen:
                seen.add(mutant.text)
                yield mutant
            if len(seen) == PER_CLASS:
                return
        order = fertile


def _mutant(name: str, text: bytes) -> Sample | None:
    resource: Json = loads(text)  # type: ignore[assignment]  # every seed is an object
    _, mutator = CLASSES[class_of(name)]
    mutant = mutator(resource, Random(name))
    if mutant is None:
        return None
    changed = mutant if isinstance(mutant, bytes) else dumps(mutant)
    return None if changed == text else Sample(name, changed)
