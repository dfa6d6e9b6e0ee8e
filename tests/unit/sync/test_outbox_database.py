"""The outbox's database: opened, migrated, full, locked, foreign or gone; and what its errors say."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import traceback
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from random import Random

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine, create_engine, inspect, text
from sqlalchemy.dialects import sqlite

from service.errors import CasebridgeError, OutboxFull, Usage
from service.sync.outbox import State, Submission, connect, default_url, open_outbox, queries, this_worker
from service.sync.outbox.tables import METADATA, REVISIONS, VERSION_TABLE
from tests.support import postgres
from tests.support.outbox import DATABASES, ROOT, TOGETHER, database_url, entry, running, said, submission

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


def url_of(path: Path) -> str:
    return default_url(path.parent)


def all_of(error: BaseException) -> str:
    return "".join(traceback.format_exception(error)) + repr(error) + repr(getattr(error, "issues", ""))


def rule_of(error: CasebridgeError) -> str:
    [issue] = error.issues
    return issue.rule


# Migrations


def test_the_migrations_make_the_tables_that_the_code_uses(url: str, engine: Engine) -> None:
    open_outbox(url).close()
    with engine.connect() as connection:
        options = {"version_table": VERSION_TABLE, "compare_type": True, "compare_server_default": True}
        assert compare_metadata(MigrationContext.configure(connection, opts=options), METADATA) == []
        assert connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar() == REVISIONS[-1]


def test_the_checks_and_partial_indexes_are_those_of_the_tables(url: str, engine: Engine) -> None:
    """Alembic compares neither."""
    open_outbox(url).close()
    made = described(engine)
    with engine.begin() as connection:
        METADATA.drop_all(connection)
        METADATA.create_all(connection)
    assert described(engine) == made


def described(engine: Engine) -> object:
    found = inspect(engine)
    if engine.dialect.name == "sqlite":
        with engine.connect() as connection:
            rows = connection.execute(text("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL")).all()
        # Columns and constraints may stand in another order; the version's table is Alembic's.
        return sorted((name, sorted(sql.replace(",", " ").split())) for name, sql in rows if name != VERSION_TABLE)
    tables = sorted(METADATA.tables)
    return [(found.get_check_constraints(table), found.get_indexes(table), found.get_foreign_keys(table)) for table in tables]


def test_the_revisions_that_the_code_knows_are_those_that_there_are() -> None:
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(ROOT / "service" / "sync" / "outbox" / "migrations"))
    found = [script.revision for script in ScriptDirectory.from_config(config).walk_revisions()]
    assert tuple(reversed(found)) == REVISIONS


def test_a_database_is_migrated_once_and_then_opened_without_alembic(url: str) -> None:
    open_outbox(url).close()
    code = """if True:
        import sys
        from service.sync.outbox import open_outbox
        open_outbox(sys.argv[1]).close()
        assert "alembic" not in sys.modules
    """
    subprocess.run([sys.executable, "-c", code, url], check=True, cwd=ROOT)


def test_jobs_and_states_load_without_sqlalchemy() -> None:
    code = """if True:
        import sys
        from service.sync.outbox import OPEN, Entry, Job, LeaseLost, State, Submission, Worker, default_url, this_worker
        this_worker()
        assert "sqlalchemy" not in sys.modules
    """
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_eight_processes_may_open_a_new_outbox_at_once(url: str) -> None:
    code = """if True:
        import alembic.command
        from service.sync.outbox import open_outbox

        def work(number):
            with open_outbox(sys.argv[1]) as outbox:
                outbox.remember("server", str(number), "here")

        together(8, work)
    """
    with running(TOGETHER + code, url) as process:
        assert process.communicate() == ("", "")
    with open_outbox(url) as outbox:
        assert [outbox.recall("server", str(number)) for number in range(8)] == ["here"] * 8


def test_a_database_of_a_newer_version_is_left_alone(url: str, engine: Engine) -> None:
    open_outbox(url).close()
    with engine.begin() as connection:
        connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '9999'"))
    with pytest.raises(CasebridgeError, match="newer version") as refused:
        open_outbox(url)
    assert rule_of(refused.value) == "sync-outbox-newer"


def test_a_table_of_our_name_that_is_not_ours_is_left_alone(url: str, engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE outbox_job (x INTEGER)"))
    with pytest.raises(CasebridgeError, match="something else") as refused:
        open_outbox(url)
    assert rule_of(refused.value) == "sync-outbox-foreign"


@pytest.mark.postgres
def test_other_tables_may_stand_in_the_same_postgresql_database(postgres_url: str) -> None:
    engine = create_engine(postgres_url)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE alembic_version (version_num TEXT)"))
    engine.dispose()
    with open_outbox(postgres_url) as outbox:
        assert len(outbox.accept("run", [submission()])) == 1


# Files


def test_the_files_are_their_owners_alone(path: Path) -> None:
    with open_outbox(url_of(path)) as outbox:
        outbox.accept("run", [submission()])
        files = sorted(path.parent.iterdir())
        assert [file.name for file in files] == ["outbox.db", "outbox.db-shm", "outbox.db-wal"]
        assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_a_new_file_is_never_open_to_others(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even until its mode is looked at."""
    monkeypatch.setattr(connect, "_keep_private", lambda _path: None)
    with open_outbox(url_of(path)) as outbox:
        outbox.accept("run", [submission()])
        assert {file.stat().st_mode & 0o777 for file in path.parent.iterdir()} == {0o600}


def test_a_file_that_came_from_elsewhere_is_closed_to_others(path: Path) -> None:
    open_outbox(url_of(path)).close()
    path.chmod(0o644)
    open_outbox(url_of(path)).close()
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_commit_is_on_disk_and_foreign_keys_hold(path: Path) -> None:
    open_outbox(url_of(path)).close()
    database = connect.Database(url_of(path), 1.0)
    with database.read() as connection:
        pragmas = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "secure_delete", "busy_timeout")
        }
    database.close()
    assert pragmas == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "secure_delete": 1, "busy_timeout": 1000}


def test_a_folder_may_have_any_name(tmp_path: Path) -> None:
    home = tmp_path / "50% of what? #ü {place}"
    with open_outbox(default_url(home)) as outbox:
        outbox.accept("run", [submission()])
    assert (home / "outbox.db").is_file()


def test_a_file_that_is_no_database_is_left_alone(path: Path) -> None:
    content = b"a text, and not even a short one: it is longer than a page. " * 100
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(CasebridgeError, match="something else") as refused:
        open_outbox(url_of(path))
    assert rule_of(refused.value) == "sync-outbox-foreign"
    assert path.read_bytes() == content


def test_a_database_of_somebody_elses_is_left_alone(path: Path) -> None:
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE patients (name TEXT)")
    before = path.read_bytes()
    with pytest.raises(CasebridgeError, match="something else"):
        open_outbox(url_of(path))
    assert path.read_bytes() == before


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for home in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(CasebridgeError, match=r"outbox\.db cannot be opened") as refused:
            open_outbox(default_url(home))
        assert rule_of(refused.value) == "sync-outbox-unopened"


def test_a_damaged_database_is_told_as_such(path: Path) -> None:
    with open_outbox(url_of(path)) as outbox:
        outbox.accept("run", [submission(f"case-{number}", payload=b"x" * 5000) for number in range(50)])
    content = bytearray(path.read_bytes())
    content[8192:] = Random(1).randbytes(len(content) - 8192)
    path.write_bytes(content)
    with open_outbox(url_of(path)) as outbox, pytest.raises(CasebridgeError, match="damaged"):
        outbox.jobs(payload=True)


@pytest.mark.parametrize("seed", range(4))
def test_purging_leaves_nothing_of_a_patient_in_any_file(path: Path, seed: int) -> None:
    """Rows of many sizes, so that SQLite moves them between its pages: their old places are overwritten too."""
    random = Random(seed)
    with open_outbox(url_of(path)) as outbox:
        for round_ in range(8):
            outbox.accept("run", [secret(random) for _ in range(random.choice((1, 5, 40)))])
            for _ in range(random.randrange(40)):
                if job := outbox.claim(ME, now=round_):
                    report = {"said": SECRET * random.choice((1, 10, 200, 1000))}
                    outbox.settle(job, ME, State.DEAD, report=report, now=round_)
        while job := outbox.claim(ME, now=9):
            outbox.settle(job, ME, State.CONFIRMED, report={"said": SECRET}, entries=[entry()], now=9)
        assert SECRET.encode() in path.read_bytes() + path.with_name("outbox.db-wal").read_bytes()
        assert outbox.purge(before=10) == len(outbox.jobs())
        left = {file.name: file.read_bytes().count(SECRET.encode()) for file in path.parent.iterdir()}
    assert left == {"outbox.db": 0, "outbox.db-shm": 0, "outbox.db-wal": 0}


def secret(random: Random) -> Submission:
    size = random.choice((1, 3, 10, 30, 100, 1000))
    return submission(f"case-{random.random()}", payload=SECRET.encode() * size, label=f"{SECRET}-{random.random()}")


@pytest.mark.parametrize("target", [False, True])
@pytest.mark.parametrize("run", [False, True])
def test_a_claim_looks_at_open_jobs_only_and_sorts_none(path: Path, target: bool, run: bool) -> None:
    open_outbox(url_of(path)).close()
    values = {"now": 1.0, "dead": ["worker"], "held": [], "of_target": "server", "of_run": "run"}
    statement = queries.due(target=target, run=run)
    wanted = {name: value for name, value in values.items() if name in statement.compile().binds}
    code = str(statement.params(wanted).compile(dialect=sqlite.dialect(), compile_kwargs={"literal_binds": True}))
    database = connect.Database(url_of(path), 1.0)
    with database.read() as connection:
        steps = [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {code}")]
    database.close()
    assert ("ix_outbox_job_run (run=? AND settled=?)" if run else "ix_outbox_job_open") in steps[0]
    assert any("older USING INDEX ix_outbox_job_turn (target=? AND case=?)" in step for step in steps)
    assert not any("TEMP B-TREE" in step for step in steps)


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


LOCKS = {"sqlite": "BEGIN IMMEDIATE", "postgresql": "BEGIN; LOCK TABLE outbox_job IN ACCESS EXCLUSIVE MODE"}


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
        with running(code, kind, place, LOCKS[kind]) as process:
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
