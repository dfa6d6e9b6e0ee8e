"""`casebridge mappings`: what can be done with mapping sets."""

from __future__ import annotations

import click

from service.cli.inputs import input_files
from service.cli.mapping_sets import load
from service.cli.output import EXIT_CODES, Output, Report, json_option, run_each
from service.config import DEFAULT_SET, find_mapping, list_mappings, read_settings
from service.errors import MappingInvalid
from service.issues import Issue


@click.group()
def mappings() -> None:
    """Work with mapping sets."""


@mappings.command("list", epilog="Example: casebridge mappings list")
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
