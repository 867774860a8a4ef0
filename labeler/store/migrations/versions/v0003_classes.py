"""Classes have a colour, a description, a key of their own and an order."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table(
        "class_properties",
        sa.Column("id", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("colour", sa.String()),
        sa.Column("description", sa.String()),
        sa.Column("hotkey", sa.String()),
        sa.Column("place", sa.Integer()),
    )


def downgrade() -> None:
    op.drop_table("class_properties")
