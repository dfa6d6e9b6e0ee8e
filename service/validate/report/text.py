"""The report for people at a terminal: each finding with its place, its remedy and the line of the source."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator
from itertools import chain, groupby
from operator import attrgetter
from typing import Final

from service import __version__
from service.issues import Issue, Severity
from service.validate.report.excerpt import Excerpt, printable
from service.validate.report.grouping import Finding, Notes, findings
from service.validate.report.result import Result, Run

# https://www.ecma-international.org/publications-and-standards/standards/ecma-48/ (Select Graphic Rendition)
_COLOURS: Final[dict[Severity, int]] = {"fatal": 31, "error": 31, "warning": 33, "information": 34}


def write(results: Iterable[Result], run: Run) -> Iterator[str]:
    """The findings file by file, the notes of all files, then the summary. A file without any is not mentioned."""
    tally, notes = run.tally(), Notes(run)
    files = groupby(notes.taken_from(tally.counting(results)), key=attrgetter("file"))
    found = (finding for _file, group in files for finding in findings(group, run))
    for finding in chain(found, notes.found.values()):
        yield "\n".join(_finding(finding, colour=run.colour)) + "\n\n"
    if run.summary:
        yield f"{tally}\n"
        yield "".join(f"{line}\n" for line in versions(run))


def versions(run: Run) -> list[str]:
    """What the results were judged by, a line each."""
    packages = [f"  {package.id} {package.version}  sha256 {package.sha256}" for package in run.packages]
    return [f"judged by casebridge {__version__} with", *packages, *(f"  profile {url}" for url in run.profiles)]


def told(issue: Issue) -> list[str]:
    """What is wrong, where, and how to mend it; without colour and excerpt."""
    more = [f"  fix: {issue.fix}"] if issue.fix else []
    more += [f"  see: {issue.spec}"] if issue.spec else []
    return [printable(line) for line in (f"{issue.severity} {issue.rule}: {place(issue)}", f"  {issue.text}", *more)]


def place(issue: Issue) -> str:
    """Where an issue is, in the text and in FHIR; the JSON Pointer only where there is no FHIRPath."""
    return " → ".join(part for part in (str(issue.source or ""), issue.expression or issue.pointer or "") if part)


def _finding(finding: Finding, *, colour: bool) -> Iterator[str]:
    head, *rest = told(finding.issue)
    severity = finding.issue.severity
    if colour:
        head = f"\x1b[{_COLOURS[severity]}m{severity}\x1b[0m{head.removeprefix(severity)}"
    yield head + (f"  × {finding.count}" if finding.count > 1 else "")
    yield from rest
    if finding.excerpt:
        yield from excerpt_lines(finding.excerpt)


def excerpt_lines(excerpt: Excerpt) -> list[str]:
    """The line of the source, and a line with a caret under the place."""
    margin = f"  {excerpt.number:>5} | "
    # Chinese characters take two columns of a terminal each.
    indent = sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in excerpt.text[: excerpt.caret])
    return [f"{margin}{excerpt.text}", f"{'| '.rjust(len(margin))}{' ' * indent}^"]
