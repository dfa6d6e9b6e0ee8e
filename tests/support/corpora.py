"""The public corpora that validators are tried on: what is in each, where it comes from, and what it is judged with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.support import hl7_cases, registry, synthea
from tests.support.sample import Sample

# A validator answers for these in tenths of a second; what is larger are the specification's own registries of itself.
LARGEST = 500_000
LARGEST_DEFINITION = 20_000
DEFINITIONS_A_TYPE = 20
SEEDS = Path(__file__).parents[1] / "conformance" / "seeds"


@dataclass(frozen=True, slots=True)
class Corpus:
    """Samples in the order of their names, and the FHIR packages (registry names) that a validator loads for them."""

    samples: Callable[[], Iterator[Sample]]
    packages: tuple[str, ...] = ()


MCODE_PACKAGES: Final = (registry.TERMINOLOGY, registry.EXTENSIONS, registry.US_CORE, registry.GENOMICS, registry.MCODE)


def _r4_examples() -> Iterator[Sample]:
    """HL7's examples of R4 resources, not its definitions, in files of up to LARGEST bytes."""
    core = {path.name for path in registry.unpacked(registry.R4_CORE).iterdir()}
    for path in sorted(registry.unpacked(registry.R4_EXAMPLES).glob("*.json")):
        if path.name not in core and path.stat().st_size <= LARGEST and "resourceType" in (text := path.read_text("utf-8")):
            yield Sample(path.stem, text.encode())


def _r4_definitions() -> Iterator[Sample]:
    """Some of R4's own definitions, small ones of each type: they are resources too."""
    of_type: dict[str, list[Path]] = {}
    for path in sorted(registry.unpacked(registry.R4_CORE).glob("*-*.json")):
        if path.stat().st_size <= LARGEST_DEFINITION and not path.name.startswith("."):
            of_type.setdefault(path.stem.partition("-")[0], []).append(path)
    for paths in of_type.values():
        for path in paths[:: max(len(paths) // DEFINITIONS_A_TYPE, 1)]:
            yield Sample(path.stem, path.read_bytes())


def _made() -> Iterator[Sample]:
    """Kinds of bundles of which R4 has no valid example."""
    for path in sorted(SEEDS.glob("*.json")):
        yield Sample(path.stem, path.read_bytes())


def _examples_of(package: str) -> Callable[[], Iterator[Sample]]:
    def samples() -> Iterator[Sample]:
        for path in sorted((registry.unpacked(package) / "example").glob("*.json")):
            yield Sample(path.stem, path.read_bytes())

    return samples


def _synthea() -> Iterator[Sample]:
    for path in sorted(synthea.bundles().glob("*.json")):
        yield Sample(path.stem, path.read_bytes())


def _hl7_cases() -> Iterator[Sample]:
    yield from (case.sample for case in hl7_cases.cases())


def _base_mutants() -> Iterator[Sample]:
    # Mutants are made of these corpora, so this module cannot import theirs.
    from tests.support import mutants

    return mutants.base_mutants()


def _mcode_mutants() -> Iterator[Sample]:
    from tests.support import mutants

    return mutants.mcode_mutants()


CORPORA: Final = {
    "r4-examples": Corpus(_r4_examples),
    "r4-definitions": Corpus(_r4_definitions),
    "made": Corpus(_made),
    "synthea": Corpus(_synthea),
    "mcode-examples": Corpus(_examples_of(registry.MCODE), MCODE_PACKAGES),
    "genomics-examples": Corpus(_examples_of(registry.GENOMICS), MCODE_PACKAGES),
    "hl7-cases": Corpus(_hl7_cases),
    "mutants": Corpus(_base_mutants),
    "mcode-mutants": Corpus(_mcode_mutants, MCODE_PACKAGES),
}
