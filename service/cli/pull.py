"""`casebridge pull`: cases back from a FHIR server, and how they differ from the local ones."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from service.cli.inputs import input_files, not_empty, read_input
from service.cli.mapping_sets import load, mapping_option
from service.cli.output import EXIT_CODES, FINDINGS, Report, json_option, replace
from service.cli.servers import connect, outbox, server_option
from service.config import read_settings
from service.issues import Issue, Origin

# As identities are made (service.mapping.identity), and as FHIR has ids: http://hl7.org/fhir/R4/datatypes.html#id
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9\-.]{0,63}")

if TYPE_CHECKING:
    from service.sync.outbox import Outbox
    from service.sync.plan import Wanted
    from service.sync.pull import Mark, Pulled
    from service.sync.server import FhirServer, Resource
    from service.transfer import Transfer


@click.command(epilog="Example: casebridge pull --server http://localhost:8080/fhir -o pulled/   " + EXIT_CODES)
@server_option
@mapping_option
@click.option("--case", "cases", multiple=True, metavar="ID", help="The case with this id; may be repeated.")
@click.option(
    "--identifier", callback=not_empty, metavar="SYSTEM|VALUE", help="The patients with this identifier, whoever wrote them."
)
@click.option("--since-last", is_flag=True, help="Only the cases in which something has changed since the last such pull.")
@click.option("-o", "--output", callback=not_empty, metavar="DIR", help="A file for each case, named by its identity.")
@click.option("--compare", multiple=True, metavar="CASE", help="Say how the server differs from these files or folders.")
@click.option("--bundle", "as_bundle", is_flag=True, help="Write the Bundle and not the case.")
@json_option
def pull(
    url: str,
    mapping: str,
    cases: tuple[str, ...],
    identifier: str | None,
    since_last: bool,
    output: str | None,
    compare: tuple[str, ...],
    as_bundle: bool,
    as_json: bool,
) -> None:
    """Pull cases from a FHIR server: one, or all that this deployment wrote. What the form cannot hold is reported."""
    from service.sync import marks
    from service.sync.pull import pull as pull_one
    from service.sync.push import reading
    from service.transfer import Transfer

    if (bool(cases) + bool(identifier) + since_last) > 1:
        raise click.UsageError("--case, --identifier and --since-last exclude one another")
    settings, report = read_settings(), Report(as_json)
    transfer = Transfer(load(settings, mapping))
    local = {one.wanted.case: one for one in _local(transfer, compare, report)}
    sink = _Sink(Path(output) if output else None, quiet=bool(compare) and not output)
    with connect(settings, url) as server, outbox(settings) as box:
        able = reading(server, box)
        patients, mark = _patients(server, box, transfer, cases, identifier, report, since_last=since_last)
        for patient in patients:
            pulled = pull_one(server, patient, transfer.system, transfer.types, whole=able.everything)
            here = local.pop(pulled.case or "", None)
            restored = transfer.restored(pulled, here.wanted if here else None)
            name = sink.name(pulled)
            report.add(issue.at(source=Origin(name)) for issue in restored.issues)
            if here:
                _compare(transfer, here, restored.record, report)
            sink.take(name, pulled.bundle() if as_bundle else restored.record, report)
        # What could not be written is to be pulled again.
        if mark is not None and sink.is_whole:
            marks.remember(box, server.base, transfer.deployment, mark)
    if not sink.seen and not since_last and not as_json:
        click.echo("the server holds no such case under this deployment's key (CASEBRIDGE_KEY)", err=True)
    for here in local.values():
        text, fix = "the server does not hold this case under this deployment's key", "check CASEBRIDGE_KEY, or push the case"
        issue = Issue("error", "not-found", "sync-not-there", text, fix=fix)
        report.add([issue.at(source=Origin(here.file))])
    report.finish(f"{len(sink.written)} cases written" if output else "")


@dataclass
class _Sink:
    """Where cases go: a folder, or standard output; `quiet`: nowhere. `is_whole`: nothing was held back."""

    folder: Path | None
    quiet: bool
    written: set[str] = field(default_factory=set)
    seen: int = 0
    is_whole: bool = True

    def __post_init__(self) -> None:
        self.is_whole = not self.quiet
        if self.folder:
            self.folder.mkdir(parents=True, exist_ok=True)

    def name(self, pulled: Pulled) -> str:
        """The identity, if it is one of ours; a server may say anything, and a file name is no place for it."""
        if pulled.case and _UUID.fullmatch(pulled.case):
            return pulled.case
        return f"patient-{pulled.patient}" if _ID.fullmatch(pulled.patient) else f"patient-{len(self.written) + 1}-without-id"

    def take(self, name: str, result: Mapping[str, Any] | None, report: Report) -> None:
        self.seen += 1
        if result is None:
            self.is_whole = False
        elif name in self.written:
            self.is_whole = False
            text, fix = "the server holds two patients under this identity; the second was not written", "delete one of them"
            report.add([Issue("error", "duplicate", "sync-duplicates", text, fix=fix, source=Origin(name))])
        elif not self.quiet:
            self.written.add(name)
            _write(result, self.folder, name)


def _patients(
    server: FhirServer,
    box: Outbox,
    transfer: Transfer,
    cases: tuple[str, ...],
    identifier: str | None,
    report: Report,
    *,
    since_last: bool,
) -> tuple[Iterator[Resource], Mark | None]:
    """The Patients to pull; and the mark to set once they are safe, where the pull is an incremental one."""
    from service.sync import marks
    from service.sync import pull as pulls

    if cases:
        return _of_cases(server, transfer, cases, report), None
    if identifier:
        system, bar, value = identifier.rpartition("|")
        if not bar:
            raise click.UsageError("--identifier is SYSTEM|VALUE")
        return pulls.by_identifier(server, system, value), None
    if since_last:
        before = marks.last(box, server.base, transfer.deployment)
        found, mark = pulls.changed(server, transfer.deployment, transfer.types, before)
        return iter(found), mark
    return pulls.of_deployment(server, transfer.deployment), None


def _of_cases(server: FhirServer, transfer: Transfer, cases: tuple[str, ...], report: Report) -> Iterator[Resource]:
    from service.sync.pull import by_case

    for position, case in enumerate(cases, start=1):
        found = list(by_case(server, transfer.system, transfer.identity(case)))
        if not found:
            text = f"the server holds no case with the id given as --case (no. {position}) under this deployment's key"
            report.add([Issue("error", "not-found", "sync-not-there", text, fix="check its id and CASEBRIDGE_KEY, or push it")])
        yield from found


@dataclass(frozen=True)
class _Local:
    """A local case to compare with."""

    file: str
    text: bytes
    wanted: Wanted


def _local(transfer: Transfer, compare: tuple[str, ...], report: Report) -> Iterator[_Local]:
    """The cases to compare with; those that cannot be converted are reported."""
    for name, path in input_files(compare):
        text = read_input(path)
        wanted, issues = transfer.wanted(text, file=name)
        report.add(issues)
        if wanted is not None:
            yield _Local(name, text, wanted)


def _compare(transfer: Transfer, local: _Local, pulled: dict[str, Any] | None, report: Report) -> None:
    from service.transfer import compared

    found = list(compared(transfer.engine, local.text, pulled or {}, local.file))
    report.add(found)
    report.code = max(report.code, FINDINGS if found else 0)
    if not found and not report.as_json:
        click.echo(f"{local.file}: equal", err=True)


def _write(result: Mapping[str, Any], folder: Path | None, name: str) -> None:
    from service.fhir import json

    if folder:
        replace(folder / f"{name}.json", [json.dumps(dict(result), indent=True)])
    else:
        sys.stdout.buffer.write(json.dumps(dict(result)) + b"\n")
