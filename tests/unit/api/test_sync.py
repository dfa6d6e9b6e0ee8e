"""Cases pushed, planned and looked after over HTTP: what is answered, and that it is true."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest

from service.config import Access, Settings, read_settings
from service.errors import CasebridgeError, OutboxFull, ServerRefused, ServerUnavailable, Usage
from service.fhir import json
from service.issues import Issue
from service.sync.outbox import default_url, open_outbox, this_worker
from tests.support.deployment import small
from tests.support.synced import BASE, OTHER, Site, Watched, raising, site

ENDPOINTS = ("/sync/push", "/sync/plan", "/sync/pull")
BODIES = {"/sync/pull": {"case": "small-1"}}
BAD_ADDRESSES = [
    "http://169.254.169.254/latest/meta-data",
    "file:///etc/passwd",
    "ftp://fhir.example.org/r4",
    "https://user:secret@fhir.example.org/r4",
    "http://127.0.0.1:8080/fhir",
    "http://localhost/fhir",
    "http://[::1]/fhir",
    "https://fhir.example.org",
    "https://fhir.example.org/r4/other",
    "https://fhir.example.org.evil.example/r4",
    "https://evil.example/?https://fhir.example.org/r4",
    "//fhir.example.org/r4",
    "r4",
    "",
]


@pytest.fixture
def here(settings: Settings) -> Iterator[Site]:
    with site(settings, Watched(), Watched(OTHER)) as made:
        yield made


def body(endpoint: str) -> object:
    return BODIES.get(endpoint) or small()


def rules(response) -> list[str]:
    return [issue["details"]["coding"][0]["code"] for issue in json.loads(response.data)["issue"]]


def issue(rule: str, code: str = "transient") -> Issue:
    return Issue("error", code, rule, "what is wrong", fix="how to mend it")


# --- push ---------------------------------------------------------------------------------------------------------------


def test_a_push_is_on_disk_before_it_is_answered(here, settings):
    response = here.post("/sync/push", small())
    assert response.status_code == 202
    job = json.loads(response.data)
    assert response.headers["Content-Location"] == f"/sync/jobs/{job['id']}"
    assert (job["state"], job["ok"], job["server"], job["label"]) == ("queued", None, BASE, "")
    with open_outbox(default_url(settings.home)) as another_process:
        assert another_process.job(job["id"]).state == "queued"
    assert here.server.asked == 0


def test_a_job_is_202_while_it_is_open_and_200_with_its_report_then(here):
    address = here.pushed(small())
    waiting = here.get(address)
    assert (waiting.status_code, waiting.headers["X-Progress"]) == (202, "queued")
    assert int(waiting.headers["Retry-After"]) >= 1
    here.drain()
    settled = here.get(address)
    assert settled.status_code == 200
    job = json.loads(settled.data)
    assert (job["state"], job["ok"], job["report"]["counts"]) == ("confirmed", True, {"create": 5})
    assert "X-Progress" not in settled.headers
    assert len(here.server.all()) == 6, "the Provenance too"


def test_the_same_case_while_it_waits_is_the_same_job(here):
    first = here.pushed(small())
    assert here.pushed(small()) == first
    assert here.pushed(small("small-2")) != first
    assert here.pushed(small(), "?overwrite=true") != first


def test_a_case_that_is_there_is_not_written_again(here):
    here.pushed(small())
    here.drain()
    address = here.pushed(small())
    here.drain()
    assert json.loads(here.get(address).data)["report"]["counts"] == {"unchanged": 5}


def test_a_foreign_edit_is_a_conflict_and_overwrite_settles_it(here):
    here.pushed(small())
    here.drain()
    [patient] = here.server.all("Patient")
    here.server.edit("Patient", patient["id"], lambda one: one.update(gender="male"))
    changed = small(change=lambda record: record["patient"].update(sex="male" if patient["gender"] == "male" else "unknown"))
    address = here.pushed(changed)
    here.drain()
    job = json.loads(here.get(address).data)
    assert (job["state"], job["ok"]) == ("conflict", False)
    address = here.pushed(changed, "?overwrite=true")
    here.drain()
    assert json.loads(here.get(address).data)["ok"] is True


def test_a_case_with_errors_is_422_as_in_convert_and_no_job(here, refusal):
    record = small() | {"nosuch": 1}
    converted = here.post("/convert", record)
    for endpoint in ("/sync/push", "/sync/plan"):
        response = here.post(endpoint, record)
        assert refusal(response, 422) == json.loads(converted.data)["issue"]
    assert here.sync.outbox().jobs() == []
    refusal(here.post("/sync/push?lenient=true", {"case": 1}), 422)


def test_lenient_tells_what_was_left_out_beside_the_job(here):
    answer = json.loads(here.post("/sync/push?lenient=true", small() | {"nosuch": 1}).data)
    assert answer["job"]["state"] == "queued"
    assert answer["outcome"]["issue"][0]["severity"] == "warning"
    planned = json.loads(here.post("/sync/plan?lenient=true", small() | {"nosuch": 1}).data)
    assert planned["plan"]["cases"][0]["steps"]
    assert planned["outcome"]["issue"][0]["severity"] == "warning"


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_what_is_no_json_is_400_whatever_is_configured(settings, refusal, endpoint):
    with site(settings) as bare:
        [found] = refusal(bare.post(endpoint, b"{"), 400)
        assert found["details"]["coding"][0]["code"] == "json-syntax"


def test_what_the_server_said_in_its_own_words_is_never_given(here):
    said = {"resourceType": "OperationOutcome", "issue": [{"diagnostics": "CANARY"}]}
    address = here.pushed(small())
    here.server.fails = raising(ServerRefused([issue("sync-refused")], status=422, outcome=said))
    here.drain()
    assert here.sync.outbox().job(address.rpartition("/")[2]).report["server"] == said
    settled = here.get(address)
    assert json.loads(settled.data)["state"] == "dead"
    assert b"CANARY" not in settled.data


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_a_page_of_another_site_cannot_have_a_browser_do_it(here, refusal, endpoint):
    for kind in (None, "", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
        refusal(here.post(endpoint, body(endpoint), content_type=kind), 415)
    assert here.sync.outbox().jobs() == []


# --- which server -------------------------------------------------------------------------------------------------------


def test_the_query_may_name_any_server_that_is_configured(here):
    assert here.sync.outbox().job(here.pushed(small(), "?server=HTTPS://Other.Example.org:443/r4/")[-32:]).target == OTHER
    assert here.sync.outbox().job(here.pushed(small(), f"?server={BASE}/")[-32:]).target == BASE


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_any_other_is_400_and_nobody_is_asked(here, refusal, endpoint):
    for url in BAD_ADDRESSES:
        response = here.post(endpoint, body(endpoint), query_string={"server": url})
        refusal(response, 400)
        assert rules(response)[0] in ("sync-server", "sync-address"), url
        assert not url or url.encode() not in response.data
    assert here.server.asked == 0
    assert here.sync.outbox().jobs() == []


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_without_a_server_it_is_400_and_says_what_to_set(settings, refusal, endpoint):
    with site(settings) as bare:
        [found] = refusal(bare.post(endpoint, body(endpoint)), 400)
    assert "CASEBRIDGE_SERVER" in found["diagnostics"]
    assert not (settings.home / "outbox.db").exists()


def test_credentials_are_for_the_one_server(settings):
    access = Access(server=BASE, bearer="secret", header=("X-API-Key", "secret"))
    reachable = dict(replace(settings, access=access, servers=(OTHER,)).reachable())
    assert reachable[BASE] == access
    assert reachable[OTHER] == Access()


def test_servers_and_the_bound_come_from_the_environment():
    given = {"CASEBRIDGE_SERVERS": f" {BASE}\n{OTHER} ", "CASEBRIDGE_MOST_JOBS": "7"}
    assert (read_settings(given).servers, read_settings(given).most_jobs) == ((BASE, OTHER), 7)
    assert (read_settings({}).servers, read_settings({}).most_jobs) == ((), 10_000)


@pytest.mark.parametrize("url", ["ftp://fhir.example.org", "http://169.254.169.254/fhir", "https://a:b@fhir.example.org"])
def test_a_service_does_not_start_with_a_server_that_may_not_be_asked(settings, caplog, url):
    from service.api import create_app

    with pytest.raises(Usage):
        create_app(replace(settings, servers=(url,)))
    assert "cannot start, FHIR servers:" in caplog.text


# --- plan ---------------------------------------------------------------------------------------------------------------


def test_a_plan_is_what_a_push_would_do(here):
    planned = json.loads(here.post("/sync/plan", small()).data)
    assert set(planned) == {"server", "mapping", "cases"}
    [case] = planned["cases"]
    assert planned["server"] == BASE
    assert [step["action"] for step in case["steps"]] == ["create"] * 5
    assert here.server.all() == []
    here.pushed(small())
    here.drain()
    [case] = json.loads(here.post("/sync/plan", small()).data)["cases"]
    assert {step["action"] for step in case["steps"]} == {"unchanged"}


def test_a_plan_shows_no_values(here):
    here.pushed(small())
    here.drain()
    record = small(change=lambda one: one["labs"][0].update(value=9876543))
    planned = here.post("/sync/plan", record)
    [changed] = [step for step in json.loads(planned.data)["cases"][0]["steps"] if step["action"] == "update"]
    assert changed["changes"]
    assert b"9876543" not in planned.data


# --- jobs ---------------------------------------------------------------------------------------------------------------


def test_a_job_that_is_none(here, refusal):
    for job_id in ("0" * 32, "1", "CANARY", "%2e%2e", "0" * 33, "A" * 32):
        for response in (here.get(f"/sync/jobs/{job_id}"), here.delete(f"/sync/jobs/{job_id}")):
            [found] = refusal(response, 404)
            assert found["code"] == "not-found"
            assert b"CANARY" not in response.data


def test_the_beginning_of_an_id_is_none(here, refusal):
    address = here.pushed(small())
    refusal(here.get(address[:-1]), 404)
    refusal(here.delete(address[:-1]), 404)
    assert here.get(address).status_code == 202


def test_a_queued_job_can_be_taken_back(here, refusal):
    address = here.pushed(small())
    response = here.delete(address)
    assert (response.status_code, response.data) == (204, b"")
    job = json.loads(here.get(address).data)
    assert (job["state"], job["ok"], job["reason"]) == ("dead", False, "sync-cancelled")
    here.drain()
    assert here.server.asked == 0
    refusal(here.delete(address), 409)


def test_a_job_that_is_being_sent_or_is_settled_cannot(here, refusal):
    address = here.pushed(small())
    claimed = here.sync.outbox().claim(this_worker(), now=9e9)
    assert claimed is not None
    [found] = refusal(here.delete(address), 409)
    assert found["code"] == "conflict"
    sending = here.get(address)
    assert (sending.status_code, sending.headers["X-Progress"]) == (202, "sending")


# --- what goes wrong ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("endpoint", ["/sync/plan", "/sync/pull"])
@pytest.mark.parametrize(
    ("error", "status", "retry_after"),
    [
        (ServerUnavailable([issue("sync-connect")]), 503, "30"),
        (ServerUnavailable([issue("sync-busy")], retry_after=6.2), 503, "7"),
        (ServerUnavailable([issue("sync-busy")], retry_after=1e9), 503, "3600"),
        (ServerUnavailable([issue("sync-reply")], sent=True), 502, None),
        (ServerRefused([issue("sync-login", "login")], status=401), 502, None),
        (ServerRefused([issue("sync-unfit")]), 502, None),
    ],
)
def test_a_server_that_fails(here, refusal, endpoint, error, status, retry_after):
    here.server.fails = raising(error)
    response = here.post(endpoint, body(endpoint))
    [found] = refusal(response, status)
    assert found["details"]["text"] == "what is wrong"
    assert response.headers.get("Retry-After") == retry_after


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (OutboxFull([issue("sync-outbox-full")], retry_after=9), 503),
        (OutboxFull([issue("sync-outbox-locked")], retry_after=9), 503),
        (OutboxFull([issue("sync-outbox-disk")], disk=True), 507),
        (CasebridgeError([issue("sync-outbox-unreachable")]), 503),
        (CasebridgeError([issue("sync-outbox-damaged")]), 500),
    ],
)
def test_an_outbox_that_fails(here, refusal, monkeypatch, error, status):
    """Where it lies is the operator's business: only the log has it."""
    error.issues = [one.at(text=f"{one.text} /var/lib/outbox", fix="look at /var/lib/outbox") for one in error.issues]
    if isinstance(error, OutboxFull):
        error.issues = [one.at(text="what is wrong") for one in error.issues]
    monkeypatch.setattr(here.sync.outbox(), "accept", lambda *_: raising(error)())
    response = here.post("/sync/push", small())
    refusal(response, status)
    assert ("Retry-After" in response.headers) == (status == 503)
    if "sync-outbox-full" not in rules(response):
        assert b"/var/lib" not in response.data


def test_an_address_of_the_outbox_that_is_none_is_the_operators_fault(settings, refusal):
    with site(replace(settings, database="mysql://somewhere/else"), Watched()) as made:
        refusal(made.post("/sync/push", small()), 500)
        refusal(made.get("/health/ready"), 503)


def test_a_server_that_wants_to_be_left_alone_is_not_asked(here, refusal):
    here.sync.outbox().hold(BASE, 9e9, "sync-busy")
    for endpoint in ("/sync/plan", "/sync/pull"):
        response = here.post(endpoint, body(endpoint))
        refusal(response, 503)
        assert response.headers["Retry-After"] == "3600"
    assert here.server.asked == 0
    here.pushed(small())


def test_the_bound_of_the_outbox_is_503(settings, refusal):
    with site(replace(settings, most_jobs=2), Watched()) as made:
        first, _second = made.pushed(small("a")), made.pushed(small("b"))
        response = made.post("/sync/push", small("c"))
        refusal(response, 503)
        assert response.headers["Retry-After"] == "30"
        assert rules(response) == ["sync-outbox-full"]
        assert made.pushed(small("a")) == first, "a repetition is no new job"
        made.drain()
        made.pushed(small("c"))


# --- whether it can be used ---------------------------------------------------------------------------------------------


def test_ready_says_whether_the_outbox_can_be_reached(here, settings, refusal):
    assert json.loads(here.get("/health/ready").data)["outbox"] == "ready"
    with site(replace(settings, home=settings.home / "outbox.db" / "below"), Watched()) as made:
        [found] = refusal(made.get("/health/ready"), 503)
        assert str(settings.home) not in found["details"]["text"]
        assert made.get("/health/live").status_code == 200


def test_without_a_server_the_outbox_does_not_matter(settings):
    with site(settings) as bare:
        assert bare.get("/health/ready").status_code == 200
    assert not (settings.home / "outbox.db").exists()


def test_a_service_that_stops_takes_nothing_new(here, refusal):
    address = here.pushed(small())
    here.sync.stopping.set()
    for response in (here.post("/sync/push", small()), here.post("/sync/pull", {"all": True}), here.get("/health/ready")):
        [found] = refusal(response, 503)
        assert "Retry-After" in response.headers
        assert found["details"]["coding"][0]["code"] == "sync-stopping"
    assert here.get(address).status_code == 202
    assert here.post("/convert", small()).status_code == 200


def test_many_clients_at_once_open_one_outbox(here):
    found: list[str] = []
    threads = [threading.Thread(target=lambda: found.append(here.pushed(small()))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1
