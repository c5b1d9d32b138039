"""Which processors this process may use, and how much of them: what a worker's waiting awake depends on."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from proxy.rules.model import BusyPolling, Rules

_CGROUPS: Final = Path("/sys/fs/cgroup")
_LONGEST_S: Final = 5.0  # between two looks at how idle the processors were


class IdleProcessors:
    """How many of the processors that this process may use had nothing to do."""

    def __init__(self, stat: Path = Path("/proc/stat")) -> None:
        self._stat = stat  # proc_stat(5)
        self._tick_s = 1 / os.sysconf("SC_CLK_TCK")
        self._at = 0.0
        self._idle_s = 0.0

    def since_last(self, now: float) -> float | None:
        """On average since the last time, which was not long ago; None where that is not known. `now`: seconds."""
        try:
            idle_s = self._read()
        except (OSError, ValueError, IndexError):
            return None
        took, idle = now - self._at, idle_s - self._idle_s
        self._at, self._idle_s = now, idle_s
        return max(0.0, idle / took) if 0 < took <= _LONGEST_S else None

    def _read(self) -> float:
        """Seconds that they were idle, all together."""
        own = os.sched_getaffinity(0)
        idle = 0
        with self._stat.open() as file:
            for line in file:
                name, *ticks = line.split()
                if not name.startswith("cpu"):
                    break
                if name != "cpu" and int(name[3:]) in own:
                    idle += int(ticks[3]) + int(ticks[4])
        return idle * self._tick_s


def busy_polling(rules: Rules) -> BusyPolling:
    """What a worker stays awake for (`proxy.front.busy_poll`). Unless the rules say, that is none where it
    would take time from somebody: with one processor, or where processor time is rationed."""
    if rules.busy_poll is not None:
        return rules.busy_poll
    if len(os.sched_getaffinity(0)) == 1 or is_rationed():
        return BusyPolling.OFF
    return BusyPolling.SCATTER


def is_rationed(groups: Path = _CGROUPS, own: Path = Path("/proc/self/cgroup")) -> bool:
    """Whether this process may use its processors for a part of the time only, by a CPU quota of its control groups
    (cgroups(7)), as `docker run --cpus`, Kubernetes' limits and systemd's CPUQuota set it. `groups`: where they are
    mounted; `own`: which this process is in. Where there is nothing to read, there is no quota."""
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return False
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        names = controllers.split(",") if controllers else []
        if names and "cpu" not in names:
            continue
        # Version 1 has a directory for the controller, version 2 none. A container may see its group as the root.
        for root in (groups / controllers, groups / "cpu") if names else (groups, groups / "unified"):
            group = root / path.lstrip("/")
            if any(_has_quota(each) for each in (group, *group.parents) if each.is_relative_to(root)):
                return True
    return False


def _has_quota(group: Path) -> bool:
    return _first_word(group / "cpu.max").isdigit() or _first_word(group / "cpu.cfs_quota_us").isdigit()


def _first_word(file: Path) -> str:
    """ "" where it cannot be read. What is without a limit is written as `max`, or as -1."""
    try:
        words = file.read_text().split()
    except OSError:
        return ""
    return words[0] if words else ""
