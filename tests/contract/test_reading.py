"""What every FhirServer does when it is searched."""

from __future__ import annotations

import uuid

import pytest

from service.errors import ServerRefused
from service.sync import pages
from service.sync.server import FhirServer, Resource, token
from tests.support.entries import ODD, create, delete, observation, patient, place, stored, transact, urn

# Searching ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", ODD)
def test_a_search_finds_an_identifier_of_any_characters_and_no_other(server: FhirServer, system: str, value: str) -> None:
    made = stored(server, *(create(patient(system, each)) for each in (value, value + "x", "x" + value)))
    page = server.search("Patient", [("identifier", token(system, value))])
    assert [entry["resource"]["id"] for entry in page["entry"]] == [made[0]["id"]]


def test_a_search_takes_alternatives_of_odd_characters(server: FhirServer, system: str) -> None:
    made = stored(server, *(create(patient(system, value)) for value in ODD))
    wanted = ",".join(token(system, value) for value in ODD[:9])
    page = server.search("Patient", [("identifier", wanted), ("_count", "50")])
    assert {entry["resource"]["id"] for entry in page["entry"]} == {each["id"] for each in made[:9]}


def test_a_search_without_matches_is_an_empty_searchset(server: FhirServer, system: str) -> None:
    page = server.search("Patient", [("identifier", token(system, "nobody"))])
    assert (page["resourceType"], page["type"]) == ("Bundle", "searchset")
    assert not page.get("entry")


def test_a_search_by_patient_and_time_finds_what_came_since(server: FhirServer, system: str) -> None:
    who = urn()
    person, first = stored(server, create(patient(system), who), create(observation(system, who, "first")))
    since = first["meta"]["lastUpdated"]
    patient_is = ("patient", place(person))
    assert _values(server, patient_is, ("_lastUpdated", f"ge{since}")) == ["first"]
    assert _values(server, patient_is, ("_lastUpdated", f"gt{since}")) == []
    assert _values(server, patient_is, ("_lastUpdated", f"lt{since}")) == []
    assert _values(server, ("subject", place(person)), ("_lastUpdated", f"ge{since}"), ("_lastUpdated", f"le{since}")) == [
        "first"
    ]


def _values(server: FhirServer, *criteria: tuple[str, str]) -> list[str]:
    walk = pages.resources(server, lambda: server.search("Observation", [*criteria, ("_sort", "_lastUpdated")]))
    return [each["identifier"][0]["value"] for each in walk]


def test_a_search_by_id_takes_several(server: FhirServer, system: str) -> None:
    made = stored(server, *(create(patient(system, value)) for value in "abc"))
    page = server.search("Patient", [("_id", f"{made[0]['id']},{made[2]['id']}")])
    assert {entry["resource"]["id"] for entry in page["entry"]} == {made[0]["id"], made[2]["id"]}


def test_a_search_tells_only_how_many_where_only_that_is_asked(server: FhirServer, system: str) -> None:
    transact(server, *(create(patient(system, value)) for value in "abc"))
    page = server.search("Patient", [("identifier", f"{system}|"), ("_summary", "count")])
    assert page["total"] == 3
    assert not page.get("entry")


@pytest.mark.parametrize(
    ("resource_type", "name"), [("Patient", "zork"), ("Provenance", "identifier"), ("AllergyIntolerance", "subject")]
)
def test_a_search_by_what_the_type_does_not_have_is_refused(server: FhirServer, resource_type: str, name: str) -> None:
    with pytest.raises(ServerRefused) as caught:
        server.search(resource_type, [(name, "x")])
    assert caught.value.status == 400


# Pages --------------------------------------------------------------------------------------------------------------


def _in_pages(server: FhirServer, system: str, size: int) -> Resource:
    return server.search("Patient", [("identifier", f"{system}|"), ("_count", str(size))])


def test_pages_give_everything_once(server: FhirServer, system: str) -> None:
    made = stored(server, *(create(patient(system, str(number))) for number in range(7)))
    first = _in_pages(server, system, 3)
    assert len(first["entry"]) == 3
    walked = list(pages.resources(server, lambda: first))
    assert sorted(each["id"] for each in walked) == sorted(each["id"] for each in made)


def test_what_is_deleted_between_pages_does_not_end_the_walk(server: FhirServer, system: str) -> None:
    made = stored(server, *(create(patient(system, str(number))) for number in range(4)))
    first = _in_pages(server, system, 1)
    [shown] = [entry["resource"]["id"] for entry in first["entry"]]
    hidden = [each for each in made if each["id"] != shown]
    transact(server, *(delete(each) for each in hidden[:2]))
    walked = [each["id"] for each in pages.resources(server, lambda: first)]
    assert sorted(walked) == sorted([shown, hidden[2]["id"]])


def test_a_page_that_nobody_knows_is_refused_as_gone(server: FhirServer) -> None:
    with pytest.raises(ServerRefused) as caught:
        server.page(f"{server.base}?_getpages={uuid.uuid4()}&_getpagesoffset=20")
    assert caught.value.status == 410


@pytest.mark.parametrize(
    "url",
    [
        "https://elsewhere.invalid/fhir?_getpages=1",
        "http://169.254.169.254/latest/meta-data",
        "file:///etc/passwd",
        "//elsewhere/fhir",
    ],
)
def test_a_page_of_another_server_is_not_asked_for(server: FhirServer, url: str) -> None:
    with pytest.raises(ServerRefused) as caught:
        server.page(url)
    assert caught.value.status == 0


# $everything --------------------------------------------------------------------------------------------------------


def test_everything_of_a_patient_begins_with_the_patient_and_has_what_refers_to_it(server: FhirServer, system: str) -> None:
    who, what = urn(), urn()
    agent = {"who": {"display": "a program"}}
    told = {"resourceType": "Provenance", "recorded": "2026-01-01T00:00:00Z", "agent": [agent]}
    entries = [
        create(patient(system), who),
        create(observation(system, who), what),
        create({**told, "target": [{"reference": what}, {"reference": who}]}),
        create({**told, "target": [{"reference": what}]}),  # about a finding only, and so in no compartment
    ]
    *mine, _alone = stored(server, *entries)
    other = urn()
    transact(server, create(patient(system, "other"), other), create(observation(system, other, "other")))
    walked = list(pages.resources(server, lambda: server.everything(mine[0]["id"])))
    assert place(walked[0]) == place(mine[0])
    assert sorted(map(place, walked)) == sorted(map(place, mine))


def test_everything_of_nobody_is_refused(server: FhirServer) -> None:
    with pytest.raises(ServerRefused) as caught:
        server.everything(f"nobody-{uuid.uuid4().hex}")
    assert caught.value.status == 404
