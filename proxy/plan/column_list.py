"""The list of columns that an INSERT without one is sent with.

Where its rows go was decided by the definition that Turnout knows. On a server whose table has been altered since, its
values must not land in other columns: a row could be on a wrong shard then, or differ from its copies.
"""

from __future__ import annotations

from collections.abc import Iterable

from parser.params import param_places
from parser.rewrite import edit, quoted, splice
from parser.shape import Lexer
from parser.statement import Insert, Statement
from proxy.back.catalog import TableSchema
from proxy.plan.insert_values import insert_columns
from proxy.plan.plan import Send
from proxy.wire.charsets import codec


def column_list(insert: Insert, schema: TableSchema, lexer: Lexer | None) -> bytes:
    """`(a, b) `; empty for an INSERT that needs none, or whose character set cannot write it."""
    if insert.columns is not None or insert.set_syntax or not insert.columns_end or lexer is None:
        return b""
    if not insert.from_select and not all(insert.rows):  # `VALUES ()` is a row of defaults
        return b""
    try:
        names = ", ".join(quoted(name) for name in insert_columns(insert, schema))
        text = names.encode("ascii" if names.isascii() else codec(lexer.charset) or "ascii")
        return text if insert.listed else b"(" + text + b") "  # listed: the list is there, and empty
    except UnicodeError:
        return b""


def listed(statement: Statement, text: bytes, sends: Iterable[Send], columns: bytes) -> tuple[Send, ...]:
    """The same with the list in each text. They begin as the client's does, up to where the list belongs."""
    lexer, insert = statement.lexer, statement.insert
    assert lexer is not None
    assert insert is not None
    shape, literals = lexer.shape(text)
    at = insert.columns_end
    whole = edit(shape, literals, [((at, at), [columns])])
    before = len(splice(shape, literals, [(0, at)])[0])
    params = tuple(range(len(param_places(shape, lexer))))
    return tuple(
        Send(send.cluster, whole, params)
        if send.text is None
        else Send(send.cluster, send.text[:before] + columns + send.text[before:], send.params)
        for send in sends
    )
