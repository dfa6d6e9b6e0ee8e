"""Cases read back: which Patients, what of each, and nothing missed and nothing twice from one pull to the next."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from service.engine import Engine
from service.errors import ServerRefused
from service.sync import marks
from service.sync.canonical import DEPLOYMENT, URN
from service.sync.memory import MemoryServer
from service.sync.pull import OVERLAP, Mark, Pulled, by_case, by_identifier, changed, of_deployment, pull
from service.sync.server import Resource
from tests.support.by_hand import PATIENT, SYSTEM, ByHand, case, fact, patient

TYPES = ["Basic", "Condition", "Observation"]
START = datetime(2026, 5, 7, 10, tzinfo=UTC)
TAG = {"system": DEPLOYMENT, "code": "here"}
CASE = case(fact("b", 1), fact("a", 2, refers="b"))


class Dated(MemoryServer):
    """A server by whose clock nothing passes unless the test says so."""

    def __init__(self, **options: Any) -> None:
        self.now = START
        super().__init__(clock=lambda: self.now, **options)


@pytest.fixture
def memory() -> Dated:
    return Dated(page_size=2)


@pytest.fixture
def site(engine: Engine, memory: Dated, tmp_path: Path) -> Iterator[ByHand]:
    with ByHand(engine, tmp_path / "site", memory) as deployment:
        yield deployment


def add(memory: MemoryServer, resource: Resource, *tags: Resource) -> str:
    """Someone writes a resource; its Type/id."""
    meta = {"meta": {"tag": list(tags)}} if tags else {}
    entry = {"resource": {**resource, **meta}, "request": {"method": "POST", "url": resource["resourceType"]}}
    reply = memory.submit({"resourceType": "Bundle", "type": "transaction", "entry": [entry]})
    return str(reply["entry"][0]["response"]["location"]).partition("/_history/")[0]


def observation(subject: str, **more: Any) -> Resource:
    return {"resourceType": "Observation", "status": "final", "subject": {"reference": subject}, **more}


def one(memory: MemoryServer) -> Resource:
    """The Patient that was written first."""
    return memory.all("Patient")[0]


def pulled(memory: MemoryServer, *, whole: bool = True) -> Pulled:
    return pull(memory, one(memory), SYSTEM, [*TYPES, "Provenance"], whole=whole)


# --- which Patients -------------------------------------------------------------------------------------------------------


def test_a_case_is_found_by_its_identity(site: ByHand, memory: Dated) -> None:
    assert list(by_case(memory, SYSTEM, PATIENT)) == []
    site.push(CASE)
    [found] = by_case(memory, SYSTEM, PATIENT)
    assert found["id"] == one(memory)["id"]
    assert list(by_case(memory, SYSTEM, "another")) == []
    assert list(by_case(memory, "urn:other", PATIENT)) == []


def test_two_patients_of_one_identity_are_no_case(memory: Dated) -> None:
    add(memory, patient())
    add(memory, patient())
    with pytest.raises(ServerRefused) as caught:
        list(by_case(memory, SYSTEM, PATIENT))
    assert [issue.rule for issue in caught.value.issues] == ["sync-duplicates"]


def test_patients_are_found_by_an_identifier_whoever_gave_it(memory: Dated) -> None:
    numbers = [{"system": "urn:hospital", "value": value} for value in ("1|2", "3", "1|2")]
    places = [add(memory, {"resourceType": "Patient", "identifier": [number]}) for number in numbers]
    assert [f"Patient/{found['id']}" for found in by_identifier(memory, "urn:hospital", "1|2")] == [places[0], places[2]]
    assert list(by_identifier(memory, "urn:hospital", "1")) == []


def test_all_of_a_deployment_are_found_over_all_pages_and_no_others(memory: Dated) -> None:
    ours = [add(memory, patient(), TAG) for _ in range(5)]
    add(memory, patient(), {"system": DEPLOYMENT, "code": "elsewhere"})
    add(memory, patient())
    assert [f"Patient/{found['id']}" for found in of_deployment(memory, "here")] == ours


# --- what of each ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("whole", [True, False])
def test_a_case_comes_as_it_was_wanted(site: ByHand, memory: Dated, whole: bool) -> None:
    site.push(CASE)
    found = pulled(memory, whole=whole)
    assert (found.case, found.patient, found.retired) == (PATIENT, one(memory)["id"], 0)
    assert dict(found.resources) == {URN + identity: resource for identity, resource in CASE.resources.items()}
    assert [url for url, _resource in found.resources] == [URN + PATIENT, URN + "b", URN + "a"], "in the order of creation"


@pytest.mark.parametrize("whole", [True, False])
def test_what_we_took_back_and_our_provenance_stay_out(site: ByHand, memory: Dated, whole: bool) -> None:
    site.push(CASE)
    site.push(case(fact("b", 1)))
    found = pulled(memory, whole=whole)
    assert [url for url, _resource in found.resources] == [URN + PATIENT, URN + "b"]
    assert found.retired == 1
    assert len(memory.all("Provenance")) == 2


@pytest.mark.parametrize("whole", [True, False])
def test_what_others_wrote_comes_with_the_url_it_has_there(site: ByHand, memory: Dated, whole: bool) -> None:
    site.push(CASE)
    mine = one(memory)
    b = next(found for found in memory.all("Observation") if found["identifier"][0]["value"] == "b")
    first = add(memory, observation(f"Patient/{mine['id']}", hasMember=[{"reference": f"Observation/{b['id']}"}]))
    second = add(memory, observation(f"Patient/{mine['id']}", hasMember=[{"reference": first}]))
    theirs = {"target": [{"reference": f"Patient/{mine['id']}"}], "recorded": "2026-01-01T00:00:00Z"}
    third = add(memory, {"resourceType": "Provenance", **theirs})
    add(memory, observation(add(memory, patient() | {"identifier": []})))
    found = dict(pulled(memory, whole=whole).resources)
    assert list(found)[3:] == [f"{memory.base}/{place}" for place in (first, second, third)]
    assert found[f"{memory.base}/{first}"]["hasMember"] == [{"reference": URN + "b"}]
    assert found[f"{memory.base}/{second}"]["hasMember"] == [{"reference": first}]
    assert found[f"{memory.base}/{second}"]["subject"] == {"reference": URN + PATIENT}


def test_a_patient_that_no_casebridge_wrote_has_no_case(memory: Dated) -> None:
    add(memory, {"resourceType": "Patient", "gender": "female"})
    found = pulled(memory)
    assert (found.case, len(found.resources)) == (None, 1)
    assert found.resources[0][0] == f"{memory.base}/Patient/{found.patient}"


def test_a_bundle_has_the_order_that_it_is_asked_for() -> None:
    listed = [(URN + name, {"resourceType": "Observation", "id": name}) for name in "pqrs"]
    found = Pulled("7", "p", [*listed, ("https://example.org/Observation/1", {})])
    urls = [entry["fullUrl"] for entry in found.bundle(("r", "p", "unknown"))["entry"]]
    assert urls == [URN + "r", URN + "p", URN + "q", URN + "s", "https://example.org/Observation/1"]
    assert [entry["fullUrl"] for entry in found.bundle()["entry"]] == [url for url, _resource in found.resources]
    assert (found.bundle()["resourceType"], found.bundle()["type"]) == ("Bundle", "collection")


def test_a_pulled_case_does_not_show_itself_when_it_is_printed() -> None:
    assert "female" not in repr(Pulled("7", "p", [(URN + "p", {"gender": "female"})]))


# --- what has changed since -----------------------------------------------------------------------------------------------


def ids(found: list[Resource]) -> list[str]:
    return [resource["id"] for resource in found]


class Puller:
    """Pulls again and again, from mark to mark."""

    def __init__(self, memory: Dated) -> None:
        self._memory, self.mark = memory, Mark()

    def next(self) -> list[str]:
        found, self.mark = changed(self._memory, "here", TYPES, self.mark)
        return ids(found)


@pytest.fixture
def puller(memory: Dated) -> Puller:
    return Puller(memory)


def person(memory: MemoryServer) -> str:
    """A Patient of ours, with a finding; the server's id."""
    place = add(memory, {"resourceType": "Patient"}, TAG)
    add(memory, observation(place), TAG)
    return place.partition("/")[2]


def finding_of(memory: MemoryServer, patient_id: str) -> str:
    found = memory.all("Observation")
    return next(str(each["id"]) for each in found if each["subject"]["reference"] == f"Patient/{patient_id}")


def test_the_first_pull_brings_all_and_the_next_what_has_changed(memory: Dated, puller: Puller) -> None:
    patients = [person(memory) for _ in range(3)]
    add(memory, {"resourceType": "Patient"}, {"system": DEPLOYMENT, "code": "elsewhere"})
    assert puller.next() == patients
    assert puller.next() == []
    memory.now += timedelta(hours=1)
    memory.edit("Observation", finding_of(memory, patients[1]), lambda found: found.update(status="amended"))
    memory.edit("Patient", patients[2], lambda found: found.update(gender="male"))
    assert puller.next() == patients[1:]
    assert puller.next() == []
    new = person(memory)
    assert puller.next() == [new]
    assert puller.next() == []


def test_a_change_in_the_very_millisecond_of_the_mark_is_not_missed(memory: Dated, puller: Puller) -> None:
    first, second = person(memory), person(memory)
    assert puller.next() == [first, second]
    assert puller.mark.latest["Patient"] == memory.read("Patient", first)["meta"]["lastUpdated"]
    memory.edit("Observation", finding_of(memory, second), lambda found: found.update(status="amended"))
    third = person(memory)
    assert puller.next() == [second, third]
    assert puller.next() == []


@pytest.mark.parametrize("late", [timedelta(milliseconds=1), timedelta(seconds=30), OVERLAP])
def test_what_comes_to_light_late_is_not_missed_within_the_overlap(memory: Dated, puller: Puller, late: timedelta) -> None:
    """A long transaction has the time of its beginning, and is seen at its end."""
    first = person(memory)
    memory.now += timedelta(hours=1)
    second = person(memory)
    assert puller.next() == [first, second]
    before = puller.mark.latest
    memory.now -= late
    memory.edit("Patient", first, lambda found: found.update(gender="male"))
    third = person(memory)
    assert puller.next() == [first, third]
    assert puller.next() == []
    assert puller.mark.latest == before, "the mark does not go back"


def test_what_comes_to_light_later_than_that_only_a_whole_pull_finds(memory: Dated, puller: Puller) -> None:
    person(memory)
    puller.next()
    memory.now -= OVERLAP + timedelta(milliseconds=1)
    late = person(memory)
    assert puller.next() == []
    assert late in ids(list(of_deployment(memory, "here")))


def test_nothing_missed_and_nothing_twice_over_many_pulls(memory: Dated, puller: Puller) -> None:
    chance = random.Random(5)
    patients = [person(memory) for _ in range(3)]
    puller.next()
    for _ in range(60):
        # Mostly in the same millisecond, sometimes a little back, sometimes far on.
        memory.now = max(memory.now, START) + chance.choice([0, 0, 0, 1, -1, 1000, 600_000]) * timedelta(milliseconds=1)
        touched = sorted(chance.sample(patients, chance.randint(0, 2)))
        for number, patient_id in enumerate(touched):
            place = ("Patient", patient_id) if chance.random() < 0.5 else ("Observation", finding_of(memory, patient_id))
            memory.edit(*place, partial(dict.update, language=f"{chance.random()} {number}"))
        assert puller.next() == touched


def test_a_patient_is_known_by_any_way_of_naming_it(memory: Dated, puller: Puller) -> None:
    some = [add(memory, {"resourceType": "Patient"}, TAG) for _ in range(3)]
    puller.next()
    add(memory, {"resourceType": "RelatedPerson", "patient": {"reference": some[0]}}, TAG)
    add(memory, observation("Patient/nobody") | {"subject": {"display": "nobody"}}, TAG)
    memory.edit("Patient", some[2].partition("/")[2], lambda found: found.update(gender="male"))
    found, _mark = changed(Absolute(memory), "here", ["Observation", "RelatedPerson"], puller.mark)
    assert ids(found) == [some[0].partition("/")[2], some[2].partition("/")[2]]


class Absolute:
    """The server, naming the Patient by an absolute and versioned URL."""

    def __init__(self, memory: Dated) -> None:
        self._memory, self.base, self.read, self.page = memory, memory.base, memory.read, memory.page

    def search(self, resource_type: str, criteria: Any) -> Resource:
        page = self._memory.search(resource_type, criteria)
        for entry in page.get("entry", ()):
            reference = entry["resource"].get("patient", {})
            if "reference" in reference:
                reference["reference"] = f"{self.base}/{reference['reference']}/_history/1"
        return page


def test_a_patient_that_is_gone_is_passed_over(memory: Dated, puller: Puller) -> None:
    first = person(memory)
    puller.next()
    memory.edit("Observation", finding_of(memory, first), lambda found: found.update(status="amended"))
    memory.delete("Patient", first)
    assert puller.next() == []


def test_a_server_that_holds_nothing_leaves_no_mark(memory: Dated, puller: Puller) -> None:
    assert puller.next() == []
    assert puller.mark == Mark()
    first = person(memory)
    assert puller.next() == [first]


def test_a_mark_is_kept_for_each_server_and_deployment(site: ByHand, memory: Dated, puller: Puller) -> None:
    person(memory)
    puller.next()
    assert marks.last(site.outbox, memory.base, "here") == Mark()
    marks.remember(site.outbox, memory.base, "here", puller.mark)
    assert marks.last(site.outbox, memory.base, "here") == puller.mark
    assert puller.mark.seen
    assert marks.last(site.outbox, memory.base, "elsewhere") == marks.last(site.outbox, "http://other", "here") == Mark()


def test_the_mark_holds_no_more_than_the_overlap(memory: Dated, puller: Puller) -> None:
    for _ in range(3):
        person(memory)
    puller.next()
    assert len(puller.mark.seen) == 6
    memory.now += 2 * OVERLAP
    last = person(memory)
    puller.next()
    assert puller.mark.seen == {f"Patient/{last}": "1", f"Observation/{finding_of(memory, last)}": "1"}


@pytest.mark.parametrize("instant", ["2026-05-07T10:00:00Z", "2026-05-07T12:00:00+02:00", "2026-05-07T10:00:00.123456789Z"])
def test_a_servers_own_way_of_writing_instants_is_understood(memory: Dated, instant: str) -> None:
    memory.now = datetime(2026, 5, 7, 10, 4, tzinfo=UTC)
    first = person(memory)
    found, mark = changed(memory, "here", TYPES, Mark(dict.fromkeys(["Patient", *TYPES], instant)))
    assert ids(found) == [first]
    assert mark.latest["Patient"] == memory.read("Patient", first)["meta"]["lastUpdated"]
