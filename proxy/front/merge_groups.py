"""Sorted rows of groups -> whole groups, sorted by something else if need be; what is kept for that is bounded."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

from proxy.front.merge_fold import Folder
from proxy.front.merge_keys import NUMBERS, KeyReader
from proxy.plan import refusals
from proxy.plan.merge import Condition, Groups
from proxy.wire.column import ColumnDefinition
from proxy.wire.resultset import Row
from proxy.wire.rows import Rows

MOST_BYTES = 32 << 20  # of groups that wait to be sorted
_OVERHEAD = 200  # bytes that a kept group takes besides its row
_SPARE = 1000  # groups kept above the LIMIT before those beyond it are dropped


class Gathering:
    """`wanted`: how many groups the client can get at most."""

    def __init__(
        self,
        groups: Groups,
        definitions: Sequence[ColumnDefinition],
        visible: int,
        wanted: int | None,
        rows: Rows,
    ) -> None:
        self._rows = rows
        self._folder = Folder(groups.folds, definitions, rows)
        self._reader = KeyReader(groups.order, definitions, rows.binary) if groups.order else None
        self._having = groups.having
        for each in self._having:
            if definitions[each.column].type not in NUMBERS:
                raise refusals.FOLD_TYPE.error(expression=each.label, type="no exact number")
        self._visible = visible
        self._wanted = wanted
        self._key: Any = None
        self._group: Row | None = None
        self._kept: list[tuple[Any, bytes]] = []
        self._size = 0

    def add(self, keys: Sequence[Any], rows: Sequence[Row], order: Sequence[int]) -> list[bytes]:
        """The groups that are whole now, encoded, as far as they need not wait. Raises StatementRefused."""
        whole: list[bytes] = []
        for n in order:
            if self._group is not None and keys[n] == self._key:
                self._folder.add(self._group, rows[n])
                continue
            self._finish(whole)
            self._key, self._group = keys[n], rows[n]
        return whole

    def rest(self) -> list[bytes]:
        """The last group, and all that waited."""
        whole: list[bytes] = []
        self._finish(whole)
        if self._reader is None:
            return whole
        self._kept.sort(key=_first)
        return [row for _, row in self._kept]

    def _holds(self, condition: Condition, value: bytes | None) -> bool:
        """NULL is neither equal nor different, less nor greater."""
        if value is None:
            return False
        digits = self._rows.number(condition.column, value).decode("ascii")
        number = float(digits) if isinstance(condition.number, float) else Decimal(digits)
        return _HOLDS[condition.operator](number, condition.number)

    def _finish(self, whole: list[bytes]) -> None:
        group, self._group = self._group, None
        if group is None:
            return
        self._folder.finish(group)
        if not all(self._holds(each, group[each.column]) for each in self._having):
            return
        row = self._rows.encode(group[: self._visible])
        if self._reader is None:
            whole.append(row)
            return
        self._kept.append((self._reader.key(group), row))
        self._size += len(row) + _OVERHEAD
        if self._wanted is not None and len(self._kept) > 2 * self._wanted + _SPARE:
            self._kept.sort(key=_first)
            del self._kept[self._wanted :]
            self._size = sum(len(kept) + _OVERHEAD for _, kept in self._kept)
        if self._size > MOST_BYTES:
            raise refusals.MERGE_MEMORY.error(limit=str(MOST_BYTES))


_HOLDS: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "<>": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def _first(kept: tuple[Any, bytes]) -> Any:
    return kept[0]
