"""Rows of a text result as the VALUES of an INSERT that stores the same bytes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType

from proxy.plan.temporary_table import ColumnText
from proxy.wire import lenenc


class RowText:
    """Collects rows. `size`: bytes so far. `seen`: by number of a column of whole numbers, a set for its values."""

    def __init__(self, columns: Sequence[ColumnText], seen: Mapping[int, set[bytes]] = MappingProxyType({})) -> None:
        self._seen = tuple(seen.items())
        self._heads = tuple(None if c.introducer is None else c.introducer + b"'" for c in columns)
        self._rows: list[bytes] = []
        self.size = 0

    def add(self, payloads: Sequence[bytes]) -> None:
        """Payloads of row packets."""
        heads = self._heads
        rows = self._rows
        for payload in payloads:
            pos = 0
            parts = []
            for head in heads:
                n = payload[pos]
                pos += 1
                if n == 0xFB:
                    parts.append(b"NULL")
                    continue
                if n < 0xFB:
                    value = payload[pos : pos + n]
                    pos += n
                else:
                    found, pos = lenenc.read_bytes(payload, pos - 1)
                    value = found or b""
                if head is None:
                    parts.append(value)
                    continue
                if b"'" in value or b"\\" in value:
                    value = value.replace(b"\\", b"\\\\").replace(b"'", b"\\'")
                parts.append(head + value + b"'")
            for number, values in self._seen:
                if parts[number] != b"NULL":
                    values.add(parts[number])
            row = b"(" + b",".join(parts) + b")"
            rows.append(row)
            self.size += len(row) + 1

    def add_values(self, values: Sequence[bytes | None]) -> None:
        """One row."""
        parts = []
        for head, value in zip(self._heads, values, strict=True):
            if value is None:
                parts.append(b"NULL")
            elif head is None:
                parts.append(value)
            else:
                parts.append(head + value.replace(b"\\", b"\\\\").replace(b"'", b"\\'") + b"'")
        row = b"(" + b",".join(parts) + b")"
        self._rows.append(row)
        self.size += len(row) + 1

    def taken(self, limit: int) -> Iterator[bytes]:
        """All rows, and none left, as texts for one INSERT each: of at most `limit` bytes, or of one row."""
        rows, self._rows, self.size = self._rows, [], 0
        start = size = 0
        for at, row in enumerate(rows):
            if size and size + len(row) > limit:
                yield b",".join(rows[start:at])
                start, size = at, 0
            size += len(row) + 1
        if start < len(rows):
            yield b",".join(rows[start:])
