"""A plan as a table: TURNOUT EXPLAIN, and `turnout explain`."""

from __future__ import annotations

from proxy.measure.peers import Described, Rows

COLUMNS = ("what", "value")


def explain(plan: Described) -> tuple[list[str], Rows]:
    """Columns and rows; what the plan says about itself, in its own order."""
    return list(COLUMNS), [[what, value] for what, value in plan.describe()]
