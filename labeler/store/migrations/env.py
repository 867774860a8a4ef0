"""Runs the revisions on the connection that `labeler.store.database` hands over."""

from alembic import context

from labeler.store.tables import LabelerTable

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=LabelerTable.metadata,
    render_as_batch=True,  # SQLite alters a table by copying it
    transactional_ddl=True,
)
context.run_migrations()
