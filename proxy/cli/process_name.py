"""The name under which a process is listed by `ps -o comm` and `top`: turnout, turnout-worker, ..

Processes that were forked share the command line of the one they come from; these names tell them apart.
"""

from __future__ import annotations

import ctypes
import sys

_PR_SET_NAME = 15  # linux/prctl.h; at most 15 bytes are kept
_PR_SET_CHILD_SUBREAPER = 36


def name_process(name: str) -> None:
    """Where the system has no such names, nothing happens."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_NAME, name.encode(), 0, 0, 0)


def adopt_orphans() -> bool:
    """Become the parent of descendants whose own parent ends (prctl(2), PR_SET_CHILD_SUBREAPER); False: cannot."""
    if sys.platform != "linux":
        return False
    outcome: int = ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    return outcome == 0
