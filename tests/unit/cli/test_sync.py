"""`casebridge sync`: what lies in the outbox, going on with it, trying again, and forgetting the patients' data."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.errors import ServerUnavailable
from service.fhir import json
from service.issues import Issue
from tests.support.command import CANARY, HERE, Server, Write, igg, lost, refused, run, to, told
from tests.support.deployment import small


@pytest.fixture
def dead(case: Path, memory: Server) -> str:
    """A job that the server refused in words that hold a value; its id."""
    said = {"resourceType": "OperationOutcome", "issue": [{"severity": "error", "diagnostics": f"bad value {CANARY}"}]}
    memory.fails = refused(422, said)
    [job] = told(to("push", case, "--json"))["jobs"]
    memory.fails = lambda: None
    assert job["state"] == "dead"
    return str(job["id"])


def test_status_lists_what_is_not_confirmed(case: Path, memory: Server, dead: str, write: Write) -> None:
    assert to("push", write(small("small-2"))).exit_code == 0
    result = run("sync", "status")
    assert result.exit_code == 1
    first, *jobs = result.stdout.splitlines()
    assert first == "confirmed 1, dead 1"
    assert [line.split()[:2] for line in jobs] == [["small-1.json", "dead"]]
    assert jobs[0].endswith(f"job {dead[:8]}")
    assert len(run("sync", "status", "--all").stdout.splitlines()) == 3


def test_status_of_a_job_tells_all_but_values(memory: Server, dead: str) -> None:
    result = run("sync", "status", dead[:8])
    assert result.exit_code == 1
    assert "sync-login" in result.stdout
    assert CANARY not in result.output
    assert CANARY in run("sync", "status", dead, "--show-values").stdout
    assert CANARY not in run("sync", "status", dead, "--json", "--show-values").output


def test_status_of_a_conflict_names_what_differs(case: Path, memory: Server, write: Write) -> None:
    to("push", case)
    memory.amend(status="amended")
    [job] = told(to("push", write(small(change=igg(40))), "--json"))["jobs"]
    result = run("sync", "status", job["id"])
    assert f"conflict  Observation/{memory.igg()['id']} someone else has changed it" in result.stdout
    assert "            changed status" in result.stdout
    assert "            changed valueQuantity.value" in result.stdout


def test_status_as_json(memory: Server, dead: str, case: Path, write: Write) -> None:
    to("push", write(small("small-2")))
    found = told(run("sync", "status", "--json"))
    assert found["counts"] == {"queued": 0, "sending": 0, "unknown": 0, "confirmed": 1, "conflict": 0, "dead": 1}
    assert [(job["id"], job["state"], job["ok"]) for job in found["jobs"]] == [(dead, "dead", False)]
    assert len(told(run("sync", "status", "--json", "--all"))["jobs"]) == 2
    assert [job["id"] for job in told(run("sync", "status", dead, "--json"))["jobs"]] == [dead]


@pytest.mark.parametrize("command", [("status",), ("retry",)], ids=" ".join)
@pytest.mark.parametrize("unknown", ["0" * 32, "zz", "no such job", "%"])
def test_a_job_that_is_none(command: tuple[str, ...], unknown: str, memory: Server, dead: str) -> None:
    result = run("sync", *command, unknown)
    assert result.exit_code == 2
    assert "sync-job-not-found" in result.stderr
    assert unknown not in result.output


def test_retry_sends_what_failed_once_it_is_mended(memory: Server, dead: str) -> None:
    assert run("sync", "retry").exit_code == 2
    result = run("sync", "retry", dead[:8], "--json")
    assert result.exit_code == 0
    assert [(job["id"], job["state"]) for job in told(result)["jobs"]] == [(dead, "confirmed")]
    assert len(memory.facts()) == 5
    again = run("sync", "retry", dead)
    assert again.exit_code == 2
    assert "sync-retry" in again.stderr


def test_retry_of_all_that_is_dead(memory: Server, dead: str) -> None:
    result = run("sync", "retry", "--dead", dead)
    assert result.exit_code == 0
    assert [line.split()[1] for line in result.stdout.splitlines()] == ["confirmed"]
    nothing = run("sync", "retry", "--dead")
    assert (nothing.exit_code, nothing.stdout, nothing.stderr) == (0, "", "there is nothing to do\n")


def test_retry_may_overwrite_where_there_was_a_conflict(case: Path, memory: Server, write: Write) -> None:
    to("push", case)
    memory.amend(status="amended")
    [job] = told(to("push", write(small(change=igg(40))), "--json"))["jobs"]
    assert run("sync", "retry", job["id"]).exit_code == 1
    assert memory.igg()["status"] == "amended"
    assert run("sync", "retry", job["id"], "--overwrite").exit_code == 0
    assert memory.igg()["status"] == "final"


def test_resume_goes_on_with_all_servers(case: Path, servers: dict[str, Server]) -> None:
    for base, server in servers.items():
        server.fails = lost
        assert to("push", case, "--wait", "0s", server=base).exit_code == 4
        server.fails = lambda: None
    result = run("sync", "resume")
    assert result.exit_code == 0
    assert [line.split()[1] for line in result.stdout.splitlines()] == ["confirmed"] * 2
    assert [len(server.facts()) for server in servers.values()] == [5, 5]


def test_resume_passes_over_a_server_that_may_not_be_asked_any_more(case: Path, servers: dict[str, Server]) -> None:
    for base, server in servers.items():
        server.fails = lost
        to("push", case, "--wait", "0s", server=base)
        server.fails = lambda: None
    del servers[HERE]
    result = run("sync", "resume")
    assert result.exit_code == 4
    assert "sync-address" in result.stderr
    assert [line.split()[1] for line in result.stdout.splitlines()] == ["unknown", "confirmed"]


def test_resume_with_nothing_to_do(memory: Server) -> None:
    result = run("sync", "resume")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "there is nothing to do\n")


@pytest.mark.parametrize("count", [0, 2])
def test_resume_as_json_is_one_document(count: int, case: Path, servers: dict[str, Server]) -> None:
    for base in list(servers)[:count]:
        servers[base].fails = lost
        to("push", case, "--wait", "0s", server=base)
        servers[base].fails = lambda: None
    result = run("sync", "resume", "--json")
    assert len(json.loads(result.stdout_bytes)["jobs"]) == count


def test_purge_leaves_nothing_of_the_patient_and_a_second_push_writes_nothing(
    case: Path, memory: Server, tmp_path: Path
) -> None:
    to("push", case)
    assert run("sync", "purge", "--older-than", "1h").stdout == "purged 0 jobs\n"
    assert run("sync", "purge").stdout == "purged 1 jobs\n"
    assert run("sync", "purge").stdout == "purged 0 jobs\n"
    result = run("sync", "status", "--all")
    assert "small-1" not in result.output
    assert "confirmed 1" in result.stdout
    left = b"".join(path.read_bytes() for path in (tmp_path / "home").rglob("*") if path.is_file())
    assert b"small-1" not in left
    assert "unchanged 5" in to("push", case).stdout
    assert run("sync", "purge", "--older-than", "a while").exit_code == 2


def test_doctor_tells_its_verdicts_line_by_line(memory: Server) -> None:
    result = run("sync", "doctor", "--server", HERE)
    assert result.exit_code == 0
    assert all(": " in line for line in result.stdout.splitlines())
    assert told(run("sync", "doctor", "--server", HERE, "--json"))


def test_a_job_for_a_wrong_address_can_be_taken_back(case: Path, memory: Server) -> None:

    def unreachable() -> None:
        raise ServerUnavailable([Issue("error", "transient", "sync-connect", "it cannot be reached")])

    memory.fails = unreachable
    to("push", case, "--wait", "0s")
    memory.fails = lambda: None
    [job] = json.loads(run("sync", "status", "--json").stdout_bytes)["jobs"]
    assert run("sync", "cancel", job["id"][:8]).stdout == f"cancelled job {job['id'][:8]}\n"
    assert run("sync", "resume").stderr == "there is nothing to do\n"
    assert run("sync", "cancel", job["id"]).exit_code == 2
    assert memory.all() == []
