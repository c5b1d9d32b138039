"""What the events of a binary log mean for the clocks. Pure: events in, slots and positions out.

Slots are collected while a transaction goes on and touched with the position of its end, since that is what its rows
become visible with. What is not understood touches everything: it costs hits.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from typing import Protocol

from parser.analyse import parse
from parser.shape import Lexer, lexer
from parser.statement import Kind
from proxy.back.tags import CLUSTER_SLOT, key_slot, table_slot
from proxy.stream import events as ev
from proxy.stream.rows import Layout, NotThere
from proxy.stream.wanted import Wanted, WantedTable

log = logging.getLogger("turnout.stream")

MAX_MAPS = 1_000  # table maps that are kept taken apart
MAX_SLOTS = 20_000  # of one transaction; more become the tables' epochs
_EVER = 1 << 63
_MAX_XIDS = 10_000  # prepared XA transactions whose slots are remembered
_ENDS = re.compile(rb"\s*(commit|rollback)\s*\Z", re.IGNORECASE)
_BEGINS = re.compile(rb"\s*(begin|start\s+transaction)\b", re.IGNORECASE)
_TRUNCATES = re.compile(rb"\s*truncate\s", re.IGNORECASE)
_SAVEPOINT = re.compile(rb"\s*(savepoint|rollback\s+to|release\s+savepoint)\b", re.IGNORECASE)
_XA = re.compile(rb"\s*xa\s+(start|begin|end|prepare|commit|rollback)\b", re.IGNORECASE)
_LEXER: Lexer = lexer(False, False, "utf8mb4")


class Clock(Protocol):
    """`proxy.cache.clocks.SourceClock`, as far as the tracker writes to it."""

    def touch(self, slots: set[int], position: int) -> None: ...

    def apply(self, position: int) -> None: ...


class Tracker:
    """One source. `changed` is called when a statement may have changed a wanted table's definition."""

    def __init__(self, clock: Clock, wanted: Wanted, changed: Callable[[], None]) -> None:
        self._clock = clock
        self._wanted = wanted
        self._changed = changed
        self._maps: dict[int, _Mapped] = {}
        self._known_maps: dict[tuple[str, str, bytes], _Mapped] = {}  # every transaction brings its table maps
        self._slots: set[int] = set()
        self._open = False  # inside a transaction: its end will come
        self._prepared: dict[bytes, set[int]] = {}
        self._xid = b""
        self._completing = b""
        self._unsure_until = 0  # definitions may be newer or older than rows before this position
        self.transactions = 0
        self.rows = 0
        self.unknown: dict[str, int] = {}  # what was not understood, by reason

    def adopt(self, wanted: Wanted, valid_from: int) -> None:
        """New definitions, read before the log ended at `valid_from`: rows up to there count as of unknown tables,
        unless the definition is what it was."""
        if changed_tables(self._wanted, wanted) or self._unsure_until == _EVER:
            self._unsure_until = valid_from
        self._wanted = wanted
        self._known_maps.clear()
        self._maps.clear()  # the next statement's come with it; rows under way count as of unknown tables

    def reset(self) -> None:
        """The stream begins anew at a place between two transactions."""
        self._maps.clear()
        self._slots.clear()
        self._open = False
        self._xid = self._completing = b""

    def feed(self, event: ev.Event, position: int) -> None:
        """One event that ends at `position` (0: it is not of the file). Raises ProtocolError."""
        match event:
            case ev.Rows():
                self._rows(event, position)
            case ev.TableMap():
                self._maps[event.table_id] = self._mapped(event)
            case ev.Commit():
                self._end(position)
            case ev.Begin():
                if self._open or self._slots:
                    self._end(position)  # what came before had no end of its own
                self._open = not event.standalone
                self._xid = event.xid if event.prepared else b""
                self._completing = event.xid if event.completed else b""
            case ev.Query():
                self._query(event, position)
            case ev.Prepared():
                if not event.one_phase:
                    self._prepare()
                self._end(position)
            case ev.Unknown():
                self._misunderstood(event.why)
                if not self._open:
                    self._end(position)
            case ev.Format() if position and self._open:
                self._end(position)  # the server died in the middle of a transaction, and rolled it back
            case ev.Format() | ev.Rotate() | ev.Heartbeat() | ev.PreviousGtids() | ev.Silent():
                if not self._open and position:
                    self._clock.apply(position)

    @property
    def in_transaction(self) -> bool:
        return self._open

    # -- rows ------------------------------------------------------------------------------------------------------

    def _mapped(self, event: ev.TableMap) -> _Mapped:
        key = (event.database, event.table, bytes(event.rest))
        found = self._known_maps.get(key)
        if found is None:
            if len(self._known_maps) >= MAX_MAPS:
                self._known_maps.clear()
            found = self._known_maps[key] = _Mapped(event, self._wanted)
        return found

    def _rows(self, event: ev.Rows, position: int) -> None:
        mapped = self._maps.get(event.table_id)
        if event.last:
            ended = dict(self._maps)
            self._maps.clear()
            mapped = ended.get(event.table_id)
        if mapped is None:
            if event.table_id & 0xFFFFFF == 0xFFFFFF:
                return  # a dummy that only ends a statement
            self._misunderstood("rows of a table that was not named")
            return
        if mapped.children and event.change is not ev.Change.INSERT and self._reaches_children(mapped, event, position):
            self._slots.update(mapped.children)
        table = mapped.table
        if table is None:
            return
        layout = mapped.layout
        if layout is None or position <= self._unsure_until or len(self._slots) > MAX_SLOTS:
            self._slots.add(table.epoch)
            return
        slots = self._slots
        count = 0
        try:
            for images in layout.images(event, table.ordinals):
                count += 1
                for image in images:
                    if image is None:
                        continue
                    for one in table.classes:
                        texts = []
                        for place, text in zip(one.places, one.texts):
                            raw = image[place]
                            found = None if raw is None else text(raw)
                            if found is None and raw is not None:
                                slots.add(table.epoch)  # a value without a normal form
                                break
                            texts.append(found)
                        else:
                            slots.add(key_slot(one.seed, texts))
                if len(slots) > MAX_SLOTS:
                    slots.add(table.epoch)
                    break
        except NotThere:
            slots.add(table.epoch)
        self.rows += count

    def _reaches_children(self, mapped: _Mapped, event: ev.Rows, position: int) -> bool:
        """May these changes of a parent's rows change its children's? An UPDATE that leaves all columns alone to which
        foreign keys refer does not."""
        if event.change is ev.Change.DELETE or mapped.referenced is None or position <= self._unsure_until:
            return True
        layout, ordinals = mapped.referenced
        try:
            return any(before != after for before, after in layout.images(event, ordinals))
        except NotThere:
            return True

    # -- statements as text ------------------------------------------------------------------------------------------

    def _query(self, event: ev.Query, position: int) -> None:
        text = event.text
        if _BEGINS.match(text):
            self._open = True
            return
        if _ENDS.match(text):
            self._end(position)  # of a rolled-back transaction non-transactional tables keep what was written
            return
        if _SAVEPOINT.match(text):
            return
        xa = _XA.match(text)
        if xa is not None:
            self._xa(xa.group(1).lower(), position)
            return
        self._statement(event)
        if not self._open:
            self._end(position)

    def _statement(self, event: ev.Query) -> None:
        """DDL, accounts, or rows that are logged as statements."""
        shape, literals = _LEXER.shape(event.text)
        statement = parse(shape, literals, lexer=_LEXER)
        if not _TRUNCATES.match(event.text):
            self._unsure_until = _EVER  # until the definitions have been read again
            self._changed()
        if statement.kind is not Kind.DDL or not statement.tables:  # triggers are not told of with a statement's rows
            self._slots.add(CLUSTER_SLOT)
            return
        wanted = self._wanted
        for table in statement.tables:
            key = ((table.database or event.database).lower(), table.name.lower())
            found = wanted.tables.get(key)
            self._slots.add(found.epoch if found is not None else table_slot(*key))
            self._slots.update(wanted.children.get(key, ()))

    def _xa(self, verb: bytes, position: int) -> None:
        if verb in (b"start", b"begin"):
            self._open = True
        elif verb == b"end":
            return
        elif verb == b"prepare":
            self._prepare()
            self._end(position)
        else:
            known = self._prepared.pop(self._completing, None) if self._completing else None
            if known is None:
                self._slots.add(CLUSTER_SLOT)  # it was prepared before we looked
            else:
                self._slots.update(known)
            self._end(position)

    def _prepare(self) -> None:
        """What the XA transaction touched shows when it is committed: by its xid (MariaDB), or as everything."""
        if self._xid and len(self._prepared) < _MAX_XIDS:
            self._prepared[self._xid] = self._slots
        self._slots = set()

    def _misunderstood(self, why: str) -> None:
        self._slots.add(CLUSTER_SLOT)
        if why not in self.unknown:
            log.warning(
                "an event of the binary log is not understood: everything counts as changed by it",
                extra={"reason": why},
            )
        self.unknown[why] = self.unknown.get(why, 0) + 1

    def _end(self, position: int) -> None:
        """The transaction is over: what it touched is touched now."""
        if self._slots:
            self._clock.touch(self._slots, position)
            self._slots = set()
        self._maps.clear()
        self._open = False
        self._xid = self._completing = b""
        self.transactions += 1
        self._clock.apply(position)


def changed_tables(before: Wanted, after: Wanted) -> set[int]:
    """The epochs of the tables whose definitions differ, or that are known on one side only."""
    found: set[int] = set()
    for key in before.tables.keys() | after.tables.keys():
        old, new = before.tables.get(key), after.tables.get(key)
        if old is None or new is None or old.schema is None or old.schema != new.schema:
            found.update(table.epoch for table in (old, new) if table is not None)
    return found


class _Mapped:
    """A table map, and what is wanted of its table."""

    __slots__ = ("children", "layout", "referenced", "table")

    def __init__(self, event: ev.TableMap, wanted: Wanted) -> None:
        key = (event.database.lower(), event.table.lower())
        self.children = wanted.children.get(key, ())
        self.referenced: tuple[Layout, tuple[int, ...]] | None = None
        referenced = wanted.referenced.get(key) if self.children else None
        if referenced is not None:
            of_parent = Layout(event.rest)
            if len(of_parent.types) == referenced.columns:
                self.referenced = of_parent, referenced.ordinals
        self.table: WantedTable | None = wanted.tables.get(key)
        self.layout: Layout | None = None
        if self.table is not None and self.table.classes:
            layout = Layout(event.rest)
            if self.table.fits(layout):
                self.layout = layout
