"""Answers know how sure an imported label was, and which class a review proposed."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    with op.batch_alter_table("annotation") as annotation:
        annotation.add_column(sa.Column("confidence", sa.Float()))
        annotation.add_column(sa.Column("proposed", sa.Integer()))


def downgrade() -> None:
    with op.batch_alter_table("annotation") as annotation:
        annotation.drop_column("proposed")
        annotation.drop_column("confidence")
