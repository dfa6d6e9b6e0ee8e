"""Writing to a server that is busy, broken, strict or strange: the whole of push, over HTTP."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from service.engine import Engine
from service.fhir import json
from service.sync.canonical import URN
from service.sync.outbox import State, default_url, open_outbox
from service.sync.plan import Wanted
from service.sync.push import Patience
from service.sync.rest import Limits
from tests.faults.over_http import (
    Scripted,
    casebridge,
    changed,
    deployed,
    drain,
    of,
    once,
    outcome,
    said,
    searching,
    transaction,
)
from tests.support.deployment import Deployment, counts, rules, small
from tests.support.faults import CANARY
from tests.support.http_faults import When

AT = "fake server"


@pytest.fixture
def fake() -> Iterator[Scripted]:
    with Scripted() as server:
        yield server


@pytest.fixture
def site(engine: Engine, fake: Scripted, tmp_path: Path) -> Iterator[Deployment]:
    with deployed(engine, tmp_path / "home", fake) as deployment:
        yield deployment


def size(site: Deployment, record: dict[str, Any]) -> int:
    return len(site.wanted(record).resources)


# races, and answers with gaps -------------------------------------------------------------------------------


@pytest.mark.parametrize("draw", [0.0, 0.5])
@pytest.mark.parametrize("update", [False, True], ids=["create", "update"])
def test_r05_a_request_that_met_409_goes_out_again_as_it_was(fault, site, fake, case, monkeypatch, update, draw):
    if update:
        site.push(case)
        case = changed(case)
    asked, creates = len(fake.asked(transaction)), size(site, case)
    monkeypatch.setattr("random.random", lambda: draw)
    fake.inject("409", said(409, outcome()), when=transaction)
    fault.injected("409 to a transaction")
    job = site.push(case)
    first, second = fake.asked(transaction)[asked:]
    assert first.body == second.body
    [pause] = site.clock.slept
    assert 0 < pause <= 1 if draw else pause == 0, "jitter is full: it reaches down to nothing"
    assert (job.state, job.attempts, rules(job)) == (State.CONFIRMED, 1, set())
    assert counts(job) == ({"update": 1, "unchanged": creates - 1} if update else {"create": creates})
    assert once(site, fake, case)


@pytest.mark.parametrize("index", range(6))
def test_r09_an_entry_that_the_answer_lacks_is_looked_for(fault, site, fake, index):
    """The sixth is our Provenance, which nothing waits for."""
    fake.missing_entry(index, when=transaction)
    fault.injected("an entry left out of the response")
    job = site.push(small())
    missing = list(site.wanted(small()).resources)[index : index + 1]
    assert (job.state, job.attempts) == (State.CONFIRMED, 1)
    assert once(site, fake, small())
    [sent] = fake.asked(transaction)
    looked = [request.body.decode() for request in fake.asked(searching) if request.number > sent.number]
    assert [name in body for name, body in zip(missing, looked, strict=True)] == [True] * len(missing)
    assert counts(site.push(small())) == {"unchanged": 5}
    assert len(fake.asked(transaction)) == 1


# servers that ask to be left alone --------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [9, 12], ids=["the thread waits", "the job waits"])
@pytest.mark.parametrize("dated", [False, True], ids=["seconds", "date"])
@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("when", [searching, transaction])
def test_r11_nothing_is_asked_before_the_time_that_the_server_names(
    fault, engine, fake, tmp_path, when, status, dated, seconds
):
    with deployed(engine, tmp_path / "home", fake, limits=Limits(longest_wait=10)) as site:
        site.push(small())
        begin, before = site.clock(), len(fake.journal)
        moment = format_datetime(datetime.fromtimestamp(begin + seconds, UTC), usegmt=True)
        fake.status(status, {"Retry-After": moment if dated else str(seconds)}, when=when)
        fault.injected(f"{status} with Retry-After {'as a date' if dated else 'in seconds'}")
        records = [changed(small()), small("small-2")]
        jobs = [site.accept(record) for record in records]
        drain(site)
        refused = next(index for index in range(before, len(fake.journal)) if when(fake.journal[index]))
        assert fake.times[refused] == begin
        assert min(fake.times[refused + 1 :]) >= begin + seconds
        done = [site.outbox.job(job.id) for job in jobs]
        assert [(job.state, job.attempts, rules(job)) for job in done] == [(State.CONFIRMED, 1, set())] * 2
        assert once(site, fake, *records)


@pytest.mark.parametrize("status", [429, 503])
def test_r11_nor_by_a_process_that_was_not_told(fault, engine, fake, tmp_path, status):
    with deployed(engine, tmp_path / "home", fake) as site:
        site.push(small())
        begin, before = site.clock(), len(fake.journal)
        fake.status(status, {"Retry-After": "90"}, when=transaction)
        fault.injected(f"{status} with Retry-After in seconds")
        site.accept(small("small-2"))
        drain(site, wait=0)
    refused = len(fake.journal)
    with deployed(engine, tmp_path / "home", fake) as site:
        site.accept(small("small-3"))
        drain(site)
        assert set(fake.times[before:refused]) == {begin}
        assert min(fake.times[refused:]) >= begin + 90
        assert once(site, fake, *map(small, ("small-1", "small-2", "small-3")))


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("when", [searching, transaction])
@pytest.mark.parametrize("value", ["1000000000", "9" * 40, "Fri, 31 Dec 9999 23:59:59 GMT"])
def test_r12_no_server_is_left_alone_for_longer_than_we_bear(fault, engine, fake, tmp_path, when, status, value):
    patience, limits = Patience(longest=5), Limits(longest_closed=5)
    with deployed(engine, tmp_path / "home", fake, limits=limits, patience=patience) as site:
        site.push(small())
        record, begin, asked = changed(small()), site.clock(), len(fake.journal)
        fake.status(status, {"Retry-After": value}, when=when)
        fault.injected(f"{status} with a Retry-After of decades")
        job = site.accept(record)
        drain(site, wait=0)
        assert site.clock.slept == []
        waiting = site.outbox.job(job.id)
        assert (waiting.attempts, waiting.reason) == (0, "sync-busy")
        # The server is left alone for five seconds; the case that met it stands behind those that did not.
        assert site.outbox.held(fake.base, begin) == begin + 5
        assert begin + 5 <= waiting.next_try <= begin + 7
        [shown] = json.loads(casebridge("sync", "status", "--json").stdout_bytes)["jobs"]
        assert shown["id"] == job.id
        assert abs(datetime.fromisoformat(shown["nextTry"]).timestamp() - waiting.next_try) < 0.001
        assert "next try" in casebridge("sync", "status").stdout
        drain(site)
        later = {time for time in fake.times[asked:] if time > begin}
        assert later
        assert min(later) >= waiting.next_try
        assert site.outbox.job(job.id).state is State.CONFIRMED
        assert once(site, fake, record)


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("value", ["-5", "soon", "1e9", ";", "Thu, 99 Foo 2026"])
def test_r12_what_names_no_time_is_taken_for_nothing(fault, site, fake, monkeypatch, status, value):
    monkeypatch.setattr("random.random", lambda: 0.5)
    fake.status(status, {"Retry-After": value}, when=transaction)
    fault.injected(f"{status} with a senseless Retry-After")
    site.accept(small())
    begin = site.clock()
    # 429 was not carried out: the server is held for a second, and the case stands one more behind it.
    parked = site.attempt().next_try
    assert parked == begin + (2 if status == 429 else 1)
    drain(site)
    assert set(fake.times) == {begin, parked}
    assert once(site, fake, small())


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("value", ["0", "Thu, 01 Jan 2026 00:00:00 GMT"], ids=["0", "a date that is past"])
def test_r12_what_names_no_time_to_come_is_no_leave_to_hammer(fault, site, fake, monkeypatch, status, value):
    monkeypatch.setattr("random.random", lambda: 0.5)
    fake.status(status, {"Retry-After": value}, 6, transaction)
    fault.injected(f"{status} with a Retry-After of no time", 6)
    site.accept(small())
    drain(site)
    times = fake.when(transaction)
    assert once(site, fake, small())
    assert len(set(times)) == len(times) == 7, "no two in one moment"


# servers that fail for ever ---------------------------------------------------------------------------------------

FOR_EVER: dict[str, Callable[[Scripted, When | None], None]] = {
    "500": lambda fake, when: fake.status(500, times=None, when=when),
    "connection reset": lambda fake, when: fake.reset(None, when),
    "connection closed": lambda fake, when: fake.drop_request(None, when),
}


@pytest.mark.parametrize("how", FOR_EVER)
def test_r13_a_case_that_fails_for_ever_is_set_aside_and_holds_up_no_other(fault, site, fake, monkeypatch, how):
    draws = [0.1, 0.2, 0.05, 0.15]
    monkeypatch.setattr("random.random", itertools.cycle(draws).__next__)
    doomed, other = site.accept(small("doomed")), site.accept(small())
    FOR_EVER[how](fake, of(doomed.case))
    drain(site)
    times = fake.when(of(doomed.case))
    fault.injected(how, len(times))
    waits = [later - earlier for earlier, later in itertools.pairwise(times)]
    grown = [draw * 2**n for n, draw in zip(range(1, 8), itertools.cycle(draws), strict=False)]
    assert waits == pytest.approx(grown)
    doomed, other = site.outbox.job(doomed.id), site.outbox.job(other.id)
    assert (doomed.state, doomed.reason, doomed.attempts) == (State.DEAD, "sync-unavailable", site.patience.attempts)
    assert (other.state, other.attempts, counts(other)) == (State.CONFIRMED, 1, {"create": 5})
    assert fake.when(of(other.case)) == times[:1]
    assert once(site, fake, small())


@pytest.mark.parametrize("how", FOR_EVER)
def test_r13_a_server_that_never_answers_is_asked_a_bounded_number_of_times(fault, site, fake, monkeypatch, how):
    monkeypatch.setattr("random.random", lambda: 0.1)
    FOR_EVER[how](fake, None)
    job = site.accept(small())
    drain(site)
    fault.injected(how, len(fake.journal))
    assert len(fake.journal) == site.patience.attempts * Limits().attempts
    dead = site.outbox.job(job.id)
    assert (dead.state, dead.reason, dead.attempts) == (State.DEAD, "sync-unavailable", site.patience.attempts)
    fake.clear()
    site.outbox.retry([job.id], now=site.clock())
    drain(site)
    assert once(site, fake, small())


# what the server will never take ----------------------------------------------------------------------------------

# HAPI's validator says such things; none is about the number of entries.
WORDS = [CANARY, "Found 9 decimal places which exceeds the stated limit of 8 digits", "exceeds the stated limit of 3 bytes"]


@pytest.mark.parametrize("words", WORDS, ids=["a value", "digits", "bytes"])
@pytest.mark.parametrize("status", [400, 422])
def test_r15_what_is_refused_for_ever_is_set_aside_with_the_servers_words(fault, site, fake, case, status, words):
    fake.inject("refused", said(status, outcome(words)), None, of(CANARY))
    fault.injected(f"{status} to a transaction")
    job = site.push(case)
    assert (job.state, job.reason, job.attempts) == (State.DEAD, "sync-refused", 1)
    assert (job.report["server"], fake.facts) == (outcome(words), [])
    assert len(fake.asked(transaction)) == 1
    assert counts(site.push(small())) == {"create": 5}
    assert len(fake.asked(transaction)) == 2


def test_r15_and_goes_out_again_on_demand_once_it_is_mended(fault, site, fake, case, tmp_path):
    for name, record in (("case", case), ("other", small())):
        (tmp_path / f"{name}.json").write_bytes(json.dumps(record))
    fake.inject("422", said(422, outcome()), None, of(CANARY))
    fault.injected("422 to a transaction", 2)
    done = casebridge("push", tmp_path / "case.json", tmp_path / "other.json", "--server", fake.base)
    assert done.exit_code == 1
    assert re.findall(r"(\w+)\.json +(\w+)", done.stdout) == [("case", "dead"), ("other", "confirmed")]
    with open_outbox(default_url(tmp_path / "home")) as box:
        [dead] = box.jobs(states=[State.DEAD], payload=True)
    assert (dead.report["server"], CANARY.encode() in dead.payload) == (outcome(), True)
    for words in (["status"], ["status", dead.id], ["status", dead.id, "--json"], ["retry", "--dead"]):
        assert casebridge("sync", *words).exit_code == 1
    fake.clear()
    assert casebridge("sync", "retry", "--dead").exit_code == 0
    assert casebridge("sync", "status").stdout == "confirmed 2\n"
    first, again, last = fake.asked(of(CANARY))
    assert first.body == again.body == last.body
    assert len(fake.facts) == size(site, case) + size(site, small())


# servers that take only so much -----------------------------------------------------------------------------------

# Status and words: of HAPI 8.8, of Azure's server (https://github.com/CDCgov/phdi-azure/issues/130), and of whoever says less.
TOO_MANY = {
    "HAPI": (
        413,
        "HAPI-0528: Transaction bundle contains 226 which exceedes the maximum permitted transaction bundle size of 50",
    ),
    "Azure": (400, "The number of entries in the bundle exceeded the configured limit of 50."),
    "413": (413, "too large"),
}


def more_than(most: int) -> When:
    return lambda request: transaction(request) and len(request.json["entry"]) > most


@pytest.mark.parametrize("words", TOO_MANY)
def test_r16_a_case_goes_out_in_parts_that_the_server_takes(fault, site, fake, case, words):
    status, text = TOO_MANY[words]
    fake.inject("limit", said(status, outcome(text)), None, more_than(50))
    job = site.push(case)
    refused = fake.injected["limit"]
    fault.injected("too many entries for the server", refused)
    assert refused == (3 if words == "413" else 1), "a number is believed; where there is none, what was sent is halved"
    assert (job.state, job.attempts, counts(job), rules(job)) == (State.CONFIRMED, 1, {"create": size(site, case)}, set())
    other = {**case, "case": "another"}
    assert site.push(other).state is State.CONFIRMED
    assert fake.injected["limit"] == refused, "the limit is known by now"
    assert fake.dangling == set()
    assert once(site, fake, case, other)
    assert site.restored(case) == case


def test_r16_so_it_does_where_a_gateway_counts_bytes(fault, site, fake, case):
    html = {"Content-Type": "text/html"}
    fake.fault(None, when=lambda request: len(request.body) > 60_000, status=413, headers=html, body=b"<html></html>")
    job = site.push(case)
    fault.injected("too many bytes for a gateway", fake.injected["fault"])
    assert (job.state, job.attempts, counts(job)) == (State.CONFIRMED, 1, {"create": size(site, case)})
    assert fake.dangling == set()
    assert once(site, fake, case)


def ring(made: Wanted) -> Wanted:
    """The case with Observations that refer to one another in a circle, as no mapping of ours makes them."""
    names = [name for name, one in made.resources.items() if one["resourceType"] == "Observation"]
    after = dict(zip(names, [*names[1:], names[0]], strict=True))
    linked = {name: {**made.resources[name], "hasMember": [{"reference": URN + after[name]}]} for name in names}
    return replace(made, resources={**made.resources, **linked})


@pytest.mark.parametrize(("most", "shape"), [(3, ring), (1, lambda made: made)], ids=["a circle", "nothing fits"])
def test_r16_what_cannot_be_parted_is_refused_with_the_number(fault, site, fake, most, shape):
    fake.inject("limit", said(413, outcome(f"The bundle exceeded configured limit of {most}")), None, more_than(most))
    made = shape(site.wanted(small()))
    [job] = site.outbox.accept("run", [site.transfer.submission(made, fake.base)])
    drain(site)
    fault.injected("too many entries for the server", fake.injected["limit"])
    job = site.outbox.job(job.id)
    assert (job.state, job.reason, fake.facts) == (State.DEAD, "sync-bundle-limit", [])
    [issue] = job.report["outcome"]["issue"]
    assert f"the server takes {most} entries" in issue["details"]["text"]
