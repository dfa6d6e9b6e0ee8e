"""The service between clients and a FHIR server, when its disk, its database, its server or its own life fails it."""

from __future__ import annotations

import http.client
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from service.engine import Engine
from service.errors import ServerUnavailable
from service.fhir import json
from service.issues import Issue, has_errors
from service.sync.outbox import Outbox, State, default_url, open_outbox
from service.sync.worker import Drain
from tests.faults.routes import JSON, Ask
from tests.faults.served import Answer, Place, Served, casebridge, served
from tests.support.deployment import small
from tests.support.fake_fhir import FakeFhir
from tests.support.faults import CANARY
from tests.support.loopback import PATIENCE, Request, fhir_reply
from tests.support.synced import BASE, Site, Watched, eventually, raising, site
from tests.unit.api.test_canary import leaves, put

AT = "service"
# Bound, but nobody listens: it refuses at once.
NOBODY = "http://127.0.0.1:9/fhir"


def ask(service: Served, address: str, value: Any) -> Answer:
    return service.ask(Ask("POST", address, {"Content-Type": JSON}, json.dumps(value)))


def rule(answer: Answer) -> str:
    assert answer.headers.get_content_type() == "application/fhir+json", answer.data[:500]
    return str(json.loads(answer.data)["issue"][0]["details"]["coding"][0]["code"])


def outbox_of(place: Place) -> Outbox:
    return open_outbox(default_url(place.root / "home"))


def is_transaction(request: Request) -> bool:
    return request.method == "POST" and request.path == "/fhir"


# --- R-17 -----------------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="no limit can be set for another process here")
def test_r17_a_full_disk_is_507_before_anything_is_acknowledged(fault, tmp_path):
    place = Place(tmp_path)
    with served(place, CASEBRIDGE_SERVER=NOBODY, WATCHED="/dev/null") as service:
        accepted = [ask(service, "/sync/push", small(f"before-{number}")) for number in range(5)]
        full = limit_files(service, (place.root / "home" / "outbox.db-wal").stat().st_size)
        refused = [ask(service, "/sync/push", small(f"during-{number}")) for number in range(20)]
        fault.injected("a case that the disk has no room for", len(refused))
        assert {answer.status for answer in refused} == {507}
        assert {rule(answer) for answer in refused} == {"sync-outbox-disk"}
        assert not any(str(tmp_path).encode() in answer.data for answer in refused)
        assert service.ask(Ask("GET", "/health/live")).status == 200
        full()
        accepted += [ask(service, "/sync/push", small(f"after-{number}")) for number in range(5)]
        assert {answer.status for answer in accepted} == {202}
    with outbox_of(place) as box:
        assert {job.id for job in box.jobs()} == {json.loads(answer.data)["id"] for answer in accepted}
        assert {job.state for job in box.jobs()} <= {State.QUEUED, State.SENDING}
    assert CANARY not in place.log.read_text()


def limit_files(service: Served, size: int) -> Callable[[], None]:
    """From now on no file of the service grows beyond this size; gives what takes the limit back."""
    before = {pid: resource.prlimit(pid, resource.RLIMIT_FSIZE) for pid in service.workers()}
    for pid, (_soft, hard) in before.items():
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, hard))
    return lambda: [resource.prlimit(pid, resource.RLIMIT_FSIZE, limits) for pid, limits in before.items()] and None


# --- R-18 -----------------------------------------------------------------------------------------------------------------

LOCK = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN EXCLUSIVE")
print("held", flush=True)
sys.stdin.readline()
connection.execute("COMMIT")
print("free", flush=True)
sys.stdin.readline()
"""


class Lock:
    """Another process that holds the outbox."""

    def __init__(self, home: Path) -> None:
        words, pipe = [sys.executable, "-c", LOCK, str(home / "outbox.db")], subprocess.PIPE
        self._process = subprocess.Popen(words, text=True, stdin=pipe, stdout=pipe)
        self._says("held")

    def _says(self, word: str) -> None:
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == f"{word}\n"

    def let_go(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        self._says("free")

    def end(self) -> None:
        self._process.communicate("\n")


@pytest.fixture
def here(settings) -> Iterator[Site]:
    with site(settings, Watched()) as made:
        yield made


@pytest.fixture
def lock(here, settings) -> Iterator[Lock]:
    here.sync.busy_seconds = 0.05
    here.pushed(small("before"))
    held = Lock(settings.home)
    yield held
    held.end()


def test_r18_a_locked_outbox_is_503_and_nothing_is_lost(fault, here, lock):
    waiting = f"/sync/jobs/{here.sync.outbox().jobs()[0].id}"
    answers = [here.post("/sync/push", small(f"during-{number}")) for number in range(3)] + [here.delete(waiting)]
    fault.injected("a request while another process holds the outbox", len(answers), at="app")
    for answer in answers:
        assert answer.status_code == 503
        assert int(answer.headers["Retry-After"]) > 0
        assert json.loads(answer.data)["issue"][0]["details"]["coding"][0]["code"] == "sync-outbox-locked"
    assert here.get(waiting).status_code == 202, "who only reads is not kept waiting"
    assert here.get("/health/ready").status_code == 200
    lock.let_go()
    here.pushed(small("after"))
    here.drain()
    assert [job.state for job in here.sync.outbox().jobs()] == [State.CONFIRMED, State.CONFIRMED]


def test_r18_the_threads_that_send_outlive_it(fault, here, lock, monkeypatch, caplog):
    monkeypatch.setattr("service.sync.worker._FAILED_FOR", 0.01)
    here.sync.start()
    eventually(lambda: "sync-outbox-locked" in caplog.text)
    fault.injected("a thread while another process holds the outbox", at="app")
    lock.let_go()
    eventually(lambda: here.sync.outbox().counts()[State.CONFIRMED] == 1)


def test_r18_it_waits_as_long_as_it_is_told_to(fault, here, lock):
    """A lock that is let go in time is no error."""
    here.sync.outbox().close()
    here.sync._outbox, here.sync.busy_seconds = None, PATIENCE
    taken: list[str] = []
    client = threading.Thread(target=lambda: taken.append(here.pushed(small("during"))))
    client.start()
    fault.injected("a request while another process holds the outbox", at="app")
    assert not taken
    lock.let_go()
    client.join(PATIENCE)
    assert taken


# --- R-19 -----------------------------------------------------------------------------------------------------------------


@dataclass
class Clients:
    """Push one case after another, each from a thread, until they are refused; `taken` are the cases that were acknowledged."""

    service: Served
    taken: dict[str, str] = field(default_factory=dict)
    refused: list[Answer] = field(default_factory=list)

    def run(self, name: str) -> None:
        # Once nobody listens any more, or the connection was in the queue of a process that has ended, it is over.
        with suppress(ConnectionError, http.client.HTTPException):
            for number in range(10_000):
                answer = ask(self.service, "/sync/push", small(f"{name}-{number}"))
                if answer.status != 202:
                    self.refused.append(answer)
                    return
                self.taken[f"{name}-{number}"] = json.loads(answer.data)["id"]

    def start(self, count: int) -> list[threading.Thread]:
        threads = [threading.Thread(target=self.run, args=(f"client-{number}",)) for number in range(count)]
        for thread in threads:
            thread.start()
        return threads


def test_r19_sigterm_under_load_loses_nothing(fault, tmp_path, engine):
    place = Place(tmp_path)
    with FakeFhir() as fhir, served(place, CASEBRIDGE_SERVER=fhir.base) as service:
        gate = fhir.hold(times=None, when=is_transaction)
        clients = Clients(service)
        threads = clients.start(4)
        eventually(lambda: len(clients.taken) > 20)
        assert gate.reached.wait(PATIENCE), "jobs are in hand"
        service.process.send_signal(signal.SIGTERM)
        fault.injected("SIGTERM")
        for thread in threads:
            thread.join(PATIENCE)
        # The jobs in hand wait for their answers, and so the service is still there to say no.
        assert clients.refused
        for answer in clients.refused:
            assert (answer.status, rule(answer)) == (503, "sync-stopping")
            assert int(answer.headers["Retry-After"]) > 0
        assert service.ask(Ask("GET", "/health/ready")).status == 503
        fhir.clear()
        gate.release()
        assert service.process.wait(PATIENCE) == 0
        with outbox_of(place) as box:
            jobs = {job.id: job.state for job in box.jobs()}
        assert jobs.keys() >= set(clients.taken.values())
        assert set(jobs.values()) == {State.CONFIRMED, State.QUEUED}, "what was in hand is done, the rest is not begun"
        done = casebridge(place, "sync", "resume")
        assert done.returncode == 0, done.stderr
        patients = [one["identifier"][0]["value"] for one in fhir.memory.all("Patient")]
        assert len(patients) == len(set(patients)) == len(jobs)
    assert "Traceback" not in place.log.read_text()


def test_r19_a_server_that_does_not_answer_does_not_keep_the_service_alive(fault, tmp_path):
    """What is in hand is given up in time, and known to be unfinished."""
    place = Place(tmp_path)
    words = {"GUNICORN_CMD_ARGS": "--graceful-timeout 2"}
    with FakeFhir() as fhir, served(place, CASEBRIDGE_SERVER=fhir.base, **words) as service:
        gate = fhir.hold(times=None, when=is_transaction)
        job_id = json.loads(ask(service, "/sync/push", small()).data)["id"]
        assert gate.reached.wait(PATIENCE)
        service.process.send_signal(signal.SIGTERM)
        fault.injected("SIGTERM")
        assert service.process.wait(PATIENCE) == 0
        fhir.clear()
        gate.give_up()
        with outbox_of(place) as box:
            assert box.job(job_id).state is State.SENDING
        assert casebridge(place, "sync", "resume").returncode == 0
        assert len(fhir.memory.all("Patient")) == 1
        with outbox_of(place) as box:
            assert box.job(job_id).state is State.CONFIRMED


# --- R-39 -----------------------------------------------------------------------------------------------------------------


def marked(engine: Engine, record: Any) -> Any:
    """The case with a canary behind every text that the form lets be any text."""
    for path in list(leaves(record)):
        changed = put(record, path, lambda old: f"{old} {CANARY}" if isinstance(old, str) else old)
        if engine.mapping.accepts.is_valid(changed) and not has_errors(engine.convert(json.dumps(changed)).issues):
            record = changed
    return record


ECHO = {
    "resourceType": "OperationOutcome",
    "issue": [
        {"severity": "error", "code": CANARY, "diagnostics": CANARY, "details": {"text": CANARY}, "expression": [CANARY]}
    ],
}
STATUSES = (400, 401, 403, 404, 409, 410, 412, 413, 422, 429, 500, 503)


def shows(answer: Answer) -> bool:
    return CANARY.encode() in answer.data or CANARY in str(answer.headers)


def named_or_logged(place: Place) -> list[str]:
    """Where the canary shows but in the outbox and in pulled cases, which hold what they are for."""
    kept = [place.root / "home" / name for name in ("outbox.db", "outbox.db-wal", "outbox.db-shm")]
    found = []
    for path in place.root.rglob("*"):
        is_kept = path in kept or path.name == "cases.ndjson"
        if CANARY in path.name or (path.is_file() and not is_kept and CANARY.encode() in path.read_bytes()):
            found.append(str(path))
    return found


def test_r39_a_server_that_repeats_what_it_was_sent_is_not_repeated(fault, tmp_path, engine, case):
    record, place = marked(engine, case), Place(tmp_path)
    assert json.dumps(record).count(CANARY.encode()) > 100
    with FakeFhir() as fhir, served(place, CASEBRIDGE_SERVER=fhir.base) as service:
        first = ask(service, "/sync/push", record)
        assert first.status == 202
        answers = [first, settled(service, first)]
        for status in STATUSES:
            say(fhir, status, lambda request: "metadata" not in request.path)
            answers += [ask(service, "/sync/plan", record), ask(service, "/sync/pull", {"case": record["case"]})]
            fault.injected("an answer with a canary in it", fhir.injected["fault"])
            fhir.injected.clear()
            assert {answer.status for answer in answers[-2:]} <= {404, 502, 503}, status
            fhir.clear()
        say(fhir, 422, is_transaction)
        second = ask(service, "/sync/push", {**record, "case": f"other-{CANARY}"})
        answers += [second, settled(service, second)]
        assert json.loads(answers[-1].data)["state"] == "dead"
        fhir.clear()
        pulled = ask(service, "/sync/pull", {"all": True})
        answers += [pulled, ask(service, "/sync/pull", {"case": CANARY})]
        assert not [answer.data for answer in answers if shows(answer)]
        assert shows(settled(service, pulled)), "the case itself, for whom it is meant"
        # A job that is open to all is named by its id alone.
        assert all(CANARY not in request.path for request in fhir.journal)
    assert named_or_logged(place) == []


def say(fhir: FakeFhir, status: int, when: Callable[[Request], bool]) -> None:
    echo = fhir_reply(status, ECHO)
    fhir.fault(times=None, status=status, headers=echo.headers, body=echo.body, when=when)


def settled(service: Served, answer: Answer) -> Answer:
    address = str(answer.headers["Content-Location"])

    def ended() -> Answer | None:
        found = service.ask(Ask("GET", address))
        return None if found.status == 202 else found

    return eventually(ended)


# --- R-40 -----------------------------------------------------------------------------------------------------------------


def test_r40_no_request_makes_the_service_connect_to_where_it_was_not_told(fault, tmp_path):
    place = Place(tmp_path)
    asked = [
        ("/sync/push", small()),
        ("/sync/plan", small()),
        ("/sync/pull", {"case": "small-1"}),
        ("/sync/pull", {"all": True}),
    ]
    with FakeFhir() as fhir, served(place, CASEBRIDGE_SERVER=BASE, CASEBRIDGE_SERVER_TOKEN="secret") as service:
        for url in bad_addresses(fhir):
            for address, value in asked:
                answer = ask(service, f"{address}?server={url}", value)
                fault.injected("an address that must not be asked")
                assert (answer.status, rule(answer)[:5]) == (400, "sync-"), url
        assert fhir.journal == []
    reached = [one for one in place.opened() if one.name in ("socket.connect", "socket.getaddrinfo")]
    assert reached == []


def bad_addresses(local: FakeFhir) -> Sequence[str]:
    port = local.origin.rpartition(":")[2]
    return [
        "http://169.254.169.254/latest/meta-data/",
        "http://[fd00:ec2::254]/latest/meta-data/",
        "http://2852039166/",
        "file:///etc/passwd",
        "ftp://fhir.example.org/r4",
        "gopher://fhir.example.org/r4",
        local.base,
        f"http://localhost:{port}/fhir",
        f"http://0x7f.1:{port}/fhir",
        f"http://[::ffff:127.0.0.1]:{port}/fhir",
        f"https://user:pass@127.0.0.1:{port}/fhir",
        BASE.replace("https://", "https://user:pass@"),
        BASE.replace("https://", "http://"),
        f"{BASE}.evil.example",
        f"http://127.0.0.1:{port}/%23{BASE}",
        f"{BASE}%3Fx=1",
    ]


@pytest.mark.parametrize(
    "url", ["http://169.254.169.254/fhir", "file:///etc", "ftp://127.0.0.1/fhir", "https://a:b@127.0.0.1/fhir"]
)
def test_r40_a_service_that_is_told_such_an_address_does_not_start(fault, tmp_path, url):
    place = Place(tmp_path)
    for variable in ("CASEBRIDGE_SERVER", "CASEBRIDGE_SERVERS"):
        done = casebridge(place, "serve", "--port", "0", **{variable: url})
        fault.injected("an address that must not be asked", at="command")
        assert done.returncode == 2, done.stderr
        assert b"sync-address" in done.stderr
        assert b"a:b" not in done.stderr


# --- R-44 -----------------------------------------------------------------------------------------------------------------

MOST, SUBMITTED = 300, 2000


def test_r44_submissions_while_the_server_is_down_are_bounded_and_go_out_in_order(fault, settings):
    away = ServerUnavailable([Issue("error", "transient", "sync-connect", "nothing listens", fix="start it")])
    with site(replace(settings, most_jobs=MOST), Watched()) as here:
        here.server.fails = raising(away)
        here.drain()
        weights, taken = [], []
        for number in range(SUBMITTED):
            answer = here.post("/sync/push", small(f"{number:05}"))
            if answer.status_code == 202:
                taken.append(json.loads(answer.data)["id"])
            else:
                assert answer.status_code == 503
                assert int(answer.headers["Retry-After"]) > 0
            if number % 100 == 99:
                weights.append(resident())
                here.drain()
        fault.injected("a case while the server is down", SUBMITTED, at="app")
        assert len(taken) == MOST
        assert weights[-1] - weights[len(weights) // 2] < 16_000_000, "what is refused leaves nothing behind"
        assert here.sync.outbox().counts()[State.CONFIRMED] == 0
        here.server.fails = lambda: None
        order: list[str] = []
        box, later = here.sync.outbox(), 4e9
        Drain(box, lambda _target: here.server, threads=1, now=lambda: later, settled=lambda job: order.append(job.id)).work()
        assert order == taken
        assert len(here.server.all("Patient")) == MOST
        here.pushed(small("one more"))


def resident() -> int:
    """The memory of this process, in bytes: https://man7.org/linux/man-pages/man5/proc_pid_statm.5.html"""
    path = Path("/proc/self/statm")
    return int(path.read_text().split()[1]) * resource.getpagesize() if path.exists() else 0
