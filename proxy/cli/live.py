"""`turnout measure --live`: what a running Turnout's statements cost now, on a screen that refreshes."""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from proxy.cli import link
from proxy.cli.control import NoControl, ask, candidates

EVERY_S = 2.0
ASKED = 2000  # shapes
COLUMNS = ("load", "per_s", "mean_ms", "p95_ms", "errors", "plan", "clusters", "shape")


Line = tuple[float, float, float, float, int, str, str, str]


@dataclass(frozen=True, slots=True)
class Counted:
    """SHOW TURNOUT SHAPES at one moment, by what tells its lines apart."""

    at: float  # monotonic
    shapes: dict[tuple[object, ...], dict[str, str | int | float | None]]


def counted(answer: link.Rows, at: float) -> Counted:
    rows = [dict(zip(answer.columns, row, strict=True)) for row in answer.rows]
    return Counted(at, {tuple(row[name] for name in ("id", "plan", "clusters", "tables")): row for row in rows})


def changed(before: Counted, after: Counted) -> list[Line]:
    """What happened in between, by shape, what took most time first: see COLUMNS. `load` is the time of statements in a
    second: how many of them were running at once, on average; the 95th percentile is that since the start."""
    seconds = after.at - before.at
    lines = []
    for key, row in after.shapes.items():
        old = before.shapes.get(key, {})
        count, errors, total_s = (float(row[n] or 0) - float(old.get(n) or 0) for n in ("count", "errors", "total_s"))
        if count <= 0 or seconds <= 0:
            continue
        lines.append(
            (
                round(total_s / seconds, 3),
                round(count / seconds, 1),
                round(1000 * total_s / count, 3),
                float(row["p95_ms"] or 0),
                int(errors),
                str(row["plan"]),
                str(row["clusters"]),
                str(row["shape"]),
            )
        )
    return sorted(lines, key=lambda line: (-line[0], -line[1]))


def screen(lines: Sequence[Line], height: int, seconds: float) -> Group:
    """What is on the screen: as many lines as there is room for."""
    made = Table(box=SIMPLE_HEAD, pad_edge=False, expand=True)
    for name in COLUMNS:
        numeric = name in ("load", "per_s", "mean_ms", "p95_ms", "errors")
        made.add_column(name, justify="right" if numeric else "left", no_wrap=True, overflow="ellipsis")
    for line in lines[: max(1, height - 6)]:
        made.add_row(*(Text(str(cell)) for cell in line))
    rate, load = sum(line[1] for line in lines), sum(line[0] for line in lines)
    head = f"{rate:,.1f} statements a second, {load:.2f} at once, over {seconds:.1f} s. Ctrl-C ends."
    return Group(Text(head, style="bold"), made)


async def watch(rules: Path, limit: int | None) -> None:
    """Refresh until cancelled. Raises NoControl when no Turnout answers."""
    paths = candidates(rules)

    async def look() -> Counted:
        answer = await ask(paths, functools.partial(link.Show, what=f"SHAPES LIMIT {ASKED}"))
        assert isinstance(answer, link.Rows)
        if answer.problem:
            raise NoControl(answer.problem)
        return counted(answer, time.monotonic())

    out = Console(highlight=False)
    before = await look()
    with Live(Text("Counting ..."), console=out, screen=out.is_terminal, auto_refresh=False) as live:
        while True:
            await asyncio.sleep(EVERY_S)
            after = await look()
            lines = changed(before, after)[:limit]
            live.update(screen(lines, out.size.height, after.at - before.at), refresh=True)
            before = after
