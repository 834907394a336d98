"""Alembic migrations from an empty database to tables.py. migrate.py runs them."""
