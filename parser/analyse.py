"""Shape -> Statement: the way in to the parser, taken once per shape.

What a statement means must not depend on the contents of its literals, because the result is kept for all statements
of the shape; `literals` are used for `SHOW TURNOUT` alone, whose words are not SQL.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from parser import classify
from parser import tokens as tk
from parser.digest import digest
from parser.effects import of_tokens
from parser.hints import read_hints
from parser.rows import bulk
from parser.shape import Lexer, is_opaque
from parser.source import Source
from parser.split import split_statements
from parser.statement import Effect, Kind, Statement
from parser.tokens import Token, Tokens
from parser.tree import NotUnderstood

_LONGEST = 1_000_000  # characters of a shape, but for INSERTs of plain rows: what takes about a second


def parse(
    shape: bytes,
    literals: list[bytes],
    *,
    lexer: Lexer,
    prepared: bool = False,
    merged: Collection[str] | None = None,
) -> Statement:
    """The meaning of a statement. Never raises: what is not understood has Kind.UNKNOWN, `words` and `error`.

    `merged`: names (in lower case, also as `database.name`) of the tables whose rows may have to be merged from several
    servers; only SELECTs from them get an outline, which takes a while to read. None: all do."""
    if is_opaque(shape):
        sql = lexer.restore(shape, [])
        return _unread(tk.words_of_text(sql, lexer), "an unterminated string or comment, or text that is not certain")
    text = tk.decode(shape, lexer)
    if text is None:
        return _unread(tk.words_of_text(shape, lexer), f"the text is not valid {lexer.charset}")
    offset = tk.to_bytes_offsets(text, shape, lexer)
    long = bulk(text, lexer.ansi_quotes)
    if long is None and len(text) > _LONGEST:
        return _unread(tk.words_of_text(shape, lexer), "the statement is too long to be read")
    read = long.tokens if long is not None else tk.read(text, lexer.ansi_quotes)
    statement = _statement(read, Source(text, literals, offset, long.rows if long is not None else None, merged))
    read_again = statement.inner or statement
    changes = statement.insert is not None or statement.change is not None
    if changes or read_again.names or read_again.outline is not None or read_again.defined or statement.load:
        _complete(statement, lexer=lexer)
    statement = _with_shape(statement, shape)
    if statement.kind is Kind.TURNOUT and statement.inner is not None:
        statement = replace(statement, inner=replace(_with_shape(statement.inner, shape), lexer=lexer))
    hint = read_hints(read.hints)
    if hint is not None:
        _complete(statement, hint=hint)
    return statement


def _complete(statement: Statement, **fields: object) -> None:
    """Sets fields of a statement that nobody has seen yet. `replace` would copy its thirty others, for 15 us."""
    for name, value in fields.items():
        object.__setattr__(statement, name, value)


def shape_digest(shape: bytes, lexer: Lexer) -> str:
    """`parse(..).digest`, without reading what the statement means: "" where that cannot be taken apart."""
    text = None if is_opaque(shape) else tk.decode(shape, lexer)
    if text is None:
        return ""
    long = bulk(text, lexer.ansi_quotes)
    if long is None and len(text) > _LONGEST:
        return ""
    tokens = (long.tokens if long is not None else tk.read(text, lexer.ansi_quotes)).tokens
    try:
        parts = [part for part in split_statements(tokens) if part]
    except NotUnderstood:
        parts = []
    return digest(parts[0] if len(parts) == 1 else tokens)


def _with_shape(statement: Statement, shape: bytes) -> Statement:
    change, insert = statement.change, statement.insert
    if change is not None:
        statement = replace(statement, change=replace(change, shape=shape))
    if insert is not None and insert.from_select:
        statement = replace(statement, insert=replace(insert, shape=shape))
    if statement.aggregating:
        found = (replace(each, text=shape[each.span[0] : each.span[1]]) for each in statement.aggregating)
        statement = replace(statement, aggregating=tuple(found))
    return statement


def _unread(words: frozenset[str], error: str) -> Statement:
    return Statement(Kind.UNKNOWN, words=words, error=error)


def _statement(read: Tokens, source: Source) -> Statement:
    tokens = read.tokens
    try:
        parts = split_statements(tokens)
    except NotUnderstood as error:
        return _unknown(tokens, str(error))
    begins_empty = not parts[0]
    parts = [part for part in parts if part]
    if not parts and not read.doubt:
        return Statement(Kind.EMPTY)
    if len(parts) > 1 or (parts and begins_empty):  # to a server, `; COMMIT` has a statement before COMMIT, a wrong one
        return Statement(Kind.MULTI, effects=of_tokens(tokens), words=tk.words(tokens), digest=digest(tokens))
    if read.doubt or not parts:
        return _unknown(tokens, read.doubt)
    return one_statement(parts[0], source)


def one_statement(tokens: Sequence[Token], source: Source) -> Statement:
    """The meaning of one statement without semicolon."""
    try:
        statement = classify.read_statement(tokens, source, one_statement)
        _complete(statement, digest=digest(tokens))
        return statement
    except NotUnderstood as error:
        return _unknown(tokens, str(error))
    except RecursionError:
        return _unknown(tokens, "nested too deeply")


def _unknown(tokens: Sequence[Token], error: str) -> Statement:
    return Statement(
        Kind.UNKNOWN,
        effects=of_tokens(tokens) | Effect.WRITES,
        words=tk.words(tokens),
        digest=digest(tokens),
        error=error,
    )
