"""Run the migrations on the connection that the module ``database`` passes to Alembic."""

from alembic import context

context.configure(connection=context.config.attributes["connection"], render_as_batch=True)
context.run_migrations()
