"""What OK packets say beside numbers: `Rows matched: 3  Changed: 1  Warnings: 0`, taken apart and put together."""

from __future__ import annotations

import re
from collections.abc import Iterable

_COUNTS = re.compile(rb"(\w[\w ]*?): (\d+)")


def counts_of(info: bytes) -> dict[bytes, int]:
    """The numbers by what they count; none where a server said nothing."""
    return {name: int(number) for name, number in _COUNTS.findall(info)}


def add_counts(totals: dict[bytes, int], info: bytes) -> None:
    for name, number in counts_of(info).items():
        totals[name] = totals.get(name, 0) + number


def text_of(totals: dict[bytes, int], warnings: int) -> bytes:
    """The text; of warnings, the number that the whole answer has."""
    return b"  ".join(b"%s: %d" % (name, warnings if name == b"Warnings" else n) for name, n in totals.items())


def joined(infos: Iterable[bytes], warnings: int) -> bytes:
    """Those of several servers, added up."""
    totals: dict[bytes, int] = {}
    for info in infos:
        add_counts(totals, info)
    return text_of(totals, warnings)
