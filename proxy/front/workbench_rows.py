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
        self._plain = b"(%b)" % b",".join(b"%b" if head is None else head + b"%b'" for head in self._heads)
        self._rows: list[bytes] = []
        self.size = 0

    def add(self, payloads: Sequence[bytes]) -> None:
        """Payloads of row packets."""
        plain, width = self._plain, range(len(self._heads))
        rows, seen = self._rows, self._seen
        together = b"".join(payloads)
        quotes = b"'" in together or b"\\" in together
        size = 0
        for payload in payloads:
            values = []
            pos = 1
            for _ in width:
                n = payload[pos - 1]
                if n > 0xFA:  # NULL, or a long one
                    break
                end = pos + n
                values.append(payload[pos:end])
                pos = end + 1
            if len(values) < len(width) or (quotes and (b"'" in payload or b"\\" in payload)):
                row = self._with_care(payload)
            else:
                row = plain % tuple(values)
                for number, known in seen:
                    known.add(values[number])
            rows.append(row)
            size += len(row) + 1
        self.size += size

    def _with_care(self, payload: bytes) -> bytes:
        """A row that may have NULLs, long values, or values in which quotes have to be escaped."""
        pos = 0
        parts = []
        for head in self._heads:
            value, pos = lenenc.read_bytes(payload, pos)
            if value is None:
                parts.append(b"NULL")
            elif head is None:
                parts.append(value)
            else:
                parts.append(head + value.replace(b"\\", b"\\\\").replace(b"'", b"\\'") + b"'")
        for number, values in self._seen:
            if parts[number] != b"NULL":
                values.add(parts[number])
        return b"(" + b",".join(parts) + b")"

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
