"""Cases pulled over HTTP: one at once, many as a job whose result lies in a folder until it is fetched and deleted."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest

from service.api import pulls
from service.api.pulls import Pull
from service.config import Settings
from service.errors import ServerRefused, ServerUnavailable
from service.fhir import json
from service.issues import Issue
from service.sync.outbox import this_worker
from tests.support.deployment import small
from tests.support.loopback import PATIENCE
from tests.support.synced import Site, Watched, lines, raising, site

BUSY = ServerUnavailable([Issue("error", "transient", "sync-lost", "the answer was lost", fix="try again")])
REFUSED = ServerRefused([Issue("error", "login", "sync-login", "it lets nobody in", fix="log in")], status=401)


@pytest.fixture
def here(settings: Settings) -> Iterator[Site]:
    """A server that holds two cases."""
    with site(settings, Watched()) as made:
        for case in ("small-1", "small-2"):
            made.pushed(small(case))
        made.drain()
        yield made


def start(here: Site, asked: str = "all") -> str:
    response = here.post("/sync/pull", {asked: True})
    assert response.status_code == 202, response.get_data(as_text=True)
    assert json.loads(response.data)["state"] == "queued"
    return str(response.headers["Content-Location"])


def cases(found: list[dict[str, object]]) -> set[str]:
    return {one["case"]["case"] for one in found}


class Stop:
    """Holds the server where it stands, until it is let go."""

    def __init__(self, server: Watched, *, after: int = 0) -> None:
        self.reached, self._go_on, self._left = threading.Event(), threading.Event(), after
        server.fails = self.wait

    def wait(self) -> None:
        self._left -= 1
        if self._left < 0:
            self.reached.set()
            assert self._go_on.wait(PATIENCE)

    def go_on(self) -> None:
        self._go_on.set()


# --- one ------------------------------------------------------------------------------------------------------------------


def test_a_case_comes_back_as_it_was(here):
    found = json.loads(here.post("/sync/pull", {"case": "small-1"}).data)
    assert found["case"] == small("small-1")
    assert found["identity"]
    assert found["outcome"]["resourceType"] == "OperationOutcome"


def test_what_the_form_cannot_hold_is_told(here):
    [patient] = [one for one in here.server.all("Patient") if one["identifier"][0]["value"] == identity(here, "small-1")]
    here.server.edit("Patient", patient["id"], lambda one: one.update(maritalStatus={"text": "CANARY"}))
    found = json.loads(here.post("/sync/pull", {"case": "small-1"}).data)
    [told] = [one for one in found["outcome"]["issue"] if one["severity"] != "information"]
    assert "CANARY" not in json.dumps(told).decode()


def identity(here: Site, case: str) -> str:
    return str(json.loads(here.post("/sync/pull", {"case": case}).data)["identity"])


def test_a_case_that_is_not_there_is_404(here, refusal):
    response = here.post("/sync/pull", {"case": "CANARY"})
    [found] = refusal(response, 404)
    assert found["code"] == "not-found"
    assert b"CANARY" not in response.data


def test_by_identifier_there_may_be_several(here, refusal):
    for number, patient in enumerate(here.server.all("Patient")):
        ours = [{"system": "urn:ours", "value": "all"}, {"system": "urn:ours", "value": f"only-{number}"}]
        here.server.edit("Patient", patient["id"], lambda one, ours=ours: one["identifier"].extend(ours))
    one = json.loads(here.post("/sync/pull", {"identifier": {"system": "urn:ours", "value": "only-1"}}).data)
    assert one["case"]["case"] == "small-2"
    both = json.loads(here.post("/sync/pull", {"identifier": {"system": "urn:ours", "value": "all"}}).data)
    assert cases(both["cases"]) == {"small-1", "small-2"}
    refusal(here.post("/sync/pull", {"identifier": {"system": "urn:ours", "value": "none"}}), 404)


@pytest.mark.parametrize(
    "asked",
    [
        {},
        [],
        None,
        {"case": ""},
        {"case": 1},
        {"case": "a", "all": True},
        {"all": False},
        {"all": 1},
        {"sinceLast": "yes"},
        {"identifier": "a|b"},
        {"identifier": {"system": "a"}},
        {"identifier": {"system": "a", "value": ""}},
        {"identifier": {"system": "a", "value": "b", "use": "usual"}},
        {"nosuch": True},
    ],
    ids=str,
)
def test_a_body_that_asks_for_nothing_known_is_400(app, client, refusal, asked):
    response = client.post("/sync/pull", data=json.dumps(asked), content_type="application/json")
    [found] = refusal(response, 400)
    assert "sinceLast" in found["diagnostics"]


# --- many -----------------------------------------------------------------------------------------------------------------


def test_all_cases_as_a_job(here, settings):
    address = start(here)
    done = here.done(address)
    found = lines(done)
    assert cases(found) == {"small-1", "small-2"}
    assert {one["identity"] for one in found} == {identity(here, "small-1"), identity(here, "small-2")}
    assert all(one["outcome"]["resourceType"] == "OperationOutcome" for one in found)
    assert done.headers["Cache-Control"] == "no-store"
    assert lines(here.get(address, headers={"Accept": "application/x-ndjson"})) == found
    assert here.delete(address).status_code == 204
    assert here.get(address).status_code == 404
    assert here.delete(address).status_code == 404
    assert list((settings.home / "pulled").iterdir()) == []


def test_it_is_202_with_its_progress_while_it_goes_on(here):
    stop = Stop(here.server, after=2)
    address = start(here)
    assert stop.reached.wait(PATIENCE)
    response = here.get(address)
    assert response.status_code == 202
    assert response.headers["X-Progress"].startswith("running, ")
    assert int(response.headers["Retry-After"]) > 0
    stop.go_on()
    assert len(lines(here.done(address))) == 2


def test_another_process_knows_it(here, settings):
    stop = Stop(here.server)
    address = start(here)
    assert stop.reached.wait(PATIENCE)
    with site(settings, Watched()) as another:
        assert another.get(address).status_code == 202
        stop.go_on()
        here.done(address)
        assert len(lines(another.get(address))) == 2
        assert another.delete(address).status_code == 204
    assert here.get(address).status_code == 404


def test_only_what_has_changed_since_the_last_time(here):
    assert len(lines(here.done(start(here, "sinceLast")))) == 2
    assert lines(here.done(start(here, "sinceLast"))) == []
    here.pushed(small("small-2", lambda record: record["labs"][0].update(value=99)))
    here.drain()
    [changed] = lines(here.done(start(here, "sinceLast")))
    assert changed["case"]["case"] == "small-2"


def test_the_mark_stays_where_the_pull_failed(here, refusal):
    here.server.fails = raising(BUSY)
    refusal(here.done(start(here, "sinceLast")), 503)
    here.server.fails = lambda: None
    assert len(lines(here.done(start(here, "sinceLast")))) == 2


def test_deleting_it_ends_it(here, settings):
    stop = Stop(here.server, after=2)
    address = start(here, "sinceLast")
    assert stop.reached.wait(PATIENCE)
    assert here.delete(address).status_code == 204
    assert here.get(address).status_code == 404
    stop.go_on()
    assert len(lines(here.done(start(here, "sinceLast")))) == 2, "the thread lives, and the mark was not moved"
    assert len(list((settings.home / "pulled").iterdir())) == 1


@pytest.mark.parametrize(("error", "status"), [(BUSY, 503), (REFUSED, 502), (RuntimeError("CANARY"), 500)], ids=str)
def test_a_failure_is_the_answer_and_what_was_pulled_goes(here, settings, refusal, caplog, error, status):
    stop = Stop(here.server, after=1)
    address = start(here)
    assert stop.reached.wait(PATIENCE)
    here.server.fails = raising(error)
    stop.go_on()
    response = here.done(address)
    refusal(response, status)
    assert b"CANARY" not in response.data
    assert "CANARY" not in caplog.text
    assert list((settings.home / "pulled").rglob("*.ndjson")) == []
    assert here.delete(address).status_code == 204


def test_one_whose_process_died_has_failed(here, refusal):
    address = start(here)
    here.done(address)
    job_id = address.rpartition("/")[2]
    dead = str(replace(this_worker(), started="1"))
    here.sync.pulls._write(job_id, Pull("running", dead, cases=1))
    [found] = refusal(here.get(address), 503)
    assert "ask for the pull again" in found["diagnostics"]


def test_a_service_that_stops_ends_it_after_the_case_in_hand(here, refusal):
    stop = Stop(here.server, after=1)
    address = start(here)
    assert stop.reached.wait(PATIENCE)
    here.sync.stopping.set()
    stop.go_on()
    refusal(here.done(address), 503)


def test_there_is_a_bound_and_a_day(here, settings, refusal, monkeypatch):
    monkeypatch.setattr(pulls, "MOST", 2)
    first, second = start(here), start(here)
    here.done(second)
    response = here.post("/sync/pull", {"all": True})
    refusal(response, 503)
    assert response.headers["Retry-After"]
    os.utime(settings.home / "pulled" / first.rpartition("/")[2], (0, 0))
    here.done(start(here))
    assert here.get(first).status_code == 404
    assert here.get(second).status_code == 200


def test_its_files_are_for_their_owner_only_and_named_by_nothing(here, settings):
    address = start(here)
    here.done(address)
    folder = settings.home / "pulled"
    [one] = folder.iterdir()
    assert one.name == address.rpartition("/")[2]
    assert [path.stat().st_mode & 0o777 for path in (folder, one)] == [0o700, 0o700]
    files = {path.name: path.stat().st_mode & 0o777 for path in one.iterdir()}
    assert files == {"state.json": 0o600, "cases.ndjson": 0o600}


def test_where_nothing_can_be_stored_it_is_507(here, settings, refusal):
    (settings.home / "pulled").write_text("in the way")
    refusal(here.post("/sync/pull", {"all": True}), 507)


def test_a_case_may_be_longer_on_the_server_than_the_service_takes(settings):
    with site(settings, Watched()) as large:
        large.pushed(small("small-1"))
        long = small("small-2", lambda record: record["labs"][0].update(note="long" * 5000))
        large.pushed(long)
        large.drain()
        with site(replace(settings, max_bytes=15_000), large.server) as narrow:
            found = lines(narrow.done(start(narrow)))
    assert long in [one["case"] for one in found]
    assert all(one["case"] for one in found)
