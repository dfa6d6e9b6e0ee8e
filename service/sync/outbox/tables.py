"""The tables of the outbox. A change here needs a migration, and a new REVISION."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    false,
)

# Of the migrations, oldest first; the last one makes the tables below.
REVISIONS = ("0001",)
# Every name begins so: a PostgreSQL database may hold other tables than ours.
VERSION_TABLE = "outbox_version"

METADATA = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)

# In SQLite only INTEGER makes the key the row's own number: https://www.sqlite.org/lang_createtable.html#rowid
NUMBER = BigInteger().with_variant(Integer, "sqlite")

JOB = Table(
    "outbox_job",
    METADATA,
    Column("number", NUMBER, primary_key=True, autoincrement=False),
    Column("id", Text, nullable=False),
    Column("run", Text, nullable=False),
    Column("target", Text, nullable=False),
    Column("case", Text, nullable=False),
    Column("label", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("next_try", Double, nullable=False),
    Column("created", Double, nullable=False),
    Column("updated", Double, nullable=False),
    # When the job reached its end; NULL while it is open, and so are the jobs in the partial indexes.
    Column("settled", Double),
    # Set while the job is being sent, and then only.
    Column("worker", Text),
    Column("lease_until", Double),
    Column("resumed", Boolean, nullable=False, server_default=false()),
    Column("digest", Text, nullable=False),
    Column("mapping", Text, nullable=False),
    Column("overwrite", Boolean, nullable=False),
    Column("plan", Text),
    Column("reason", Text),
    Column("report", Text),
    CheckConstraint("state IN ('queued', 'sending', 'unknown', 'confirmed', 'conflict', 'dead')", name="state"),
    CheckConstraint("(settled IS NULL) = (state IN ('queued', 'sending', 'unknown'))", name="settled"),
    CheckConstraint("(worker IS NULL) = (state <> 'sending')", name="worker"),
)
Index("ix_outbox_job_id", JOB.c.id, unique=True)
Index("ix_outbox_job_case", JOB.c.target, JOB.c.case, JOB.c.number)
Index("ix_outbox_job_run", JOB.c.run, JOB.c.settled, JOB.c.number)
_OPEN_ONLY: dict[str, Any] = {"sqlite_where": JOB.c.settled.is_(None), "postgresql_where": JOB.c.settled.is_(None)}
Index("ix_outbox_job_open", JOB.c.number, **_OPEN_ONLY)
Index("ix_outbox_job_turn", JOB.c.target, JOB.c.case, JOB.c.number, **_OPEN_ONLY)
_SENDING_ONLY: dict[str, Any] = {"sqlite_where": JOB.c.worker.is_not(None), "postgresql_where": JOB.c.worker.is_not(None)}
Index("ix_outbox_job_worker", JOB.c.worker, **_SENDING_ONLY)

# Apart from the job: SQLite writes a whole row anew at every change of state.
PAYLOAD = Table(
    "outbox_payload",
    METADATA,
    Column("number", NUMBER, ForeignKey(JOB.c.number, ondelete="CASCADE"), primary_key=True, autoincrement=False),
    Column("body", LargeBinary, nullable=False),
)

LEDGER = Table(
    "outbox_ledger",
    METADATA,
    Column("target", Text, primary_key=True),
    Column("case", Text, primary_key=True),
    Column("identity", Text, primary_key=True),
    Column("resource_type", Text, nullable=False),
    Column("resource_id", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("updated", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("stored", Text, nullable=False),
    Column("retired", Boolean, nullable=False),
    sqlite_with_rowid=False,
)

HOLD = Table(
    "outbox_hold",
    METADATA,
    Column("target", Text, primary_key=True),
    Column("until", Double, nullable=False),
    Column("reason", Text, nullable=False),
)

FACT = Table(
    "outbox_fact",
    METADATA,
    Column("target", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
)
