"""Where one statement ends and the next begins."""

from __future__ import annotations

from collections.abc import Sequence

from parser import tokens as tk
from parser.definitions import is_routine
from parser.rows import closing, split_commas
from parser.shape import HOLE, Lexer, is_opaque
from parser.tokens import Token
from parser.tree import NotUnderstood

_BEGINS_STATEMENT = frozenset(["BEGIN", "THEN", "ELSE", "DO", "LOOP", "REPEAT"])
_CLOSED_BY_END = frozenset(["IF", "CASE", "LOOP", "WHILE", "REPEAT", "FOR"])


def split_statements(tokens: Sequence[Token]) -> list[Sequence[Token]]:
    """The tokens of each statement, without semicolons; empty ones are kept. Raises NotUnderstood."""
    parts: list[Sequence[Token]] = []
    begin = 0
    while True:
        end = _end(tokens, begin)
        parts.append(tokens[begin:end])
        if end >= len(tokens):
            return parts
        begin = end + 1


def statement_ends(sql: bytes, lexer: Lexer) -> list[int]:
    """Where in `sql` the semicolons between its statements are, as a lexer of these settings sees them; none where
    that cannot be told."""
    shape, literals = lexer.shape(sql)
    text = None if is_opaque(shape) else tk.decode(shape, lexer)
    if text is None:
        return []
    read = tk.read(text, lexer.ansi_quotes)
    if read.doubt:
        return []
    try:
        parts = split_statements(read.tokens)
    except NotUnderstood:
        return []
    offset = tk.to_bytes_offsets(text, shape, lexer)
    ends: list[int] = []
    at = places = holes = shift = 0
    for part in parts[:-1]:
        at += len(part)
        place = offset(read.tokens[at].start)
        at += 1
        before, holes = holes, holes + shape.count(HOLE, places, place)
        places = place
        shift += sum(map(len, literals[before:holes])) - (holes - before)
        ends.append(place + shift)
    return ends


def _end(tokens: Sequence[Token], begin: int) -> int:
    rest = tokens[begin : begin + 20]
    if _is_compound(tokens, begin) or is_routine(rest):
        return _end_of_routine(tokens, begin)
    for i in range(begin, len(tokens)):
        if tokens[i].mark == ";":
            return i
    return len(tokens)


def _is_compound(tokens: Sequence[Token], begin: int) -> bool:
    """MariaDB takes these outside of stored routines, too: BEGIN NOT ATOMIC, IF, CASE, LOOP, WHILE, REPEAT, FOR; the
    loops with a label, too."""
    if begin + 2 < len(tokens) and tokens[begin + 1].is_mark(":"):
        begin += 2
    words = [t.word for t in tokens[begin : begin + 3]]
    return words == ["BEGIN", "NOT", "ATOMIC"] or (words[:1] != [] and words[0] in _CLOSED_BY_END)


def _is_function(tokens: Sequence[Token], i: int) -> bool:
    """IF(a, b, c) or REPEAT('x', 3), as opposed to IF (a) THEN."""
    end = closing(tokens, i + 1) if i + 1 < len(tokens) and tokens[i + 1].is_mark("(") else None
    return end is not None and len(split_commas(tokens[i + 2 : end])) > 1


def _end_of_routine(tokens: Sequence[Token], begin: int) -> int:
    """The semicolon behind a stored routine: the first that is in none of its blocks."""
    depth = 0
    starts = _is_compound(tokens, begin)  # does a statement of the body start here?
    i = begin
    while i < len(tokens):
        t = tokens[i]
        word = t.word
        if t.is_mark(";"):
            if depth == 0:
                return i
            starts = True
        elif t.is_mark(":"):
            starts = True  # a label
        elif word == "END":
            depth -= 1
            if depth < 0:
                raise NotUnderstood("END without BEGIN")
            if i + 1 < len(tokens) and tokens[i + 1].word in _CLOSED_BY_END:
                i += 1
            starts = False
        elif word == "BEGIN" or word == "CASE":
            depth += 1
            starts = word == "BEGIN"
        elif starts and word in _CLOSED_BY_END and not _is_function(tokens, i):
            depth += 1
            starts = word in ("LOOP", "REPEAT")
        elif word == "LOOP" and depth and i and tokens[i - 1].word not in ("END", ""):
            starts = True  # FOR .. LOOP
        elif word == "DO" and i + 1 < len(tokens) and not starts and depth == 0 and tokens[i + 1].word != "":
            starts = True  # CREATE EVENT .. DO
        else:
            starts = word in _BEGINS_STATEMENT or (starts and i + 1 < len(tokens) and tokens[i + 1].is_mark(":"))
        i += 1
    if depth:
        raise NotUnderstood("BEGIN without END")
    return len(tokens)
