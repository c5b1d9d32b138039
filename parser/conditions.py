"""What a conjunctive condition says of single columns: constants that they equal, columns that they equal.

A statement here is about the rows that pass the condition. Which tables it may be used for, given where the condition
stands (WHERE, ON of an inner or outer join), is `parser.query`'s to decide.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sqlglot import exp

from parser.statement import BoundValue, DateSum, Hole, NumberSum, Opaque, Value
from parser.tree import Tree


@dataclass(frozen=True, slots=True)
class ColumnName:
    """A column as the statement names it: qualifiers without quotes or None, the column lower case."""

    database: str | None
    table: str | None
    column: str


@dataclass(frozen=True, slots=True)
class Constants:
    """`column` has one of `values`. `null_safe`: by `<=>`, so that a value which is NULL matches NULL."""

    column: ColumnName
    values: tuple[Value, ...]
    null_safe: bool = False


@dataclass(frozen=True, slots=True)
class Same:
    """`left = right`, so neither is NULL."""

    left: ColumnName
    right: ColumnName


@dataclass(frozen=True, slots=True)
class Limits:
    """`column operator values`, which is not true for NULL: see `parser.statement.Bound`."""

    column: ColumnName
    operator: str
    values: tuple[BoundValue, ...]


@dataclass(frozen=True, slots=True)
class InDatabase:
    """`column = DATABASE()`."""

    column: ColumnName


@dataclass(frozen=True, slots=True)
class Either:
    """All of one of these: none of what is in them is true for NULL."""

    branches: tuple[tuple[Constants | Limits, ...], ...]


@dataclass(frozen=True, slots=True)
class Member:
    """`column IN (query)`, a SELECT; not true for NULL."""

    column: ColumnName
    query: exp.Expression


Fact = Constants | Same | Limits | InDatabase | Either | Member


def facts(condition: exp.Expression, tree: Tree, trust_or: bool) -> list[Fact]:
    """All that holds wherever `condition` is true. Not `trust_or` if `||` occurs, CONCAT in some sql_modes."""
    found: list[Fact] = []
    for term in _terms(condition, exp.And):
        if isinstance(term, exp.Or):
            if trust_or:
                found.extend(_united(term, tree) or _either(term, tree))
        else:
            found.extend(
                _comparison(term, tree) or _in_database(term, tree) or _limits(term, tree) or _member(term, tree)
            )
    return found


def _terms(condition: exp.Expression, connector: type[exp.Expression]) -> Iterator[exp.Expression]:
    waiting = [condition]
    while waiting:
        node = waiting.pop()
        while isinstance(node, exp.Paren):
            node = node.this
        if type(node) is connector:
            waiting.append(node.args["expression"])
            waiting.append(node.this)
        else:
            yield node


def _united(disjunction: exp.Or, tree: Tree) -> list[Fact]:
    column: ColumnName | None = None
    values: list[Value] = []
    for term in _terms(disjunction, exp.Or):
        said = _comparison(term, tree)
        if len(said) != 1 or not isinstance(said[0], Constants) or said[0].null_safe:
            return []
        if column is not None and said[0].column != column:
            return []
        column = said[0].column
        values.extend(said[0].values)
    return [] if column is None else [Constants(column, tuple(values))]


def _either(disjunction: exp.Or, tree: Tree) -> list[Fact]:
    branches = []
    for term in _terms(disjunction, exp.Or):
        said = [fact for fact in facts(term, tree, True) if isinstance(fact, (Constants, Limits))]
        branch = tuple(fact for fact in said if not (isinstance(fact, Constants) and fact.null_safe))
        if not branch:
            return []
        branches.append(branch)
    return [Either(tuple(branches))]


def _comparison(term: exp.Expression, tree: Tree) -> list[Constants | Same]:
    if type(term) in (exp.EQ, exp.NullSafeEQ) and _has_only(term, "this", "expression"):
        return _equality(term.this, term.expression, tree, type(term) is exp.NullSafeEQ)
    if type(term) is exp.In:
        return _membership(term, tree)
    return []


def _member(term: exp.Expression, tree: Tree) -> list[Member]:
    if type(term) is not exp.In or not _has_only(term, "this", "query"):
        return []
    column, query = _column(_bare(term.this), tree), term.args.get("query")
    if type(query) is exp.Subquery and _has_only(query, "this"):
        query = query.this
    return [Member(column, query)] if column is not None and type(query) is exp.Select else []


def _in_database(term: exp.Expression, tree: Tree) -> list[InDatabase]:
    if type(term) is not exp.EQ:
        return []
    sides = [_bare(term.this), _bare(term.expression)]
    for one, other in (sides, reversed(sides)):
        column = _column(one, tree)
        if column is not None and type(other) is exp.CurrentSchema and not other.args.get("this"):
            return [InDatabase(column)]
    return []


_LIMITS: dict[type[exp.Expression], tuple[str, str]] = {  # as it is, and with its sides changed
    exp.LT: ("<", ">"),
    exp.LTE: ("<=", ">="),
    exp.GT: (">", "<"),
    exp.GTE: (">=", "<="),
    exp.NEQ: ("<>", "<>"),
    exp.Like: ("LIKE", ""),
}
_NOT_LIKE = ("NOT LIKE", "")


def _has_only(term: exp.Expression, *names: str) -> bool:
    """Is there nothing else that may change what a term means (`negate`, of which sqlglot makes NOT LIKE)?"""
    return not [name for name, value in term.args.items() if value and name not in names]


def _limits(term: exp.Expression, tree: Tree) -> list[Limits]:
    negated = type(term) is exp.Like and bool(term.args.get("negate"))
    operators = _NOT_LIKE if negated else _LIMITS.get(type(term))
    if operators is not None and _has_only(term, "this", "expression", *["negate"] * negated):
        sides = [_bare(term.this), _bare(term.expression)]
        for operator, (one, other) in zip(operators, (sides, reversed(sides))):
            column, value = _column(one, tree), _computed(other, tree)
            if operator and column is not None and value is not None:
                return [Limits(column, operator, (value,))]
        return []
    if type(term) is exp.Between and _has_only(term, "this", "low", "high"):
        column, ends = _column(_bare(term.this), tree), [_computed(term.args[end], tree) for end in ("low", "high")]
        known = tuple(value for value in ends if value is not None)
        return [Limits(column, "BETWEEN", known)] if column is not None and len(known) == 2 else []
    if type(term) is exp.Not and type(term.this) is exp.Is and isinstance(term.this.expression, exp.Null):
        column = _column(_bare(term.this.this), tree)
        return [Limits(column, "IS NOT NULL", ())] if column is not None else []
    return []


_UNITS = frozenset(["DAY", "WEEK", "MONTH", "QUARTER", "YEAR"])


def _computed(node: exp.Expression, tree: Tree) -> BoundValue | None:
    """A constant, or one that takes sums to compute; None for any other expression."""
    node = _bare(node)
    value = tree.value(node)
    if value is not None:
        return value
    if type(node) is exp.Cast and _has_only(node, "this", "to") and node.args["to"].this is exp.DataType.Type.DATE:
        day = tree.value(node.this)
        return DateSum(day) if isinstance(day, Hole) and day.is_string else None
    if type(node) not in (exp.Add, exp.Sub):
        return None
    sign = "+" if type(node) is exp.Add else "-"
    base = _computed(node.this, tree)
    if isinstance(base, DateSum) and type(node.expression) is exp.Interval:
        amount, unit = tree.amount(node.expression.this), str(node.expression.args.get("unit") or "").upper()
        if amount is None or unit not in _UNITS:
            return None
        return DateSum(base.day, (*base.moves, (sign, amount, unit)))
    other = tree.value(node.expression)
    if not isinstance(other, Hole) or other.is_string:
        return None
    if isinstance(base, Hole) and not base.is_string:
        base = NumberSum((("", base),))
    return NumberSum((*base.terms, (sign, other))) if isinstance(base, NumberSum) else None


def _equality(left: exp.Expression, right: exp.Expression, tree: Tree, null_safe: bool) -> list[Constants | Same]:
    left, right = _bare(left), _bare(right)
    lefts, rights = _row(left), _row(right)
    if lefts is not None or rights is not None:
        if lefts is None or rights is None or len(lefts) != len(rights):
            return []
        found: list[Constants | Same] = []
        for of_left, of_right in zip(lefts, rights):
            found.extend(_equality(of_left, of_right, tree, null_safe))
        return found
    one, other = _column(left, tree), _column(right, tree)
    if one is not None and other is not None:
        return [] if null_safe else [Same(one, other)]
    column, constant = (one, right) if one is not None else (other, left)
    value = tree.value(constant) if column is not None else None
    return [] if column is None or value is None else [Constants(column, (value,), null_safe)]


def _membership(term: exp.In, tree: Tree) -> list[Constants | Same]:
    if not _has_only(term, "this", "expressions"):
        return []
    choices = [_bare(choice) for choice in term.expressions]
    left = _bare(term.this)
    columns = _row(left)
    if columns is None:
        column = _column(left, tree)
        return [] if column is None else _constants(column, tree.values(choices))
    rows = [_row(choice) for choice in choices]
    found: list[Constants | Same] = []
    for at, node in enumerate(columns):
        column = _column(_bare(node), tree)
        if column is None:
            continue
        of_column = [tree.value(row[at]) if row is not None and len(row) == len(columns) else None for row in rows]
        found.extend(_constants(column, of_column))
    return found


def _constants(column: ColumnName, values: list[Value | None]) -> list[Constants | Same]:
    known = tuple(v for v in values if v is not None and not isinstance(v, Opaque))
    return [Constants(column, known)] if values and len(known) == len(values) else []


def _bare(node: exp.Expression) -> exp.Expression:
    while isinstance(node, exp.Paren):
        node = node.this
    return node


def _row(node: exp.Expression) -> list[exp.Expression] | None:
    if type(node) is exp.Tuple:
        return list(node.expressions)
    if type(node) is exp.Anonymous and str(node.this).lower() == "row":
        return list(node.expressions)
    return None


def _column(node: exp.Expression, tree: Tree) -> ColumnName | None:
    if type(node) is not exp.Column or not isinstance(node.this, exp.Identifier):
        return None
    args = node.args
    if args.get("catalog") or args.get("join_mark"):
        return None
    table, database = args.get("table"), args.get("db")
    return ColumnName(
        tree.name(database.name) if database else None,
        tree.name(table.name) if table else None,
        tree.name(node.this.name).lower(),
    )
