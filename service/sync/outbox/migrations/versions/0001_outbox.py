"""The first tables: jobs with their payloads, the ledger, holds of hosts, and facts about servers."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

NUMBER = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    _jobs()
    _payloads()
    _ledger()
    _holds_and_facts()


def _jobs() -> None:
    op.create_table(
        "outbox_job",
        sa.Column("number", NUMBER, autoincrement=False, nullable=False),
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("run", sa.Text, nullable=False),
        sa.Column("target", sa.Text, nullable=False),
        sa.Column("case", sa.Text, nullable=False),
        sa.Column("label", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("next_try", sa.Double, nullable=False),
        sa.Column("created", sa.Double, nullable=False),
        sa.Column("updated", sa.Double, nullable=False),
        sa.Column("settled", sa.Double),
        sa.Column("worker", sa.Text),
        sa.Column("lease_until", sa.Double),
        sa.Column("resumed", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("mapping", sa.Text, nullable=False),
        sa.Column("overwrite", sa.Boolean, nullable=False),
        sa.Column("plan", sa.Text),
        sa.Column("reason", sa.Text),
        sa.Column("report", sa.Text),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_outbox_job")),
        sa.CheckConstraint(
            "state IN ('queued', 'sending', 'unknown', 'confirmed', 'conflict', 'dead')", name=op.f("ck_outbox_job_state")
        ),
        sa.CheckConstraint(
            "(settled IS NULL) = (state IN ('queued', 'sending', 'unknown'))", name=op.f("ck_outbox_job_settled")
        ),
        sa.CheckConstraint("(worker IS NULL) = (state <> 'sending')", name=op.f("ck_outbox_job_worker")),
    )
    still_open, sending = sa.text("settled IS NULL"), sa.text("worker IS NOT NULL")
    op.create_index("ix_outbox_job_id", "outbox_job", ["id"], unique=True)
    op.create_index("ix_outbox_job_case", "outbox_job", ["target", "case", "number"])
    op.create_index("ix_outbox_job_run", "outbox_job", ["run", "settled", "number"])
    for name, columns, where in (
        ("open", ["number"], still_open),
        ("turn", ["target", "case", "number"], still_open),
        ("worker", ["worker"], sending),
    ):
        op.create_index(f"ix_outbox_job_{name}", "outbox_job", columns, sqlite_where=where, postgresql_where=where)


def _payloads() -> None:
    op.create_table(
        "outbox_payload",
        sa.Column("number", NUMBER, autoincrement=False, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_outbox_payload")),
        sa.ForeignKeyConstraint(["number"], ["outbox_job.number"], name=op.f("fk_outbox_payload_number"), ondelete="CASCADE"),
    )


def _ledger() -> None:
    op.create_table(
        "outbox_ledger",
        sa.Column("target", sa.Text, nullable=False),
        sa.Column("case", sa.Text, nullable=False),
        sa.Column("identity", sa.Text, nullable=False),
        sa.Column("resource_type", sa.Text, nullable=False),
        sa.Column("resource_id", sa.Text, nullable=False),
        sa.Column("version", sa.Text, nullable=False),
        sa.Column("updated", sa.Text, nullable=False),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("stored", sa.Text, nullable=False),
        sa.Column("retired", sa.Boolean, nullable=False),
        sa.PrimaryKeyConstraint("target", "case", "identity", name=op.f("pk_outbox_ledger")),
        sqlite_with_rowid=False,
    )


def _holds_and_facts() -> None:
    op.create_table(
        "outbox_hold",
        sa.Column("target", sa.Text, nullable=False),
        sa.Column("until", sa.Double, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("target", name=op.f("pk_outbox_hold")),
    )
    op.create_table(
        "outbox_fact",
        sa.Column("target", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("value", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("target", "name", name=op.f("pk_outbox_fact")),
    )
