"""Alembic's entry: run the migrations inside the transaction that schema.upgrade() opened."""

from alembic import context

from edge.store.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transaction_per_migration=False,
)
context.run_migrations()
