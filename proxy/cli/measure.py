"""`turnout measure`: what costs most, from the history or a server's logs; and live, from a running Turnout."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence

import click

from proxy.cli import console
from proxy.measure.columns import in_words, used
from proxy.measure.ranking import Cell, Measured, Row, as_json, by_shape, by_table, iso, totals

# What a terminal has room for; JSON and CSV have everything.
_SHAPE_COLUMNS = (
    *("rank", "face", "total_s", "time_pct", "count", "per_s", "mean_ms", "p95_ms"),
    *("server_pct", "rows", "examined", "errors", "plan", "shape"),
)
_TABLE_COLUMNS = (
    *("rank", "database", "table", "face", "total_s", "time_pct", "count", "per_s", "mean_ms", "p95_ms"),
    *("server_pct", "rows", "examined", "errors", "plans", "found_by"),
)
_SERVER_COLUMNS = (
    *("cluster", "role", "address", "statements_per_s", "busy", "busy_max", "limit", "waits_per_s", "lag_max_s"),
    *("threads_running", "threads_running_max", "pool_misses_per_s", "rows_read_per_s", "rows_written_per_s"),
    *("data_mb",),
)


def show(measured: Measured, subject: str | None, order: str, limit: int | None, form: str) -> None:
    """Print the ranking. `subject`: shape, table or server; None: all (CSV: shapes). `form`: text, json or csv."""
    shapes = by_shape(measured, order, limit)
    tables = by_table(measured, order, limit)
    found_by = used(measured.shapes)
    for row in tables:
        full = f"{row['database']}.{row['table']}" if row["database"] else str(row["table"])
        row["found_by"] = in_words(found_by[full]) if full in found_by else None
    if form == "json":
        click.echo(json.dumps(as_json(measured, shapes, tables), indent=2, ensure_ascii=False))
        return
    if form == "csv":
        rows = {"table": tables, "server": measured.servers}.get(subject or "", shapes)
        click.echo(as_csv(rows), nl=False)
        return
    console.say(summary(measured), "bold")
    for note in measured.notes:
        console.say(f"Note: {note}.", "yellow")
    for name, columns, rows in (
        ("shape", _SHAPE_COLUMNS, shapes),
        ("table", _TABLE_COLUMNS, tables),
        ("server", _SERVER_COLUMNS, measured.servers),
    ):
        if subject == name or (subject is None and rows):
            shown(columns, rows, f"By {name}")


def summary(measured: Measured) -> str:
    """One line: whose numbers, which time, how much in all."""
    every = totals(measured)
    parts = [measured.source]
    if measured.since is not None and measured.until is not None:
        parts.append(f"{iso(measured.since)} to {iso(measured.until)}")
    parts.append(f"{every['count']} statements")
    if every["per_s"] is not None:
        parts.append(f"{every['per_s']} a second")
    if every["total_s"] is not None:
        parts.append(f"{every['total_s']} s in all")
    return ", ".join(parts)


def shown(columns: Sequence[str], rows: Sequence[Row], title: str) -> None:
    """Without the columns that the source knows nothing of."""
    known = [name for name in columns if any(row.get(name) not in (None, "") for row in rows)] or list(columns)
    console.table(known, [[_short(row.get(name)) for name in known] for row in rows], title)


def _short(cell: Cell) -> Cell:
    return round(cell, 3) if isinstance(cell, float) else cell


def as_csv(rows: Sequence[Row]) -> str:
    """With a header line; what is not known is empty."""
    out = io.StringIO()
    if rows:
        writer = csv.DictWriter(out, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return out.getvalue()
