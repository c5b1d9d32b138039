"""SHOW CREATE TABLE -> a temporary table that can hold the same rows, or some of their columns. Pure, on bytes.

Types, character sets, collations, NOT NULL, constant defaults and keys are kept, since they decide what expressions
give and how result columns look. What makes or forbids values is left out: the rows have passed it already, and come
with all their values. Only virtual columns are computed anew: their values may depend on the session that asks.

Grammar: what servers themselves print (MySQL sql/sql_show.cc and MariaDB's, store_create_info).
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

_TOKEN = re.compile(
    rb"`(?:[^`]|``)*`"
    rb"|'(?:[^'\\]|''|\\.)*'"
    rb"|[A-Za-z0-9_.+-]+"
    rb"|/\*M?!(?:[0-9]{5,6})?|\*/"
    rb"|<=>|<=|>=|<>|!=|\|\||&&|<<|>>|->>|->"
    rb"|\S",
    re.DOTALL,
)
_OPTIONS = re.compile(rb"DEFAULT CHARSET=(\w+)(?: COLLATE=(\w+))?")
_LITERAL = re.compile(rb"'.*'|-?[0-9.]+(?:e[+-]?[0-9]+)?|NULL|current_timestamp|[bx]", re.IGNORECASE | re.DOTALL)

_NUMBERS = frozenset([*(b"tinyint", b"smallint", b"mediumint", b"int", b"bigint", b"decimal")])
_FLOATING = frozenset([b"float"])
_PLAIN = frozenset(
    [
        *(b"double", b"bit", b"year", b"date", b"time", b"datetime", b"timestamp", b"enum", b"set"),
        *(b"char", b"varchar", b"tinytext", b"text", b"mediumtext", b"longtext"),
        *(b"binary", b"varbinary", b"tinyblob", b"blob", b"mediumblob", b"longblob"),
        *(b"geometry", b"point", b"linestring", b"polygon", b"multipoint", b"multilinestring", b"multipolygon"),
        *(b"geometrycollection", b"geomcollection"),
    ]
)
_BY_TEXT = {b"json": b"_utf8mb4", b"uuid": b"_latin1", b"inet4": b"_latin1", b"inet6": b"_latin1"}
_NOT_INDEXED = frozenset([b"tinytext", b"text", b"mediumtext", b"longtext", *(b"tinyblob", b"blob", b"mediumblob")])
_NOT_INDEXED |= frozenset([b"longblob", b"json", b"geometry"])


class Unreadable(Exception):
    """A definition that is not understood; the text says which part."""


@dataclass(frozen=True, slots=True)
class ColumnText:
    """`name` in backquotes; `kind` its type's word; `text` its definition without the name and AUTO_INCREMENT."""

    name: bytes
    kind: bytes
    text: bytes
    counts: bool = False  # AUTO_INCREMENT, which needs a key and shows in result columns
    virtual: bool = False
    generated: bool = False  # virtual, or stored: never given a value in the table itself

    @property
    def pulled(self) -> bytes:
        """The select item that tells its values exactly: FLOAT is shown with six digits only."""
        return self.name + b" * 1e0" if self.kind in _FLOATING else self.name

    @property
    def introducer(self) -> bytes | None:
        """What stands before a value's bytes in quotes; None: it is a number."""
        return None if self.kind in _NUMBERS else _BY_TEXT.get(self.kind, b"_binary")


@dataclass(frozen=True, slots=True)
class KeyText:
    unique: bool
    head: bytes  # PRIMARY KEY, UNIQUE KEY `x`, KEY `x`
    columns: tuple[bytes, ...]  # in backquotes
    parts: tuple[bytes, ...]  # the columns with lengths and directions

    @property
    def not_unique(self) -> bytes:
        """The head of such a key that allows values more than once."""
        return self.head.replace(b"UNIQUE KEY", b"KEY").replace(b"PRIMARY KEY", b"KEY `turnout_primary`")

    def within(self, names: Collection[bytes]) -> KeyText | None:
        """The key over those of its first columns that are among `names`."""
        count = next((n for n, column in enumerate(self.columns) if column not in names), len(self.columns))
        if count == len(self.columns):
            return self
        return KeyText(False, self.not_unique, self.columns[:count], self.parts[:count]) if count else None


@dataclass(frozen=True, slots=True)
class TableText:
    columns: tuple[ColumnText, ...]
    keys: tuple[KeyText, ...]
    charset: bytes  # a table option

    @property
    def stored(self) -> tuple[ColumnText, ...]:
        """The columns whose values are copied."""
        return tuple(column for column in self.columns if not column.virtual)

    def chosen(self, words: Collection[str] | None) -> TableText:
        """The table with those of its columns that are among `words` (lower case), at least one that is stored; with
        all where `words` is None, or one of them is virtual and computed from others."""
        if words is None:
            return self
        # What names outside of ASCII are equal to in another case is the server's to say.
        kept = [c for c in self.columns if not c.name.isascii() or _plain(c.name).decode().lower() in words]
        if any(column.virtual for column in kept):
            return self
        if not kept:
            first = self.keys[0].columns[0] if self.keys else b""
            kept = [next((c for c in self.stored if c.name == first), self.stored[0])]
        names = {column.name for column in kept}
        keys = (key.within(names) for key in self.keys)
        return TableText(tuple(kept), tuple(key for key in keys if key is not None), self.charset)

    def create(self, name: bytes, unique_by: str | None = None) -> bytes:
        """CREATE TEMPORARY TABLE `name` (qualified and quoted). `unique_by`: rows of several servers are in it, on
        which only keys with this column (lower case) are unique."""
        kinds = {column.name: column.kind for column in self.columns}
        first = {key.columns[0] for key in self.keys}
        lines = [column.name + b" " + column.text for column in self.columns]
        for number, column in enumerate(self.columns):
            if column.counts:
                lines[number] += b" AUTO_INCREMENT" if column.name in first else b" DEFAULT 0"
        for key in self.keys:
            head = key.head
            if key.unique and unique_by is not None:
                if unique_by.encode() not in {_plain(column).lower() for column in key.columns}:
                    if any(kinds[c] in _NOT_INDEXED and c == part for c, part in zip(key.columns, key.parts)):
                        continue
                    head = key.not_unique
            lines.append(head + b" (" + b",".join(key.parts) + b")")
        return b"CREATE TEMPORARY TABLE " + name + b" (" + b",".join(lines) + b")" + self.charset


def read_definition(text: bytes) -> TableText:
    """SHOW CREATE TABLE's text, with names in backquotes. Raises Unreadable."""
    tokens = _TOKEN.findall(text)
    if tokens[:1] != [b"CREATE"] or b"TABLE" not in tokens[:3] or b"(" not in tokens:
        raise Unreadable("is not a table")
    parts, rest = _parts(tokens, tokens.index(b"(") + 1)
    columns: list[ColumnText] = []
    keys: list[KeyText] = []
    for part in parts:
        if part and part[0][:1] == b"`":
            columns.append(_column(part))
        else:
            key = _key(part)
            if key is not None:
                keys.append(key)
    if all(column.virtual for column in columns):
        raise Unreadable("has no columns that are stored")
    options = b" ".join(rest)
    found = _OPTIONS.search(options.replace(b" = ", b"="))
    charset = b""
    if found is not None:
        charset = b" DEFAULT CHARSET=" + found[1] + (b" COLLATE=" + found[2] if found[2] else b"")
    return TableText(tuple(columns), tuple(keys), charset)


def _parts(tokens: list[bytes], at: int) -> tuple[list[list[bytes]], list[bytes]]:
    """What stands between the commas up to the closing parenthesis, and what follows it."""
    parts: list[list[bytes]] = [[]]
    depth = 1
    for number in range(at, len(tokens)):
        token = tokens[number]
        depth += (token == b"(") - (token == b")")
        if depth == 0:
            return parts, tokens[number + 1 :]
        if depth == 1 and token == b",":
            parts.append([])
        elif token == b"*/" or token.startswith((b"/*!", b"/*M!")):
            continue  # what is in it is meant
        else:
            parts[-1].append(token)
    raise Unreadable("ends early")


def _group(tokens: list[bytes], at: int) -> int:
    """Where the parenthesis at `at` ends; `at` where there is none."""
    if at >= len(tokens) or tokens[at] != b"(":
        return at
    depth = 0
    for number in range(at, len(tokens)):
        depth += (tokens[number] == b"(") - (tokens[number] == b")")
        if depth == 0:
            return number + 1
    raise Unreadable("has a parenthesis without its end")


def _column(tokens: list[bytes]) -> ColumnText:
    name, kind = tokens[0], tokens[1].lower() if len(tokens) > 1 else b""
    if kind not in _NUMBERS | _FLOATING | _PLAIN and kind not in _BY_TEXT:
        raise Unreadable(f"has the column {name.decode('utf-8', 'replace')}, of a type that Turnout cannot copy")
    at = _group(tokens, 2)
    kept = [kind + b"".join(tokens[2:at])]
    counts = virtual = generated = False
    check = [b"CHECK", b"(", b"json_valid", b"(", name, b")", b")"]  # MariaDB knows JSON by it
    while at < len(tokens):
        word = tokens[at].upper()
        size = 1
        if word in (b"UNSIGNED", b"ZEROFILL", b"NULL", b"INVISIBLE"):
            kept.append(word)
        elif word == b"NOT" and tokens[at + 1 : at + 2] == [b"NULL"]:
            kept.append(b"NOT NULL")
            size = 2
        elif word == b"CHARACTER":
            kept.append(b" ".join(tokens[at : at + 3]))
            size = 3
        elif word in (b"COLLATE", b"SRID"):
            kept.append(b" ".join(tokens[at : at + 2]))
            size = 2
        elif word == b"DEFAULT" or (word == b"ON" and tokens[at + 1 : at + 2] == [b"UPDATE"]):
            value = at + (1 if word == b"DEFAULT" else 2)
            end = value + 1
            prefixed = tokens[value].lower() in (b"b", b"x") and tokens[end : end + 1] and tokens[end][:1] == b"'"
            end = end + 1 if prefixed else _group(tokens, end)
            text = b"".join(tokens[value:end])
            if _LITERAL.fullmatch(tokens[value]) and tokens[value] != b"(":
                kept.append(b" ".join([*tokens[at:value], text]))
            size = end - at
        elif tokens[at : at + len(check)] == check:
            kept.append(b"CHECK (json_valid(" + name + b"))")
            size = len(check)
        elif tokens[at] == b"(":
            size = _group(tokens, at) - at
        elif word == b"COMMENT":
            size = 2
        elif word == b"GENERATED":
            generated = True
            end = _group(tokens, at + 3)
            if tokens[end : end + 1] == [b"VIRTUAL"]:
                kept.append(_joined(tokens[at : end + 1]))
                virtual = True
            size = end + 1 - at
        counts = counts or word == b"AUTO_INCREMENT"
        at += size
    if not virtual and b"NULL" not in kept and b"NOT NULL" not in kept:  # a TIMESTAMP would take it for NOT NULL
        kept.insert(len(kept) - kept[-1].startswith(b"CHECK"), b"NULL")
    return ColumnText(name, kind, b" ".join(kept), counts, virtual, generated)


def _joined(tokens: list[bytes]) -> bytes:
    """An expression again: between a function and its parenthesis there must be nothing."""
    return b"".join(token if token == b"(" else b" " + token for token in tokens).strip()


def _key(tokens: list[bytes]) -> KeyText | None:
    """A key; None for what is none (CONSTRAINT, CHECK) or cannot be in a temporary table (FULLTEXT, SPATIAL)."""
    at = tokens.index(b"KEY") if b"KEY" in tokens[:2] else -1
    if at < 0 or tokens[0] not in (b"PRIMARY", b"UNIQUE", b"KEY"):
        return None
    opened = tokens.index(b"(", at)
    groups, _ = _parts(tokens, opened + 1)
    if not all(group and group[0][:1] == b"`" for group in groups):
        return None  # by an expression
    head = b" ".join(tokens[: opened if b"USING" not in tokens[:opened] else tokens.index(b"USING")])
    columns = tuple(group[0] for group in groups)
    parts = tuple(
        group[0] + b"".join((b" " + word) if word.isalpha() else word for word in group[1:]) for group in groups
    )
    return KeyText(tokens[0] != b"KEY", head, columns, parts)


def _plain(name: bytes) -> bytes:
    return name[1:-1].replace(b"``", b"`")
