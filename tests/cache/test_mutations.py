"""The rule has no part that could be left out: without any of them, the checker finds answers that are too old."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable
from dataclasses import dataclass, replace

import pymysql
import pytest

from tests.cache.coherence import writers as w
from tests.cache.coherence.checker import DURABLE, Setting, check
from tests.cache.coherence.faults import Fault, World, stream_stopped
from tests.cache.coherence.mutations import MUTATIONS, environment
from tests.servers import Run

pytestmark = pytest.mark.servers

Make = Callable[[random.Random], list[w.Writer]]


async def waiting_for_replicas(world: World, stop: asyncio.Event) -> None:
    """Semi-synchronous commits with nobody to acknowledge them: a transaction is in the log, and sent to whoever
    follows it, some time before its rows can be seen. The server gives up after each time-out, so it is told again."""

    def again() -> None:
        with contextlib.suppress(pymysql.err.OperationalError, OSError):
            world.primary.execute(
                "SET GLOBAL rpl_semi_sync_master_timeout = 40",
                "SET GLOBAL rpl_semi_sync_master_wait_point = AFTER_SYNC",
                "SET GLOBAL rpl_semi_sync_master_enabled = OFF",
                "SET GLOBAL rpl_semi_sync_master_enabled = ON",
            )

    while not stop.is_set():
        await asyncio.to_thread(again)
        await asyncio.sleep(0.01)


@dataclass(frozen=True, slots=True)
class Case:
    """Who writes, by which way, and what goes wrong meanwhile."""

    make: Make
    direct_share: float | None = None
    faults: tuple[Fault, ...] = ()
    semi_sync: bool = False
    workers: int = 1

    def setting(self, seed: int, max_s: float, reads: int = 10**9) -> Setting:
        def writers(chance: random.Random, run: Run) -> list[w.Writer]:
            made = self.make(chance)
            for writer in made:
                if self.direct_share is not None:
                    writer.direct_share = self.direct_share
            return made

        return Setting(
            reads=reads,
            seed=seed,
            max_s=max_s,
            workers=self.workers,
            readers=3,
            batch=8,
            faults=self.faults,
            fault_every_s=0.2,
            make=writers,
            memcached=False,
            server_options=() if not self.semi_sync else DURABLE,
            beside=waiting_for_replicas if self.semi_sync else None,
        )


CASES = {
    "stamp_after_select": Case(lambda c: [w.Slow(c)], direct_share=0.0),
    "applied_as_stamp": Case(lambda c: [w.Counters(c, 0)], direct_share=1.0, semi_sync=True),
    "end_of_log_as_stamp": Case(lambda c: [w.Counters(c, 0)], direct_share=1.0, semi_sync=True),
    "before_images_ignored": Case(lambda c: [w.Movers(c)], direct_share=1.0),
    "no_max_staleness": Case(lambda c: [w.Counters(c, 0)], direct_share=1.0, faults=(stream_stopped,)),
    "marks_ignored": Case(lambda c: [w.Counters(c, 0)], direct_share=0.0, faults=(stream_stopped,)),
    "marks_shared": Case(
        lambda c: [w.Ranges(c, instance) for instance in range(8)], faults=(stream_stopped,), workers=2
    ),
    "compared_the_wrong_way": Case(lambda c: [w.Counters(c, 0)], direct_share=1.0),
    "probes_not_waited_for": Case(lambda c: [w.Counters(c, 0)], direct_share=0.0),
    "cascades_ignored": Case(lambda c: [w.Families(c)]),
    "prepared_forgotten": Case(lambda c: [w.TwoPhase(c)], direct_share=1.0),
}


def test_every_mutation_has_a_case() -> None:
    assert CASES.keys() == MUTATIONS.keys()


@pytest.mark.thorough
@pytest.mark.parametrize("name", CASES)
def test_without_a_part_of_the_rule_the_checker_fails(run: Run, name: str) -> None:
    for seed in (1, 2, 3):  # some show only where two processes meet by chance, which a busy machine gives few of
        setting = CASES[name].setting(seed=seed, max_s=60)
        report = check(run, replace(setting, environment=environment(run.place(f"{name}-{seed}"), name)))
        if report.tally.violations:
            break
    assert report.tally.violations, f"{name} was not noticed:\n{report}"


@pytest.mark.thorough
@pytest.mark.parametrize("name", ["applied_as_stamp", "marks_shared", "no_max_staleness"])
def test_with_it_there_is_nothing_to_find(run: Run, name: str) -> None:
    """The same circumstances, for longer than the mutation needs to be found."""
    report = check(run, CASES[name].setting(seed=2, max_s=30, reads=10_000))
    assert not report.tally.violations, str(report)
    assert not report.unexpected, str(report)
    assert report.hits_local > 50, str(report)
