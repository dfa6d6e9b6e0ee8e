"""Processes that share an outbox, and processes that are killed."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import psycopg
import pytest

from service.sync.outbox import State, open_outbox, this_worker
from service.sync.outbox.lease import find_dead
from tests.support.outbox import (
    DATABASES,
    TOGETHER,
    database_url,
    dead_worker,
    far_worker,
    other_worker,
    running,
    said,
    submission,
)

ME = this_worker()


@pytest.fixture(params=DATABASES)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return database_url(request, tmp_path)


def test_what_was_accepted_survives_a_kill_at_any_moment(url: str) -> None:
    """Each id is printed as soon as `accept` returned; the kill comes in the middle of what follows."""
    code = """if True:
        import itertools, sys
        from service.sync.outbox import open_outbox
        from tests.support.outbox import submission
        outbox = open_outbox(sys.argv[1])
        for number in itertools.count():
            jobs = outbox.accept("run", [submission(f"{number}-{part}", payload=b"p" * 9000) for part in range(3)])
            print(*(job.id for job in jobs), flush=True)
    """
    with running(code, url) as process:
        acknowledged = [said(process) for _ in range(20)]
        process.kill()
        assert process.stdout is not None
        # What was on its way through the pipe was acknowledged too; the last line may be cut.
        acknowledged += [line for line in process.stdout.read().split("\n") if len(line) == 98]
    with open_outbox(url) as outbox:
        jobs = outbox.jobs(payload=True)
        assert len(jobs) % 3 == 0
        assert {job.payload for job in jobs} == {b"p" * 9000}
        assert {job.id for job in jobs} >= set(" ".join(acknowledged).split())


def test_a_killed_worker_is_known_before_anybody_has_waited_for_it(url: str) -> None:
    code = """if True:
        import sys
        from service.sync.outbox import open_outbox, this_worker
        with open_outbox(sys.argv[1], lease_seconds=1e6) as outbox:
            print(outbox.claim(this_worker(), now=10).id, flush=True)
            input()
    """
    with open_outbox(url) as outbox:
        [job] = outbox.accept("run", [submission()])
        with running(code, url) as process:
            assert said(process) == job.id
            assert outbox.claim(ME, now=10) is None
            process.kill()
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # dead, and still in the table of processes
            taken = outbox.claim(ME, now=10)
        assert taken is not None
        assert (taken.id, taken.resumed, taken.attempts) == (job.id, True, 2)


def test_a_stopped_worker_is_not_dead(url: str) -> None:
    """It may go on, and then finds out by itself that its lease is lost."""
    code = """if True:
        import sys
        from service.sync.outbox import LeaseLost, State, open_outbox, this_worker
        with open_outbox(sys.argv[1], lease_seconds=60) as outbox:
            job = outbox.claim(this_worker(), now=10)
            print("claimed", flush=True)
            input()
            try:
                outbox.settle(job, this_worker(), State.CONFIRMED, now=11)
            except LeaseLost:
                print("lost", flush=True)
    """
    with open_outbox(url) as outbox:
        outbox.accept("run", [submission()])
        with running(code, url) as process:
            assert said(process) == "claimed"
            process.send_signal(signal.SIGSTOP)
            assert outbox.claim(ME, now=69) is None
            taken = outbox.claim(ME, now=70)
            process.send_signal(signal.SIGCONT)
            assert process.communicate("\n") == ("lost\n", "")
        assert taken is not None
        assert outbox.job(taken.id) == taken


def test_four_processes_share_two_hundred_jobs_each_exactly_once(url: str) -> None:
    code = """if True:
        import sys
        from service.sync.outbox import State, open_outbox, this_worker

        def work(number):
            taken = []
            with open_outbox(sys.argv[1], busy_seconds=60) as outbox:
                worker = this_worker()
                while job := outbox.claim(worker, now=10):
                    assert job.attempts == 1 and not job.resumed
                    taken.append(job.number)
                    outbox.settle(job, worker, State.CONFIRMED, now=11)
            # One write of less than a pipe's block is never mixed with another's; print would make several.
            sys.stdout.write(" ".join(map(str, [number, *taken])) + "\\n")
            sys.stdout.flush()

        together(4, work)
    """
    with open_outbox(url) as outbox:
        accepted = outbox.accept("run", [submission(f"case-{number % 120}", digest=f"{number}") for number in range(200)])
        outbox.close()
        with running(TOGETHER + code, url) as process:
            out, problems = process.communicate()
        assert problems == ""
        taken = [[int(number) for number in line.split()[1:]] for line in out.splitlines()]
        assert len(taken) == 4
        assert sorted(number for numbers in taken for number in numbers) == [job.number for job in accepted]
        assert outbox.counts()[State.CONFIRMED] == 200


def test_an_outbox_may_be_open_while_a_process_forks(url: str) -> None:
    code = """if True:
        from service.sync.outbox import open_outbox
        from tests.support.outbox import submission
        outbox = open_outbox(sys.argv[1])
        outbox.accept("run", [submission("before")])
        together(3, lambda number: outbox.accept("run", [submission(f"child-{number}")]))
        outbox.accept("run", [submission("after")])
        outbox.close()
    """
    with running(TOGETHER + code, url) as process:
        assert process.communicate() == ("", "")
    with open_outbox(url) as outbox:
        assert sorted(job.case for job in outbox.jobs()) == ["after", "before", "child-0", "child-1", "child-2"]


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="the open files of a process are not listed here")
def test_no_connection_to_a_file_is_carried_over_a_fork(tmp_path: Path) -> None:
    """SQLite's locks belong to the process: a child that thinks it holds its parent's would write without any."""
    code = """if True:
        from service.sync.outbox import open_outbox

        def count(_):
            files = [os.path.realpath(f"/proc/self/fd/{number}") for number in os.listdir("/proc/self/fd")]
            print(sum("outbox.db" in file for file in files))

        outbox = open_outbox(sys.argv[1])
        count("parent")
        sys.stdout.flush()
        together(1, count)
        outbox.close()
    """
    with running(TOGETHER + code, f"sqlite:///{tmp_path / 'outbox.db'}") as process:
        out, problems = process.communicate()
    parent, child = out.split()
    assert (int(parent) > 0, child, problems) == (True, "0", "")


@pytest.mark.postgres
def test_a_claim_passes_by_what_another_is_just_claiming(postgres_url: str) -> None:
    with open_outbox(postgres_url, busy_seconds=2) as outbox:
        outbox.accept("run", [submission("a"), submission("b")])
        with psycopg.connect(postgres_url.replace("+psycopg", "")) as other:
            other.execute("SELECT 1 FROM outbox_job ORDER BY number LIMIT 1 FOR UPDATE")
            job = outbox.claim(ME, now=10)
        assert job is not None
        assert job.case == "b"


def test_only_who_is_known_to_be_dead_is_dead() -> None:
    workers = [str(worker) for worker in (ME, other_worker(), dead_worker(), far_worker())]
    assert find_dead(workers, local=False) == [str(dead_worker())]
    assert find_dead([], local=True) == []


def test_a_worker_is_a_thread_of_a_process() -> None:
    assert this_worker() == ME
    assert this_worker().pid == os.getpid()
    assert len(str(ME).split(" ")) == 6
