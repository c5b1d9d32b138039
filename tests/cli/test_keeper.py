"""The history's keeper: nothing is lost or written twice, whatever happens to the disk and to its task."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from pathlib import Path

import pytest

from proxy.cli import keeper as keeping
from proxy.cli.keeper import Keeper
from proxy.measure.history import HistoryFile, HistoryUnusable, Minute
from proxy.measure.measures import Measures


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "WRITE_S", 0.01)
    monkeypatch.setattr(keeping, "RETRY_S", 0.01)


def counted(keeper: Keeper, measures: Measures, times: int) -> None:
    """So many statements, in a minute that is over."""
    stats = measures.shape("SELECT ?", "forward", ["shop.t"], ["main"])
    for _ in range(times):
        stats.record(1000, 500, 1, 1, False)
    keeper.add(measures.take())
    keeper._recorder.end_minute()


def kept(path: Path) -> int:
    file = HistoryFile(path, read_only=True)
    try:
        return sum(one.tally.count for one in file.read().shapes)
    finally:
        file.close()


async def until(condition: object) -> None:
    async with asyncio.timeout(10):
        while not condition():  # type: ignore[operator]  # noqa: ASYNC110
            await asyncio.sleep(0.005)


def test_what_could_not_be_written_is_written_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "h"
    write = HistoryFile.write
    failures = 3

    def failing(self: HistoryFile, minute: Minute) -> None:
        nonlocal failures
        if failures:
            failures -= 1
            raise HistoryUnusable("the disk is full")
        write(self, minute)

    async def live() -> None:
        keeper = Keeper(path, 100, tuple)
        await keeper.open()
        monkeypatch.setattr(HistoryFile, "write", failing)
        counted(keeper, Measures(), 5)
        task = asyncio.create_task(keeper.run())
        await until(lambda: not failures)
        counted(keeper, Measures(), 2)
        await until(lambda: keeper._recorder.due(0) is None)
        task.cancel()
        await keeper.close()

    with caplog.at_level("INFO", "turnout.history"):
        asyncio.run(live())
    assert kept(path) == 7
    assert [record.getMessage() for record in caplog.records] == [
        *["history not written"] * 3,
        "history written again",
    ]


def test_a_task_that_is_cancelled_while_it_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "h"
    write = HistoryFile.write
    begun, go_on = threading.Event(), threading.Event()

    def slow(self: HistoryFile, minute: Minute) -> None:
        begun.set()
        assert go_on.wait(10)
        write(self, minute)

    async def live() -> None:
        keeper = Keeper(path, 100, tuple)
        await keeper.open()
        monkeypatch.setattr(HistoryFile, "write", slow)
        counted(keeper, Measures(), 5)
        task = asyncio.create_task(keeper.run())
        await until(begun.is_set)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        closing = asyncio.create_task(keeper.close())
        await asyncio.sleep(0.05)
        go_on.set()
        await closing

    asyncio.run(live())
    assert kept(path) == 5
