"""Staying awake: for how long after what, and when not."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from proxy.front import busy_poll, processors
from proxy.front.busy_poll import BusyPoll
from proxy.front.processors import busy_polling, is_rationed
from proxy.measure.measures import Measures
from proxy.rules.model import BusyPolling
from tests.rules.texts import rules
from tests.servers import Shop, Turnout

MOST = 400_000
TURN, HANDLING = 2_000, 40_000  # ns of a turn of the loop in which there was nothing, or something, to do


class Loop:
    """An event loop's part, and a clock that only goes on as a test says."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 10**12
        self.ready: list[Callable[[], None]] = []
        self.gave_way = 0
        self.others_take = 0  # ns, when they are given way
        self.measures = Measures()
        self.poll = BusyPoll(self.measures)
        self.poll.stay_for(BusyPolling.ALL)
        monkeypatch.setattr(busy_poll, "_now", lambda: self.now)
        monkeypatch.setattr(busy_poll, "_give_way", self._give_way)
        monkeypatch.setattr(asyncio, "get_running_loop", lambda: self)

    def call_soon(self, callback: Callable[[], None]) -> None:
        self.ready.append(callback)

    def _give_way(self) -> None:
        self.gave_way += 1
        self.now += self.others_take

    def turn(self, took: int = TURN) -> None:
        self.now += took
        ready, self.ready = self.ready, []
        for callback in ready:
            callback()

    def sleep(self) -> int:
        """Turns, until it may sleep: for how long it stayed awake, in ns."""
        began = self.now
        while self.ready:
            self.turn()
        return self.now - began

    def statement(self, wait: int, think: int) -> None:
        """One that is answered after `wait`, and whose client has the next one after `think`."""
        self.poll.sent(self.now, False)
        self.wait(wait)
        self.poll.answered(self.now, False)
        self.wait(think)

    def wait(self, ns: int) -> None:
        end = self.now + ns
        while self.ready and self.now < end:
            self.turn()
        self.now = max(self.now, end)


@pytest.fixture
def loop(monkeypatch: pytest.MonkeyPatch) -> Loop:
    return Loop(monkeypatch)


def test_it_stays_awake_after_short_waits_and_learns_for_how_long(loop: Loop) -> None:
    stayed = []

    def statement(wait: int) -> int:
        loop.poll.sent(loop.now, False)
        awake = loop.sleep()
        loop.now += wait - awake
        loop.poll.answered(loop.now, False)
        loop.now += 3_000_000 + loop.sleep()
        return awake

    stayed = [statement(390_000) for _ in range(5)]
    assert stayed == pytest.approx([0, 50_000, 100_000, 200_000, MOST], abs=TURN)
    stayed = [statement(2_000_000) for _ in range(6)]
    assert stayed == pytest.approx([MOST, 200_000, 100_000, 50_000, 0, 0], abs=TURN)


def test_it_learns_for_answers_and_for_statements_apart(loop: Loop) -> None:
    for _ in range(8):
        loop.statement(2_000_000, 60_000)
    loop.poll.sent(loop.now, False)
    loop.turn()
    assert not loop.ready
    loop.now += 2_000_000
    loop.poll.answered(loop.now, False)
    assert loop.ready
    loop.now += 60_000
    loop.turn()
    assert loop.ready


@pytest.mark.parametrize("which", [BusyPolling.SCATTER, BusyPolling.ALL])
def test_it_stays_awake_behind_scatters_and_not_for_their_answers(loop: Loop, which: BusyPolling) -> None:
    loop.poll.stay_for(which)
    every = which is BusyPolling.ALL
    for _ in range(10):
        for scatter in (True, False, False):
            loop.poll.sent(loop.now, scatter)
            loop.turn()
            awake = [bool(loop.ready)]
            loop.wait(150_000)
            loop.poll.answered(loop.now, scatter)
            loop.turn()
            awake.append(bool(loop.ready))
            loop.wait(60_000)
    assert awake == [every, every]
    loop.poll.sent(loop.now, True)
    loop.turn()
    assert not loop.ready
    loop.wait(150_000)
    loop.poll.answered(loop.now, True)
    loop.turn()
    assert loop.ready


def test_what_comes_in_time_is_waited_for_awake(loop: Loop) -> None:
    for _ in range(6):
        loop.statement(150_000, 60_000)
    gave_way, began = loop.gave_way, loop.now
    for _ in range(100):
        loop.statement(150_000, 60_000)
        assert loop.ready, "it never slept"
    turns = (loop.now - began) // TURN
    assert turns * 0.9 < loop.gave_way - gave_way <= turns
    assert loop.measures.busy_poll_ns == pytest.approx((loop.gave_way) * TURN, rel=0.1)


def test_it_sleeps_at_once_where_waits_are_long(loop: Loop) -> None:
    for _ in range(6):
        loop.statement(150_000, 60_000)
    for _ in range(8):
        loop.statement(5_000_000, 9_000_000)
    assert not loop.ready
    spent = loop.measures.busy_poll_ns
    for _ in range(100):
        loop.statement(5_000_000, 9_000_000)
    assert loop.measures.busy_poll_ns == spent


def test_it_sleeps_while_several_statements_are_under_way(loop: Loop) -> None:
    for _ in range(6):
        loop.statement(150_000, 60_000)
    assert loop.ready
    loop.poll.sent(loop.now, False)
    loop.poll.sent(loop.now + TURN, False)
    loop.turn()
    assert not loop.ready
    loop.poll.answered(loop.now, False)
    assert not loop.ready
    loop.now += 100_000_000
    for _ in range(3):
        loop.statement(150_000, 60_000)
    assert loop.ready, "and does not for long"


def test_it_sleeps_where_the_loop_has_enough_to_do(loop: Loop) -> None:
    for _ in range(6):
        loop.statement(150_000, 60_000)
    for n in range(64):
        loop.poll.answered(loop.now, False)
        loop.turn(HANDLING if n % 4 else TURN)
    assert not loop.ready
    loop.poll.answered(loop.now, False)
    assert not loop.ready


def test_it_sleeps_beside_others_who_keep_the_processor(loop: Loop) -> None:
    for _ in range(6):
        loop.statement(150_000, 60_000)
    loop.others_take = 3_000_000
    loop.wait(1)
    lost = loop.now
    while loop.ready:
        loop.turn()
    loop.others_take = 0
    assert loop.now - lost < 10_000
    while loop.now < lost + 290_000_000:  # 100 times what was lost
        loop.statement(150_000, 60_000)
        assert not loop.ready
    loop.now += 100_000_000
    for _ in range(3):
        loop.statement(150_000, 60_000)
    assert loop.ready


SECOND = 1_000_000_000


def a_second(loop: Loop, idle: float, asleep: float | None = None) -> bool:
    """Of statements, one after the other, and then its judgement: did it stay awake? `idle`: processors then;
    `asleep`: where it did not, if that is something else."""
    end, spent = loop.now + SECOND, loop.measures.busy_poll_ns
    for _ in range(10):
        loop.statement(150_000, 60_000)
    awake = loop.measures.busy_poll_ns > spent
    if awake:
        loop.measures.busy_poll_ns += SECOND // 2  # by all that were not made here
    loop.now = end
    loop.turn()
    if loop.poll.is_to_be_judged():
        loop.poll.judge(loop.now, idle if awake or asleep is None else asleep)
    return awake


def test_it_sleeps_where_no_processor_is_idle(loop: Loop) -> None:
    assert a_second(loop, 0.02)
    for _ in range(20):
        assert not a_second(loop, 0.05), "they are still busy"
    assert [a_second(loop, 0.9) for _ in range(2)] == [False, False], "the last one was judged so"
    for _ in range(20):
        assert a_second(loop, 0.9), "they are no longer"


def test_it_rests_longer_each_time_that_there_was_too_little_left(loop: Loop) -> None:
    """Processors have time, until it stays awake."""
    awake = [a_second(loop, 0.9)]
    for _ in range(400):
        awake.append(a_second(loop, 0.02, asleep=0.9))
    rested = [len(each) for each in "".join("x" if each else "." for each in awake[2:]).split("x") if each]
    assert rested[:7] == [1, 2, 4, 8, 16, 32, 64]
    assert set(rested[7:-1]) == {64}
    for _ in range(80):
        a_second(loop, 0.9)
    for _ in range(80):  # of nothing to do
        loop.now += SECOND
        if loop.poll.is_to_be_judged():
            loop.poll.judge(loop.now, 1.9)
    assert not loop.poll.is_to_be_judged(), "nobody looks at the processors"
    assert a_second(loop, 0.02)
    assert [a_second(loop, 0.9) for _ in range(3)] == [False, True, True], "it is forgotten"


def test_where_it_is_not_known_how_idle_they_are(loop: Loop) -> None:
    assert a_second(loop, 1.0)
    loop.poll.judge(loop.now, None)
    assert a_second(loop, 1.0)


def test_it_ends_where_the_clock_stands_still(loop: Loop) -> None:
    """As it may where others have the processor, or in a test."""
    for _ in range(6):
        loop.statement(150_000, 60_000)
    turns = 0
    while loop.ready:
        loop.turn(0)
        turns += 1
    assert 900 < turns <= 1_001


def test_off_is_never(loop: Loop) -> None:
    for _ in range(6):
        loop.statement(150_000, 60_000)
    loop.poll.stay_for(BusyPolling.OFF)
    loop.sleep()
    spent = loop.measures.busy_poll_ns
    for _ in range(100):
        loop.statement(0, 0)
        loop.sleep()
    assert loop.measures.busy_poll_ns == spent


def test_timers_and_tasks_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a real loop, whose clock is the real one."""
    monkeypatch.setattr(busy_poll, "_FIRST_NS", 20_000_000)
    monkeypatch.setattr(busy_poll, "_MOST_NS", 200_000_000)

    async def run() -> list[str]:
        poll = BusyPoll(Measures())
        poll.stay_for(BusyPolling.ALL)
        seen: list[str] = []
        asyncio.get_running_loop().call_later(0.005, seen.append, "timer")
        for _ in range(3):
            poll.answered(time.perf_counter_ns(), False)
        await asyncio.sleep(0)
        seen.append("task")
        await asyncio.sleep(0.01)
        return seen

    assert asyncio.run(run()) == ["task", "timer"]


# -- where it is of use


def stat(idle: int, iowait: int, stranger: int) -> str:
    own = sorted(os.sched_getaffinity(0))
    first = f"cpu{own[0]} 5 5 5 {idle} {iowait} 0 0 0 0 0"
    others = [f"cpu{n} 5 5 5 0 0 0 0 0 0 0" for n in own[1:]]
    return "\n".join(
        ["cpu  9 9 9 999 99 0 0 0 0 0", first, *others, f"cpu9999 5 5 5 {stranger} 0 0 0 0 0 0", "intr 1 2 3\n"]
    )


def test_how_idle_processors_were(tmp_path: Path) -> None:
    file = tmp_path / "stat"
    tick = os.sysconf("SC_CLK_TCK")
    found = processors.IdleProcessors(file)
    assert found.since_last(100.0) is None, "there is no such file"
    file.write_text(stat(1000, 100, 0))
    assert found.since_last(101.0) is None, "nothing to compare it with"
    file.write_text(stat(1000 + tick // 4, 100 + tick // 4, 777))
    assert found.since_last(102.0) == pytest.approx(0.5)
    assert found.since_last(104.0) == 0
    file.write_text(stat(1000 + 2 * tick, 100, 0))
    assert found.since_last(110.0) is None, "too long ago"
    assert found.since_last(110.0) is None, "no time"
    file.write_text("cpu0 nothing")
    assert found.since_last(111.0) is None


def test_how_idle_these_processors_were() -> None:
    found = processors.IdleProcessors()
    found.since_last(time.monotonic())
    time.sleep(0.2)
    idle = found.since_last(time.monotonic())
    assert idle is not None
    assert 0 <= idle <= len(os.sched_getaffinity(0)) + 0.2


def groups(folder: Path, files: dict[str, str], own: str) -> bool:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    (folder / "own").write_text(own)
    return is_rationed(folder, folder / "own")


@pytest.mark.parametrize(
    ("files", "own", "rationed"),
    [
        ({"cpu.max": "50000 100000\n"}, "0::/\n", True),  # in a container with a namespace of its own
        ({"cpu.max": "max 100000\n"}, "0::/\n", False),
        ({"a/b/cpu.max": "max 100000\n", "a/cpu.max": "20000 100000\n"}, "0::/a/b\n", True),  # by a group above
        ({"a/cpu.max": "max 100000\n", "c/cpu.max": "20000 100000\n"}, "0::/a\n", False),  # another one's
        ({"cpu.max": "20000 100000\n"}, "0::/kubepods/of/the/host\n", True),
        ({"cpu/cpu.cfs_quota_us": "-1\n"}, "4:cpu:/\n0::/\n", False),
        ({"cpu/docker/1/cpu.cfs_quota_us": "50000\n"}, "5:memory:/\n4:cpu:/docker/1\n", True),
        ({"cpu,cpuacct/cpu.cfs_quota_us": "50000\n"}, "4:cpu,cpuacct:/docker/1\n", True),
        ({"cpu/cpu.cfs_quota_us": "50000\n"}, "4:cpuset:/\n", False),
        ({"cpu.max": ""}, "0::/\n", False),
        ({}, "", False),
    ],
)
def test_quotas(tmp_path: Path, files: dict[str, str], own: str, rationed: bool) -> None:
    assert groups(tmp_path, files, own) is rationed


def test_a_system_without_control_groups(tmp_path: Path) -> None:
    assert not is_rationed(tmp_path, tmp_path / "none")


@pytest.mark.parametrize(
    ("said", "processors_", "quota", "found"),
    [
        (None, 2, False, BusyPolling.SCATTER),
        (None, 1, False, BusyPolling.OFF),
        (None, 8, True, BusyPolling.OFF),
        ("all", 1, True, BusyPolling.ALL),
        ("off", 8, False, BusyPolling.OFF),
    ],
)
def test_the_machine_decides_where_the_rules_do_not(
    said: str | None, processors_: int, quota: bool, found: BusyPolling, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(processors_)))
    monkeypatch.setattr(processors, "is_rationed", lambda: quota)
    assert busy_polling(rules(x=f"busy_poll: {said}" if said else None)) is found


@pytest.mark.servers
def test_a_worker_stays_awake_for_one_client(shop_servers: Shop, turnout: Callable[..., Turnout]) -> None:
    text = shop_servers.rules("main")
    proxy = turnout(f"{text}\nbusy_poll: all\n")
    with proxy.connect("app", "app-secret", "shop") as client, client.cursor() as cursor:

        def ask() -> float:
            for n in range(200):
                cursor.execute("SELECT %s + 1", (n,))
                assert cursor.fetchall() == ((n + 1,),)
            time.sleep(1.5)  # the supervisor hears of it once a second
            return proxy.metric("turnout_busy_poll_seconds_total")

        awake = ask()
        assert awake > 0
        proxy.reload(f"{text}\nbusy_poll: off\n")
        before = ask()  # the first of these may still have been waited for
        assert ask() == before
