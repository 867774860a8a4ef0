"""The log holds answers of any task as JSON, and the batch of rows that were written by one request."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    with op.batch_alter_table("annotation") as annotation:
        annotation.add_column(sa.Column("answer", sa.JSON()))
        annotation.add_column(sa.Column("batch", sa.Uuid()))


def downgrade() -> None:
    with op.batch_alter_table("annotation") as annotation:
        annotation.drop_column("batch")
        annotation.drop_column("answer")
