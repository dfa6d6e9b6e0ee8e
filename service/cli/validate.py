"""`casebridge validate`: FHIR resources against R4, its profiles and code systems, with a report for people or programs."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from service.cli import output as out
from service.cli.inputs import Inputs, input_files, must_exist, not_empty, resources, shown
from service.cli.progress import Bar, progress
from service.config import read_settings
from service.errors import UnreadableInput
from service.issues import Issue, Origin

if TYPE_CHECKING:
    from service.validate.report import Result, Run, Tally
    from service.validate.suppress import Suppressions
    from service.validate.validator import Validator

SUFFIXES = (".json", ".ndjson")
# The keys of service.validate.report.FORMATS, which is not imported before it is needed.
FORMAT_NAMES = ("text", "json", "sarif", "junit", "html")
# A Bundle cannot be split, and on the user's own machine nobody else waits: more than the service takes.
MOST_BYTES = 1_000_000_000
# What is no JSON at all is called by its name: the place at which it stops being JSON would lead astray.
_BOM = b"\xef\xbb\xbf"
_XML = ("This looks like XML: FHIR's JSON form is read only.", "Convert it to JSON first.")
_EMPTY = ("There is nothing in it.", "Give a FHIR resource in JSON, or NDJSON.")

EPILOG = f"""\b
Examples:
  casebridge validate examples/bundles
  casebridge validate patient.json --package hl7.fhir.us.mcode-4.0.0.tgz --profile URL
  casebridge validate export.ndjson --format html -o report.html
  casebridge validate cases/ --format sarif --suppress accepted.yaml -o report.sarif
  cat patient.json | casebridge validate - --json

{out.EXIT_CODES} Only errors are findings: warnings and notes leave it at 0."""


@click.command(epilog=EPILOG)
@click.argument("file", nargs=-1, required=True)
@click.option(
    "--package",
    "packages",
    multiple=True,
    type=click.Path(exists=True, path_type=Path),
    metavar="TGZ",
    help="FHIR package to validate with, a file: nothing is downloaded. May be repeated.",
)
@click.option(
    "--profile",
    "profiles",
    multiple=True,
    callback=not_empty,
    metavar="URL",
    help="Profile that every resource must meet; may be repeated.",
)
@click.option(
    "--terminology",
    multiple=True,
    type=click.Path(exists=True, path_type=Path),
    metavar="DIR",
    help="Folder of code systems and value sets; may be repeated.",
)
@click.option("--must-support", is_flag=True, help="Note elements that a profile marks must-support and a resource lacks.")
@click.option("--format", "format_name", type=click.Choice(FORMAT_NAMES), help="Format of the report.  [default: text]")
@click.option("--json", "as_json", is_flag=True, help="The same as --format json: one OperationOutcome a resource.")
@click.option("-o", "--output", callback=not_empty, metavar="FILE", help="Write the report here instead of to standard output.")
@click.option(
    "--suppress",
    callback=not_empty,
    metavar="FILE",
    help="Problems that are accepted, with their reasons: see docs/validation.md.",
)
@click.option(
    "-q", "--quiet", is_flag=True, help="Findings only: no summary, no progress bar, no word on packages and suppressions."
)
@click.option("--errors-only", is_flag=True, help="Leave warnings and notes out of the report.")
@click.option(
    "--all", "show_all", is_flag=True, help="Show every repeat of a problem in its place, not the first with a count."
)
@click.option("--show-values", is_flag=True, help="Show what the resources say. Without it a report names no patient's value.")
def validate(file: tuple[str, ...], **given: Any) -> None:
    """Validate FHIR R4 resources, Bundles and NDJSON: FILEs, folders (with all below them) or - (standard input).

    The report goes to standard output, in the order of the input, what is only worth knowing at its end. It shows where a
    problem is and how to mend it, with the line of the source, in which every value is masked (•••) unless --show-values
    is given.
    """
    from service.validate.report import FORMATS

    asked = Asked(**given)
    format_name = _format(asked)
    inputs = list(input_files(file, SUFFIXES, deep=True))
    target = Path(asked.output) if asked.output else None
    out.check_targets([target] if target else [], inputs)
    suppressions = _suppressions(asked.suppress)
    validator = _validator(asked)
    gc.freeze()  # what the definitions fill stays for good: the collector need not look through it again and again
    if not asked.quiet:
        _note(validator.notes if asked.show_all else _firsts(validator.notes))
    run = _run(asked, validator)
    tally = run.tally()
    with progress(_size(inputs), quiet=asked.quiet) as bar:
        results = tally.counting(Check(validator, suppressions, asked).results(inputs, bar.advance))
        _write(FORMATS[format_name](results, run), target, bar)
    if not asked.quiet:
        _note(suppressions.leftovers())
        if target is not None or format_name != "text":
            click.echo(str(tally), err=True)
    raise SystemExit(_exit_code(tally))


@dataclass(frozen=True)
class Asked:
    """The options of the command, as they were given."""

    packages: tuple[Path, ...]
    profiles: tuple[str, ...]
    terminology: tuple[Path, ...]
    must_support: bool
    format_name: str | None
    as_json: bool
    output: str | None
    suppress: str | None
    quiet: bool
    errors_only: bool
    show_all: bool
    show_values: bool


def _format(asked: Asked) -> str:
    if asked.as_json and asked.format_name not in (None, "json"):
        raise click.UsageError(f"--json and --format {asked.format_name} exclude each other; choose one")
    return "json" if asked.as_json else asked.format_name or "text"


def _validator(asked: Asked) -> Validator:
    from service.validate.validator import load_validator

    settings = read_settings()
    must_exist(settings.packages)
    packages = [*settings.packages, *asked.packages]
    loaded = load_validator(packages, terminology=[*asked.terminology], cache=settings.home / "cache")
    for url in asked.profiles:
        # Resources that pass because nobody looked would be taken for valid.
        if loaded.book.structure(url) is None:
            raise click.UsageError(f"no package at hand defines the profile {url}; give the one that does (--package)")
    return replace(loaded, limits=replace(loaded.limits, max_bytes=MOST_BYTES))


def _run(asked: Asked, validator: Validator) -> Run:
    from service.validate.report import Run

    # https://no-color.org
    colour = asked.output is None and sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    return Run(
        packages=validator.packages,
        profiles=asked.profiles,
        show_values=asked.show_values,
        show_all=asked.show_all,
        summary=not asked.quiet,
        colour=colour,
        errors_only=asked.errors_only,
    )


def _suppressions(name: str | None) -> Suppressions:
    from service.validate.suppress import Suppressions, read_suppressions

    return Suppressions(today=_today()) if name is None else read_suppressions(Path(name), shown(Path(name)), today=_today())


def _today() -> date:
    """The day on the user's calendar, for it is the user who writes when a suppression expires."""
    return datetime.now().astimezone().date()


def _size(inputs: Inputs) -> int | None:
    """The bytes of all inputs; None where one is no file, so that nobody can tell before it was read."""
    paths = [path for _name, path in inputs]
    return sum(path.stat().st_size for path in paths if path) if all(path and path.is_file() for path in paths) else None


@dataclass(frozen=True)
class Check:
    """Validates what inputs hold. Nothing that is wrong with one resource stops the next."""

    validator: Validator
    suppressions: Suppressions
    asked: Asked

    def results(self, inputs: Inputs, advance: Callable[[int], None]) -> Iterator[Result]:
        """The results in the order of the inputs; `advance` is told the bytes of each resource."""
        for name, path in inputs:
            try:
                for line, text in resources(path):
                    yield self._result(name, line, text)
                    advance(len(text))
            except OSError as error:
                issue = Issue("fatal", "exception", "file-unreadable", f"the file cannot be read: {error.strerror}")
                yield self._told(name, None, b"", [issue], readable=False)

    def _result(self, file: str, line: int | None, text: bytes) -> Result:
        try:
            issues = self.validator.validate(
                text,
                file=file,
                profiles=self.asked.profiles,
                show_values=self.asked.show_values,
                must_support=self.asked.must_support,
            )
        except UnreadableInput as error:
            return self._told(file, line, text, _no_json(text, error.issues), readable=False)
        return self._told(file, line, text, issues, readable=True)

    def _told(self, file: str, line: int | None, text: bytes, issues: Iterable[Issue], *, readable: bool) -> Result:
        from service.validate.report import Result, with_spec

        placed = with_spec(_placed(issue, file, line) for issue in issues)
        kept, silenced = self.suppressions.split(placed, file)
        kept = [issue for issue in kept if issue.is_error] if self.asked.errors_only else kept
        return Result(file, text, kept, silenced, line, readable)


def _no_json(text: bytes, issues: Sequence[Issue]) -> Sequence[Issue]:
    """The issues of a text that is no JSON, in plainer words where it does not even begin as such."""
    start = text.removeprefix(_BOM).lstrip()[:1]
    if start not in (b"", b"<"):
        return issues
    said, fix = _XML if start else _EMPTY
    return [issue.at(text=said, fix=fix) for issue in issues]


def _placed(issue: Issue, file: str, line: int | None) -> Issue:
    """The issue with its place in the whole file: the validator knows only the text of the one resource."""
    source = replace(issue.source or Origin(file), file=file)
    return issue.at(source=source if line is None else replace(source, line=line - 1 + (source.line or 1)))


def _write(pieces: Iterable[str], target: Path | None, bar: Bar) -> None:
    encoded = (piece.encode(errors="replace") for piece in pieces)
    if target is not None:
        out.replace(target, encoded)
        return
    on_screen = sys.stdout.isatty()
    for piece in encoded:
        if on_screen:
            with bar.hidden():
                sys.stdout.buffer.write(piece)
                sys.stdout.buffer.flush()
        else:
            sys.stdout.buffer.write(piece)


def _firsts(notes: Iterable[Issue]) -> Iterator[Issue]:
    """Of each rule the first: a package that is built on ten others mostly lacks all ten."""
    alike: dict[tuple[str, str], list[Issue]] = {}
    for note in notes:
        alike.setdefault((note.severity, note.rule), []).append(note)
    for first, *others in alike.values():
        more = f"\n  and {len(others)} more such (--all shows them)" if others else ""
        yield first.at(text=first.text + more)


def _note(issues: Iterable[Issue]) -> None:
    for issue in issues:
        click.echo(out.render(issue), err=True)


def _exit_code(tally: Tally) -> int:
    if tally.unreadable:
        return out.UNREADABLE
    return out.FINDINGS if tally.severities["error"] else out.OK
