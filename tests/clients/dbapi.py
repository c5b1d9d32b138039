"""The scenario for drivers of Python's DB-API 2.0; a `Driver` says where one is different from the others."""

from __future__ import annotations

import ssl
from abc import ABC, abstractmethod
from contextlib import closing
from typing import Any, ClassVar

from tests.clients.jobs import Job
from tests.clients.scenario import (
    BIG,
    DATABASE,
    HUGE,
    HUGE_TIMES,
    HUGE_UNIT,
    KIND_COLUMNS,
    KINDS,
    LOAD,
    LOADED,
    LOADED_TABLE,
    NOTES,
    SECOND_DATABASE,
    SELECT_TYPES,
    SEVERAL,
    SEVERAL_WRONG,
    STORED,
    STREAMED,
    TABLES,
    TYPES,
    Error,
    Seen,
    digest,
    shown,
)
from tests.clients.target import Target


class Driver(ABC):
    """One driver, with connections and cursors as its own classes (which say little to a type checker)."""

    error_class: ClassVar[type[Exception]]
    unread: ClassVar[tuple[str, ...]] = ()  # types of columns that it cannot read
    reads_huge: ClassVar[bool] = True  # rows that go on in a second packet

    @abstractmethod
    def connect(self, target: Target) -> Any: ...

    def close(self, connection: Any) -> None:
        connection.close()

    def cursor(self, connection: Any) -> Any:
        return connection.cursor()

    def prepared(self, connection: Any) -> Any:
        """A cursor that prepares statements on the server, where the driver can."""
        return self.cursor(connection)

    def typed(self, connection: Any) -> Any:
        """A cursor that prepares statements, if the driver gets every type right with those."""
        return self.prepared(connection)

    def streaming(self, connection: Any) -> Any:
        """A cursor that does not read the whole result first, where the driver can."""
        return self.cursor(connection)

    def kinds(self) -> tuple[object, ...]:
        """KINDS as the driver is given them."""
        return KINDS

    def big(self, content: bytes) -> Any:
        """How the driver is given a large value."""
        return content

    def thread_id(self, connection: Any) -> int:
        return int(connection.thread_id())

    def select_database(self, connection: Any, database: str) -> None:
        connection.select_db(database)

    def ping(self, connection: Any) -> None:
        connection.ping()

    def reconnect(self, connection: Any, target: Target) -> Any:
        """A usable connection in place of one that the server closed, by the driver's own means if it has any."""
        self.close(connection)
        return self.connect(target)

    def select_types(self, least: str) -> str:
        """Everything of the table `types` that the driver can read, of rows with larger ids."""
        columns = (f"c{n}" for n, (definition, *_) in enumerate(TYPES) if definition not in self.unread)
        return SELECT_TYPES.replace("*", ", ".join(columns) if self.unread else "*").format(least)

    def results(self, connection: Any, procedure: str, values: tuple[object, ...]) -> list[object]:
        """All that a procedure answers: rows of each result, and last the error if there is one."""
        return self.all_results(connection, f"CALL {procedure}({', '.join(['%s'] * len(values))})", values)

    def all_results(self, connection: Any, statement: str, values: tuple[object, ...] = ()) -> list[object]:
        found: list[object] = []
        with closing(Closing(self, self.cursor(connection), is_cursor=True)) as held:
            try:
                held.value.execute(statement, values or None)
                while True:
                    if held.value.description:
                        found.append(_shown_rows(held.value.fetchall()))
                    if not held.value.nextset():
                        break
            except self.error_class as error:
                found.append(self.error(error))
        return found

    def out(self, connection: Any) -> str | None:
        """What `doubled(21, ..)` puts into its second parameter."""
        self.execute(connection, "CALL doubled(21, @twice)")
        return self.ask(connection, "SELECT @twice")

    def change_user(self, connection: Any, target: Target) -> bool:
        """False: the driver cannot."""
        return False

    def info(self, connection: Any) -> str | None:
        """What the server said of the last statement in words, where the driver shows it."""
        return None

    def reset(self, connection: Any) -> bool:
        """False: the driver cannot."""
        return False

    def error(self, error: Exception) -> Error:
        errno, message = error.args
        return [errno, getattr(error, "sqlstate", None), message]

    # what the scenario does with it

    def carry_out(self, job: Job) -> Seen:
        match job.action:
            case "play":
                return self.play(job.target, job.other, job.huge)
            case "several":
                return self._several(job.target)
            case "infile":
                return self._infile(job.target, job.file)
            case "compress":
                return self._compressed(job.target)
            case _:
                return self.log_in(job.target)

    def log_in(self, target: Target) -> Seen:
        try:
            connection = self.connect(target)
        except self.error_class as error:
            return {"error": self.error(error)}
        with closing(Closing(self, connection)):
            return {"answer": self.ask(connection, "SELECT 'in'")}

    def play(self, target: Target, other: Target, huge: bool) -> Seen:
        connection = self.connect(target)
        with closing(Closing(self, connection)):
            seen: Seen = {"session": self.ask_row(connection, "SELECT CONNECTION_ID() > 0, DATABASE(), CURRENT_USER()")}
            seen["own id"] = self.ask(connection, "SELECT CONNECTION_ID()") == str(self.thread_id(connection))
            with closing(Closing(self, self.cursor(connection), is_cursor=True)) as held:
                for statement in TABLES:
                    held.value.execute(statement)
            self._notes(connection, seen)
            self._kinds(connection, seen)
            self._transactions(connection, seen)
            seen["duplicate"] = self._refused(connection, "INSERT INTO notes VALUES (1, 'again')")
            seen["syntax"] = self._refused(connection, "SELEKT 1")
            seen["no table"] = self._refused(connection, "SELECT * FROM missing")
            self.ask(connection, "SELECT CAST('12abc' AS SIGNED)")
            seen["warnings"] = self.ask_rows(connection, "SHOW WARNINGS")
            self._big(connection, seen)
            self._databases(connection, seen)
            seen["streamed"] = self._streamed(connection)
            self._types(connection, seen)
            self._results(connection, seen)
            if huge:
                self._huge(connection, seen)
            self.ping(connection)
            seen["ping"] = True
            self._other_user(connection, target, other, seen)
            self._reset(connection, seen)
            connection.commit()
        seen["killed"] = self._killed(target)
        return seen

    def execute(self, connection: Any, statement: str, values: tuple[object, ...] = ()) -> tuple[int, int]:
        """Last insert id and affected rows."""
        with closing(Closing(self, self.cursor(connection), is_cursor=True)) as held:
            held.value.execute(statement, values or None)
            return held.value.lastrowid or 0, held.value.rowcount

    def ask_rows(self, connection: Any, statement: str) -> list[list[str | None]]:
        with closing(Closing(self, self.cursor(connection), is_cursor=True)) as held:
            held.value.execute(statement)
            return _shown_rows(held.value.fetchall())

    def ask_row(self, connection: Any, statement: str) -> list[str | None]:
        (row,) = self.ask_rows(connection, statement)
        return row

    def ask(self, connection: Any, statement: str) -> str | None:
        (value,) = self.ask_row(connection, statement)
        return value

    def _notes(self, connection: Any, seen: Seen) -> None:
        insert = "INSERT INTO notes (note) VALUES (%s)"
        several = "INSERT INTO notes (note) VALUES (%s), (%s), (%s)"
        done = [self.execute(connection, insert, (note,)) for note in NOTES[:2]]
        done.append(self.execute(connection, several, NOTES[2:]))
        seen["insert ids"] = [list(ids) for ids in done]
        seen["LAST_INSERT_ID()"] = self.ask(connection, "SELECT LAST_INSERT_ID()")
        found = []
        with closing(Closing(self, self.prepared(connection), is_cursor=True)) as held:
            for number in (3, 1, 99, 5):
                held.value.execute("SELECT note FROM notes WHERE id = %s", (number,))
                rows = held.value.fetchall()
                found.append(shown(rows[0][0]) if rows else None)
        seen["notes by id"] = found
        connection.commit()

    def _kinds(self, connection: Any, seen: Seen) -> None:
        holes = ", ".join(["%s"] * len(KINDS))
        with closing(Closing(self, self.typed(connection), is_cursor=True)) as held:
            held.value.execute(f"INSERT INTO kinds (id, {KIND_COLUMNS}) VALUES (1, {holes})", self.kinds())
        with closing(Closing(self, self.typed(connection), is_cursor=True)) as held:
            held.value.execute(f"SELECT {KIND_COLUMNS} FROM kinds WHERE id = %s", (1,))
            (row,) = held.value.fetchall()
            seen["kinds"] = [shown(value) for value in row]
            seen["columns"] = [list(column) for column in held.value.description]
        seen["stored"] = self.ask(connection, STORED)
        connection.commit()

    def _transactions(self, connection: Any, seen: Seen) -> None:
        update = "UPDATE notes SET note = 'changed' WHERE id > 3"
        seen["updated"] = [self.execute(connection, update)[1], self.execute(connection, update)[1]]
        if (info := self.info(connection)) is not None:
            seen["info"] = info
        connection.commit()
        for end in ("rollback", "commit"):
            self.execute(connection, "INSERT INTO notes (note) VALUES (%s)", (end,))
            getattr(connection, end)()
            seen[f"after {end}"] = self.ask(connection, "SELECT COUNT(*) FROM notes")
        connection.commit()

    def _refused(self, connection: Any, statement: str) -> Error:
        try:
            self.execute(connection, statement)
        except self.error_class as error:
            return self.error(error)
        return []

    def _big(self, connection: Any, seen: Seen) -> None:
        with closing(Closing(self, self.prepared(connection), is_cursor=True)) as held:
            held.value.execute("INSERT INTO files (id, content) VALUES (1, %s)", (self.big(BIG),))
        with closing(Closing(self, self.prepared(connection), is_cursor=True)) as held:
            held.value.execute("SELECT content FROM files WHERE id = 1")
            ((content,),) = held.value.fetchall()
        seen["big"] = digest(content)
        connection.commit()

    def _databases(self, connection: Any, seen: Seen) -> None:
        self.select_database(connection, SECOND_DATABASE)
        found = [self.ask(connection, "SELECT DATABASE()"), self.ask(connection, "SELECT mark FROM marks")]
        self.execute(connection, f"USE {DATABASE}")
        seen["databases"] = [*found, self.ask(connection, "SELECT DATABASE()")]

    def _streamed(self, connection: Any) -> str:
        with closing(Closing(self, self.streaming(connection), is_cursor=True)) as held:
            held.value.execute(f"SELECT seq FROM seq_1_to_{STREAMED}")
            total = 0
            while (row := held.value.fetchone()) is not None:
                total += int(row[0])
        return str(total)

    def _several(self, target: Target) -> Seen:
        connection = self.connect(target)
        with closing(Closing(self, connection)):
            results, wrong = (self.all_results(connection, statement) for statement in (SEVERAL, SEVERAL_WRONG))
            connection.commit()
            return {"results": results, "wrong": wrong, "after": self.ask(connection, "SELECT 'after'")}

    def _infile(self, target: Target, file: str) -> Seen:
        connection = self.connect(target)
        with closing(Closing(self, connection)):
            self.execute(connection, LOADED_TABLE)
            seen: Seen = {"affected": self.execute(connection, LOAD.format(file))[1]}
            try:
                self.execute(connection, LOAD.format(f"{file}.missing"))
            except Exception as error:
                seen["missing"] = str(error)
            connection.commit()
            return {**seen, "loaded": self.ask_row(connection, LOADED), "after": self.ask(connection, "SELECT 'after'")}

    def _compressed(self, target: Target) -> Seen:
        connection = self.connect(target)
        with closing(Closing(self, connection)):
            sent = self.ask(connection, f"SELECT SHA2('{'y' * 3_000_000}', 256)")
            return {"sent": sent, "received": digest(self.ask(connection, "SELECT REPEAT('z', 3000000)"))}

    def _types(self, connection: Any, seen: Seen) -> None:
        with closing(Closing(self, self.cursor(connection), is_cursor=True)) as held:
            held.value.execute(self.select_types("0"))
            seen["types as text"] = _shown_rows(held.value.fetchall())
            seen["type columns"] = [list(column) for column in held.value.description]
        with closing(Closing(self, self.prepared(connection), is_cursor=True)) as held:
            held.value.execute(self.select_types("%s"), (0,))
            seen["types prepared"] = _shown_rows(held.value.fetchall())

    def _results(self, connection: Any, seen: Seen) -> None:
        seen["results"] = self.results(connection, "several", (7,))
        seen["halfway"] = self.results(connection, "halfway", ())
        seen["out"] = self.out(connection)
        connection.commit()

    def _huge(self, connection: Any, seen: Seen) -> None:
        with closing(Closing(self, self.prepared(connection), is_cursor=True)) as held:
            held.value.execute("SELECT SHA2(%s, 256)", (HUGE,))
            ((seen["huge sent"],),) = held.value.fetchall()
        if not self.reads_huge:
            return
        with closing(Closing(self, self.prepared(connection), is_cursor=True)) as held:
            held.value.execute(f"SELECT REPEAT('{HUGE_UNIT}', %s)", (HUGE_TIMES,))
            ((content,),) = held.value.fetchall()
            seen["huge received"] = digest(content)

    def _other_user(self, connection: Any, target: Target, other: Target, seen: Seen) -> None:
        if self.change_user(connection, other):
            first = self.ask(connection, "SELECT CURRENT_USER()")
            self.change_user(connection, target)
            seen["changed user"] = [first, self.ask(connection, "SELECT CURRENT_USER()")]

    def _reset(self, connection: Any, seen: Seen) -> None:
        self.execute(connection, "SET @mine = 5")
        if self.reset(connection):
            seen["reset"] = self.ask_row(connection, "SELECT @mine, DATABASE()")

    def _killed(self, target: Target) -> list[str | None]:
        """A connection that somebody kills says so, and can be had again."""
        connection = self.connect(target)
        number = self.ask(connection, "SELECT CONNECTION_ID()")
        with closing(Closing(self, self.connect(target))) as killer:
            self.execute(killer.value, f"KILL {number}")
        try:
            state = self.ask(connection, "SELECT 'still there'")
        except self.error_class:
            state = "lost"
        connection = self.reconnect(connection, target)
        with closing(Closing(self, connection)):
            return [state, self.ask(connection, "SELECT 'again'")]


def _shown_rows(rows: Any) -> list[list[str | None]]:
    return [[shown(value) for value in row] for row in rows]


class Closing:
    """For `contextlib.closing`: a connection is closed the driver's way."""

    def __init__(self, driver: Driver, value: Any, is_cursor: bool = False) -> None:
        self.value = value
        self._driver = driver
        self._is_cursor = is_cursor

    def close(self) -> None:
        if self._is_cursor:
            self.value.close()
        else:
            self._driver.close(self.value)


def tls_context(target: Target) -> ssl.SSLContext | None:
    if target.ca is None:
        return None
    context = ssl.create_default_context(cafile=str(target.ca))
    if target.cert and target.key:
        context.load_cert_chain(target.cert, target.key)
    return context
