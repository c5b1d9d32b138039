"""An INSERT's own bytes with the values of one column put in: over those that it gives, or as one more column."""

from __future__ import annotations

import bisect
from collections.abc import Sequence

from parser.params import param_places
from parser.rewrite import Piece, edit, splice
from parser.rows import split_commas
from parser.shape import Lexer
from parser.statement import Insert, Statement
from parser.tokens import decode, read, to_bytes_offsets

_Edit = tuple[tuple[int, int], Sequence[Piece]]


def fill(
    statement: Statement,
    shape: bytes,
    literals: Sequence[bytes],
    column: bytes,
    position: int | None,
    values: Sequence[bytes | None],
) -> bytes:
    """The INSERT with `values` (SQL text, one for each row; None: the row keeps its own) in a column.

    `position` is the column's place among the INSERT's, None where it is not among them: then `column` (its name as it
    is to be written) becomes the last one, and every row has to get a value. Raises ValueError for an INSERT .. SELECT.
    """
    insert, lexer = _rows_of(statement)
    edits = _head(insert, column, position)
    if insert.set_syntax:
        edits += _assignment(insert, column, position, values[0])
    else:
        edits += [each for each in _in_rows(insert, shape, lexer, position, values) if each is not None]
    return edit(shape, literals, edits)


def fill_parts(
    statement: Statement,
    shape: bytes,
    literals: Sequence[bytes],
    column: bytes,
    position: int | None,
    values: Sequence[bytes | None],
) -> tuple[bytes, list[bytes], bytes]:
    """The same as (text before the first row, each row's "(..)", text behind the last), for splitting it."""
    insert, lexer = _rows_of(statement)
    if not insert.row_spans:
        raise ValueError("not an INSERT of rows")
    first, last = insert.row_spans[0][0], insert.row_spans[-1][1]
    before = edit(shape[:first], literals, _head(insert, column, position))
    edits = _in_rows(insert, shape, lexer, position, values)
    spans: list[tuple[int, int]] = []
    for (start, end), change in zip(insert.row_spans, edits):
        spans += [(start, end)] if change is None else [(start, change[0][0]), (change[0][1], end)]
    kept = iter(splice(shape, literals, [*spans, (last, len(shape))]))
    rows = []
    for change in edits:
        row = next(kept)
        if change is not None:
            row += b"".join(piece for piece in change[1] if isinstance(piece, bytes)) + next(kept)
        rows.append(row)
    return before, rows, next(kept)


def params_before(statement: Statement, shape: bytes, position: int | None, chosen: Sequence[bool]) -> list[int]:
    """How many `?` stand before the place of each chosen row's value (see `fill`) in the INSERT as it is."""
    insert, lexer = _rows_of(statement)
    values = [b"?" if each else None for each in chosen]
    if insert.set_syntax:
        places = [span[0] for span, _ in _assignment(insert, b"", position, values[0])]
    else:
        places = [change[0][0] for change in _in_rows(insert, shape, lexer, position, values) if change is not None]
    params = param_places(shape, lexer)
    return [bisect.bisect_left(params, place) for place in places]


def _rows_of(statement: Statement) -> tuple[Insert, Lexer]:
    if statement.insert is None or statement.insert.from_select or statement.lexer is None:
        raise ValueError("not an INSERT of rows")
    return statement.insert, statement.lexer


def _head(insert: Insert, column: bytes, position: int | None) -> list[_Edit]:
    """The column's name in the list of columns."""
    if position is not None or insert.set_syntax:
        return []
    at = (insert.columns_end, insert.columns_end)
    if not insert.listed:
        return [(at, [b"(", column, b") "])]
    return [(at, [b", " if insert.columns else b"", column])]


def _assignment(insert: Insert, column: bytes, position: int | None, value: bytes | None) -> list[_Edit]:
    if value is None:
        return []
    if position is not None:
        return [(insert.set_spans[position], [value])]
    return [((insert.columns_end, insert.columns_end), [b", ", column, b" = ", value])]


def _in_rows(
    insert: Insert, shape: bytes, lexer: Lexer, position: int | None, values: Sequence[bytes | None]
) -> list[_Edit | None]:
    kinds: dict[bytes, tuple[int, int]] = {}  # where the value stands in rows that read the same
    edits: list[_Edit | None] = []
    for (start, end), row, value in zip(insert.row_spans, insert.rows, values, strict=True):
        if value is None:
            edits.append(None)
        elif position is None:
            edits.append(((end - 1, end - 1), [b", " if row else b"", value]))
        elif not row:  # VALUES () beside a list of columns: all defaults
            raise ValueError("a row without values")
        else:
            text = shape[start:end]
            place = kinds.get(text)
            if place is None:
                place = kinds[text] = _place(text, lexer, position)
            edits.append(((start + place[0], start + place[1]), [value]))
    return edits


def _place(row: bytes, lexer: Lexer, position: int) -> tuple[int, int]:
    """Where value number `position` of a "(..)" stands in its bytes."""
    text = decode(row, lexer)
    if text is None:
        raise ValueError("text that cannot be read")
    offset = to_bytes_offsets(text, row, lexer)
    value = split_commas(read(text, lexer.ansi_quotes).tokens[1:-1])[position]
    return offset(value[0].start), offset(value[-1].end)
