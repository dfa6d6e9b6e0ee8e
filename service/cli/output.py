"""What a command gives: results, issues for people or programs, and the exit code for scripts."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import click

from service.cli.inputs import Inputs, not_empty, read_input, shown
from service.errors import UnreadableInput
from service.issues import Issue, has_errors, to_operation_outcome

OK, FINDINGS, USAGE, UNREADABLE, SERVER, INTERNAL = 0, 1, 2, 3, 4, 5
EXIT_CODES = "Exit codes: 0 ok, 1 findings, 2 usage, 3 unreadable input, 4 server, 5 internal error."

json_option = click.option("--json", "as_json", is_flag=True, help="Issues as an OperationOutcome on standard error.")
output_option = click.option(
    "-o", "--output", callback=not_empty, metavar="FILE|DIR", help="Write here instead of to standard output."
)


@dataclass
class Report:
    """Issues go to standard error, as lines or as one OperationOutcome; the worst of them decides the exit code."""

    as_json: bool = False
    issues: list[Issue] = field(default_factory=list)
    code: int = OK

    def add(self, issues: Iterable[Issue], code: int = FINDINGS) -> None:
        found = list(issues)
        self.issues += found
        if has_errors(found):
            self.code = max(self.code, code)
        if not self.as_json:
            for issue in found:
                click.echo(render(issue), err=True)

    def finish(self, done: str = "") -> None:
        """Prints what is left to say, and exits."""
        if self.as_json:
            from service.fhir import json

            click.echo(json.dumps(to_operation_outcome(self.issues), indent=True).decode(), err=True, nl=False)
        elif self.issues or done:
            errors = sum(issue.is_error for issue in self.issues)
            counts = f"{errors} error{'s' * (errors != 1)}, {len(self.issues) - errors} other" if self.issues else ""
            click.echo("; ".join(part for part in (done, counts) if part), err=True)
        raise SystemExit(self.code)


_COLOURS = {"fatal": "red", "error": "red", "warning": "yellow", "information": "blue"}


def render(issue: Issue) -> str:
    """One issue for a person: what, where in the text and the case, where in FHIR, by which rule, and how to mend it."""
    place = str(issue.source) if issue.source else ""
    where = " ".join(part for part in (place, issue.pointer or "") if part)
    if issue.expression:
        where += f" → {issue.expression}"
    head = f"{click.style(issue.severity, fg=_COLOURS[issue.severity])} {issue.rule}: {where.strip()}".rstrip(": ")
    lines = [head, f"  {issue.text}"]
    if issue.fix:
        lines.append(f"  fix: {issue.fix}")
    if issue.origin and str(issue.origin) != place:
        lines.append(f"  rule: {issue.origin}")
    return "\n".join(lines)


class Output:
    """Where results go: standard output, one file, or a folder in which each result bears its input's name."""

    def __init__(self, target: str | None, inputs: Inputs, explain: str | None = None) -> None:
        """Raises UsageError where two results would be one file, or where a result would replace an input."""
        self.several = len(inputs) > 1
        path = None if target is None else Path(target)
        if path is None:
            self.targets: list[Path] = []
        elif self.several or path.is_dir() or str(target).endswith(("/", os.sep)):
            self.targets = [path / (one.name if one else "stdin.json") for _name, one in inputs]
            path.mkdir(parents=True, exist_ok=True)
        else:
            self.targets = [path]
        check_targets([*self.targets, *([Path(explain)] if explain else [])], inputs)

    def write(self, position: int, dump: Callable[..., bytes]) -> None:
        if not self.targets:
            # Several results are one a line, so that a program can tell them apart.
            sys.stdout.buffer.write(dump(indent=not self.several) + (b"\n" if self.several else b""))
            return
        replace(self.targets[position], [dump(indent=True)])


def check_targets(targets: Iterable[Path], inputs: Inputs) -> None:
    """Raises UsageError where a result would replace an input, or two results would be one file."""
    seen: set[str] = set()
    for target in targets:
        if any(one and target.exists() and target.is_file() and target.samefile(one) for _name, one in inputs):
            raise click.UsageError(f"the result {shown(target)} would replace an input; choose another place")
        # Compared without case, as some file systems do.
        key = shown(target.resolve()).casefold()
        if key in seen:
            raise click.UsageError(f"two results would be written to {shown(target)}; convert them into two folders")
        seen.add(key)


def replace(path: Path, content: Iterable[bytes]) -> None:
    """Writes a file beside its place and then into it, so that a reader never meets half of it; a pipe or device directly."""
    path = path.resolve()
    if path.exists() and not path.is_file():
        _write(path, content)
        return
    aside = path.with_name(f".{secrets.token_hex(8)}.part")
    try:
        _write(aside, content)
        aside.replace(path)
    except OSError as error:
        if error.filename == str(aside):
            error.filename = str(path)  # the name that the user knows
        raise
    finally:
        aside.unlink(missing_ok=True)


def _write(path: Path, content: Iterable[bytes]) -> None:
    with path.open("wb") as file:
        file.writelines(content)


One = Callable[[str, bytes], tuple[Callable[..., bytes] | None, list[Issue]]]


def run_each(inputs: Inputs, output: Output, report: Report, one: One) -> int:
    """Runs `one` on every input: writes what it dumps, reports its issues; an unreadable input does not stop the others.

    The result is the count of what was written.
    """
    written = 0
    with click.progressbar(inputs, file=sys.stderr, hidden=len(inputs) < 2 or not sys.stderr.isatty()) as bar:
        for position, (name, path) in enumerate(bar):
            try:
                dump, issues = one(name, read_input(path))
            except UnreadableInput as error:
                report.add(error.issues, UNREADABLE)
                continue
            report.add(issues)
            if dump is not None:
                output.write(position, dump)
                written += 1
    return written


def done(output: Output, written: int, inputs: Inputs) -> str:
    return f"{written} of {len(inputs)} written" if output.targets and len(inputs) > 1 else ""
