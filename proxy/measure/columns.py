"""By which columns statements find their rows: what a cache class, an index or a shard key could be made of."""

from __future__ import annotations

from collections.abc import Iterable

from parser.analyse import parse
from parser.shape import HOLE, lexer
from proxy.measure.ranking import MeasuredShape
from proxy.measure.shapes import Sample

MOST = 300  # shapes that are read for this, the most frequent first: each takes about a millisecond


def pinned(sample: Sample) -> dict[str, tuple[str, ...]]:
    """For each table (as `database.table` where that is known) the columns that a statement of this shape pins to
    constants, in alphabetical order; a table of which no column is pinned has none."""
    lex = lexer(sample.ansi_quotes, sample.no_backslash_escapes, sample.charset)
    literals = [b""] * sample.shape.count(HOLE)
    statement = parse(sample.shape, literals, lexer=lex, prepared=sample.prepared, merged=())
    statement = statement.inner or statement
    if statement.insert is not None and not statement.insert.from_select:
        return {}  # a new row is not found by anything
    names = {}
    for table in statement.tables:
        owner = table.database or sample.database
        names[table.index] = f"{owner}.{table.name}" if owner else table.name
    columns: dict[str, set[str]] = {name: set() for name in names.values()}
    for block in statement.blocks:
        for pin in block.pins:
            columns[names[pin.table]].add(pin.column)
    return {name: tuple(sorted(found)) for name, found in columns.items()}


def used(shapes: Iterable[MeasuredShape]) -> dict[str, dict[tuple[str, ...], int]]:
    """How many statements found rows of each table by which columns, of the most frequent shapes."""
    frequent = sorted((one for one in shapes if one.sample is not None), key=lambda one: -one.tally.count)[:MOST]
    found: dict[str, dict[tuple[str, ...], int]] = {}
    for one in frequent:
        assert one.sample is not None
        for table, columns in pinned(one.sample).items():
            counts = found.setdefault(table, {})
            counts[columns] = counts.get(columns, 0) + one.tally.count
    return found


def in_words(counts: dict[tuple[str, ...], int]) -> str:
    """`id: 90 %, (a, b): 8 %, none: 2 %`, the most frequent first."""
    total = sum(counts.values())
    parts = []
    for columns, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        name = columns[0] if len(columns) == 1 else f"({', '.join(columns)})" if columns else "none"
        parts.append(f"{name}: {round(100 * count / total)} %")
    return ", ".join(parts)
