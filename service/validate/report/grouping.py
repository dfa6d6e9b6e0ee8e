"""Repeats of one problem as one finding: the same rule at the same path, whatever the indexes in it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
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
    groups: dict[tuple[str, str, str | None], Finding] = {}
    for result in results:
        excerpts = Excerpts(result, show_values=run.show_values)
        for issue in result.issues:
            if run.show_all:
                yield Finding(issue, excerpts.of(issue))
            elif (key := (issue.severity, issue.rule, shape(issue.expression))) in groups:
                groups[key].count += 1
            else:
                groups[key] = Finding(issue, excerpts.of(issue))
    yield from groups.values()


def shape(expression: str | None) -> str | None:
    """A path without its indexes: "Bundle.entry[3].resource" is "Bundle.entry[*].resource"."""
    return expression and _INDEX.sub("[*]", expression)
