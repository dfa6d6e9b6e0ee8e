"""What the writers of reports are given: results one by one, what they were judged by, and how to show them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from service.issues import Issue
from service.validate import catalogue


class Package(Protocol):
    """A FHIR package that was loaded: `sha256` is that of its archive."""

    @property
    def id(self) -> str: ...
    @property
    def version(self) -> str: ...
    @property
    def sha256(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Result:
    """What was found in one resource.

    `file` is the name that the user gave ("-" is standard input), `text` the resource as it stands there, `line` the line
    (from 1) on which it stands where the file holds several, else None. Places in `issues` count in the whole file.
    `suppressed` are the issues that a suppression silences, each with its reason; `readable` is False for what is no JSON.
    """

    file: str
    text: bytes
    issues: Sequence[Issue]
    suppressed: Sequence[tuple[Issue, str]] = ()
    line: int | None = None
    readable: bool = True

    @property
    def name(self) -> str:
        return self.file if self.line is None else f"{self.file}:{self.line}"


@dataclass(frozen=True)
class Run:
    """What all results were judged by, and how they are to be shown.

    `show_values`: excerpts as they stand in the source, and not masked; `show_all`: every repeat of a problem by itself;
    `summary`: with counts, versions and hashes at the end of the text; `colour`: for a terminal; `errors_only`: the results
    are without their warnings and notes.
    """

    packages: Sequence[Package] = ()
    profiles: Sequence[str] = ()
    show_values: bool = False
    show_all: bool = False
    summary: bool = True
    colour: bool = False
    errors_only: bool = False

    def tally(self) -> Tally:
        # Whoever did not look at warnings must not read that there are none.
        return Tally(nothing="no errors" if self.errors_only else "no issues")


@dataclass
class Tally:
    """The count of what was found, file by file and in all; `nothing` is how to say that nothing was."""

    nothing: str = "no issues"
    resources: int = 0
    unreadable: int = 0
    suppressed: int = 0
    files: dict[str, None] = field(default_factory=dict)
    severities: Counter[str] = field(default_factory=Counter)

    def counting(self, results: Iterable[Result]) -> Iterator[Result]:
        """The same results, each counted as it passes."""
        for result in results:
            self._add(result)
            yield result

    def _add(self, result: Result) -> None:
        self.resources += 1
        self.unreadable += not result.readable
        self.suppressed += len(result.suppressed)
        self.files[result.file] = None
        self.severities.update("error" if issue.is_error else issue.severity for issue in result.issues)

    def __str__(self) -> str:
        """One sentence: "2 files with 40 resources: 3 errors, 1 warning"."""
        within = "" if self.resources == len(self.files) else f" with {plural(self.resources, 'resource')}"
        found = [plural(self.severities[one], one) for one in ("error", "warning") if self.severities[one]]
        notes = self.severities["information"]
        found += [plural(notes, "note")] if notes else []
        found += [f"{self.suppressed} suppressed"] if self.suppressed else []
        found += [f"{self.unreadable} unreadable"] if self.unreadable else []
        return f"{plural(len(self.files), 'file')}{within}: {', '.join(found) or self.nothing}"


def with_spec(issues: Iterable[Issue]) -> list[Issue]:
    """The issues, each with the address of the clause that demands its rule, where one is known."""
    return [issue if issue.spec else issue.at(spec=catalogue.url(issue.rule)) for issue in issues]


def plural(count: int, noun: str) -> str:
    return f"{count} {noun}{'s' * (count != 1)}"
