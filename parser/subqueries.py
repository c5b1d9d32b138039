"""Where the subqueries of a SELECT stand that group or aggregate their rows."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

from parser.functions import AGGREGATES
from parser.rows import closing
from parser.statement import Aggregating
from parser.tokens import Of, Token
from parser.vocabulary import vocabulary

_LEADS_TABLES = frozenset(["FROM", "JOIN", "STRAIGHT_JOIN", "AS"])  # `WITH x AS (SELECT ..)`
_LEADS_NEITHER = frozenset(["UNION", "INTERSECT", "EXCEPT", "MINUS", "DISTINCT", "LATERAL", "ON"])
_UNITES = frozenset(["UNION", "INTERSECT", "EXCEPT", "MINUS"])
_CLAUSES = vocabulary("SELECT FROM JOIN STRAIGHT_JOIN ON USING WHERE GROUP HAVING ORDER BY LIMIT WITH WINDOW")
_OF_VALUES = frozenset(["SELECT", "WHERE", "HAVING", "BY"])  # what commas behind them stand between
_DIVIDING = AGGREGATES - {"count", "sum", "min", "max"}


def aggregating(tokens: Sequence[Token], offset: Callable[[int], int]) -> tuple[Aggregating, ...]:
    """Those of them that have no parameters and of which it is certain whether they are tables or values, outer ones
    before inner ones. `offset`: see `parser.source.Source`."""
    found = []
    for at in range(1, len(tokens) - 1):
        if not tokens[at].is_mark("(") or tokens[at + 1].word != "SELECT":
            continue
        end = closing(tokens, at)
        table = _is_table(tokens, at)
        if end is None or table is None:
            continue
        inside = tokens[at + 1 : end]
        if not _aggregates(inside) or any(token.of in (Of.PARAM, Of.VARIABLE) for token in inside):
            continue
        qualifiers = (one.text.lower() for one, dot in itertools.pairwise(inside) if one.is_name() and dot.is_mark("."))
        found.append(
            Aggregating(
                (offset(inside[0].start), offset(inside[-1].end)),
                table=table,
                quotient=any(_divides(token) for token in inside),
                qualifiers=frozenset(qualifiers),
            )
        )
    return tuple(found)


def _is_table(tokens: Sequence[Token], at: int) -> bool | None:
    """Is the subquery in the parenthesis at `at` a derived table, or that of a WITH clause? None: that is not certain,
    or it is a branch of a UNION."""
    before = tokens[at - 1]
    if before.word in _LEADS_TABLES:
        return True
    if before.word in _LEADS_NEITHER or (before.word == "ALL" and at > 1 and tokens[at - 2].word in _UNITES):
        return None
    if not before.is_mark("(") and not before.is_mark(","):
        return False
    depth = 0
    for i in range(at - 1, -1, -1):
        token = tokens[i]
        if token.is_mark(")"):
            depth += 1
        elif depth:
            depth -= token.is_mark("(")
        elif token.is_mark("("):  # that of a call, or of IN (.., ..)
            around = tokens[i - 1] if i else token
            is_call = around.of is Of.WORD and (around.word == "IN" or around.word not in _NO_CALLS)
            return False if is_call else None
        elif token.word in _CLAUSES:
            return False if token.word in _OF_VALUES else None
    return None


_NO_CALLS = _CLAUSES | _LEADS_TABLES | _LEADS_NEITHER | vocabulary("ALL ANY SOME EXISTS AND OR NOT XOR DUAL VALUES")


def _aggregates(tokens: Sequence[Token]) -> bool:
    return any(token.word == "GROUP" or token.text.lower() in AGGREGATES for token in tokens if token.of is Of.WORD)


def _divides(token: Token) -> bool:
    """Quotients and averages have more digits than they are shown with, as long as they are not stored."""
    return token.is_mark("/") or (token.of is Of.WORD and token.text.lower() in _DIVIDING)
