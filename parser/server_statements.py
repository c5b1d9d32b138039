"""SHOW, EXPLAIN and TURNOUT; definitions, accounts, locks and administration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from parser.changes import read_name
from parser.definitions import read_definition
from parser.effects import of_tokens
from parser.rows import split_commas
from parser.session_statements import deallocate_statement
from parser.show import read_show
from parser.source import Recurse, Source, admin_statement, around, table_list, trust, word_at
from parser.statement import Access, Block, Effect, Kind, Statement, TableRef
from parser.tokens import Of, Token, words
from parser.tree import NotUnderstood

# What the WHERE of a SHOW may do.
_OF_CONDITIONS = (
    Effect.UNKNOWN_FUNCTION
    | Effect.SEQUENCE
    | Effect.SETS_USER_VARIABLE
    | Effect.READS_USER_VARIABLE
    | Effect.SESSION_LOCK
)


def show_statement(tokens: Sequence[Token], source: Source, recurse: Recurse) -> Statement:
    if word_at(tokens, 1) == "TURNOUT":
        return Statement(Kind.TURNOUT, detail=_written(tokens[2:], source))
    shown = read_show(tokens)
    effects = shown.effects | of_tokens(tokens) & _OF_CONDITIONS
    where = next((at for at, token in enumerate(tokens) if token.word == "WHERE"), len(tokens))
    return Statement(
        Kind.SHOW,
        tables=shown.tables,
        effects=effects,
        name=shown.name,
        detail=shown.detail,
        names=words(tokens[where:]),
    )


def _written(tokens: Sequence[Token], source: Source) -> str:
    """The words as they were written, literals and all."""
    parts = [
        source.literals[t.hole].decode("utf-8", "replace") if t.of in (Of.NUMBER, Of.STRING) else t.text for t in tokens
    ]
    return " ".join(parts)


def turnout_statement(tokens: Sequence[Token], source: Source, recurse: Recurse) -> Statement:
    if word_at(tokens, 1) != "EXPLAIN" or len(tokens) < 3:
        raise NotUnderstood("TURNOUT understands EXPLAIN <statement>")
    return Statement(Kind.TURNOUT, detail="explain", inner=recurse(tokens[2:], source))


_EXPLAINABLE = frozenset(["SELECT", "INSERT", "REPLACE", "UPDATE", "DELETE", "WITH", "TABLE", "VALUES"])


def explain_statement(tokens: Sequence[Token], source: Source, recurse: Recurse) -> Statement:
    """EXPLAIN [ANALYZE | EXTENDED | PARTITIONS | FORMAT = x] <statement>, EXPLAIN FOR CONNECTION n, DESC t [column]."""
    at = 1
    runs = tokens[0].word == "ANALYZE"
    while word_at(tokens, at) in ("ANALYZE", "EXTENDED", "PARTITIONS", "FORMAT"):
        if tokens[at].word == "FORMAT":
            if at + 1 >= len(tokens) or not tokens[at + 1].is_mark("="):
                break
            at += 3
        elif at + 1 >= len(tokens):
            break
        else:
            runs = runs or tokens[at].word == "ANALYZE"
            at += 1
    if at < len(tokens) and (tokens[at].word in _EXPLAINABLE or tokens[at].is_mark("(")):
        inner = recurse(tokens[at:], source)
        begins = source.offset(tokens[at].start)
        statement = replace(around(inner, Kind.EXPLAIN), name="analyze" if runs else "explain", inner_at=begins)
        # A statement that is only explained locks, writes and returns nothing.
        return (
            statement if runs else replace(statement, effects=statement.effects & ~(Effect.WRITES | Effect.LOCKS_ROWS))
        )
    if word_at(tokens, at) == "FOR":
        return Statement(Kind.EXPLAIN, name="explain for connection")
    if runs or at > 1:
        raise NotUnderstood("EXPLAIN of another form")
    database, name, _ = read_name(tokens, 1)
    return Statement(Kind.DESCRIBE, tables=(TableRef(0, database, name, name, 0, Access.READ),))


def help_statement(tokens: Sequence[Token], source: Source, recurse: Recurse) -> Statement:
    return Statement(Kind.SHOW, name="help")


# Definitions and administration


def definition_statement(tokens: Sequence[Token], source: Source, recurse: Recurse) -> Statement:
    if tokens[0].word == "DROP" and word_at(tokens, 1) == "PREPARE":
        return deallocate_statement(tokens, source, recurse)
    found = read_definition(tokens, trust(tokens))
    tables = list(found.tables)
    blocks: tuple[Block, ...] = (Block(0, None, nullable=()),)
    subqueries = False
    effects = found.effects
    if found.meaning is not None:
        first = len(tables)
        shifted = [replace(t, index=t.index + first, block=t.block + 1) for t in found.meaning.tables]
        tables += shifted  # conditions of the query are of no use here: its blocks are left out, but for their number
        blocks = (*blocks, *(Block(b.index + 1, 0 if b.parent is None else b.parent + 1) for b in found.meaning.blocks))
        subqueries = True
        effects |= of_tokens(tokens)
    return Statement(
        found.kind,
        tables=tuple(tables),
        blocks=blocks if tables else (),
        effects=effects,
        words=words(tokens) if found.kind is Kind.DDL else frozenset(),
        name=found.name,
        detail=found.detail,
        subqueries=subqueries,
        defined=replace(
            found.defined, spans=tuple((source.offset(start), source.offset(end)) for start, end in found.spans)
        ),
    )


def account_statement(tokens: Sequence[Token], source: Source, recurse: Recurse) -> Statement:
    """GRANT, REVOKE, SET PASSWORD. Privileges on one table name it; `detail` is "routine" for those on a routine."""
    verb = tokens[0].word
    effects = Effect.WRITES | Effect.IMPLICIT_COMMIT
    on = next((i for i, t in enumerate(tokens) if t.word == "ON"), None) if verb in ("GRANT", "REVOKE") else None
    tables: tuple[TableRef, ...] = ()
    detail = ""
    if on is not None and not any(t.word == "PROXY" for t in tokens[:on]):
        at = on + 2 if word_at(tokens, on + 1) == "TABLE" else on + 1
        if word_at(tokens, at) in ("PROCEDURE", "FUNCTION", "PACKAGE"):
            detail = "routine"
        elif at < len(tokens) and tokens[at].is_name():
            database, name, end = read_name(tokens, at)
            if not (end < len(tokens) and tokens[end].is_mark(".")):  # db.*
                tables = (TableRef(0, database, name, name, 0, Access.READ),)
    return Statement(Kind.ACCOUNT, tables=tables, effects=effects, name=verb.lower(), detail=detail)


def lock_statement(tokens: Sequence[Token], source: Source, recurse: Recurse) -> Statement:
    if word_at(tokens, 1) not in ("TABLE", "TABLES"):
        return admin_statement(tokens, source, recurse)
    tables: list[TableRef] = []
    for part in split_commas(tokens[2:]):
        database, name, at = read_name(part, 0)
        at += word_at(part, at) == "AS"
        alias = part[at].text if at < len(part) and part[at].is_name() and part[at].word not in _LOCKS else name
        access = Access.WRITE if any(t.word == "WRITE" for t in part[at:]) else Access.READ
        tables.append(TableRef(len(tables), database, name, alias, 0, access))
    return Statement(
        Kind.LOCK_TABLES, tables=tuple(tables), effects=Effect.SESSION_LOCK | Effect.IMPLICIT_COMMIT, name="lock tables"
    )


_LOCKS = frozenset(["READ", "WRITE", "LOW_PRIORITY"])


def unlock_statement(tokens: Sequence[Token], source: Source, recurse: Recurse) -> Statement:
    if word_at(tokens, 1) not in ("TABLE", "TABLES"):
        return admin_statement(tokens, source, recurse)
    return Statement(Kind.UNLOCK_TABLES)


def handler_statement(tokens: Sequence[Token], source: Source, recurse: Recurse) -> Statement:
    database, name, _ = read_name(tokens, 1)
    if any(t.word == "SELECT" for t in tokens):
        raise NotUnderstood("HANDLER with a subquery")
    effects = of_tokens(tokens)
    return Statement(Kind.HANDLER, tables=(TableRef(0, database, name, name, 0, Access.READ),), effects=effects)


def flush_statement(tokens: Sequence[Token], source: Source, recurse: Recurse) -> Statement:
    at = 2 if word_at(tokens, 1) in ("LOCAL", "NO_WRITE_TO_BINLOG") else 1
    if word_at(tokens, at) not in ("TABLE", "TABLES"):
        return admin_statement(tokens, source, recurse)
    end = next((i for i in range(at, len(tokens)) if tokens[i].word in ("WITH", "FOR")), len(tokens))
    statement = table_list(tokens[:end], at + 1, Access.WRITE)
    if end < len(tokens):
        statement = replace(statement, effects=statement.effects | Effect.SESSION_LOCK)
    return statement


def maintenance_statement(tokens: Sequence[Token], source: Source, recurse: Recurse) -> Statement:
    """ANALYZE, CHECK, CHECKSUM, OPTIMIZE and REPAIR TABLE."""
    at = 2 if word_at(tokens, 1) in ("LOCAL", "NO_WRITE_TO_BINLOG") else 1
    if word_at(tokens, at) not in ("TABLE", "TABLES"):
        if tokens[0].word == "ANALYZE":  # MariaDB: carries the statement out and explains it
            return explain_statement(tokens, source, recurse)
        return admin_statement(tokens, source, recurse)
    only_reads = tokens[0].word in ("CHECK", "CHECKSUM")
    return table_list(tokens, at + 1, Access.READ if only_reads else Access.WRITE)


def cache_index_statement(tokens: Sequence[Token], source: Source, recurse: Recurse) -> Statement:
    end = next((i for i, t in enumerate(tokens) if t.word == "IN"), len(tokens))
    return table_list(tokens[:end], 2, Access.WRITE)


def diagnostics_statement(tokens: Sequence[Token], source: Source, recurse: Recurse) -> Statement:
    effects = Effect.USES_DIAGNOSTICS | Effect.SETS_USER_VARIABLE
    return Statement(Kind.ADMIN, effects=effects, name="get diagnostics")
