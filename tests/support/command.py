"""The command `casebridge` over servers in memory: how it is run, and what others do to those servers meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from click.testing import CliRunner, Result

from service.cli import main
from service.errors import ServerRefused, ServerUnavailable
from service.fhir import json
from service.issues import Issue
from service.sync.memory import MemoryServer
from service.sync.server import Resource

HERE: Final = "http://here.invalid/fhir"
THERE: Final = "http://there.invalid/fhir"
CANARY: Final = "Zq7canary"

Record = dict[str, Any]
Write = Callable[..., Path]


class Server(MemoryServer):
    """A server in memory in the place of one over HTTP; `fails` is done before each transaction, `makes` to its answer."""

    def __init__(self, base: str = HERE) -> None:
        super().__init__(base)
        self.fails: Callable[[], object] = lambda: None
        self.makes: Callable[[Resource], Resource] = lambda reply: reply

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_error: object) -> None:
        pass

    def submit(self, bundle: Resource) -> Resource:
        if bundle["type"] != "transaction":
            return super().submit(bundle)
        self.fails()
        return self.makes(super().submit(bundle))

    def facts(self) -> list[Resource]:
        return [one for one in self.all() if one["resourceType"] != "Provenance"]

    def igg(self, patient: str | None = None) -> Resource:
        """The laboratory value of IgG, of the Patient with this id where there are several."""
        found = [one for one in self.all("Observation") if one["code"]["text"] == "IgG"]
        [only] = [one for one in found if patient in (None, one["subject"]["reference"].removeprefix("Patient/"))]
        return only

    def amend(self, **change: Any) -> None:
        """Someone else edits the value of IgG."""
        self.edit("Observation", self.igg()["id"], lambda one: one.update(change))

    def add(self, resource: Resource) -> None:
        """Someone else writes a resource, under its id where it has one."""
        name = resource["resourceType"]
        method, url = ("PUT", f"{name}/{resource['id']}") if "id" in resource else ("POST", name)
        entry = {"resource": resource, "request": {"method": method, "url": url}}
        self.submit({"resourceType": "Bundle", "type": "batch", "entry": [entry]})


def run(*arguments: str | Path, stdin: bytes | None = None) -> Result:
    result = CliRunner().invoke(main, [str(one) for one in arguments], input=stdin)
    assert "Traceback" not in result.output
    assert result.exit_code != 5, result.output
    return result


def to(*arguments: str | Path, server: str = HERE, **options: Any) -> Result:
    """A command that talks to a server."""
    return run(*arguments, "--server", server, **options)


def told(result: Result) -> Any:
    """What a command gave as JSON."""
    return json.loads(result.stdout_bytes)


def lines(result: Result) -> list[Any]:
    """What a command gave as JSON, one value a line."""
    return [json.loads(line) for line in result.stdout_bytes.splitlines()]


def igg(number: Any) -> Callable[[Record], object]:
    """The change to the small case that gives IgG another value."""
    return lambda record: record["labs"][1].update(value=number)


def lost() -> None:
    raise ServerUnavailable([Issue("error", "transient", "sync-lost", "the answer was lost", fix="try again")], sent=True)


def refused(status: int = 401, outcome: Resource | None = None) -> Callable[[], None]:
    def refuse() -> None:
        issue = Issue("error", "login", "sync-login", "it lets nobody in", fix="check the password")
        raise ServerRefused([issue], status=status, outcome=outcome)

    return refuse
