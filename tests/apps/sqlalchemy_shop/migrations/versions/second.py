"""A column, a longer and a renamed one, a constraint, an index, and rows."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "second"
down_revision = "first"


def upgrade() -> None:
    op.add_column("customers", sa.Column("score", sa.Integer, nullable=False, server_default="0"))
    op.alter_column(
        "customers",
        "region",
        new_column_name="country",
        existing_type=sa.String(2),
        existing_nullable=False,
        existing_server_default="de",
    )
    op.alter_column("customers", "name", type_=sa.String(40), existing_type=sa.String(20), existing_nullable=False)
    op.create_check_constraint("score_not_negative", "customers", "score >= 0")
    op.create_index("ix_customers_name", "customers", ["name"])
    op.bulk_insert(
        sa.table("products", sa.column("sku"), sa.column("title"), sa.column("price")),
        [{"sku": "voucher", "title": "Voucher", "price": 10}],
    )
    op.execute("INSERT INTO customers (name, country) VALUES ('Walk-in', 'de'), ('Walk-out', 'fr')")


def downgrade() -> None:
    op.execute("DELETE FROM customers WHERE name LIKE 'Walk-%'")
    op.execute("DELETE FROM products WHERE sku = 'voucher'")
    op.drop_index("ix_customers_name", "customers")
    op.drop_constraint("score_not_negative", "customers", type_="check")
    op.alter_column("customers", "name", type_=sa.String(20), existing_type=sa.String(40), existing_nullable=False)
    op.alter_column(
        "customers",
        "country",
        new_column_name="region",
        existing_type=sa.String(2),
        existing_nullable=False,
        existing_server_default="de",
    )
    op.drop_column("customers", "score")
