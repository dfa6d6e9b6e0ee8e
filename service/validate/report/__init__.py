"""Reports of a validation run: one small writer for each format, behind one table."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

from service.validate.report import html, junit, outcome, sarif, text
from service.validate.report.result import Package, Result, Run, Tally, with_spec

__all__ = ["FORMATS", "Package", "Result", "Run", "Tally", "Writer", "with_spec"]

# Results in the order of the input → the pieces of the report, as soon as each can be written.
Writer = Callable[[Iterable[Result], Run], Iterator[str]]

FORMATS: Final[Mapping[str, Writer]] = {
    "text": text.write,
    "json": outcome.write,
    "sarif": sarif.write,
    "junit": junit.write,
    "html": html.write,
}
