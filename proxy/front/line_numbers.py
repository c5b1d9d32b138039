"""Which line of a client's file a cluster speaks of, when it counts the lines of its own part."""

from __future__ import annotations

import re
from collections.abc import Sequence

_MOST = 16 << 20  # lines of which it is remembered where they went, a byte each
_ROW = re.compile(rb"(?<=at row )\d+|(?<=\ARow )\d+")


class LineNumbers:
    """Parts are numbered from 0, lines from 1."""

    def __init__(self) -> None:
        self._went = bytearray()  # to which part, line by line

    def add(self, parts: bytes) -> None:
        """The next lines went to these parts."""
        if len(self._went) < _MOST:
            self._went += parts

    def told(self, part: int, messages: Sequence[bytes]) -> list[tuple[int, bytes]]:
        """Messages of one part, each as it is about the whole file, and the line that it is about: that of the message
        before where it names none, and does not know that either."""
        found: list[tuple[int, bytes]] = []
        line = 0
        at = counted = 0  # so many lines of the file, of which so many went there
        for message in messages:
            match = _ROW.search(message)
            if match is not None:
                wanted = int(match.group())
                if wanted < counted:
                    at = counted = 0
                while counted < wanted:
                    behind = self._went.find(part, at) + 1
                    if not behind:
                        break  # beyond what is remembered
                    at = behind
                    counted += 1
                if counted == wanted:
                    line = at
                    message = b"%b%d%b" % (message[: match.start()], line, message[match.end() :])
            found.append((line, message))
        return found
