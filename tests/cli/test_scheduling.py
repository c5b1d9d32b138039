"""How workers are scheduled: as the rules say, unless whoever started Turnout said otherwise."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

import pytest

from proxy.cli.scheduling import schedule
from proxy.rules.model import Scheduling
from tests.servers import Shop, Turnout
from tests.servers.process import wait_until


def policies(turnout: Turnout) -> set[int]:
    """Those of its workers."""
    workers = turnout.named("turnout-worker")
    found = {os.sched_getscheduler(pid) for pid in workers}
    others = {os.sched_getscheduler(pid) for pid in turnout.pids() if pid not in workers}
    assert found
    assert others == {os.SCHED_OTHER}
    return found


@pytest.mark.servers
def test_workers_follow_the_rules(shop_servers: Shop, turnout: Callable[..., Turnout]) -> None:
    rules = f"workers: 2\n{shop_servers.rules('main')}"
    proxy = turnout(rules)
    assert policies(proxy) == {os.SCHED_BATCH}
    for scheduling, policy in (("normal", os.SCHED_OTHER), ("batch", os.SCHED_BATCH)):
        proxy.reload(f"{rules}\nscheduling: {scheduling}\n")
        wait_until(lambda wanted={policy}: policies(proxy) == wanted, 10)  # type: ignore[misc]


def in_a_process(before: str, wanted: Scheduling) -> int:
    """The policy of a process that did `before` and was then to be scheduled as `wanted`."""
    code = (
        "import os\nfrom proxy.cli.scheduling import schedule\nfrom proxy.rules.model import Scheduling\n"
        f"{before}\nschedule(Scheduling.{wanted.name})\nprint(os.sched_getscheduler(0))"
    )
    return int(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)


@pytest.mark.parametrize("wanted", Scheduling)
def test_another_policy_is_kept(wanted: Scheduling) -> None:
    idle = "os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))"
    assert in_a_process(idle, wanted) == os.SCHED_IDLE
    assert in_a_process("", wanted) == {Scheduling.BATCH: os.SCHED_BATCH, Scheduling.NORMAL: os.SCHED_OTHER}[wanted]


def test_a_system_that_forbids_it(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    def forbidden(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    before = os.sched_getscheduler(0)
    monkeypatch.setattr(os, "sched_setscheduler", forbidden)
    schedule(Scheduling.BATCH if before == os.SCHED_OTHER else Scheduling.NORMAL)
    assert os.sched_getscheduler(0) == before
    assert [record.getMessage() for record in caplog.records] == ["cannot set how this worker is scheduled"]


def test_a_system_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    before = os.sched_getscheduler(0)
    monkeypatch.delattr(os, "SCHED_BATCH")
    schedule(Scheduling.BATCH)
    assert os.sched_getscheduler(0) == before
