"""The 4096 slots of a hash sharding: dealing them out, reading ranges of them, and writing them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import groupby

from proxy.rules.model import SLOTS

Ranges = tuple[tuple[int, int], ...]  # (first, last), both included

_RANGE = re.compile(r"([0-9]{1,9})(?:\s*-\s*([0-9]{1,9}))?")


def deal(clusters: Sequence[str]) -> tuple[str, ...]:
    """The slots in equal contiguous shares, in the order of `clusters`."""
    return tuple(clusters[slot * len(clusters) // SLOTS] for slot in range(SLOTS))


def parse(value: object) -> Ranges:
    """`0-2047`, `5`, `"0-99, 200-299"` or a list of these. Raises ValueError with a sentence."""
    if isinstance(value, list):
        if not value:
            raise ValueError("must name at least one slot, such as `0-2047`")
        return tuple(one for item in value for one in parse(item))
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        raise ValueError("must be a range of slots such as `0-2047`, or a list of ranges")
    return tuple(_range(part.strip()) for part in value.split(","))


def _range(text: str) -> tuple[int, int]:
    found = _RANGE.fullmatch(text)
    if found is None:
        raise ValueError(f"has `{text}` where a range of slots such as `0-2047` belongs")
    first = int(found[1])
    last = int(found[2]) if found[2] is not None else first
    if last >= SLOTS:
        raise ValueError(f"has slot {last}, but slots go from 0 to {SLOTS - 1}")
    if first > last:
        raise ValueError(f"has `{text}`, whose end is before its start")
    return first, last


def text(slots: Iterable[int]) -> str:
    """Ascending slots as ranges: "0-99, 120"."""
    parts = []
    for _, group in groupby(enumerate(slots), key=lambda item: item[1] - item[0]):
        run = [slot for _, slot in group]
        parts.append(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}")
    return ", ".join(parts)
