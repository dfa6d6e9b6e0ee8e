from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import ServerRefused
from service.fhir.search import condition
from service.sync import memory
from service.sync.memory import MemoryServer
from service.sync.memory_search import split, unescaped
from service.sync.server import Resource, token

SYSTEM = "https://example.org/ids"


def patient(value: str = "p", **more: Any) -> Resource:
    return {"resourceType": "Patient", "identifier": [{"system": SYSTEM, "value": value}], **more}


def post(resource: Resource, **request: str) -> Resource:
    return {"resource": resource, "request": {"method": "POST", "url": resource["resourceType"], **request}}


def put(resource: Resource, **request: str) -> Resource:
    return {
        "resource": resource,
        "request": {"method": "PUT", "url": f"{resource['resourceType']}/{resource['id']}", **request},
    }


def delete(url: str, **request: str) -> Resource:
    return {"request": {"method": "DELETE", "url": url, **request}}


def transaction(*entries: Resource) -> Resource:
    return {"resourceType": "Bundle", "type": "transaction", "entry": [*entries]}


def status(call: Callable[[], object]) -> int:
    """The status of the refusal that a call must meet; its outcome says just what its issues say, and no value."""
    with pytest.raises(ServerRefused) as caught:
        call()
    assert caught.value.outcome is not None
    assert [each["details"]["text"] for each in caught.value.outcome["issue"]] == [each.text for each in caught.value.issues]
    assert all(each.rule == "sync-refused" and each.fix for each in caught.value.issues)
    return caught.value.status


def filled(number: int, **options: Any) -> MemoryServer:
    """A server with this many Patients, whose ids are p0, p1, ..."""
    server = MemoryServer(**options)
    server.submit(transaction(*(put(patient(str(each), id=f"p{each}")) for each in range(number))))
    return server


class Clock:
    """A clock that goes on when it is told to."""

    def __init__(self) -> None:
        self.now = datetime(2026, 5, 7, 10, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


# What it holds is its own -------------------------------------------------------------------------------------------


def test_what_was_handed_in_can_be_changed_without_changing_what_is_stored() -> None:
    server = MemoryServer()
    mine = patient(id="p", name=[{"given": ["A"]}])
    server.submit(transaction(put(mine)))
    mine["name"][0]["given"].append("B")
    assert server.all()[0]["name"] == [{"given": ["A"]}]


@pytest.mark.parametrize(
    "look",
    [
        lambda server: server.read("Patient", "p0"),
        lambda server: server.all()[0],
        lambda server: server.search("Patient", [])["entry"][0]["resource"],
        lambda server: server.everything("p0")["entry"][0]["resource"],
        lambda server: server.submit(transaction(put(patient("0", id="p0"))))["entry"][0]["resource"],
    ],
)
def test_what_was_handed_out_can_be_changed_without_changing_what_is_stored(look: Callable[[MemoryServer], Resource]) -> None:
    server = filled(1)
    look(server)["identifier"][0]["value"] = "changed"
    assert look(server)["identifier"][0]["value"] == "0"


def test_decimals_are_handed_out_as_they_came() -> None:
    server = MemoryServer()
    finding = {"resourceType": "Observation", "id": "o", "valueQuantity": {"value": Decimal("4.50")}}
    server.submit(transaction(put(finding)))
    assert str((server.read("Observation", "o") or {})["valueQuantity"]["value"]) == "4.50"


def test_threads_that_create_one_thing_on_a_condition_make_one() -> None:
    server = MemoryServer()
    entry = post(patient(), ifNoneExist=condition("identifier", SYSTEM, "p"))
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: server.submit(transaction(entry)), range(40)))
    codes = sorted(answer["entry"][0]["response"]["status"] for answer in answers)
    assert codes == ["200 OK"] * 39 + ["201 Created"]
    assert len(server.all("Patient")) == 1


def test_threads_that_update_one_version_have_one_winner() -> None:
    server = filled(1)

    def update(number: int) -> int:
        try:
            server.submit(transaction(put(patient(str(number), id="p0", active=True), ifMatch='W/"1"')))
        except ServerRefused as error:
            return error.status
        return 200

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(update, range(20))) == [200] + [409] * 19
    assert server.versions("Patient", "p0") == 2


# Options ------------------------------------------------------------------------------------------------------------


def test_a_bundle_longer_than_the_limit_is_refused_whole() -> None:
    server = MemoryServer(max_bundle=2)
    three = transaction(*(post(patient(value)) for value in "abc"))
    assert status(lambda: server.submit(three)) == 413
    assert server.all() == []
    assert len(server.submit(transaction(*three["entry"][:2]))["entry"]) == 2


@pytest.mark.parametrize("stale", [409, 412])
def test_a_stale_version_is_answered_as_the_option_says(stale: int) -> None:
    server = filled(1, stale_status=stale)
    server.edit("Patient", "p0", lambda it: it.update(gender="other"))
    assert status(lambda: server.submit(transaction(put(patient(id="p0"), ifMatch='W/"1"')))) == stale
    assert status(lambda: server.submit(transaction(delete("Patient/p0", ifMatch='W/"1"')))) == stale
    assert server.versions("Patient", "p0") == 2


def test_a_server_without_everything_says_so_and_refuses_it() -> None:
    with_it, without = filled(1), filled(1, everything=False)
    assert "operation" in _known(with_it)["Patient"]
    assert "operation" not in _known(without)["Patient"]
    assert status(lambda: without.everything("p0")) == 404


def _known(server: MemoryServer) -> dict[str, Resource]:
    return {each["type"]: each for each in server.capabilities()["rest"][0]["resource"]}


def test_times_are_those_of_the_clock_in_utc() -> None:
    clock = Clock()
    clock.now = clock.now.astimezone(tz=None)
    server = filled(1, clock=clock)
    assert server.all()[0]["meta"]["lastUpdated"] == "2026-05-07T10:00:00.000+00:00"


# Other people -------------------------------------------------------------------------------------------------------


def test_a_foreign_edit_makes_a_version() -> None:
    server = filled(1)
    server.edit("Patient", "p0", lambda it: it.update(gender="other"))
    assert (server.versions("Patient", "p0"), server.all()[0]["gender"]) == (2, "other")
    assert server.all()[0]["meta"]["versionId"] == "2"
    with pytest.raises(KeyError):
        server.edit("Patient", "never", lambda it: it.clear())


def test_a_foreign_deletion_asks_nobody() -> None:
    server = filled(1)
    server.submit(transaction(post({"resourceType": "Observation", "subject": {"reference": "Patient/p0"}})))
    server.delete("Patient", "p0")
    server.delete("Patient", "p0")
    assert server.read("Patient", "p0") is None
    assert server.versions("Patient", "p0") == 2
    assert [each["resourceType"] for each in server.all()] == ["Observation"]
    assert server.all("Patient") == []


def test_a_get_says_whether_a_resource_is_gone_or_never_was() -> None:
    server = filled(2)
    server.delete("Patient", "p0")
    assert status(lambda: server.get("Patient/p0")) == 410
    assert status(lambda: server.get("Patient/p9")) == 404
    assert server.get("Patient/p1")["id"] == "p1"
    assert server.get("Patient?_id=p1")["total"] == 1
    assert server.get("Patient/p1/$everything")["total"] == 1


# Transactions -------------------------------------------------------------------------------------------------------


def test_an_entry_is_answered_with_where_it_is_and_a_bare_version() -> None:
    [entry] = MemoryServer(clock=Clock()).submit(transaction(put(patient(id="p"))))["entry"]
    assert entry["response"] == {
        "status": "201 Created",
        "location": "Patient/p/_history/1",
        "etag": "1",
        "lastModified": "2026-05-07T10:00:00.000+00:00",
    }


def test_a_failed_transaction_can_be_sent_again() -> None:
    server = MemoryServer()
    good = [post(patient(), ifNoneExist=condition("identifier", SYSTEM, "p")), put(patient("q", id="q"))]
    bad = post({"resourceType": "Observation", "subject": {"reference": "Patient/lost"}})
    assert status(lambda: server.submit(transaction(*good, bad))) == 400
    assert (server.all(), server.versions("Patient", "q")) == ([], 0)
    assert server.search("Patient", [("identifier", token(SYSTEM, "p"))])["total"] == 0
    assert [each["response"]["status"] for each in server.submit(transaction(*good))["entry"]] == ["201 Created"] * 2


def test_a_transaction_reads_after_it_has_written() -> None:
    server = MemoryServer()
    reading = {"request": {"method": "GET", "url": "Patient/p"}}
    answer = server.submit(transaction(reading, put(patient(id="p"))))
    assert answer["entry"][0]["resource"] == answer["entry"][1]["resource"]


def test_what_fails_in_a_transaction_by_reading_is_not_written_either() -> None:
    server = MemoryServer()
    reading = {"request": {"method": "GET", "url": "Patient/never"}}
    assert status(lambda: server.submit(transaction(reading, put(patient(id="p"))))) == 404
    assert server.all() == []


@pytest.mark.parametrize(
    "entry",
    [
        {},
        {"request": {"method": "PATCH", "url": "Patient/p0"}},
        {"request": {"method": "POST"}},
        {"request": {"method": "POST", "url": "Patient"}},
        {"request": {"method": "POST", "url": "Patient"}, "resource": {"resourceType": "Zork"}},
        {"request": {"method": "POST", "url": "Patient"}, "resource": {"resourceType": "HumanName"}},
        {"request": {"method": "POST", "url": "Observation"}, "resource": patient()},
        {"request": {"method": "PUT", "url": "Patient/other"}, "resource": patient(id="p0")},
        {"request": {"method": "PUT", "url": "Patient?identifier=x"}, "resource": patient()},
        {"request": {"method": "PUT", "url": "Patient/under_score"}, "resource": patient()},
        {"request": {"method": "PUT", "url": "Patient/p0", "ifMatch": "1"}, "resource": patient(id="p0")},
        {"request": {"method": "DELETE", "url": "Patient"}},
    ],
)
def test_an_entry_that_makes_no_sense_is_refused(entry: Resource) -> None:
    server = filled(1)
    assert status(lambda: server.submit(transaction(entry))) == 400
    assert server.versions("Patient", "p0") == 1


def test_ids_inside_extensions_of_primitives_and_narrative_stay_as_hapi_leaves_them() -> None:
    server = MemoryServer()
    name = "urn:uuid:0b9d4f5e-6ac1-4d0c-8d7e-0d6f5f4a8f01"
    inside = {"extension": [{"url": "https://example.org/it", "valueReference": {"reference": name}}]}
    text = {"status": "generated", "div": f'<div xmlns="http://www.w3.org/1999/xhtml"><a href="{name}">it</a></div>'}
    finding = {"resourceType": "Observation", "id": "o", "text": text, "_effectiveDateTime": inside}
    server.submit(transaction({**post(patient()), "fullUrl": name}, put(finding)))
    stored = server.read("Observation", "o") or {}
    assert (stored["_effectiveDateTime"], stored["text"]) == (inside, text)


def test_tags_are_a_set_whose_order_says_nothing() -> None:
    server = MemoryServer()
    one, two = ({"system": SYSTEM, "code": code} for code in ("one", "two"))
    for tags in ([one, two], [two, one], [one], []):
        server.submit(transaction(put(patient(id="p", meta={"tag": tags}))))
    assert server.versions("Patient", "p") == 1
    server.submit(transaction(put(patient(id="p", meta={"tag": [{"system": SYSTEM, "code": "three"}]}))))
    assert [each["code"] for each in server.all()[0]["meta"]["tag"]] == ["three", "one", "two"]


# Searches -----------------------------------------------------------------------------------------------------------


@given(st.lists(st.text(max_size=8), min_size=1, max_size=4))
def test_escaped_values_come_apart_as_they_were_put_together(values: list[str]) -> None:
    joined = ",".join(token(value, value) for value in values)
    parts = [[unescaped(part) for part in split(each, "|")] for each in split(joined, ",")]
    assert parts == [[value, value] for value in values]


@pytest.mark.parametrize(
    ("value", "ids"),
    [
        (f"{SYSTEM}|1", ["p1"]),
        ("1", ["p1"]),
        (f"{SYSTEM}|", ["p0", "p1", "p2"]),
        (f"{SYSTEM}|0,2", ["p0", "p2"]),
        ("|1", []),
        ("https://example.org|1", []),
    ],
)
def test_identifiers_are_searched_as_tokens(value: str, ids: list[str]) -> None:
    assert _ids(filled(3).search("Patient", [("identifier", value)])) == ids


def _ids(page: Resource) -> list[str]:
    return [entry["resource"]["id"] for entry in page.get("entry", [])]


@pytest.mark.parametrize(
    ("value", "ids"),
    [
        ("ge2026-05-07T10:00:01.000Z", ["p1", "p2"]),
        ("gt2026-05-07T10:00:01.000Z", ["p2"]),
        ("gt2026-05-07T10:00:01Z", ["p2"]),
        ("le2026-05-07T10:00:01.000+00:00", ["p0", "p1"]),
        ("lt2026-05-07T12:00:01+02:00", ["p0"]),
        ("eq2026-05-07T10:00:01", ["p1"]),
        ("2026-05-07", ["p0", "p1", "p2"]),
        ("gt2026-05-07", []),
        ("lt2026-05-07", []),
    ],
)
def test_times_are_searched_to_the_precision_that_is_asked_for(value: str, ids: list[str]) -> None:
    clock = Clock()
    server = MemoryServer(clock=clock)
    for number in range(3):
        server.submit(transaction(put(patient(id=f"p{number}"))))
        clock.now += timedelta(seconds=1)
    assert _ids(server.search("Patient", [("_lastUpdated", value)])) == ids
    assert _ids(server.search("Patient", [("_lastUpdated", value), ("_sort", "-_lastUpdated")])) == ids[::-1]


def test_a_search_finds_what_a_resource_says_now_and_not_what_it_said() -> None:
    server = filled(1)
    server.edit("Patient", "p0", lambda it: it.update(identifier=[{"system": SYSTEM, "value": "new"}]))
    assert _ids(server.search("Patient", [("identifier", token(SYSTEM, "0"))])) == []
    assert _ids(server.search("Patient", [("identifier", token(SYSTEM, "new"))])) == ["p0"]


@pytest.mark.parametrize(
    "criteria",
    [
        [("zork", "1")],
        [("identifier:exact", "1")],
        [("_lastUpdated", "ne2020-01-01")],
        [("_lastUpdated", "geyesterday")],
        [("_sort", "birthdate")],
        [("_count", "many")],
        [("subject", "Patient/p0")],
    ],
)
def test_a_search_that_is_not_understood_is_refused_even_where_nothing_is_found(criteria: list[tuple[str, str]]) -> None:
    assert status(lambda: MemoryServer().search("Patient", criteria)) == 400


@pytest.mark.parametrize("name", ["Zork", "HumanName", "DomainResource"])
def test_a_type_that_r4_does_not_have_is_not_found(name: str) -> None:
    assert status(lambda: MemoryServer().search(name, [])) == 404


def test_provenance_is_found_by_its_target() -> None:
    server = filled(2)
    server.submit(transaction(put({"resourceType": "Provenance", "id": "v", "target": [{"reference": "Patient/p0"}]})))
    assert _ids(server.search("Provenance", [("target", "Patient/p0")])) == ["v"]
    assert _ids(server.search("Provenance", [("patient", "p0")])) == ["v"]
    assert _ids(server.search("Provenance", [("target", "Patient/p1")])) == []


# Pages --------------------------------------------------------------------------------------------------------------


def _next(page: Resource) -> str | None:
    return next((link["url"] for link in page["link"] if link["relation"] == "next"), None)


def test_pages_are_as_long_as_is_asked_for_but_not_longer_than_the_server_likes() -> None:
    server = filled(5, page_size=3)
    assert len(server.search("Patient", [("_count", "2")])["entry"]) == 2
    assert len(server.search("Patient", [("_count", "50")])["entry"]) == 3
    assert server.search("Patient", [("_count", "0")]).get("entry") is None


def test_a_search_is_a_snapshot_with_gaps_for_what_is_deleted() -> None:
    server = filled(3, page_size=1)
    first = server.search("Patient", [])
    server.submit(transaction(put(patient("9", id="p9"))))
    server.delete("Patient", "p1")
    empty = server.page(_next(first) or "")
    last = server.page(_next(empty) or "")
    assert (_ids(first), _ids(empty), _ids(last)) == (["p0"], [], ["p2"])
    assert "entry" not in empty
    assert _next(last) is None


def test_pages_expire_all_at_once_or_the_oldest_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "MOST_SEARCHES", 2)
    server = filled(2, page_size=1)
    old, *rest = [_next(server.search("Patient", [])) or "" for _ in range(3)]
    assert status(lambda: server.page(old)) == 410
    assert [_ids(server.page(url)) for url in rest] == [["p1"], ["p1"]]
    server.expire_pages()
    assert status(lambda: server.page(rest[1])) == 410


@pytest.mark.parametrize(
    "url",
    [
        "http://memory.invalid.evil.example/fhir?_getpages=search-1&_getpagesoffset=1",
        "https://memory.invalid/fhir?_getpages=search-1&_getpagesoffset=1",
        "http://memory.invalid:81/fhir?_getpages=search-1&_getpagesoffset=1",
        "http://memory.invalid@evil.example/fhir",
        "http://evil.example/?http://memory.invalid/fhir",
        "http://[",
        "",
    ],
)
def test_a_page_elsewhere_is_never_asked_for(url: str) -> None:
    server = filled(2, page_size=1)
    server.search("Patient", [])
    with pytest.raises(ServerRefused) as caught:
        server.page(url)
    assert (caught.value.status, caught.value.issues[0].rule) == (0, "sync-page-origin")
