"""A place in the queue holds the boxes that the model suggests."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    with op.batch_alter_table("query") as query:
        query.add_column(sa.Column("boxes", sa.JSON()))


def downgrade() -> None:
    with op.batch_alter_table("query") as query:
        query.drop_column("boxes")
