"""What the foreign judges said of each sample, kept as data, so that tests compare with them and need no Java."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

from tests.support.hapi_validator import ENGINES, Verdict
from tests.support.sample import Sample

FOLDER: Final = Path(__file__).parents[1] / "conformance" / "verdicts"
# The versions behind tests/hapi/pom.xml, for the reader of the data.
VERSIONS: Final = {"hapi": "ca.uhn.hapi.fhir:hapi-fhir-validation:8.8.1", "hl7": "org.hl7.fhir.validation 6.7.9"}
# Of a thoroughly broken text the first errors say enough.
MOST_ERRORS = 4
# The message id under which the judges' process reports an exception.
CRASH = "exception"


@dataclass(frozen=True, slots=True)
class Record:
    """The errors of both judges on one sample as (message id, location); none means that it is valid to that judge."""

    digest: str
    hapi: tuple[tuple[str, str], ...]
    hl7: tuple[tuple[str, str], ...]

    @property
    def accepted(self) -> bool:
        return not self.hapi and not self.hl7

    @property
    def rejected(self) -> bool:
        """Both find errors; where both only crash, nobody has judged."""
        return bool(self.hapi and self.hl7) and any(message != CRASH for message, _ in self.hapi + self.hl7)


def digest(text: bytes) -> str:
    """Tells whether a sample is still the one that was judged."""
    return hashlib.sha256(text).hexdigest()[:12]


def record(sample: Sample, verdicts: Mapping[str, Verdict]) -> Record:
    """The record of what each engine said of the sample."""
    hapi, hl7 = (_errors(verdicts[engine]) for engine in ENGINES)
    return Record(digest(sample.text), hapi, hl7)


def _errors(verdict: Verdict) -> tuple[tuple[str, str], ...]:
    # In bundles they write entry[0].resource/*Patient/ID*/: the index says it already.
    pairs = ((error.message_id or "", re.sub(r"/\*.*?\*/", "", error.location or "")) for error in verdict.errors)
    return tuple(dict.fromkeys(pairs))[:MOST_ERRORS]


def corpora() -> list[str]:
    """The corpora that were judged."""
    return sorted(path.stem for path in FOLDER.glob("*.json"))


@cache
def read(corpus: str) -> dict[str, Record]:
    """The records of a corpus by the samples' names."""
    content = json.loads((FOLDER / f"{corpus}.json").read_text(encoding="utf-8"))
    return {name: Record(one["sha256"], _pairs(one["hapi"]), _pairs(one["hl7"])) for name, one in content["samples"].items()}


def write(corpus: str, packages: Iterable[str], records: Mapping[str, Record]) -> None:
    """Keeps the records of a corpus: one sample a line, so that a diff shows which verdicts changed."""
    head = json.dumps({"versions": VERSIONS, "packages": list(packages)}, indent=1)[:-2]
    lines = ",\n".join(f" {json.dumps(name)}: {json.dumps(_line(records[name]))}" for name in sorted(records))
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / f"{corpus}.json").write_text(f'{head},\n "samples": {{\n{lines}\n}}}}\n', encoding="utf-8")


def _line(one: Record) -> dict[str, Any]:
    return {"sha256": one.digest, "hapi": one.hapi, "hl7": one.hl7}


def _pairs(errors: list[list[str]]) -> tuple[tuple[str, str], ...]:
    return tuple((message_id, location) for message_id, location in errors)
