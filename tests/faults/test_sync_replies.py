"""Replies that end too early, never, elsewhere or in a circle: the whole of push and pull, over HTTP."""

from __future__ import annotations

import functools
import itertools
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from service.engine import Engine
from service.errors import ServerRefused
from service.examples import EXAMPLE_KEY
from service.fhir import json
from service.sync import compartment, pages
from service.sync.canonical import URN, identity_of
from service.sync.outbox import State
from service.sync.pull import Mark
from service.sync.pull import changed as changed_since
from service.sync.rest import Limits
from tests.faults.over_http import (
    Scripted,
    casebridge,
    deployed,
    drain,
    identities,
    long,
    once,
    page,
    searching,
    texts,
    transaction,
)
from tests.support.deployment import Deployment, counts, small
from tests.support.http_faults import When
from tests.support.loopback import PATIENCE, Exchange, Request

AT = "fake server"


@pytest.fixture(params=[True, False], ids=["everything", "searches"])
def fake(request: pytest.FixtureRequest) -> Iterator[Scripted]:
    """With and without Patient/$everything; on each page there are two resources."""
    with Scripted(page_size=2, everything=request.param) as server:
        yield server


@pytest.fixture
def site(engine: Engine, fake: Scripted, tmp_path: Path) -> Iterator[Deployment]:
    with deployed(engine, tmp_path / "home", fake) as deployment:
        yield deployment


@pytest.fixture
def case() -> dict[str, Any]:
    return long()


@pytest.fixture(autouse=True)
def _same_key(monkeypatch: pytest.MonkeyPatch, _own_home: None) -> None:
    """The command is of the deployment that the fixture `engine` is of."""
    monkeypatch.setenv("CASEBRIDGE_KEY", EXAMPLE_KEY.decode())


# pages ------------------------------------------------------------------------------------------------


def at_offset(offset: int) -> When:
    return lambda request: request.path.endswith(f"_getpagesoffset={offset}")


def expire(fake: Scripted) -> Callable[[Exchange], None]:
    """Between two pages the server forgets all searches."""

    def act(exchange: Exchange) -> None:
        fake.memory.expire_pages()
        exchange.send(exchange.carry_out())

    return act


@pytest.mark.parametrize(("offset", "times"), [(2, 1), (6, 1), (6, 3)])
def test_r22_a_search_that_expired_begins_anew_and_gives_what_was_missing(fault, site, fake, case, offset, times):
    site.push(case)
    fake.inject("410", expire(fake), times, at_offset(offset))
    pulled = site.pull(case["case"])
    fault.injected("410 for a page that expired", times)
    assert fake.injected["410"] == times
    urls = [url for url, _resource in pulled.resources]
    assert (len(urls), set(urls)) == (len(identities(site, case)), identities(site, case))
    assert site.restored(case) == case


def test_r22_a_pull_that_failed_leaves_no_mark(fault, site, fake, case, tmp_path):
    """Pages that expire for ever end it; the next pull begins where the last good one ended."""
    site.push(case)
    out = tmp_path / "out"
    words = ("pull", "--server", fake.base, "--since-last", "-o", out)
    fake.inject("410", expire(fake), None, at_offset(4))
    assert casebridge(*words).exit_code == 4
    fault.injected("410 for a page that expired", fake.injected["410"])
    assert (fake.injected["410"], list(out.iterdir())) == (pages.MOST_RESTARTS + 1, [])
    fake.clear()
    assert casebridge(*words).exit_code == 0
    [path] = out.iterdir()
    assert identities(site, json.loads(path.read_bytes())) == identities(site, case)
    path.unlink()
    assert casebridge(*words).exit_code == 0
    assert list(out.iterdir()) == []


def test_r24_pages_that_became_empty_are_passed_over(fault, site, fake, case):
    site.push(case)
    gone = fake.memory.all("Observation")[6:11]

    def delete(exchange: Exchange) -> None:
        for one in gone:
            fake.memory.delete("Observation", one["id"])
        exchange.send(exchange.carry_out())

    since = len(fake.replies)
    fake.inject("delete", delete, when=at_offset(4))
    pulled = site.pull(case["case"])
    bundles = [reply.json for reply in fake.replies[since:]]
    empty = [one for one in bundles if "entry" not in one and any(link["relation"] == "next" for link in one["link"])]
    fault.injected("a resource deleted between two pages", len(gone))
    fault.injected("an empty page with a next link", len(empty))
    assert empty
    left = identities(site, case) - {URN + str(identity_of(one, site.transfer.system)) for one in gone}
    assert {url for url, _resource in pulled.resources} == left
    assert len(pulled.resources) == len(left) == len(identities(site, case)) - len(gone)


def of_last_search(fake: Scripted) -> list[Request]:
    """The pages that were asked for of the search that was last."""
    search = fake.asked(page)[-1].path.partition("&")[0]
    return fake.asked(lambda request: request.path.startswith(f"{search}&"))


@pytest.mark.parametrize("most", [1, 3], ids=["to itself", "to an earlier page"])
def test_r26_pages_in_a_circle_end_the_pull(fault, site, fake, case, tmp_path, most):
    site.push(case)
    seen: dict[str, list[str]] = {}

    def lead_back(body: Any) -> None:
        for link in body.get("link", ()):
            if link["relation"] == "next":
                urls = seen.setdefault(link["url"].partition("&")[0], [])
                urls.append(link["url"])
                link["url"] = urls[0] if len(urls) > most else link["url"]

    fake.alter("loop", lead_back, times=None)
    with pytest.raises(ServerRefused) as caught:
        site.pull(case["case"])
    fault.injected("a next link to a page seen before", 2)
    assert (caught.value.status, caught.value.issues[0].rule) == (0, "sync-page-loop")
    assert len(of_last_search(fake)) == most
    done = casebridge("pull", "--server", fake.base, "--case", case["case"], "-o", tmp_path / "out")
    assert (done.exit_code, list((tmp_path / "out").iterdir())) == (4, [])
    assert len(of_last_search(fake)) == most


def test_r26_pages_without_end_do_so_too(fault, site, fake, case, monkeypatch):
    """Each link is a new one. A short rope, for the real one is of 10,000 pages."""
    site.push(case)
    monkeypatch.setattr(compartment, "resources", functools.partial(pages.resources, most_pages=25))
    number = itertools.count()

    def lead_on(body: Any) -> None:
        for link in body.get("link", ()):
            if link["relation"] == "next":
                link["url"] = f"{link['url'].rpartition('=')[0]}=2&n={next(number)}"

    fake.alter("endless", lead_on, times=None)
    with pytest.raises(ServerRefused) as caught:
        site.pull(case["case"])
    fault.injected("a next link to one more page", 25)
    assert caught.value.issues[0].rule == "sync-page-loop"
    assert len(of_last_search(fake)) == 25


# bodies that break off or never end -------------------------------------------------------------------------

HOW = {"length": "short of its length", "chunked": "in chunks without an end", "close": "closed early"}


def batch(request: Request) -> bool:
    return request.body.startswith(b'{"resourceType":"Bundle","type":"batch"')


def metadata(request: Request) -> bool:
    return request.path.endswith("/metadata")


@pytest.mark.parametrize("at", [0, None, -1], ids=["nothing", "half", "but one byte"])
@pytest.mark.parametrize("how", HOW)
def test_r23_a_cut_answer_to_a_transaction_is_resolved_by_reading(fault, site, fake, case, how, at):
    fake.cut(how, when=transaction, at=at)
    fault.injected(f"the answer to a transaction cut: {HOW[how]}")
    site.accept(case)
    assert site.attempt().state is State.UNKNOWN
    drain(site)
    [job] = site.outbox.jobs()
    assert (job.state, job.attempts, counts(job)) == (State.CONFIRMED, 2, {"unchanged": len(identities(site, case))})
    assert len(fake.asked(transaction)) == 1
    assert len(fake.memory.all("Provenance")) == 1
    assert once(site, fake, case)


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("when", [searching, page], ids=lambda when: when.__name__)
def test_r23_a_cut_page_is_read_again(fault, site, fake, case, how, when):
    site.push(case)
    fake.cut(how, when=when)
    fault.injected(f"the answer to a read cut: {HOW[how]}")
    assert site.restored(case) == case
    first, again = fake.asked(when)[:2]
    assert (first.path, first.body) == (again.path, again.body)


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("when", [metadata, batch], ids=lambda when: when.__name__)
def test_r23_so_is_what_is_asked_before_a_write(fault, site, fake, how, when):
    fake.cut(how, when=when)
    fault.injected(f"the answer to a read cut: {HOW[how]}")
    assert site.push(small()).state is State.CONFIRMED
    assert counts(site.push(small())) == {"unchanged": 5}
    assert len(fake.asked(transaction)) == 1
    assert once(site, fake, small())


@pytest.mark.parametrize("how", HOW)
def test_r23_no_file_holds_half_a_case(fault, site, fake, case, tmp_path, monkeypatch, how):
    monkeypatch.setattr("random.random", lambda: 0.0)
    site.push(case)
    fake.cut(how, None, page)
    done = casebridge("pull", "--server", fake.base, "--case", case["case"], "-o", tmp_path / "out")
    fault.injected(f"the answer to a read cut: {HOW[how]}", fake.injected["cut"])
    assert (done.exit_code, fake.injected["cut"]) == (4, Limits().attempts)
    assert list((tmp_path / "out").iterdir()) == []


class Timer:
    """In the place of threading.Timer: it goes off when the test says so."""

    made: list[Timer]

    def __init__(self, seconds: float, act: Callable[[], None]) -> None:
        self.seconds, self.act, self.runs, self.daemon = seconds, act, False, False
        self.made.append(self)

    def start(self) -> None:
        self.runs = True

    def cancel(self) -> None:
        self.runs = False


@pytest.fixture
def timers(monkeypatch: pytest.MonkeyPatch) -> list[Timer]:
    monkeypatch.setattr(Timer, "made", [], raising=False)
    monkeypatch.setattr(threading, "Timer", Timer)
    return Timer.made


def drip(timers: list[Timer], *, head: bool) -> Callable[[Exchange], None]:
    """Crumbs until the client goes away; when a hundred of them have come, its time is over."""

    def act(exchange: Exchange) -> None:
        reply = exchange.carry_out()
        if head:
            exchange.write(b"HTTP/1.1 200 OK\r\nX-Drip: ")
        else:
            exchange.begin(reply, {"Transfer-Encoding": "chunked"})
        crumb = b"a" if head else b"1\r\n \r\n"
        for _ in range(100):
            exchange.write(crumb)
        [timer] = [one for one in timers if one.runs]
        timer.act()
        for _ in range(2000):  # long enough to see it go, and an end where it would stay
            exchange.closing.wait(0.001)
            exchange.write(crumb)
        exchange.hang_up()

    return act


@pytest.mark.parametrize("head", [True, False], ids=["head", "body"])
@pytest.mark.parametrize("when", [transaction, searching, page], ids=lambda when: when.__name__)
def test_r28_a_drip_ends_with_the_time_of_the_whole_request(fault, site, fake, case, timers, when, head):
    if when is not transaction:
        site.push(case)
    fake.inject("drip", drip(timers, head=head), when=when)
    fault.injected(f"a {'head' if head else 'body'} that never ends")
    if when is transaction:
        site.accept(case)
        job = site.attempt()
        assert (job.state, job.reason, texts(job)[0][-18:]) == (State.UNKNOWN, "sync-deadline", "within 120 seconds")
        drain(site)
        assert counts(site.outbox.job(job.id)) == {"unchanged": len(identities(site, case))}
    assert site.restored(case) == case
    assert once(site, fake, case)
    assert fake.left.wait(PATIENCE), "the server was told by the end of the connection"
    assert len(timers) == len(fake.journal)
    assert {(timer.seconds, timer.runs) for timer in timers} == {(Limits().total, False)}


# time -------------------------------------------------------------------------------------------------------------


def pulled(site: Deployment, mark: Mark) -> tuple[list[str], Mark]:
    """The ids of the Patients of whom something has changed, and the next mark."""
    found, after = changed_since(site.server, site.transfer.deployment, site.transfer.types, mark)
    return [str(one["id"]) for one in found], after


# The second is earlier than the watermark: a server dates a transaction by its beginning, and shows it at its end.
@pytest.mark.parametrize("before", [timedelta(0), timedelta(minutes=4)], ids=["the same millisecond", "an earlier one"])
def test_r27_a_change_that_is_dated_no_later_than_the_last_pull_is_not_missed(fault, engine, tmp_path, before):
    moment = datetime(2026, 5, 7, 10, 0, 0, 123_000, UTC)
    with Scripted(clock=lambda: moment) as fake, deployed(engine, tmp_path / "home", fake) as site:
        site.push(small())
        [patient] = [one["id"] for one in fake.memory.all("Patient")]
        found, mark = pulled(site, Mark())
        assert (found, datetime.fromisoformat(mark.latest["Patient"])) == ([patient], moment)
        moment -= before
        for observation in fake.memory.all("Observation"):
            fake.memory.edit("Observation", observation["id"], lambda one: one.update(status="amended"))
            fault.injected("an edit dated at the watermark or before")
            found, mark = pulled(site, mark)
            assert (found, pulled(site, mark)[0]) == ([patient], [])
        site.push(small("small-2"))
        fault.injected("a case dated at the watermark or before")
        found, mark = pulled(site, mark)
        assert found == [one["id"] for one in fake.memory.all("Patient")[1:]]
        assert pulled(site, mark)[0] == []
