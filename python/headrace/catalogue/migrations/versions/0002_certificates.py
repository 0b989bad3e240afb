"""Keys that are client certificates."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    with op.batch_alter_table("keys") as keys:
        keys.add_column(sa.Column("certificate", sa.String(255)))


def downgrade() -> None:
    with op.batch_alter_table("keys") as keys:
        keys.drop_column("certificate")
