"""Alembic's entry: run the steps on the connection, and in the transaction, that the caller brings."""

from alembic import context

from drystone.catalog.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
