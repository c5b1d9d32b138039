"""The slots of a cached read by the quick way: one column of integers, pinned to one plain number of the text."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Final

from mypy_extensions import i64

from proxy.back import tags

_ZERO: Final = 48
_MIX_LOW: Final = tags.MIX & 0xFFFF
_MIX_HIGH: Final = tags.MIX >> 16
_SHIFT: Final = tags.SLOT_SHIFT
_crc32: Final = zlib.crc32


class TextSlots:
    """Of one statement. `always`: slots that it always depends on; `at`: which of its literals is the key; `seed`: its
    class's; `digits`: how many the column has room for, whatever they are."""

    __slots__ = ("_always", "_at", "_digits", "_seeds")

    def __init__(self, always: tuple[int, ...], at: int, seed: int, digits: int) -> None:
        self._always = always
        self._at = at
        self._digits = digits
        self._seeds = tags.length_seeds(seed, digits)

    def of(self, literals: Sequence[bytes]) -> tuple[int, ...] | None:
        """None: the literal is not that plain, the slow way has to be gone."""
        text = literals[self._at]
        size = len(text)
        if 0 < size <= self._digits and text[0] != _ZERO and text.isdigit():
            crc: i64 = _crc32(text, self._seeds[size])
            # As `tags.key_slot`, by products that machine words have room for.
            mixed: i64 = (crc * _MIX_LOW + ((crc * _MIX_HIGH & 0xFFFF) << 16)) & 0xFFFFFFFF
            slot: int = mixed >> _SHIFT
            return self._always + (slot,)  # noqa: RUF005 - a list would be made on the way
        return None
