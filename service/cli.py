"""The command `casebridge`: each command reads its arguments, calls the engine, prints, and exits with a code for scripts."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from service import __version__
from service.config import DEFAULT_SET, Settings, deployment_key, find_mapping, list_mappings, read_settings
from service.errors import CasebridgeError, MappingInvalid, UnreadableInput, Usage
from service.issues import Issue, Origin, has_errors, to_operation_outcome

if TYPE_CHECKING:
    from service.engine import Engine

OK, FINDINGS, USAGE, UNREADABLE, INTERNAL = 0, 1, 2, 3, 5
EXIT_CODES = "Exit codes: 0 ok, 1 findings, 2 usage, 3 unreadable input, 5 internal error."


# --- input and output -------------------------------------------------------------------------------------------------


def input_files(names: Iterable[str]) -> Iterator[tuple[str, Path | None]]:
    """(name to show, path) of each input: files in the order given, folders sorted, `-` (no path) for standard input."""
    names = list(names)
    if names.count("-") > 1:
        raise click.UsageError("standard input can be read once only")
    for name in names:
        path = Path(name)
        if name == "-":
            yield "-", None
        elif name and path.is_dir():
            found = sorted(file for file in path.iterdir() if file.suffix == ".json" and file.is_file())
            if not found:
                raise click.UsageError(f"the folder {shown(path)} holds no .json file")
            yield from ((shown(file), file) for file in found)
        elif name and path.exists():
            yield shown(path), path
        else:
            raise click.UsageError(f"there is no file or folder '{shown(path) if name else ''}'")


def shown(path: Path) -> str:
    """The name of a file as text, whatever bytes it is made of."""
    return os.fsencode(path).decode(errors="replace")


def read_input(path: Path | None) -> bytes:
    return sys.stdin.buffer.read() if path is None else path.read_bytes()


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
    lines = [f"{click.style(issue.severity, fg=_COLOURS[issue.severity])} {issue.rule}: {where.strip()}", f"  {issue.text}"]
    if issue.fix:
        lines.append(f"  fix: {issue.fix}")
    if issue.origin and str(issue.origin) != place:
        lines.append(f"  rule: {issue.origin}")
    return "\n".join(lines)


Inputs = list[tuple[str, Path | None]]


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
        self._check([*self.targets, *([Path(explain)] if explain else [])], inputs)

    @staticmethod
    def _check(targets: list[Path], inputs: Inputs) -> None:
        seen: set[str] = set()
        for target in targets:
            if any(one and target.exists() and target.is_file() and target.samefile(one) for _name, one in inputs):
                raise click.UsageError(f"the result {shown(target)} would replace an input; choose another place")
            # Compared without case, as some file systems do.
            key = shown(target.resolve()).casefold()
            if key in seen:
                raise click.UsageError(f"two results would be written to {shown(target)}; convert them into two folders")
            seen.add(key)

    def write(self, position: int, dump: Callable[..., bytes]) -> None:
        if not self.targets:
            # Several results are one a line, so that a program can tell them apart.
            sys.stdout.buffer.write(dump(indent=not self.several) + (b"\n" if self.several else b""))
            return
        replace(self.targets[position], dump(indent=True))


def replace(path: Path, content: bytes) -> None:
    """Writes a file beside its place and then into it, so that a reader never meets half of it; a pipe or device directly."""
    path = path.resolve()
    if path.exists() and not path.is_file():
        path.write_bytes(content)
        return
    aside = path.with_name(f".{secrets.token_hex(8)}.part")
    try:
        aside.write_bytes(content)
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def load(settings: Settings, mapping: str) -> Engine:
    from service.engine import load_engine

    return load_engine(find_mapping(settings, mapping), deployment_key(settings), shelf=settings.shelf)


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


class Commands(click.Group):
    """A group whose commands turn what went wrong into issues on standard error and an exit code; never a stack trace."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except MappingInvalid as error:
            fail(error, FINDINGS)
        except Usage as error:
            fail(error, USAGE)
        except CasebridgeError as error:
            fail(error, UNREADABLE)
        except BrokenPipeError:
            # Whoever read the results stopped reading: not all of them were delivered.
            sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115  what is still buffered has nowhere to go
            raise SystemExit(FINDINGS) from None
        except OSError as error:
            name = f" {shown(Path(os.fsdecode(error.filename)))}" if isinstance(error.filename, str | bytes) else ""
            click.echo(f"cannot read or write{name}: {error.strerror}", err=True)
            raise SystemExit(USAGE) from None
        except (click.ClickException, click.Abort, click.exceptions.Exit, SystemExit):
            raise
        except Exception as error:
            if os.environ.get("CASEBRIDGE_DEBUG"):
                raise
            # The type and no more: a message might hold a value of the case.
            click.echo(f"internal error: {type(error).__name__}. Set CASEBRIDGE_DEBUG=1 to see where.", err=True)
            raise SystemExit(INTERNAL) from None


def fail(error: CasebridgeError, code: int) -> None:
    report = Report()
    report.add(error.issues, code)
    raise SystemExit(max(report.code, code))


@click.group(cls=Commands, epilog=EXIT_CODES, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="casebridge")
def main() -> None:
    """Clinical case records to FHIR R4 and back, by declaration."""


mapping_option = click.option(
    "--mapping", default=DEFAULT_SET, show_default=True, metavar="SET", help="Mapping set: a name, or a folder."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Issues as an OperationOutcome on standard error.")
output_option = click.option("-o", "--output", metavar="FILE|DIR", help="Write here instead of to standard output.")


# --- commands ---------------------------------------------------------------------------------------------------------


@main.command(epilog="Example: casebridge convert examples/cases/qian-2021.json -o build/   " + EXIT_CODES)
@click.argument("case", nargs=-1, required=True)
@output_option
@mapping_option
@click.option(
    "--type", "bundle_type", type=click.Choice(["collection", "transaction"]), default="collection", show_default=True
)
@click.option("--lenient", is_flag=True, help="Leave out fields that the form does not know, with a warning for each.")
@click.option(
    "--explain", "explain_file", type=click.Path(dir_okay=False), help="Write for each element its case fields and its row."
)
@json_option
def convert(
    case: tuple[str, ...],
    output: str | None,
    mapping: str,
    bundle_type: Any,
    lenient: bool,
    explain_file: str | None,
    as_json: bool,
) -> None:
    """Convert CASE files, folders or - (standard input) to FHIR R4 Bundles."""
    inputs = list(input_files(case))
    out = Output(output, inputs, explain_file)
    engine = load(read_settings(), mapping)
    report = Report(as_json)
    traces: list[dict[str, Any]] = []

    def one(name: str, text: bytes) -> tuple[Callable[..., bytes] | None, list[Issue]]:
        done = engine.convert(text, file=name, bundle_type=bundle_type, lenient=lenient)
        if explain_file and done.mapped:
            from service.mapping.coverage import explain

            traces.extend({"file": name, **trace.__dict__} for trace in explain(engine.mapping, done.mapped))
        return (done.dump if done.bundle else None), done.issues

    written = run_each(inputs, out, report, one)
    if explain_file:
        from service.fhir import json

        replace(Path(explain_file), json.dumps([_listed(trace) for trace in traces], indent=True))
    report.finish(done(out, written, inputs))


def _listed(trace: dict[str, Any]) -> dict[str, Any]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in trace.items()}


@main.command("to-case", epilog="Example: casebridge to-case examples/bundles/qian-2021.json   " + EXIT_CODES)
@click.argument("bundle", nargs=-1, required=True)
@output_option
@mapping_option
@json_option
def to_case(bundle: tuple[str, ...], output: str | None, mapping: str, as_json: bool) -> None:
    """Convert BUNDLE files, folders or - (standard input) back to case records; what the form cannot hold is reported."""
    inputs = list(input_files(bundle))
    out, report = Output(output, inputs), Report(as_json)
    engine = load(read_settings(), mapping)

    def one(name: str, text: bytes) -> tuple[Callable[..., bytes] | None, list[Issue]]:
        done = engine.to_case(text, file=name)
        issues = [issue if issue.source else issue.at(source=Origin(name)) for issue in done.issues]
        return (done.dump if done.record is not None else None), issues

    report.finish(done(out, run_each(inputs, out, report, one), inputs))


@main.command(epilog="Example: casebridge serve --port 8080")
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default=8000, show_default=True, type=click.IntRange(0, 65535))
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1))
def serve(host: str, port: int, workers: int) -> None:
    """Start the HTTP service."""
    settings = read_settings()
    load(settings, DEFAULT_SET)  # a bad mapping set or an unwritable home is told here, and not by a worker that dies
    click.echo(f"Casebridge {__version__} on http://{host}:{port}/ (stop it with Ctrl-C)", err=True)
    arguments = ["--bind", f"{host}:{port}", "--workers", str(workers), "--threads", "8", "--worker-class", "gthread"]
    module = [sys.executable, "-m", "gunicorn", *arguments, "--log-level", "warning", "service.api:create_app()"]
    os.execv(sys.executable, module)  # noqa: S606  our own interpreter, and arguments that click has checked


@main.group()
def mappings() -> None:
    """Work with mapping sets."""


@mappings.command("list")
def list_sets() -> None:
    """List the shipped mapping sets."""
    for name in list_mappings(read_settings()):
        click.echo(name)


@mappings.command(epilog="Example: casebridge mappings check ./my-set   " + EXIT_CODES)
@click.argument("mapping", metavar="SET", default=DEFAULT_SET)
@json_option
def check(mapping: str, as_json: bool) -> None:
    """Check a mapping set whole: every row against FHIR R4, every table, every name."""
    from service.mapping.compiled import load_mapping

    report, settings = Report(as_json), read_settings()
    try:
        loaded = load_mapping(find_mapping(settings, mapping), settings.shelf)
    except MappingInvalid as error:
        report.add(error.issues)
        report.finish()
    rows = sum(len(kind.plan.file.rows) for kind in loaded.kinds)
    terms = sum(len(table.terms) for table in loaded.spec.tables.values())
    summary = f"{loaded.name} {loaded.spec.version}: {len(loaded.kinds)} row files, {rows} rows, {terms} terms"
    report.finish(f"ok: {summary} in {len(loaded.spec.tables)} code tables")


@mappings.command("test", epilog="Example: casebridge mappings test myeloma   " + EXIT_CODES)
@click.argument("mapping", metavar="SET", default=DEFAULT_SET)
@json_option
def test_set(mapping: str, as_json: bool) -> None:
    """Run the examples of a mapping set: each must convert to what it expects, and back."""
    from service.examples import run_examples

    engine = load(read_settings(), mapping)
    report = Report(as_json)
    count, issues = run_examples(engine)
    report.add(issues)
    report.finish(f"{count} examples of {engine.mapping.name} run")


@mappings.command(epilog="Example: casebridge mappings show myeloma labs")
@click.argument("mapping", metavar="SET", default=DEFAULT_SET)
@click.argument("name", metavar="[ROW FILE]", required=False)
@click.option("--code", is_flag=True, help="The Python that the rows are compiled to.")
@click.option("--schema", is_flag=True, help="The JSON Schema of a case.")
def show(mapping: str, name: str | None, code: bool, schema: bool) -> None:
    """Show what a mapping set reads and writes: every field with what it takes and the element it reaches."""
    from service.fhir import json
    from service.mapping.compiled import load_mapping
    from service.mapping.derive import describe

    settings = read_settings()
    loaded = load_mapping(find_mapping(settings, mapping), settings.shelf)
    if schema:
        click.echo(json.dumps(loaded.schema, indent=True).decode(), nl=False)
        return
    kinds = [kind for kind in loaded.kinds if name in (None, kind.plan.file.name)]
    if not kinds:
        raise click.UsageError(
            f"{mapping} has no row file of this name; it has {', '.join(k.plan.file.name for k in loaded.kinds)}"
        )
    fields = describe(loaded.form)
    for kind in kinds:
        click.echo(
            f"{kind.plan.file.name}: {kind.plan.file.says}\n"
            f"  each {'.'.join(kind.plan.file.each) or 'record'} → {kind.resource}"
        )
        if code:
            from service.mapping.emit import source_of_read, source_of_write

            click.echo("\n".join([*source_of_write(kind.plan).lines, "", *source_of_read(kind.plan).lines, ""]))
            continue
        prefix = "".join(f"/{step}" for step in kind.plan.file.each)
        for row in fields:
            inside = row["field"].removeprefix(prefix + "/")
            if row["element"].startswith(kind.resource + ".") and row["field"].startswith(prefix + "/") and "[]/" not in inside:
                click.echo(f"    {inside}{'!' if row['required'] else ''}  {row['takes']}  → {row['element']}")


@mappings.command(epilog="Example: casebridge mappings coverage myeloma examples/cases   " + EXIT_CODES)
@click.argument("mapping", metavar="SET")
@click.argument("case", nargs=-1, required=True)
@json_option
def coverage(mapping: str, case: tuple[str, ...], as_json: bool) -> None:
    """Count over CASE files which rows fire, and which terms have no code."""
    from service.mapping.coverage import Coverage, idle_rows

    engine = load(read_settings(), mapping)
    counted, report = Coverage(), Report()
    inputs = list(input_files(case))

    def count(name: str, text: bytes) -> tuple[None, list[Issue]]:
        done = engine.convert(text, file=name)
        if done.mapped:
            counted.add(engine.mapping, done.mapped)
        return None, done.issues

    run_each(inputs, Output(None, inputs), report, count)
    idle = idle_rows(engine.mapping, counted)
    uncoded = [{"table": table, "term": term, "times": times} for (table, term), times in sorted(counted.uncoded.items())]
    if as_json:
        from service.fhir import json

        result = {"rows": dict(sorted(counted.rows.items())), "idle": idle, "coded": counted.coded, "uncoded": uncoded}
        click.echo(json.dumps(result, indent=True).decode(), nl=False)
    else:
        for line in idle:
            click.echo(f"never fired: {line}")
        for one in uncoded:
            click.echo(f"text only: {one['table']}: {one['term']} ({one['times']} times)")
        total = sum(counted.uncoded.values())
        click.echo(f"{len(counted.rows)} rows fired, {len(idle)} never; {counted.coded} codings, {total} concepts as text only")
    report.finish()
