"""Ends what a run leaves behind, however its owner ended: `python watchdog.py MARKER FOLDER`.

Every process of a run has `TURNOUT_RUN=MARKER` in its environment, or writes its output into the run's folder, and so
do the children of such processes. When the owner is gone (kill -9 included) the kernel closes the pipe that is our
standard input; then whatever still carries such a mark is killed and the run's folder is removed. The mark is looked up
at that moment, so there is neither a process that was not registered yet nor one whose number is somebody else's by
now.

Runs by itself with the standard library only: it must be up before the first server is.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from pathlib import Path

MARKER = "TURNOUT_RUN"


def marked(marker: str, folder: str) -> list[int]:
    """Process ids that carry the marker, or log into the folder.

    Those that end meanwhile, and other accounts' processes, are left out.
    """
    wanted = f"{MARKER}={marker}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            environment = (entry / "environ").read_bytes()
            output = os.readlink(entry / "fd" / "2")
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        if wanted in environment.split(b"\0") or output.startswith(folder + "/"):
            found.append(int(entry.name))
    return found


def end(marker: str, folder: str, deadline_s: float = 10.0) -> list[int]:
    """Kills all that carry the mark, also what they start meanwhile; returns what is left at the deadline."""
    until = time.monotonic() + deadline_s
    while (found := marked(marker, folder)) and time.monotonic() < until:
        for pid in found:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        time.sleep(0.02)
    return found


def main() -> None:
    marker, folder = sys.argv[1:]
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # a signal to the whole terminal ends the owner, and us after it
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    while sys.stdin.buffer.read(1):
        pass
    left = end(marker, folder)
    shutil.rmtree(folder, ignore_errors=True)
    sys.exit(1 if left else 0)


if __name__ == "__main__":
    main()
