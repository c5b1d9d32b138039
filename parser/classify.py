"""Which kind of statement it is, by its first words, and the reading of each kind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from parser.changes import (
    Meaning,
    Trust,
    read_delete,
    read_expressions,
    read_insert,
    read_name,
    read_query,
    read_update,
)
from parser.definitions import read_definition
from parser.effects import of_tokens
from parser.rows import Rows, closing, split_commas, value_of
from parser.select_items import read_items
from parser.setting import kind_of_set, read_set, read_set_statement
from parser.show import read_show
from parser.statement import Access, Block, Effect, Kind, Statement, TableRef
from parser.tokens import Of, Token, same_offset, words
from parser.tree import NotUnderstood


@dataclass(frozen=True, slots=True)
class Source:
    """The text that tokens stand in; `offset` turns places in it into places in the shape's bytes."""

    text: str
    literals: Sequence[bytes]
    offset: Callable[[int], int]
    rows: Rows | None = None  # of a long INSERT, read beforehand


Recurse = Callable[[Sequence[Token], Source], Statement]


def read_statement(tokens: Sequence[Token], source: Source, recurse: Recurse) -> Statement:
    """The statement without its digest. Raises NotUnderstood. `recurse` reads statements inside of statements."""
    first = tokens[0]
    if first.is_mark("("):
        return _query(tokens, source)
    reader = _READERS.get(first.word)
    if reader is None:
        raise NotUnderstood("a statement that begins with no known word")
    return reader(tokens, source, recurse)


def _word(tokens: Sequence[Token], at: int) -> str:
    return tokens[at].word if at < len(tokens) else ""


def _trust(tokens: Sequence[Token]) -> Trust:
    assigns = any(t.of is Of.MARK and t.text == ":=" for t in tokens)  # its right side reaches further than it looks
    pipes = any(t.of is Of.MARK and t.text == "||" for t in tokens)
    return Trust(not assigns, not pipes)


def _built(kind: Kind, meaning: Meaning, effects: Effect) -> Statement:
    if effects & Effect.SEQUENCE:
        raise NotUnderstood("a sequence, which lives somewhere like a table")
    return Statement(
        kind,
        tables=meaning.tables,
        blocks=meaning.blocks,
        effects=effects,
        insert=meaning.insert,
        assigned=meaning.assigned,
        assigned_values=meaning.assigned_values,
        subqueries=meaning.subqueries,
    )


# Queries and changes


def _query(tokens: Sequence[Token], source: Source) -> Statement:
    effects = of_tokens(tokens)
    plain = _without_into(tokens)
    statement = _built(Kind.SELECT, read_query(plain, _trust(tokens)), effects)
    items, names, value = read_items(tokens, source.text)
    return replace(statement, items=items, item_names=names, value=value)


def _select(tokens: Sequence[Token], source: Source, recurse: Recurse) -> Statement:
    return _query(tokens, source)


def _without_into(tokens: Sequence[Token]) -> Sequence[Token]:
    """The query without INTO @a, @b, INTO OUTFILE .. or INTO DUMPFILE .., which sqlglot does not know."""
    begin = depth = 0
    for i, t in enumerate(tokens):
        if t.of is Of.MARK:
            depth += (t.text == "(") - (t.text == ")")
        elif depth == 0 and t.word == "INTO":
            begin = i
            break
    else:
        return tokens
    end = begin + 1
    if _word(tokens, end) in ("OUTFILE", "DUMPFILE"):
        end += 2
        while end < len(tokens) and _word(tokens, end) not in (
            "FROM",
            "WHERE",
            "GROUP",
            "ORDER",
            "LIMIT",
            "FOR",
            "LOCK",
        ):
            end += 1
    else:
        while end < len(tokens) and tokens[end].of is Of.VARIABLE and not tokens[end].text.startswith("@@"):
            end += 1
            if end < len(tokens) and tokens[end].is_mark(","):
                end += 1
    if end == begin + 1:
        raise NotUnderstood("INTO something unknown")
    return [*tokens[:begin], *tokens[end:]]


def _with(tokens: Sequence[Token], source: Source, recurse: Recurse) -> Statement:
    """WITH .. leads SELECT, UPDATE or DELETE: whichever stands first outside of its parentheses."""
    depth = 0
    for t in tokens:
        if t.of is Of.MARK:
            depth += (t.text == "(") - (t.text == ")")
        elif depth == 0 and t.word in ("UPDATE", "DELETE", "SELECT", "INSERT", "REPLACE"):
            if t.word == "UPDATE":
                return _update(tokens, source, recurse)
            if t.word == "DELETE":
                return _delete(tokens, source, recurse)
            if t.word != "SELECT":
                raise NotUnderstood("WITH before INSERT")
            break
    return _query(tokens, source)


def _insert(tokens: Sequence[Token], source: Source, recurse: Recurse) -> Statement:
    kind = Kind.REPLACE if tokens[0].word == "REPLACE" else Kind.INSERT
    statement = _built(kind, read_insert(tokens, source.rows, _trust(tokens)), of_tokens(tokens) | Effect.WRITES)
    if source.offset is same_offset or statement.insert is None:
        return statement
    spans = tuple((source.offset(start), source.offset(end)) for start, end in statement.insert.row_spans)
    return replace(statement, insert=replace(statement.insert, row_spans=spans))


def _update(tokens: Sequence[Token], source: Source, recurse: Recurse) -> Statement:
    return _built(Kind.UPDATE, read_update(tokens, _trust(tokens)), of_tokens(tokens) | Effect.WRITES)


def _delete(tokens: Sequence[Token], source: Source, recurse: Recurse) -> Statement:
    return _built(Kind.DELETE, read_delete(tokens, _trust(tokens)), of_tokens(tokens) | Effect.WRITES)


def _load(tokens: Sequence[Token], source: Source, recurse: Recurse) -> Statement:
    if _word(tokens, 1) == "INDEX":
        return _table_list(tokens, 4, Access.WRITE)
    if _word(tokens, 1) not in ("DATA", "XML"):
        raise NotUnderstood("LOAD of something unknown")
    if any(t.word == "SELECT" for t in tokens):
        raise NotUnderstood("LOAD DATA with a subquery")
    effects = of_tokens(tokens) | Effect.WRITES
    if any(t.word == "LOCAL" for t in tokens[2:5]):
        effects |= Effect.LOCAL_INFILE
    into = next((i for i, t in enumerate(tokens) if t.word == "INTO" and _word(tokens, i + 1) == "TABLE"), None)
    if into is None:
        raise NotUnderstood("LOAD DATA into no table")
    database, name, _ = read_name(tokens, into + 2)
    # Fields may be loaded into variables: (a, @b) SET c = @b
    variables = Effect.READS_USER_VARIABLE | Effect.SETS_USER_VARIABLE
    if any(t.of is Of.VARIABLE for t in tokens):
        effects |= variables
    return Statement(Kind.LOAD_DATA, tables=(TableRef(0, database, name, name, 0, Access.WRITE),), effects=effects)


def _call(tokens: Sequence[Token], source: Source, recurse: Recurse) -> Statement:
    database, name, at = read_name(tokens, 1)
    inside: Sequence[Token] = ()
    if at < len(tokens):
        end = closing(tokens, at) if tokens[at].is_mark("(") else None
        if end is None or end != len(tokens) - 1:
            raise NotUnderstood("CALL of another form")
        inside = tokens[at + 1 : end]
    effects = of_tokens(tokens) | Effect.WRITES | Effect.UNKNOWN_FUNCTION
    statement = _built(Kind.CALL, read_expressions(inside, _trust(tokens)), effects)
    return replace(statement, name=name, detail=database or "")


def _do(tokens: Sequence[Token], source: Source, recurse: Recurse) -> Statement:
    return _built(Kind.DO, read_expressions(tokens[1:], _trust(tokens)), of_tokens(tokens))


# Sessions and transactions


def _set(tokens: Sequence[Token], source: Source, recurse: Recurse) -> Statement:
    kind = kind_of_set(tokens)
    if kind is not Kind.SET:
        return Statement(kind, effects=of_tokens(tokens) | Effect.WRITES | Effect.IMPLICIT_COMMIT, name="set")
    if _word(tokens, 1) == "STATEMENT":
        assignments, at = read_set_statement(tokens, source.offset)
        inner = recurse(tokens[at:], source)
        effects = inner.effects | of_tokens(tokens)
        return replace(_around(inner, Kind.SET), effects=effects, assignments=tuple(assignments))
    assignments, expressions = read_set(tokens, source.offset)
    effects = of_tokens(expressions)
    if any(each.scope.value == "user" for each in assignments):
        effects |= Effect.SETS_USER_VARIABLE
    statement = _built(Kind.SET, read_expressions(expressions, _trust(expressions)), effects)
    return replace(statement, assignments=tuple(assignments))


def _around(inner: Statement, kind: Kind) -> Statement:
    """A statement around another: what the inner one touches counts as the outer one's."""
    if inner.kind in (Kind.UNKNOWN, Kind.MULTI):
        raise NotUnderstood(inner.error or "several statements inside of one")
    return Statement(
        kind,
        tables=inner.tables,
        blocks=inner.blocks,
        effects=inner.effects,
        words=inner.words,
        subqueries=inner.subqueries,
        inner=inner,
    )


def _use(tokens: Sequence[Token], source: Source, recurse: Recurse) -> Statement:
    if len(tokens) != 2 or not tokens[1].is_name():
        raise NotUnderstood("USE of another form")
    return Statement(Kind.USE, name=tokens[1].text)


def _begin(tokens: Sequence[Token], source: Source, recurse: Recurse) -> Statement:
    if len(tokens) > 2 or (len(tokens) == 2 and _word(tokens, 1) != "WORK"):
        raise NotUnderstood("BEGIN of another form")
    return Statement(Kind.BEGIN, effects=Effect.IMPLICIT_COMMIT)


def _start(tokens: Sequence[Token], source: Source, recurse: Recurse) -> Statement:
    if _word(tokens, 1) != "TRANSACTION":
        return _admin(tokens, source, recurse)
    detail = " ".join(t.text.lower() for t in tokens[2:])
    return Statement(Kind.BEGIN, effects=Effect.IMPLICIT_COMMIT, detail=detail.replace(" ,", ","))


def _end_of_transaction(tokens: Sequence[Token], source: Source, recurse: Recurse) -> Statement:
    said = [t.word for t in tokens]
    kind = Kind.COMMIT if said[0] == "COMMIT" else Kind.ROLLBACK
    at = 2 if said[1:2] == ["WORK"] else 1
    if kind is Kind.ROLLBACK and said[at : at + 1] == ["TO"]:
        at += 2 if said[at + 1 : at + 2] == ["SAVEPOINT"] and len(tokens) > at + 2 else 1
        return Statement(Kind.ROLLBACK_TO, name=_last_name(tokens, at))
    if not all(word in ("AND", "NO", "CHAIN", "RELEASE") for word in said[at:]):
        raise NotUnderstood(f"{said[0]} of another form")
    return Statement(kind, detail=" ".join(said[at:]).lower())


def _savepoint(tokens: Sequence[Token], source: Source, recurse: Recurse) -> Statement:
    return Statement(Kind.SAVEPOINT, name=_last_name(tokens, 1))


def _release(tokens: Sequence[Token], source: Source, recurse: Recurse) -> Statement:
    if _word(tokens, 1) != "SAVEPOINT":
        raise NotUnderstood("RELEASE of another form")
    return Statement(Kind.RELEASE_SAVEPOINT, name=_last_name(tokens, 2))


def _last_name(tokens: Sequence[Token], at: int) -> str:
    if at != len(tokens) - 1 or not tokens[at].is_name():
        raise NotUnderstood("a name is missing, or more than one is there")
    return tokens[at].text


def _xa(tokens: Sequence[Token], source: Source, recurse: Recurse) -> Statement:
    return Statement(Kind.XA, name=_word(tokens, 1).lower(), effects=Effect.WRITES)


def _prepare(tokens: Sequence[Token], source: Source, recurse: Recurse) -> Statement:
    if len(tokens) < 4 or not tokens[1].is_name() or _word(tokens, 2) != "FROM":
        raise NotUnderstood("PREPARE of another form")
    return Statement(Kind.PREPARE, name=tokens[1].text, value=value_of(tokens[3:]), effects=of_tokens(tokens))


def _execute(tokens: Sequence[Token], source: Source, recurse: Recurse) -> Statement:
    effects = of_tokens(tokens) | Effect.WRITES | Effect.UNKNOWN_FUNCTION
    if len(tokens) < 2 or not tokens[1].is_name():
        raise NotUnderstood("EXECUTE of another form")
    if len(tokens) > 2 and _word(tokens, 2) != "USING":
        return Statement(Kind.EXECUTE, effects=effects, detail="immediate")  # of a text: no prepared statement's name
    return Statement(Kind.EXECUTE, name=tokens[1].text, effects=effects)


def _deallocate(tokens: Sequence[Token], source: Source, recurse: Recurse) -> Statement:
    return Statement(Kind.DEALLOCATE, name=_last_name(tokens, 2))


def _kill(tokens: Sequence[Token], source: Source, recurse: Recurse) -> Statement:
    at = 2 if _word(tokens, 1) in ("HARD", "SOFT") else 1
    detail = "connection"
    if _word(tokens, at) in ("QUERY", "CONNECTION"):
        detail = tokens[at].word.lower()
        at += 1
        at += detail == "query" and _word(tokens, at) == "ID"
    return Statement(Kind.KILL, detail=detail, value=value_of(tokens[at:]), effects=of_tokens(tokens))


# Questions about the server


def _show(tokens: Sequence[Token], source: Source, recurse: Recurse) -> Statement:
    if _word(tokens, 1) == "TURNOUT":
        return Statement(Kind.TURNOUT, detail=_written(tokens[2:], source))
    shown = read_show(tokens)
    return Statement(Kind.SHOW, tables=shown.tables, effects=shown.effects, name=shown.name, detail=shown.detail)


def _written(tokens: Sequence[Token], source: Source) -> str:
    """The words as they were written, literals and all."""
    parts = [
        source.literals[t.hole].decode("utf-8", "replace") if t.of in (Of.NUMBER, Of.STRING) else t.text for t in tokens
    ]
    return " ".join(parts)


def _turnout(tokens: Sequence[Token], source: Source, recurse: Recurse) -> Statement:
    if _word(tokens, 1) != "EXPLAIN" or len(tokens) < 3:
        raise NotUnderstood("TURNOUT understands EXPLAIN <statement>")
    return Statement(Kind.TURNOUT, detail="explain", inner=recurse(tokens[2:], source))


_EXPLAINABLE = frozenset(["SELECT", "INSERT", "REPLACE", "UPDATE", "DELETE", "WITH", "TABLE", "VALUES"])


def _explain(tokens: Sequence[Token], source: Source, recurse: Recurse) -> Statement:
    """EXPLAIN [ANALYZE | EXTENDED | PARTITIONS | FORMAT = x] <statement>, EXPLAIN FOR CONNECTION n, DESC t [column]."""
    at = 1
    runs = tokens[0].word == "ANALYZE"
    while _word(tokens, at) in ("ANALYZE", "EXTENDED", "PARTITIONS", "FORMAT"):
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
        statement = replace(_around(inner, Kind.EXPLAIN), name="analyze" if runs else "explain")
        # A statement that is only explained locks, writes and returns nothing.
        return (
            statement if runs else replace(statement, effects=statement.effects & ~(Effect.WRITES | Effect.LOCKS_ROWS))
        )
    if _word(tokens, at) == "FOR":
        return Statement(Kind.EXPLAIN, name="explain for connection")
    if runs or at > 1:
        raise NotUnderstood("EXPLAIN of another form")
    database, name, _ = read_name(tokens, 1)
    return Statement(Kind.DESCRIBE, tables=(TableRef(0, database, name, name, 0, Access.READ),))


def _help(tokens: Sequence[Token], source: Source, recurse: Recurse) -> Statement:
    return Statement(Kind.SHOW, name="help")


# Definitions and administration


def _definition(tokens: Sequence[Token], source: Source, recurse: Recurse) -> Statement:
    if tokens[0].word == "DROP" and _word(tokens, 1) == "PREPARE":
        return _deallocate(tokens, source, recurse)
    found = read_definition(tokens, _trust(tokens))
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
    )


def _account(tokens: Sequence[Token], source: Source, recurse: Recurse) -> Statement:
    return Statement(Kind.ACCOUNT, effects=Effect.WRITES | Effect.IMPLICIT_COMMIT, name=tokens[0].word.lower())


def _lock(tokens: Sequence[Token], source: Source, recurse: Recurse) -> Statement:
    if _word(tokens, 1) not in ("TABLE", "TABLES"):
        return _admin(tokens, source, recurse)
    tables: list[TableRef] = []
    for part in split_commas(tokens[2:]):
        database, name, at = read_name(part, 0)
        at += _word(part, at) == "AS"
        alias = part[at].text if at < len(part) and part[at].is_name() and part[at].word not in _LOCKS else name
        access = Access.WRITE if any(t.word == "WRITE" for t in part[at:]) else Access.READ
        tables.append(TableRef(len(tables), database, name, alias, 0, access))
    return Statement(
        Kind.LOCK_TABLES, tables=tuple(tables), effects=Effect.SESSION_LOCK | Effect.IMPLICIT_COMMIT, name="lock tables"
    )


_LOCKS = frozenset(["READ", "WRITE", "LOW_PRIORITY"])


def _unlock(tokens: Sequence[Token], source: Source, recurse: Recurse) -> Statement:
    if _word(tokens, 1) not in ("TABLE", "TABLES"):
        return _admin(tokens, source, recurse)
    return Statement(Kind.UNLOCK_TABLES)


def _handler(tokens: Sequence[Token], source: Source, recurse: Recurse) -> Statement:
    database, name, _ = read_name(tokens, 1)
    if any(t.word == "SELECT" for t in tokens):
        raise NotUnderstood("HANDLER with a subquery")
    effects = of_tokens(tokens)
    return Statement(Kind.HANDLER, tables=(TableRef(0, database, name, name, 0, Access.READ),), effects=effects)


def _admin(tokens: Sequence[Token], source: Source, recurse: Recurse) -> Statement:
    name = " ".join(t.text.lower() for t in tokens[:2] if t.word)
    return Statement(Kind.ADMIN, effects=Effect.WRITES | Effect.IMPLICIT_COMMIT, name=name)


def _flush(tokens: Sequence[Token], source: Source, recurse: Recurse) -> Statement:
    at = 2 if _word(tokens, 1) in ("LOCAL", "NO_WRITE_TO_BINLOG") else 1
    if _word(tokens, at) not in ("TABLE", "TABLES"):
        return _admin(tokens, source, recurse)
    end = next((i for i in range(at, len(tokens)) if tokens[i].word in ("WITH", "FOR")), len(tokens))
    statement = _table_list(tokens[:end], at + 1, Access.WRITE)
    if end < len(tokens):
        statement = replace(statement, effects=statement.effects | Effect.SESSION_LOCK)
    return statement


def _maintenance(tokens: Sequence[Token], source: Source, recurse: Recurse) -> Statement:
    """ANALYZE, CHECK, CHECKSUM, OPTIMIZE and REPAIR TABLE."""
    at = 2 if _word(tokens, 1) in ("LOCAL", "NO_WRITE_TO_BINLOG") else 1
    if _word(tokens, at) not in ("TABLE", "TABLES"):
        if tokens[0].word == "ANALYZE":  # MariaDB: carries the statement out and explains it
            return _explain(tokens, source, recurse)
        return _admin(tokens, source, recurse)
    only_reads = tokens[0].word in ("CHECK", "CHECKSUM")
    return _table_list(tokens, at + 1, Access.READ if only_reads else Access.WRITE)


def _table_list(tokens: Sequence[Token], at: int, access: Access) -> Statement:
    tables: list[TableRef] = []
    for part in split_commas(tokens[at:]):
        if part:
            database, name, _ = read_name(part, 0)
            tables.append(TableRef(len(tables), database, name, name, 0, access))
    name = " ".join(t.text.lower() for t in tokens[:at] if t.word)
    effects = Effect.WRITES | Effect.IMPLICIT_COMMIT
    return Statement(Kind.ADMIN, tables=tuple(tables), effects=effects, name=name)


def _cache_index(tokens: Sequence[Token], source: Source, recurse: Recurse) -> Statement:
    end = next((i for i, t in enumerate(tokens) if t.word == "IN"), len(tokens))
    return _table_list(tokens[:end], 2, Access.WRITE)


def _diagnostics(tokens: Sequence[Token], source: Source, recurse: Recurse) -> Statement:
    effects = Effect.USES_DIAGNOSTICS | Effect.SETS_USER_VARIABLE
    return Statement(Kind.ADMIN, effects=effects, name="get diagnostics")


_Reader = Callable[[Sequence[Token], Source, Recurse], Statement]
_READERS: dict[str, _Reader] = {
    "SELECT": _select,
    "TABLE": _select,
    "VALUES": _select,
    "WITH": _with,
    "INSERT": _insert,
    "REPLACE": _insert,
    "UPDATE": _update,
    "DELETE": _delete,
    "LOAD": _load,
    "CALL": _call,
    "DO": _do,
    "SET": _set,
    "USE": _use,
    "BEGIN": _begin,
    "START": _start,
    "COMMIT": _end_of_transaction,
    "ROLLBACK": _end_of_transaction,
    "SAVEPOINT": _savepoint,
    "RELEASE": _release,
    "XA": _xa,
    "PREPARE": _prepare,
    "EXECUTE": _execute,
    "DEALLOCATE": _deallocate,
    "KILL": _kill,
    "SHOW": _show,
    "TURNOUT": _turnout,
    "EXPLAIN": _explain,
    "DESCRIBE": _explain,
    "DESC": _explain,
    "HELP": _help,
    "CREATE": _definition,
    "ALTER": _definition,
    "DROP": _definition,
    "RENAME": _definition,
    "TRUNCATE": _definition,
    "GRANT": _account,
    "REVOKE": _account,
    "LOCK": _lock,
    "UNLOCK": _unlock,
    "HANDLER": _handler,
    "FLUSH": _flush,
    "ANALYZE": _maintenance,
    "CHECK": _maintenance,
    "CHECKSUM": _maintenance,
    "OPTIMIZE": _maintenance,
    "REPAIR": _maintenance,
    "CACHE": _cache_index,
    "GET": _diagnostics,
    **dict.fromkeys(
        (
            "RESET",
            "PURGE",
            "CHANGE",
            "STOP",
            "INSTALL",
            "UNINSTALL",
            "SHUTDOWN",
            "RESTART",
            "CLONE",
            "IMPORT",
            "BINLOG",
        ),
        _admin,
    ),
}
