"""Taking a job back: only one that is queued, and only once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from service.errors import Usage
from service.sync.outbox import Outbox, State, open_outbox, this_worker
from tests.support.outbox import DATABASES, database_url, submission

ME = this_worker()


@pytest.fixture(params=DATABASES)
def outbox(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Outbox]:
    with open_outbox(database_url(request, tmp_path), clock=lambda: 5.0) as opened:
        yield opened


def test_a_queued_job_is_taken_back_and_never_sent(outbox: Outbox) -> None:
    [job] = outbox.accept("run", [submission()])
    done = outbox.cancel(job.id, 11.0)
    assert (done.state, done.reason, done.updated) == (State.DEAD, "sync-cancelled", 11.0)
    assert outbox.job(job.id) == done
    assert outbox.claim(ME, now=12.0) is None
    assert outbox.next_due() is None


def test_the_next_job_of_its_case_goes_on(outbox: Outbox) -> None:
    [first] = outbox.accept("run", [submission()])
    [second] = outbox.accept("run", [submission(digest="another")])
    outbox.cancel(first.id, 11.0)
    claimed = outbox.claim(ME, now=12.0)
    assert claimed is not None
    assert claimed.id == second.id


def test_the_same_case_again_is_a_new_job(outbox: Outbox) -> None:
    [first] = outbox.accept("run", [submission()])
    outbox.cancel(first.id, 11.0)
    [second] = outbox.accept("run", [submission()])
    assert second.id != first.id


def test_what_was_taken_back_can_be_tried_again(outbox: Outbox) -> None:
    [job] = outbox.accept("run", [submission()])
    outbox.cancel(job.id, 11.0)
    [again] = outbox.retry([job.id], now=12.0)
    assert (again.id, again.state, again.reason) == (job.id, State.QUEUED, None)


@pytest.mark.parametrize("state", [state for state in State if state is not State.QUEUED])
def test_in_any_other_state_it_is_left_alone(outbox: Outbox, state: State) -> None:
    [job] = outbox.accept("run", [submission()])
    claimed = outbox.claim(ME, now=10.0)
    assert claimed is not None
    if state is State.UNKNOWN:
        outbox.park(claimed, ME, next_try=99.0, unknown=True, now=11.0)
    elif state is not State.SENDING:
        outbox.settle(claimed, ME, state, now=11.0)
    before = outbox.job(job.id)
    with pytest.raises(Usage) as raised:
        outbox.cancel(job.id, 12.0)
    assert [issue.rule for issue in raised.value.issues] == ["sync-cancel"]
    assert raised.value.issues[0].code == "conflict"
    assert outbox.job(job.id) == before


def test_there_is_nothing_to_take_back(outbox: Outbox) -> None:
    with pytest.raises(Usage) as raised:
        outbox.cancel("0" * 32, 12.0)
    assert raised.value.issues[0].code == "not-found"
