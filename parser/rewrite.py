"""Pieces of a statement's own bytes, put together anew. Text is spliced, never regenerated."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from parser.shape import HOLE, Lexer
from parser.statement import Statement

_ESCAPES = {
    ord("0"): b"\0",
    ord("b"): b"\b",
    ord("n"): b"\n",
    ord("r"): b"\r",
    ord("t"): b"\t",
    ord("Z"): b"\x1a",
}
_ESCAPE = re.compile(rb"\\(.)", re.DOTALL)
_LEADS = {
    "gbk": rb"[\x81-\xfe][\x40-\x7e\x80-\xfe]",
    "big5": rb"[\xa1-\xf9][\x40-\x7e\xa1-\xfe]",
    "sjis": rb"[\x81-\x9f\xe0-\xfc][\x40-\x7e\x80-\xfc]",
    "cp932": rb"[\x81-\x9f\xe0-\xfc][\x40-\x7e\x80-\xfc]",
    "gb18030": rb"[\x81-\xfe](?:[0-9][\x81-\xfe][0-9]|[\x40-\x7e\x80-\xfe])",
}
_WHOLE_OR_ESCAPE = {
    charset: re.compile(rb"(" + pattern + rb")|\\(.)|(''|\"\")", re.DOTALL) for charset, pattern in _LEADS.items()
}
_WHOLE_OR_DOUBLED = {  # the same where a backslash is a character like others: group 2 is never there
    charset: re.compile(rb"(" + pattern + rb")|((?!))|(''|\"\")", re.DOTALL) for charset, pattern in _LEADS.items()
}


def quoted(*names: str) -> str:
    """A name, or several with dots between them, as an identifier that every sql_mode reads."""
    return ".".join(f"`{name.replace('`', '``')}`" for name in names)


def literal(value: bytes, lexer: Lexer) -> bytes | None:
    """A string literal with this value, in the client's charset; None where that cannot be written for certain."""
    if lexer.charset in _LEADS and not value.isascii():
        return None
    if not lexer.no_backslash_escapes:
        value = value.replace(b"\\", b"\\\\")
    return b"'" + value.replace(b"'", b"''") + b"'"


def unescape(content: bytes, lexer: Lexer, quote: bytes = b"'") -> bytes:
    """The value of a string literal, in the client's charset, given what stands between its quotes.

    `quote` is the quote that it stands in: doubled, it means itself. `\\%` and `\\_` stay as they are, as in MySQL
    (sql/sql_lex.cc, get_text).
    """
    backslashes = not lexer.no_backslash_escapes
    if quote not in content and not (backslashes and b"\\" in content):
        return content
    whole = (_WHOLE_OR_ESCAPE if backslashes else _WHOLE_OR_DOUBLED).get(lexer.charset)
    if whole is None:
        if not backslashes:
            return content.replace(quote * 2, quote)
        return re.sub(rb"\\(.)|(" + quote * 2 + rb")", lambda m: _unescaped(m[1], m[2]), content, flags=re.DOTALL)

    def one(m: re.Match[bytes]) -> bytes:
        if m[1]:
            return m[1]
        if m[2] is not None:
            return _unescaped(m[2], None)
        return quote if m[3] == quote * 2 else m[0]

    return whole.sub(one, content)


def _unescaped(escaped: bytes | None, doubled: bytes | None) -> bytes:
    if escaped is None:
        assert doubled is not None
        return doubled[:1]
    if escaped in (b"%", b"_"):
        return b"\\" + escaped
    return _ESCAPES.get(escaped[0], escaped)


def splice(shape: bytes, literals: Sequence[bytes], spans: Iterable[tuple[int, int]]) -> list[bytes]:
    """The original bytes of ascending, disjoint spans [start, end) of the shape, each with its literals."""
    pieces: list[bytes] = []
    at = hole = 0
    for start, end in spans:
        if start < at:
            raise ValueError("spans must ascend and not overlap")
        hole += shape.count(HOLE, at, start)
        texts = shape[start:end].split(HOLE)
        count = len(texts) - 1
        if count:
            parts = [b""] * (2 * count + 1)
            parts[::2] = texts
            parts[1::2] = literals[hole : hole + count]
            pieces.append(b"".join(parts))
            hole += count
        else:
            pieces.append(texts[0])
        at = end
    return pieces


def insert_parts(statement: Statement, shape: bytes, literals: Sequence[bytes]) -> tuple[bytes, list[bytes], bytes]:
    """An INSERT .. VALUES as (text before the first row, each row's "(..)", text behind the last), for splitting it.

    What stands between rows (commas, white space, comments) is in none of them. Raises ValueError for an INSERT
    without such rows.
    """
    insert = statement.insert
    if insert is None or not insert.row_spans:
        raise ValueError("not an INSERT of rows")
    first, last = insert.row_spans[0][0], insert.row_spans[-1][1]
    pieces = splice(shape, literals, [(0, first), *insert.row_spans, (last, len(shape))])
    return pieces[0], pieces[1:-1], pieces[-1]


@dataclass(frozen=True, slots=True)
class Number:
    """A `?` that the statement does not have, and the number that is to be bound to it."""

    value: int


Text = bytes | tuple[int, int]  # new text, or a span [start, end) of the shape with its literals
Piece = Text | Number


def edit(shape: bytes, literals: Sequence[bytes], edits: Iterable[tuple[tuple[int, int], Sequence[Piece]]]) -> bytes:
    """The statement with some spans replaced. Spans ascend and do not overlap; an empty one inserts.

    Raises ValueError for spans that do not.
    """
    kept: list[tuple[int, int]] = []
    added: list[bytes] = []
    at = 0
    for (start, end), pieces in edits:
        kept.append((at, start))
        added.append(b"".join([_text(piece, shape, literals) for piece in pieces]))
        at = end
    kept.append((at, len(shape)))
    texts = _spliced(shape, literals, kept)
    return b"".join(text for pair in zip(texts, [*added, b""]) for text in pair)


def _text(piece: Piece, shape: bytes, literals: Sequence[bytes]) -> bytes:
    if isinstance(piece, bytes):
        return piece
    return b"?" if isinstance(piece, Number) else splice(shape, literals, (piece,))[0]


def _spliced(shape: bytes, literals: Sequence[bytes], spans: Sequence[tuple[int, int]]) -> list[bytes]:
    if any(end < start for start, end in spans):
        raise ValueError("spans must ascend and not overlap")
    return splice(shape, literals, spans)


def assemble(shape: bytes, literals: Sequence[bytes], pieces: Iterable[Text]) -> bytes:
    """New text and spans of the shape with their literals, in any order."""
    return b"".join(p if isinstance(p, bytes) else splice(shape, literals, (p,))[0] for p in pieces)
