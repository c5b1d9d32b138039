"""How the kernel schedules this process among others on the same processors (sched(7)).

A worker waits for sockets most of the time. By Linux's default a process that wakes up interrupts the one that runs: a
worker does so with each answer of a server and each statement of a client, and then finds just this one to be read.
With SCHED_BATCH it waits until its turn comes. Where servers or clients are on the same machine and have its processors
busy, more has come for it by then, so each statement costs less; where a processor is free, nothing changes.
`bench/RESULTS.md` has figures for both, and for what it costs beside processes that have nothing to do with Turnout.
"""

from __future__ import annotations

import logging
import os

from proxy.rules.model import Scheduling

log = logging.getLogger("turnout.worker")


def schedule(wanted: Scheduling) -> None:
    """Have this process scheduled so. Whoever started Turnout under another policy than these two (chrt, systemd's
    CPUSchedulingPolicy) keeps it, and where the system has none of them, or forbids it, nothing changes."""
    if not hasattr(os, "SCHED_BATCH"):
        return
    policies = {Scheduling.BATCH: os.SCHED_BATCH, Scheduling.NORMAL: os.SCHED_OTHER}
    try:
        found = os.sched_getscheduler(0)
        if found != policies[wanted] and found in policies.values():
            os.sched_setscheduler(0, policies[wanted], os.sched_param(0))
    except OSError as error:
        log.warning("cannot set how this worker is scheduled", extra={"wanted": wanted.value, "error": str(error)})
