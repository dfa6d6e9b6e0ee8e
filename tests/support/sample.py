"""The one currency of corpora, mutants and judges: a named text and what it is to be judged with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Sample:
    """One text to judge. `profiles` it must meet too; `definitions` (.tgz) are needed for this one alone."""

    name: str
    text: bytes
    profiles: tuple[str, ...] = ()
    definitions: tuple[Path, ...] = ()
