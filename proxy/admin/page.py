"""The status page: tables in one HTML document without scripts or anything from elsewhere."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from proxy.measure.peers import Rows

_HEAD = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="refresh" content="10">
<title>Turnout</title>
<style>
:root { color-scheme: light dark; --line: color-mix(in srgb, currentColor 18%, transparent); }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 90rem; padding: 0 1.5rem; }
h2 { font-size: 1.05rem; margin: 2rem 0 .5rem; }
div { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .25rem .9rem .25rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
th { font-weight: 600; white-space: nowrap; }
td.n, th.n { text-align: right; }
td.shape { font: 13px/1.5 ui-monospace, monospace; max-width: 50rem; overflow-wrap: anywhere; }
.down { color: #c62828; font-weight: 600; }
p { opacity: .75; }
</style>
</head>
<body>
"""
_FOOT = '<p>This page refreshes every 10 seconds. See also <a href="/metrics">/metrics</a>.</p>\n</body>\n</html>\n'


def page(tables: Iterable[tuple[str, list[str], Rows]]) -> str:
    """(title, columns, rows) each as a table. Everything is escaped."""
    return _HEAD + "".join(_table(*table) for table in tables) + _FOOT


def _table(title: str, columns: list[str], rows: Rows) -> str:
    numeric = [
        bool(rows) and all(isinstance(row[i], (int, float, type(None))) for row in rows) for i in range(len(columns))
    ]
    head = "".join(f"<th{' class=n' if number else ''}>{escape(name)}</th>" for name, number in zip(columns, numeric))
    body = "".join(
        f"<tr>{''.join(_cell(name, value, number) for name, value, number in zip(columns, row, numeric))}</tr>\n"
        for row in rows
    )
    if not rows:
        body = f"<tr><td colspan={len(columns)}>nothing yet</td></tr>\n"
    return f"<h2>{escape(title)}</h2>\n<div><table>\n<tr>{head}</tr>\n{body}</table></div>\n"


def _cell(column: str, value: str | int | float | None, numeric: bool) -> str:
    kind = "n" if numeric else "down" if value == "down" else "shape" if column == "shape" else ""
    text = "" if value is None else str(value)
    return f"<td{f' class={kind}' if kind else ''}>{escape(text)}</td>"
