"""The clauses of one plain SELECT, with their places in the statement's bytes: what it takes to rewrite parts of it.

An *expression* is a piece of text with what is to be known about it without a schema. Two expressions with the same
`form` are the same but for the contents of their literals, which `holes` number.
"""

from __future__ import annotations

from dataclasses import dataclass

from parser import functions
from parser.statement import Hole, Value

Span = tuple[int, int]  # [start, end) in the shape's bytes


@dataclass(frozen=True, slots=True)
class Expression:
    span: Span
    form: tuple[str, ...]
    holes: tuple[int, ...] = ()
    column: str = ""  # lower case, if it is a column and nothing else ..
    table: str = ""  # .. and the table's name before it
    constant: Value | None = None  # if it is a literal and nothing else
    position: Hole | None = None  # if it is a bare number, which ORDER BY and GROUP BY take for a select item's place
    call: str = ""  # lower case, if it is one call of a function and nothing else
    arguments: tuple[Expression, ...] = ()  # of that call
    distinct: bool = False  # .. which begin with DISTINCT
    names: frozenset[str] = frozenset()  # lower-case words in it that may name columns
    calls: frozenset[str] = frozenset()  # lower-case names of functions called in it
    star: bool = False  # `*` or `t.*`

    @property
    def aggregate(self) -> bool:
        """Is an aggregate function called in it?"""
        return not functions.AGGREGATES.isdisjoint(self.calls)

    @property
    def unsteady(self) -> bool:
        """May evaluating it twice give two values?"""
        return not _UNSTEADY.isdisjoint(self.calls)


_UNSTEADY = frozenset({"rand", "uuid", "uuid_short", "sys_guid", "random_bytes", "sysdate", "sleep", "benchmark"})


@dataclass(frozen=True, slots=True)
class SelectItem:
    expression: Expression
    alias: str = ""  # lower case


@dataclass(frozen=True, slots=True)
class SortKey:
    expression: Expression
    descending: bool = False


@dataclass(frozen=True, slots=True)
class Comparison:
    left: Expression
    operator: str  # = <> < <= > >=
    right: Expression


@dataclass(frozen=True, slots=True)
class Limit:
    """`span` covers the operands, without LIMIT itself."""

    span: Span
    count: Value
    offset: Value | None = None


@dataclass(frozen=True, slots=True)
class Outline:
    """See the module. `*_span` covers a clause from its first word on, and is empty where there is no such clause: then
    it is where the clause would stand. They ascend and do not overlap."""

    items: tuple[SelectItem, ...]
    items_end: int
    modifiers: frozenset[str]  # upper case: DISTINCT, SQL_CALC_FOUND_ROWS, ..
    group: tuple[Expression, ...]
    group_span: Span
    rollup: bool
    having: tuple[Comparison, ...] | None  # all of which have to hold; None: there is none, or it is something else
    having_span: Span
    order: tuple[SortKey, ...]
    order_span: Span
    limit: Limit | None
    limit_span: Span
    derived: bool  # FROM has more than tables
    merged: bool  # FROM has joins by USING or NATURAL, under which `*` has other columns

    @property
    def distinct(self) -> bool:
        return "DISTINCT" in self.modifiers or "DISTINCTROW" in self.modifiers
