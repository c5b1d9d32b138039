"""Several statements in one text (CLIENT_MULTI_STATEMENTS): each is routed and carried out by itself.

Their answers become one response: numbered on, all but the last with MORE_RESULTS (`proxy.wire.edited`). The first that
fails is the last. As on a server, where a statement ends is looked for when it is its turn, since the one before may
have changed how texts are read (`SET sql_mode`, `SET NAMES`).
"""

from __future__ import annotations

from collections import deque

from parser.split import statement_ends
from parser.statement import Kind
from proxy.front.environment import Entry
from proxy.front.session import Session
from proxy.front.statements import forward, run_text
from proxy.plan.plan import Send, Several
from proxy.wire import command as com

_SPACES = b" \t\n\v\f\r"


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
            session.begin_statement(one)
            await run_text(session, one, text, *session.lexer.shape(text))
        if session.doom is not None:
            raise session.doom
        if edited.failed or not edited.more or session.closed or session.killed:
            return
        begin = end + 1


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
