"""The faults do what they say: to the client that sees them, and to the server behind."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest

from service.errors import UnreadableInput
from service.fhir import json
from tests.support.fake_fhir import FakeFhir
from tests.support.fault_proxy import FaultProxy
from tests.support.http_faults import Cut, FaultyServer

PATIENT = {"resourceType": "Patient", "active": True}


@contextmanager
def _proxied() -> Iterator[tuple[FaultyServer, FakeFhir]]:
    with FakeFhir() as fake, FaultProxy(fake.base) as proxy:
        yield proxy, fake


@contextmanager
def _direct() -> Iterator[tuple[FaultyServer, FakeFhir]]:
    with FakeFhir() as fake:
        yield fake, fake


@pytest.fixture(params=[_direct, _proxied])
def both(request: pytest.FixtureRequest) -> Iterator[tuple[FaultyServer, FakeFhir]]:
    """What is faulty, and the server behind it."""
    with request.param() as pair:
        yield pair


Both = tuple[FaultyServer, FakeFhir]


class Client:
    """One connection, as a plain HTTP client has it."""

    def __init__(self, base: str) -> None:
        self._parts = urlsplit(base)
        self.connection = http.client.HTTPConnection(self._parts.netloc, timeout=20)

    def ask(self, method: str, place: str = "", body: Any = None, **headers: str) -> tuple[http.client.HTTPResponse, Any]:
        path = f"{self._parts.path}/{place}" if place else self._parts.path
        data = body if isinstance(body, bytes | None) else json.dumps(body)
        self.connection.request(method, path, data, {"Content-Type": "application/fhir+json", **headers})
        reply = self.connection.getresponse()
        text = reply.read()
        return reply, json.loads(text) if text else None

    def send_creation(self) -> None:
        self.connection.request(
            "POST", f"{self._parts.path}/Patient", json.dumps(PATIENT), {"Content-Type": "application/json"}
        )

    def create(self) -> tuple[http.client.HTTPResponse, Any]:
        return self.ask("POST", "Patient", PATIENT)


@contextmanager
def _client(server: FaultyServer) -> Iterator[Client]:
    client = Client(server.base)
    with closing(client.connection):
        yield client


def _number(fake: FakeFhir) -> int:
    return len(fake.memory.all())


def test_a_server_in_good_health_answers_many_requests_on_one_connection(both: Both) -> None:
    faulty, fake = both
    with _client(faulty) as client:
        made, patient = client.create()
        read, same = client.ask("GET", f"Patient/{patient['id']}")
    assert (made.status, read.status) == (201, 200)
    assert same == patient
    assert made.headers["Location"].startswith(faulty.base)
    assert made.headers["ETag"] == 'W/"1"'
    assert [(each.number, each.method, each.path) for each in faulty.journal] == [
        (1, "POST", "/fhir/Patient"),
        (2, "GET", f"/fhir/Patient/{patient['id']}"),
    ]
    assert faulty.journal[0].json == PATIENT
    assert _number(fake) == 1


def test_a_dropped_request_is_not_carried_out(both: Both) -> None:
    faulty, fake = both
    faulty.drop_request()
    with _client(faulty) as client, pytest.raises(http.client.RemoteDisconnected):
        client.create()
    assert (_number(fake), faulty.injected["drop_request"]) == (0, 1)


def test_a_dropped_reply_comes_of_a_request_that_was_carried_out(both: Both) -> None:
    faulty, fake = both
    faulty.drop_reply()
    with _client(faulty) as client, pytest.raises(http.client.RemoteDisconnected):
        client.create()
    assert (_number(fake), faulty.injected["drop_reply"]) == (1, 1)


def test_a_reset_is_an_error_of_the_connection(both: Both) -> None:
    faulty, fake = both
    faulty.reset()
    with _client(faulty) as client, pytest.raises(ConnectionResetError):
        client.create()
    assert _number(fake) == 0


@pytest.mark.parametrize("how", ["length", "chunked"])
def test_a_reply_that_is_cut_is_seen_to_be_short(both: Both, how: Cut) -> None:
    faulty, fake = both
    faulty.cut(how)
    with _client(faulty) as client, pytest.raises(http.client.IncompleteRead):
        client.create()
    assert _number(fake) == 1


def test_a_reply_cut_without_a_length_looks_whole(both: Both) -> None:
    faulty, _fake = both
    faulty.cut("close", at=0)
    with _client(faulty) as client:
        reply, body = client.create()
    assert (reply.status, reply.headers["Content-Length"], body) == (201, None, None)


def test_a_truncated_reply_has_as_many_bytes_as_were_asked_for(both: Both) -> None:
    faulty, _fake = both
    faulty.truncate(7)
    with _client(faulty) as client, pytest.raises(http.client.IncompleteRead) as caught:
        client.create()
    assert len(caught.value.partial) == 7


@pytest.mark.parametrize("head", [False, True])
def test_a_drip_goes_on_until_the_client_leaves(both: Both, head: bool) -> None:
    faulty, fake = both
    faulty.drip(head=head, every=0.0001)
    with _client(faulty) as client:
        client.send_creation()
        assert client.connection.sock is not None
        received = b""
        while received.count(b"a" if head else b" \r\n") < 50:
            received += client.connection.sock.recv(100)
    assert _number(fake) == 1


def test_a_canned_answer_comes_as_often_as_was_asked_and_only_to_whom_it_is_meant(both: Both) -> None:
    faulty, fake = both
    faulty.fault(2, when=lambda request: request.method == "POST", status=429, headers={"Retry-After": "7"})
    with _client(faulty) as client:
        statuses = [client.ask("GET", "metadata")[0].status, *(client.create()[0].status for _ in range(3))]
    assert statuses == [200, 429, 429, 201]
    assert (_number(fake), faulty.injected["fault"]) == (1, 2)


def test_a_canned_answer_can_hide_that_the_request_was_carried_out(both: Both) -> None:
    faulty, fake = both
    faulty.fault(status=504, body=b"<html>", headers={"Content-Type": "text/html"}, before=False)
    with _client(faulty) as client:
        client.send_creation()
        reply = client.connection.getresponse()
        assert (reply.status, reply.headers["Content-Type"], reply.read()) == (504, "text/html", b"<html>")
    assert _number(fake) == 1


def test_a_status_is_given_for_ever_until_it_is_taken_back(both: Both) -> None:
    faulty, _fake = both
    faulty.status(500, times=None)
    with _client(faulty) as client:
        first = [client.ask("GET", "metadata")[0].status for _ in range(3)]
        faulty.clear()
        last = client.ask("GET", "metadata")[0].status
    assert (first, last) == ([500, 500, 500], 200)


def test_a_duplicated_request_is_carried_out_twice(both: Both) -> None:
    faulty, fake = both
    faulty.dup_request()
    with _client(faulty) as client:
        assert client.create()[0].status == 201
    assert _number(fake) == 2


def test_a_late_delivery_happens_when_the_client_has_long_given_up(both: Both) -> None:
    faulty, fake = both
    gate = faulty.late_delivery()
    with _client(faulty) as client, pytest.raises(ConnectionResetError):
        client.create()
    assert _number(fake) == 0
    gate.release()
    assert gate.passed.wait(20)
    assert _number(fake) == 1


def test_what_is_never_released_is_never_delivered() -> None:
    with FakeFhir() as fake:
        gate = fake.late_delivery()
        with _client(fake) as client, pytest.raises(ConnectionResetError):
            client.create()
    assert gate.reached.is_set()
    assert _number(fake) == 0


def test_a_held_reply_comes_when_it_is_released(both: Both) -> None:
    faulty, fake = both
    gate = faulty.hold()
    with _client(faulty) as client:
        client.send_creation()
        assert gate.reached.wait(20)
        assert _number(fake) == 1
        gate.release()
        assert client.connection.getresponse().status == 201


def test_a_server_that_goes_down_forgets_whom_it_held(both: Both) -> None:
    faulty, fake = both
    gate = faulty.hold()
    with _client(faulty) as client:
        client.send_creation()
        assert gate.reached.wait(20)
        faulty.down = True
        with pytest.raises(ConnectionError):
            client.connection.getresponse()
    assert (_number(fake), gate.passed.is_set()) == (1, False)


def test_the_next_link_leads_elsewhere_once_there_is_one(both: Both) -> None:
    faulty, _fake = both
    faulty.rewrite_next("https://elsewhere.invalid/page")
    with _client(faulty) as client:
        for _ in range(2):
            client.create()
        assert faulty.injected["rewrite_next"] == 0
        _reply, page = client.ask("GET", "Patient?_count=1", **{"Cache-Control": "no-cache"})
        _reply, again = client.ask("GET", "Patient?_count=1", **{"Cache-Control": "no-cache"})
    assert [link["url"] for link in page["link"]][1] == "https://elsewhere.invalid/page"
    assert [link["url"] for link in again["link"]][1].startswith(faulty.base)
    assert faulty.injected["rewrite_next"] == 1


def test_an_entry_of_a_response_is_missing_and_the_rest_as_it_was(both: Both) -> None:
    faulty, fake = both
    faulty.missing_entry(1)
    entries = [{"resource": PATIENT | {"id": name}, "request": {"method": "PUT", "url": f"Patient/{name}"}} for name in "abc"]
    with _client(faulty) as client:
        _reply, answer = client.ask("POST", body={"resourceType": "Bundle", "type": "transaction", "entry": entries})
    assert [each["response"]["location"] for each in answer["entry"]] == ["Patient/a/_history/1", "Patient/c/_history/1"]
    assert _number(fake) == 3


def test_a_corrupted_reply_is_as_long_as_it_was_and_no_json(both: Both) -> None:
    faulty, _fake = both
    faulty.corrupt()
    with _client(faulty) as client, pytest.raises(UnreadableInput):
        client.create()


def test_a_server_that_is_down_refuses_connections_and_comes_back_with_what_it_knew(both: Both) -> None:
    faulty, fake = both
    with _client(faulty) as client:
        client.create()
        faulty.down = True
        with pytest.raises(ConnectionError):
            client.create()
    with _client(faulty) as client, pytest.raises(ConnectionRefusedError):
        client.create()
    faulty.down = False
    with _client(faulty) as client:
        assert client.create()[0].status == 201
    assert _number(fake) == 2


def test_a_proxy_whose_server_is_gone_says_so() -> None:
    with _proxied() as (proxy, fake):
        fake.down = True
        with _client(proxy) as client:
            assert client.create()[0].status == 502


def test_an_error_of_the_server_itself_fails_the_test_that_met_it() -> None:
    def broken(_exchange: object) -> None:
        raise LookupError

    def meet_it() -> None:
        with FakeFhir() as fake, _client(fake) as client:
            fake.inject("broken", broken)
            with pytest.raises(http.client.RemoteDisconnected):
                client.create()

    with pytest.raises(LookupError):
        meet_it()


def test_a_smart_server_lets_in_who_has_a_living_token() -> None:
    form = urlencode({"grant_type": "client_credentials", "client_assertion": "a.b.c", "scope": "system/*.*"}).encode()
    with FakeFhir(smart=True) as fake, _client(fake) as client:
        assert client.ask("GET", "metadata")[0].status == 200
        assert client.ask("GET", ".well-known/smart-configuration")[1] == {"token_endpoint": f"{fake.origin}/token"}
        assert client.create()[0].status == 401
        client.connection.request("POST", "/token", form)
        token = json.loads(client.connection.getresponse().read())
        let_in = {"Authorization": f"Bearer {token['access_token']}"}
        assert client.ask("POST", "Patient", PATIENT, **let_in)[0].status == 201
        fake.tokens.clear()
        assert client.ask("POST", "Patient", PATIENT, **let_in)[0].status == 401
    assert [each["scope"] for each in fake.assertions] == ["system/*.*"]
