"""Servers that keep to the letter of FHIR, or nearly, and still could make a push lie, double or lose: what a review proved."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from service.engine import Engine
from service.errors import Usage
from service.sync.outbox import State
from service.sync.pull import Mark, by_case, changed, pull
from service.sync.server import Criteria, Resource
from tests.support.by_hand import PATIENT, SYSTEM, ByHand, case, fact, facts_on, in_use
from tests.support.strange import Strange, lost

FULL = case(fact("a", 1), fact("b", 1, refers="a"))
NOTE = [{"text": "seen"}]


@pytest.fixture
def memory() -> Strange:
    return Strange()


@pytest.fixture
def site(engine: Engine, memory: Strange, tmp_path: Path) -> Iterator[ByHand]:
    with ByHand(engine, tmp_path / "site", memory) as deployment:
        yield deployment


def stored(memory: Strange, identity: str) -> str:
    """The server's id of a fact."""
    [found] = [one for one in facts_on(memory) if one.get("identifier", [{}])[0].get("value") == identity]
    return str(found["id"])


def noted(memory: Strange, resource_id: str, resource_type: str = "Observation") -> None:
    """Someone else's edit."""
    memory.edit(resource_type, resource_id, lambda one: one.update(note=NOTE))


def without_resources(then: Callable[[], None]) -> Callable[[Resource], Resource]:
    def act(reply: Resource) -> Resource:
        then()
        return reply | {"entry": [{"response": entry["response"]} for entry in reply["entry"]]}

    return act


def test_an_edit_between_a_bare_answer_and_our_look_is_not_taken_for_ours(site: ByHand, memory: Strange) -> None:
    site.push(FULL)
    place = stored(memory, "a")
    memory.after.append(without_resources(lambda: noted(memory, place)))
    for says in (2, 3):
        site.push(case(fact("a", says), fact("b", 1, refers="a")))
        assert (memory.read("Observation", place) or {})["note"] == NOTE


def test_what_is_stored_and_cannot_be_found_again_is_not_made_again(site: ByHand, memory: Strange) -> None:
    def forget(reply: Resource) -> Resource:
        for one in memory.all("Observation"):
            memory.edit("Observation", one["id"], lambda held: held.pop("identifier", None))
        return reply | {"entry": [{"response": entry["response"]} for entry in reply["entry"]]}

    memory.after.append(forget)
    job = site.push(FULL)
    assert (job.state, job.reason) == (State.DEAD, "sync-identity-lost")
    assert len(memory.all("Observation")) == 2


def test_what_was_altered_before_an_interruption_is_told_after_it(site: ByHand, memory: Strange) -> None:
    def alter(reply: Resource) -> Resource:
        for entry in reply["entry"]:
            if entry["resource"]["resourceType"] == "Patient":
                memory.edit("Patient", entry["resource"]["id"], lambda held: held.pop("gender"))
                entry["resource"] = memory.read("Patient", entry["resource"]["id"])
        return reply

    def fail(_bundle: Resource) -> None:
        raise lost()

    site.outbox.remember(memory.base, "most-entries", "3")
    memory.after.append(alter)
    memory.before += [lambda _bundle: None, fail]
    job = site.push(FULL)
    assert job.report is not None
    assert (job.state, job.report["ok"]) == (State.CONFIRMED, False)
    assert "Patient.gender" in str(job.report["outcome"])


def test_a_case_that_is_written_in_part_cannot_be_taken_back(site: ByHand, memory: Strange) -> None:
    def fail(_bundle: Resource) -> None:
        raise lost(sent=False)

    site.outbox.remember(memory.base, "most-entries", "3")
    memory.before += [lambda _bundle: None, fail]
    job = site.accept(FULL)
    assert site.attempt().state is State.UNKNOWN
    with pytest.raises(Usage):
        site.outbox.cancel(job.id, site.clock())


def test_a_conflict_after_a_race_does_not_say_that_nothing_was_written(
    site: ByHand, memory: Strange, engine: Engine, tmp_path: Path
) -> None:
    with ByHand(engine, tmp_path / "other", memory) as other:
        memory.before.append(lambda _bundle: other.push(case(fact("a", 2))) and None)
        job = site.push(FULL)
    assert job.report is not None
    assert job.state is State.CONFLICT
    assert "b" in in_use(memory)
    assert "part of the case is written" in str(job.report["outcome"])


class Forgetful(Strange):
    """A server whose searches expire as soon as somebody edits something."""

    meanwhile: Callable[[], None] | None = None

    def page(self, url: str) -> Resource:
        if self.meanwhile:
            edit, self.meanwhile = self.meanwhile, None
            self.expire_pages()
            edit()
        return super().page(url)


@pytest.mark.parametrize("what", ["pull", "push"])
def test_an_edit_in_the_middle_of_a_walk_gives_no_fact_twice(engine: Engine, tmp_path: Path, what: str) -> None:
    memory = Forgetful(page_size=2)
    with ByHand(engine, tmp_path / "site", memory) as site:
        site.push(FULL)
        place = stored(memory, "a")
        memory.meanwhile = lambda: noted(memory, place)
        if what == "push":
            assert site.push(case(fact("a", 1), fact("b", 2, refers="a"))).state is State.CONFIRMED
        else:
            [patient] = by_case(memory, SYSTEM, PATIENT)
            urls = [url for url, _one in pull(memory, patient, SYSTEM, ["Observation"], whole=True).resources]
            assert len(urls) == len(set(urls)) == 3


class Slow(Strange):
    """A server on which much happens between the searches of one pull."""

    def __init__(self) -> None:
        self.now = datetime(2026, 5, 7, 10, tzinfo=UTC)
        self.meanwhile: Callable[[], None] | None = None
        super().__init__(clock=lambda: self.now)

    def search(self, resource_type: str, criteria: Criteria) -> Resource:
        found: Any = super().search(resource_type, criteria)
        if self.meanwhile and resource_type == "Condition":
            edit, self.meanwhile = self.meanwhile, None
            edit()
        return found


def test_a_change_behind_a_long_walk_is_found_by_the_next(engine: Engine, tmp_path: Path) -> None:
    memory, types = Slow(), ["Condition", "Observation"]
    with ByHand(engine, tmp_path / "site", memory) as site:
        site.push(case(fact("d", kind="Condition"), fact("a")))
        condition, observation = stored(memory, "d"), stored(memory, "a")
    memory.now += timedelta(hours=1)
    _all, mark = changed(memory, "here", types, Mark())

    def edits() -> None:
        memory.now += timedelta(minutes=1)
        noted(memory, condition, "Condition")
        memory.now += timedelta(minutes=10)
        noted(memory, observation)

    memory.meanwhile = edits
    first, mark = changed(memory, "here", types, mark)
    then, mark = changed(memory, "here", types, mark)
    last, _mark = changed(memory, "here", types, mark)
    assert [len(first), len(then), len(last)] == [1, 1, 0]


def test_everything_that_is_switched_off_is_searched_for(engine: Engine, tmp_path: Path) -> None:
    memory = Strange()
    with ByHand(engine, tmp_path / "site", memory) as site:
        site.push(FULL)
        memory._everything = False
        assert site.push(case(fact("a", 2))).state is State.CONFIRMED
        assert set(in_use(memory)) == {PATIENT, "a"}
