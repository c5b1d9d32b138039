"""What `turnout measure --live` makes of two looks at a running Turnout."""

from __future__ import annotations

import io

from rich.console import Console

from proxy.cli import link
from proxy.cli.live import changed, counted, screen

COLUMNS = ["id", "count", "errors", "total_s", "p95_ms", "plan", "clusters", "tables", "shape"]


def answer(*rows: tuple[str, int, int, float]) -> link.Rows:
    return link.Rows(
        1,
        COLUMNS,
        [
            [name, count, errors, total_s, 1.5, "forward", "main", "t", f"SELECT {name}"]
            for name, count, errors, total_s in rows
        ],
    )


def test_what_happened_between_two_looks() -> None:
    before = counted(answer(("quiet", 5, 0, 1.0), ("busy", 100, 1, 2.0)), 10.0)
    after = counted(answer(("quiet", 5, 0, 1.0), ("busy", 300, 3, 3.0), ("new", 4, 0, 2.0)), 12.0)
    assert changed(before, after) == [
        (1.0, 2.0, 500.0, 1.5, 0, "forward", "main", "SELECT new"),
        (0.5, 100.0, 5.0, 1.5, 2, "forward", "main", "SELECT busy"),
    ]
    assert changed(after, after) == []


def test_the_screen_is_as_high_as_the_terminal() -> None:
    lines = [(0.5, 100.0, 5.0, 1.5, 2, "forward", "main", f"SELECT {n}") for n in range(100)]
    out = Console(width=120, record=True, file=io.StringIO())
    out.print(screen(lines, 20, 2.0))
    text = out.export_text().splitlines()
    assert len(text) <= 20
    assert text[0].startswith("10,000.0 statements a second, 50.00 at once, over 2.0 s")
    assert "SELECT 13" in "\n".join(text)
    assert "SELECT 14" not in "\n".join(text)
