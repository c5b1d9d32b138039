"""A SELECT whose groups have rows on several shards: every shard groups its own, sorted by what is grouped by, and the
parts of each group are put together by what is known of COUNT, SUM, MIN, MAX and AVG of exact numbers.

Groups are sorted by the shards as far as ORDER BY asks for what is grouped by; then LIMIT, too, is theirs. A sort by
aggregates is done when the groups are whole.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from parser.outline import Expression, SelectItem
from parser.rewrite import Piece
from parser.statement import Hole, Param
from proxy.back.catalog import Column
from proxy.plan import refusals
from proxy.plan.merge import Condition, Fold, Groups, How, Merge, MergeKey
from proxy.plan.merge_select import (
    AS_THEY_ARE,
    MOST_ROWS,
    Edit,
    Item,
    Making,
    MergeSelect,
    column_of,
    label,
    may_be_place,
    owner,
    placed,
)
from proxy.plan.plan import ValueOf, WholeDouble

_PLAIN_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]*)?|\.[0-9]+")
_ROUNDED = frozenset({"cast", "convert", "round", "truncate"})  # calls whose values have the digits that are shown
_HOW = {"count": How.COUNT, "sum": How.SUM, "avg": How.AVERAGE, "min": How.LEAST, "max": How.GREATEST}


@dataclass(frozen=True, slots=True)
class MergeGroups(MergeSelect):
    """See the module. `keys`: (table, column) by whose value alone every row is on its shard."""

    keys: frozenset[tuple[str, str]] = frozenset()

    def made(
        self, value_of: ValueOf | None = None, literals: Sequence[bytes] | None = None
    ) -> tuple[Merge, list[Edit]]:
        return _GroupMaking(self, value_of, literals, keys=self.keys).made()

    def describe(self) -> list[tuple[str, str]]:
        by = ", ".join(label(expression) for expression in self.outline.group)
        described = super(MergeGroups, self).describe()
        return [("groups", f"by {by}, put together" if by else "one row of each shard, put together"), *described]


@dataclass(slots=True)
class _Group:
    """One expression of GROUP BY: `text` as it is written there, `item` what it stands for."""

    text: tuple[Piece, ...]
    item: Item


@dataclass(slots=True)
class _GroupMaking(Making):
    keys: frozenset[tuple[str, str]] = frozenset()
    groups: list[_Group] = field(default_factory=list)
    certain: bool = True  # no place in GROUP BY or ORDER BY whose number is not known yet

    def made(self) -> tuple[Merge, list[Edit]]:
        outline = self.select.outline
        if outline.distinct or "SQL_CALC_FOUND_ROWS" in outline.modifiers:
            raise refusals.GROUP_FOUND_ROWS.error()
        for expression in outline.group:
            self.add_group(expression)
        folds = self.folds()
        having = self.having(folds)
        by_group, final, falls = self.sorting(folds)
        keys = []
        texts: list[Piece] = []
        for group, falling in by_group:
            keys.append(self.key(group.item, falling))
            texts += [b", ", *group.text, b" DESC" if falling else b""]
        whole = bool(final) or not outline.group
        if final and texts:
            # Without effect, since no two rows of a shard have the same group; but columns that a server would have to
            # sort by a temporary table are described a little differently.
            for sort in outline.order:
                texts += [b", ", sort.expression.span, b" DESC" if sort.descending else b""]
        offset, limit = self.limit(MOST_ROWS if whole or having else None)
        if texts:
            self.edits.append((outline.order_span, (b"ORDER BY " if falls else b" ORDER BY ", *texts[1:])))
        self.add_hidden()
        hidden = len(self.hidden)
        merge = Merge(
            hidden,
            len(outline.items),
            tuple(placed(key, hidden) for key in keys),
            offset=offset,
            limit=limit,
            groups=Groups(
                tuple(_placed_fold(fold, hidden) for fold in folds),
                tuple(placed(key, hidden) for key in final),
                tuple(dataclasses.replace(each, column=_place(each.column, hidden)) for each in having),
            ),
        )
        return merge, sorted(self.edits, key=lambda edit: edit[0])

    # GROUP BY

    def add_group(self, expression: Expression) -> None:
        items = self.written
        text = (expression.span,)
        if expression.position is not None:
            if self.value_of is None:
                self.certain = False
                return
            number = self.value_of(expression.position)
            if not isinstance(number, int):
                raise refusals.GROUP_CONSTANT.error(expression=label(expression))
            if not 1 <= number <= len(items):
                raise refusals.UNKNOWN_POSITION.error(position=str(number), clause="group statement")
            item = items[number - 1]
        elif expression.constant is not None:
            raise refusals.GROUP_CONSTANT.error(expression=label(expression))
        else:
            item = self.grouped(expression, items)
        assert item.expression is not None
        if item.expression.aggregate or item.expression.unsteady or item.expression.constant is not None:
            raise refusals.GROUP_ITEM.error(expression=item.label, column=self.select.key)
        if item.column is not None and item.column.data_type == "bit":
            raise refusals.MERGE_BIT.error(column=item.label)
        self.groups.append(_Group(text, item))

    def grouped(self, expression: Expression, items: list[Item]) -> Item:
        """What an expression of GROUP BY stands for: a column, or else an alias. Raises StatementRefused."""
        name = expression.column
        if name and not expression.table:
            aliased = [item for item in items if item.aliased and item.name == name]
            for item in aliased:
                assert item.expression is not None
                if len(aliased) > 1 or (self.may_have(name) and item.expression.column != name):
                    raise refusals.AMBIGUOUS_NAME.error(name=name)
                return item
        self.check_names(expression)
        index = next((n for n, item in enumerate(items) if self.is_same(item.expression, expression)), None)
        return Item((expression.span,), label(expression), index, "", expression, column_of(self.select, expression))

    def is_same(self, one: Expression | None, other: Expression) -> bool:
        if one is None:
            return False
        mine, its = owner(self.select, one), owner(self.select, other)
        return self.same(one, other) or (mine is not None and mine == its)

    def group_of(self, expression: Expression) -> _Group | None:
        return next((group for group in self.groups if self.is_same(group.item.expression, expression)), None)

    # The select items

    def folds(self) -> list[Fold]:
        folds = []
        for number, item in enumerate(self.select.outline.items):
            fold = self.fold(number, item)
            if fold is not None:
                folds.append(fold)
        return folds

    def fold(self, number: int, item: SelectItem) -> Fold | None:
        """How the item's values become one; None where they are the same for the whole group. Raises
        StatementRefused."""
        expression = item.expression
        refused = refusals.GROUP_ITEM.error(expression=label(expression), column=self.select.key)
        if expression.constant is not None or (not expression.aggregate and self.group_of(expression) is not None):
            return None
        how = _HOW.get(expression.call)
        if how is None or any(argument.aggregate for argument in expression.arguments):
            if not self.certain and not expression.aggregate and not expression.star:
                return None  # perhaps it is what a place in GROUP BY stands for
            raise refused
        if how in (How.COUNT, How.SUM, How.AVERAGE) and expression.distinct:
            if how is not How.COUNT or not any(owner(self.select, a) in self.keys for a in expression.arguments):
                raise refused
        if len(expression.arguments) != 1 and not expression.distinct:
            raise refused
        name = label(expression)
        argument = expression.arguments[0]
        if expression.unsteady:
            raise refused
        if how in (How.SUM, How.AVERAGE) and self.may_have_more_digits(argument):
            raise refusals.FOLD_QUOTIENT.error(expression=name)
        if how is How.AVERAGE:
            inside = (argument.span,)
            total, count = self.hide((b"SUM(", *inside, b")")), self.hide((b"COUNT(", *inside, b")"))
            return Fold(number, how, name, total, count)
        if how in (How.COUNT, How.SUM):
            return Fold(number, how, name)
        return Fold(number, how, name, key=self.extreme(number, expression, argument))

    def may_have_more_digits(self, argument: Expression) -> bool:
        """Does a server add up more digits of it than a sum shows? Of a quotient, be it in a derived table, it does."""
        if argument.call in _ROUNDED:
            return False
        column = column_of(self.select, argument)
        return "/" in argument.form or (self.select.outline.derived and column is None)

    def has_quotient(self, fold: Fold) -> bool:
        return self.select.outline.derived or "/" in fold.label

    def extreme(self, number: int, expression: Expression, argument: Expression) -> MergeKey:
        column = column_of(self.select, argument)
        if column is not None and column.data_type in ("enum", "set"):  # compared as strings, shown as such or not
            raise refusals.SORT_TYPE.error(expression=label(expression), type=column.data_type.upper())
        if column is not None and column.data_type == "float":  # what is compared would change the column's length
            raise refusals.FOLD_TYPE.error(expression=label(expression), type="FLOAT")
        if column is not None and column.data_type == "bit":  # shown as a number, or as bits, as a server's plan has it
            raise refusals.MERGE_BIT.error(column=label(argument))
        if column is not None and (column.data_type in AS_THEY_ARE or column.data_type == "double"):
            return MergeKey(number, label=label(expression))
        if column is None:
            self.check_types(argument)
        # MIN(x) has the type of x, and its order.
        typed = Column("", column.data_type) if column is not None else None
        return self.key(Item((expression.span,), label(expression), number, "", None, typed), False)

    # HAVING

    def having(self, folds: list[Fold]) -> list[Condition]:
        """What whole groups are asked, in place of every shard's. May add folds. Raises StatementRefused."""
        outline = self.select.outline
        start, end = outline.having_span
        if start == end:
            return []
        refused = refusals.GROUP_HAVING.error(column=self.select.key)
        if outline.having is None or not outline.group:
            raise refused
        found = []
        for each in outline.having:
            number = each.right.constant
            if not isinstance(number, (Hole, Param)) or each.right.form[0] == "(":
                raise refused
            if isinstance(number, Hole) and number.is_string:
                raise refused
            fold = self.compared(each.left, folds)
            if fold is None or fold.how is How.AVERAGE or (fold.key is not None and self.has_quotient(fold)):
                raise refused  # whose digits are more than those that are shown
            if self.literals is not None:
                value = self.compared_with(number, self.literals)
                if value is None:
                    raise refused
                found.append(Condition(fold.column, each.operator, value, fold.label))
        self.edits.append(((start, end), ()))
        return found

    def compared_with(self, number: Hole | Param, literals: Sequence[bytes]) -> Decimal | float | None:
        """A plain number, or a whole one that is bound; None for all else."""
        if isinstance(number, Param):
            bound = self.value_of(number) if self.value_of is not None else None
            if isinstance(bound, WholeDouble):
                return float(bound)
            return Decimal(bound) if isinstance(bound, int) else None
        text = literals[number.index].decode("ascii", "replace")
        if not _PLAIN_NUMBER.fullmatch(text):
            return None
        return Decimal(text).copy_negate() if number.negative else Decimal(text)

    def compared(self, expression: Expression, folds: list[Fold]) -> Fold | None:
        """The fold of an aggregate in HAVING: a select item's, by its alias or repeated, or a hidden one."""
        name = expression.column
        if name and not expression.table and not self.may_have(name):
            aliased = [n for n, item in enumerate(self.select.outline.items) if item.alias == name]
            return next((fold for fold in folds if aliased == [fold.column]), None)
        if expression.call not in _HOW or self.names_an_alias(expression):
            return None
        number = self.hide((expression.span,))
        fold = self.fold(number, SelectItem(expression))
        if fold is not None:
            folds.append(fold)
        return fold

    def names_an_alias(self, expression: Expression) -> bool:
        return any(item.alias and item.alias in expression.names for item in self.select.outline.items)

    # ORDER BY

    def sorting(self, folds: list[Fold]) -> tuple[list[tuple[_Group, bool]], list[MergeKey], bool]:
        """(what every shard sorts by and whether it falls, by what whole groups are sorted, is there an ORDER BY)."""
        outline = self.select.outline
        wanted: list[tuple[_Group | MergeKey, bool]] = []
        for sort in outline.order:
            found = self.sorted_by(sort.expression, sort.descending, folds)
            if found is not None:
                wanted.append((found, sort.descending))
        chosen: list[tuple[_Group, bool]] = []
        if all(isinstance(found, _Group) for found, _ in wanted):
            for found, falls in wanted:
                if isinstance(found, _Group) and not any(group is found for group, _ in chosen):
                    chosen.append((found, falls))
            final: list[MergeKey] = []
        else:
            final = []
            for found, falls in wanted:
                if isinstance(found, MergeKey):
                    final.append(found)
                else:
                    final.append(self.key(found.item, falls))
        rest = [(group, False) for group in self.groups if not any(group is one for one, _ in chosen)]
        return [*chosen, *rest], final, bool(outline.order)

    def sorted_by(self, expression: Expression, falls: bool, folds: list[Fold]) -> _Group | MergeKey | None:
        items = self.written
        refused = refusals.GROUP_ORDER.error(expression=label(expression))
        item: Item | None
        if expression.position is not None:
            if self.value_of is None:
                return None
            number = self.value_of(expression.position)
            if not isinstance(number, int):
                return None
            if not 1 <= number <= len(items):
                raise refusals.UNKNOWN_POSITION.error(position=str(number), clause="order clause")
            item = items[number - 1]
        elif expression.constant is not None:
            if may_be_place(expression.constant):
                raise refusals.SORT_CONSTANT.error(expression=label(expression))
            return None
        else:
            item = self.named(expression)
            if item is None:
                self.check_names(expression)
        own = item.expression if item is not None else expression
        assert own is not None
        group = self.group_of(own)
        if group is not None:
            return group
        if item is None or item.index is None:
            if not self.certain:
                return None
            raise refused
        fold = next((fold for fold in folds if fold.column == item.index), None)
        if fold is None:
            return None if own.constant is not None or not self.certain else self._raise(refused)
        if fold.key is not None:
            key = fold.key
            return MergeKey(key.value, key.weight, key.collation, falls, fold.label)
        return MergeKey(fold.column, descending=falls, label=fold.label)

    @staticmethod
    def _raise(refused: Exception) -> None:
        raise refused


def _placed_fold(fold: Fold, hidden: int) -> Fold:
    key = placed(fold.key, hidden) if fold.key is not None else None
    total = _place(fold.sum, hidden) if fold.sum is not None else None
    count = _place(fold.count, hidden) if fold.count is not None else None
    return Fold(_place(fold.column, hidden), fold.how, fold.label, total, count, key)


def _place(column: int, hidden: int) -> int:
    """Hidden column n (-1 - n so far) counted from the row's end."""
    return column if column >= 0 else -1 - column - hidden
