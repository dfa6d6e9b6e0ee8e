"""What must not go where it does not belong: tokens and keys to other servers, and a patient's values to anybody."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from service.config import Access
from service.engine import Engine
from service.errors import ServerRefused
from service.examples import EXAMPLE_KEY
from service.fhir import json
from service.sync.outbox import Job, State, default_url, open_outbox
from tests.faults.over_http import (
    Scripted,
    casebridge,
    changed,
    deployed,
    drain,
    long,
    once,
    outcome,
    page,
    reading,
    said,
    searching,
    texts,
    transaction,
)
from tests.support.deployment import Deployment, small
from tests.support.faults import CANARY
from tests.support.http_faults import When
from tests.support.loopback import Exchange, Reply

AT = "fake server"


@pytest.fixture
def fake() -> Iterator[Scripted]:
    with Scripted(page_size=2) as server:
        yield server


@pytest.fixture
def site(engine: Engine, fake: Scripted, tmp_path: Path) -> Iterator[Deployment]:
    with deployed(engine, tmp_path / "home", fake) as deployment:
        yield deployment


@pytest.fixture
def other() -> Iterator[Scripted]:
    """Another server, which must hear nothing."""
    with Scripted() as server:
        yield server


@pytest.fixture
def case() -> dict[str, Any]:
    return long()


@pytest.fixture(autouse=True)
def _same_key(monkeypatch: pytest.MonkeyPatch, _own_home: None) -> None:
    """The command is of the deployment that the fixture `engine` is of."""
    monkeypatch.setenv("CASEBRIDGE_KEY", EXAMPLE_KEY.decode())


def attempted(site: Deployment, record: dict[str, Any]) -> Job:
    """The job of this case after one attempt, which may end the run."""
    job = site.accept(record)
    with suppress(ServerRefused):
        site.attempt()
    return site.outbox.job(job.id)


# logins -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def access(tmp_path: Path) -> Access:
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (tmp_path / "key.pem").write_bytes(ec.generate_private_key(ec.SECP384R1()).private_bytes(*form))
    return Access(smart_client="casebridge", smart_key=tmp_path / "key.pem")


@pytest.fixture
def login(engine: Engine, access: Access, tmp_path: Path) -> Iterator[tuple[Scripted, Deployment]]:
    """A server that lets in who has a token, and a site that has a key."""
    with Scripted(smart=True, page_size=2) as fake, deployed(engine, tmp_path / "home", fake, access) as site:
        yield fake, site


def told(fake: Scripted, access: Access, *texts: object) -> list[str]:
    """The secrets that any of these texts holds: tokens, assertions, lines of the key."""
    tokens = [f"token-{number}" for number, _ in enumerate(fake.assertions, start=1)]
    lines = access.smart_key.read_text().splitlines()[1:-1]
    secrets = [*tokens, *(form["client_assertion"] for form in fake.assertions), *lines]
    return [secret for secret in secrets if any(secret in str(text) for text in texts)]


def asked_at(fake: Scripted, when: When, since: int) -> int:
    return next(index for index in range(since, len(fake.journal)) if when(fake.journal[index]))


@pytest.mark.parametrize("when", [searching, transaction, page], ids=lambda when: when.__name__)
def test_r14_a_token_that_ended_is_renewed_once_and_the_request_sent_once_more(fault, login, access, case, caplog, when):
    fake, site = login
    site.push(small())
    since = len(fake.journal)

    def expire(exchange: Exchange) -> None:
        fake.tokens.clear()
        exchange.send(exchange.carry_out())

    fake.inject("401", expire, when=when)
    fault.injected("401 for a token that ended")
    job = site.push(case)
    assert site.restored(case) == case
    index = asked_at(fake, when, since)
    refused, renewal, again = fake.journal[index : index + 3]
    assert (renewal.path, again.path, again.body) == ("/token", refused.path, refused.body)
    assert [one.headers["authorization"] for one in (refused, again)] == ["Bearer token-1", "Bearer token-2"]
    assert (len(fake.assertions), job.state, job.attempts) == (2, State.CONFIRMED, 1)
    assert once(site, fake, small(), case)
    assert not told(fake, access, caplog.text, job, site.outbox.jobs())


def test_r14_a_second_401_fails_plainly_and_harms_no_case(fault, login, access, case, caplog):
    fake, site = login
    fake.status(401, times=None, when=transaction)
    jobs = [site.accept(case), site.accept(small())]
    with pytest.raises(ServerRefused) as caught:
        drain(site)
    fault.injected("401 to every transaction", 2)
    [issue] = caught.value.issues
    assert (caught.value.status, issue.rule) == (401, "sync-login")
    assert (len(fake.asked(transaction)), len(fake.assertions)) == (2, 2)
    waiting = [site.outbox.job(job.id) for job in jobs]
    assert [(job.state, job.attempts) for job in waiting] == [(State.QUEUED, 0)] * 2
    assert not told(fake, access, caplog.text, caught.value, caught.value.issues, waiting)
    fake.clear()
    drain(site)
    assert once(site, fake, case, small())


def test_r14_nor_does_the_command_show_a_token(fault, access, case, tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("CASEBRIDGE_SERVER_SMART_CLIENT_ID", access.smart_client)
    monkeypatch.setenv("CASEBRIDGE_SERVER_SMART_KEY", str(access.smart_key))
    (tmp_path / "case.json").write_bytes(json.dumps(case))
    with Scripted(smart=True) as fake:
        fake.status(401, times=None, when=transaction)
        fault.injected("401 to every transaction", 2)
        done = casebridge("push", tmp_path / "case.json", "--server", fake.base, "--wait", "0s")
        assert (done.exit_code, len(fake.asked(transaction))) == (4, 2)
        assert "sync-login" in done.stderr
        shown = [casebridge("sync", "status", *words).output for words in ([], ["--json"])]
        with open_outbox(default_url(tmp_path / "home")) as box:
            assert not told(fake, access, done.output, shown, box.jobs(), caplog.text)


def test_r14_a_token_server_that_fails_for_once_costs_no_run(fault, login, case):
    fake, site = login
    site.push(small())

    def expire(exchange: Exchange) -> None:
        fake.tokens.clear()
        fake.status(502, when=lambda request: request.path == "/token")
        exchange.send(exchange.carry_out())

    fake.inject("401", expire, when=transaction)
    fault.injected("401 for a token that ended")
    fault.injected("502 by the token server")
    job = site.push(case)
    assert (job.state, job.attempts) == (State.CONFIRMED, 1)
    assert once(site, fake, small(), case)


# other places -----------------------------------------------------------------------------------------------

PLACES = ["another port", "another host"]


def address(server: Scripted, place: str) -> str:
    """Where a server is, said so that it is another host, or just another port, than that of all our servers."""
    return server.origin if place == "another port" else server.origin.replace("127.0.0.1", "localhost")


@pytest.mark.parametrize("place", PLACES)
def test_r20_a_link_to_another_server_is_named_and_not_followed(fault, site, fake, other, case, tmp_path, place):
    site.push(case)
    elsewhere = address(other, place)
    fake.rewrite_next(f"{elsewhere}/fhir?_getpages={CANARY}&base={fake.base}", times=None)
    with pytest.raises(ServerRefused) as caught:
        site.pull(case["case"])
    done = casebridge("pull", "--server", fake.base, "--case", case["case"], "-o", tmp_path / "out")
    job = attempted(site, changed(case))
    fault.injected("a next link to another server", 3)
    [issue] = caught.value.issues
    [text] = texts(job)
    assert all(
        f"leads to {elsewhere}, which is another server than {fake.origin}" in one for one in (issue.text, done.stderr, text)
    )
    assert (caught.value.status, issue.rule, job.reason) == (0, "sync-next-link", "sync-next-link")
    assert (done.exit_code, list((tmp_path / "out").iterdir())) == (4, [])
    assert other.journal == fake.asked(page) == []
    assert once(site, fake, case)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("when", [searching, transaction], ids=lambda when: when.__name__)
def test_r21_a_redirect_is_named_and_not_followed(fault, engine, fake, other, tmp_path, when, status, place):
    secrets = Access(bearer="SECRET-TOKEN", header=("X-API-Key", "SECRET-KEY"))
    with deployed(engine, tmp_path / "home", fake, secrets) as site:
        site.push(small())
        elsewhere, since = address(other, place), len(fake.journal)
        fake.inject("redirect", said(status, outcome(), Location=f"{elsewhere}/fhir/{CANARY}?SECRET-KEY"), when=when)
        fault.injected(f"{status} to another server")
        job = attempted(site, changed(small()))
        assert when(fake.journal[-1]), "nothing came after it, and so no GET in the place of a POST"
        assert other.journal == []
        assert {one.headers["x-api-key"] for one in fake.journal[since:]} == {"SECRET-KEY"}
        assert (job.state is State.CONFIRMED, job.reason) == (False, "sync-redirect")
        assert [text.endswith(f"it redirects to {elsewhere}") for text in texts(job)] == [True]
        assert "SECRET" not in str(job)
        site.push(changed(small()))
        assert once(site, fake, changed(small()))


# what servers repeat ----------------------------------------------------------------------------------------------


def entry_failed(body: Any) -> None:
    if body["type"].endswith("-response"):
        body["entry"][2] = {"response": {"status": f"422 {CANARY}", "outcome": outcome()}}


def altered(body: Any) -> None:
    for entry in body["entry"] if body["type"].endswith("-response") else ():
        resource = entry.get("resource", {})
        if resource.get("resourceType") == "Observation":
            resource.update(status=CANARY, language=CANARY, extension=[{"url": CANARY, "valueString": CANARY}])
            resource.pop("valueQuantity", None)


def renamed(body: Any) -> None:
    """The name of an element, too, is the server's word."""
    for entry in body["entry"] if body["type"].endswith("-response") else ():
        entry.get("resource", {})[CANARY] = [{CANARY: CANARY}]


def garbage(status: int, kind: str, text: str, **headers: str) -> Callable[[Scripted], None]:
    reply = Reply(status, {"Content-Type": kind, **headers}, text.encode())
    return lambda fake: fake.inject("garbage", lambda exchange: exchange.send(reply), None, reading)


def refusing(status: int, when: When, times: int | None = None, **headers: str) -> Callable[[Scripted], None]:
    return lambda fake: fake.inject("refusal", said(status, outcome(), **headers), times, when)


ECHOES: dict[str, Callable[[Scripted], None]] = {
    **{f"{status} to writes": refusing(status, transaction) for status in (400, 401, 403, 404, 409, 412, 413, 422, 500, 503)},
    **{f"{status} to reads": refusing(status, reading) for status in (400, 401, 403, 404, 410, 422, 500)},
    "a redirect": refusing(307, transaction, Location=f"http://127.0.0.1:1/{CANARY}?{CANARY}"),
    "a senseless Retry-After": refusing(429, transaction, 3, **{"Retry-After": CANARY}),
    "a link elsewhere": lambda fake: fake.rewrite_next(f"http://127.0.0.1:1/{CANARY}?{CANARY}", None),
    "a page for people": garbage(200, "text/html", f"<title>{CANARY}</title>"),
    "an unknown type": garbage(200, CANARY, CANARY),
    "an unknown encoding": garbage(200, "application/fhir+json", CANARY, **{"Content-Encoding": CANARY}),
    "broken JSON": garbage(200, "application/fhir+json", f'{{"resourceType": "Bundle", "{CANARY}": "{CANARY}'),
    "a key twice": garbage(200, "application/fhir+json", f'{{"{CANARY}": "{CANARY}", "{CANARY}": 1}}'),
    "another resource": garbage(200, "application/fhir+json", f'{{"resourceType": "{CANARY}"}}'),
    "a cut answer": lambda fake: fake.cut(times=None, when=transaction),
    "an entry that failed": lambda fake: fake.alter("entry", entry_failed, None, transaction),
    "values changed": lambda fake: fake.alter("altered", altered, None, transaction),
    "elements added": lambda fake: fake.alter("renamed", renamed, None, transaction),
}


@pytest.mark.parametrize("echo", ECHOES)
def test_r39_nothing_repeats_what_a_server_says(fault, engine, tmp_path, monkeypatch, echo):
    """Nor what a case says: all that the commands print, the log, the requests' addresses and headers, and names of files."""
    monkeypatch.setattr("random.random", lambda: 0.0)
    record = small(change=lambda record: record["labs"][0].update(note=CANARY))
    (tmp_path / "case.json").write_bytes(json.dumps(record))
    file, out = tmp_path / "case.json", tmp_path / "out"
    with Scripted(page_size=2) as fake:
        server, brief = ("--server", fake.base), ("--wait", "0s")
        ECHOES[echo](fake)
        fault.injected("a canary in what the server says")
        for words in (("push", file, *server, *brief), ("sync", "resume", *brief), ("sync", "retry", "--dead", *brief)):
            casebridge(*words)
            casebridge(*words, "--json")
        with open_outbox(default_url(tmp_path / "home")) as box:
            jobs = [one.id for one in box.jobs()]
        for words in (("sync", "status", "--all"), ("sync", "status", *jobs), ("plan", file, *server)):
            casebridge(*words)
            casebridge(*words, "--json")
        casebridge("pull", *server, "--case", record["case"], "-o", out)
        casebridge("pull", *server, "--compare", file, "-o", out, "--json")
        assert sum(fake.injected.values()) > 0
        assert [one.path for one in fake.journal if CANARY in f"{one.path} {one.headers}"] == []
    assert [path for path in tmp_path.rglob("*") if CANARY in path.name] == []
