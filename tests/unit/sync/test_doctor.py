"""The doctor, at the bed of servers in memory with one ailment each, and of a real one that has none."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from service.cli import main
from service.engine import Engine
from service.errors import ServerUnavailable
from service.fhir import json
from service.sync.abilities import of_text
from service.sync.doctor import USUAL, Finding, examine
from service.sync.memory import MemoryServer
from service.sync.outbox import Outbox, default_url, open_outbox
from service.sync.push import LIMIT
from service.sync.rest import RestServer
from service.sync.server import Criteria, Resource
from service.sync.trial import PROBE
from service.transfer import Transfer
from tests.support.ailing import NOW, Cached, Dated, Elsewhere, Patient, Unlinked, Whole, failing, lost, refusal
from tests.support.fake_fhir import FakeFhir
from tests.support.hapi_server import HapiServer

TRIED = ["transaction", "search cache", "conditional create", "If-Match", "paging", "bundle size", "clock"]
ASKED = ["version", "encryption", "login", "reading", "ids"]

Examined = Callable[..., dict[str, Finding]]


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Outbox]:
    with open_outbox(default_url(tmp_path)) as outbox:
        yield outbox


@pytest.fixture
def examined(box: Outbox) -> Examined:
    """The findings by topic: at most one a topic, and nothing of the probes is left on the server."""

    def run(server: MemoryServer, *, probe: bool = True) -> dict[str, Finding]:
        found = examine(server, box, probe=probe, now=NOW.timestamp())
        assert server.all("Basic") == []
        by_topic = {one.topic: one for one in found}
        assert len(by_topic) == len(found), found
        return by_topic

    return run


def verdicts(found: dict[str, Finding]) -> dict[str, str]:
    """Of all topics that are not ok."""
    return {topic: one.verdict for topic, one in found.items() if one.verdict != "ok"}


# Health ---------------------------------------------------------------------------------------------------------------


def test_a_healthy_server_is_ok_in_everything(examined: Examined) -> None:
    found = examined(Patient())
    assert list(found) == ASKED + TRIED
    assert verdicts(found) == {}


def test_what_was_tried_says_so_and_what_is_only_claimed_says_so(examined: Examined) -> None:
    tried, told = examined(Patient()), examined(Patient(), probe=False)
    for topic in TRIED[:-1]:
        assert "tried" in tried[topic].text
        assert re.match("the server says|not tried", told[topic].text)


def test_without_probe_nothing_is_submitted(examined: Examined) -> None:
    server = Patient()
    found = examined(server, probe=False)
    assert server.submits == []
    assert list(found) == ASKED + TRIED
    assert {topic for topic, verdict in verdicts(found).items() if verdict == "note"} == {
        *("search cache", "If-Match", "paging", "bundle size", "clock")
    }
    assert set(verdicts(found).values()) == {"note"}


def test_what_the_server_can_do_is_remembered_for_push(box: Outbox) -> None:
    server = Patient()
    examine(server, box, probe=False, now=NOW.timestamp())
    told, _, text = (box.recall(server.base, "abilities") or "").partition(" ")
    assert float(told) == NOW.timestamp()
    assert of_text(text).transaction


def test_the_usual_types_are_those_of_the_shipped_set_and_provenance(engine: Engine) -> None:
    assert list(USUAL) == sorted({*Transfer(engine).types, "Provenance"})


def test_each_verdict_has_a_colour_and_a_finding_is_json() -> None:
    finding = Finding("warn", "clock", "it is late")
    assert finding.to_json() == {"verdict": "warn", "topic": "clock", "text": "it is late"}
    assert finding.colour == "yellow"
    assert {Finding(verdict, "", "").colour for verdict in ("ok", "note", "no")} == {"green", "blue", "red"}


# What makes a push impossible -------------------------------------------------------------------------------------------


def test_a_server_without_transactions_is_not_written_to(examined: Examined, box: Outbox) -> None:
    server = Patient(claims=lambda statement: statement["rest"][0].pop("interaction"))
    found = examined(server)
    assert verdicts(found) == {"push": "no"}
    assert "takes no transactions" in found["push"].text
    assert "To mend it: " in found["push"].text
    assert server.submits == []


def test_another_version_of_fhir_is_not_written_to(examined: Examined) -> None:
    server = Patient(claims=lambda statement: statement.update(fhirVersion="5.0.0"))
    found = examined(server)
    assert verdicts(found) == {"push": "no"}
    assert "speaks FHIR 5.0.0" in found["push"].text
    assert server.submits == []


def test_a_type_that_is_not_taken_is_named_and_the_rest_is_tried(examined: Examined) -> None:
    def claims(statement: Resource) -> None:
        rest = statement["rest"][0]
        rest["resource"] = [one for one in rest["resource"] if one["type"] != "Provenance"]

    found = examined(Patient(claims=claims))
    assert verdicts(found) == {"push": "no"}
    assert "Provenance" in found["push"].text
    assert "tried" in found["If-Match"].text


def test_a_server_that_says_no_version_is_a_warning(examined: Examined) -> None:
    assert verdicts(examined(Patient(claims=lambda statement: statement.pop("fhirVersion")))) == {"version": "warn"}


def test_a_name_that_would_steer_the_terminal_does_not(examined: Examined) -> None:
    server = Patient(claims=lambda statement: statement["software"].update(name="\x1b[2JHAPI" + "x" * 1000))
    text = examined(server, probe=False)["version"].text
    assert "\x1b" not in text
    assert len(text) < 200


def test_a_server_without_everything_is_read_by_searches(examined: Examined) -> None:
    found = examined(Patient(everything=False))
    assert verdicts(found) == {"reading": "note"}
    assert "a search for each type" in found["reading"].text


# What only trying shows ---------------------------------------------------------------------------------------------------


def test_an_ignored_if_match_is_a_no(examined: Examined) -> None:
    def ignore(bundle: Resource, submit: Callable[[Resource], Resource]) -> Resource:
        for entry in bundle["entry"]:
            entry["request"].pop("ifMatch", None)
        return submit(bundle)

    found = examined(Patient(ignore))
    assert verdicts(found) == {"If-Match": "no"}
    assert "overwritten silently" in found["If-Match"].text


@pytest.mark.parametrize(("status", "verdict"), [(409, "ok"), (412, "ok"), (422, "warn")])
def test_a_stale_version_is_to_be_refused_as_a_conflict(examined: Examined, status: int, verdict: str) -> None:
    found = examined(Patient(stale_status=status))
    assert found["If-Match"].verdict == verdict
    assert str(status) in found["If-Match"].text


def test_a_transaction_that_is_carried_out_as_a_batch_is_told(box: Outbox) -> None:
    def as_batch(bundle: Resource, submit: Callable[[Resource], Resource]) -> Resource:
        reply = submit({**bundle, "type": "batch"})
        bad = [entry for entry in reply["entry"] if not entry["response"]["status"].startswith("2")]
        if bad:
            raise refusal(409)
        return reply

    server = Patient(as_batch)
    found = [(one.topic, one.verdict) for one in examine(server, box, probe=True, now=NOW.timestamp()) if one.verdict != "ok"]
    assert found == [("transaction", "warn"), ("If-Match", "warn")]
    assert server.all("Basic") == []


def test_a_create_that_ignores_its_condition_is_a_no(examined: Examined) -> None:
    def ignore(bundle: Resource, submit: Callable[[Resource], Resource]) -> Resource:
        for entry in bundle["entry"]:
            entry["request"].pop("ifNoneExist", None)
        return submit(bundle)

    found = examined(Patient(ignore))
    assert found["conditional create"].verdict == "no"
    assert "stored twice" in found["conditional create"].text


def test_a_stale_search_is_a_no_and_what_it_hides_is_deleted(examined: Examined) -> None:
    found = examined(Cached())
    assert found["search cache"].verdict == "no"
    assert found["conditional create"].verdict == "ok"


@pytest.mark.parametrize("limit", [499, 50, 4])
def test_a_limit_is_found_and_remembered(examined: Examined, box: Outbox, limit: int) -> None:
    server = Patient(max_bundle=limit)
    found = examined(server)
    assert verdicts(found) == {"bundle size": "note"}
    most = int(box.recall(server.base, LIMIT) or 0)
    assert limit / 2 <= most <= limit
    assert f"in parts of at most {most} entries" in found["bundle size"].text
    assert f"at most {most} entries" in examined(server, probe=False)["bundle size"].text


@pytest.mark.parametrize(
    "text",
    [
        "The number of entries in the bundle exceeded the configured limit of 400.",
        "contains 500 which exceedes the maximum permitted transaction bundle size of 400",
    ],
)
def test_a_limit_that_the_server_names_is_taken_at_its_word(examined: Examined, box: Outbox, text: str) -> None:
    server = Patient(failing(refusal(400, text), nth=5))
    examined(server)
    assert box.recall(server.base, LIMIT) == "400"


def test_a_limit_that_is_gone_is_forgotten(examined: Examined, box: Outbox) -> None:
    box.remember(Patient().base, LIMIT, "20")
    assert examined(Patient())["bundle size"].verdict == "ok"
    assert box.recall(Patient().base, LIMIT) == "500"


def test_a_refusal_for_another_reason_is_no_limit(examined: Examined, box: Outbox) -> None:
    server = Patient(failing(refusal(405), nth=5))
    assert verdicts(examined(server)) == {"bundle size": "note"}
    assert box.recall(server.base, LIMIT) is None


@pytest.mark.parametrize(
    ("server", "verdict", "words"),
    [(Elsewhere, "no", "another server"), (Unlinked, "no", "1 of 3 results"), (Whole, "note", "could not be tried")],
)
def test_pages_that_do_not_lead_on(examined: Examined, server: type[Patient], verdict: str, words: str) -> None:
    found = examined(server())
    assert verdicts(found) == {"paging": verdict}
    assert words in found["paging"].text


@pytest.mark.parametrize(("minutes", "words"), [(4, ""), (-4, ""), (12, "12 minutes ahead"), (-90, "90 minutes behind")])
def test_a_clock_that_is_off(examined: Examined, minutes: int, words: str) -> None:
    found = examined(Patient(clock=lambda: NOW + timedelta(minutes=minutes)))
    assert found["clock"].verdict == ("warn" if words else "ok")
    assert words in found["clock"].text


def test_without_probe_a_search_tells_the_time(examined: Examined) -> None:
    assert "20 minutes ahead" in examined(Dated(), probe=False)["clock"].text


@pytest.mark.parametrize(
    ("base", "verdict"),
    [
        ("https://fhir.example.org/r4", "ok"),
        ("http://fhir.example.org/r4", "warn"),
        ("http://10.1.2.3/r4", "warn"),
        ("http://localhost:8080/fhir", "ok"),
        ("http://127.0.0.1:8080/fhir", "ok"),
        ("http://[::1]:8080/fhir", "ok"),
        ("http://localhost.example.org/fhir", "warn"),
    ],
)
def test_only_what_leaves_the_machine_has_to_be_encrypted(examined: Examined, base: str, verdict: str) -> None:
    assert examined(Patient(base=base), probe=False)["encryption"].verdict == verdict


# What goes wrong on the way ------------------------------------------------------------------------------------------------


def test_a_server_that_cannot_be_had_at_all_is_no_finding(box: Outbox) -> None:
    class Silent(Patient):
        def capabilities(self) -> Resource:
            raise lost()

    with pytest.raises(ServerUnavailable):
        examine(Silent(), box, probe=True, now=NOW.timestamp())


def test_a_login_that_is_refused_is_a_no(examined: Examined) -> None:
    class Closed(Patient):
        def search(self, resource_type: str, criteria: Criteria) -> Resource:
            raise refusal(401)

    found = examined(Closed(), probe=False)
    assert found["login"].verdict == "no"
    assert "it was refused" in found["login"].text


def test_no_basic_there_is_a_note_and_nothing_is_written(examined: Examined) -> None:
    def claims(statement: Resource) -> None:
        rest = statement["rest"][0]
        rest["resource"] = [one for one in rest["resource"] if one["type"] != "Basic"]

    server = Patient(claims=claims)
    found = examined(server)
    assert found["probes"].verdict == "note"
    assert "Basic" in found["probes"].text
    assert found["transaction"].text.startswith("the server says")
    assert server.submits == []


def test_basic_refused_is_a_warning(examined: Examined) -> None:
    found = examined(Patient(failing(refusal(403), nth=1)))
    assert found["transaction"].verdict == "warn"
    assert "it was refused" in found["transaction"].text
    assert found["If-Match"].text.startswith("not tried")


@pytest.mark.parametrize(
    ("nth", "topic"), [(1, "transaction"), (2, "conditional create"), (3, "If-Match"), (4, "If-Match"), (5, "bundle size")]
)
@pytest.mark.parametrize("done", [False, True])
def test_an_answer_that_is_lost_is_told_and_nothing_stays(examined: Examined, nth: int, topic: str, *, done: bool) -> None:
    found = examined(Patient(failing(lost(), nth=nth, done=done)))
    assert found[topic].verdict == "warn"
    assert "not tried to the end: the answer was lost" in found[topic].text


def test_a_deletion_that_fails_is_tried_again(examined: Examined) -> None:
    server = Patient(failing(lost(), nth=6))
    assert verdicts(examined(server)) == {}
    assert server.submits[-1]["type"] == "batch"


def test_probes_are_deleted_also_when_the_doctor_is_stopped(box: Outbox) -> None:
    class Stopped(Exception):
        """As Ctrl-C is, but pytest lives on."""

    server = Patient(failing(Stopped(), nth=5))
    with pytest.raises(Stopped):
        examine(server, box, probe=True, now=NOW.timestamp())
    assert server.all("Basic") == []
    assert {entry["request"]["method"] for entry in server.submits[-1]["entry"]} == {"DELETE"}


def test_what_cannot_be_deleted_is_told_by_its_identifier(box: Outbox) -> None:
    def keep(bundle: Resource, submit: Callable[[Resource], Resource]) -> Resource:
        if any(entry["request"]["method"] == "DELETE" for entry in bundle["entry"]):
            raise refusal(405)
        return submit(bundle)

    server = Patient(keep)
    last = examine(server, box, probe=True, now=NOW.timestamp())[-1]
    assert (last.verdict, last.topic) == ("warn", "probes")
    left = [one["identifier"][0] for one in server.all("Basic")]
    assert len(left) == 3
    assert {one["system"] for one in left} == {PROBE}
    assert all(last.text.endswith(one["value"].partition("-")[0]) for one in left)


def test_answers_without_locations_are_searched_for(examined: Examined) -> None:
    def silent(bundle: Resource, submit: Callable[[Resource], Resource]) -> Resource:
        return {**submit(bundle), "entry": [None, {"response": "?"}]}

    assert verdicts(examined(Patient(silent))) == {}


# By the command ---------------------------------------------------------------------------------------------------------------


def doctor(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["sync", "doctor", *arguments])


def test_the_command_says_a_line_for_each_topic() -> None:
    with FakeFhir() as fake:
        result = doctor("--server", fake.base, "--probe")
        assert fake.memory.all() == []
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert [line.partition(": ")[0] for line in lines] == [f"ok    {topic}" for topic in ASKED + TRIED]


def test_the_command_gives_json() -> None:
    with FakeFhir(everything=False) as fake:
        result = doctor("--server", fake.base, "--json")
    assert result.exit_code == 0
    found: Any = json.loads(result.stdout_bytes)
    assert [one["topic"] for one in found] == ASKED + TRIED
    assert {"verdict": "note", "topic": "reading", "text": found[3]["text"]} in found


def test_the_command_ends_with_1_where_push_cannot_be_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RestServer, "capabilities", lambda self: {**MemoryServer(self.base).capabilities(), "rest": []})
    with FakeFhir() as fake:
        result = doctor("--server", fake.base, "--probe")
    assert result.exit_code == 1
    assert "no    push: the server takes no transactions" in result.stdout


def test_the_command_ends_with_4_where_nobody_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    def silent(_self: RestServer) -> Resource:
        raise lost()

    monkeypatch.setattr(RestServer, "capabilities", silent)
    result = doctor("--server", "http://127.0.0.1:1/fhir")
    assert result.exit_code == 4
    assert result.stdout == ""


@pytest.mark.server
def test_a_real_server_is_ok_and_is_left_as_it_was(hapi_server: HapiServer, box: Outbox) -> None:
    with RestServer(hapi_server.base) as server:
        found = examine(server, box, probe=True, now=time.time())
        left = server.search("Basic", [("identifier", f"{PROBE}|"), ("_summary", "count")])
    assert [one for one in found if one.verdict != "ok"] == []
    assert [one.topic for one in found] == ASKED + TRIED
    assert left["total"] == 0
