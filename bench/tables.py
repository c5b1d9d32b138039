"""How figures are written in Markdown, and a budget as a row of a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.samples import Spread


@dataclass(frozen=True, slots=True)
class Budget:
    """`met` is None when this run did not measure it."""

    what: str
    limit: str
    found: str
    met: bool | None


def budget(what: str, limit: str, found: Spread | None, unit: str, met: bool) -> Budget:
    """The row of one budget; `found` is None when this run did not measure it."""
    if found is None:
        return Budget(what, limit, "not measured", None)
    return Budget(what, limit, f"{spread(found)}{unit}", met)


def scaled(found: Spread, unit: float) -> Spread:
    return Spread(found.median / unit, found.low / unit, found.high / unit, found.count)


def number(value: float) -> str:
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def spread(found: Spread) -> str:
    """Median (lowest-highest)."""
    if found.count == 1:
        return number(found.median)
    return f"{number(found.median)} ({number(found.low)}–{number(found.high)})"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows)]
