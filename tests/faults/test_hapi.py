"""The rows that only a real server can answer: HAPI FHIR, with a proxy before it that does the harm."""

from __future__ import annotations

import random
import secrets
from collections import Counter
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import requests

from service.errors import ServerRefused
from service.fhir import json
from service.sync.canonical import DEPLOYMENT, identity_of
from service.sync.compartment import find
from service.sync.outbox import State
from service.sync.pages import resources
from service.sync.pull import by_case
from service.sync.rest import RestServer
from service.sync.server import Resource, token
from service.sync.worker import Drain
from tests.faults.conftest import Fault
from tests.support import pushing
from tests.support.deployment import CASES, Deployment, counts, rules, small
from tests.support.fake_fhir import FakeFhir
from tests.support.fault_proxy import FaultProxy
from tests.support.hapi_server import HapiServer
from tests.support.loopback import Exchange, Request

AT = "real HAPI"
pytestmark = pytest.mark.server

Record = dict[str, Any]


@pytest.fixture
def key() -> bytes:
    """A deployment of the test's own: on one server it meets nothing that another test wrote."""
    return secrets.token_bytes(32)


@pytest.fixture
def proxy(hapi_server: HapiServer) -> Iterator[FaultProxy]:
    with FaultProxy(hapi_server.base) as proxy:
        yield proxy


@pytest.fixture
def site(hapi_server: HapiServer, key: bytes, tmp_path: Path) -> Iterator[Deployment]:
    """A deployment straight at the server."""
    with RestServer(hapi_server.base) as server, Deployment(pushing.with_key(key), tmp_path / "site", server) as deployment:
        yield deployment


@pytest.fixture
def behind(proxy: FaultProxy, key: bytes, tmp_path: Path) -> Iterator[Deployment]:
    """The same deployment behind the proxy, with a clock that does not make anybody wait."""
    with RestServer(proxy.base) as server, Deployment(pushing.with_key(key), tmp_path / "behind", server) as deployment:
        yield deployment


def is_transaction(request: Request) -> bool:
    return request.method == "POST" and request.path == "/fhir" and b'"type":"transaction"' in request.body


def stored(site: Deployment) -> list[Resource]:
    """All current resources that the deployment has on the server, its Provenance among them."""
    tag = token(DEPLOYMENT, site.transfer.deployment)
    found = [find(site.server, name, [("_tag", tag)]) for name in [*site.transfer.types, "Provenance"]]
    return [one for some in found for one in some]


def versions(site: Deployment) -> dict[str, str]:
    return {f"{one['resourceType']}/{one['id']}": one["meta"]["versionId"] for one in stored(site)}


def assert_one_copy(site: Deployment, *records: Record) -> None:
    """Each fact of these cases is there once and in its first version, with one Provenance for each case, and nothing else."""
    found = stored(site)
    identities = Counter(identity_of(one, site.transfer.system) for one in found if one["resourceType"] != "Provenance")
    wanted = Counter(identity for record in records for identity in site.wanted(record).resources)
    assert identities == wanted
    assert Counter(one["resourceType"] for one in found)["Provenance"] == len(records)
    assert {one["meta"]["versionId"] for one in found} == {"1"}
    for record in records:
        assert site.restored(record) == record


def edit(site: Deployment, resource: Resource, change: Callable[[Resource], object]) -> None:
    """Someone else changes a resource, without a word to us."""
    change(resource)
    url = f"{site.server.base}/{resource['resourceType']}/{resource['id']}"
    headers = {"Content-Type": "application/fhir+json"}
    assert requests.put(url, data=json.dumps(resource), headers=headers, timeout=60).status_code == 200


def haemoglobin(site: Deployment) -> Resource:
    [found] = [
        one
        for one in stored(site)
        if one["resourceType"] == "Observation"
        and one.get("effectiveDateTime") == "2020-01-05"
        and one["code"]["text"] == "Hemoglobin"
    ]
    return found


# --- the road there and back ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_r32_the_cases_come_back_digit_for_digit(site: Deployment, fault: Fault, path: Path) -> None:
    record: Any = json.loads(path.read_bytes())
    assert site.push(record).state is State.CONFIRMED
    assert site.restored(record) == record
    fault.injected("a published case pushed, pulled and compared")


@pytest.mark.parametrize("text", ["4.50", "0.010", "19", "12345678901234567890.123"])
def test_r32_decimals_are_kept_as_they_are_written(site: Deployment, fault: Fault, text: str) -> None:
    record = small(change=lambda one: one["labs"][0].update(value=Decimal(text)))
    assert rules(site.push(record)) == set()
    [lab] = [one for one in stored(site) if one["resourceType"] == "Observation" and str(one["valueQuantity"]["value"]) == text]
    assert lab["code"]["text"] == "Hemoglobin"
    assert f'"value": {text}'.encode() in json.dumps(site.restored(record), indent=True)
    fault.injected("a decimal of this kind")


# --- effectively once ----------------------------------------------------------------------------------------------------


def test_r01_reply_lost_after_the_commit(behind: Deployment, proxy: FaultProxy, fault: Fault, case: Record) -> None:
    proxy.drop_reply(when=is_transaction)
    job = behind.push(case)
    assert (job.state, job.attempts) == (State.CONFIRMED, 2)
    assert job.report is not None
    assert job.report["ok"]
    assert_one_copy(behind, case)
    fault.injected("reply dropped", proxy.injected["drop_reply"])


def test_r01_request_delivered_late_and_twice(behind: Deployment, proxy: FaultProxy, fault: Fault) -> None:
    late = proxy.late_delivery(when=is_transaction)
    proxy.dup_request(when=is_transaction)
    assert behind.push(small()).state is State.CONFIRMED
    late.release()
    assert late.passed.wait(60)
    assert_one_copy(behind, small())
    fault.injected("request delivered late", proxy.injected["late_delivery"])
    fault.injected("request delivered twice", proxy.injected["dup_request"])


def test_r02_second_push_writes_nothing(site: Deployment, fault: Fault, case: Record) -> None:
    site.push(case)
    before = versions(site)
    job = site.push(case)
    assert counts(job) == {"unchanged": len(site.wanted(case).resources)}
    assert versions(site) == before
    fault.injected("second push")


KILLS = 50
NAMES = [f"case-{number}" for number in range(6)]


def test_r03_killed_at_any_moment(proxy: FaultProxy, site: Deployment, key: bytes, tmp_path: Path, fault: Fault) -> None:
    """Each round pushes six cases and kills the process once in each of them, at some request: before the server has it, after
    it was carried out, or while the answer is on its way. Some rounds are killed again while they recover."""
    dice = random.Random(3)
    killed = 0
    round_ = 0
    pushed: list[Record] = []
    while killed < KILLS:
        home = tmp_path / str(round_)
        records = {name: small(f"{name}-{round_}") for name in NAMES}
        pushing.accept(home, proxy.base, key, records)
        for _ in range(len(NAMES)):
            killed += _run_and_kill(proxy, home, nth=dice.randrange(1, 7), how=dice.choice(["before", "after", "during"]))
        proxy.clear()
        pushing.work(home, proxy.base)
        pushed += records.values()
        round_ += 1
    assert_one_copy(site, *pushed)
    fault.injected("SIGKILL", KILLS)


def _run_and_kill(proxy: FaultProxy, home: Path, *, nth: int, how: str) -> int:
    """Starts a worker and kills it when it has sent its nth request; 0 where it was done before."""
    process = pushing.start(home, proxy.base)
    seen = Counter[str]()

    def count(_request: Request) -> bool:
        seen["requests"] += 1
        return seen["requests"] == nth

    def kill(exchange: Exchange) -> None:
        if how != "before":
            reply = exchange.carry_out()
        if how == "during":
            exchange.begin(reply, {"Content-Length": str(len(reply.body))})
            exchange.write(reply.body[: len(reply.body) // 2])
        process.kill()
        exchange.hang_up()

    proxy.inject("kill", kill, when=count)
    process.join(60)
    proxy.clear()
    was_killed = process.exitcode == -9
    process.close()
    return int(was_killed)


@pytest.mark.parametrize("shared", [True, False], ids=["one outbox", "eight outboxes"])
def test_r04_eight_processes_push_the_same_cases(
    site: Deployment, hapi_server: HapiServer, key: bytes, tmp_path: Path, fault: Fault, shared: bool
) -> None:
    records: dict[str, Record] = {path.stem: json.loads(path.read_bytes()) for path in CASES}  # type: ignore[misc]
    line = pushing.CONTEXT.Barrier(8)
    processes = []
    for number in range(8):
        home = tmp_path / ("all" if shared else str(number))
        arguments = (home, hapi_server.base, key, records, line)
        processes.append(pushing.CONTEXT.Process(target=pushing.together, args=arguments))
        processes[-1].start()
    for process in processes:
        process.join(300)
    assert [process.exitcode for process in processes] == [0] * 8
    assert_one_copy(site, *records.values())
    fault.injected("process pushing at the same moment", 8)


# --- what others do --------------------------------------------------------------------------------------------------------


def test_r06_two_patients_with_one_identity(site: Deployment, fault: Fault) -> None:
    [patient, *_] = site.wanted(small()).resources.values()
    for _ in range(2):
        headers = {"Content-Type": "application/fhir+json"}
        made = requests.post(f"{site.server.base}/Patient", data=json.dumps(patient), headers=headers, timeout=60)
        assert made.status_code == 201
    site.accept(small())
    site.accept(small("small-2"))
    job = site.attempt()
    assert (job.state, job.reason, job.attempts) == (State.DEAD, "sync-duplicates", 1)
    assert site.attempt().state is State.CONFIRMED
    fault.injected("duplicate Patient", 2)


@pytest.mark.parametrize("path", ["read first", "raced"])
def test_r07_edited_on_the_server(behind: Deployment, proxy: FaultProxy, fault: Fault, path: str) -> None:
    behind.push(small())
    changed = small(change=lambda record: record["labs"][0].update(value=90))

    def interfere(exchange: Exchange) -> None:
        edit(behind, haemoglobin(behind), lambda one: one.update(status="amended"))
        exchange.send(exchange.carry_out())

    if path == "raced":
        # After our read and before our write: only If-Match can notice.
        proxy.inject("edit", interfere, when=is_transaction)
    else:
        edit(behind, haemoglobin(behind), lambda one: one.update(status="amended"))
    job = behind.push(changed)
    assert (job.state, job.reason) == (State.CONFLICT, "sync-conflict")
    assert job.report is not None
    assert [entry["differs"] for entry in job.report["entries"]] == [["changed status", "changed valueQuantity.value"]]
    there = haemoglobin(behind)
    assert (there["status"], there["valueQuantity"]["value"], there["meta"]["versionId"]) == ("amended", 86, "2")
    assert counts(behind.push(changed, overwrite=True)) == {"update": 1, "unchanged": 4}
    assert behind.restored(changed) == changed
    fault.injected("foreign edit")


def test_r08_batch_with_failed_entries(behind: Deployment, proxy: FaultProxy, fault: Fault) -> None:
    def as_batch(exchange: Exchange) -> None:
        request = exchange.request
        body = request.body.replace(b'"type":"transaction"', b'"type":"batch"')
        exchange.request = Request(request.number, request.at, request.method, request.path, request.headers, body)
        exchange.send(exchange.carry_out())

    proxy.inject("as batch", as_batch, when=is_transaction)
    job = behind.push(small())
    assert (job.state, job.reason) == (State.DEAD, "sync-entry")
    assert job.report is not None
    assert not job.report["ok"]
    failed = [
        one["expression"] for one in job.report["outcome"]["issue"] if one["details"]["text"].startswith("the server did not")
    ]
    assert len(failed) == 5  # all but the Patient refer to it, and in a batch nobody may refer to another
    [again] = behind.outbox.retry([job.id], now=behind.clock())
    assert again.id == behind.attempt().id
    assert_one_copy(behind, small())
    fault.injected("failed entry", len(failed))


def test_r09_a_server_that_merges_entries(behind: Deployment, proxy: FaultProxy, fault: Fault, case: Record) -> None:
    proxy.missing_entry(7, when=is_transaction)
    job = behind.push(case)
    assert job.state is State.CONFIRMED
    rows = behind.outbox.ledger(behind.server.base, job.case)
    ids = {identity_of(one, behind.transfer.system): one["id"] for one in stored(behind) if one["resourceType"] != "Provenance"}
    assert {identity: row.resource_id for identity, row in rows.items()} == ids
    fault.injected("entry missing in the reply", proxy.injected["missing_entry"])


def test_r16_a_server_with_a_limit(
    hapi_with: Callable[..., HapiServer], key: bytes, tmp_path: Path, fault: Fault, case: Record
) -> None:
    limited = hapi_with(maxBundle=50)
    with RestServer(limited.base) as server, Deployment(pushing.with_key(key), tmp_path / "limited", server) as site:
        job = site.push(case)
        assert (job.state, counts(job)) == (State.CONFIRMED, {"create": len(site.wanted(case).resources)})
        assert site.outbox.recall(server.base, "most-entries") == "50"
        assert site.restored(case) == case
        fault.injected("limit of 50 entries")


# --- reading ---------------------------------------------------------------------------------------------------------------


def test_r20_next_link_to_another_host(behind: Deployment, proxy: FaultProxy, fault: Fault) -> None:
    behind.push(small())
    with FakeFhir() as other:
        proxy.rewrite_next(f"{other.base}?_getpages=1")
        with pytest.raises(ServerRefused) as refusal:
            list(resources(behind.server, lambda: behind.server.search("Observation", [("_count", "1")])))
        assert [issue.rule for issue in refusal.value.issues] == ["sync-next-link"]
        assert other.journal == []
    fault.injected("next link to another host", proxy.injected["rewrite_next"])


def paged(site: Deployment, size: int) -> Iterator[Resource]:
    criteria = [("_tag", token(DEPLOYMENT, site.transfer.deployment)), ("_count", str(size))]
    return resources(site.server, lambda: site.server.search("Observation", criteria))


def test_r22_expired_page(behind: Deployment, proxy: FaultProxy, fault: Fault, case: Record) -> None:
    behind.push(case)
    whole = {one["id"] for one in paged(behind, 200)}
    proxy.rewrite_next(f"{proxy.base}?_getpages=00000000-0000-0000-0000-000000000000&_getpagesoffset=50&_count=50")
    found = [one["id"] for one in paged(behind, 50)]
    assert (len(found), set(found)) == (len(whole), whole)
    fault.injected("expired page", proxy.injected["rewrite_next"])


@pytest.mark.parametrize("how", ["length", "chunked", "close"])
def test_r23_body_cut(behind: Deployment, proxy: FaultProxy, fault: Fault, how: Any) -> None:
    proxy.cut(how, when=is_transaction)
    assert behind.push(small()).state is State.CONFIRMED
    proxy.cut(how)
    assert behind.restored(small()) == small()
    assert_one_copy(behind, small())
    fault.injected("body cut", proxy.injected["cut"])


def test_r24_deleted_between_two_pages(site: Deployment, fault: Fault) -> None:
    tag = {"system": DEPLOYMENT, "code": site.transfer.deployment}
    plain = {"resourceType": "Observation", "meta": {"tag": [tag]}, "status": "final", "code": {"text": "plain"}}
    entries = [{"resource": plain, "request": {"method": "POST", "url": "Observation"}}] * 60
    site.server.submit({"resourceType": "Bundle", "type": "transaction", "entry": entries})
    whole = [one["id"] for one in paged(site, 200)]
    pages = paged(site, 20)
    seen = [next(pages)["id"]]
    victims = whole[20:40]
    batch = [{"request": {"method": "DELETE", "url": f"Observation/{one}"}} for one in victims]
    site.server.submit({"resourceType": "Bundle", "type": "transaction", "entry": batch})
    seen += [one["id"] for one in pages]
    # Whether HAPI still shows those of the page that it had made already is its affair; nobody else may be missing.
    assert set(whole) - set(victims) <= set(seen) <= set(whole)
    assert len(seen) == len(set(seen))
    fault.injected("page emptied between two reads")


def test_r25_stale_search_cache(site: Deployment, fault: Fault) -> None:
    identity = site.transfer.identity("small-1")
    criteria = {"identifier": token(site.transfer.system, identity), "_count": "200"}

    def cached() -> int:
        found = requests.post(f"{site.server.base}/Patient/_search", data=criteria, timeout=60).json()
        return len(found.get("entry", []))

    assert cached() == 0
    site.push(small())
    assert cached() == 0, "HAPI's cache is off: this proves nothing"
    assert len(list(by_case(site.server, site.transfer.system, identity))) == 1
    assert site.restored(small()) == small()
    assert counts(site.push(small())) == {"unchanged": 5}
    fault.injected("search answered from the cache")


def test_r13_server_down_in_the_middle(proxy: FaultProxy, site: Deployment, key: bytes, tmp_path: Path, fault: Fault) -> None:
    """A real outage, and a drain that lives through it."""
    records = {name: small(f"{name}-outage") for name in NAMES}
    pushing.accept(tmp_path / "outage", proxy.base, key, records)
    went = Counter[str]()

    def fall(exchange: Exchange) -> None:
        went["down"] += 1
        exchange.hang_up(reset=True)

    proxy.inject("reset", fall, times=3, when=is_transaction)
    with RestServer(proxy.base) as server, Deployment(pushing.with_key(key), tmp_path / "outage", server) as behind:
        Drain(behind.outbox, lambda _target: server, wait=120).work()
        assert behind.outbox.counts()[State.CONFIRMED] == len(NAMES)
    assert_one_copy(site, *records.values())
    fault.injected("connection reset", went["down"])
