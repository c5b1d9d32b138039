"""Noticing that the rules file changed."""

from __future__ import annotations

import os
from pathlib import Path

Signature = tuple[int, int, int]  # modification time (ns), size, inode


class Watch:
    """Polled; says that the file changed once it has stayed the same for two polls in a row.

    Waiting for the second poll keeps a file that is being written from being read half: what is there of it may well be
    valid, and would send tables to the wrong place. A file that is gone is no change: it may be on its way back.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known = self._candidate = signature(path)

    def poll(self) -> bool:
        """True once for every change."""
        now = signature(self._path)
        if now is None or now == self._known:
            self._candidate = now
            return False
        if now != self._candidate:
            self._candidate = now
            return False
        self._known = now
        return True

    def accept(self, seen: Signature | None) -> None:
        """The file was read by other means; `seen` is its signature from before that, so that no change is missed."""
        if seen is not None:
            self._known = self._candidate = seen


def signature(path: Path) -> Signature | None:
    """What changes when the file does. Symbolic links are followed: swapping one is a change."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
