"""The threads of the service that send: nothing but `stopping` ends them, and then nothing is lost."""

from __future__ import annotations

import signal
import threading
import types
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from service.api import gunicorn_hooks
from service.api.gunicorn_hooks import post_worker_init
from service.config import Settings
from service.errors import OutboxFull, ServerRefused, ServerUnavailable
from service.fhir import json
from service.issues import Issue
from service.sync import worker
from service.sync.outbox import LeaseLost, State, default_url, open_outbox
from service.sync.push import Pusher
from tests.support.deployment import small
from tests.support.loopback import PATIENCE
from tests.support.synced import BASE, OTHER, Site, Watched, eventually, raising, site

FORBIDDEN = ServerRefused([Issue("error", "forbidden", "sync-refused", "CANARY", fix="ask")], status=403)
LOCKED = OutboxFull([Issue("error", "lock-error", "sync-outbox-locked", "CANARY", fix="wait")])


@pytest.fixture
def here(settings: Settings) -> Iterator[Site]:
    with site(settings, Watched()) as made:
        yield made


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "_LOOK_AGAIN", 0.01)
    monkeypatch.setattr(worker, "_FAILED_FOR", 0.01)


def settled(here: Site, address: str) -> dict[str, Any]:
    job = json.loads(here.done(address).data)
    assert isinstance(job, dict)
    return job


def test_what_is_accepted_is_sent(here):
    here.sync.start()
    assert settled(here, here.pushed(small()))["ok"] is True


def test_what_lay_there_before_is_sent_too(here):
    address = here.pushed(small())
    here.sync.start()
    assert settled(here, address)["ok"] is True


def test_starting_twice_starts_once(here):
    here.sync.start()
    count = threading.active_count()
    here.sync.start()
    assert threading.active_count() == count


def test_each_server_gets_its_own_and_a_server_that_is_not_configured_nothing(settings):
    with site(settings, Watched(), Watched(OTHER)) as made:
        elsewhere = made.sync.outbox().accept("run", [replace(_submission(made), target="https://third.example.org/r4")])
        made.sync.start()
        assert settled(made, made.pushed(small()))["server"] == BASE
        assert settled(made, made.pushed(small("small-2"), f"?server={OTHER}"))["server"] == OTHER
        assert made.sync.outbox().job(elsewhere[0].id).state is State.QUEUED


def _submission(here: Site) -> Any:
    from service.api.engines import Engines
    from service.transfer import Transfer

    engines = here.app.extensions["casebridge"]
    assert isinstance(engines, Engines)
    transfer = Transfer(engines.get("myeloma"))
    wanted, _issues = transfer.wanted(json.dumps(small("small-3")))
    assert wanted is not None
    return transfer.submission(wanted, BASE)


def test_a_server_that_refuses_everything_is_left_alone_for_minutes(here, caplog):
    here.server.fails = raising(FORBIDDEN)
    address = here.pushed(small())
    here.sync.start()
    box = here.sync.outbox()
    until = eventually(lambda: box.held(BASE, 0.0))
    job = eventually(lambda: job if (job := box.job(address[-32:])).state is State.QUEUED else None)
    assert until > job.updated + 60
    assert (job.reason, job.attempts) == ("sync-refused", 0)
    waiting = here.get(address)
    assert (waiting.status_code, waiting.headers["X-Progress"]) == (202, "queued")
    assert "sync-refused" in caplog.text
    assert "CANARY" not in caplog.text


def test_and_is_asked_again_then(here, monkeypatch):
    monkeypatch.setattr(worker, "_REFUSED_FOR", 0.01)
    monkeypatch.setattr(Pusher, "_backoff", lambda _self, _attempt: 0.0)
    here.server.fails = raising(FORBIDDEN)
    address = here.pushed(small())
    here.sync.start()
    eventually(lambda: here.server.asked > 2)
    here.server.fails = lambda: None
    assert settled(here, address)["ok"] is True


def test_an_outbox_that_fails_does_not_end_them(here, monkeypatch, caplog):
    box = here.sync.outbox()
    claim, failed = box.claim, threading.Event()

    def fail_once(*arguments: Any, **options: Any) -> Any:
        if not failed.is_set():
            failed.set()
            raise LOCKED
        return claim(*arguments, **options)

    monkeypatch.setattr(box, "claim", fail_once)
    here.sync.start()
    assert failed.wait(PATIENCE)
    assert settled(here, here.pushed(small()))["ok"] is True
    assert "sync-outbox-locked" in caplog.text
    assert "CANARY" not in caplog.text


@pytest.mark.parametrize("error", [LeaseLost(), KeyError("CANARY")], ids=["lease", "bug"])
def test_neither_does_a_lost_lease_or_a_fault_of_ours(here, monkeypatch, caplog, error):
    run, failed = Pusher.run, threading.Event()

    def fail_once(self: Pusher, job: Any) -> Any:
        if not failed.is_set():
            failed.set()
            raise error
        return run(self, job)

    monkeypatch.setattr(Pusher, "run", fail_once)
    here.sync.start()
    here.pushed(small())
    assert failed.wait(PATIENCE)
    assert settled(here, here.pushed(small("small-2")))["ok"] is True
    assert "CANARY" not in caplog.text


def test_an_outbox_that_cannot_be_opened_is_opened_later(settings, monkeypatch):
    monkeypatch.setattr("service.api.sync._OPEN_AGAIN", 0.01)
    settings.home.mkdir(parents=True)
    (settings.home / "outbox.db").mkdir()
    with site(settings, Watched()) as made:
        made.sync.start()
        assert made.get("/health/ready").status_code == 503
        (settings.home / "outbox.db").rmdir()
        assert settled(made, made.pushed(small()))["ok"] is True


def test_a_server_that_is_away_gets_it_when_it_is_back(here):
    away = ServerUnavailable([Issue("error", "transient", "sync-connect", "nothing listens", fix="start it")], retry_after=0.01)
    here.server.fails = raising(away)
    address = here.pushed(small())
    here.sync.start()
    eventually(lambda: here.server.asked > 2)
    here.server.fails = lambda: None
    assert settled(here, address)["ok"] is True


def test_stopping_finishes_the_jobs_in_hand_and_begins_no_other(here, settings):
    go_on = threading.Event()
    here.server.fails = lambda: go_on.wait(PATIENCE)
    for number in range(9):
        here.pushed(small(f"small-{number}"))
    here.sync.start()
    eventually(lambda: here.sync.outbox().counts()[State.SENDING] == 4)
    here.sync.stopping.set()
    go_on.set()
    here.sync.stop(PATIENCE)
    with open_outbox(default_url(settings.home)) as box:
        counts = box.counts()
    assert (counts[State.CONFIRMED], counts[State.QUEUED]) == (4, 5)


def test_stopping_does_not_wait_for_ever(here, settings):
    reached, go_on = threading.Event(), threading.Event()

    def hold() -> None:
        reached.set()
        assert go_on.wait(PATIENCE)

    here.server.fails = hold
    address = here.pushed(small())
    here.sync.start()
    assert reached.wait(PATIENCE)
    here.sync.stop(0.0)
    with open_outbox(default_url(settings.home)) as box:
        assert box.job(address[-32:]).state is State.SENDING
    go_on.set()


# --- under gunicorn --------------------------------------------------------------------------------------------------------


def test_sigterm_in_a_worker_stops_it_once_the_jobs_in_hand_are_done(here):
    ended = threading.Event()
    config = types.SimpleNamespace(graceful_timeout=PATIENCE)
    gunicorn = types.SimpleNamespace(wsgi=here.app, cfg=config, handle_exit=lambda _signal, _frame: ended.set())
    before = signal.getsignal(signal.SIGTERM)
    try:
        post_worker_init(gunicorn)
        assert settled(here, here.pushed(small()))["ok"] is True, "it sends by itself"
        signal.raise_signal(signal.SIGTERM)
        assert here.sync.stopping.is_set()
        assert ended.wait(PATIENCE)
    finally:
        signal.signal(signal.SIGTERM, before)


def test_gunicorn_finds_the_hook_by_its_name():
    from gunicorn.config import Config

    hooks = set(vars(gunicorn_hooks)) & set(Config().settings)
    assert hooks == {"post_worker_init"}
