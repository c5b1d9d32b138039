"""SQLAlchemy: its dialect reads the server's version, its pool resets and tests connections, its ORM batches."""

from __future__ import annotations

import datetime
from decimal import Decimal
from typing import Any

import sqlalchemy as sa
from sqlalchemy import exc
from sqlalchemy.dialects import mysql
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from tests.clients.dbapi import tls_context
from tests.clients.jobs import Job
from tests.clients.scenario import (
    BIG,
    HUGE,
    HUGE_TIMES,
    HUGE_UNIT,
    KIND_COLUMNS,
    KINDS,
    NOTES,
    SECOND_DATABASE,
    SELECT_TYPES,
    STORED,
    STREAMED,
    Error,
    Seen,
    digest,
    shown,
)
from tests.clients.target import HOST, Target


class Span(sa.types.UserDefinedType[datetime.timedelta]):
    """A duration: SQLAlchemy's own types for TIME give a time of day."""

    cache_ok = True

    def get_col_spec(self, **_: object) -> str:
        return "TIME(6)"


class Base(DeclarativeBase):
    pass


class Kinds(Base):
    __tablename__ = "kinds"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    tiny: Mapped[int] = mapped_column(mysql.TINYINT)
    small: Mapped[int] = mapped_column(mysql.SMALLINT(unsigned=True))
    big: Mapped[int] = mapped_column(sa.BigInteger)
    ubig: Mapped[int] = mapped_column(mysql.BIGINT(unsigned=True))
    ratio: Mapped[float] = mapped_column(mysql.DOUBLE(asdecimal=False))
    price: Mapped[Decimal] = mapped_column(sa.Numeric(20, 4))
    day: Mapped[datetime.date]
    moment: Mapped[datetime.datetime] = mapped_column(mysql.DATETIME(fsp=6))
    span: Mapped[datetime.timedelta] = mapped_column(Span)
    label: Mapped[str] = mapped_column(sa.String(200))
    data: Mapped[bytes] = mapped_column(sa.VARBINARY(300))
    nothing: Mapped[int | None]


class Note(Base):
    __tablename__ = "notes"
    id: Mapped[int] = mapped_column(primary_key=True)
    note: Mapped[str | None] = mapped_column(sa.String(100))


class File(Base):
    __tablename__ = "files"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    content: Mapped[bytes] = mapped_column(mysql.LONGBLOB)


def engine(driver: str, target: Target) -> sa.Engine:
    """`driver` is one of SQLAlchemy's names, e.g. `pymysql`; pool_pre_ping is what its documentation advises."""
    options: dict[str, Any] = {}
    if target.ca:
        names = {"ca": target.ca, "cert": target.cert, "key": target.key}
        options["ssl"] = (
            {name: str(path) for name, path in names.items() if path} if driver == "mysqldb" else tls_context(target)
        )
    url = sa.URL.create(f"mysql+{driver}", target.user, target.password, HOST, target.port, target.database)
    return sa.create_engine(url, pool_pre_ping=True, connect_args=options)


def log_in(driver: str, target: Target) -> Seen:
    used = engine(driver, target)
    try:
        with used.connect() as connection:
            return {"answer": str(connection.scalar(sa.text("SELECT 'in'")))}
    except exc.DBAPIError as error:
        return {"error": _error(error)}
    finally:
        used.dispose()


def carry_out(driver: str, job: Job) -> Seen:
    return play(driver, job.target, job.huge) if job.action == "play" else log_in(driver, job.target)


def play(driver: str, target: Target, huge: bool) -> Seen:
    used = engine(driver, target)
    try:
        seen = _play(used)
        if huge:
            seen |= _huge(used)
        return seen
    finally:
        used.dispose()


def _play(used: sa.Engine) -> Seen:
    seen: Seen = {}
    with used.connect() as connection:
        row = connection.execute(sa.text("SELECT CONNECTION_ID() > 0, DATABASE(), CURRENT_USER()")).one()
        seen["session"] = [shown(value) for value in row]
    dialect: Any = used.dialect
    seen["dialect"] = [dialect.name, dialect.is_mariadb, *dialect.server_version_info]
    Base.metadata.drop_all(used)
    Base.metadata.create_all(used)
    seen["columns"] = [
        [column["name"], str(column["type"]), column["nullable"], column["default"]]
        for column in sa.inspect(used).get_columns("kinds")
    ]

    with Session(used) as session:
        first, second = Note(note=NOTES[0]), Note(note=NOTES[1])
        session.add(first)
        session.flush()
        session.add(second)
        session.flush()
        later = [Note(note=note) for note in NOTES[2:]]
        session.add_all(later)
        session.commit()
        seen["insert ids"] = [note.id for note in (first, second, *later)]
        seen["notes by id"] = [
            session.scalar(sa.select(Note.note).where(Note.id == number)) for number in (3, 1, 99, 5)
        ]
        columns = KIND_COLUMNS.split(", ")
        session.add(Kinds(id=1, **dict(zip(columns, KINDS, strict=True))))
        session.commit()
        kinds = session.scalars(sa.select(Kinds).where(Kinds.id == 1)).one()
        seen["kinds"] = [shown(getattr(kinds, column)) for column in columns]

    with used.connect() as connection:
        seen["stored"] = connection.exec_driver_sql(STORED).scalar_one()
        connection.rollback()
        update = sa.update(Note).where(Note.id > 3).values(note="changed")
        seen["updated"] = [connection.execute(update).rowcount, connection.execute(update).rowcount]
        connection.commit()
        for end in ("rollback", "commit"):
            connection.execute(sa.insert(Note).values(note=end))
            getattr(connection, end)()
            seen[f"after {end}"] = shown(connection.scalar(sa.select(sa.func.count()).select_from(Note)))
            connection.rollback()
        with connection.begin(), connection.begin_nested() as savepoint:
            connection.execute(sa.insert(Note).values(note="undone"))
            savepoint.rollback()
        seen["after savepoint"] = shown(connection.scalar(sa.select(sa.func.count()).select_from(Note)))
        connection.rollback()

    seen["duplicate"] = _refused(used, "INSERT INTO notes VALUES (1, 'again')")
    seen["syntax"] = _refused(used, "SELEKT 1")
    seen["no table"] = _refused(used, "SELECT * FROM missing")
    with used.connect() as connection:
        connection.execute(sa.text("SELECT CAST('12abc' AS SIGNED)")).all()
        warnings = connection.execute(sa.text("SHOW WARNINGS")).all()
        seen["warnings"] = [[shown(value) for value in warning] for warning in warnings]
    with Session(used) as session:
        session.add(File(id=1, content=BIG))
        session.commit()
        seen["big"] = digest(session.scalars(sa.select(File.content)).one())
    with used.connect() as connection:
        marked = connection.scalar(sa.text(f"SELECT mark FROM {SECOND_DATABASE}.marks"))
        seen["other database"] = shown(marked)
        streaming = connection.execution_options(stream_results=True, max_row_buffer=100)
        rows = streaming.execute(sa.text(f"SELECT seq FROM seq_1_to_{STREAMED}"))
        seen["streamed"] = str(sum(row[0] for row in rows))
        types = connection.exec_driver_sql(SELECT_TYPES.format(0))
        seen["types as text"] = [[shown(value) for value in row] for row in types]
        values = connection.execute(sa.text(SELECT_TYPES.format(":least")), {"least": 0})
        seen["types prepared"] = [[shown(value) for value in row] for row in values]
    seen["type columns"] = [
        [column["name"], str(column["type"]), column["nullable"], column["default"]]
        for column in sa.inspect(used).get_columns("types")
    ]
    seen["results"] = _results(used, "CALL several(7)")
    seen["halfway"] = _results(used, "CALL halfway()")
    with used.connect() as connection:
        connection.exec_driver_sql("CALL doubled(21, @twice)")
        seen["out"] = shown(connection.scalar(sa.text("SELECT @twice")))
    with used.connect().execution_options(isolation_level="SERIALIZABLE") as connection:
        changed = connection.get_isolation_level()
    with used.connect() as connection:
        seen["isolation"] = [changed, connection.get_isolation_level()]
    seen["killed"] = _killed(used)
    return seen


def _results(used: sa.Engine, call: str) -> list[object]:
    """What a procedure answers, by the driver's own cursor as SQLAlchemy's documentation has it."""
    found: list[object] = []
    connection = used.raw_connection()
    cursor: Any = connection.cursor()
    try:
        cursor.execute(call)
        while True:
            if cursor.description:
                found.append([[shown(value) for value in row] for row in cursor.fetchall()])
            if not cursor.nextset():
                break
    except Exception as error:
        errno, message = error.args
        found.append([errno, getattr(error, "sqlstate", None), message])
    finally:
        cursor.close()
        connection.close()
    return found


def _huge(used: sa.Engine) -> Seen:
    with used.connect() as connection:
        sent = connection.scalar(sa.text("SELECT SHA2(:huge, 256)"), {"huge": HUGE})
        received = connection.scalar(sa.text(f"SELECT REPEAT('{HUGE_UNIT}', {HUGE_TIMES})"))
        return {"huge sent": sent, "huge received": digest(received)}


def _refused(used: sa.Engine, statement: str) -> Error:
    try:
        with used.connect() as connection:
            connection.execute(sa.text(statement))
    except exc.DBAPIError as error:
        return _error(error)
    return []


def _killed(used: sa.Engine) -> list[str | None]:
    """A connection killed while it is in the pool is noticed by the pool's ping, and replaced."""
    with used.connect() as connection:
        number = connection.scalar(sa.text("SELECT CONNECTION_ID()"))
        with used.connect() as killer:
            killer.execute(sa.text(f"KILL {number}"))
            try:
                connection.scalar(sa.text("SELECT 1"))
                state = "still there"
            except exc.DBAPIError:
                state = "lost"
                connection.invalidate()  # over TLS mysqlclient's error is none that SQLAlchemy knows to mean this
    with used.connect() as connection:
        return [state, shown(connection.scalar(sa.text("SELECT 'again'")))]


def _error(error: exc.DBAPIError) -> Error:
    original: Any = error.orig
    errno, message = original.args
    return [errno, getattr(original, "sqlstate", None), message]
