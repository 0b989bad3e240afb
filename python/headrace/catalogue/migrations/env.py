"""What Alembic runs to migrate: on the connection that database.py has opened."""

from alembic import context

from headrace.catalogue.tables import metadata

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=metadata, render_as_batch=True)
with context.begin_transaction():
    context.run_migrations()
