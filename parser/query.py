"""Syntax tree -> tables, blocks, pins and equalities.

Every table node of the tree has to be met where a table is expected, and every part of a block has to be known;
otherwise NotUnderstood is raised and the statement counts as unread. A name that a WITH clause defines is no table.

When a condition may be used for a table (its rows that fail it may be left out without changing the block's result):

- WHERE, and ON of an inner join: for every table. Rows that fail it are dropped afterwards anyway; where an outer join
  would put NULLs in their place, NULLs fail an `=` too. Only `<=> NULL` does not, so `<=>` is not used for such tables.
- ON of LEFT JOIN: for the right side. Its rows that fail the condition match nothing. RIGHT JOIN is the mirror image.
- A condition in a subquery on a column of a block around it: for the subquery's own table only.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Any

from sqlglot import exp

from parser.conditions import ColumnName, Constants, Either, Fact, InDatabase, Limits, Member, Same, facts
from parser.functions import AGGREGATES
from parser.scopes import Building, Item, Join, Scope, find
from parser.statement import Access, Block, Bound, ColumnEquality, Opaque, Param, Pin, TableRef, Word
from parser.tree import NotUnderstood, Role, Tree, role_of

_QUERY = (exp.Select, exp.SetOperation)


_Names = frozenset[str]  # lower-case names that WITH clauses define


class Reader:
    """Reads one statement's tree. `trust_or`: see `parser.conditions.facts`; without `trust`, no pins at all."""

    def __init__(self, tree: Tree, trust: bool, trust_or: bool) -> None:
        self.tree = tree
        self.tables: list[TableRef] = []
        self.subqueries = False
        self._trust = trust
        self._trust_or = trust_or
        self._blocks: list[Building] = []
        self._index_of: dict[int, int] = {}  # a block's index by the id of its node
        self._met: set[int] = set()  # ids of table nodes
        # Where there is no query inside of another, aggregates and windows are the one block's, wherever they stand.
        nodes = tree.nodes
        self._alone = len(nodes.get(Role.QUERY, ())) <= isinstance(tree.root, exp.Select)
        self._flags: dict[str, bool] = {}
        if Role.WINDOW in nodes:
            self._flags["windows"] = True
        if Role.AGGREGATE in nodes or any(str(n.this).lower() in AGGREGATES for n in nodes.get(Role.ANONYMOUS, ())):
            self._flags["aggregates"] = True

    def blocks(self) -> tuple[Block, ...]:
        return tuple(block.done(self._index_of) for block in self._blocks)

    def check_all_met(self) -> None:
        """Raises NotUnderstood when a table stands somewhere that was not looked at."""
        for node in self.tree.nodes.get(Role.TABLE, ()):
            if id(node) not in self._met:
                raise NotUnderstood(f"a table where none is expected: {node.name}")

    # Blocks

    def block(self, parent: int | None, set_operation: bool = False) -> int:
        index = len(self._blocks)
        self._blocks.append(Building(index, parent, set_operation))
        return index

    def query(
        self,
        node: exp.Expression,
        parent: int | None,
        scope: Scope | None,
        ctes: _Names,
        united: dict[str, bool] | None = None,
        in_from: bool = False,
    ) -> None:
        """A SELECT, UNION, VALUES or one of them in parentheses. `united`: flags of the UNION that it is part of."""
        if isinstance(node, exp.Select):
            self._select(node, parent, scope, ctes, united)
        elif isinstance(node, exp.SetOperation):
            self._only(node, "this expression distinct by_name side kind on with_ order limit offset locks")
            ctes = self._with(node, parent, scope, ctes)
            flags = dict(united or {})
            flags["ordered"] = flags.get("ordered", False) or bool(node.args.get("order"))
            flags["limited"] = flags.get("limited", False) or bool(node.args.get("limit") or node.args.get("offset"))
            first = len(self._blocks)
            self.query(node.this, parent, scope, ctes, flags)
            self.query(node.expression, parent, scope, ctes, flags)
            inside = Scope(first, parent=scope)
            for part in ("order", "limit", "offset"):
                self._subqueries(node.args.get(part), first, inside, ctes)
        elif isinstance(node, exp.Subquery):
            self._only(node, "this alias with_ order limit offset locks" + (" joins" if in_from else ""))
            ctes = self._with(node, parent, scope, ctes)
            first = len(self._blocks)
            self.query(node.this, parent, scope, ctes, united)
            for part, flag in (("order", "ordered"), ("limit", "limited"), ("offset", "limited")):
                if node.args.get(part):
                    for block in self._blocks[first:]:
                        if block.parent == parent:
                            block.flags[flag] = True
                    self._subqueries(node.args[part], first, Scope(first, parent=scope), ctes)
        elif isinstance(node, exp.Values):
            index = self.block(parent, united is not None)
            self._blocks[index].flags.update({k: v for k, v in (united or {}).items() if v})
            for part in ("order", "limit", "offset"):
                if node.args.get(part):
                    self._blocks[index].flags["ordered" if part == "order" else "limited"] = True
            self._subqueries(node, index, Scope(index, parent=scope), ctes)
        else:
            raise NotUnderstood(f"{type(node).__name__} where a query is expected")

    def _select(
        self,
        node: exp.Select,
        parent: int | None,
        scope: Scope | None,
        ctes: _Names,
        united: dict[str, bool] | None,
    ) -> None:
        self._only(
            node,
            "expressions from_ joins where group having windows order limit offset distinct with_ locks hint "
            "operation_modifiers",
        )
        index = self._index_of[id(node)] = self.block(parent, united is not None)
        building = self._blocks[index]
        inner = Scope(index, parent=scope)
        ctes = self._with(node, index, scope, ctes)
        source = node.args.get("from_")
        if source is not None:
            self._only(source, "this")
            items = self._source(source.this, inner, ctes)
            self._joins(items, node.args.get("joins") or [], inner, ctes)
            if scope is not None and all(item.table is not None for item in inner.items):
                building.around = scope.block
        elif node.args.get("joins"):
            raise NotUnderstood("JOIN without FROM")
        building.flags.update(
            outer_joins=any(join.side for join in building.joins),
            distinct=bool(node.args.get("distinct")),
            grouped=bool(node.args.get("group")),
            having=bool(node.args.get("having")),
            ordered=bool(node.args.get("order")) or (united or {}).get("ordered", False),
            limited=bool(node.args.get("limit") or node.args.get("offset")) or (united or {}).get("limited", False),
            windows=bool(node.args.get("windows")),
        )
        for lock in node.args.get("locks") or []:
            self._met.update(id(table) for table in lock.find_all(exp.Table))  # FOR UPDATE OF t: a table of the FROM
        if source is not None and isinstance(source.this, exp.Table) and not node.args.get("joins"):
            building.computed = _computed(node, self.tree)
        where = node.args.get("where")
        self.conditions(inner, where.this if where is not None else None)
        for part in ("expressions", "where", "group", "having", "windows", "order", "limit", "offset", "distinct"):
            self._subqueries(node.args.get(part), index, inner, ctes)

    def _with(self, node: exp.Expression, parent: int | None, scope: Scope | None, ctes: _Names) -> _Names:
        clause = node.args.get("with_")
        if clause is None:
            return ctes
        self._only(clause, "expressions recursive")
        for cte in clause.expressions:
            self._only(cte, "this alias materialized")
            alias = cte.args["alias"]
            name = self.tree.name(alias.this.name).lower()
            self.subqueries = True
            self.query(cte.this, parent, scope, ctes | {name} if clause.args.get("recursive") else ctes)
            ctes = ctes | {name}
        return ctes

    # FROM

    def sources(self, node: exp.Expression, scope: Scope, ctes: _Names) -> list[Item]:
        """A table with the joins that hang on it, as UPDATE and DELETE have it."""
        return self._source(node, scope, ctes)

    def _source(self, node: exp.Expression, scope: Scope, ctes: _Names) -> list[Item]:
        if isinstance(node, exp.Table):
            items = [self._table(node, scope, ctes)]
        elif isinstance(node, exp.Subquery):
            inside = node.this
            if isinstance(inside, exp.Table) or (isinstance(inside, exp.Subquery) and not _is_query(inside)):
                self._only(node, "this joins")
                items = self._source(inside, scope, ctes)
            else:
                self._only(node, "this alias joins with_ order limit offset")
                items = [self._derived(node, _derived_alias(node, self.tree), scope)]
                self.subqueries = True
                self.query(node, scope.block, scope.parent, ctes, in_from=True)
        elif isinstance(node, exp.Lateral):
            self._only(node, "this alias view outer")
            items = [self._derived(node, _derived_alias(node, self.tree), scope)]
            self.subqueries = True
            self.query(node.this, scope.block, scope, ctes)
        elif isinstance(node, exp.Values):
            items = [self._derived(node, _derived_alias(node, self.tree), scope)]
            self._subqueries(node, scope.block, scope, ctes)
        else:
            raise NotUnderstood(f"{type(node).__name__} in FROM")
        joins = node.args.get("joins") or []
        if joins:
            items = self._joins(items, joins, scope, ctes)
        return items

    def _table(self, node: exp.Table, scope: Scope, ctes: _Names) -> Item:
        self._only(node, "this db alias joins hints partition")
        self._met.add(id(node))
        alias = node.args.get("alias")
        if alias is not None:
            self._only(alias, "this columns")
        if isinstance(node.this, exp.JSONTable):
            item = self._derived(node, self.tree.name(alias.this.name) if alias is not None else "", scope)
            self._subqueries(node.this, scope.block, scope, ctes)
            return item
        if not isinstance(node.this, exp.Identifier):
            raise NotUnderstood(f"{type(node.this).__name__} as a table")
        name = self.tree.name(node.this.name)
        database = self.tree.name(node.args["db"].name) if node.args.get("db") else None
        shown = self.tree.name(alias.this.name) if alias is not None and alias.this is not None else name
        if database is None and name.lower() in ctes:
            return self._derived(node, shown, scope)
        if database is None and name.lower() == "dual":
            return self._derived(node, shown, scope)
        table = len(self.tables)
        span = self.tree.span(node.this)
        self.tables.append(TableRef(table, database, name, shown, scope.block, Access.READ, span, alias is not None))
        item = Item(shown.lower(), name, database, alias is not None, table)
        scope.items.append(item)
        return item

    def _derived(self, node: exp.Expression, alias: str, scope: Scope) -> Item:
        item = Item(alias.lower(), alias, None, True, None)
        scope.items.append(item)
        return item

    def _joins(self, left: list[Item], joins: list[exp.Expression], scope: Scope, ctes: _Names) -> list[Item]:
        building = self._blocks[scope.block]
        for join in joins:
            self._only(join, "this method side kind on using")
            side, kind = str(join.args.get("side") or ""), str(join.args.get("kind") or "")
            method = str(join.args.get("method") or "")
            if side not in ("", "LEFT", "RIGHT") or method not in ("", "NATURAL"):
                raise NotUnderstood("a kind of join that MySQL does not have")
            if kind not in ("", "INNER", "CROSS", "OUTER", "STRAIGHT_JOIN") or (kind == "OUTER" and not side):
                raise NotUnderstood("a kind of join that MySQL does not have")
            right = self._source(join.this, scope, ctes)
            using = [self.tree.name(column.name).lower() for column in join.args.get("using") or []]
            condition = join.args.get("on")
            building.joins.append(Join(condition, using, list(left), list(right), side))
            if side:
                inner = right if side == "LEFT" else left
                building.nullable.update(item.table for item in inner if item.table is not None)
            if method:
                scope.natural = True
            for column in using:
                self._merge(scope, building, column, left, right, side)
            if condition is not None:
                self._subqueries(condition, scope.block, scope, ctes)
            left = left + right
        return left

    def _merge(
        self, scope: Scope, building: Building, column: str, left: list[Item], right: list[Item], side: str
    ) -> None:
        """USING (column): the column is one of the left side's and one of the right side's, and they are equal."""
        one = left[0] if len(left) == 1 else scope.merged.get(column)
        other = right[0] if len(right) == 1 else None
        scope.merged[column] = other if side == "RIGHT" else one
        if one is None or other is None or one.table is None or other.table is None or scope.natural:
            scope.merged[column] = None
            return
        only = {"": None, "LEFT": other.table, "RIGHT": one.table}[side]
        if self._trust:
            building.equalities.append(ColumnEquality((one.table, column), (other.table, column), only))

    # Conditions

    def conditions(self, scope: Scope, where: exp.Expression | None) -> None:
        """Pins and equalities from WHERE and the ONs of a block whose FROM is complete."""
        building = self._blocks[scope.block]
        if not self._trust:
            return
        if where is not None:
            for fact in facts(where, self.tree, self._trust_or):
                self._use(fact, scope, building, None)
        for join in building.joins:
            if join.condition is None:
                continue
            restricted = {"": None, "LEFT": join.right, "RIGHT": join.left}[join.side]
            tables = None if restricted is None else {item.table for item in restricted if item.table is not None}
            for fact in facts(join.condition, self.tree, self._trust_or):
                self._use(fact, scope, building, tables)

    def _use(self, fact: Fact, scope: Scope, building: Building, restricted: set[int] | None) -> None:
        """Record what a condition says; `restricted` are the tables for which an outer join's ON may be used."""
        if isinstance(fact, (Limits, InDatabase, Either, Member)):
            self._limit(fact, scope, building, restricted)
            return
        if isinstance(fact, Constants):
            place = find(fact.column, scope)
            if place is None:
                if fact.column.table is None and restricted is None and not _may_be_null(fact):
                    if self._may_be_a_table_here(scope):
                        building.unresolved.append((fact.column.column, fact.values))
                return
            item, own = place
            if item.table is None or not own or (restricted is not None and item.table not in restricted):
                return
            if item.table in building.nullable and _may_be_null(fact):
                return
            building.pins.append(Pin(item.table, fact.column.column, fact.values))
            return
        left, right = find(fact.left, scope), find(fact.right, scope)
        if left is None or right is None:
            if restricted is None and self._may_be_a_table_here(scope):
                self._unresolved_equality(fact, left, right, building)
            return
        (one, one_own), (other, other_own) = left, right
        if one.table is None or other.table is None or one.table == other.table or not (one_own or other_own):
            return
        only: int | None = None
        if not one_own or not other_own:
            only = other.table if other_own else one.table
            if restricted is not None and only not in restricted:
                return
        elif restricted is not None:
            inside = [table for table in (one.table, other.table) if table in restricted]
            if not inside:
                return
            if len(inside) == 1:
                only = inside[0]
            else:  # both on the inner side: usable for both, one at a time
                building.equalities.append(
                    ColumnEquality((one.table, fact.left.column), (other.table, fact.right.column), one.table)
                )
                only = other.table
        building.equalities.append(
            ColumnEquality((one.table, fact.left.column), (other.table, fact.right.column), only)
        )

    def _limit(
        self, fact: Limits | InDatabase | Either | Member, scope: Scope, building: Building, restricted: set[int] | None
    ) -> None:
        """What `_use` does, for a condition that no NULL passes."""
        if isinstance(fact, Either):
            branches = tuple(self._bounds(branch, scope, restricted) for branch in fact.branches)
            if all(branches):
                building.either.append(branches)
        elif isinstance(fact, Member):
            if self._is_limited(fact.column, scope, restricted):
                building.members.append((self.find(fact.column, scope), fact.column.column, fact.query))
        elif isinstance(fact, InDatabase):
            if self._is_limited(fact.column, scope, restricted):
                building.in_database.append((self.find(fact.column, scope), fact.column.column))
        else:
            building.bounds += self._bounds((fact,), scope, restricted)

    def _bounds(
        self, branch: Iterable[Constants | Limits], scope: Scope, restricted: set[int] | None
    ) -> tuple[Bound, ...]:
        return tuple(
            Bound(
                self.find(fact.column, scope),
                fact.column.column,
                fact.operator if isinstance(fact, Limits) else "IN",
                fact.values,
            )
            for fact in branch
            if self._is_limited(fact.column, scope, restricted)
        )

    def _is_limited(self, column: ColumnName, scope: Scope, restricted: set[int] | None) -> bool:
        """May rows that do not pass be left out of the column's table, or of the one that the planner finds it in?"""
        place = find(column, scope)
        if place is None:
            return column.table is None and restricted is None and self._may_be_a_table_here(scope)
        item, own = place
        return item.table is not None and own and (restricted is None or item.table in restricted)

    def _unresolved_equality(
        self, fact: Same, left: tuple[Item, bool] | None, right: tuple[Item, bool] | None, building: Building
    ) -> None:
        for column, place in ((fact.left, left), (fact.right, right)):
            if place is None and column.table is not None:
                return
            if place is not None and place[0].table is None:
                return
        sides = [None if place is None else place[0].table for place in (left, right)]
        building.unresolved_equalities.append((sides[0], fact.left.column, sides[1], fact.right.column))

    def _may_be_a_table_here(self, scope: Scope) -> bool:
        return any(item.table is not None for item in scope.items)

    # Everything else

    def _subqueries(self, part: object, block: int, scope: Scope, ctes: _Names) -> None:
        """Read the queries inside an expression, and note its aggregates and windows."""
        flags = self._blocks[block].flags
        if self._alone:
            flags.update(self._flags)
            return
        waiting: list[Any] = [part]
        while waiting:
            node = waiting.pop()
            if isinstance(node, list):
                waiting.extend(reversed(node))
                continue
            role = role_of(node.__class__)
            if role is Role.PLAIN:
                pass
            elif role is Role.LEAF:
                continue
            elif role is Role.QUERY:
                self.subqueries = True
                self.query(node, block, scope, ctes)
                continue
            elif role is Role.TABLE:
                raise NotUnderstood(f"a table in an expression: {node.name}")
            elif role is Role.WINDOW:
                flags["windows"] = True
            elif role is Role.AGGREGATE or str(node.this).lower() in AGGREGATES:
                flags["aggregates"] = True
            for value in reversed(node.args.values()):
                if value is not None and value.__class__ not in _SCALARS:
                    waiting.append(value)

    def expressions(self, part: object, scope: Scope, ctes: _Names) -> None:
        self._subqueries(part, scope.block, scope, ctes)

    def with_clause(self, node: exp.Expression, parent: int | None, ctes: _Names) -> _Names:
        return self._with(node, parent, None, ctes)

    def finish_from(self, scope: Scope) -> None:
        building = self._blocks[scope.block]
        building.flags["outer_joins"] = any(join.side for join in building.joins)

    def set_flags(self, block: int, **flags: bool) -> None:
        self._blocks[block].flags.update(flags)

    def meet_target(self, node: exp.Expression | None) -> None:
        """Tables in `node` are mentions of ones that are known already."""
        if node is not None:
            self._met.update(id(table) for table in node.find_all(exp.Table))

    @staticmethod
    def scope(block: int) -> Scope:
        return Scope(block)

    def find(self, column: ColumnName, scope: Scope) -> int | None:
        """The table of this block that a column surely belongs to."""
        place = find(column, scope)
        return place[0].table if place is not None and place[1] else None

    @staticmethod
    def only(node: exp.Expression, known: str) -> None:
        """Raises NotUnderstood when the node has a part that is not known here."""
        Reader._only(node, known)

    @staticmethod
    def _only(node: exp.Expression, known: str) -> None:
        names = _names_in(known)
        for name, value in node.args.items():
            if value and name not in names:
                raise NotUnderstood(f"{type(node).__name__} with {name}")


_SCALARS = frozenset({str, bool, int})


@functools.cache
def _names_in(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _is_query(node: exp.Expression) -> bool:
    while isinstance(node, exp.Subquery):
        node = node.this
    return isinstance(node, (*_QUERY, exp.Values))


def _derived_alias(node: exp.Expression, tree: Tree) -> str:
    alias = node.args.get("alias")
    return tree.name(alias.this.name) if alias is not None and alias.this is not None else ""


def _may_be_null(fact: Constants) -> bool:
    """Could rows in whose place an outer join puts NULLs pass the condition?"""
    return fact.null_safe and any(value is Word.NULL or isinstance(value, (Param, Opaque)) for value in fact.values)


def _computed(select: exp.Select, tree: Tree) -> frozenset[str]:
    """See `Block.computed`."""
    shown: dict[str, str] = {}  # alias -> column, both lower case
    found: set[str] = set()
    parts: list[exp.Expression] = []
    for item in select.expressions:
        inner = item.this if isinstance(item, exp.Alias) else item
        if type(inner) is not exp.Column:
            parts.append(item)
        elif isinstance(item, exp.Alias):
            shown[tree.name(item.alias).lower()] = tree.name(inner.name).lower()
    order = select.args.get("order")
    parts += [each for each in order.expressions if type(each.this) is not exp.Column] if order is not None else []
    parts += [
        part for name in ("where", "group", "having", "limit", "offset", "distinct") if (part := select.args.get(name))
    ]
    parts += select.args.get("windows") or []
    for part in parts:
        found.update(tree.name(column.name).lower() for column in part.find_all(exp.Column))
    found.update(column for alias, column in shown.items() if alias in found)
    return frozenset(found)
