"""A shop. Customers, their orders and the lines of these lie together, sharded by customer; products are everywhere,
notes on a cluster of their own, employees and baskets at home."""

from __future__ import annotations

import datetime
from decimal import Decimal

import sqlalchemy as sa
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import DeclarativeBase, Mapped, foreign, mapped_column, relationship, remote


class Base(DeclarativeBase):
    pass


class Customer(Base):
    __tablename__ = "customers"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(sa.String(40), index=True)
    country: Mapped[str] = mapped_column(sa.String(2), server_default="de")
    score: Mapped[int] = mapped_column(default=0, server_default="0")
    orders: Mapped[list[Order]] = relationship(
        back_populates="customer", cascade="all, delete-orphan", order_by="Order.number"
    )
    notes: Mapped[list[Note]] = relationship(
        primaryjoin=lambda: Customer.id == foreign(remote(Note.customer_id)), order_by="Note.text", viewonly=True
    )
    __table_args__ = (sa.CheckConstraint("score >= 0", name="score_not_negative"),)


class Order(Base):
    __tablename__ = "orders"
    customer_id: Mapped[int] = mapped_column(sa.ForeignKey("customers.id", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    placed: Mapped[datetime.datetime] = mapped_column(index=True)
    paid: Mapped[bool] = mapped_column(default=False)
    customer: Mapped[Customer] = relationship(back_populates="orders")
    lines: Mapped[list[Line]] = relationship(
        back_populates="order", cascade="all, delete-orphan", order_by="Line.position"
    )


class Line(Base):
    __tablename__ = "order_lines"
    customer_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    position: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    sku: Mapped[str] = mapped_column(sa.ForeignKey("products.sku"))
    count: Mapped[int] = mapped_column(sa.SmallInteger, default=1)
    price: Mapped[Decimal] = mapped_column(sa.Numeric(8, 2))
    order: Mapped[Order] = relationship(back_populates="lines")
    product: Mapped[Product] = relationship()
    __table_args__ = (
        sa.ForeignKeyConstraint(
            ["customer_id", "number"], ["orders.customer_id", "orders.number"], ondelete="CASCADE", name="of_order"
        ),
    )

    @hybrid_property
    def total(self) -> Decimal:
        return self.price * self.count


class Product(Base):
    __tablename__ = "products"
    sku: Mapped[str] = mapped_column(sa.String(10), primary_key=True)
    title: Mapped[str] = mapped_column(sa.String(60))
    price: Mapped[Decimal] = mapped_column(sa.Numeric(8, 2))
    details: Mapped[dict[str, object] | None] = mapped_column(sa.JSON)


class Note(Base):
    __tablename__ = "notes"
    id: Mapped[int] = mapped_column(primary_key=True)
    customer_id: Mapped[int | None] = mapped_column(index=True)
    text: Mapped[str] = mapped_column(sa.Text)


class Employee(Base):
    __tablename__ = "employees"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(sa.String(40), unique=True)
    boss_id: Mapped[int | None] = mapped_column(sa.ForeignKey("employees.id"))
    boss: Mapped[Employee | None] = relationship(remote_side=[id])


class Basket(Base):
    __tablename__ = "baskets"
    token: Mapped[str] = mapped_column(sa.String(20), primary_key=True)
    content: Mapped[bytes] = mapped_column(sa.LargeBinary)
    version: Mapped[int] = mapped_column()
    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012
