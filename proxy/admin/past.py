"""Windows of the history for the dashboard: read beside the event loop, by one at a time, and kept for a while."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass
from pathlib import Path

from proxy.admin.advice import Advice, advice
from proxy.admin.dashboard import Past
from proxy.admin.overview import Overview
from proxy.measure.history import KNOWS, HistoryFile, HistoryUnusable
from proxy.measure.ranking import Measured
from proxy.measure.spans import DAY, HOUR, MINUTE

log = logging.getLogger("turnout.http")

LIVE = "live"
KEPT_S = 30.0  # the history is written once a minute
ADVICE_S = 300.0
SHARE = 0.1  # of the time, at most, may be spent on reading


@dataclass(frozen=True, slots=True)
class Window:
    seconds: int
    step_s: int  # of the charts


WINDOWS = {"day": Window(DAY, 10 * MINUTE), "month": Window(30 * DAY, 4 * HOUR)}


class Reader:
    """Reads windows; whoever asks for one while it is read, or shortly after, gets the same."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[float, Past]] = {}  # until when, on the monotonic clock
        self._reading = asyncio.Lock()
        self._advice: Advice | None = None
        self._advise_again = 0.0
        self._advising: asyncio.Task[None] | None = None

    def advice(self, overview: Overview) -> Advice | None:
        """The newest there is; what is old is renewed in the background."""
        path = overview.history
        if path is not None and self._advising is None and time.monotonic() >= self._advise_again:
            self._advising = asyncio.create_task(self._advise(path, overview), name="advise")
        return self._advice

    async def _advise(self, path: Path, overview: Overview) -> None:
        begun = time.monotonic()
        try:
            async with self._reading:
                self._advice = await asyncio.to_thread(advice, path, overview.rules, overview.now)
        except HistoryUnusable as error:
            log.warning("dashboard: no advice", extra={"problem": error.message})
        finally:
            took = time.monotonic() - begun
            self._advise_again = begun + took + max(ADVICE_S, took / SHARE)
            self._advising = None

    def windows(self, overview: Overview) -> list[str]:
        return [LIVE, *(WINDOWS if overview.history is not None else ())]

    async def read(self, overview: Overview, window: str) -> Past:
        """`window`: one of WINDOWS. What cannot be read is empty, with the reason as its note."""
        path = overview.history
        assert path is not None
        async with self._reading:
            begun = time.monotonic()
            until, kept = self._kept.get(window, (0.0, None))
            if kept is not None and begun < until:
                return kept
            try:
                past = await asyncio.to_thread(_read, path, WINDOWS[window], overview.now)
            except HistoryUnusable as error:
                return Past([], Measured("", KNOWS, None, None, [], []), error.message)
            took = time.monotonic() - begun
            self._kept[window] = (begun + took + max(KEPT_S, took / SHARE), past)
            return past


def _read(path: Path, window: Window, now: float) -> Past:
    file = HistoryFile(path, read_only=True)
    try:
        since = now - window.seconds
        return Past(file.slots(since, window.step_s, now), file.read(since))
    finally:
        file.close()
