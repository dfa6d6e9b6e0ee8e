"""`casebridge push`: what it says of each case, by which exit code, and how to go on where it could not end."""

from __future__ import annotations

import os
import signal
import threading
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from service.cli.runs import Follow
from service.fhir import json
from service.sync.server import Resource
from service.transfer import Transfer
from tests.support.command import HERE, Server, Write, igg, lost, refused, run, to, told
from tests.support.deployment import small


def test_two_pushes_of_one_case(case: Path, memory: Server) -> None:
    first = to("push", case)
    assert (first.exit_code, first.stderr) == (0, "")
    assert first.stdout.split()[:4] == ["small-1.json", "confirmed", "create", "5"]
    before = [(one["id"], one["meta"]["versionId"]) for one in memory.all()]
    second = to("push", case)
    assert (second.exit_code, second.stderr) == (0, "")
    assert second.stdout.split()[:4] == ["small-1.json", "confirmed", "unchanged", "5"]
    assert [(one["id"], one["meta"]["versionId"]) for one in memory.all()] == before


def test_a_push_as_json(case: Path, memory: Server, transfer: Transfer) -> None:
    [job] = told(to("push", case, "--json"))["jobs"]
    assert {name: job[name] for name in ("server", "case", "label", "state", "ok", "attempts", "nextTry", "reason")} == {
        "server": HERE,
        "case": transfer.identity("small-1"),
        "label": "small-1.json",
        "state": "confirmed",
        "ok": True,
        "attempts": 1,
        "nextTry": None,
        "reason": None,
    }
    assert job["created"].endswith("Z")
    assert set(job["report"]) == {"counts", "entries", "outcome", "ok"}
    assert job["report"]["counts"] == {"create": 5}
    assert {(one["type"], one["id"]) for one in job["report"]["entries"]} == {
        (one["resourceType"], one["id"]) for one in memory.facts()
    }
    assert {(one["action"], one["version"]) for one in job["report"]["entries"]} == {("create", "1")}


def test_many_cases_are_made_durable_in_groups(
    memory: Server, write: Write, case: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.cli.push._TOGETHER", 2)
    for number in range(2, 6):
        write(small(f"small-{number}"))
    result = to("push", case.parent, "--workers", "2")
    assert result.exit_code == 0
    assert [line.split()[:2] for line in result.stdout.splitlines()] == [
        [f"small-{number}.json", "confirmed"] for number in range(1, 6)
    ]
    assert len(memory.all("Patient")) == 5
    assert len({one["run"] for one in told(run("sync", "status", "--all", "--json"))["jobs"]}) == 1


def test_a_foreign_edit_is_a_conflict_and_overwrite_replaces_it(case: Path, memory: Server, write: Write) -> None:
    to("push", case)
    memory.amend(status="amended")
    left = to("push", case)
    assert left.exit_code == 0
    assert "sync-foreign-edit" in left.stderr
    changed = write(small(change=igg(40)))
    result = to("push", changed)
    assert result.exit_code == 1
    assert result.stdout.split()[:4] == ["small-1.json", "conflict", "unchanged", "4,"]
    assert "sync-conflict" in result.stderr
    assert "--overwrite" in result.stderr
    assert memory.igg()["status"] == "amended"
    assert to("push", changed, "--overwrite").exit_code == 0
    assert (memory.igg()["status"], memory.igg()["valueQuantity"]["value"]) == ("final", 40)


def test_what_the_server_dropped_is_a_finding_with_its_place(case: Path, memory: Server) -> None:
    def drop(reply: Resource) -> Resource:
        for entry in reply["entry"]:
            entry["resource"].get("valueQuantity", {}).pop("unit", None)
        return reply

    memory.makes = drop
    result = to("push", case)
    assert result.exit_code == 1
    assert result.stdout.split()[1] == "confirmed"
    assert "sync-dropped" in result.stderr
    assert "Observation.valueQuantity.unit" in result.stderr
    assert "(× 3)" in result.stderr


def test_what_is_not_confirmed_says_how_to_go_on(case: Path, memory: Server) -> None:
    memory.fails = lost
    result = to("push", case, "--wait", "0s")
    assert result.exit_code == 4
    assert result.stdout.split()[:2] == ["small-1.json", "unknown"]
    assert "sync-lost" in result.stderr
    assert "1 of 1 cases are not confirmed yet" in result.stderr
    assert "casebridge sync resume" in result.stderr
    memory.fails = lambda: None
    went_on = run("sync", "resume")
    assert went_on.exit_code == 0
    assert went_on.stdout.split()[:4] == ["small-1.json", "confirmed", "create", "5"]
    assert len(memory.facts()) == 5


def test_a_push_that_failed_too_often_is_the_servers_fault(case: Path, memory: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.sync.push.Patience.__init__.__defaults__", (1, 3600.0, 500))
    memory.fails = lost
    result = to("push", case)
    assert result.exit_code == 4
    assert result.stdout.split()[:3] == ["small-1.json", "dead", "sync-unavailable"]


def test_a_server_that_lets_us_in_no_more_keeps_all_safe(case: Path, memory: Server, write: Write) -> None:
    write(small("small-2"))
    memory.fails = refused()
    result = to("push", case.parent)
    assert result.exit_code == 4
    assert "sync-login" in result.stderr
    assert "check the password" in result.stderr
    assert "2 of 2 cases are not confirmed yet" in result.stderr
    assert told(run("sync", "status", "--json"))["counts"]["queued"] == 2


def test_a_run_that_is_interrupted_finishes_what_is_in_hand_and_says_how_to_go_on(
    case: Path, memory: Server, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    followed: list[Follow] = []

    class Seen(Follow):
        def work(self, *arguments: Any, **options: Any) -> None:
            followed.append(self)
            super().work(*arguments, **options)

    def interrupt() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        assert followed[0].stop.wait(30)

    before = [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)]
    monkeypatch.setattr("service.cli.push.Follow", Seen)
    memory.fails = interrupt
    write(small("small-2"))
    result = to("push", case.parent, "--workers", "1")
    assert result.exit_code == 4
    assert [line.split()[1] for line in result.stdout.splitlines()] == ["confirmed", "queued"]
    assert "1 of 2 cases are not confirmed yet; they are safe in the outbox. To go on: casebridge sync resume" in result.stderr
    assert [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)] == before
    memory.fails = lambda: None
    assert run("sync", "resume").exit_code == 0
    assert len(memory.all("Patient")) == 2


def test_a_push_in_a_thread_sets_no_signals(case: Path, memory: Server) -> None:
    results: list[Result] = []
    thread = threading.Thread(target=lambda: results.append(to("push", case)))
    thread.start()
    thread.join()
    assert results[0].exit_code == 0


@pytest.mark.parametrize(
    "wrong",
    [
        ("--wait", "soon"),
        ("--wait", "5d"),
        ("--wait", ""),
        ("--workers", "0"),
        ("--workers", "many"),
        ("--plan", "no-such-file"),
    ],
    ids=" ".join,
)
def test_options_that_make_no_sense(wrong: tuple[str, str], case: Path, memory: Server) -> None:
    assert to("push", case, *wrong).exit_code == 2
    assert memory.all() == []


def test_a_folder_without_cases_is_an_error(tmp_path: Path, memory: Server) -> None:
    assert to("push", tmp_path).exit_code == 2


def test_a_case_that_is_given_twice_is_told_and_taken_once(case: Path, write: Write, memory: Server) -> None:
    copy = case.with_name("copy.json")
    copy.write_bytes(json.dumps(small(change=igg(Decimal("40.10")))))
    result = to("push", case, copy)
    assert result.exit_code == 1
    assert "sync-same-case: " in result.stderr
    assert result.stdout.count("confirmed") == 1
    assert str(memory.igg()["valueQuantity"]["value"]) == "38.80"
