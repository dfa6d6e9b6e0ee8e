"""`casebridge plan`, and `push --plan`: what is shown, what is approved, and that nothing else is done."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from service.fhir import json
from service.transfer import Transfer
from tests.support.command import HERE, THERE, Record, Server, Write, igg, run, to, told
from tests.support.deployment import small


def test_a_plan_counts_what_would_be_created_and_writes_nothing(case: Path, memory: Server) -> None:
    result = to("plan", case)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.splitlines() == [
        f"{case}: create 5",
        "  create    1 Patient",
        "  create    1 Procedure",
        "  create    3 Observation",
    ]
    assert memory.all() == []
    assert run("sync", "status", "--all").stdout == "the outbox is empty\n"


def test_a_plan_names_each_resource_that_changes_by_its_elements(case: Path, memory: Server, write: Write) -> None:
    to("push", case)

    def change(record: Record) -> None:
        record["labs"][1]["value"] = Decimal("40.10")
        del record["labs"][0]

    result = to("plan", write(small(change=change)))
    place = f"Observation/{memory.igg()['id']}"
    dated = [one["id"] for one in memory.all("Observation") if "_effectiveDateTime" not in one]
    [retired] = [one for one in dated if one != memory.igg()["id"]]
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        f"{case}: update 1, retire 1, unchanged 3",
        f"  update    {place}",
        "            changed valueQuantity.value",
        f"  retire    Observation/{retired}: it is no longer in the case",
    ]


def test_values_are_shown_only_when_they_are_asked_for(case: Path, memory: Server, write: Write) -> None:
    to("push", case)
    changed = write(small(change=igg(Decimal("40.10"))))
    quiet, loud = to("plan", changed), to("plan", changed, "--show-values")
    assert not {"38.80", "40.10"} & set(quiet.output.split())
    assert "changed valueQuantity.value: 38.80 → 40.10" in loud.stdout
    quiet, loud = to("plan", changed, "--json"), to("plan", changed, "--json", "--show-values")
    assert not any(text in quiet.output for text in ("38.80", "40.10"))
    [step] = [one for one in told(loud)["cases"][0]["steps"] if one["changes"]]
    assert step["changes"] == [
        {"kind": "changed", "place": "valueQuantity.value", "before": Decimal("38.80"), "after": Decimal("40.10")}
    ]


def test_a_conflict_is_a_finding_until_it_may_be_overwritten(case: Path, memory: Server, write: Write) -> None:
    to("push", case)
    memory.amend(status="amended")
    changed = write(small(change=igg(40)), "changed")
    result = to("plan", changed)
    assert result.exit_code == 1
    assert f"conflict  Observation/{memory.igg()['id']}: someone else has changed it" in result.stdout
    assert "            changed status" in result.stdout
    assert to("plan", changed, "--overwrite").exit_code == 0
    left = to("plan", case)
    assert left.exit_code == 0
    assert "unchanged Observation/" in left.stdout, "an edit of what we leave alone is told"


def test_a_plan_as_json(case: Path, memory: Server, transfer: Transfer) -> None:
    result = to("plan", case, "--json")
    made = told(result)
    assert (result.exit_code, result.stderr) == (0, "")
    assert {name: made[name] for name in ("server", "mapping")} == {"server": HERE, "mapping": transfer.mapping}
    [only] = made["cases"]
    assert (only["label"], only["case"]) == (str(case), transfer.identity("small-1"))
    assert {tuple(step) for step in only["steps"]} == {
        ("action", "identity", "resource_type", "resource_id", "version", "digest", "reason", "changes")
    }
    assert [(step["action"], step["resource_type"]) for step in only["steps"][:2]] == [
        ("create", "Patient"),
        ("create", "Procedure"),
    ]


@pytest.mark.parametrize("command", ["plan", "push"])
def test_a_case_that_cannot_be_converted_keeps_no_other_back(command: str, case: Path, memory: Server, write: Write) -> None:
    write({**small("small-2"), "shoeSize": 38}, "wrong")
    (case.parent / "broken.json").write_bytes(b"{")
    result = to(command, case.parent)
    assert result.exit_code == 3
    assert "json-syntax" in result.stderr
    assert "case-unknown-field" in result.stderr
    assert "create 5" in result.stdout
    assert len(memory.facts()) == (5 if command == "push" else 0)
    assert to(command, case.parent / "wrong.json").exit_code == 1
    assert to(command, case.parent / "wrong.json", "--lenient").exit_code == 0


@pytest.mark.parametrize("command", ["plan", "push"])
def test_a_case_may_come_by_standard_input(command: str, memory: Server) -> None:
    result = to(command, "-", stdin=json.dumps(small()))
    assert result.exit_code == 0
    assert "create 5" in result.stdout


@pytest.mark.parametrize("command", [("plan",), ("push",), ("pull",), ("sync", "doctor")], ids=" ".join)
def test_a_server_has_to_be_named(command: tuple[str, ...], case: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cases = [case] if command[0] in ("plan", "push") else []
    result = run(*command, *cases)
    assert result.exit_code == 2
    assert "--server" in result.stderr
    result = run(*command, *cases, "--server", "http://nowhere.invalid")
    assert result.exit_code == 2
    assert "sync-address" in result.stderr
    if command[0] == "plan":
        monkeypatch.setenv("CASEBRIDGE_SERVER", HERE)
        assert run(*command, *cases).exit_code == 0


@pytest.mark.parametrize("command", ["plan", "push", "pull"])
def test_a_server_that_is_not_fit_is_refused_with_the_reason(command: str, case: Path, memory: Server) -> None:
    memory.capabilities = lambda: {"fhirVersion": "3.0.2"}  # type: ignore[method-assign]
    result = to(command, *([case] if command != "pull" else []))
    assert result.exit_code == 4
    assert "sync-unfit" in result.stderr
    assert "3.0.2" in result.stderr
    assert memory.all() == []


# --- a plan carried out -----------------------------------------------------------------------------------------------


def planned(*cases: Path, server: str = HERE, overwrite: bool = False) -> Path:
    """The plan for these cases as a file."""
    made = to("plan", *cases, "--json", *(["--overwrite"] if overwrite else []), server=server)
    path = cases[0].parent.parent / "plan.json"
    path.write_bytes(made.stdout_bytes)
    return path


def test_a_plan_is_carried_out_to_the_letter(case: Path, memory: Server, write: Write) -> None:
    assert to("push", case, "--plan", planned(case)).exit_code == 0
    assert len(memory.facts()) == 5
    changed = write(small(change=igg(40)))
    plan = planned(changed)
    assert to("push", changed, "--plan", plan).exit_code == 0
    assert memory.igg()["valueQuantity"]["value"] == 40
    assert to("push", changed, "--plan", plan).exit_code == 0, "what is done already is no other change"


def test_a_plan_that_is_stale_changes_nothing(case: Path, memory: Server, write: Write) -> None:
    to("push", case)
    changed = write(small(change=igg(40)))
    plan = planned(changed, overwrite=True)
    memory.amend(status="amended")
    result = to("push", changed, "--plan", plan, "--overwrite")
    assert result.exit_code == 1
    assert "sync-plan-stale" in result.stderr
    assert memory.igg()["status"] == "amended"
    other = write(small(change=igg(41)))
    assert to("push", other, "--plan", planned(changed, overwrite=True), "--overwrite").exit_code == 0, "planned anew"


def test_a_case_that_changed_since_it_was_planned_is_not_pushed(case: Path, memory: Server, write: Write) -> None:
    plan = planned(case)
    result = to("push", write(small(change=igg(40))), "--plan", plan)
    assert result.exit_code == 1
    assert "sync-plan-stale" in result.stderr
    assert memory.all() == []


def test_a_case_that_the_plan_does_not_name_may_change_nothing(case: Path, memory: Server, write: Write) -> None:
    plan = planned(case)
    write(small("small-2"))
    result = to("push", case.parent, "--plan", plan)
    assert result.exit_code == 1
    assert [line.split()[1] for line in result.stdout.splitlines()] == ["confirmed", "conflict"]
    assert len(memory.all("Patient")) == 1


def test_a_plan_with_values_is_a_plan_as_well(case: Path, memory: Server, write: Write) -> None:
    to("push", case)
    changed = write(small(change=igg(Decimal("40.10"))))
    path = case.parent.parent / "plan.json"
    path.write_bytes(to("plan", changed, "--json", "--show-values").stdout_bytes)
    assert to("push", changed, "--plan", path).exit_code == 0


def test_a_plan_for_one_server_is_none_for_another(case: Path, servers: dict[str, Server]) -> None:
    plan = planned(case, server=HERE)
    assert to("push", case, "--plan", plan, server=THERE).exit_code != 0
    assert servers[THERE].all() == []


@pytest.mark.parametrize(
    ("text", "code"),
    [("[]", 2), ("{}", 2), ('{"cases": 1}', 2), ('{"cases": [{"case": "c", "steps": [{"act": 1}]}]}', 2), ("{", 3), ("", 3)],
)
def test_what_is_no_plan(text: str, code: int, case: Path, memory: Server, tmp_path: Path) -> None:
    (tmp_path / "plan.json").write_text(text)
    assert to("push", case, "--plan", tmp_path / "plan.json").exit_code == code
    assert memory.all() == []


def test_a_case_that_the_server_holds_twice_does_not_hide_the_others(two: list[Path], memory: Server) -> None:
    to("push", *two)
    twin = memory.all("Patient")[0]
    memory.add({name: value for name, value in twin.items() if name != "id"})
    result = to("plan", *two)
    assert result.exit_code == 1
    assert "sync-duplicates" in result.stderr
    assert result.stdout.count("unchanged 5") == 1
