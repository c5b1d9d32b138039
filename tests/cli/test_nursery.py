"""Processes that are forked instead of executed: whose children they are, how they end, what happens without."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from proxy.cli.nursery import Nursery
from tests.servers import Run, Shop, Turnout
from tests.servers.process import wait_until

ROOT = Path(__file__).resolve().parents[2]

CHILD = """
import os, signal, sys, time
def main():
    option, fd = sys.argv[-2:]
    assert option == "--out-fd"
    word = sys.argv[1]
    on_term = signal.getsignal(signal.SIGTERM)
    told = f"{word} {os.getpid()} {os.getsid(0)} {sys.stdin.read()!r} {on_term!r}"
    os.write(int(fd), told.encode())
    os.close(int(fd))
    if word == "wait":
        time.sleep(60)
    if word == "raise":
        raise RuntimeError("on purpose")
    return int(word) if word.isdigit() else 0
if __name__ == "__main__":
    sys.exit(main())
"""

PARENT = """
import asyncio, os, signal, sys
from proxy.cli.nursery import Nursery

async def spawn(nursery, word):
    reading, writing = os.pipe()
    child = await nursery.spawn((sys.executable, "-m", "a_child", word), {"--out-fd": writing})
    os.close(writing)
    told = os.read(reading, 4096).decode()
    os.close(reading)
    assert told.startswith(f"{word} {child.pid} {child.pid} '' "), told
    assert "SIG_DFL" in told, told
    return child

def open_fds():
    return len(os.listdir("/proc/self/fd"))

"""


@pytest.fixture
def parent(tmp_path: Path) -> Callable[[str], str]:
    """Runs the body of a coroutine in a process that opens a nursery first; what it prints."""
    (tmp_path / "a_child.py").write_text(CHILD)

    def run(body: str) -> str:
        text = PARENT + "async def life(nursery):\n" + textwrap.indent(textwrap.dedent(body), "    ")
        text += "\nnursery = Nursery.open(('a_child',))\nasyncio.run(life(nursery))\nnursery.close()\n"
        ended = subprocess.run(
            [sys.executable, "-c", text],
            env={**os.environ, "PYTHONPATH": f"{ROOT}:{tmp_path}"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert ended.returncode == 0, ended.stderr
        return ended.stdout + ended.stderr

    return run


def test_children_are_the_supervisors_own_and_tell_how_they_ended(parent: Callable[[str], str]) -> None:
    out = parent("""
        before = open_fds()
        for word, code in (("0", 0), ("7", 7), ("raise", 1)):
            child = await spawn(nursery, word)
            assert await child.wait() == code == child.returncode, (word, child.returncode)
            child.send_signal(signal.SIGTERM)  # to nobody
        child = await spawn(nursery, "wait")
        assert child.returncode is None
        assert f"PPid:\\t{os.getpid()}\\n" in open(f"/proc/{child.pid}/status").read()
        child.send_signal(signal.SIGKILL)
        assert await child.wait() == -9
        assert open_fds() == before
        several = await asyncio.gather(*(spawn(nursery, str(n)) for n in range(5)))
        assert [await child.wait() for child in several] == [0, 1, 2, 3, 4]
        print("done", nursery.is_open)
    """)
    assert "done True" in out
    assert "RuntimeError: on purpose" in out


def test_without_a_nursery_processes_are_executed(parent: Callable[[str], str]) -> None:
    out = parent("""
        pid = nursery.pid
        assert pid != 0
        os.kill(pid, signal.SIGKILL)
        for code in (3, 4):
            child = await spawn(nursery, str(code))
            assert await child.wait() == code
            assert not nursery.is_open
        assert not os.path.exists(f"/proc/{pid}"), "it is still a zombie"
        print("done")
    """)
    assert "done" in out
    assert out.count("no process can be forked") == 1


def test_who_gives_up_waiting_does_not_leave_its_answer_to_the_next(parent: Callable[[str], str]) -> None:
    out = parent("""
        os.kill(nursery.pid, signal.SIGSTOP)
        task = asyncio.create_task(spawn(nursery, "wait"))
        await asyncio.sleep(0.05)
        task.cancel()
        await asyncio.wait([task])
        assert not nursery.is_open
        assert await (await spawn(nursery, "6")).wait() == 6
        print("done")
    """)
    assert "done" in out


def test_a_module_that_it_does_not_know_is_executed() -> None:
    async def life() -> int:
        child = await Nursery().spawn((sys.executable, "-c", "import sys; sys.exit(5)"), {})
        return await child.wait()

    assert asyncio.run(life()) == 5


def test_a_worker_is_replaced_with_the_nursery_and_without_it(
    run: Run, shop_servers: Shop, turnout: Callable[..., Turnout]
) -> None:
    def named(name: str) -> list[int]:
        return proxy.named(name)

    def another_than(old: int) -> Callable[[], bool]:
        return lambda: (found := named("turnout-worker")) != [] and found != [old] and proxy.ready()

    proxy = turnout(shop_servers.rules())
    (first,), (nursery,) = named("turnout-worker"), named("turnout-nursery")
    for pid in (first, nursery):
        assert f"PPid:\t{proxy.pid}\n" in Path(f"/proc/{pid}/status").read_text()

    os.kill(first, signal.SIGKILL)
    wait_until(another_than(first), 10)
    (second,) = named("turnout-worker")
    assert named("turnout-nursery") == [nursery]

    os.kill(nursery, signal.SIGKILL)
    os.kill(second, signal.SIGKILL)
    wait_until(another_than(second), 20)
    assert named("turnout-nursery") == []
    assert "no process can be forked, executing it" in proxy.log_text()
    assert proxy.stop() == 0
