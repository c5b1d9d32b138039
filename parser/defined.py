"""What the text of DDL says besides which tables it is about: columns, keys and foreign keys, as far as that matters to
tables whose rows are on several servers. Literals are not looked at, so lengths, numbers and quoted words are unknown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from parser.rows import closing, split_commas
from parser.tokens import Of, Token
from parser.vocabulary import vocabulary


@dataclass(frozen=True, slots=True)
class DefinedColumn:
    """A column that is created, added or changed. Names and types in lower case, types as information_schema has them
    (`integer` is int, `serial` bigint); None where the text leaves it open."""

    name: str
    data_type: str
    unsigned: bool = False
    zerofill: bool = False
    generated: bool = False
    charset: str | None = None
    collation: str | None = None


@dataclass(frozen=True, slots=True)
class DefinedForeignKey:
    """`table`: which of the statement's tables it refers to. Actions are `cascade`, `set null`, .. or empty."""

    columns: tuple[str, ...]
    table: int
    referenced: tuple[str, ...]
    on_delete: str = ""
    on_update: str = ""


@dataclass(frozen=True, slots=True)
class Defined:
    """`spans`: where the names of the statement's tables stand (with the database) in the shape's bytes, in DROP TABLE.
    `routine`: database and name of a trigger."""

    if_exists: bool = False  # IF EXISTS, IF NOT EXISTS
    or_replace: bool = False
    like: bool = False
    query: bool = False  # CREATE TABLE .. SELECT
    spans: tuple[tuple[int, int], ...] = field(default=(), compare=False)
    routine: tuple[str | None, str] | None = None
    columns: tuple[DefinedColumn, ...] = ()
    dropped: frozenset[str] = frozenset()  # columns that ALTER TABLE takes away or gives another name
    foreign_keys: tuple[DefinedForeignKey, ...] = ()
    converts: bool = False  # CONVERT TO CHARACTER SET: the collation of every column of strings
    exchanges: bool = False  # EXCHANGE PARTITION
    renames: tuple[tuple[int, int], ...] = ()  # (from, to) among the statement's tables
    counts_from: bool = False  # says AUTO_INCREMENT = n
    numbers: str = ""  # the column that ALTER TABLE adds with AUTO_INCREMENT, which numbers the rows that are there


@dataclass(slots=True)
class Parts:
    """What is found while a CREATE or ALTER TABLE is read."""

    columns: list[DefinedColumn] = field(default_factory=list)
    dropped: set[str] = field(default_factory=set)
    foreign_keys: list[DefinedForeignKey] = field(default_factory=list)
    converts: bool = False
    exchanges: bool = False
    counts_from: bool = False
    numbers: str = ""


_NO_COLUMNS = vocabulary("PRIMARY UNIQUE INDEX KEY FULLTEXT SPATIAL FOREIGN CHECK CONSTRAINT PERIOD PARTITION SYSTEM")
_TYPES = {
    "int1": "tinyint",
    "bool": "tinyint",
    "boolean": "tinyint",
    "int2": "smallint",
    "int3": "mediumint",
    "middleint": "mediumint",
    "int4": "int",
    "integer": "int",
    "int8": "bigint",
    "serial": "bigint",
    "dec": "decimal",
    "numeric": "decimal",
    "fixed": "decimal",
    "number": "decimal",
    "real": "double",
    "float4": "float",
    "float8": "double",
    "character": "char",
    "nchar": "char",
    "varcharacter": "varchar",
    "nvarchar": "varchar",
    "varchar2": "varchar",
}


def read_columns_and_keys(tokens: Sequence[Token], at: int, verb: str, references: Mapping[int, int]) -> Parts:
    """What stands behind the name in CREATE TABLE and ALTER TABLE. `references`: by where REFERENCES stands, which of
    the statement's tables follows it."""
    parts = Parts()
    if verb == "CREATE":
        end = closing(tokens, at) if at < len(tokens) and tokens[at].is_mark("(") else None
        if end is not None:
            for item in split_commas(tokens[at + 1 : end]):
                _item(item, parts, references)
        parts.counts_from = _counts(tokens[at if end is None else end + 1 :])
        return parts
    for action in split_commas(tokens[at:]):
        _action(action, parts, references)
    return parts


def _counts(tokens: Sequence[Token]) -> bool:
    depth = 0
    for t in tokens:
        if t.of is Of.MARK:
            depth += (t.text == "(") - (t.text == ")")
        elif t.word == "AUTO_INCREMENT" and depth == 0:
            return True
    return False


def _word(tokens: Sequence[Token], at: int) -> str:
    return tokens[at].word if 0 <= at < len(tokens) else ""


def _name(tokens: Sequence[Token], at: int) -> str:
    return tokens[at].text.lower() if at < len(tokens) and tokens[at].is_name() else ""


def _skip_exists(tokens: Sequence[Token], at: int) -> int:
    if _word(tokens, at) != "IF":
        return at
    return at + 3 if _word(tokens, at + 1) == "NOT" else at + 2


def _item(item: Sequence[Token], parts: Parts, references: Mapping[int, int]) -> None:
    """One part of a definition: a column, a key or a constraint."""
    if not item:
        return
    at = next((i for i, t in enumerate(item) if t.word == "REFERENCES"), None)
    is_column = item[0].word not in _NO_COLUMNS
    if at is not None:
        opening = next((i for i, t in enumerate(item[:at]) if t.is_mark("(")), None)
        columns = (item[0].text.lower(),) if is_column else _names(item, opening)
        parts.foreign_keys.append(_foreign_key(item, at, columns, references))
    if is_column:
        parts.columns.append(_column(item))


def _names(tokens: Sequence[Token], opening: int | None) -> tuple[str, ...]:
    """The names in the parentheses that open at `opening`, each with what belongs to it left out."""
    end = closing(tokens, opening) if opening is not None else None
    if opening is None or end is None:
        return ()
    return tuple(part[0].text.lower() for part in split_commas(tokens[opening + 1 : end]) if part)


def _foreign_key(
    item: Sequence[Token], at: int, columns: tuple[str, ...], references: Mapping[int, int]
) -> DefinedForeignKey:
    opening = next((i for i in range(at, len(item)) if item[i].is_mark("(")), None)
    actions = {"DELETE": "", "UPDATE": ""}
    for i in range(at, len(item)):
        when = _word(item, i + 1)
        if item[i].word == "ON" and when in actions:
            words = [_word(item, i + 2), _word(item, i + 3)]
            actions[when] = " ".join(words[:2] if words[0] in ("SET", "NO") else words[:1]).lower()
    table = references[item[at].start]
    return DefinedForeignKey(columns, table, _names(item, opening), actions["DELETE"], actions["UPDATE"])


def _column(item: Sequence[Token]) -> DefinedColumn:
    kind = _word(item, 1).lower()
    at = 2
    if kind == "national":
        kind, at = _word(item, 2).lower(), 3
    data_type = _TYPES.get(kind, kind)
    if data_type == "char" and _word(item, at) == "VARYING":
        data_type = "varchar"
    unsigned, generated, zerofill = kind == "serial", False, False
    charset = collation = None
    depth = 0
    for i in range(at, len(item)):
        t = item[i]
        if t.of is Of.MARK:
            depth += (t.text == "(") - (t.text == ")")
        elif depth == 0 and t.of is Of.WORD:
            word = t.text.upper()
            unsigned |= word == "UNSIGNED"
            zerofill |= word == "ZEROFILL"
            generated |= word == "AS"
            if word == "COLLATE":
                collation = _value(item, i + 1)
            elif word == "CHARSET" or (word == "SET" and _word(item, i - 1) == "CHARACTER"):
                charset = _value(item, i + 1)
            elif word == "BYTE":
                data_type = {"char": "binary", "varchar": "varbinary"}.get(data_type, data_type)
            elif word == "REFERENCES":
                break
    name = item[0].text.lower()
    return DefinedColumn(name, data_type, unsigned or zerofill, zerofill, generated, charset, collation)


def _value(tokens: Sequence[Token], at: int) -> str | None:
    if at < len(tokens) and tokens[at].is_mark("="):
        at += 1
    return _name(tokens, at) or None


def _action(action: Sequence[Token], parts: Parts, references: Mapping[int, int]) -> None:
    """One part of ALTER TABLE."""
    verb, at = _word(action, 0), 1
    if verb in ("WAIT", "NOWAIT"):  # ALTER TABLE t NOWAIT ADD ..
        action = action[1 if verb == "NOWAIT" else 2 :]
        verb = _word(action, 0)
    if verb == "ADD":
        column = _word(action, 1) == "COLUMN"
        at = _skip_exists(action, 2 if column else 1)
        if at < len(action) and action[at].is_mark("("):
            end = closing(action, at)
            for item in split_commas(action[at + 1 : end]):
                _item(item, parts, references)
        else:
            _item(action[at:], parts, references)
        counted = next((i for i, t in enumerate(action) if t.word in ("AUTO_INCREMENT", "SERIAL") and i > at), None)
        if counted is not None and parts.columns:
            parts.numbers = parts.columns[-1].name
    elif verb == "DROP":
        column = _word(action, 1) == "COLUMN"
        if column or _word(action, 1) not in _NO_COLUMNS:
            parts.dropped.add(_name(action, _skip_exists(action, 2 if column else 1)))
    elif verb in ("MODIFY", "CHANGE"):
        at = _skip_exists(action, 2 if _word(action, 1) == "COLUMN" else 1)
        if verb == "CHANGE":
            before, at = _name(action, at), at + 1
            if _name(action, at) != before:
                parts.dropped.add(before)
        if at < len(action):
            parts.columns.append(_column(action[at:]))
    elif verb == "RENAME" and _word(action, 1) == "COLUMN":
        parts.dropped.add(_name(action, _skip_exists(action, 2)))
    elif verb == "CONVERT" and _word(action, 1) == "TO":
        parts.converts = True
    elif verb == "EXCHANGE":
        parts.exchanges = True
    else:
        parts.counts_from |= _counts(action)
