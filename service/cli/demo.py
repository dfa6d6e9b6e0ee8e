"""`casebridge demo`: a push, a conflict and a pull, on a server in memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import click

from service.cli.output import EXIT_CODES, FINDINGS
from service.config import DEFAULT_SET, read_settings

if TYPE_CHECKING:
    from service.sync.memory import MemoryServer
    from service.sync.outbox import Outbox
    from service.sync.plan import Wanted
    from service.transfer import Transfer


@click.command(epilog="Example: casebridge demo   " + EXIT_CODES)
def demo() -> None:
    """Show what push, plan and pull do: with a server in memory, so without a network, and nothing stays behind."""
    from service.engine import load_engine
    from service.examples import EXAMPLE_KEY
    from service.sync.memory import MemoryServer
    from service.sync.outbox import default_url, open_outbox
    from service.transfer import Transfer

    shelf = read_settings().shelf
    folder, cases = _cases(shelf)
    transfer = Transfer(load_engine(shelf / DEFAULT_SET, EXAMPLE_KEY, shelf=shelf))
    click.echo("With a FHIR server in memory. After $ stands the command that does the same on a real one.")
    with TemporaryDirectory(prefix="casebridge-") as home, open_outbox(default_url(Path(home))) as box:
        steps = _steps(_Demo(transfer, MemoryServer(), box, cases), folder)
        for number, (text, command, is_well) in enumerate(steps, start=1):
            click.echo(f"{number}. {text}\n   {click.style(f'$ casebridge {command}', dim=True)}")
            if not is_well:
                raise SystemExit(FINDINGS)


def _cases(shelf: Path) -> tuple[str, dict[str, bytes]]:
    """A folder's name for the commands, and cases: the published ones of a checkout, else the mapping set's small examples."""
    from service.fhir import json

    folder = shelf.parent / "examples" / "cases"
    if folder.is_dir():
        return "examples/cases", {path.name: path.read_bytes() for path in sorted(folder.glob("*.json"))}
    paths = sorted((shelf / DEFAULT_SET / "examples").glob("*.json"))
    return "my-cases", {path.name: json.dumps(json.loads(path.read_bytes())["case"]) for path in paths}


def _steps(show: _Demo, folder: str) -> Iterator[tuple[str, str, bool]]:
    """Carries out step by step: what came of it, the command for it, and whether it went as it should."""
    from service.sync.push import preview

    server, size = "--server http://localhost:8080/fhir", sum(len(show.wanted(name).resources) for name in show.cases)
    yield f"{len(show.cases)} cases become {size} FHIR resources.", f"convert {folder} -o bundles/", True
    did, push = show.push(), f"push {folder} {server}"
    yield f"They are pushed: {did['create']} resources created.", push, did == {"create": size}
    did = show.push()
    yield f"They are pushed again: {size - did['unchanged']} changes.", push, did == {"unchanged": size}
    place = show.disagree()
    did = Counter(step.action for name in show.cases for step in preview(show.server, show.box, show.wanted(name)))
    text = f"Someone edits {place} there, and we change it in the case: {did['conflict']} conflict, at which push would stop."
    yield text, f"plan {folder} {server}", did["conflict"] == 1
    did = show.push(overwrite=True)
    yield f"Ours shall replace theirs: {did['update']} updated.", f"{push} --overwrite", did["update"] == 1
    text = "different" if (found := show.differences()) else "equal"
    yield f"The cases are pulled and compared with ours: {text}.", f"pull {server} --compare {folder}", not found


@dataclass(frozen=True)
class _Demo:
    transfer: Transfer
    server: MemoryServer
    box: Outbox
    cases: dict[str, bytes]

    def wanted(self, name: str) -> Wanted:
        made, _issues = self.transfer.wanted(self.cases[name], file=name)
        assert made is not None, "an example can be converted"
        return made

    def push(self, *, overwrite: bool = False) -> Counter[str]:
        """How many resources were created, updated and so on, by the reports."""
        from service.sync.worker import Drain

        send, base = self.transfer.submission, self.server.base
        jobs = self.box.accept("demo", [send(self.wanted(name), base, label=name, overwrite=overwrite) for name in self.cases])
        Drain(self.box, lambda _target: self.server, wait=0).work()
        return sum((Counter((self.box.job(job.id).report or {}).get("counts")) for job in jobs), Counter())

    def disagree(self) -> str:
        """Changes a Patient in the case, and otherwise on the server; gives its place there."""
        from service.fhir import json

        name = next(iter(self.cases))
        record, case = json.loads(self.cases[name]), self.wanted(name).case
        record["patient"]["hospital"] = "Another hospital"
        self.cases[name] = json.dumps(record)
        patient = self.box.ledger(self.server.base, case)[case].resource_id
        self.server.edit("Patient", patient, lambda one: one.update(active=True))
        return f"Patient/{patient}"

    def differences(self) -> int:
        """Between the cases as they come back from the server and the local ones."""
        from service.sync.pull import by_case, pull
        from service.transfer import compared

        transfer, found = self.transfer, 0
        for text, wanted in ((text, self.wanted(name)) for name, text in self.cases.items()):
            [patient] = by_case(self.server, transfer.system, wanted.case)
            pulled = pull(self.server, patient, transfer.system, transfer.types, whole=True)
            found += sum(1 for _ in compared(transfer.engine, text, transfer.restored(pulled, wanted).record or {}, ""))
        return found
