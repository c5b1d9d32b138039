"""SHOW, and the tables it is about.

`name` is what is shown, in lower case ("tables", "create table", "columns", "warnings", "count(*) errors"), without
FULL, GLOBAL and the like; `detail` is the database of FROM where the statement shows things of a database.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from parser.changes import read_name
from parser.statement import Access, Effect, TableRef
from parser.tokens import Token
from parser.tree import NotUnderstood

_ADVERBS = frozenset(["FULL", "EXTENDED", "GLOBAL", "SESSION", "LOCAL"])
_OF_TABLE = frozenset(["COLUMNS", "FIELDS", "INDEX", "INDEXES", "KEYS"])
_OF_DATABASE = frozenset(["TABLES", "TRIGGERS", "EVENTS"])


@dataclass(frozen=True, slots=True)
class Shown:
    name: str
    detail: str = ""
    tables: tuple[TableRef, ...] = ()
    effects: Effect = Effect.NONE


def read_show(tokens: Sequence[Token]) -> Shown:
    """What a SHOW statement shows. Raises NotUnderstood."""
    at = 1
    while at < len(tokens) and tokens[at].word in _ADVERBS:
        at += 1
    if at >= len(tokens):
        raise NotUnderstood("SHOW of nothing")
    if any(t.word == "SELECT" for t in tokens):
        raise NotUnderstood("SHOW with a subquery")
    what = tokens[at].word
    following = tokens[at + 1].word if at + 1 < len(tokens) else ""
    if what in ("WARNINGS", "ERRORS"):
        return Shown(what.lower(), effects=Effect.USES_DIAGNOSTICS)
    if what == "COUNT":
        last = tokens[-1].word.lower()
        return Shown(f"count(*) {last}", effects=Effect.USES_DIAGNOSTICS)
    if what == "CREATE":
        if following in ("TABLE", "VIEW", "SEQUENCE"):
            database, name, _ = read_name(tokens, at + 2)
            return Shown(f"create {following.lower()}", "", (_table(database, name),))
        return Shown(f"create {following.lower()}", _database_of(tokens, at + 2))
    if what in _OF_TABLE:
        return _of_table(tokens, at)
    if what == "TABLE" and following == "STATUS":
        return Shown("table status", _database(tokens, at + 2))
    if what == "OPEN" and following == "TABLES":
        return Shown("open tables", _database(tokens, at + 2))
    if what in _OF_DATABASE:
        return Shown(what.lower(), _database(tokens, at + 1))
    return Shown(" ".join(t.text.lower() for t in tokens[at : at + 2] if t.word and t.word not in ("LIKE", "WHERE")))


def _database_of(tokens: Sequence[Token], at: int) -> str:
    """The database in `CREATE DATABASE [IF NOT EXISTS] db` and `CREATE TRIGGER db.t`; "" where none is named."""
    names = [token for token in tokens[at:] if token.is_name() and token.word not in ("IF", "NOT", "EXISTS")]
    if not names or names[0].word in ("FOR", "USER"):
        return ""
    alone = tokens[at - 1].word in ("DATABASE", "SCHEMA")
    return names[0].text if alone or len(names) > 1 else ""


def _table(database: str | None, name: str) -> TableRef:
    return TableRef(0, database, name, name, 0, Access.READ)


def _of_table(tokens: Sequence[Token], at: int) -> Shown:
    what = tokens[at].text.lower()
    if at + 1 >= len(tokens) or tokens[at + 1].word not in ("FROM", "IN"):
        raise NotUnderstood(f"SHOW {what} of no table")
    database, name, at = read_name(tokens, at + 2)
    if at + 1 < len(tokens) and tokens[at].word in ("FROM", "IN"):
        database = tokens[at + 1].text
    return Shown(what, "", (_table(database, name),))


def _database(tokens: Sequence[Token], at: int) -> str:
    if at + 1 < len(tokens) and tokens[at].word in ("FROM", "IN") and tokens[at + 1].is_name():
        return tokens[at + 1].text
    return ""
