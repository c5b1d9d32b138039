"""DDL: which tables a CREATE, ALTER, DROP, RENAME or TRUNCATE is about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from parser.changes import Meaning, Trust, read_name, read_query
from parser.defined import Defined, read_columns_and_keys
from parser.rows import closing, split_commas
from parser.statement import Access, Effect, Kind, TableRef
from parser.tokens import Of, Token
from parser.tree import NotUnderstood
from parser.vocabulary import vocabulary

_OBJECTS = vocabulary("""
    TABLE TABLES VIEW INDEX DATABASE SCHEMA PROCEDURE FUNCTION TRIGGER EVENT USER ROLE SERVER TABLESPACE LOGFILE
    SEQUENCE PACKAGE RESOURCE SPATIAL INSTANCE PREPARE
""")
_ROUTINES = frozenset(["PROCEDURE", "FUNCTION", "TRIGGER", "EVENT", "PACKAGE"])


@dataclass(slots=True)
class Definition:
    """`name` is verb and object, `detail` the database of database DDL, `spans` are in the text."""

    kind: Kind
    name: str
    effects: Effect
    tables: list[TableRef] = field(default_factory=list)
    meaning: Meaning | None = None  # of the query in CREATE TABLE .. SELECT and CREATE VIEW
    detail: str = ""
    defined: Defined = field(default_factory=Defined)
    spans: list[tuple[int, int]] = field(default_factory=list)

    def add(self, database: str | None, name: str, access: Access) -> None:
        self.tables.append(TableRef(len(self.tables), database, name, name, 0, access))


def is_routine(tokens: Sequence[Token]) -> bool:
    """CREATE PROCEDURE and the like, whose body may hold semicolons."""
    if not tokens or tokens[0].word not in ("CREATE", "ALTER"):
        return False
    return _object(tokens)[0] in _ROUTINES


def _object(tokens: Sequence[Token]) -> tuple[str, int]:
    """What is created, altered or dropped, and the index behind that word."""
    for i in range(1, min(len(tokens), 16)):
        t = tokens[i]
        if tokens[i - 1].is_mark("="):
            continue  # DEFINER = user
        if t.word in _OBJECTS and not (t.word == "SPATIAL" and i + 1 < len(tokens) and tokens[i + 1].word == "INDEX"):
            return t.word, i + 1
    return "", 1


def read_definition(tokens: Sequence[Token], trust: Trust) -> Definition:
    """Any DDL statement. Raises NotUnderstood."""
    verb = tokens[0].word
    if verb == "TRUNCATE":
        found = Definition(Kind.DDL, "truncate table", Effect.WRITES | Effect.IMPLICIT_COMMIT)
        at = 2 if len(tokens) > 1 and tokens[1].word == "TABLE" else 1
        database, name, _ = read_name(tokens, at)
        found.add(database, name, Access.WRITE)
        return found
    thing, at = _object(tokens)
    thing = {"SCHEMA": "DATABASE", "TABLES": "TABLE"}.get(thing, thing)
    effects = Effect.WRITES | Effect.IMPLICIT_COMMIT
    if thing in ("USER", "ROLE"):
        found = Definition(Kind.ACCOUNT, f"{verb} {thing}".lower(), effects)
        replaces = any(t.word == "REPLACE" for t in tokens[1:at])
        found.defined = Defined(if_exists=_skip_exists(tokens, at) > at, or_replace=replaces)
        return found
    if thing == "" or thing in ("SERVER", "TABLESPACE", "LOGFILE", "RESOURCE", "INSTANCE", "SPATIAL"):
        if thing == "":
            raise NotUnderstood(f"{verb} of something unknown")
        return Definition(Kind.ADMIN, f"{verb} {thing}".lower(), effects)
    if any(t.word == "TEMPORARY" for t in tokens[1:at]):
        effects = Effect.WRITES | Effect.TEMPORARY_TABLE
    found = Definition(Kind.DDL, f"{verb} {thing}".lower(), effects)
    behind = _skip_exists(tokens, at)
    found.defined = Defined(if_exists=behind > at, or_replace=any(t.word == "REPLACE" for t in tokens[1:at]))
    at = behind
    if thing == "DATABASE":
        if at < len(tokens) and tokens[at].is_name() and (verb != "ALTER" or not _is_option(tokens, at)):
            found.detail = tokens[at].text
        return found
    if thing in _ROUTINES:
        if thing == "TRIGGER":
            found.defined = replace(found.defined, routine=read_name(tokens, at)[:2])
        if thing == "TRIGGER" and verb == "CREATE":
            on = _word(tokens, at, "ON")
            found.add(*read_name(tokens, on + 1)[:2], Access.WRITE)
        return found
    if verb == "RENAME":
        return _rename(tokens, at, found)
    if thing == "INDEX":
        on = _word(tokens, at, "ON")
        found.add(*read_name(tokens, on + 1)[:2], Access.WRITE)
        return found
    if verb == "DROP":
        for part in split_commas(tokens[at:]):
            database, name, end = read_name(part, 0)
            found.add(database, name, Access.WRITE)
            found.spans.append((part[0].start, part[end - 1].end))
        return found
    database, name, at = read_name(tokens, at)
    found.add(database, name, Access.WRITE)
    if thing == "VIEW":
        begin = _word(tokens, at, "AS") + 1
        found.meaning = _query(_without_check_option(tokens[begin:]), trust)
    elif thing == "TABLE":
        _table_parts(tokens, at, verb, found, trust)
    return found


def _query(tokens: Sequence[Token], trust: Trust) -> Meaning:
    return read_query(tokens, trust)


def _is_option(tokens: Sequence[Token], at: int) -> bool:
    return tokens[at].word in ("CHARACTER", "CHARSET", "COLLATE", "DEFAULT", "ENCRYPTION", "READ", "COMMENT", "UPGRADE")


def _skip_exists(tokens: Sequence[Token], at: int) -> int:
    words = [t.word for t in tokens[at : at + 3]]
    if words == ["IF", "NOT", "EXISTS"]:
        return at + 3
    return at + 2 if words[:2] == ["IF", "EXISTS"] else at


def _word(tokens: Sequence[Token], at: int, word: str) -> int:
    found = next((i for i in range(at, len(tokens)) if tokens[i].word == word), None)
    if found is None or found + 1 >= len(tokens):
        raise NotUnderstood(f"{word} is missing")
    return found


def _rename(tokens: Sequence[Token], at: int, found: Definition) -> Definition:
    for part in split_commas(tokens[at:]):
        found.add(*read_name(part, 0)[:2], Access.WRITE)
        to = _word(part, 0, "TO")
        found.add(*read_name(part, to + 1)[:2], Access.WRITE)
    renames = tuple((at, at + 1) for at in range(0, len(found.tables), 2))
    found.defined = replace(found.defined, renames=renames)
    return found


def _table_parts(tokens: Sequence[Token], at: int, verb: str, found: Definition, trust: Trust) -> None:
    """Other tables that a CREATE or ALTER TABLE mentions, its columns and foreign keys."""
    begin = _query_of_create(tokens, at) if verb == "CREATE" else None
    if begin is not None:
        found.meaning = _query(tokens[begin:], trust)
    elif any(t.word == "SELECT" for t in tokens[at:]):
        raise NotUnderstood("a query inside a table's definition")
    references: dict[int, int] = {}
    renames: list[tuple[int, int]] = []
    is_like = False
    for i in range(at, len(tokens) if begin is None else begin):
        word = tokens[i].word
        like = word == "LIKE" and verb == "CREATE" and (i == at or (i == at + 1 and tokens[at].is_mark("(")))
        is_like |= like
        if word == "REFERENCES" or like:
            references[tokens[i].start] = len(found.tables)
            found.add(*read_name(tokens, i + 1)[:2], Access.READ)
        elif word == "UNION":
            opening = i + 2 if i + 1 < len(tokens) and tokens[i + 1].is_mark("=") else i + 1
            end = closing(tokens, opening) if opening < len(tokens) else None
            if end is None:
                raise NotUnderstood("UNION of a table's definition")
            for part in split_commas(tokens[opening + 1 : end]):
                if part:
                    found.add(*read_name(part, 0)[:2], Access.WRITE)
        elif verb == "ALTER" and word == "TABLE" and tokens[i - 1].word in ("WITH", "TO"):
            found.add(*read_name(tokens, i + 1)[:2], Access.WRITE)
        elif verb == "ALTER" and word == "RENAME" and _following(tokens, i) not in ("COLUMN", "INDEX", "KEY"):
            to = i + 2 if _following(tokens, i) in ("TO", "AS") or tokens[i + 1].is_mark("=") else i + 1
            renames.append((0, len(found.tables)))
            found.add(*read_name(tokens, to)[:2], Access.WRITE)
    parts = read_columns_and_keys(tokens[:begin], at, verb, references)
    found.defined = replace(
        found.defined,
        like=is_like,
        query=begin is not None,
        columns=tuple(parts.columns),
        dropped=frozenset(parts.dropped),
        foreign_keys=tuple(parts.foreign_keys),
        converts=parts.converts,
        exchanges=parts.exchanges,
        renames=tuple(renames),
        counts_from=parts.counts_from,
        numbers=parts.numbers,
    )


def _following(tokens: Sequence[Token], i: int) -> str:
    if i + 1 >= len(tokens):
        raise NotUnderstood("RENAME to nothing")
    return tokens[i + 1].word


def _query_of_create(tokens: Sequence[Token], at: int) -> int | None:
    """Where the query of CREATE TABLE .. [AS] SELECT begins."""
    depth = 0
    for i in range(at, len(tokens)):
        t = tokens[i]
        if t.of is Of.MARK:
            if t.text == "(" and depth == 0 and _opens_select(tokens, i):
                return i
            depth += (t.text == "(") - (t.text == ")")
        elif depth == 0 and t.of is Of.WORD:
            word = t.text.upper()
            if word == "SELECT" or (word in ("TABLE", "VALUES") and tokens[i - 1].word in ("AS", "IGNORE", "REPLACE")):
                return i
            if word == "WITH" and i + 2 < len(tokens) and tokens[i + 1].word != "SYSTEM":
                if tokens[i + 1].word == "RECURSIVE" or tokens[i + 2].word == "AS" or tokens[i + 2].is_mark("("):
                    return i
    return None


def _opens_select(tokens: Sequence[Token], i: int) -> bool:
    while i < len(tokens) and tokens[i].is_mark("("):
        i += 1
    return i < len(tokens) and tokens[i].word in ("SELECT", "WITH")


def _without_check_option(tokens: Sequence[Token]) -> Sequence[Token]:
    if [t.word for t in tokens[-2:]] != ["CHECK", "OPTION"]:
        return tokens
    end = len(tokens) - 2
    if tokens[end - 1].word in ("CASCADED", "LOCAL"):
        end -= 1
    return tokens[: end - 1] if tokens[end - 1].word == "WITH" else tokens
