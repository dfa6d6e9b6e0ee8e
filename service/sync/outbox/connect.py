"""The database of an outbox: opening, migrating and locking it, on SQLite and PostgreSQL alike."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from weakref import WeakSet

from sqlalchemy import URL, Connection, Engine, create_engine, event, inspect, make_url, text
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from service.errors import CasebridgeError
from service.issues import Issue
from service.sync.outbox.failures import bad_address, explain, failure
from service.sync.outbox.tables import JOB, REVISIONS, VERSION_TABLE

# PostgreSQL's advisory locks, all under one number of ours: "CASB".
LOCKS = 0x43415342
ACCEPT, ORDER, MIGRATE = 1, 2, 3
_PRAGMAS = (
    # A commit is on disk when it returns, also in WAL: https://www.sqlite.org/pragma.html#pragma_synchronous
    "synchronous=FULL",
    "foreign_keys=ON",
    # What is deleted is overwritten, and what is sorted never goes to a temporary file.
    "secure_delete=ON",
    "temp_store=MEMORY",
)
_migrating = threading.Lock()  # Alembic's context is one for the whole process
_databases: WeakSet[Database] = WeakSet()


class Database:
    """One database, used by any number of threads and processes. `place` names it without a password.

    All that is raised is ours: CasebridgeError, Usage or OutboxFull, never an error of SQLAlchemy's.
    """

    def __init__(self, url: str, busy_seconds: float) -> None:
        self.is_sqlite = url.startswith("sqlite:")
        self._path = _sqlite_path(url) if self.is_sqlite else None
        try:
            address = URL.create("sqlite", database=str(self._path)) if self.is_sqlite else _postgres_address(url)
            self.place = str(self._path or f"the database {address.database or ''} on {address.host or 'this machine'}")
            self._engine = _engine(address, busy_seconds)
        except (ArgumentError, ValueError):
            raise bad_address("the outbox's address is no database URL") from None
        except ImportError:
            raise bad_address("PostgreSQL needs psycopg: install casebridge[postgres]") from None
        self._reading = self._engine.execution_options(begin="BEGIN")
        self._writing = self._engine.execution_options(begin="BEGIN IMMEDIATE")
        self._bare = self._engine.execution_options(begin=None)
        self._busy_seconds = busy_seconds
        _databases.add(self)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that only reads."""
        with self._own_errors(), self._reading.connect() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that is on disk when the block ends. SQLite has one at a time."""
        with self._own_errors(), self._writing.begin() as connection:
            yield connection

    def serialise(self, connection: Connection, lock: int, *, shared: bool = False) -> None:
        """Has PostgreSQL's transactions wait for each other until they end, as SQLite's do anyway."""
        if not self.is_sqlite:
            function = "pg_advisory_xact_lock_shared" if shared else "pg_advisory_xact_lock"
            connection.exec_driver_sql(f"SELECT {function}({LOCKS}, {lock})")

    def open(self) -> None:
        """Makes or migrates the tables. Raises CasebridgeError for a database that is not ours or of a newer version."""
        if self._path is not None:
            _make_file(self._path)
        with self.read() as connection:
            current = self._revision(connection) == REVISIONS[-1]
        if not current:
            self._migrate()
        if self._path is not None:
            _keep_private(self._path)

    def forget(self) -> None:
        """Leaves nothing in SQLite's files of what was deleted. Raises OutboxFull where others use it for too long.

        secure_delete overwrites a deleted row, but not the copies that stay behind where rows once moved to another page; only
        writing all pages anew does (https://www.sqlite.org/lang_vacuum.html), and then the log still has the old ones
        (https://www.sqlite.org/pragma.html#pragma_wal_checkpoint). It takes memory for what is left in the file.
        """
        if self.is_sqlite:
            with self._own_errors(), self._bare.connect() as connection:
                connection.exec_driver_sql("VACUUM")
                if connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").scalar_one():
                    raise failure("locked", self.place)

    def close(self) -> None:
        self._engine.dispose()

    @contextmanager
    def _own_errors(self) -> Iterator[None]:
        try:
            yield
        except (SQLAlchemyError, sqlite3.Error) as error:
            raise explain(error, self.place) from None

    def _revision(self, connection: Connection) -> str | None:
        """The version of the tables, None where there are none yet."""
        tables = inspect(connection).get_table_names()
        if VERSION_TABLE not in tables:
            if JOB.name in tables or (tables and self.is_sqlite):
                raise failure("foreign", self.place)
            return None
        revision = connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar()  # noqa: S608 - our own name
        if revision is not None and revision not in REVISIONS:
            raise failure("newer", self.place)
        return revision

    def _migrate(self) -> None:
        if self.is_sqlite:
            self._set_wal()
        with _migrating, self.write() as connection:
            self.serialise(connection, MIGRATE)
            if self._revision(connection) != REVISIONS[-1]:  # no other process was faster
                _upgrade(connection)

    def _set_wal(self) -> None:
        """Only the first to open a new file sets the mode, which it keeps: https://www.sqlite.org/wal.html

        Where two do so at once, SQLite may say "locked" without waiting, lest both wait for each other.
        """
        end = time.monotonic() + self._busy_seconds
        with self._own_errors(), self._bare.connect() as connection:
            while True:
                try:
                    connection.exec_driver_sql("PRAGMA journal_mode=WAL")
                except SQLAlchemyError:
                    if time.monotonic() > end:
                        raise
                    time.sleep(0.02)
                else:
                    return


def _engine(address: URL, busy_seconds: float) -> Engine:
    if address.drivername == "sqlite":
        options: dict[str, Any] = {"connect_args": {"timeout": busy_seconds}, "pool_size": 8, "max_overflow": -1}
        statements = [f"PRAGMA {pragma}" for pragma in _PRAGMAS]
    else:
        wait = {"connect_timeout": max(2, round(busy_seconds))}
        options = {
            "connect_args": wait,
            "pool_timeout": busy_seconds,
            "pool_pre_ping": True,
            "isolation_level": "READ COMMITTED",
        }
        # What is acknowledged is on disk, whatever the database's default is.
        statements = ["SET synchronous_commit = on", f"SET lock_timeout = {max(1, round(busy_seconds * 1000))}"]
    engine = create_engine(address, hide_parameters=True, **options)

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: object) -> None:
        if address.drivername == "sqlite":
            connection.isolation_level = None  # we begin transactions ourselves
        cursor = connection.cursor()
        for statement in statements:
            cursor.execute(statement)
        cursor.close()
        connection.commit()

    if address.drivername == "sqlite":

        @event.listens_for(engine, "begin")
        def _begin(connection: Connection) -> None:
            if begin := connection.get_execution_options().get("begin"):
                connection.exec_driver_sql(begin)

    return engine


def _sqlite_path(url: str) -> Path:
    # Read by hand: SQLAlchemy would cut a path at its question mark.
    path = url.removeprefix("sqlite:///")
    if path == url or path in {"", ":memory:"} or path.startswith("file:"):
        raise bad_address("the outbox needs a file, and its address is none")
    return Path(path).absolute()


def _postgres_address(url: str) -> URL:
    address = make_url(url)
    if address.drivername not in {"postgresql", "postgres", "postgresql+psycopg"}:
        raise bad_address("the outbox is kept in SQLite or PostgreSQL only")
    return address.set(drivername="postgresql+psycopg")


def _make_file(path: Path) -> None:
    """Makes the file, for its owner only, where there is none. One that is there is left to SQLite: to open and close it here
    would break the locks of this process's other connections: https://www.sqlite.org/howtocorrupt.html#posixclose"""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not path.exists():
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        pass  # another process was faster
    except OSError as error:
        fix = "set CASEBRIDGE_HOME to a folder that you may write to, or CASEBRIDGE_DATABASE_URL to another database"
        issue = Issue("error", "exception", "sync-outbox-unopened", f"{path} cannot be opened: {error.strerror}", fix=fix)
        raise CasebridgeError([issue]) from None


def _keep_private(path: Path) -> None:
    """SQLite gives its -wal and -shm the mode of the file; a file that came from elsewhere may be open to others."""
    for one in (path, Path(f"{path}-wal"), Path(f"{path}-shm")):
        try:
            if one.stat().st_mode & 0o077:
                one.chmod(0o600)
        except OSError:
            continue  # gone, or another user's, who has then chosen to share it


def _upgrade(connection: Connection) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _close_idle() -> None:
    for database in list(_databases):
        database.close()


# No connection of SQLite's may be carried over a fork: https://www.sqlite.org/howtocorrupt.html#_carrying_an_open_database_connection_across_a_fork_
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_close_idle)
