"""The laws of a push, on a server in memory: every road ends at the case, one copy of each fact, nobody else's work is lost."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from service.engine import Engine
from service.errors import ServerUnavailable
from service.issues import Issue
from service.sync.canonical import digest_of, reference_to
from service.sync.memory import MemoryServer
from service.sync.outbox import State
from service.sync.plan import Wanted, changes_of
from service.sync.retire import RETIRED
from service.sync.server import Resource
from tests.support.by_hand import ByHand, cases, facts_on, in_use, referred, versions

# Laws that push: an example is some twenty transactions of SQLite.
pushing = settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


class Sites:
    """Two outboxes of one deployment, as when one is lost; each example has a server of its own."""

    def __init__(self, engine: Engine, home: Path) -> None:
        self._made = [ByHand(engine, home / name, MemoryServer()) for name in "ab"]
        self._count = itertools.count()

    def close(self) -> None:
        for site in self._made:
            site.outbox.close()

    def over(self, server: Callable[[str], MemoryServer] = MemoryServer) -> tuple[ByHand, ByHand, Any]:
        memory = server(f"http://memory-{next(self._count)}.invalid/fhir")
        for site in self._made:
            site.server = memory
        one, other = self._made
        return one, other, memory


@pytest.fixture(scope="module")
def sites(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sites]:
    made = Sites(engine, tmp_path_factory.mktemp("sites"))
    yield made
    made.close()


def edit(server: MemoryServer, which: int, mark: str) -> str | None:
    """Someone else changes one of the facts, and brings it back where it was taken back; its place."""
    found = facts_on(server)
    if not found:
        return None
    one = found[which % len(found)]
    kept = [each for each in one.get("extension", ()) if each["url"] != RETIRED]
    server.edit(one["resourceType"], one["id"], lambda resource: resource.update(language=mark, extension=kept))
    return reference_to(one)


def remove(server: MemoryServer, which: int) -> None:
    """Someone else deletes a fact that no other refers to, as servers demand it."""
    found = [one for one in facts_on(server) if reference_to(one) not in referred(server)]
    if found:
        server.delete(found[which % len(found)]["resourceType"], found[which % len(found)]["id"])


EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("push"), st.integers(0, 1), cases(), st.booleans()),
        st.tuples(st.just("edit"), st.integers(0, 9)),
        st.tuples(st.just("delete"), st.integers(0, 9)),
    ),
    max_size=5,
)


@pushing
@given(EVENTS, cases(), st.integers(0, 1))
def test_overwriting_ends_at_the_case_from_wherever_it_begins(sites: Sites, events: Any, last: Wanted, which: int) -> None:
    """Whatever was pushed by either outbox, edited, brought back and deleted before."""
    *both, server = sites.over(lambda base: MemoryServer(base, page_size=3))
    for number, (event, *told) in enumerate(events):
        if event == "push":
            both[told[0]].push(told[1], overwrite=told[2])
        elif event == "edit":
            edit(server, told[0], f"x-{number}")
        else:
            remove(server, told[0])
    planned = "\n".join(step.key for step in changes_of(both[which].plan(last, overwrite=True)))
    job = both[which].push(last, overwrite=True, plan=planned or None)
    assert job.state is State.CONFIRMED, job.report
    assert in_use(server) == last.resources
    # And there it stays: the next plan and the next push have nothing to do, with either outbox.
    before = versions(server)
    for one in both:
        assert {step.action for step in one.plan(last)} == {"unchanged"}
        assert one.push(last).state is State.CONFIRMED
    assert versions(server) == before


@pushing
@given(cases(), EVENTS)
def test_no_push_loses_what_someone_else_wrote_unless_it_may(sites: Sites, first: Wanted, events: Any) -> None:
    *both, server = sites.over()
    both[0].push(first)
    edited: dict[str, str] = {}
    for number, (event, *told) in enumerate(events):
        if event == "push":
            both[told[0]].push(told[1])
        elif event == "edit" and (place := edit(server, told[0], f"x-{number}")):
            edited[place] = f"x-{number}"
        elif event == "delete":
            remove(server, told[0])
            edited = {place: mark for place, mark in edited.items() if place in versions(server)}
        held = {reference_to(one): one.get("language") for one in facts_on(server)}
        assert held.items() >= edited.items()


@pushing
@given(cases(), cases())
def test_a_plan_that_was_carried_out_leaves_nothing_to_do(sites: Sites, first: Wanted, second: Wanted) -> None:
    site, _other, server = sites.over()
    for wanted in (first, second, first):
        steps = site.plan(wanted)
        job = site.push(wanted, plan="\n".join(step.key for step in changes_of(steps)))
        assert job.state is State.CONFIRMED, job.report
        assert {step.action for step in site.plan(wanted)} == {"unchanged"}
        assert in_use(server) == wanted.resources


# --- histories ------------------------------------------------------------------------------------------------------------


class Killed(BaseException):
    """The end of a process: nothing of ours catches it."""


class Fragile(MemoryServer):
    """A server whose next transactions fail as `fate` has it, before or after they are carried out; some come late as well."""

    def __init__(self, base: str) -> None:
        super().__init__(base)
        self.fate: list[tuple[BaseException, bool]] = []
        self.late: list[Resource] = []

    def submit(self, bundle: Resource) -> Resource:
        if bundle["type"] != "transaction" or not self.fate:
            return super().submit(bundle)
        error, done = self.fate.pop(0)
        if done:
            super().submit(bundle)
        else:
            self.late.append(bundle)
        raise error


LOST = ServerUnavailable([Issue("error", "transient", "sync-lost", "the answer was lost")], sent=True)


class History(RuleBasedStateMachine):
    """Pushes, kills, lost requests and answers, requests that come late. The model: what was accepted last, and one copy."""

    sites: Sites

    def __init__(self) -> None:
        super().__init__()
        self.site, _other, self.server = self.sites.over(Fragile)
        self.newest: Wanted | None = None

    @rule(wanted=cases(), error=st.sampled_from([None, None, LOST, Killed()]), done=st.booleans(), again=st.integers(0, 2))
    def push(self, wanted: Wanted, error: BaseException | None, done: bool, again: int) -> None:
        """Accepts a case and tries it once, or as often as its first failures make necessary."""
        self.newest = wanted
        self.site.accept(wanted)
        if error:
            self.server.fate = [(error, done)] * (1 + again)
        self.work(1 + again)
        self.server.fate.clear()

    @rule()
    def settle(self) -> None:
        """All is tried until nothing is open: then the server holds what was accepted last, and no plan has more to do."""
        self.work(20)
        assert not any(self.site.outbox.counts(target=self.server.base)[state] for state in ("queued", "sending", "unknown"))
        if self.newest:
            assert in_use(self.server) == self.newest.resources

    @precondition(lambda self: self.server.late)
    @rule(which=st.integers(0, 5))
    def arrive_late(self, which: int) -> None:
        """A request that was given up arrives all the same, long after: it may do no more than its conditions allow."""
        self.work(20)
        bundle = self.server.late.pop(which % len(self.server.late))
        before = {identity: digest_of(one) for identity, one in in_use(self.server).items()}
        try:
            self.server.submit(bundle)
        except Exception:  # noqa: BLE001  refused: as it should be where things have moved on
            return
        after = {identity: digest_of(one) for identity, one in in_use(self.server).items()}
        assert {identity: after[identity] for identity in before} == before, "it has changed what is newer"

    def work(self, times: int) -> None:
        for _ in range(times):
            due = self.site.outbox.next_due(target=self.server.base)
            if due is None:
                return
            self.site.clock.time = max(self.site.clock.time, due)
            try:
                self.site.attempt()
            except Killed:
                continue  # its lease has to end first

    @invariant()
    def no_fact_is_there_twice(self) -> None:
        identities = [one["identifier"][0]["value"] for one in facts_on(self.server)]
        assert len(set(identities)) == len(identities)


def test_every_history_leaves_one_copy_of_each_fact_and_ends_at_the_newest_case(sites: Sites) -> None:
    quick = settings(max_examples=25, stateful_step_count=10, deadline=None, suppress_health_check=list(HealthCheck))
    run_state_machine_as_test(type("History", (History,), {"sites": sites}), settings=quick)
