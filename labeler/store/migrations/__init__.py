"""Migrations of the labeler's database: one alembic revision per change, applied at each start."""
