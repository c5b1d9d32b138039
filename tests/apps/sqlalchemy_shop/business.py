"""What the shop does. Every answer is printed as a line of JSON; ids are left out, which are the server's business."""

from __future__ import annotations

import datetime
import io
import json
from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, aliased, joinedload, selectinload, subqueryload
from sqlalchemy.orm.exc import StaleDataError

from tests.apps.sqlalchemy_shop.models import Base, Basket, Customer, Employee, Line, Note, Order, Product

STEPS: list[Callable[[sa.Engine], Any]] = []


def step(function: Callable[[sa.Engine], Any]) -> Callable[[sa.Engine], Any]:
    STEPS.append(function)
    return function


def play(port: int, user: str, password: str, only: Sequence[str] = ()) -> None:
    """All steps, or those with these names."""
    url = sa.URL.create("mysql+pymysql", user, password, "127.0.0.1", port, "shop")
    engine = sa.create_engine(url, pool_pre_ping=True)
    for function in STEPS:
        if not only or function.__name__ in only:
            print(json.dumps([function.__name__, function(engine)], default=str), flush=True)
    engine.dispose()


def _rows(answer: sa.Result[Any]) -> list[list[Any]]:
    return [list(row) for row in answer]


# -- migrations


def _alembic(connection: sa.Connection) -> Config:
    config = Config(stdout=io.StringIO())
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")))
    config.attributes["connection"] = connection
    return config


def _version(connection: sa.Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


@step
def migrate(engine: sa.Engine) -> Any:
    versions = []
    for where in ("first", "head", "-1", "base", "head"):
        with engine.begin() as connection:
            config = _alembic(connection)
            forward = where in ("first", "head")
            command.upgrade(config, where) if forward else command.downgrade(config, where)
            versions.append((_version(connection), sorted(sa.inspect(connection).get_table_names())))
    return versions


@step
def compared(engine: sa.Engine) -> Any:
    """What Alembic would have to change to make the tables what the models are: nothing."""
    with engine.connect() as connection:
        command.check(_alembic(connection))
        return list(map(str, compare_metadata(MigrationContext.configure(connection), Base.metadata)))


@step
def reflected(engine: sa.Engine) -> Any:
    inspector = sa.inspect(engine)
    found = {}
    for table in inspector.get_table_names():
        found[table] = [
            [sorted((k, str(v)) for k, v in column.items()) for column in inspector.get_columns(table)],
            inspector.get_pk_constraint(table),
            sorted(inspector.get_foreign_keys(table), key=str),
            sorted(inspector.get_indexes(table), key=str),
            sorted(inspector.get_unique_constraints(table), key=str),
            sorted(inspector.get_check_constraints(table), key=str),
            inspector.get_table_comment(table),
        ]
    metadata = sa.MetaData()
    metadata.reflect(engine)
    return found, sorted(metadata.tables), inspector.has_table("orders"), inspector.has_table("nothing")


# -- rows


@step
def fill(engine: sa.Engine) -> Any:
    with Session(engine) as session, session.begin():
        session.add_all(
            Product(sku=f"p{n}", title=f"Product {n}", price=Decimal(n) + Decimal("0.5"), details={"n": [n]})
            for n in range(8)
        )
        ada = Customer(name="Ada", country="uk", score=7)
        session.add(ada)
        session.flush()
        known = ada.id is not None
        session.add_all(
            Customer(name=f"customer {n:02}", country=("de", "fr", "uk")[n % 3], score=n) for n in range(30)
        )
    with Session(engine) as session:
        customers = session.scalars(sa.select(Customer).order_by(Customer.name)).all()
        for place, customer in enumerate(customers[:20]):
            for number in range(place % 4):
                day = datetime.datetime(2024, 1 + place % 3, 1 + place, number)
                order = Order(number=number, placed=day, paid=number == 0)
                order.lines = [
                    Line(position=position, sku=sku, count=place % 3 + 1, price=Decimal(position) + 2)
                    for position, sku in enumerate((f"p{place % 8}", f"p{(place + number) % 7}"))
                ]
                customer.orders.append(order)
        session.commit()
        session.execute(
            sa.insert(Note), [{"customer_id": c.id, "text": f"on {c.name}"} for c in customers if c.score % 4 == 0]
        )
        session.commit()
        counts = [
            session.scalar(sa.select(sa.func.count()).select_from(each)) for each in (Customer, Order, Line, Note)
        ]
    with engine.begin() as connection:
        made = connection.execute(sa.insert(Customer).values(name="core", country="us"))
        (key,) = made.inserted_primary_key
        many = connection.execute(
            sa.insert(Customer), [{"name": f"many {n}", "country": "us"} for n in range(25)]
        ).rowcount
        name = connection.scalar(sa.select(Customer.name).where(Customer.id == key))
    return known, counts, name, many


@step
def employees(engine: sa.Engine) -> Any:
    with Session(engine) as session, session.begin():
        boss = Employee(name="boss")
        session.add_all([Employee(name="one", boss=boss), Employee(name="two", boss=boss), boss])
        session.add(Basket(token="t", content=bytes(range(256)), version=1))
    with Session(engine) as session, Session(engine) as other:
        basket, same = session.get(Basket, "t"), other.get(Basket, "t")
        assert basket is not None
        assert same is not None
        whole = basket.content == bytes(range(256))
        basket.content = b"new"
        session.commit()
        same.content = b"late"
        try:
            other.commit()
            stale = False
        except StaleDataError:
            stale = True
        names = session.scalars(
            sa.select(Employee.name).join(Employee.boss.of_type(aliased(Employee))).order_by(Employee.name)
        )
        return whole, stale, list(names)


# -- questions


@step
def selects(engine: sa.Engine) -> Any:
    with Session(engine) as session:
        french = (
            sa.select(Customer.name)
            .where(Customer.country == "fr", Customer.score < 15)
            .order_by(Customer.score.desc())
        )
        ada = session.scalars(sa.select(Customer).filter_by(name="Ada")).one()
        return (
            list(session.scalars(french)),
            _rows(
                session.execute(
                    sa.select(Customer.country, Customer.name)
                    .order_by(Customer.country, Customer.name)
                    .limit(5)
                    .offset(4)
                )
            ),
            list(session.scalars(sa.select(Customer.country).distinct().order_by(Customer.country))),
            session.scalar(sa.select(sa.func.count()).where(Customer.name.like("customer 0%"))),
            session.scalar(sa.select(sa.exists().where(Customer.name == "nobody"))),
            session.get(Customer, ada.id) is ada,
            session.get(Order, (ada.id, 99)),
            [len(part) for part in session.scalars(sa.select(Customer).order_by(Customer.name)).partitions(20)],
            len(list(session.scalars(sa.select(Customer).execution_options(yield_per=9)))),
            _rows(session.execute(sa.select(Product.sku).where(Product.details["n"][0].as_integer() == 3))),
            session.scalars(sa.select(Customer.score).where(Customer.id.in_([ada.id, ada.id + 1_000_000]))).all(),
        )


@step
def joins(engine: sa.Engine) -> Any:
    with Session(engine) as session:
        lines = (
            sa.select(Customer.name, Order.number, Product.title, Line.total)
            .join(Order, Order.customer_id == Customer.id)
            .join(Line, sa.and_(Line.customer_id == Order.customer_id, Line.number == Order.number))
            .join(Product)
            .order_by(Customer.name, Order.number, Line.position)
        )
        without = sa.select(Customer.name).outerjoin(Customer.orders).where(Order.number.is_(None)).order_by("name")
        noted = (
            sa.select(Note.text, Customer.country).join(Customer, Customer.id == Note.customer_id).order_by(Note.text)
        )
        both = (
            sa.select(Note.text, sa.func.count(Order.number))
            .join(Customer, Customer.id == Note.customer_id)
            .outerjoin(Order, Order.customer_id == Customer.id)
            .group_by(Note.text)
            .order_by(Note.text)
        )
        staff = sa.select(Employee.name, Customer.name).join(Customer, Customer.score == 3).order_by(Employee.name)
        return [_rows(session.execute(each)) for each in (lines.limit(12), without, noted, both, staff)]


@step
def loading(engine: sa.Engine) -> Any:
    told = []
    for strategy in (selectinload, subqueryload, joinedload):
        with Session(engine) as session:
            found = session.scalars(
                sa.select(Customer)
                .where(Customer.name < "customer 09")
                .order_by(Customer.name)
                .options(
                    strategy(Customer.orders).options(strategy(Order.lines).options(strategy(Line.product))),
                    strategy(Customer.notes),
                )
            ).unique()
            told.append(
                [
                    (
                        c.name,
                        [(o.number, [line.product.title for line in o.lines]) for o in c.orders],
                        [n.text for n in c.notes],
                    )
                    for c in found
                ]
            )
    with Session(engine) as session:
        lazy = session.scalars(sa.select(Customer).where(Customer.name == "customer 02")).one()
        told.append([(o.number, [line.product.title for line in o.lines]) for o in lazy.orders])
    return told[0] == told[1] == told[2], told[0], told[3]


@step
def aggregates(engine: sa.Engine) -> Any:
    worth = sa.func.sum(Line.price * Line.count)
    orders = sa.func.count(Order.number)
    spent = (
        sa.select(Line.customer_id, worth.label("spent"))
        .group_by(Line.customer_id)
        .order_by(worth.desc(), Line.customer_id)
    ).cte("spent")
    ranked = sa.select(
        Customer.country,
        Customer.name,
        sa.func.rank()
        .over(partition_by=Customer.country, order_by=[Customer.score.desc(), Customer.name])
        .label("rank"),
    ).subquery()
    with Session(engine) as session:
        return [
            _rows(session.execute(each))
            for each in (
                sa.select(
                    sa.func.avg(Customer.score), sa.func.max(Customer.score), sa.func.count(Customer.country.distinct())
                ),
                sa.select(Customer.country, sa.func.count(), sa.func.max(Customer.score))
                .group_by(Customer.country)
                .order_by(Customer.country),
                sa.select(Customer.name, orders)
                .join(Customer.orders)
                .group_by(Customer.id, Customer.name)
                .having(orders > 1)
                .order_by(orders.desc(), Customer.name),
                sa.select(Product.title, worth)
                .join(Product)
                .group_by(Product.title)
                .order_by(worth.desc(), Product.title),
                sa.select(sa.func.year(Order.placed), sa.func.month(Order.placed), sa.func.count())
                .group_by(sa.func.year(Order.placed), sa.func.month(Order.placed))
                .order_by(sa.func.month(Order.placed)),
                sa.select(Customer.name, spent.c.spent)
                .join(spent, spent.c.customer_id == Customer.id)
                .order_by(spent.c.spent.desc(), Customer.name)
                .limit(5),
                sa.select(ranked).where(ranked.c.rank <= 2).order_by(ranked.c.country, ranked.c.rank),
                sa.select(Customer.name)
                .where(sa.select(Order.number).where(Order.customer_id == Customer.id, ~Order.paid).exists())
                .order_by(Customer.name),
                sa.select(Customer.name.label("n"))
                .where(Customer.score < 3)
                .union(sa.select(Note.text))
                .order_by("n")
                .limit(6),
                sa.select(sa.case((Customer.score > 20, "good"), else_="new").label("k"), sa.func.count())
                .group_by("k")
                .order_by("k"),
            )
        ]


# -- changes


@step
def changes(engine: sa.Engine) -> Any:
    told: list[Any] = []
    with Session(engine) as session, session.begin():
        customer = session.scalars(sa.select(Customer).where(Customer.name == "customer 06")).one()
        customer.score += 100
        customer.orders[0].paid = False
        customer.orders[0].lines[1].count = 9
        del customer.orders[-1]
        session.flush()
        told.append([(o.number, o.paid, [line.count for line in o.lines]) for o in customer.orders])
    with Session(engine) as session, session.begin():
        for statement in (
            sa.update(Customer).where(Customer.country == "uk").values(score=Customer.score + 1),
            sa.update(Order).where(Order.number >= 2, ~Order.paid).values(paid=True),
            sa.update(Product).where(Product.price > 5).values(price=Product.price * 2),
            sa.delete(Note).where(Note.text.like("on many%")),
            sa.delete(Customer).where(Customer.name.like("many 1%")),
        ):
            told.append(session.execute(statement, execution_options={"synchronize_session": False}).rowcount)
        chosen = session.scalars(sa.select(Customer).where(Customer.score == 4))
        session.execute(sa.update(Customer), [{"id": each.id, "country": "ch"} for each in chosen])
    with Session(engine) as session:
        told.append(
            _rows(session.execute(sa.select(Customer.name, Customer.country, Customer.score).order_by(Customer.name)))
        )
        told.append(_rows(session.execute(sa.select(Product.sku, Product.price).order_by(Product.sku))))
        told.append(session.scalar(sa.select(sa.func.count()).select_from(Line)))
    return told


@step
def transactions(engine: sa.Engine) -> Any:
    told: list[Any] = []

    def seen(session: Session) -> list[Any]:
        never = [
            sa.select(sa.func.count()).where(each == "never") for each in (Customer.name, Note.text, Product.title)
        ]
        return [session.scalar(each) for each in never]

    with Session(engine) as session:
        session.add(Customer(name="never"))
        session.add(Note(text="never"))
        session.execute(sa.update(Product).where(Product.sku == "p1").values(title="never"))
        told.append(seen(session))
        session.rollback()
        told.append(seen(session))
    with Session(engine) as session, session.begin():
        kept = Customer(name="kept")
        session.add(kept)
        session.flush()
        try:
            with session.begin_nested():
                session.add(Customer(name="never"))
                session.add(Note(text="never"))
                session.flush()
                raise ArithmeticError
        except ArithmeticError:
            told.append("inner")
        locked = session.scalars(sa.select(Customer).where(Customer.id == kept.id).with_for_update()).one()
        locked.score = 5
        session.add(Note(text="outer", customer_id=kept.id))
    with Session(engine) as session:
        told.append(seen(session))
        kept = session.scalars(sa.select(Customer).where(Customer.name == "kept")).one()
        told.append([kept.score, [note.text for note in kept.notes]])
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(sa.delete(Customer).where(Customer.name == "kept"))
    with engine.connect() as connection:
        told.append(connection.scalar(sa.select(sa.func.count()).where(Customer.name == "kept")))
    return told


@step
def errors(engine: sa.Engine) -> Any:
    with Session(engine) as session:
        known = session.scalars(sa.select(Customer.id).where(Customer.name == "customer 10")).one()
    wrong = (
        lambda: Order(customer_id=known, number=0, placed=datetime.datetime(2024, 1, 1)),
        lambda: Order(customer_id=99_999_999, number=0, placed=datetime.datetime(2024, 1, 1)),
        lambda: Line(customer_id=known, number=0, position=9, sku="nothing", price=1),
        lambda: Line(customer_id=known, number=77, position=9, sku="p1", price=1),
        lambda: Customer(name="x", score=-1),
        lambda: Product(sku="p1", title="again", price=1),
        lambda: Employee(name="boss"),
    )
    told = []
    for make in wrong:
        with Session(engine) as session:
            session.add(make())
            try:
                session.commit()
                told.append(0)
            except sa.exc.DBAPIError as error:
                told.append((isinstance(error, IntegrityError), error.orig.args[0] if error.orig else None))
    with Session(engine) as session:
        session.delete(session.get_one(Customer, known))
        session.commit()
        told.append(session.scalar(sa.select(sa.func.count()).where(Order.customer_id == known)))
    return told


@step
def core(engine: sa.Engine) -> Any:
    """Tables made, reflected and dropped by hand."""
    metadata = sa.MetaData()
    scratch = sa.Table("scratch", metadata, sa.Column("id", sa.Integer, primary_key=True), sa.Column("x", sa.Float))
    metadata.create_all(engine)
    metadata.create_all(engine)
    with engine.begin() as connection:
        connection.execute(scratch.insert(), [{"x": 1.5}, {"x": 2.25}])
        found = _rows(connection.execute(sa.text("SELECT x FROM scratch WHERE x > :least"), {"least": 2}))
    columns = [column["name"] for column in sa.inspect(engine).get_columns("scratch")]
    metadata.drop_all(engine)
    return found, columns, sa.inspect(engine).has_table("scratch")


@step
def down(engine: sa.Engine) -> Any:
    with engine.begin() as connection:
        command.downgrade(_alembic(connection), "base")
        return sorted(sa.inspect(connection).get_table_names())
