"""The clocks: what each method does, in one process and in two that share the file."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.back.tags import SLOTS
from proxy.cache.clocks import OFFSET_BITS, Clocks, SourceClock, Stamp, new_incarnation, position_of
from tests.cache.stamped import stamped
from tests.servers.process import wait_until

ROOT = Path(__file__).resolve().parents[2]
STALENESS_NS = 500_000_000
LOG = 77  # the identity of the file of the log
FILE = 3


def at(offset: int) -> int:
    return position_of(FILE, offset)


class Host:
    """The clocks of a host with two workers, and one source."""

    def __init__(self) -> None:
        self.clocks = Clocks.create(workers=2, sources=2)
        self.stream = self.clocks.source(0)
        self.workers = [self.clocks.source(0, number) for number in range(2)]

    def follow(self, floor: int = 100, visible: int | None = None, t0: int = 1_000) -> int:
        """What a stream process does until values may be served."""
        incarnation = new_incarnation()
        self.stream.begin(incarnation, at(floor))
        self.stream.name_log(FILE, LOG)
        self.stream.see(at(floor if visible is None else visible))
        self.stream.cover(t0)
        return incarnation

    def close(self) -> None:
        os.close(self.clocks.fd)


@pytest.fixture
def host() -> Iterator[Host]:
    made = Host()
    yield made
    made.close()


def fresh(clock: SourceClock, stamp: Stamp, slots: tuple[int, ...], now_ns: int = 2_000) -> bool:
    """The hit rule, which must agree with the reason that is given when it refuses."""
    allowed = clock.fresh(stamped(stamp.incarnation, stamp.position, slots), now_ns, STALENESS_NS)
    if not allowed:
        assert clock.refusal(stamped(stamp.incarnation, stamp.position, slots), now_ns, STALENESS_NS)
    return allowed


def refusal(clock: SourceClock, stamp: Stamp, slots: tuple[int, ...], now_ns: int = 2_000) -> str:
    assert not fresh(clock, stamp, slots, now_ns)
    return clock.refusal(stamped(stamp.incarnation, stamp.position, slots), now_ns, STALENESS_NS)


def stamp_of(clock: SourceClock) -> Stamp:
    found = clock.stamp()
    assert found is not None
    return found


# -- stamps --------------------------------------------------------------------------------------------------------


def test_no_stamp_before_anything_is_followed(host: Host) -> None:
    assert host.workers[0].stamp() is None
    assert not host.workers[0].fresh(stamped(0, 0, (1,)), 1, STALENESS_NS)


def test_no_stamp_before_a_position_is_known_to_be_visible(host: Host) -> None:
    host.stream.begin(new_incarnation(), at(100))
    host.stream.name_log(FILE, LOG)
    assert host.workers[0].stamp() is None
    host.stream.see(at(100))
    assert stamp_of(host.workers[0]).position == at(100)


def test_a_stamp_has_incarnation_file_and_position(host: Host) -> None:
    incarnation = host.follow(100)
    assert stamp_of(host.workers[0]) == Stamp(incarnation, LOG, at(100))


def test_a_stamp_is_never_ahead_of_what_is_applied_nor_of_what_is_visible(host: Host) -> None:
    host.follow(100)
    host.stream.see(at(300))
    assert stamp_of(host.workers[0]).position == at(100)  # W does not know yet what happened up to 300
    host.stream.apply(at(200))
    assert stamp_of(host.workers[0]).position == at(200)
    host.stream.apply(at(400))
    assert stamp_of(host.workers[0]).position == at(300)  # 400 is in the log, but not visible yet


def test_a_stamp_in_the_next_file_has_its_identity(host: Host) -> None:
    host.follow(100)
    host.stream.name_log(FILE + 1, LOG + 1)
    host.stream.apply(position_of(FILE + 1, 4))
    host.stream.see(position_of(FILE + 1, 4))
    assert stamp_of(host.workers[0]).log_id == LOG + 1


def test_what_is_applied_and_visible_never_goes_back(host: Host) -> None:
    host.follow(100)
    for call in (host.stream.apply, host.stream.see):
        call(at(500))
        call(at(200))
    host.stream.cover(5_000)
    host.stream.cover(4_000)
    assert (host.stream.applied, host.stream.visible, host.stream.t0) == (at(500), at(500), 5_000)


# -- the hit rule --------------------------------------------------------------------------------------------------


def test_a_value_is_served_until_its_slot_is_touched_after_its_stamp(host: Host) -> None:
    host.follow(100)
    stamp = stamp_of(host.workers[0])
    assert fresh(host.workers[0], stamp, (5, 6))
    host.stream.touch([7], at(200))
    assert fresh(host.workers[0], stamp, (5, 6))
    host.stream.touch([6], at(200))
    assert refusal(host.workers[1], stamp, (5, 6)) == "written"
    assert fresh(host.workers[0], stamp, (5,))


def test_a_touch_at_the_very_position_of_the_stamp_is_in_the_value(host: Host) -> None:
    host.follow(100)
    host.stream.touch([5], at(200))
    host.stream.apply(at(200))
    host.stream.see(at(200))
    assert fresh(host.workers[0], stamp_of(host.workers[0]), (5,))


def test_a_touch_never_goes_back(host: Host) -> None:
    host.follow(100)
    stamp = stamp_of(host.workers[0])
    host.stream.touch([5], at(200))
    host.stream.touch([5], at(50))
    assert refusal(host.workers[0], stamp, (5,)) == "written"


def test_marks_of_every_worker_count_until_a_later_probe(host: Host) -> None:
    host.follow(t0=1_000)
    stamp = stamp_of(host.workers[0])
    host.workers[1].mark([5], 1_500)
    for worker in host.workers:
        assert refusal(worker, stamp, (4, 5)) == "being-written"
        assert fresh(worker, stamp, (4,))
    host.stream.cover(1_499)
    assert refusal(host.workers[0], stamp, (5,)) == "being-written"
    host.stream.cover(1_500)
    assert fresh(host.workers[0], stamp, (5,))


def test_marks_never_go_back(host: Host) -> None:
    host.follow(t0=1_000)
    host.workers[0].mark([5], 1_500)
    host.workers[0].mark([5], 900)
    assert refusal(host.workers[0], stamp_of(host.workers[0]), (5,)) == "being-written"


def test_nothing_is_served_when_the_newest_probe_is_too_old(host: Host) -> None:
    host.follow(t0=1_000)
    stamp = stamp_of(host.workers[0])
    assert fresh(host.workers[0], stamp, (5,), 1_000 + STALENESS_NS)
    assert refusal(host.workers[0], stamp, (5,), 1_001 + STALENESS_NS) == "stale-clock"


def test_a_read_that_began_before_the_newest_probe_is_served(host: Host) -> None:
    host.follow(t0=5_000)
    assert fresh(host.workers[0], stamp_of(host.workers[0]), (5,), now_ns=4_000)


def test_sources_know_nothing_of_each_other(host: Host) -> None:
    host.follow()
    other = host.clocks.source(1, 0)
    assert other.stamp() is None
    other.mark([5], 1_500)
    host.clocks.source(1).touch([6], at(900))
    assert fresh(host.workers[0], stamp_of(host.workers[0]), (5, 6))


def test_only_workers_mark(host: Host) -> None:
    with pytest.raises(AssertionError):
        host.stream.mark([1], 1)


def test_a_source_that_is_not_there(host: Host) -> None:
    with pytest.raises(ValueError, match="only 2 sources"):
        host.clocks.source(2)


# -- incarnations --------------------------------------------------------------------------------------------------


def test_begin_makes_old_values_worthless_and_forgets_old_positions(host: Host) -> None:
    host.follow(1_000)
    old = stamp_of(host.workers[0])
    host.stream.touch([5], at(5_000))
    host.follow(100)
    assert refusal(host.workers[0], old, (6,)) == "stream"
    assert fresh(host.workers[0], stamp_of(host.workers[0]), (5,))  # though 5 was touched at a higher position


def test_begin_keeps_marks(host: Host) -> None:
    """What was acknowledged before stays acknowledged."""
    host.follow()
    host.workers[0].mark([5], 1_500)
    host.follow(t0=1_400)
    assert refusal(host.workers[0], stamp_of(host.workers[0]), (5,)) == "being-written"


def test_stop_serves_and_stamps_nothing_and_says_why(host: Host) -> None:
    host.follow()
    stamp = stamp_of(host.workers[0])
    host.stream.stop("the server is gone: é")
    assert refusal(host.workers[0], stamp, (5,)) == "stream"
    assert host.workers[0].stamp() is None
    assert host.workers[0].adopt(stamp.log_id, stamp.position) is None
    assert host.workers[0].reason == "the server is gone: é"
    host.stream.stop("x" * 5_000)
    assert set(host.workers[0].reason) == {"x"}


def test_resume_goes_on_with_the_values_but_serves_none_before_the_next_probe(host: Host) -> None:
    incarnation = host.follow()
    stamp = stamp_of(host.workers[0])
    host.stream.stop("")
    assert host.stream.resumable == incarnation
    host.stream.resume()
    assert refusal(host.workers[0], stamp, (5,)) == "stale-clock"
    host.stream.touch([6], at(300))
    host.stream.cover(1_900)
    assert fresh(host.workers[0], stamp, (5,))
    assert refusal(host.workers[0], stamp, (6,)) == "written"
    assert host.workers[0].reason == ""


def test_resuming_after_a_killed_process_serves_none_before_the_next_probe_either(host: Host) -> None:
    host.follow()
    stamp = stamp_of(host.workers[0])
    host.stream.resume()
    assert refusal(host.workers[0], stamp, (5,)) == "stale-clock"


def test_adopt_takes_positions_of_the_same_log_that_are_not_before_the_floor(host: Host) -> None:
    incarnation = host.follow(floor=100)
    adopt = host.workers[0].adopt
    assert adopt(LOG, at(100)) == incarnation
    assert adopt(LOG, at(9_999)) == incarnation
    assert adopt(LOG, at(99)) is None
    assert adopt(LOG + 1, at(200)) is None
    assert adopt(LOG, position_of(FILE + 1, 4)) is None
    assert adopt(0, 0) is None
    # 64 files later another file has its place: numbers that differ by 64 are told apart by identity.
    assert adopt(LOG, position_of(FILE + 64, 200)) == incarnation
    host.stream.name_log(FILE + 64, LOG + 64)
    assert adopt(LOG, at(200)) is None


# -- classes -------------------------------------------------------------------------------------------------------


def test_follow_makes_what_was_kept_of_changed_tables_worthless(host: Host) -> None:
    host.follow(100)
    clock = host.workers[0]
    before = stamp_of(clock)
    assert not clock.follows(9)
    host.stream.follow(9, [5])
    assert clock.follows(9)
    assert refusal(clock, before, (5,)) == "written"
    assert fresh(clock, before, (6,))
    # Nobody writes: a fill after it is good all the same, and goes on being so.
    assert fresh(clock, stamp_of(clock), (5,))
    host.stream.see(at(100))
    assert fresh(clock, stamp_of(clock), (5,))


def test_after_follow_a_successor_goes_on_at_the_end_of_an_event(host: Host) -> None:
    host.follow(100)
    host.stream.follow(9, [5])
    assert host.stream.applied == at(100)
    host.stream.follow(10, [5])
    assert host.stream.applied == at(100)
    host.stream.apply(at(200))
    assert host.stream.applied == at(200)


def test_a_stamp_taken_while_the_log_is_behind_is_not_good_for_changed_tables(host: Host) -> None:
    host.follow(100)
    host.stream.see(at(900))  # visible already, but applied only up to 100
    host.stream.follow(9, [5])
    stamp = stamp_of(host.workers[0])
    assert stamp.position <= at(101)
    host.stream.touch([7], at(500))
    host.stream.apply(at(500))
    assert refusal(host.workers[0], stamp, (7,)) == "written"


def test_begin_forgets_which_classes_are_followed(host: Host) -> None:
    host.follow()
    host.stream.follow(9, [])
    host.follow()
    assert not host.workers[0].follows(9)


# -- two processes -------------------------------------------------------------------------------------------------


def test_another_process_sees_the_same_words(host: Host) -> None:
    incarnation = host.follow(100)
    code = (
        "from proxy.cache.clocks import Clocks\n"
        f"clocks = Clocks.open({host.clocks.fd})\n"
        "worker, stream = clocks.source(0, 1), clocks.source(0)\n"
        "print(clocks.workers, clocks.sources, worker.stamp().incarnation)\n"
        "worker.mark([5], 1500)\n"
        f"stream.touch([6], {at(300)})\n"
        f"stream.apply({at(300)})\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], pass_fds=[host.clocks.fd], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["2", "2", str(incarnation)]
    stamp = stamp_of(host.workers[0])
    assert refusal(host.workers[0], stamp, (5,)) == "being-written"
    assert refusal(host.workers[0], Stamp(incarnation, LOG, at(200)), (6,)) == "written"


def test_another_file_is_refused() -> None:
    for size in (0, 8, 4096):
        fd = os.memfd_create("not-clocks")
        os.ftruncate(fd, size)
        with pytest.raises(ValueError, match="another format"):
            Clocks.open(fd)
        os.close(fd)


WRITER = """
import sys, time
from proxy.cache.clocks import Clocks, new_incarnation, position_of
stream = Clocks.open(int(sys.argv[1])).source(0)
print("ready", flush=True)
n = stream.applied & (1 << 40) - 1
while True:
    n += 1
    position = position_of(3, n)
    stream.touch([n % 50, 50 + n % 50], position)
    stream.apply(position)
    stream.see(position)
    stream.cover(time.perf_counter_ns())
"""

FLAPPER = """
import sys, time
from proxy.cache.clocks import Clocks, new_incarnation, position_of
stream = Clocks.open(int(sys.argv[1])).source(0)
print("ready", flush=True)
while True:
    stream.begin(new_incarnation(), position_of(3, 100))
    stream.name_log(3, 77)
    stream.see(position_of(3, 100))
    stream.touch([5], position_of(3, 200))
    stream.cover(time.perf_counter_ns())
    time.sleep(0.0005)
    stream.stop("again")
"""


def started(code: str, host: Host) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(host.clocks.fd)],
        pass_fds=[host.clocks.fd],
        cwd=ROOT,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    return process


def ended(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    assert process.stdout is not None
    process.stdout.close()


def test_while_another_process_writes_every_touch_is_seen_with_its_position(host: Host) -> None:
    """Whoever sees A has the W of everything up to there, and whoever sees T0 has its A."""
    incarnation = host.follow(100)
    clock = host.workers[0]
    process = started(WRITER, host)
    try:
        checked = 0
        deadline = time.monotonic() + 20
        while checked < 3_000 and time.monotonic() < deadline:
            applied = clock.applied
            n = applied & (1 << OFFSET_BITS) - 1
            if n < 200:
                continue
            # Each of the last 50 transactions before A touched slot n % 50; one stamped before it must be refused.
            for back in (0, 1, 7, 49):
                before = at(n - back - 1)
                slot = (n - back) % 50
                assert not clock.fresh(stamped(incarnation, before, (slot,)), time.perf_counter_ns(), STALENESS_NS)
            checked += 1
        assert checked >= 1_000
    finally:
        ended(process)


def test_a_killed_writer_leaves_positions_that_are_at_most_too_old(host: Host) -> None:
    host.follow(100)
    clock = host.workers[0]
    for _ in range(8):
        before = clock.applied
        process = started(WRITER, host)
        wait_until(lambda start=before: clock.applied > start + 500, 20)
        process.send_signal(signal.SIGKILL)
        ended(process)
        n = clock.applied & (1 << OFFSET_BITS) - 1
        # W is never behind A: a value stamped below A is refused for every slot touched since.
        for back in range(50):
            assert clock.touched[(n - back) % 50] >= at(n - back)
        stamp = stamp_of(clock)
        assert stamp.position <= clock.applied
        # Its successor goes on at A.
        incarnation = clock.incarnation
        host.stream.stop("killed")
        host.stream.resume()
        assert clock.incarnation == incarnation
        assert not clock.fresh(stamped(stamp.incarnation, stamp.position, (60,)), time.perf_counter_ns(), STALENESS_NS)


def test_no_value_survives_the_changes_of_incarnation_of_another_process(host: Host) -> None:
    """A value stamped in an earlier incarnation, or before slot 5 was touched in its own, is never served."""
    clock = host.workers[0]
    process = started(FLAPPER, host)
    try:
        served = 0
        seen: set[int] = set()
        deadline = time.monotonic() + 20
        while len(seen) < 60 and time.monotonic() < deadline:
            stamp = clock.stamp()
            if stamp is None:
                continue
            seen.add(stamp.incarnation)
            assert stamp.position == at(100)
            assert stamp.log_id == LOG
            t0_before = clock.t0
            if clock.fresh(stamped(stamp.incarnation, stamp.position, (6,)), time.perf_counter_ns(), STALENESS_NS):
                served += 1
            # Slot 5 is touched before T0 is set, so whoever may be served at all is refused this.
            if t0_before and clock.incarnation == stamp.incarnation:
                assert not clock.fresh(stamped(stamp.incarnation, at(150), (5,)), time.perf_counter_ns(), STALENESS_NS)
        assert len(seen) >= 20
        assert served
    finally:
        ended(process)


def test_a_writer_killed_in_begin_leaves_nothing_to_resume() -> None:
    for _ in range(5):
        host = Host()
        process = started(FLAPPER, host)
        try:
            wait_until(lambda host=host: host.stream.incarnation != 0, 20)
        finally:
            ended(process)
        stamp = host.workers[0].stamp()
        if host.stream.resumable == 0:
            assert stamp is None
        else:
            assert host.stream.floor == at(100)
            assert host.stream.applied >= at(100)
        host.close()


def test_a_workers_marks_outlive_it(host: Host) -> None:
    host.follow(t0=1_000)
    code = f"from proxy.cache.clocks import Clocks; Clocks.open({host.clocks.fd}).source(0, 0).mark([5], 1500)"
    subprocess.run([sys.executable, "-c", code], pass_fds=[host.clocks.fd], cwd=ROOT, check=True)
    successor = host.clocks.source(0, 0)
    assert refusal(successor, stamp_of(successor), (5,)) == "being-written"


# -- against a model -----------------------------------------------------------------------------------------------

_slot = st.integers(0, 3)
_steps = st.lists(
    st.one_of(
        st.tuples(st.just("write"), _slot, st.integers(0, 1)),  # by a worker, acknowledged
        st.tuples(st.just("bypass"), _slot, st.just(0)),  # by somebody else
        st.tuples(st.just("apply"), st.integers(1, 3), st.just(0)),
        st.tuples(st.just("probe"), st.just(0), st.just(0)),
        st.tuples(st.just("fill"), _slot, st.integers(0, 1)),
        st.tuples(st.just("read"), _slot, st.integers(0, 1)),
        st.tuples(st.just("restart"), st.just(0), st.just(0)),
        st.tuples(st.just("begin"), st.just(0), st.just(0)),
    ),
    max_size=40,
)


@settings(max_examples=300, deadline=None)
@given(_steps)
def test_whatever_happens_no_read_misses_an_acknowledged_write(steps: list[tuple[str, int, int]]) -> None:
    """A server whose rows are version numbers, a stream that lags, probes, restarts: hits are right by the promise."""
    host = Host()
    versions = [0, 0, 0, 0]  # of the rows, one for each slot
    acknowledged = [0, 0, 0, 0]  # by this host's workers
    log: list[tuple[int, int]] = []  # (position, slot), not applied yet
    end = 100
    now = 1_000
    pending: list[tuple[int, int]] = []
    values: dict[int, tuple[Stamp, int]] = {}
    host.follow(end, t0=now)
    for what, n, worker in steps:
        now += 10
        if what in ("write", "bypass"):
            versions[n] += 1
            end += 10
            log.append((end, n))
            if what == "write":
                host.workers[worker].mark([n], now)
                acknowledged[n] = versions[n]
        elif what == "apply":
            for position, slot in log[:n]:
                host.stream.touch([slot], at(position))
                host.stream.apply(at(position))
            del log[:n]
        elif what == "probe":
            host.stream.see(at(end))
            pending.append((end, now))
        elif what == "fill":
            stamp = host.workers[worker].stamp()
            if stamp is not None:
                values[n] = (stamp, versions[n])
        elif what == "read" and n in values:
            stamp, version = values[n]
            if host.workers[worker].fresh(stamped(stamp.incarnation, stamp.position, (n,)), now, STALENESS_NS):
                assert version >= acknowledged[n]
        elif what == "restart":
            host.stream.stop("")
            host.stream.resume()
        elif what == "begin":
            host.stream.begin(new_incarnation(), at(end))
            host.stream.name_log(FILE, LOG)
            log.clear()
            pending.clear()
        for position, sent in list(pending):
            if at(position) <= host.stream.applied:
                host.stream.cover(sent)
                pending.remove((position, sent))
    host.close()


def test_slots_are_within_the_file(host: Host) -> None:
    host.follow()
    host.stream.touch([0, SLOTS - 1], at(300))
    host.workers[1].mark([0, SLOTS - 1], 5_000)
    clock = host.workers[0]
    assert clock.touched[SLOTS - 1] == at(300)
    assert clock.marked[1][SLOTS - 1] == 5_000
    assert clock.marked[0][0] == 0
    assert host.clocks.source(1, 0).marked[0][0] == 0


def test_a_successor_makes_up_for_a_process_that_died_between_two_words(host: Host) -> None:
    """Whatever it had stored of a transaction: what the next one touches again refuses older values."""

    class Killed(Exception):
        pass

    class Dying:
        """W of a process that dies at its `left`th store."""

        def __init__(self, words: memoryview, left: int) -> None:
            self.words, self.left = words, left

        def __getitem__(self, slot: int) -> int:
            return int(self.words[slot])

        def __setitem__(self, slot: int, position: int) -> None:
            if not self.left:
                raise Killed
            self.left -= 1
            self.words[slot] = position

    host.follow()
    incarnation = host.stream.incarnation
    words = host.stream.touched
    for stores in range(3):
        before, end = host.stream.applied, host.stream.applied + 100
        host.stream.touched = Dying(words, stores)  # type: ignore[assignment]
        try:
            host.stream.touch([7, 8], end)
        except Killed:
            pass
        else:
            raise AssertionError("it was to die")
        host.stream.touched = words
        host.stream.touch([7, 8], end)
        host.stream.apply(end)
        host.stream.cover(1_000 + stores)
        for slot in (7, 8):
            assert not host.workers[0].fresh(stamped(incarnation, before, (slot,)), 1_000, STALENESS_NS)
            assert host.workers[0].fresh(stamped(incarnation, end, (slot,)), 1_000, STALENESS_NS)
