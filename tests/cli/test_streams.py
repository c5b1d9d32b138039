"""The keeper of a stream process, with programs that stand for it."""

from __future__ import annotations

import asyncio

import pytest

from proxy.cache.clocks import Clocks
from proxy.cli import streams
from proxy.cli.nursery import Nursery


def test_a_process_that_cannot_be_started_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "_LONGEST_PAUSE_S", 0.01)
    tried = asyncio.Event()
    tries = 0

    async def refused(*argv: object, **options: object) -> None:
        nonlocal tries
        tries += 1
        if tries > 3:
            tried.set()
        raise BlockingIOError(11, "Resource temporarily unavailable")

    async def work() -> None:
        clocks = Clocks.create(1, 1)
        keeper = streams._Keeper(clocks, 0, "main", None, ["/nowhere/turnout"], Nursery())
        monkeypatch.setattr(asyncio, "create_subprocess_exec", refused)
        keeper.start()
        await asyncio.wait_for(tried.wait(), 10)
        assert "Resource temporarily unavailable" in keeper.view().reason
        await keeper.stop("the test is over")
        assert keeper.view().reason == "the test is over"

    asyncio.run(work())
