"""Where measurements come from, for `turnout measure` and `turnout rehearse`: the history, or a server's logs."""

from __future__ import annotations

import datetime
import gzip
import re
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from parser.shape import Lexer, lexer
from proxy.errors import TurnoutError
from proxy.measure import own
from proxy.measure.general_log import GeneralLog
from proxy.measure.history import HistoryFile
from proxy.measure.log_keys import LogKeys
from proxy.measure.log_shapes import LogShapes
from proxy.measure.ranking import Knows, Measured, MeasuredShape
from proxy.measure.slow_log import SlowLog
from proxy.measure.tally import OTHERS
from proxy.rules.loader import load

BLOCK = 4 << 20  # bytes of a log that are read at once
_AGO = re.compile(r"(\d+(?:\.\d+)?)\s*(s|m|h|d|w)\Z")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}


class NoMeasurements(TurnoutError):
    """There is nothing to measure; the message says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Asked:
    """Which measurements are wanted. Without logs: those of the history that the rules name."""

    rules: Path
    slow_logs: Sequence[Path] = ()
    general_logs: Sequence[Path] = ()
    since: float | None = None
    until: float | None = None
    lexer: Lexer = field(default_factory=lexer)
    history: Path | None = None  # its file, instead of the rules that name it


def moment(text: str, now: float | None = None) -> float:
    """Unix time of `2h` (ago; also s, m, d, w) or `2026-11-26 14:00` (local time, unless it names a zone).
    Raises ValueError."""
    ago = _AGO.match(text.strip())
    if ago is not None:
        return (time.time() if now is None else now) - float(ago[1]) * _SECONDS[ago[2]]
    try:
        return datetime.datetime.fromisoformat(text.strip()).timestamp()
    except ValueError:
        raise ValueError(f"`{text}` is no time: write `2h` (ago; s, m, h, d, w) or `2026-11-26 14:00`") from None


def duration(text: str) -> float:
    """Seconds of `90s`, `10m`, .. Raises ValueError."""
    found = _AGO.match(text.strip())
    if found is None:
        raise ValueError(f"`{text}` is no time: write `90s` or `10m` (s, m, h, d, w)")
    return float(found[1]) * _SECONDS[found[2]]


def measured(asked: Asked) -> Measured:
    """What the source says. Raises TurnoutError."""
    if asked.slow_logs or asked.general_logs:
        return from_logs(asked)
    path = asked.history
    if path is None and (kept := load(asked.rules).history) is not None:
        path = kept.file
    if path is None:
        raise NoMeasurements(
            f"{asked.rules} keeps no history: add `history: {{file: turnout-history.sqlite}}` to it and start Turnout "
            "again, or measure a server's log with --slow-log or --general-log"
        )
    history = HistoryFile(path, read_only=True)
    try:
        return history.read(asked.since, asked.until)
    finally:
        history.close()


def from_logs(asked: Asked, keys: LogKeys | None = None) -> Measured:
    """The sums over some logs of a server. `keys` is told of their statements."""
    sums = LogShapes(asked.lexer, asked.since, asked.until, keys=keys)
    unread = 0
    has_bytes = has_errors = False
    kinds: list[tuple[Path, Callable[[], SlowLog | GeneralLog], str]] = [
        *((path, SlowLog, "slow query log") for path in asked.slow_logs),
        *((path, GeneralLog, "general log") for path in asked.general_logs),
    ]
    with progress() as bars:
        for path, make, what in kinds:
            log = make()
            before = sums.seen
            try:
                _read(path, log, sums, bars)
            except OSError as error:
                raise NoMeasurements(f"{path} cannot be read: {error.strerror or error}") from error
            if sums.seen == before:
                raise NoMeasurements(f"{path} has no entry of a {what}: is it one, of MySQL or MariaDB?")
            unread += log.unread
            has_bytes = has_bytes or log.has_bytes
            has_errors = has_errors or log.has_errors
    timed = not asked.general_logs
    notes = [f"{unread} entries were not of a log's form and are left out"] if unread else []
    if asked.general_logs:
        notes.append("a general log does not say how long statements took: they are ranked by their number")
    if sums.shapes.generation:
        notes.append(f"the shapes that took least are one line, {OTHERS.id}")
    found = Measured(
        ", ".join(str(path) for path, _, _ in kinds),
        Knows(times=timed, rows=timed, examined=timed, sent_bytes=has_bytes, errors=has_errors),
        sums.first,
        sums.last,
        [
            MeasuredShape(shape, sums.digests.get(shape, ""), tally, sums.samples.get(shape))
            for shape, tally in sums.shapes
        ],
        [(table, "", tally) for table, tally in sums.by_table()],
        notes=notes,
    )
    return own.together(found, [(table, "", tally) for table, tally in sums.tables_of_others()])


def _read(path: Path, log: SlowLog | GeneralLog, sums: LogShapes, bars: Progress) -> None:
    with path.open("rb") as raw:
        size = path.stat().st_size or None
        bar = bars.add_task(path.name, total=size)
        # Of a compressed file, progress is told by what was read of the file itself.
        stream = gzip.GzipFile(fileobj=raw) if path.suffix == ".gz" else raw
        while block := stream.read(BLOCK):
            sums.add(log.feed(block))
            bars.update(bar, completed=raw.tell())
        sums.add(log.end())


def progress() -> Progress:
    """A bar on a terminal's stderr; nothing elsewhere."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        disable=not sys.stderr.isatty(),
        transient=True,
    )
