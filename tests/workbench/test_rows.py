"""Rows of a text result as the VALUES of an INSERT."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from proxy.front.workbench_rows import RowText
from proxy.plan.temporary_table import ColumnText
from proxy.wire.resultset import encode_row

COLUMNS = (ColumnText(b"`n`", b"int", b"int"), ColumnText(b"`s`", b"varchar", b""), ColumnText(b"`j`", b"json", b""))
NUMBERS = st.integers(-1000, 1000).map(lambda number: b"%d" % number)
# Lengths whose byte is a quote or a backslash, or that take more than one byte.
STRINGS = st.binary(max_size=8) | st.sampled_from([b"x" * n for n in (0x27, 0x5C, 250, 251, 70_000)])
ROWS = st.lists(st.tuples(st.none() | NUMBERS, st.none() | STRINGS, st.none() | STRINGS))


def written(value: bytes | None, head: bytes) -> bytes:
    if value is None:
        return b"NULL"
    return head + value.replace(b"\\", b"\\\\").replace(b"'", b"\\'") + b"'" if head else value


@given(ROWS)
def test_values_are_what_they_were(rows: list[tuple[bytes | None, ...]]) -> None:
    seen: set[bytes] = set()
    made = RowText(COLUMNS, {0: seen})
    made.add([encode_row(row) for row in rows])
    heads = (b"", b"_binary'", b"_utf8mb4'")
    expected = [b"(%s)" % b",".join(map(written, row, heads)) for row in rows]
    assert made.size == sum(len(row) + 1 for row in expected)
    assert b",".join(made.taken(1 << 30)) == b",".join(expected)
    assert seen == {row[0] for row in rows if row[0] is not None}
    again = RowText(COLUMNS)
    for row in rows:
        again.add_values(row)
    assert b",".join(again.taken(1 << 30)) == b",".join(expected)


@given(ROWS, st.integers(1, 500))
def test_texts_are_bounded(rows: list[tuple[bytes | None, ...]], limit: int) -> None:
    made = RowText(COLUMNS)
    made.add([encode_row(row) for row in rows])
    single: set[bytes] = set()
    for row in rows:
        alone = RowText(COLUMNS)
        alone.add([encode_row(row)])
        single.update(alone.taken(limit))
    for text in made.taken(limit):
        assert len(text) <= limit or text in single
    assert not list(made.taken(limit))
