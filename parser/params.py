"""Where the `?` of a prepared statement stand, and what is bound to those of a text made of its pieces."""

from __future__ import annotations

import bisect
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

from parser.rewrite import Number, Piece
from parser.shape import Lexer
from parser.tokens import Of, decode, read, to_bytes_offsets

Bindings = tuple[int | Number, ...]  # for each `?` in order: the number of the statement's own, or a number to bind
_LONGEST_KEPT = 16 * 1024
_AROUND = (b"`", b'"', b"/*", b"@")  # what begins something in which a `?` means nothing, in a shape
_PARAM = re.compile(rb"\?")


def param_places(shape: bytes, lexer: Lexer) -> tuple[int, ...]:
    """The offsets of the `?` in a shape, ascending."""
    if b"?" not in shape:
        return ()
    return _kept_places(shape, lexer) if len(shape) <= _LONGEST_KEPT else _places(shape, lexer)


def _places(shape: bytes, lexer: Lexer) -> tuple[int, ...]:
    if not any(mark in shape for mark in _AROUND):
        return tuple(found.start() for found in _PARAM.finditer(shape))
    text = decode(shape, lexer)
    if text is None:
        raise ValueError("text that cannot be read")
    offset = to_bytes_offsets(text, shape, lexer)
    return tuple(offset(token.start) for token in read(text, lexer.ansi_quotes).tokens if token.of is Of.PARAM)


_kept_places = lru_cache(maxsize=1024)(_places)


def bindings(places: Sequence[int], edits: Iterable[tuple[tuple[int, int], Sequence[Piece]]]) -> Bindings:
    """What is bound to each `?` of `parser.rewrite.edit`'s text, given the places in the shape."""
    found: list[int | Number] = []
    at = 0
    for (start, end), pieces in edits:
        found += within(places, at, start)
        for piece in pieces:
            if isinstance(piece, Number):
                found.append(piece)
            elif isinstance(piece, tuple):
                found += within(places, *piece)
        at = end
    found += range(bisect.bisect_left(places, at), len(places))
    return tuple(found)


def within(places: Sequence[int], start: int, end: int) -> range:
    """The numbers of the `?` in the span [start, end)."""
    return range(bisect.bisect_left(places, start), bisect.bisect_left(places, end))
