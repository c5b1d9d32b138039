"""How the commands look: problems, changes and tables, coloured where the terminal can, aligned everywhere."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from proxy.rules.change import Change, Severity
from proxy.rules.problem import Problem

_NOT_A_TERMINAL = 100_000  # columns: a pipe has no width, and nothing of a table should be cut in it
_SEVERITY = {Severity.INFO: "green", Severity.CAUTION: "yellow", Severity.RESTART: "magenta"}


def console(stderr: bool = False) -> Console:
    stream = sys.stderr if stderr else sys.stdout
    return Console(file=stream, width=None if stream.isatty() else _NOT_A_TERMINAL, highlight=False, soft_wrap=False)


def say(text: str, style: str = "", stderr: bool = False) -> None:
    console(stderr).print(Text(text, style=style), soft_wrap=True)


def complain(text: str) -> None:
    """An error, for the operator, on stderr."""
    console(stderr=True).print(
        Text("turnout: ", style="bold red").append(text, style="not bold default"), soft_wrap=True
    )


def problems(found: Iterable[Problem], style: str = "red", word: str = "error", stderr: bool = False) -> None:
    """Each with its place, as compilers do, and the suggestion on a line of its own."""
    out = console(stderr)
    for problem in found:
        place = f"{problem.file}:{problem.line}:{problem.column}" if problem.line else problem.file
        line = Text(place, style="bold").append(": ").append(word, style=f"bold {style}").append(": ")
        if problem.where:
            line.append(problem.where, style="bold cyan").append(" ")
        out.print(line.append(problem.message), soft_wrap=True)
        if problem.suggestion:
            out.print(Text("    ").append(problem.suggestion, style="italic"), soft_wrap=True)


def changes(found: Sequence[Change]) -> None:
    out = console()
    if not found:
        out.print("Nothing would change.")
    for change in found:
        line = Text(change.severity.value, style=f"bold {_SEVERITY[change.severity]}").append(": ")
        out.print(line.append(change.where, style="bold cyan").append(f" {change.message}"), soft_wrap=True)


def table(columns: Sequence[str], rows: Sequence[Sequence[str | int | float | None]], title: str = "") -> None:
    """Numbers to the right, text to the left, a header line."""
    made = Table(box=SIMPLE_HEAD, title=title or None, title_justify="left", title_style="bold", pad_edge=False)
    for i, name in enumerate(columns):
        numeric = bool(rows) and all(isinstance(row[i], (int, float, type(None))) for row in rows)
        made.add_column(name, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        made.add_row(*(Text("" if value is None else str(value), style=_style(value)) for value in row))
    console().print(made)


def _style(value: object) -> str:
    return {"down": "bold red", "unknown": "yellow", "not ready": "bold red"}.get(str(value), "")
