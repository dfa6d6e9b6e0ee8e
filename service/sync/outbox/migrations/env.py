"""Alembic's entry: runs the migrations on the connection, and in the transaction, that service.sync.outbox.connect gives."""

from alembic import context

from service.sync.outbox.tables import METADATA, VERSION_TABLE

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    version_table=VERSION_TABLE,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
