"""The ledger: what each server was last seen to hold of each case. One function for each thing done, in a transaction given."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, fields
from typing import Any

from sqlalchemy import Connection, Table, bindparam, delete, select
from sqlalchemy.dialects import postgresql, sqlite

from service.sync.outbox.jobs import Entry
from service.sync.outbox.tables import LEDGER

INSERT: dict[str, Any] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}
_COLUMNS = [LEDGER.c[field.name] for field in fields(Entry)]
_OF_CASE = (LEDGER.c.target == bindparam("of_target"), LEDGER.c.case == bindparam("of_case"))
_READ = select(*_COLUMNS).where(*_OF_CASE).order_by(LEDGER.c.identity)
_DELETE = delete(LEDGER).where(*_OF_CASE, LEDGER.c.identity == bindparam("of_identity"))
_CASES = select(LEDGER.c.case).where(LEDGER.c.target == bindparam("of_target")).distinct().order_by(LEDGER.c.case)


def upserts(table: Table) -> dict[str, Any]:
    """For each dialect: the statement that inserts rows, or replaces those of the same key."""
    statements = {}
    for dialect, insert in INSERT.items():
        new = insert(table)
        values = {column.name: new.excluded[column.name] for column in table.columns if not column.primary_key}
        statements[dialect] = new.on_conflict_do_update(index_elements=list(table.primary_key), set_=values)
    return statements


_UPSERT = upserts(LEDGER)


def read_ledger(connection: Connection, target: str, case: str) -> dict[str, Entry]:
    """The entries of a case by identity."""
    rows = connection.execute(_READ, {"of_target": target, "of_case": case})
    return {row.identity: Entry(*row) for row in rows}


def write_ledger(connection: Connection, target: str, case: str, entries: Iterable[Entry], gone: Iterable[str] = ()) -> None:
    """Sets the entries, and deletes those whose identities are `gone`."""
    key = {"target": target, "case": case}
    if rows := [key | asdict(entry) for entry in entries]:
        connection.execute(_UPSERT[connection.dialect.name], rows)
    if old := [{"of_target": target, "of_case": case, "of_identity": identity} for identity in gone]:
        connection.execute(_DELETE, old)


def list_cases(connection: Connection, target: str) -> list[str]:
    return list(connection.execute(_CASES, {"of_target": target}).scalars())
