"""Repeats of one problem as one finding: the same said of the same path in a file, a note once for all files."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Final

from service.issues import Issue
from service.validate.report.excerpt import Excerpt, Excerpts
from service.validate.report.result import Result, Run

_INDEX: Final = re.compile(r"\[\d+\]")


@dataclass(slots=True)
class Finding:
    """`issue` at its first place, with the excerpt of the source; `count`: how often it was found."""

    issue: Issue
    excerpt: Excerpt | None
    count: int = 1


def findings(results: Iterable[Result], run: Run) -> Iterator[Finding]:
    """The findings of the results of one file, in the order of their first places."""
    groups: dict[tuple[str, str, str, str | None], Finding] = {}
    for result in results:
        excerpts = Excerpts(result, show_values=run.show_values)
        for issue in result.issues:
            if run.show_all:
                yield Finding(issue, excerpts.of(issue))
            # The text counts: of two elements that a resource lacks, both rule and path are the same.
            elif (key := (issue.severity, issue.rule, issue.text, shape(issue.expression))) in groups:
                groups[key].count += 1
            else:
                groups[key] = Finding(issue, excerpts.of(issue))
    yield from groups.values()


@dataclass
class Notes:
    """Information that was found, each text once at its first place: the same code system is unknown in every file."""

    run: Run
    found: dict[tuple[str, str], Finding] = field(default_factory=dict)

    def taken_from(self, results: Iterable[Result]) -> Iterator[Result]:
        """The results without their notes, which are kept here; with them, where every repeat is to be shown."""
        for result in results:
            if not self.run.show_all:
                self._take(result)
                result = replace(result, issues=[issue for issue in result.issues if not _is_note(issue)])
            yield result

    def _take(self, result: Result) -> None:
        excerpts = Excerpts(result, show_values=self.run.show_values)
        for issue in filter(_is_note, result.issues):
            key = (issue.rule, issue.text)
            if key in self.found:
                self.found[key].count += 1
            else:
                self.found[key] = Finding(issue, excerpts.of(issue))


def _is_note(issue: Issue) -> bool:
    return issue.severity == "information"


def shape(expression: str | None) -> str | None:
    """A path without its indexes: "Bundle.entry[3].resource" is "Bundle.entry[*].resource"."""
    return expression and _INDEX.sub("[*]", expression)
