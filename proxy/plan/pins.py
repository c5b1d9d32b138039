"""What the conditions of a statement say about shard keys: which values, and which tables go together.

Nodes are (table index, column). An equality leads from node A to node B where every row of B's table that can matter
has in that column the value that some row of A's table has. It leads to tables of its own block only (a condition in a
subquery restricts the subquery's rows, never those around it) and, in the ON of an outer join, to the inner side only.
It is followed only between columns whose equality `proxy.plan.keys` models, so that `a = b AND b = 5` may be read as
`a = 5`: not so for a number and a string.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from parser.statement import Block, Bound, Opaque, Statement, TableRef, Value
from proxy.back.catalog import TableSchema
from proxy.plan.keys import KeyForm, Unmodelled, key_form

Node = tuple[int, str]
SchemaOf = Callable[[int], TableSchema | None]


@dataclass(frozen=True, slots=True)
class Conditions:
    """`pins`: values by node, each tuple on its own sufficient. `edges`: equalities by the node they lead from."""

    pins: dict[Node, list[tuple[Value, ...]]]
    edges: dict[Node, set[Node]]

    def values(self, table: int, column: str) -> tuple[Value, ...] | None:
        """The fewest values that `column` of every row of `table` that can matter has; None where nothing is known."""
        found = self.pins.get((table, column), [])
        return min(found, key=len, default=None)

    def reachable(self, start: Node) -> set[Node]:
        """The nodes whose value is that of `start`."""
        seen = {start}
        todo = [start]
        while todo:
            for node in self.edges.get(todo.pop(), ()):
                if node not in seen:
                    seen.add(node)
                    todo.append(node)
        return seen


def conditions(statement: Statement, schema_of: SchemaOf) -> Conditions:
    """Everything that the statement's blocks say, with equalities followed."""
    resolver = _Resolver(statement, schema_of)
    direct: dict[Node, list[tuple[Value, ...]]] = {}
    edges: dict[Node, set[Node]] = {}
    for block in statement.blocks:
        pinned: list[tuple[Node, tuple[Value, ...]]] = [((pin.table, pin.column), pin.values) for pin in block.pins]
        for node, values in [*pinned, *resolver.pins(block)]:
            if values and not any(isinstance(value, Opaque) for value in values):
                direct.setdefault(node, []).append(values)
        equal = [(each.left, each.right, each.only) for each in block.equalities]
        for left, right, only in [*equal, *resolver.equalities(block)]:
            for source, target in ((left, right), (right, left)):
                if (only is None or only == target[0]) and statement.tables[target[0]].block == block.index:
                    if _same_texts(resolver.form(source), resolver.form(target)):
                        edges.setdefault(source, set()).add(target)
    found = Conditions({}, edges)
    for node, alternatives in direct.items():
        for reached in found.reachable(node):
            found.pins.setdefault(reached, []).extend(alternatives)
    return found


def bounds(statement: Statement, schema_of: SchemaOf) -> dict[int, list[Bound]]:
    """What the blocks say of their tables' columns besides constants that they equal, by table."""
    resolver = _Resolver(statement, schema_of)
    found: dict[int, list[Bound]] = {}
    for block in statement.blocks:
        for bound in block.bounds:
            table = bound.table if bound.table is not None else resolver.owner(block.index, bound.column)
            if table is not None:
                found.setdefault(table, []).append(bound)
    return found


def memberships(statement: Statement, schema_of: SchemaOf) -> Iterable[tuple[int, str, int]]:
    """`Block.members`, with their tables."""
    resolver = _Resolver(statement, schema_of)
    for block in statement.blocks:
        for table, column, query in block.members:
            owner = table if table is not None else resolver.owner(block.index, column)
            if owner is not None:
                yield owner, column, query


def alternatives(statement: Statement, schema_of: SchemaOf) -> dict[int, list[list[list[Bound]]]]:
    """By table, for each OR that all of the table's rows have to do with: what its branches say of them."""
    resolver = _Resolver(statement, schema_of)
    found: dict[int, list[list[list[Bound]]]] = {}
    for block in statement.blocks:
        for branches in block.either:
            by_table: list[dict[int, list[Bound]]] = []
            for branch in branches:
                of_branch: dict[int, list[Bound]] = {}
                for bound in branch:
                    table = bound.table if bound.table is not None else resolver.owner(block.index, bound.column)
                    if table is not None:
                        of_branch.setdefault(table, []).append(bound)
                by_table.append(of_branch)
            for table in by_table[0]:
                if all(table in of_branch for of_branch in by_table):
                    found.setdefault(table, []).append([of_branch[table] for of_branch in by_table])
    return found


def _same_texts(left: KeyForm | None, right: KeyForm | None) -> bool:
    return left is not None and right is not None and left.compares_with(right)


class _Resolver:
    """Finds the tables of unqualified columns among those of their own block."""

    def __init__(self, statement: Statement, schema_of: SchemaOf) -> None:
        self._statement = statement
        self._schema_of = schema_of

    def form(self, node: Node) -> KeyForm | None:
        schema = self._schema_of(node[0])
        column = schema.column(node[1]) if schema is not None else None
        if column is None:
            return None
        form = key_form(column)
        return None if isinstance(form, Unmodelled) else form

    def pins(self, block: Block) -> Iterable[tuple[Node, tuple[Value, ...]]]:
        for column, values in block.unresolved:
            table = self.owner(block.index, column)
            if table is not None:
                yield (table, column), values

    def equalities(self, block: Block) -> Iterable[tuple[Node, Node, int | None]]:
        for left_table, left, right_table, right in block.unresolved_equalities:
            if left_table is None:
                left_table = self._owner_around(block.index, left)
            if right_table is None:
                right_table = self._owner_around(block.index, right)
            if left_table is not None and right_table is not None and left_table != right_table:
                yield (left_table, left), (right_table, right), None

    def owner(self, block: int, column: str) -> int | None:
        """The one table of this block that has the column, if the columns of all are known.

        A name that no table here has may be a derived table's, so it is not looked for in the blocks around this one.
        """
        if not self._columns_known(block):
            return None
        owners = [t.index for t in self._tables(block) if self._has(t.index, column)]
        return owners[0] if len(owners) == 1 else None

    def _owner_around(self, block: int, column: str) -> int | None:
        """The one table that an unqualified column belongs to, of this block or else of those around it."""
        at: int | None = block
        while at is not None:
            table = self.owner(at, column)
            if table is not None:
                return table
            if not self._columns_known(at) or any(self._has(each.index, column) for each in self._tables(at)):
                return None
            at = self._statement.blocks[at].around
        return None

    def _columns_known(self, block: int) -> bool:
        return all(self._schema_of(table.index) is not None for table in self._tables(block))

    def _has(self, table: int, column: str) -> bool:
        schema = self._schema_of(table)
        return schema is not None and schema.column(column) is not None

    def _tables(self, block: int) -> list[TableRef]:
        insert = self._statement.insert
        return [
            table
            for table in self._statement.tables
            if table.block == block and not (insert is not None and insert.table == table.index)
        ]
