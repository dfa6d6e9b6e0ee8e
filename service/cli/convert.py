"""`casebridge convert` and `casebridge to-case`: cases to Bundles and back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from service.cli.inputs import input_files
from service.cli.mapping_sets import load, mapping_option
from service.cli.output import EXIT_CODES, Output, Report, done, json_option, output_option, replace, run_each
from service.config import read_settings
from service.issues import Issue, Origin


@click.command(epilog="Example: casebridge convert examples/cases/qian-2021.json -o build/   " + EXIT_CODES)
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

        replace(Path(explain_file), [json.dumps([_listed(trace) for trace in traces], indent=True)])
    report.finish(done(out, written, inputs))


def _listed(trace: dict[str, Any]) -> dict[str, Any]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in trace.items()}


@click.command("to-case", epilog="Example: casebridge to-case examples/bundles/qian-2021.json   " + EXIT_CODES)
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
