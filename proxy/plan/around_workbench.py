"""EXPLAIN of, and SET STATEMENT .. FOR, a SELECT that is, or may turn out to be, finished on the workbench. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from parser.rewrite import quoted, splice
from parser.statement import Scope, Statement
from proxy.back.settings import CHARSET_VARIABLES, UNCARRIED
from proxy.errors import StatementRefused
from proxy.plan import refusals
from proxy.plan.plan import Plan, Route, ValueOf
from proxy.plan.workbench import Constants, Pulled, Workbench, pulled

# Settings by which a text is read, which a server has done before SET STATEMENT sets them; and what is no setting.
_NOT_SET = frozenset([*CHARSET_VARIABLES, *UNCARRIED, "sql_mode", "autocommit", "old_mode"])


@dataclass(frozen=True, slots=True)
class Explanation:
    """`front` has each of these pulls explained by its clusters. `words`: EXPLAIN and its options, as written."""

    words: bytes
    pulls: tuple[Pulled, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainPulls(Plan):
    kind = "explain-pulls"
    inner: Workbench

    @property
    def clusters(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(name for pull in self.inner.pulls for name in pull.clusters))

    def route(self, value_of: ValueOf, text: bytes) -> Route:
        lexer = self.statement.lexer
        assert lexer is not None
        shape, literals = lexer.shape(text)
        constants = Constants(value_of, literals, lexer)
        words = splice(shape, literals, [(0, self.statement.inner_at)])[0]
        pulls = (pulled(pull, constants) for pull in self.inner.pulls if not (pull.local or pull.system))
        return Route((), explaining=Explanation(words, tuple(pulls)))

    def describe(self) -> list[tuple[str, str]]:
        lines = [("plan", self.kind)]
        lines += [("explain", pull.describe()) for pull in self.inner.pulls if not (pull.local or pull.system)]
        return [*lines, *self.traits()]


@dataclass(frozen=True, slots=True)
class Within:
    """A statement that runs under other settings. `head`: SET STATEMENT and its settings (`names`), up to FOR."""

    head: bytes
    names: tuple[str, ...]
    sql: bytes

    @property
    def settings(self) -> bytes:
        """A statement that tells what the settings become."""
        names = b", ".join(b"@@session." + quoted(name).encode() for name in self.names)
        return self.head + b" SELECT " + names + b" LIMIT 1"


@dataclass(frozen=True, slots=True, kw_only=True)
class InSettings(Plan):
    """SET STATEMENT .. FOR what takes several steps: all of them run under the settings."""

    kind = "set-statement"
    inner: Plan

    def route(self, value_of: ValueOf, text: bytes) -> Route:
        lexer = self.statement.lexer
        assert lexer is not None
        shape, literals = lexer.shape(text)
        at = self.statement.inner_at
        head, sql = splice(shape, literals, [(0, at), (at, len(shape))])
        return Route((), within=Within(head, tuple(each.name for each in self.statement.assignments), sql))

    def describe(self) -> list[tuple[str, str]]:
        names = ", ".join(each.name for each in self.statement.assignments)
        return [("plan", self.kind), ("settings", names), *self.inner.describe()]


def in_settings(statement: Statement, inner: Plan) -> InSettings | None:
    """SET STATEMENT around a plan of several steps; None where that cannot be told apart, or is not all constants."""
    if statement.lexer is None or statement.hint is not None or not statement.inner_at:
        return None
    for each in statement.assignments:
        if each.scope is not Scope.STATEMENT or not each.constant or each.name in _NOT_SET or not each.name.isascii():
            return None
    return InSettings(statement=statement, inner=inner)


def explain_pulls(statement: Statement, inner: Workbench) -> ExplainPulls | StatementRefused:
    """EXPLAIN of a workbench read; the refusal where that is not what is asked."""
    if statement.lexer is None or not statement.inner_at or statement.name != "explain":
        return refusals.WORKBENCH_AROUND.error(verb="ANALYZE" if statement.name == "analyze" else "EXPLAIN")
    return ExplainPulls(statement=statement, inner=inner)
