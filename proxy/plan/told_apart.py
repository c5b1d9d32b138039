"""Columns by whose values Turnout tells rows apart: how these are asked for, written, and lead to shards."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass

from parser.members import quick
from proxy.back.catalog import Column
from proxy.plan import refusals
from proxy.plan.keys import Family, form_text
from proxy.plan.sharding import Placement
from proxy.wire.charsets import charset_named, codec

Cells = Sequence[bytes | None]


@quick
class Written(enum.Enum):
    """How the values of a column are asked for, and written as literals, so that they are exact."""

    NUMBER = "number"
    TEXT = "text"  # ASCII
    BYTES = "bytes"  # as hexadecimal digits


_WRITTEN = {
    **dict.fromkeys(
        ("tinyint", "smallint", "mediumint", "int", "integer", "bigint", "decimal", "year"), Written.NUMBER
    ),
    **dict.fromkeys(("date", "datetime", "time"), Written.TEXT),
    **dict.fromkeys(("char", "varchar", "binary", "varbinary"), Written.BYTES),
}


PLAIN = frozenset({Family.INTEGER, Family.DATE, Family.DATETIME})  # keys that are found as the text that they have


@dataclass(frozen=True, slots=True)
class Known:
    """`name` is quoted, in the character set of the statement; `charset` that of strings."""

    column: str
    name: bytes
    written: Written
    charset: str

    def item(self, table: bytes) -> bytes:
        """The select item that tells its value. `table`: with a dot behind it, or empty."""
        name = table + self.name
        return b"HEX(%s)" % name if self.written is Written.BYTES else name

    def literal(self, cell: bytes | None) -> bytes:
        """What was found so, as a literal."""
        if cell is None:
            return b"NULL"
        if self.written is Written.NUMBER:
            return cell
        if self.written is Written.TEXT:
            return b"'%s'" % cell
        return b"_%s X'%s'" % (self.charset.encode(), cell)


def known(column: Column, name: bytes) -> Known | None:
    """None where the column's values cannot be written down exactly."""
    written = _WRITTEN.get(column.data_type)
    if written is None:
        return None
    charset = "binary" if column.charset is None else charset_named(column.charset) or column.charset
    return Known(column.name, name, written, charset)


@dataclass(frozen=True, slots=True)
class ShardKey:
    """Where rows are, by the cell number `at` of what was found."""

    at: int
    known: Known
    placement: Placement
    table: str  # for people

    def text(self, cell: bytes | None, charset: str) -> bytes | None:
        """The key's text; None where it is not modelled. `charset`: of the bytes, where the key is a string."""
        if cell is None:
            return None
        if self.placement.form.family in PLAIN:
            return form_text(self.placement.form, cell.decode("latin-1"), stored=True)
        try:
            value = bytes.fromhex(cell.decode("ascii"))
        except ValueError:
            return None
        return self.text_of(value, charset)

    def text_of(self, value: bytes, charset: str) -> bytes | None:
        """The same of a string's bytes."""
        name = "ascii" if charset == "binary" else codec(charset)
        try:
            return form_text(self.placement.form, value.decode(name or "ascii"), stored=True)
        except UnicodeDecodeError:
            return None

    def cluster(self, cell: bytes | None) -> str:
        """Raises StatementRefused."""
        return self.placed(self.text(cell, self.known.charset))

    def new_cluster(self, cell: bytes | None) -> str:
        """That of a value to be assigned. A `?` may stand for bytes that are no text. Raises StatementRefused."""
        text = self.text(cell, "utf8mb4")
        return self.placed(None if text is not None and b"?" in text else text)

    def placed(self, text: bytes | None) -> str:
        """The cluster of a key's text. Raises StatementRefused."""
        if text is None:
            raise refusals.INSERT_KEY_VALUE.error(table=self.table, column=self.known.column)
        cluster = self.placement.cluster(text)
        if cluster is None:
            sharding = self.placement.sharding.name
            raise refusals.INSERT_KEY_NOWHERE.error(table=self.table, column=self.known.column, sharding=sharding)
        return cluster
