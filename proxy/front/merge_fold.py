"""The parts of a group from several servers -> the group: exact arithmetic as servers do it.

DECIMAL sums are added exactly. An average is the sum divided by the count as MariaDB's and MySQL's do_div_mod
(strings/decimal.c) does it: digits behind the point come in words of nine, what does not fit is cut off, and the result
is then rounded half up to the column's decimals.
"""

from __future__ import annotations

from collections.abc import Sequence

from proxy.errors import ProtocolError
from proxy.front.merge_keys import KeyReader
from proxy.plan import refusals
from proxy.plan.merge import Fold, How
from proxy.wire import column as wire
from proxy.wire.column import ColumnDefinition
from proxy.wire.resultset import Row
from proxy.wire.rows import Rows

_WORD = 9  # digits
_MOST_DIGITS = 65
_NAMES = {wire.FLOAT: "FLOAT", wire.DOUBLE: "DOUBLE"}


def scaled(text: bytes) -> tuple[int, int]:
    """A decimal's text as (integer, digits behind the point). Raises ProtocolError where it is none."""
    whole, _, fraction = text.partition(b".")
    try:
        return int(whole + fraction), len(fraction)
    except ValueError:
        raise ProtocolError("a server broke the protocol: it sent something else where a number was due") from None


def unscaled(number: int, scale: int) -> bytes:
    """And back."""
    if not scale:
        return b"%d" % number
    digits = b"%0*d" % (scale + 1, abs(number))
    return (b"-" if number < 0 else b"") + digits[:-scale] + b"." + digits[-scale:]


def added(one: bytes, other: bytes) -> bytes:
    """The sum of two decimals."""
    (a, scale_a), (b, scale_b) = scaled(one), scaled(other)
    scale = max(scale_a, scale_b)
    return unscaled(a * 10 ** (scale - scale_a) + b * 10 ** (scale - scale_b), scale)


def average(total: bytes, count: int, decimals: int) -> bytes:
    """`total` by `count` with `decimals` digits behind the point."""
    number, scale = scaled(total)
    words = -(-scale // _WORD) * _WORD
    more = max(0, decimals - scale - (words - scale))
    kept = -(-(words + more) // _WORD) * _WORD
    sign = -1 if number < 0 else 1
    quotient = abs(number) * 10 ** (kept - scale) // count
    if kept > decimals:
        unit = 10 ** (kept - decimals)
        quotient = (quotient * 2 + unit) // (2 * unit)
    else:
        quotient *= 10 ** (decimals - kept)
    return unscaled(sign * quotient, decimals)


class Folder:
    """Puts rows of one group together. Raises StatementRefused for types that do not allow it."""

    def __init__(self, folds: Sequence[Fold], columns: Sequence[ColumnDefinition], rows: Rows) -> None:
        self._columns = columns
        self._rows = rows
        self._folds = [
            (fold, KeyReader([fold.key], columns, rows.binary) if fold.key is not None else None) for fold in folds
        ]
        for fold in folds:
            for column in (fold.column, fold.sum):
                kind = columns[column].type if column is not None else wire.NEWDECIMAL
                if fold.how in (How.SUM, How.AVERAGE) and kind not in (wire.NEWDECIMAL, wire.DECIMAL):
                    name = _NAMES.get(kind, f"number {kind} of the protocol")
                    raise refusals.FOLD_TYPE.error(expression=fold.label, type=name)

    def add(self, group: Row, part: Row) -> None:
        """Add one part to the first."""
        for fold, reader in self._folds:
            if reader is not None:
                self._extreme(fold, reader, group, part)
            elif fold.how is How.AVERAGE:
                assert fold.sum is not None
                assert fold.count is not None
                self._sum(group, part, fold.sum)
                self._sum(group, part, fold.count)
            else:
                self._sum(group, part, fold.column)

    def finish(self, group: Row) -> None:
        """All parts are there."""
        for fold, _ in self._folds:
            if fold.how is How.AVERAGE:
                assert fold.sum is not None
                assert fold.count is not None
                total, counted = group[fold.sum], group[fold.count]
                count = int(self._rows.number(fold.count, counted)) if counted is not None else 0
                decimals = self._columns[fold.column].decimals
                group[fold.column] = average(total, count, decimals) if total is not None and count else None
            value = group[fold.column]
            if fold.how in (How.SUM, How.AVERAGE) and value is not None and len(value.strip(b"-.")) > _MOST_DIGITS + 1:
                raise refusals.FOLD_OVERFLOW.error(expression=fold.label)

    def _sum(self, group: Row, part: Row, column: int) -> None:
        one, other = group[column], part[column]
        if one is None:
            group[column] = other
        elif other is not None:
            rows = self._rows
            group[column] = rows.value(column, added(rows.number(column, one), rows.number(column, other)))

    @staticmethod
    def _extreme(fold: Fold, reader: KeyReader, group: Row, part: Row) -> None:
        """Where the part's value is less (greater) than the group's, it takes its place. NULL is no value."""
        assert fold.key is not None
        if part[fold.column] is None:
            return
        if group[fold.column] is not None:
            ours, its = reader.key(group), reader.key(part)
            if (its >= ours) if fold.how is How.LEAST else (its <= ours):  # type: ignore[operator]
                return
        for column in (fold.column, fold.key.value, fold.key.weight, fold.key.collation):
            if column is not None:
                group[column] = part[column]
