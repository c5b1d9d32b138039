"""The values of one statement's holes and parameters, as the planner asks for them (`ValueOf`)."""

from __future__ import annotations

from collections.abc import Sequence

from parser.rewrite import unescape
from parser.shape import Lexer
from parser.statement import Hole, Param, Value, Word
from proxy.plan.plan import KeyValue, Unknown
from proxy.wire.charsets import codec

_WORDS: dict[Word, KeyValue] = {Word.NULL: None, Word.TRUE: 1, Word.FALSE: 0}


_MAX_DIGITS = 40  # no integer column holds more; Python refuses to convert thousands of them


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
    """Values of a prepared statement: bound parameters, and literals of its text."""

    __slots__ = ("_charset", "_params", "_text")

    def __init__(self, params: list[object], literals: list[bytes], lexer: Lexer) -> None:
        self._params = params
        self._text = TextValues(literals, lexer)
        self._charset = lexer.charset

    def __call__(self, value: Value) -> KeyValue:
        if isinstance(value, Param):
            bound = self._params[value.index]
            if bound is None:
                return None
            if isinstance(bound, int):
                return bound
            if isinstance(bound, bytes):
                return _decoded(bound, self._charset)
            return Unknown.UNKNOWN
        return self._text(value)


def _decoded(data: bytes, charset: str) -> KeyValue:
    name = codec(charset)
    if name is None:
        return Unknown.UNKNOWN
    try:
        return data.decode(name)
    except UnicodeDecodeError:
        return Unknown.UNKNOWN
