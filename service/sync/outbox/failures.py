"""What a database says when it fails, in our own words: its own text holds the values that were being written."""

from __future__ import annotations

import sqlite3
from typing import Any, Literal

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as NoConnection

from service.errors import CasebridgeError, OutboxFull, Usage
from service.issues import Issue

Kind = Literal["locked", "disk", "unreachable", "unopened", "damaged", "foreign", "newer", "failed"]

# Primary result codes: https://www.sqlite.org/rescode.html
_SQLITE: dict[int, Kind] = {
    sqlite3.SQLITE_BUSY: "locked",
    sqlite3.SQLITE_LOCKED: "locked",
    sqlite3.SQLITE_FULL: "disk",
    # A write beyond a quota or RLIMIT_FSIZE ends here, as on a failing disk.
    sqlite3.SQLITE_IOERR: "disk",
    sqlite3.SQLITE_CANTOPEN: "unopened",
    sqlite3.SQLITE_READONLY: "unopened",
    sqlite3.SQLITE_PERM: "unopened",
    sqlite3.SQLITE_CORRUPT: "damaged",
    sqlite3.SQLITE_NOTADB: "foreign",
}
# Codes, or classes of two characters: https://www.postgresql.org/docs/current/errcodes-appendix.html
_POSTGRES: dict[str, Kind] = {
    "53100": "disk",
    "53": "locked",  # memory or connections are short
    "55": "locked",  # lock_timeout
    "40": "locked",  # deadlocks
    "57014": "locked",  # statement_timeout
    "57": "unreachable",  # the server is shut down, or starts
    "08": "unreachable",
    "28": "unreachable",  # wrong user or password
    "3D": "unreachable",  # no such database
    "42501": "unopened",  # no right to do so
    "25006": "unopened",  # a standby, which only reads
    "42P07": "foreign",  # a table of our name exists
}
# Code of the issue, text, fix.
_WORDS: dict[Kind, tuple[str, str, str]] = {
    "locked": (
        "lock-error",
        "another process holds the outbox, and did not let go of it in time",
        "try again; if it lasts, look for a process that keeps a transaction open",
    ),
    "disk": ("no-store", "the disk of the outbox is full, or fails", "free some space for {place}, and try again"),
    "unreachable": (
        "transient",
        "{place} cannot be reached, or does not let us in",
        "check that it runs, and its address, user, password and name in CASEBRIDGE_DATABASE_URL",
    ),
    "unopened": (
        "exception",
        "{place} cannot be opened for writing",
        "check whom the file and its folder, or the tables, belong to",
    ),
    "damaged": ("exception", "{place} is damaged", "bring it back from a backup, or move it away and push the cases again"),
    "foreign": ("invalid", "{place} holds something else than an outbox", "name another file, or another database"),
    "newer": (
        "not-supported",
        "{place} was made by a newer version of Casebridge",
        "update Casebridge, or name another file or database",
    ),
    "failed": ("exception", "{place} failed: {name}", "this is a fault in Casebridge or in the database; please report it"),
}


def failure(kind: Kind, place: str, name: str = "") -> CasebridgeError:
    """The error to raise. `place`: the database as it may be shown, without a password; `name`: of the database's error."""
    code, text, fix = _WORDS[kind]
    words = {"place": place, "name": name}
    issue = Issue("error", code, f"sync-outbox-{kind}", text.format(**words), fix=fix.format(**words))
    if kind in {"locked", "disk"}:
        return OutboxFull([issue], disk=kind == "disk")
    return CasebridgeError([issue])


def bad_address(text: str) -> Usage:
    fix = "write it as sqlite:////folder/outbox.db or postgresql://user:password@host/database"
    return Usage([Issue("error", "value", "sync-outbox-address", text, fix=fix)])


def explain(error: Exception, place: str) -> CasebridgeError:
    """The error to raise instead of the database's own, `from None`."""
    cause: Any = error.orig if isinstance(error, DBAPIError) else error
    name = type(cause).__name__
    if isinstance(error, NoConnection):
        return failure("locked", place)
    if isinstance(cause, sqlite3.Error):
        kind = _SQLITE.get(getattr(cause, "sqlite_errorcode", 0) & 0xFF, "failed")
        return failure(kind, place, getattr(cause, "sqlite_errorname", name))
    state: str | None = getattr(cause, "sqlstate", None)
    if state is None:  # psycopg has no code where there was no server to give one
        return failure("unreachable" if name == "OperationalError" else "failed", place, name)
    return failure(_POSTGRES.get(state) or _POSTGRES.get(state[:2], "failed"), place, f"{name}, {state}")
