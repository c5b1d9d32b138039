"""Free TCP ports on loopback that nobody else of this machine's runs is given."""

from __future__ import annotations

import fcntl
import os
import random
import socket
import tempfile
from pathlib import Path

# Below the range from which the kernel takes the local ports of outgoing connections (32768 by default), so that no
# client's socket can be in the way when a server is restarted on its port.
FIRST, LAST = 15_000, 32_000
TRIES = 2_000


class Ports:
    """Ports reserved until `close`, by locks that the kernel drops when the owner ends."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.gettempdir()) / f"turnout-ports-{os.getuid()}"
        self._folder.mkdir(mode=0o700, exist_ok=True)
        self._locks: list[int] = []

    def free(self) -> int:
        for _ in range(TRIES):
            port = random.randrange(FIRST, LAST)
            lock = os.open(self._folder / str(port), os.O_CREAT | os.O_RDWR, 0o600)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                with socket.socket() as probe:
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    probe.bind(("127.0.0.1", port))
            except OSError:
                os.close(lock)
                continue
            self._locks.append(lock)
            return port
        raise OSError(f"no free port between {FIRST} and {LAST} after {TRIES} tries")

    def close(self) -> None:
        while self._locks:
            os.close(self._locks.pop())
