"""The rows of `VALUES (..), (..)`: their values, and where they stand in the shape.

A statement with thousands of rows has few kinds of them. Rows that read the same are counted, one of each kind is
kept, and sqlglot sees only those kept.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import repeat

from parser.atomic import atomic
from parser.statement import Hole, Opaque, Param, Value, Word
from parser.tokens import Of, Token, Tokens, read

_WORDS = {"NULL": Word.NULL, "DEFAULT": Word.DEFAULT, "TRUE": Word.TRUE, "FALSE": Word.FALSE}
_OPAQUE = Opaque()

_KEPT = 100_000  # values made once and kept, because making them costs more than all else that is done with them
_numbers: list[Value] = []
_strings: list[Value] = []
_params: list[Value] = []


def _number(index: int) -> Value:
    return Hole(index, False)


def _string(index: int) -> Value:
    return Hole(index, True)


def _values(make: Callable[[int], Value], kept: list[Value], first: int, step: int, count: int) -> Sequence[Value]:
    """`make` of first, first + step, ..; `count` of them."""
    end = first + step * count
    kept.extend(make(index) for index in range(len(kept), min(end, _KEPT)))
    found = kept[first:end:step]
    found.extend(make(index) for index in range(first + step * len(found), end, step))
    return found


@dataclass(frozen=True, slots=True)
class Rows:
    values: tuple[tuple[Value, ...], ...]
    spans: tuple[tuple[int, int], ...]  # in the shape's text
    end: int  # offset behind the last row


def value_of(tokens: Sequence[Token]) -> Value:
    """The value that one or two tokens stand for; Opaque for all else."""
    if len(tokens) == 1:
        t = tokens[0]
        if t.of is Of.NUMBER:
            return Hole(t.hole, False)
        if t.of is Of.STRING and len(t.text) == 1:
            return Hole(t.hole, True, double_quoted=t.text == '"')
        if t.of is Of.PARAM:
            return Param(t.hole)
        return _WORDS.get(t.word, _OPAQUE)
    if len(tokens) == 2 and tokens[1].of is Of.NUMBER:
        if tokens[0].mark == "-":
            return Hole(tokens[1].hole, False, True)
        if tokens[0].mark == "+":
            return Hole(tokens[1].hole, False)
    return _OPAQUE


def split_commas(tokens: Sequence[Token]) -> list[Sequence[Token]]:
    """The parts between commas outside of parentheses."""
    parts: list[Sequence[Token]] = []
    depth = begin = 0
    for i, t in enumerate(tokens):
        mark = t.mark
        if mark:
            if mark == "(":
                depth += 1
            elif mark == ")":
                depth -= 1
            elif mark == "," and depth == 0:
                parts.append(tokens[begin:i])
                begin = i + 1
    parts.append(tokens[begin:])
    return parts


def closing(tokens: Sequence[Token], opening: int) -> int | None:
    """The index of the parenthesis that closes the one at `opening`."""
    depth = 0
    for i in range(opening, len(tokens)):
        mark = tokens[i].mark
        if mark:
            if mark == "(":
                depth += 1
            elif mark == ")":
                depth -= 1
                if depth == 0:
                    return i
    return None


def row_values(tokens: Sequence[Token]) -> tuple[Value, ...]:
    """The values of a row, given what is inside its parentheses."""
    return tuple(value_of(part) for part in split_commas(tokens)) if tokens else ()


def rows_of_tokens(tokens: Sequence[Token], first: int) -> Rows | None:
    """The rows that begin at token `first`, a "(". None when they do not end as they should."""
    values: list[tuple[Value, ...]] = []
    spans: list[tuple[int, int]] = []
    at = first
    while True:
        if at >= len(tokens) or not tokens[at].is_mark("("):
            return None
        end = closing(tokens, at)
        if end is None:
            return None
        values.append(row_values(tokens[at + 1 : end]))
        spans.append((tokens[at].start, tokens[end].end))
        if end + 1 < len(tokens) and tokens[end + 1].is_mark(","):
            at = end + 2
            if at < len(tokens) and tokens[at].word == "ROW":
                at += 1
        else:
            return Rows(tuple(values), tuple(spans), tokens[end].end)


_MOST_RUNS = 200_000  # of equal rows: what takes about a second
_BULK = 2000  # characters; shorter shapes are read token by token
_HEAD = re.compile(
    r"\s*(?:/\*\0\*/\s*)*(?:INSERT|REPLACE)\b(?:[^()'\"/#;\0-]|\([^()'\"/#;\0-]*\))*?\bVALUES?\s*(?=\()", re.IGNORECASE
)
_ROW = re.compile(
    atomic(r"\((?:[^()'\"`/#\0@;-]|'\0'|\"\0\"|-?\0|[A-Za-z_]+\(\))*+\)")
)  # no comment, no name, nothing nested
_UNCLOSED = ("`", '"')
_NEXT = re.compile(r"\s*,\s*")


@dataclass(frozen=True, slots=True)
class Bulk:
    """A long INSERT: its rows, and the tokens of everything with one row of each kind."""

    tokens: Tokens
    rows: Rows


def bulk(text: str, ansi_quotes: bool) -> Bulk | None:
    """A long INSERT of plain rows, read without making tokens of them all; None for every other statement."""
    if len(text) < _BULK:
        return None
    head = _HEAD.match(text)
    if head is None:
        return None
    before = read(text, ansi_quotes, 0, head.end())
    if before.doubt or any(t.text in _UNCLOSED or t.word == "SELECT" for t in before.tokens):
        return None
    tokens = before.tokens
    holes, params = before.holes, before.params
    values: list[tuple[Value, ...]] = []
    spans: list[tuple[int, int]] = []
    kinds: dict[str, tuple[tuple[Value, ...], int, int]] = {}
    at = head.end()
    for _ in range(_MOST_RUNS):
        row = _ROW.match(text, at)
        if row is None:
            return None
        kept = kinds.get(row.group())
        if kept is None:
            inside = read(text, ansi_quotes, at, row.end())
            if inside.doubt or inside.hints or len(kinds) > 1000:
                return None
            kinds[row.group()] = kept = (row_values(inside.tokens[1:-1]), inside.holes, inside.params)
            if len(kinds) > 1:
                tokens.append(Token.made(Of.MARK, ","))
            for t in inside.tokens:
                shift = params if t.of is Of.PARAM else holes
                tokens.append(t._replace(hole=t.hole + shift) if t.hole >= 0 else t)
        template, row_holes, row_params = kept
        comma = _NEXT.match(text, row.end())
        stride = (comma.end() if comma else row.end()) - at
        count = _count(text, at, stride, row.end() - at) if comma else 1
        values.extend(_repeated(template, count, holes, row_holes, params, row_params))
        starts = range(at, at + stride * count, stride)
        spans.extend(zip(starts, range(row.end(), row.end() + stride * count, stride)))
        holes += row_holes * count
        params += row_params * count
        end = spans[-1][1]
        comma = _NEXT.match(text, end)
        if comma is None:
            break
        at = comma.end()
    else:
        return None
    after = read(text, ansi_quotes, end, None, holes, params)
    whole = Tokens(tokens + after.tokens, before.hints + after.hints, after.holes, after.params, after.doubt)
    return Bulk(whole, Rows(tuple(values), tuple(spans), end))


def _count(text: str, at: int, stride: int, length: int) -> int:
    """How many times the row at `at` (with the comma behind it, `stride` characters) stands there in a row."""
    unit = text[at : at + stride]
    run = re.compile("(?>(?:" + re.escape(unit) + ")*)").match(text, at)
    assert run is not None
    count = (run.end() - at) // stride
    return count + 1 if text.startswith(unit[:length], run.end()) else count


def _repeated(
    template: tuple[Value, ...], count: int, holes: int, row_holes: int, params: int, row_params: int
) -> list[tuple[Value, ...]]:
    columns: list[Sequence[Value] | repeat[Value]] = []
    for value in template:
        if isinstance(value, Hole):
            first = holes + value.index
            if value.negative or value.double_quoted:
                columns.append([replace(value, index=first + row_holes * k) for k in range(count)])
            elif value.is_string:
                columns.append(_values(_string, _strings, first, row_holes, count))
            else:
                columns.append(_values(_number, _numbers, first, row_holes, count))
        elif isinstance(value, Param):
            columns.append(_values(Param, _params, params + value.index, row_params, count))
        else:
            columns.append(repeat(value, count))
    return list(zip(*columns)) if columns else [()] * count
