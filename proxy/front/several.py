"""Several statements in one text (CLIENT_MULTI_STATEMENTS): each is routed and carried out by itself.

Their answers become one response: numbered on, all but the last with MORE_RESULTS (`proxy.wire.edited`). The first that
fails is the last. As on a server, where a statement ends is looked for when it is its turn, since the one before may
have changed how texts are read (`SET sql_mode`, `SET NAMES`).
"""

from __future__ import annotations

import re
from collections import deque

from parser.split import statement_ends
from parser.statement import Kind
from proxy.front.answers import diagnostics_response, diagnostics_rows
from proxy.front.environment import Entry
from proxy.front.session import Session
from proxy.front.statements import forward, run_text
from proxy.plan.plan import Send, Several
from proxy.wire import command as com

_SPACES = b" \t\n\v\f\r"
_SYNTAX = 1064
_NEAR = re.compile(rb"near '(.*)' at line \d+\Z", re.DOTALL)
_QUOTED = 80
_PLAIN = re.compile(rb"[ -~]*")


async def run_several(session: Session, entry: Entry, sql: bytes) -> None:
    """Carry out the statements and answer each. Raises TurnoutError, which is the answer to one of them."""
    plan = entry.plan
    assert isinstance(plan, Several)
    sql = sql.rstrip(_SPACES + b";")  # as servers do before they look for statements (sql_parse.cc, alloc_query)
    edited = session.client.edit()
    lexer = None
    ends: deque[int] = deque()
    begin = 0
    while True:
        if lexer is not session.lexer:
            lexer = session.lexer
            ends = deque(begin + end for end in statement_ends(sql[begin:], lexer))
        end = ends.popleft() if ends else len(sql)
        edited.more = end < len(sql)
        text = sql[begin:end].lstrip(_SPACES)
        one = _entry(session, text)
        if edited.more and one.plan.statement.kind is Kind.EMPTY:  # a server knows the words for that
            await forward(session, entry, Send(plan.cluster), bytes((com.COM_QUERY,)) + sql[begin:].lstrip(_SPACES))
        else:
            edited.amend = _Quoting(text, sql[end:], session.environment.mariadb)
            session.begin_statement(one)
            await run_text(session, one, text, *session.lexer.shape(text))
            if edited.failed:
                edited.amend.correct(session)
        if edited.failed or not edited.more or session.closed or session.killed or session.exceeded is not None:
            return
        if session.doom is not None:
            raise session.doom
        begin = end + 1


class _Quoting:
    """A syntax error quotes what stands behind the place where it was found, 80 bytes at most: on a server that is the
    rest of the whole text, not of the statement alone."""

    def __init__(self, text: bytes, rest: bytes, mariadb: bool) -> None:
        self._text = text
        self._rest = rest
        self._mariadb = mariadb

    def __call__(self, error: bytes) -> bytes:
        """The ERR packet of the statement, as the client gets it."""
        return self._quoted(error) if int.from_bytes(error[1:3], "little") == _SYNTAX else error

    def _quoted(self, message: bytes) -> bytes:
        found = _NEAR.search(message)
        if found is None or not self._rest or not self._text.endswith(found[1]):
            return message
        near = found[1] + self._rest
        if not _PLAIN.fullmatch(near[:_QUOTED]):
            return message  # how a server writes other characters is not certain
        if len(near) > _QUOTED:
            near = near[: _QUOTED - 3] + b"..." if self._mariadb else near[:_QUOTED]
        return message[: found.start(1)] + near + message[found.end(1) :]

    def correct(self, session: Session) -> None:
        """SHOW WARNINGS says the same."""
        rows = diagnostics_rows(session.diagnostics)
        if any(row[1] == b"%d" % _SYNTAX for row in rows):
            told = [[row[0], row[1], self._quoted(row[2] or b"")] for row in rows]
            session.diagnostics = diagnostics_response(told, session.status)


def _entry(session: Session, text: bytes) -> Entry:
    """The plan of a statement whose turn it is: by the newest rules and definitions, if the session is free to go by
    them."""
    environment = session.client.listener.environment
    if session.environment is not environment or session.outdated:
        session.busy = False  # it is between two statements
        session.adopt(environment)
        session.busy = True
    shape, literals = session.lexer.shape(text)
    return session.plans.get(shape) or session.environment.miss(session.plans, shape, literals)
