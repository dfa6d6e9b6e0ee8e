"""The outbox's database: opened, migrated, full, locked, foreign or gone; and what its errors say."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from random import Random

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine, create_engine, inspect, text
from sqlalchemy.dialects import sqlite

from service.errors import CasebridgeError
from service.sync.outbox import State, Submission, connect, default_url, open_outbox, queries, this_worker
from service.sync.outbox.tables import METADATA, REVISIONS, VERSION_TABLE
from tests.support.outbox import DATABASES, ROOT, TOGETHER, database_url, entry, rule_of, running, submission, url_of

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
