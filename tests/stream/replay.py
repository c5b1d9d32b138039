"""A second server made from the stream alone: statements as they were logged, rows as exact literals."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from pymysql.connections import Connection

from proxy.stream import events as ev
from proxy.stream import values
from proxy.stream.definition import QUERY, Definition, definitions
from proxy.stream.rows import Image, Layout
from tests.servers import MariaDB


class Table:
    """One table map with the definition that the target has of the table."""

    def __init__(self, event: ev.TableMap, columns: Sequence[Definition], keys: Sequence[str]) -> None:
        self.name = f"`{event.database}`.`{event.table}`"
        self.layout = Layout(event.rest, [column.fraction_digits for column in columns])
        assert len(self.layout.types) == len(columns), f"{self.name}: {self.layout.types}"
        self.columns = columns
        self.ordinals = range(len(columns))
        self.writers = [values.writer(self.layout.stored(n), column) for n, column in enumerate(columns)]
        named = [n for n, column in enumerate(columns) if column.name in keys]
        self.written = [n for n, column in enumerate(columns) if not column.generated]
        self.keyed = named or self.written

    def literal(self, image: Image, ordinal: int) -> str:
        raw = image[ordinal]
        return "NULL" if raw is None else self.writers[ordinal].literal(raw).decode("ascii")

    def statements(self, rows: ev.Rows) -> Iterator[str]:
        for before, after in self.layout.images(rows, self.ordinals):
            where = "" if before is None else " AND ".join(self._equals(before, n, "<=>") for n in self.keyed)
            if after is None:
                yield f"DELETE FROM {self.name} WHERE {where} LIMIT 1"
            elif before is None:
                names = ", ".join(f"`{self.columns[n].name}`" for n in self.written)
                literals = ", ".join(self.literal(after, n) for n in self.written)
                yield f"INSERT INTO {self.name} ({names}) VALUES ({literals})"
            else:
                changes = ", ".join(self._equals(after, n, "=") for n in self.written)
                yield f"UPDATE {self.name} SET {changes} WHERE {where} LIMIT 1"

    def _equals(self, image: Image, ordinal: int, operator: str) -> str:
        return f"`{self.columns[ordinal].name}` {operator} {self.literal(image, ordinal)}"


class Replay:
    """Applies events to a server."""

    def __init__(self, target: MariaDB, session: Sequence[str] = ()) -> None:
        self._connection: Connection[Any] = target.admin(charset="utf8mb4")
        self._session = session
        self._tables: dict[int, Table] = {}
        self._xid = self._completing = b""
        self._prepared: dict[bytes, list[str]] = {}
        self._later: list[str] | None = None  # of an XA transaction that is being prepared
        self.rows = 0
        self.seen: set[str] = set()  # kinds of events

    def feed(self, events: Iterable[tuple[ev.Event, int]]) -> None:
        self._run(values.SESSION)
        for event, _ in events:
            self.seen.add(type(event).__name__)
            match event:
                case ev.TableMap():
                    self._tables[event.table_id] = self.table(event)
                case ev.Rows():
                    for statement in self._tables[event.table_id].statements(event):
                        self.rows += 1
                        self._later.append(statement) if self._later is not None else self._run(statement)
                case ev.Begin():
                    self._xid = event.xid if event.prepared else b""
                    self._completing = event.xid if event.completed else b""
                    self._later = [] if event.prepared else None
                case ev.Query():
                    self._query(event)
                case ev.Commit():
                    self._run("COMMIT")
                case ev.Prepared():
                    assert self._later is not None
                    self._prepared[self._xid] = self._later
                    self._later = None
                case ev.Unknown():
                    raise AssertionError(event.why)
        self._run("COMMIT")

    def close(self) -> None:
        self._connection.close()

    def _query(self, event: ev.Query) -> None:
        words = event.text.decode().split(None, 2)
        verb = words[0].upper()
        if verb == "XA":
            kind = words[1].upper()
            if kind in ("COMMIT", "ROLLBACK"):
                statements = self._prepared.pop(self._completing)
                for statement in statements if kind == "COMMIT" else ():
                    self._run(statement)
                self._run("COMMIT")
            return
        if verb not in ("BEGIN", "COMMIT"):
            for statement in self._session:
                self._run(statement)
            if event.database and words[1].upper() != "DATABASE":
                self._run(f"USE `{event.database}`")
        self._run(event.text)
        if verb not in ("BEGIN", "COMMIT"):
            self._run(values.SESSION)

    def table(self, event: ev.TableMap) -> Table:
        place = [self._connection.escape(name) for name in (event.database, event.table)]
        columns = definitions(self._run(QUERY.format(*place)))
        keys = self._run(
            "SELECT COLUMN_NAME FROM information_schema.STATISTICS WHERE INDEX_NAME = 'PRIMARY'"
            f" AND TABLE_SCHEMA = {place[0]} AND TABLE_NAME = {place[1]}"
        )
        return Table(event, columns, [row[0] for row in keys])

    def _run(self, statement: str | bytes) -> tuple[tuple[Any, ...], ...]:
        with self._connection.cursor() as cursor:
            cursor.execute(statement)
            return tuple(cursor.fetchall())
