"""The same asked through Turnout and of the server itself."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

from tests.front.raw import (
    AUTOCOMMIT,
    CURSOR_EXISTS,
    IN_TRANS,
    LAST_ROW_SENT,
    MORE_RESULTS,
    NO_BACKSLASH_ESCAPES,
    Answer,
    Client,
    Disconnected,
    Param,
    Statement,
)

DATABASE = "protocol"
# Status flags that a client acts on; the others say how a server went about it.
STATUS = AUTOCOMMIT | IN_TRANS | MORE_RESULTS | NO_BACKSLASH_ESCAPES | CURSOR_EXISTS | LAST_ROW_SENT
NUMBERED = {1243, 1421}  # errors that name a statement by its number, which is each side's own
MALFORMED = {1105, 1210, 1835}
ENDED = Answer(errno=-1, message="the connection ended")


class Both:
    def __init__(self, ours: Client, theirs: Client) -> None:
        self.ours = ours
        self.theirs = theirs

    def same(self, what: str, ask: Callable[[Client], Answer]) -> Answer:
        """The answer to `ask`, which is the same on both sides. An ended connection is an answer, too."""
        ours, theirs = _comparable(_tried(self.ours, ask)), _comparable(_tried(self.theirs, ask))
        if {ours.errno, theirs.errno} <= MALFORMED:
            ours = theirs  # in other words
        assert ours == theirs, f"{what}\n  {_short(ours)}\n  instead of {_short(theirs)}"
        return ours

    def query(self, sql: str | bytes) -> Answer:
        return self.same(_short(sql), lambda client: client.query(sql))

    def run(self, *statements: str) -> None:
        for sql in statements:
            self.query(sql).checked()

    def command(self, code: int, argument: bytes = b"", binary: bool = False) -> Answer:
        return self.same(f"command {code} {argument[:80]!r}", lambda client: client.command(code, argument, binary))

    def prepare(self, sql: str | bytes) -> BothPrepared:
        return BothPrepared(self, sql)


class BothPrepared:
    """A statement that was prepared on both sides, with the same columns and number of parameters."""

    def __init__(self, both: Both, sql: str | bytes) -> None:
        self.both = both
        self.sql = sql
        ours, theirs = both.ours.prepare(sql), both.theirs.prepare(sql)
        assert isinstance(ours, Statement), f"{_short(sql)}: {ours}"
        assert isinstance(theirs, Statement), f"{_short(sql)}: {theirs}"
        assert (ours.params, ours.columns) == (theirs.params, theirs.columns), _short(sql)
        self.ours, self.theirs = ours, theirs

    def each(self, what: str, ask: Callable[[Client, Statement], Answer]) -> Answer:
        """`ask` with each side's client and statement."""
        pairs = {id(self.both.ours): self.ours, id(self.both.theirs): self.theirs}
        return self.both.same(f"{_short(self.sql)} {what}", lambda client: ask(client, pairs[id(client)]))

    def execute(self, *params: Param, cursor: int = 0) -> Answer:
        return self.each(_short(params), lambda client, made: client.execute(made, *params, cursor=cursor))

    def fetch(self, rows: int) -> Answer:
        return self.each(f"fetch {rows}", lambda client, made: client.fetch(made, rows))

    def execute_again(self, nulls: bytes, values: bytes) -> Answer:
        return self.each(f"{nulls!r} {values!r}", lambda client, made: client.execute_again(made, nulls, values))

    def close(self) -> None:
        self.both.ours.close_statement(self.ours)
        self.both.theirs.close_statement(self.theirs)


def _tried(client: Client, ask: Callable[[Client], Answer]) -> Answer:
    try:
        return ask(client)
    except (Disconnected, BrokenPipeError, ConnectionResetError):
        return ENDED


def _comparable(answer: Answer) -> Answer:
    message = re.sub(r"\(\d+\)", "(n)", answer.message) if answer.errno in NUMBERED else answer.message
    return replace(answer, status=answer.status & STATUS, message=message, more=tuple(map(_comparable, answer.more)))


def _short(what: object) -> str:
    text = str(what)
    return text if len(text) < 300 else f"{text[:200]} .. {text[-60:]}"
