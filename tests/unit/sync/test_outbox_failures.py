"""An outbox whose database is full, locked, cut off or wrong; and what its errors say, and do not say."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import Engine, create_engine, text

from service.errors import CasebridgeError, OutboxFull, Usage
from service.sync.outbox import State, open_outbox, this_worker
from service.sync.outbox.connect import LOCKS, ORDER
from tests.support import postgres
from tests.support.outbox import DATABASES, all_of, database_url, rule_of, running, said, submission, url_of

ME = this_worker()
SECRET = "canary"


@pytest.fixture(params=DATABASES)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return database_url(request, tmp_path)


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    """A way into the same database behind the outbox's back."""
    made = create_engine(url)
    yield made
    made.dispose()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "home" / "outbox.db"


# Full and locked


def test_a_full_file_accepts_nothing_and_keeps_what_it_has(path: Path) -> None:
    """A limit on the size of files stands for a full disk: SQLite meets the same refused write."""
    code = """if True:
        import resource, sys
        from service.errors import OutboxFull
        from service.sync.outbox import open_outbox
        from tests.support.outbox import submission
        with open_outbox(sys.argv[1]) as outbox:
            resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, resource.RLIM_INFINITY))
            for number in range(100):
                try:
                    [job] = outbox.accept("run", [submission(f"case-{number}", payload=b"p" * 50_000)])
                except OutboxFull as error:
                    print("full", error.disk, error.issues[0].rule)
                    break
                print(job.id)
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    """
    with running(code, url_of(path)) as process:
        out, problems = process.communicate()
    *accepted, last = out.splitlines()
    assert (last, problems) == ("full True sync-outbox-disk", "")
    assert len(accepted) >= 5
    with open_outbox(url_of(path)) as outbox:
        jobs = outbox.jobs(payload=True)
        assert [job.id for job in jobs] == accepted
        assert {job.payload for job in jobs} == {b"p" * 50_000}
        outbox.accept("run", [submission("now there is room")])


def test_a_full_database_accepts_nothing_and_goes_on_later(path: Path) -> None:
    with open_outbox(url_of(path)) as outbox:
        [kept] = outbox.accept("run", [submission("first")])
        with outbox._database.read() as connection:  # the pragma holds for this connection only, which is the pooled one
            connection.exec_driver_sql("PRAGMA max_page_count = 50")
        with pytest.raises(OutboxFull, match="disk") as refused:
            outbox.accept("run", [submission("second", payload=b"p" * 300_000)])
        assert refused.value.disk
        with outbox._database.read() as connection:
            connection.exec_driver_sql("PRAGMA max_page_count = 5000")
        [later] = outbox.accept("run", [submission("second", payload=b"p" * 300_000)])
        assert [job.id for job in outbox.jobs()] == [kept.id, later.id]


HOLDING = {"sqlite": "BEGIN IMMEDIATE", "postgresql": "BEGIN; LOCK TABLE outbox_job IN ACCESS EXCLUSIVE MODE"}


def test_a_lock_that_lasts_refuses_and_then_lets_go(url: str) -> None:
    code = """if True:
        import sys, sqlite3, psycopg
        kind, place, lock = sys.argv[1:]
        if kind == "sqlite":
            connection = sqlite3.connect(place, isolation_level=None)
        else:
            connection = psycopg.connect(place, autocommit=True)
        connection.execute(lock)
        print("held", flush=True)
        input()
        connection.execute("ROLLBACK")
        connection.close()
        print("free", flush=True)
    """
    kind = "sqlite" if url.startswith("sqlite") else "postgresql"
    with open_outbox(url, busy_seconds=0.2) as outbox:
        outbox.accept("run", [submission("a")])
        place = url.removeprefix("sqlite:///").replace("+psycopg", "")
        with running(code, kind, place, HOLDING[kind]) as process:
            assert said(process) == "held"
            with pytest.raises(OutboxFull, match="another process") as refused:
                outbox.accept("run", [submission("b", label=SECRET)])
            assert process.communicate("\n") == ("free\n", "")
        assert (rule_of(refused.value), refused.value.disk) == ("sync-outbox-locked", False)
        assert SECRET not in all_of(refused.value)
        outbox.accept("run", [submission("b")])
        assert [job.case for job in outbox.jobs()] == ["a", "b"]


def test_purging_while_another_reads_says_so_and_can_be_repeated(path: Path) -> None:
    with open_outbox(url_of(path), busy_seconds=0.1) as outbox:
        outbox.accept("run", [submission(payload=SECRET.encode() * 100)])
        job = outbox.claim(ME, now=1)
        assert job is not None
        outbox.settle(job, ME, State.DEAD, now=2)
        with closing(sqlite3.connect(path, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM outbox_job").fetchone()
            with pytest.raises(OutboxFull, match="another process"):
                outbox.purge(before=3)
        assert outbox.purge(before=3) == 0
        assert all(SECRET.encode() not in file.read_bytes() for file in path.parent.iterdir())


@pytest.mark.postgres
def test_on_postgresql_too_nothing_is_claimed_while_older_jobs_come_back(postgres_url: str) -> None:
    """Else a newer job of a case could go out beside an older one. Claims do not keep each other waiting."""
    with open_outbox(postgres_url, busy_seconds=0.2) as outbox:
        outbox.accept("run", [submission()])
        with psycopg.connect(postgres_url.replace("+psycopg", "")) as other:
            other.execute("SELECT pg_advisory_xact_lock_shared(%s, %s)", [LOCKS, ORDER])
            job = outbox.claim(ME, now=1)
            assert job is not None
            outbox.settle(job, ME, State.DEAD, now=1)
            for changes_order in (lambda: outbox.retry([job.id], now=2), lambda: outbox.purge(before=2)):
                with pytest.raises(OutboxFull, match="another process"):
                    changes_order()
        outbox.retry([job.id], now=2)
        with psycopg.connect(postgres_url.replace("+psycopg", "")) as other:
            other.execute("SELECT pg_advisory_xact_lock(%s, %s)", [LOCKS, ORDER])
            with pytest.raises(OutboxFull, match="another process"):
                outbox.claim(ME, now=2)


# Errors


def test_no_value_stands_in_an_error(url: str, engine: Engine) -> None:
    with open_outbox(url) as outbox:
        with engine.begin() as connection:
            connection.execute(text("DROP TABLE outbox_payload"))
        secret = submission(payload=SECRET.encode(), label=SECRET, digest=SECRET)
        with pytest.raises(CasebridgeError, match=r"failed: ") as raised:
            outbox.accept("run", [secret])
    assert rule_of(raised.value) == "sync-outbox-failed"
    assert SECRET not in all_of(raised.value)
    assert "sqlalchemy" not in all_of(raised.value)
    # Who shows the database's own error all the same, as some loggers do, shows no parameters.
    assert SECRET not in str(raised.value.__context__)


def test_a_server_that_is_not_there_is_named_without_its_password() -> None:
    port = postgres._free_port()
    with pytest.raises(CasebridgeError, match=r"outbox on 127\.0\.0\.1 cannot be reached") as raised:
        open_outbox(f"postgresql://someone:{SECRET}@127.0.0.1:{port}/outbox", busy_seconds=2)
    assert rule_of(raised.value) == "sync-outbox-unreachable"
    assert SECRET not in all_of(raised.value)


@pytest.mark.postgres
def test_a_database_that_does_not_exist_is_named(postgres_url: str) -> None:
    with pytest.raises(CasebridgeError, match="database missing on 127"):
        open_outbox(postgres_url.rpartition("/")[0] + "/missing")


OTHERS = "pid <> pg_backend_pid() AND datname = current_database()"


@pytest.mark.postgres
def test_a_connection_that_was_cut_is_made_again(postgres_url: str) -> None:
    with open_outbox(postgres_url.replace("+psycopg", "")) as outbox:
        outbox.accept("run", [submission("a")])
        engine = create_engine(postgres_url)
        with engine.begin() as connection:
            connection.execute(text(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {OTHERS}"))
        engine.dispose()
        outbox.accept("run", [submission("b")])
        assert [job.case for job in outbox.jobs()] == ["a", "b"]


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "outbox.db",
        "sqlite://",
        "sqlite:///:memory:",
        "sqlite:///file:x?mode=memory",
        f"mysql://u:{SECRET}@h/d",
        f"postgresql+asyncpg://u:{SECRET}@h/d",
        f"postgresql://u:{SECRET}@h:port/d",
    ],
)
def test_an_address_that_is_none_is_refused_without_showing_it(wrong: str) -> None:
    with pytest.raises(Usage) as refused:
        open_outbox(wrong)
    assert rule_of(refused.value) == "sync-outbox-address"
    assert SECRET not in all_of(refused.value)
