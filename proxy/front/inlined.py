"""A prepared statement with its values in the text, run as if the client had sent that: for SQL-level EXECUTE, and for
statements whose parts Turnout makes itself (`proxy.plan.key_list`, `proxy.plan.insert_select`).

A value is written as a literal of its own type, which means there what it means where it is bound. What has no such
literal is refused, and so are the few places in which a literal would mean something else than a parameter.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from parser.rewrite import edit, literal
from parser.shape import Lexer
from parser.tokens import Of, Token, decode, read, to_bytes_offsets
from proxy.back.settings import CHARSET_VARIABLES
from proxy.front.prepared_statement import Execution, Prepared
from proxy.front.session import Session
from proxy.plan import refusals
from proxy.wire import column
from proxy.wire.binary import decode_params

_STRINGS = frozenset({column.VARCHAR, column.VAR_STRING, column.STRING, column.ENUM, column.SET})
_DECIMALS = frozenset({column.DECIMAL, column.NEWDECIMAL})
_BYTES = frozenset({column.TINY_BLOB, column.BLOB, column.MEDIUM_BLOB, column.LONG_BLOB})
_DECIMAL = re.compile(rb"-?\d{1,65}(\.\d{0,38})?")
_DAY = rb"(?!0000)\d{4}-(?!00)\d\d-(?!00)\d\d"
_TEMPORAL = {
    column.DATE: (b"DATE", re.compile(_DAY)),
    column.DATETIME: (b"TIMESTAMP", re.compile(_DAY + rb" \d\d:\d\d:\d\d(\.\d{6})?")),
    column.TIMESTAMP: (b"TIMESTAMP", re.compile(_DAY + rb" \d\d:\d\d:\d\d(\.\d{6})?")),
    column.TIME: (b"TIME", re.compile(rb"-?\d{2,3}:\d\d:\d\d(\.\d{6})?")),
}
_LOWEST = -(1 << 63)
_TYPED = frozenset({"DATE", "TIME", "TIMESTAMP"})  # words that make a literal of the string behind them


@dataclass(frozen=True, slots=True)
class Place:
    """A `?` in a shape. `problem`: a string literal would mean something else there, and why."""

    start: int
    limits: bool  # it is a number of LIMIT or OFFSET
    problem: str = ""


@lru_cache(maxsize=512)
def places(shape: bytes, lexer: Lexer) -> tuple[Place, ...]:
    """The `?` of a shape. Raises StatementRefused where its text cannot be read."""
    text = decode(shape, lexer)
    if text is None:
        raise refusals.EXECUTE_VALUES.error(why="the text is not valid in its character set")
    offset = to_bytes_offsets(text, shape, lexer)
    tokens = read(text, lexer.ansi_quotes).tokens
    return tuple(
        Place(offset(token.start), _limits(tokens, at), _problem(tokens, at))
        for at, token in enumerate(tokens)
        if token.of is Of.PARAM
    )


def _limits(tokens: Sequence[Token], at: int) -> bool:
    before = [token.word or token.text for token in tokens[max(0, at - 3) : at]]
    return before[-1:] in (["LIMIT"], ["OFFSET"]) or (before[-1:] == [","] and before[:1] == ["LIMIT"])


def _problem(tokens: Sequence[Token], at: int) -> str:
    if at + 1 < len(tokens) and tokens[at + 1].of is Of.STRING:
        return "a string would be joined with the one behind it"
    word = tokens[at - 1].word if at else ""
    if word in _TYPED or word.startswith("_"):
        return f"{word} would belong to the string behind it"
    return ""


def with_values(shape: bytes, literals: Sequence[bytes], lexer: Lexer, values: Sequence[bytes]) -> bytes:
    """The text with these literals in the place of its `?`. Raises StatementRefused."""
    edits = []
    for place, value in zip(places(shape, lexer), values, strict=True):
        if place.limits and not value.isdigit():
            raise refusals.EXECUTE_VALUES.error(why="what LIMIT is given is not a whole number")
        if place.problem and value.endswith((b"'", b'"')):
            raise refusals.EXECUTE_VALUES.error(why=place.problem)
        edits.append(((place.start, place.start + 1), [b" " + value + b" "]))
    return edit(shape, literals, edits)


def integer(value: int) -> bytes:
    return b"%d" % value if value != _LOWEST else b"(%d-1)" % (_LOWEST + 1)


def double(value: float) -> bytes | None:
    text = repr(value).encode()
    return (text if b"e" in text else text + b"e0") if math.isfinite(value) else None


def decimal(text: bytes) -> bytes | None:
    if not _DECIMAL.fullmatch(text):
        return None
    return text if b"." in text else text + b"."


def binary(value: bytes, lexer: Lexer) -> bytes | None:
    text = literal(value, lexer)
    return b"_binary" + text if text is not None else None


def bound_literal(value: object, kind: int, lexer: Lexer) -> bytes | None:
    """A bound value as a literal; None where there is none that means the same."""
    if value is None:
        return b"NULL"
    if isinstance(value, int):
        return integer(value)
    if isinstance(value, float):
        return double(value)
    if not isinstance(value, bytes):
        return None
    if kind in _DECIMALS:
        return decimal(value)
    if kind in _STRINGS:
        return literal(value, lexer)
    if kind in _BYTES:
        return binary(value, lexer)
    if kind in _TEMPORAL:
        word, pattern = _TEMPORAL[kind]
        return b"%s'%s'" % (word, value) if pattern.fullmatch(value) else None
    return None


async def execute_as_text(session: Session, execution: Execution) -> None:
    """One execution of a prepared statement that answers with an OK packet, as text. Raises TurnoutError."""
    prepared, bound = execution.prepared, execution.bound
    check_reading(session, prepared)
    params: list[object] = list(decode_params(bound, set(execution.long_data)))
    for number, data in execution.long_data.items():
        params[number] = data
    values = []
    for number, value in enumerate(params):
        text = bound_literal(value, bound.types[2 * number], session.lexer)
        if text is None:
            raise refusals.EXECUTE_VALUES.error(why=f"parameter {number + 1} has no literal that surely means the same")
        values.append(text)
    await run_inside(session, with_values(prepared.shape, prepared.literals, prepared.lexer, values))


def check_reading(session: Session, prepared: Prepared) -> None:
    """Raises StatementRefused where the text would be read in another way now than it was when it was prepared."""
    charsets = (prepared.settings.get(name) != session.settings.get(name) for name in CHARSET_VARIABLES)
    modes = (set(session.mode_of(each).split(",")) for each in (prepared.settings, session.settings))
    if prepared.database != session.database or any(charsets) or next(modes) != next(modes):
        why = "the default database, sql_mode or character set is another one than when it was prepared"
        raise refusals.EXECUTE_VALUES.error(why=why)


async def run_inside(session: Session, sql: bytes) -> None:
    """A statement in the place of the one that is under way. Raises TurnoutError."""
    from proxy.front.statements import run_text

    shape, literals = session.lexer.shape(sql)
    entry = session.plans.get(shape) or session.environment.miss(session.plans, shape, literals)
    session.running = entry
    await run_text(session, entry, sql, shape, literals)
