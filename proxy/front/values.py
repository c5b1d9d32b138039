"""The values of one statement's holes and parameters, as the planner asks for them (`ValueOf`)."""

from __future__ import annotations

import datetime
import re
from collections.abc import Sequence
from typing import Final

from parser.rewrite import unescape
from parser.shape import Lexer
from parser.statement import Hole, Param, Value, Word
from proxy.plan.plan import KeyValue, Unknown, WholeDouble
from proxy.wire import column
from proxy.wire.charsets import codec

_WORDS: dict[Word, KeyValue] = {Word.NULL: None, Word.TRUE: 1, Word.FALSE: 0}


_INTEGER: Final = re.compile(rb"0|-?[1-9][0-9]{0,39}")
_STRINGS: Final = frozenset({column.VARCHAR, column.VAR_STRING, column.STRING, column.ENUM, column.SET})
_DECIMALS: Final = frozenset({column.DECIMAL, column.NEWDECIMAL})
_BYTES: Final = frozenset({column.TINY_BLOB, column.BLOB, column.MEDIUM_BLOB, column.LONG_BLOB, column.JSON})
_EXACT_IN_DOUBLES: Final = 1 << 53  # no other whole number, and none of a column, is the same double
_MAX_DIGITS: Final = 40  # no integer column holds more; Python refuses to convert thousands of them


class TextValues:
    """Values of a text statement: literals as the client wrote them."""

    __slots__ = ("_lexer", "_literals")

    def __init__(self, literals: Sequence[bytes], lexer: Lexer) -> None:
        self._literals = literals
        self._lexer = lexer

    def __call__(self, value: Value) -> KeyValue:
        if type(value) is Hole:  # quicker than isinstance
            raw = self._literals[value.index]
            if not value.is_string:
                if raw.isdigit() and len(raw) <= _MAX_DIGITS:
                    return -int(raw) if value.negative else int(raw)
                return Unknown.UNKNOWN
            if value.negative:
                return Unknown.UNKNOWN
            return _decoded(unescape(raw, self._lexer, b'"' if value.double_quoted else b"'"), self._lexer.charset)
        if isinstance(value, Word):
            return _WORDS.get(value, Unknown.UNKNOWN)
        return Unknown.UNKNOWN


class BoundValues:
    """Values of a prepared statement: bound parameters, and literals of its text. `charset`: the client's when it is
    executed, of which its strings are then."""

    __slots__ = ("_charset", "_params", "_text", "_types")

    def __init__(
        self, params: Sequence[object], types: bytes, literals: Sequence[bytes], lexer: Lexer, charset: str
    ) -> None:
        self._params = params
        self._types = types  # two bytes a parameter
        self._text = TextValues(literals, lexer)
        self._charset = charset

    def __call__(self, value: Value) -> KeyValue:
        if isinstance(value, Param):
            bound = self._params[value.index]
            if bound is None:
                return None
            if isinstance(bound, int):
                return bound
            if isinstance(bound, bytes):
                kind = self._types[2 * value.index]
                return _decoded(bound, self._charset) if kind in _STRINGS else _other(bound, kind)
            if isinstance(bound, float) and bound.is_integer() and abs(bound) < _EXACT_IN_DOUBLES:
                return WholeDouble(bound)
            return Unknown.UNKNOWN
        return self._text(value)


def _other(text: bytes, kind: int) -> KeyValue:
    """The value of a parameter that is no string. What it equals in a column of strings is not what its text does."""
    if kind in _DECIMALS:
        return int(text) if _INTEGER.fullmatch(text) else Unknown.UNKNOWN
    if kind in _BYTES and text.isascii():  # of no character set
        return text.decode()
    try:
        if kind == column.DATE:
            return datetime.date.fromisoformat(text.decode())
        if kind in (column.DATETIME, column.TIMESTAMP):
            return datetime.datetime.fromisoformat(text.decode())
    except ValueError:
        pass  # 0000-00-00, 2024-02-31
    return Unknown.UNKNOWN


def _decoded(data: bytes, charset: str) -> KeyValue:
    name = codec(charset)
    if name is None:
        return Unknown.UNKNOWN
    try:
        return data.decode(name)
    except UnicodeDecodeError:
        return Unknown.UNKNOWN
