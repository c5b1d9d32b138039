"""A SELECT over several shards that sorts, limits or removes duplicates: what each shard is asked, how it is merged.

Every shard gets the client's text with more columns, other LIMITs and, for DISTINCT, a longer ORDER BY; its rows come
sorted, and are compared by values whose order is the server's own: numbers and times as they are, floating point as
DOUBLE, TIMESTAMP as seconds, ENUM and SET as numbers, strings by their WEIGHT_STRING.

Names in ORDER BY are looked for as servers do it (sql/sql_select.cc, find_order_in_list): a name alone is first an
alias or a select item, inside of an expression it is a column.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from parser.outline import Expression, Outline, Span
from parser.rewrite import Number, Piece
from parser.statement import Hole, Param, Value
from proxy.back.catalog import Column
from proxy.plan import refusals
from proxy.plan.merge import Merge, MergeKey
from proxy.plan.plan import ValueOf

Edit = tuple[Span, tuple[Piece, ...]]
MOST_ROWS = 18446744073709551615
_DIGITS = re.compile(r"[0-9]{1,20}")

AS_THEY_ARE = frozenset(
    [
        *("tinyint", "smallint", "mediumint", "int", "integer", "bigint", "decimal", "numeric", "bit"),
        *("date", "datetime", "time", "year"),
    ]
)
_STRINGS = frozenset(
    [
        *("char", "varchar", "tinytext", "text", "mediumtext", "longtext"),
        *("binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob"),
    ]
)
_ODD_TYPES = frozenset({"uuid", "inet4", "inet6"})
# What stands around a column of these types to give numbers that are in its order.
_NUMBERED = {
    "float": (b"CAST(", b" AS DOUBLE)"),
    "double": (b"CAST(", b" AS DOUBLE)"),
    "timestamp": (b"UNIX_TIMESTAMP(", b")"),
    "enum": (b"CAST(", b" AS UNSIGNED)"),
    "set": (b"CAST(", b" AS UNSIGNED)"),
}


KNOWN_TYPES = AS_THEY_ARE | _STRINGS | frozenset(_NUMBERED)


@dataclass(frozen=True, slots=True)
class Source:
    """One table of the SELECT's FROM: `columns` is None where they are not known."""

    name: str  # lower case: its alias, or its name
    written: str
    columns: tuple[Column, ...] | None

    def column(self, name: str) -> Column | None:
        return next((c for c in self.columns or () if c.name == name), None)


@dataclass(frozen=True, slots=True)
class Item:
    """A select item, stars replaced by what they stand for. `index`: its column, where no star comes before it."""

    text: tuple[Piece, ...]
    label: str
    index: int | None
    name: str  # lower case: alias, or the column's name
    expression: Expression | None = None  # None: from a star
    column: Column | None = None  # if it is a column of a known table
    aliased: bool = False


@dataclass(frozen=True, slots=True)
class MergeSelect:
    """See the module. `table` and `key` are the sharded table's, for refusals."""

    outline: Outline
    sources: tuple[Source, ...]
    table: str
    key: str
    odd_columns: frozenset[str] = frozenset()  # of any table of the statement: of types whose order is not known here
    unknown: str = ""  # a table of the statement whose columns are not known

    def made(
        self, value_of: ValueOf | None = None, literals: Sequence[bytes] | None = None
    ) -> tuple[Merge, list[Edit]]:
        """How to merge, and what to change in the text, given the literals; without them only as far as they do not
        matter. Raises StatementRefused."""
        return Making(self, value_of, literals).made()

    def describe(self) -> list[tuple[str, str]]:
        outline = self.outline
        lines = []
        if outline.order:
            keys = [label(key.expression) + (" DESC" if key.descending else "") for key in outline.order]
            lines.append(("sorted by", ", ".join(keys)))
        if outline.distinct:
            lines.append(("duplicates", "removed by every shard and while merging"))
        if outline.limit is not None:
            skipped = "the first rows up to offset and limit" if outline.limit.offset is not None else "the first rows"
            lines.append(("limit", f"{skipped} of every shard, then of all"))
        return lines


def label(expression: Expression) -> str:
    """An expression for people, without the contents of literals."""
    text = " ".join(expression.form)
    if "\0" in text:
        text = text.replace("\0'", "'?'").replace('\0"', "'?'").replace("\0", "?")
    if " " in text:
        for spaced, close in ((" . ", "."), ("( ", "("), (" )", ")"), (" ,", ","), (" (", "(")):
            text = text.replace(spaced, close)
    return text if len(text) <= 60 else text[:57] + "..."


@dataclass(slots=True)
class Making:
    """One `MergeSelect.made`."""

    select: MergeSelect
    value_of: ValueOf | None
    literals: Sequence[bytes] | None
    hidden: list[tuple[Piece, ...]] = field(default_factory=list)
    edits: list[Edit] = field(default_factory=list)
    found: dict[tuple[Piece, ...], int] = field(default_factory=dict)
    expanded: list[Item] | None = None
    as_written: list[Item] | None = None

    def made(self) -> tuple[Merge, list[Edit]]:
        outline = self.select.outline
        keys = []
        sorted_items: set[int] = set()
        for sort in outline.order:
            key = self.sort_key(sort.expression, sort.descending, sorted_items)
            if key is not None:
                keys.append(key)
        visible = None
        found_rows = "SQL_CALC_FOUND_ROWS" in outline.modifiers
        if outline.distinct:
            if found_rows and outline.limit is not None:
                raise refusals.GROUP_FOUND_ROWS.error()  # shards count what other shards have, too
            keys += self.distinct_keys(sorted_items)
            visible = len(self.items)
        # Weights tell strings apart that are equal but for spaces at their ends: then a shard's duplicates are not all
        # gone, and how many rows it takes is not known.
        splits = outline.distinct and any(key.weight is not None for key in keys)
        constant = outline.distinct and not keys  # all rows are the same one, which MariaDB gives whatever the OFFSET
        offset, limit = (0, 1) if constant else self.limit(MOST_ROWS if splits else None)
        self.add_hidden()
        hidden = len(self.hidden)
        merge = Merge(
            hidden,
            visible,
            tuple(placed(key, hidden) for key in keys),
            outline.distinct,
            offset,
            limit,
            found_rows=found_rows and not constant,
        )
        return merge, sorted(self.edits, key=lambda edit: edit[0])

    # Select items

    @property
    def items(self) -> list[Item]:
        """Every column of the result. Raises StatementRefused where a star cannot be replaced."""
        if self.expanded is None:
            self.expanded = _expanded(self.select, self.written)
        return self.expanded

    @property
    def written(self) -> list[Item]:
        """The select items as they are written, stars too."""
        if self.as_written is None:
            self.as_written = _written(self.select)
        return self.as_written

    # Keys

    def sort_key(self, expression: Expression, descending: bool, sorted_items: set[int]) -> MergeKey | None:
        """The key of one expression of ORDER BY; None for a constant. Raises StatementRefused."""
        if expression.position is not None:
            if self.value_of is None:
                return None
            number = self.value_of(expression.position)
            if not isinstance(number, int):
                return None  # a decimal: a constant like another
            items = self.items
            if not 1 <= number <= len(items):
                raise refusals.UNKNOWN_POSITION.error(position=str(number), clause="order clause")
            sorted_items.add(number - 1)
            return self.item_key(items[number - 1], descending)
        if expression.constant is not None:
            if may_be_place(expression.constant):
                raise refusals.SORT_CONSTANT.error(expression=label(expression))
            return None
        item = self.named(expression)
        if item is not None:
            if item.index is not None:
                sorted_items.add(item.index)
            return self.item_key(item, descending)
        self.check_names(expression)
        if self.select.outline.distinct:
            raise refusals.DISTINCT_ORDER.error(expression=label(expression))
        column = column_of(self.select, expression)
        item = Item((expression.span,), label(expression), None, "", expression, column)
        return self.key(item, descending)

    def named(self, expression: Expression) -> Item | None:
        """The select item that an expression of ORDER BY names or repeats, if any."""
        items = self.written
        if expression.column and not expression.table:
            name = expression.column
            aliased = [item for item in items if item.aliased and item.name == name]
            plain = [item for item in items if not item.aliased and item.name == name and item.expression is not None]
            stars = any(item.expression is not None and item.expression.star for item in items)
            texts = {item.expression.form for item in (*aliased, *plain) if item.expression is not None}
            if len(texts) > 1 or (aliased and stars and self.may_have(name)):
                raise refusals.AMBIGUOUS_NAME.error(name=name)
            if aliased or plain:
                return (aliased or plain)[0]
            return None
        repeated = (i for i in items if i.expression is not None and self.same(i.expression, expression))
        return next(repeated, None)

    def same(self, one: Expression, other: Expression) -> bool:
        """Are two expressions the same, literals included?"""
        if one.form != other.form or one.star:
            return False
        literals = self.literals
        return literals is None or all(literals[a] == literals[b] for a, b in zip(one.holes, other.holes))

    def may_have(self, name: str) -> bool:
        outline = self.select.outline
        return outline.derived or any(s.columns is None or s.column(name) is not None for s in self.select.sources)

    def check_names(self, expression: Expression) -> None:
        """Raises StatementRefused where an alias is used inside of an expression."""
        for item in self.select.outline.items:
            own = item.expression
            if item.alias and item.alias in expression.names and own.column != item.alias:
                if expression.column != item.alias:
                    raise refusals.ALIAS_IN_EXPRESSION.error(alias=item.alias, expression=label(expression))

    def item_key(self, item: Item, descending: bool) -> MergeKey | None:
        """The key of a select item; None for a constant. Raises StatementRefused."""
        if item.expression is not None and item.expression.constant is not None:
            return None
        return self.key(item, descending)

    def key(self, item: Item, descending: bool) -> MergeKey:
        """Raises StatementRefused where the value's order is not known."""
        text, name, index = item.text, item.label, item.index
        unsteady = item.expression is not None and item.expression.unsteady
        kind = self.kind(item)
        if not kind and item.expression is not None:
            self.check_types(item.expression)
        if kind in _NUMBERED:
            before, behind = _NUMBERED[kind]
            return MergeKey(self.hide((before, *text, behind)), descending=descending, label=name)
        if kind and kind not in AS_THEY_ARE and kind not in _STRINGS:
            raise refusals.SORT_TYPE.error(expression=name, type=kind.upper())
        value: int | None = None
        if kind not in _STRINGS:
            if index is not None:
                value = index
            elif unsteady:
                value = self.hide(text)
                self.edits.append(_replaced(text, b"turnout_%d" % (-1 - value)))
            else:
                value = self.hide(text if kind else self.weighed(item))
        if kind in AS_THEY_ARE or unsteady:
            return MergeKey(value, descending=descending, label=name)
        inside = self.weighed(item)
        weight = self.hide((b"WEIGHT_STRING(", *inside, b")"))
        collation = self.hide((b"IF((", *inside, b") IS NULL, NULL, COLLATION(", *inside, b"))"))
        return MergeKey(value, weight, collation, descending, name)

    def kind(self, item: Item) -> str:
        """The value's type as a column's is called, "" where that is not known: a column's, or its MIN's or MAX's."""
        column, expression = item.column, item.expression
        if column is None and expression is not None and expression.call in ("min", "max") and expression.arguments:
            column = column_of(self.select, expression.arguments[0])
            if column is not None and column.data_type in ("enum", "set"):  # compared as strings
                raise refusals.SORT_TYPE.error(expression=item.label, type=column.data_type.upper())
            if column is not None and column.data_type == "bit":
                raise refusals.MERGE_BIT.error(column=label(expression.arguments[0]))
        return column.data_type if column is not None else ""

    def weighed(self, item: Item) -> tuple[Piece, ...]:
        """The text whose value or weight is the item's. Under ONLY_FULL_GROUP_BY MariaDB does not let an expression of
        GROUP BY be part of others."""
        expression = item.expression
        if item.column is None and expression is not None and any(self.same(expression, g) for g in self.grouped_by()):
            return (b"MIN(", *item.text, b")")
        return item.text

    def grouped_by(self) -> list[Expression]:
        """The expressions of GROUP BY, places replaced by what they stand for."""
        found = []
        items = self.select.outline.items
        for expression in self.select.outline.group:
            if expression.position is None:
                found.append(expression)
                continue
            number = self.value_of(expression.position) if self.value_of is not None else None
            if isinstance(number, int) and 1 <= number <= len(items):
                found.append(items[number - 1].expression)
        return found

    def check_types(self, expression: Expression) -> None:
        """Raises StatementRefused where an expression may be of a type whose order is not known here."""
        select = self.select
        if select.unknown:
            raise refusals.SORT_UNKNOWN.error(expression=label(expression), table=select.unknown)
        odd = (
            sorted(select.odd_columns & expression.names) if not select.outline.derived else sorted(select.odd_columns)
        )
        odd += sorted(_ODD_TYPES & expression.names)
        if odd:
            raise refusals.SORT_TYPE.error(expression=label(expression), type=f"that of {odd[0]}")

    def hide(self, text: tuple[Piece, ...]) -> int:
        """A hidden column, once for each text; returned as -1 - its number (see `placed`)."""
        if text not in self.found:
            self.found[text] = len(self.hidden)
            self.hidden.append(text)
        return -1 - self.found[text]

    # DISTINCT

    def distinct_keys(self, sorted_items: set[int]) -> list[MergeKey]:
        """Keys for the select items that ORDER BY leaves out, by which every shard then sorts too."""
        keys: list[MergeKey] = []
        positions: list[int] = []
        for number, item in enumerate(self.items):
            if item.expression is not None and item.expression.unsteady:
                raise refusals.DISTINCT_UNSTEADY.error(expression=item.label)
            if item.column is not None and item.column.data_type == "bit":
                # Sorted by more than this, a server answers with another type for the column.
                raise refusals.MERGE_BIT.error(column=item.label)
            if number in sorted_items:
                continue
            key = self.item_key(item, False)
            if key is not None:
                keys.append(key)
                positions.append(number + 1)
        if positions:
            outline = self.select.outline
            start, end = outline.order_span
            text = ", ".join(map(str, positions)).encode()
            self.edits.append(((end, end), ((b", " if end > start else b" ORDER BY ") + text,)))
        return keys

    # LIMIT

    def limit(self, instead: int | None) -> tuple[int, int | None]:
        """(offset, count) of the client's, with every shard limited to what that takes, or to `instead`. Raises
        StatementRefused."""
        limit = self.select.outline.limit
        if limit is None or self.value_of is None:
            return 0, None
        count = self.row_count(limit.count, self.value_of)
        offset = self.row_count(limit.offset, self.value_of) if limit.offset is not None else 0
        if instead is None:
            instead = min(count + offset, MOST_ROWS) if count else 0
            bound = isinstance(limit.count, Param) or isinstance(limit.offset, Param)
            # One text for all values of a prepared statement.
            self.edits.append((limit.span, (Number(instead) if bound else b"%d" % instead,)))
        else:
            self.edits.append((limit.span, (b"%d" % instead,)))
        return offset, count

    @staticmethod
    def row_count(operand: Value, value_of: ValueOf) -> int:
        """An operand of LIMIT. A string bound to it counts as the number that it is (PHP binds them so)."""
        value = value_of(operand)
        if isinstance(value, str) and isinstance(operand, Param) and _DIGITS.fullmatch(value):
            value = int(value)
        if not isinstance(value, int) or not 0 <= value <= MOST_ROWS:
            raise refusals.MERGE_LIMIT.error()
        return value

    # The text

    def add_hidden(self) -> None:
        if self.hidden:
            end = self.select.outline.items_end
            pieces: list[Piece] = []
            for number, text in enumerate(self.hidden):
                pieces += [b", ", *text, b" AS turnout_%d" % number]
            self.edits.append(((end, end), tuple(pieces)))


def may_be_place(constant: Value) -> bool:
    """May a server take this constant in ORDER BY for a select item's place, or say that it is none? MariaDB does so
    with a bound number."""
    return isinstance(constant, Param) or (isinstance(constant, Hole) and not constant.is_string)


def placed(key: MergeKey, hidden: int) -> MergeKey:
    """The key with hidden column n (-1 - n so far) counted from the row's end."""

    def place(column: int | None) -> int | None:
        return column if column is None or column >= 0 else -1 - column - hidden

    return MergeKey(place(key.value), place(key.weight), place(key.collation), key.descending, key.label)


def _replaced(text: Sequence[Piece], by: bytes) -> Edit:
    span = text[0]
    assert isinstance(span, tuple)
    return span, (by,)


def owner(select: MergeSelect, expression: Expression) -> tuple[str, str] | None:
    """(table, column) that an expression is, if it is surely a column of a table whose columns are known."""
    if not expression.column:
        return None
    sources = select.sources
    if expression.table:
        sources = tuple(source for source in sources if source.name == expression.table)
        if len(sources) != 1:
            return None
    elif select.outline.derived or any(source.columns is None for source in sources):
        return None
    owners = [source for source in sources if source.column(expression.column) is not None]
    return (owners[0].name, expression.column) if len(owners) == 1 else None


def column_of(select: MergeSelect, expression: Expression) -> Column | None:
    """That column."""
    found = owner(select, expression)
    if found is None:
        return None
    return next(source.column(found[1]) for source in select.sources if source.name == found[0])


def _written(select: MergeSelect) -> list[Item]:
    items = []
    starred = False
    for number, item in enumerate(select.outline.items):
        expression = item.expression
        starred = starred or expression.star
        name = item.alias or expression.column
        items.append(
            Item(
                (expression.span,),
                label(expression),
                None if starred else number,
                name,
                expression,
                column_of(select, expression),
                bool(item.alias),
            )
        )
    return items


def _expanded(select: MergeSelect, written: Sequence[Item]) -> list[Item]:
    """The select items with stars replaced. Raises StatementRefused."""
    items: list[Item] = []
    for item in written:
        assert item.expression is not None
        if not item.expression.star:
            items.append(item)
            continue
        for source, column in _starred(select, item.expression):
            quoted = b"`%b`.`%b`" % (source.written.encode(), column.name.encode())
            items.append(Item((quoted,), column.name, None, column.name, None, column))
    return items


def _starred(select: MergeSelect, star: Expression) -> list[tuple[Source, Column]]:
    """What `*` or `t.*` stands for. Raises StatementRefused where that is not certain."""
    qualifier = star.form[-3] if len(star.form) > 2 else ""
    sources = [source for source in select.sources if not qualifier or source.name == qualifier]
    certain = (
        len(star.form) <= 3
        and bool(sources)
        and not (select.outline.derived or select.outline.merged)
        and (not qualifier or len(sources) == 1)
    )
    columns: list[tuple[Source, Column]] = []
    for source in sources:
        certain = certain and source.columns is not None and _quotable(source.written)
        for column in source.columns or ():
            certain = certain and _quotable(column.name)
            if not column.invisible:
                columns.append((source, column))
    if not certain:
        raise refusals.MERGE_STAR.error(star=label(star))
    return columns


def _quotable(name: str) -> bool:
    return name.isascii() and "`" not in name
