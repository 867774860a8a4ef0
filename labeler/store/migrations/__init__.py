"""How the labeler's database came to its shape, one alembic revision a step; applied at each start."""
