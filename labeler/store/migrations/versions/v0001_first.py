"""The first shape: catalogue, annotation log, queue, evaluations."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "meta",
        sa.Column("key", sa.String(), primary_key=True),
        sa.Column("value", sa.String(), nullable=False),
    )
    op.create_table(
        "image",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("root", sa.String(), nullable=False),
        sa.Column("uri", sa.String(), nullable=False),
        sa.Column("sha256", sa.String(), nullable=False, unique=True),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.Column("format", sa.String(), nullable=False),
        sa.Column("split", sa.String(), nullable=False),
        sa.Column("place", sa.Float(), nullable=False),
        sa.Column("changed", sa.Integer(), nullable=False),
    )
    op.create_index("ix_image_changed", "image", ["changed"])
    op.create_table(
        "file",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("root", sa.String(), nullable=False),
        sa.Column("uri", sa.String(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("mtime_ns", sa.BigInteger(), nullable=False),
        sa.Column("image_id", sa.Integer(), sa.ForeignKey("image.id")),
        sa.Column("reason", sa.String()),
        sa.UniqueConstraint("root", "uri"),
    )
    op.create_index("ix_file_image_id", "file", ["image_id"])
    op.create_index("ix_file_reason", "file", ["reason"])
    op.create_table(
        "annotation",
        sa.Column("seq", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("id", sa.Uuid(), nullable=False, unique=True),
        sa.Column("action", sa.String(), nullable=False),
        sa.Column("image_id", sa.Integer()),
        sa.Column("label", sa.Integer()),
        sa.Column("name", sa.String()),
        sa.Column("into", sa.Integer()),
        sa.Column("split", sa.String()),
        sa.Column("annotator", sa.String(), nullable=False),
        sa.Column("seconds", sa.Float()),
        sa.Column("query_version", sa.Integer()),
        sa.Column("target", sa.Uuid()),
        sa.Column("reason", sa.String()),
        sa.Column("note", sa.String()),
        sa.Column("source", sa.String()),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_index("ix_annotation_image_id", "annotation", ["image_id"])
    op.create_table(
        "query",
        sa.Column("image_id", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("query_version", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("score", sa.Float(), nullable=False),
        sa.Column("reason", sa.String()),
        sa.Column("suggestions", sa.JSON(), nullable=False),
        sa.Column("model_version", sa.String(), nullable=False),
    )
    op.create_table(
        "push",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("query_version", sa.Integer(), nullable=False, unique=True),
        sa.Column("log_id", sa.Uuid(), nullable=False),
        sa.Column("acked_seq", sa.Integer(), nullable=False),
        sa.Column("model_version", sa.String(), nullable=False),
        sa.Column("strategy", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_table(
        "evaluation",
        sa.Column("position", sa.Integer(), primary_key=True),
        sa.Column("id", sa.Uuid(), nullable=False, unique=True),
        sa.Column("body", sa.JSON(), nullable=False),
    )


def downgrade() -> None:
    for name in ("evaluation", "push", "query", "annotation", "file", "image", "meta"):
        op.drop_table(name)
