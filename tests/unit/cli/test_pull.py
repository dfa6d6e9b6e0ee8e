"""`casebridge pull`: which cases, where they are written, and how they differ from the local ones."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from service.fhir import json
from service.sync.canonical import URN
from service.sync.server import Resource
from service.transfer import Transfer
from tests.support.command import CANARY, Server, Write, lines, to
from tests.support.deployment import small


def test_all_cases_come_back_one_a_line(two: list[Path]) -> None:
    result = to("pull")
    assert (result.exit_code, result.stderr) == (0, "")
    assert lines(result) == [small("small-1"), small("small-2")]


def test_cases_in_a_folder_are_named_by_their_identities(two: list[Path], tmp_path: Path, transfer: Transfer) -> None:
    result = to("pull", "-o", tmp_path / "out")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "2 cases written" in result.stderr
    found = {path.stem: json.loads(path.read_bytes()) for path in (tmp_path / "out").iterdir()}
    assert found == {transfer.identity(name): small(name) for name in ("small-1", "small-2")}


def test_one_case_by_its_id(two: list[Path]) -> None:
    assert lines(to("pull", "--case", "small-2")) == [small("small-2")]
    assert lines(to("pull", "--case", "small-2", "--case", "small-1")) == [small("small-2"), small("small-1")]


def test_a_case_that_is_not_there_is_told_by_its_place_and_not_by_its_id(two: list[Path]) -> None:
    result = to("pull", "--case", "small-1", "--case", CANARY)
    assert result.exit_code == 1
    assert lines(result) == [small("small-1")]
    assert "sync-not-there" in result.stderr
    assert "as --case (no. 2)" in result.stderr
    assert CANARY not in result.output


def test_patients_by_an_identifier_whoever_wrote_them(two: list[Path], memory: Server, tmp_path: Path) -> None:
    for one in memory.all("Patient")[:1]:
        memory.edit("Patient", one["id"], lambda held: held["identifier"].append({"system": "urn:hospital|x", "value": "4711"}))
    foreign = {"resourceType": "Patient", "identifier": [{"system": "urn:hospital|x", "value": "4711"}], "gender": "female"}
    memory.add(foreign)
    result = to("pull", "--identifier", "urn:hospital|x|4711", "-o", tmp_path / "out")
    new = memory.all("Patient")[-1]["id"]
    names = sorted(path.stem for path in (tmp_path / "out").iterdir())
    assert result.exit_code == 1, "the form does not hold the hospital's number"
    assert f"patient-{new}" in names
    assert len(names) == 2
    assert "4711" not in result.output
    assert lines(to("pull", "--identifier", "urn:hospital|x|0815")) == []


@pytest.mark.parametrize("wrong", ["no-bar", "4711"])
def test_an_identifier_without_a_system(wrong: str, two: list[Path]) -> None:
    result = to("pull", "--identifier", wrong)
    assert result.exit_code == 2
    assert "SYSTEM|VALUE" in result.stderr
    assert wrong not in result.stderr.replace("--identifier", "")


def test_an_empty_identifier_is_none(two: list[Path]) -> None:
    assert to("pull", "--identifier", "").exit_code == 2


def test_an_empty_folder_name_is_none(two: list[Path]) -> None:
    assert to("pull", "-o", "").exit_code == 2


@pytest.mark.parametrize(
    "options",
    [("--case", "a", "--since-last"), ("--case", "a", "--identifier", "s|v"), ("--identifier", "s|v", "--since-last")],
    ids=" ".join,
)
def test_what_to_pull_is_said_in_one_way(options: tuple[str, ...], two: list[Path]) -> None:
    assert to("pull", *options).exit_code == 2


def test_a_bundle_instead_of_the_case(two: list[Path], transfer: Transfer) -> None:
    [bundle] = lines(to("pull", "--case", "small-1", "--bundle"))
    assert (bundle["resourceType"], bundle["type"], len(bundle["entry"])) == ("Bundle", "collection", 5)
    assert bundle["entry"][0]["fullUrl"] == URN + transfer.identity("small-1")


def test_what_the_form_cannot_hold_is_told_without_its_value(two: list[Path], memory: Server) -> None:
    edit_one = memory.all("Observation")[0]["id"]
    memory.edit("Observation", edit_one, lambda one: one.update(bodySite={"text": CANARY}))
    result = to("pull", "--case", "small-1")
    assert result.exit_code == 1
    assert "bodySite" in result.stderr
    assert CANARY not in result.output
    as_json = to("pull", "--case", "small-1", "--json")
    assert json.loads(as_json.stderr_bytes)["resourceType"] == "OperationOutcome"


def test_since_last_brings_each_change_once(two: list[Path], memory: Server) -> None:
    assert len(lines(to("pull", "--since-last"))) == 2
    assert lines(to("pull", "--since-last")) == []
    to("push", two[0].parent, "--overwrite")
    assert lines(to("pull", "--since-last")) == []
    patient = memory.all("Patient")[1]
    memory.edit("Patient", patient["id"], lambda one: one.update(gender="male"))
    changed = small("small-2", lambda record: record["patient"].update(sex="male"))
    assert lines(to("pull", "--since-last")) == [changed]
    assert lines(to("pull", "--since-last")) == []
    assert len(lines(to("pull"))) == 2, "a whole pull needs no mark, and sets none"


# --- compared ---------------------------------------------------------------------------------------------------------


def test_equal(two: list[Path]) -> None:
    result = to("pull", "--compare", two[0].parent)
    assert (result.exit_code, result.stdout) == (0, "")
    assert [line.endswith(": equal") for line in result.stderr.splitlines()] == [True, True]


def test_different_item_by_item_without_values(two: list[Path], memory: Server) -> None:
    memory.edit("Patient", memory.all("Patient")[0]["id"], lambda one: one.update(gender="male"))
    lab = memory.igg(memory.all("Patient")[0]["id"])
    memory.edit("Observation", lab["id"], lambda one: one["valueQuantity"].update(value=Decimal("4711.50")))
    result = to("pull", "--compare", two[0].parent)
    assert result.exit_code == 1
    assert result.stderr.count("sync-difference") == 2
    assert f"{two[0]} /labs/1" in result.stderr
    assert "value differs on the server" in result.stderr
    assert f"{two[1]}: equal" in result.stderr
    assert not any(text in result.output for text in ("4711", "38.80", "male"))


def test_a_local_case_that_the_server_does_not_hold(two: list[Path], write: Write) -> None:
    path = write(small("small-3"))
    result = to("pull", "--compare", path.parent)
    assert result.exit_code == 1
    assert f"sync-not-there: {path}" in result.stderr


def test_compared_and_written_in_the_order_of_the_local_case(case: Path, memory: Server, write: Write, tmp_path: Path) -> None:
    to("push", case)
    turned = write(small(change=lambda record: record["labs"].reverse()))
    result = to("pull", "--compare", turned, "-o", tmp_path / "out")
    assert result.exit_code == 0
    [path] = (tmp_path / "out").iterdir()
    assert json.loads(path.read_bytes()) == json.loads(turned.read_bytes())


def test_compared_as_json(two: list[Path]) -> None:
    result = to("pull", "--compare", two[0], "--json")
    assert json.loads(result.stderr_bytes)["resourceType"] == "OperationOutcome"


# --- servers that mean harm, or are in disorder -----------------------------------------------------------------------


def impostor(memory: Server, identity: str) -> Resource:
    """A Patient with our tag and any identity, as whoever may write there can make one."""
    known = memory.all("Patient")[0]
    return {
        "resourceType": "Patient",
        "gender": "female",
        "meta": {"tag": known["meta"]["tag"]},
        "identifier": [{**known["identifier"][0], "value": identity}],
    }


@pytest.mark.parametrize("identity", ["../evil", "/tmp/evil", "a/b", "evil\n", ".."])
def test_no_identity_leads_out_of_the_folder(identity: str, case: Path, memory: Server, tmp_path: Path) -> None:
    to("push", case)
    memory.add(impostor(memory, identity.replace("/tmp", str(tmp_path))))
    before = {path for path in tmp_path.rglob("*") if "home" not in path.parts}
    result = to("pull", "-o", tmp_path / "out")
    assert result.exit_code in (1, 4)
    made = {path for path in tmp_path.rglob("*") if "home" not in path.parts} - before
    assert {path.parent for path in made} <= {tmp_path, tmp_path / "out"}
    assert not [path for path in made if "evil" in path.name or path.name in ("b.json", "...json")]


def test_two_patients_of_one_identity_are_told(case: Path, memory: Server, tmp_path: Path, transfer: Transfer) -> None:
    to("push", case)
    memory.add(impostor(memory, transfer.identity("small-1")))
    result = to("pull", "-o", tmp_path / "out")
    assert result.exit_code != 0
    assert "sync-duplicates" in result.stderr


def test_a_case_that_could_not_be_read_is_pulled_again(case: Path, memory: Server) -> None:
    to("push", case)
    memory.add({**memory.igg(), "id": "twin"})
    first = to("pull", "--since-last")
    assert (first.exit_code, first.stdout) == (1, "")
    memory.delete("Observation", "twin")
    assert lines(to("pull", "--since-last")) == [small()]
