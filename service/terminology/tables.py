"""Code tables: term ↔ codings, read from CSV files with the columns term, system, code, display, source."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from service.errors import MappingInvalid
from service.issues import Issue, Origin

COLUMNS = ("term", "system", "code", "display", "source")


class Coding(NamedTuple):
    """One code of a code system; `display` is empty where no verified English label is known."""

    system: str
    code: str
    display: str

    def to_fhir(self) -> dict[str, str]:
        out = {"system": self.system, "code": self.code}
        if self.display:
            out["display"] = self.display
        return out


@dataclass(frozen=True)
class Term:
    """A term as cases write it, its codings (none for a text-only term), and where its row stands."""

    name: str
    codings: tuple[Coding, ...]
    origin: Origin


@dataclass(frozen=True)
class CodeTable:
    """Terms of one table in file order; `by_code` leads back from (system, code) where that is unambiguous."""

    name: str
    terms: Mapping[str, Term]
    by_code: Mapping[tuple[str, str], str] = field(default_factory=dict)

    def term_for(self, concept: Any) -> str | None:
        """The term that a CodeableConcept stands for: by its text, else by a coding that only one term has."""
        if not isinstance(concept, dict):
            return None
        text = concept.get("text")
        if isinstance(text, str) and text in self.terms:
            return text
        for coding in concept.get("coding") or ():
            term = self.by_code.get((coding.get("system", ""), coding.get("code", "")))
            if term is not None:
                return term
        return None


def read_table(path: Path, shown_as: str) -> CodeTable:
    """The table in a CSV file. Raises MappingInvalid with each bad row: wrong columns, an empty term, a code without system."""
    issues: list[Issue] = []
    rows = list(csv.reader(io.StringIO(path.read_text(encoding="utf-8"), newline="")))
    if not rows or tuple(rows[0]) != COLUMNS:
        raise MappingInvalid([_bad(shown_as, 1, f"the header must be {','.join(COLUMNS)}", "put it into the first line")])
    codings: dict[str, list[Coding]] = {}
    origins: dict[str, Origin] = {}
    for number, row in enumerate(rows[1:], start=2):
        if text := _fault(row):
            issues.append(_bad(shown_as, number, *text))
            continue
        term, system, code, display, _source = row
        origins.setdefault(term, Origin(shown_as, number, 1))
        found = codings.setdefault(term, [])
        if code:
            found.append(Coding(system, code, display))
    if issues:
        raise MappingInvalid(issues)
    return _table(path.stem, codings, origins)


def laid_over(below: CodeTable, above: CodeTable) -> CodeTable:
    """Both tables as one; a term that both have is the upper one's."""
    return _indexed(below.name, {**below.terms, **above.terms})


def _table(name: str, codings: dict[str, list[Coding]], origins: dict[str, Origin]) -> CodeTable:
    return _indexed(name, {term: Term(term, tuple(found), origins[term]) for term, found in codings.items()})


def _indexed(name: str, terms: Mapping[str, Term]) -> CodeTable:
    owners: dict[tuple[str, str], list[str]] = {}
    for term in terms.values():
        for coding in term.codings:
            owners.setdefault((coding.system, coding.code), []).append(term.name)
    return CodeTable(name, terms, {code: names[0] for code, names in owners.items() if len(names) == 1})


def _fault(row: list[str]) -> tuple[str, str] | None:
    if len(row) != len(COLUMNS):
        return f"{len(row)} columns instead of {len(COLUMNS)}", "quote a cell that contains a comma"
    if not row[0] or row[0] != row[0].strip():
        return "the term is empty or has blanks around it", "write the term as cases write it"
    if bool(row[1]) != bool(row[2]):
        return "a coding needs both system and code", "fill both cells, or neither for a text-only term"
    return None


def _bad(file: str, line: int, text: str, fix: str) -> Issue:
    origin = Origin(file, line, 1)
    return Issue("error", "invalid", "mapping-code-table", text, fix=fix, origin=origin, source=origin)
