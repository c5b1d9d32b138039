"""A column as the catalog describes it, as far as the meaning of its bytes in the binary log depends on it. Pure.

Sources: MariaDB Knowledge Base, "Information Schema COLUMNS Table"; `Field_enum::sql_type` and `append_unescaped` in
the servers' `sql/` for how members of ENUM and SET are written in COLUMN_TYPE.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from proxy.errors import TurnoutError

# In the order of the columns of a row image. The answer is for `definitions`; {} are the database and the table as
# string literals. Invisible and generated columns are in the images, and in the answer.
QUERY = (
    "SELECT COLUMN_NAME, COLUMN_TYPE, CHARACTER_SET_NAME, EXTRA FROM information_schema.COLUMNS"
    " WHERE TABLE_SCHEMA = {} AND TABLE_NAME = {} ORDER BY ORDINAL_POSITION"
)
_COLUMN_TYPE = re.compile(r"([a-z0-9]+(?: precision)?)\s*(?:\((.*)\))?([^()]*)", re.DOTALL | re.IGNORECASE)
_MEMBER = re.compile(r"'((?:[^'\\]|''|\\.)*)'(?:,|\Z)", re.DOTALL)
_ESCAPED = re.compile(r"''|\\(.)", re.DOTALL)
_ESCAPES = {"0": "\0", "n": "\n", "r": "\r", "t": "\t", "b": "\b", "Z": "\x1a"}
_GENERATED = re.compile(r"\b(?:virtual|stored|persistent)(?: generated)?\b", re.IGNORECASE)


class NotReadable(TurnoutError):
    """A column whose values cannot be given exactly; the message says which, and why."""


@dataclass(frozen=True, slots=True)
class Definition:
    """`data_type` in lower case, as in information_schema.COLUMNS.DATA_TYPE. `length` is the number in parentheses
    (characters, bytes, display width), 0 without one; `members` are those of ENUM and SET."""

    name: str
    data_type: str
    length: int = 0
    unsigned: bool = False
    charset: str | None = None
    members: tuple[str, ...] = ()
    generated: bool = False  # its value cannot be written

    @property
    def fraction_digits(self) -> int:
        return self.length if self.data_type in ("time", "datetime", "timestamp") else 0


def definition(name: str, column_type: str, charset: str | None = None, extra: str = "") -> Definition:
    """From one row of information_schema.COLUMNS. Raises NotReadable."""
    column_type, _, _ = column_type.partition(" /*")  # MariaDB: /*M!100301 COMPRESSED*/ and the like
    found = _COLUMN_TYPE.fullmatch(column_type.strip())
    if found is None:
        raise NotReadable(f"column {name}: its type {column_type!r} is not understood")
    data_type, inside, attributes = found[1].lower(), found[2] or "", found[3].lower()
    enumerated = data_type in ("enum", "set")
    first = inside.partition(",")[0]
    return Definition(
        name,
        data_type,
        int(first) if not enumerated and first.isdecimal() else 0,
        "unsigned" in attributes.split(),
        charset,
        _members(name, inside) if enumerated else (),
        _GENERATED.search(extra) is not None,
    )


def definitions(rows: Sequence[Sequence[bytes | str | None]]) -> tuple[Definition, ...]:
    """A table's columns, from the answer to `QUERY`. Raises NotReadable."""
    found = []
    for row in rows:
        name, column_type, charset, extra = (cell.decode() if isinstance(cell, bytes) else cell for cell in row)
        found.append(definition(name or "", column_type or "", charset, extra or ""))
    return tuple(found)


def _members(name: str, inside: str) -> tuple[str, ...]:
    found, pos = [], 0
    while pos < len(inside):
        member = _MEMBER.match(inside, pos)
        if member is None:
            raise NotReadable(f"column {name}: the members of its type are not understood")
        found.append(_ESCAPED.sub(lambda escaped: _unescaped(escaped[1]), member[1]))
        pos = member.end()
    return tuple(found)


def _unescaped(character: str | None) -> str:
    return "'" if character is None else _ESCAPES.get(character, character)
