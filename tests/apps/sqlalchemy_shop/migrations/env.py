"""Alembic's environment: migrations run on the connection that the application gives."""

from __future__ import annotations

from alembic import context

from tests.apps.sqlalchemy_shop.models import Base

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=Base.metadata)
with context.begin_transaction():
    context.run_migrations()
