"""No command shows a value of a patient that was not asked for: one unmistakable word in every field that may hold it."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
from click.testing import Result

from service.engine import Engine
from service.fhir import json
from service.sync.retire import is_retired
from tests.support.command import CANARY, Record, Server, Write, lost, refused, run, to, told
from tests.support.deployment import CASES, small

Place = tuple[str, ...]


@pytest.fixture(scope="module")
def record(engine: Engine) -> Record:
    """A published case with the canary behind every text that the form lets it stand behind."""
    found: Any = json.loads(CASES[0].read_bytes())
    for place in sorted(set(places(found))):
        tried = marked(found, place)
        if engine.convert(json.dumps(tried)).bundle is not None:
            found = tried
    assert str(found).count(CANARY) > 50
    assert isinstance(found, dict)
    return found


def places(held: Any, at: Place = ()) -> Iterator[Place]:
    """The fields that hold a text, by their names from the root on."""
    if isinstance(held, dict):
        for name, item in held.items():
            yield from places(item, (*at, name))
    elif isinstance(held, list):
        for item in held:
            yield from places(item, at)
    elif isinstance(held, str):
        yield at


def marked(held: Any, place: Place) -> Any:
    if isinstance(held, list):
        return [marked(item, place) for item in held]
    if isinstance(held, dict) and place:
        return {name: marked(item, place[1:]) if name == place[0] else item for name, item in held.items()}
    return f"{held} {CANARY}" if isinstance(held, str) and not place else held


def everywhere(held: Any) -> Any:
    if isinstance(held, dict):
        return {name: everywhere(item) for name, item in held.items()}
    return [everywhere(item) for item in held] if isinstance(held, list) else CANARY


def quiet(result: Result) -> Result:
    assert CANARY.lower() not in result.output.lower(), result.output
    return result


def test_in_a_push_and_all_that_may_become_of_it(record: Record, memory: Server, write: Write) -> None:
    case = write(record, "case-a")
    assert "create" in quiet(to("plan", case)).stdout
    memory.fails = lost
    assert quiet(to("push", case, "--wait", "0s")).exit_code == 4
    memory.fails = refused(422, {"resourceType": "OperationOutcome", "issue": [{"diagnostics": CANARY}]})
    assert quiet(run("sync", "retry", "--dead")).exit_code == 0
    memory.fails = lambda: None
    assert quiet(run("sync", "resume")).exit_code == 0
    for one in memory.facts():
        memory.edit(one["resourceType"], one["id"], lambda held: held.update(language=CANARY))
    changed = copy.deepcopy(record)
    changed["labs"].pop()
    changed["labs"][0]["note"] = f"another {CANARY}"
    write(changed, "case-a")
    for options in ([], ["--json"], ["--overwrite"]):
        assert quiet(to("plan", case, *options)).exit_code == (0 if options == ["--overwrite"] else 1)
    for options in ([], ["--json"]):
        assert quiet(to("push", case, *options)).exit_code == 1
    memory.fails = refused(422, {"resourceType": "OperationOutcome", "issue": [{"diagnostics": CANARY}]})
    assert quiet(to("push", case, "--overwrite")).exit_code == 1
    memory.fails = lambda: None
    for options in (["status", "--all"], ["status", "--all", "--json"], ["retry", "--dead"]):
        quiet(run("sync", *options))
    for job in told(run("sync", "status", "--all", "--json"))["jobs"]:
        quiet(run("sync", "status", job["id"]))
    assert any(is_retired(one) for one in memory.all())


def test_in_what_cannot_be_read_or_converted(record: Record, memory: Server, write: Write) -> None:
    write(everywhere(small()), "nothing-right")
    write(everywhere(record), "nothing-right-at-all")
    write(small() | {"labs": CANARY}, "no-list")
    broken = write(record, "broken")
    broken.write_bytes(broken.read_bytes()[:-20])
    for command in ("plan", "push"):
        assert quiet(to(command, broken.parent)).exit_code == 3
        assert quiet(to(command, broken.parent, "--lenient")).exit_code == 3
    assert quiet(to("pull", "--compare", broken.parent / "no-list.json")).exit_code == 1


def test_in_a_pull_but_for_the_case_itself(record: Record, memory: Server, write: Write) -> None:
    case = write(record, "case-a")
    assert to("push", case).exit_code == 0
    quiet(to("pull", "--compare", case))
    for one in memory.facts()[::3]:
        memory.edit(one["resourceType"], one["id"], lambda held: held.update(language=CANARY))
    lab = next(one for one in memory.all("Observation") if "valueQuantity" in one)
    memory.edit("Observation", lab["id"], lambda held: held["valueQuantity"].update(unit=CANARY))
    for options in (
        ["--compare", case],
        ["--compare", case, "--json"],
        ["--case", CANARY],
        ["--identifier", f"urn:x|{CANARY}"],
    ):
        quiet(to("pull", *options))
    pulled = to("pull")
    assert CANARY in pulled.stdout, "what was asked for is shown"
    assert CANARY not in pulled.stderr
