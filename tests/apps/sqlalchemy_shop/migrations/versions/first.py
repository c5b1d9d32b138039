"""The shop as it was first."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "first"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "products",
        sa.Column("sku", sa.String(10), primary_key=True),
        sa.Column("title", sa.String(60), nullable=False),
        sa.Column("price", sa.Numeric(8, 2), nullable=False),
        sa.Column("details", sa.JSON),
    )
    op.create_table(
        "customers",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("name", sa.String(20), nullable=False),
        sa.Column("region", sa.String(2), nullable=False, server_default="de"),
    )
    op.create_table(
        "orders",
        sa.Column("customer_id", sa.Integer, sa.ForeignKey("customers.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("placed", sa.DateTime, nullable=False, index=True),
        sa.Column("paid", sa.Boolean, nullable=False),
    )
    op.create_table(
        "order_lines",
        sa.Column("customer_id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("position", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("sku", sa.String(10), sa.ForeignKey("products.sku"), nullable=False),
        sa.Column("count", sa.SmallInteger, nullable=False),
        sa.Column("price", sa.Numeric(8, 2), nullable=False),
        sa.ForeignKeyConstraint(
            ["customer_id", "number"], ["orders.customer_id", "orders.number"], ondelete="CASCADE", name="of_order"
        ),
    )
    op.create_table(
        "notes",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("customer_id", sa.Integer, index=True),
        sa.Column("text", sa.Text, nullable=False),
    )
    op.create_table(
        "employees",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("name", sa.String(40), nullable=False, unique=True),
        sa.Column("boss_id", sa.Integer, sa.ForeignKey("employees.id")),
    )
    op.create_table(
        "baskets",
        sa.Column("token", sa.String(20), primary_key=True),
        sa.Column("content", sa.LargeBinary, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
    )


def downgrade() -> None:
    for table in ("baskets", "employees", "notes", "order_lines", "orders", "customers", "products"):
        op.drop_table(table)
