"""Tags: what a cached value depends on and a write touches, and the slots of the clocks that stand for them.

A tag is a cluster as a whole, a table as a whole (its epoch), or the rows of a table with one value in each column of a
cache class. All processes and hosts give the same tag the same slot. Two tags may share a slot: that costs hits, never
correctness, since a slot that either tag touches refuses both.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

SLOTS = 1 << 18  # of the clocks, for every cluster
MIX = 0x9E3779B1  # 2^32 / golden ratio: spreads what CRC32 leaves regular over the upper bits
SLOT_SHIFT = 32 - 18  # of 32 bits the upper ones are the slot


def _slot(crc: int) -> int:
    return (crc * MIX & 0xFFFFFFFF) >> SLOT_SHIFT


def slot_of(tag: bytes) -> int:
    return _slot(zlib.crc32(tag))


def cluster_tag() -> bytes:
    """Everything on the cluster: what was done is not known, or concerns all (GRANT)."""
    return b"cluster"


def table_tag(database: str, table: str) -> bytes:
    """A table's epoch: DDL, TRUNCATE, and writes whose keys are not known."""
    return b"\0".join((b"table", _folded(database), _folded(table)))


CLUSTER_SLOT = slot_of(cluster_tag())


def table_slot(database: str, table: str) -> int:
    return slot_of(table_tag(database, table))


def class_seed(database: str, table: str, columns: Sequence[str]) -> int:
    """What `key_slot` begins with for one class of one table."""
    parts = (b"key", _folded(database), _folded(table), *(column.lower().encode() for column in columns))
    return zlib.crc32(b"\0".join(parts) + b"\0\0")


def key_slot(seed: int, texts: Sequence[bytes | None]) -> int:
    """The slot of one key of a class: one key text for each of its columns (`proxy.plan.keys`), None for NULL."""
    crc = seed
    for text in texts:
        crc = zlib.crc32(b"\0N" if text is None else b"%d:" % len(text) + text, crc)
    return _slot(crc)


def length_seeds(seed: int, longest: int) -> tuple[int, ...]:
    """For texts of one column of up to `longest` bytes: what `key_slot` has after their length, by the length."""
    return tuple(zlib.crc32(b"%d:" % length, seed) for length in range(longest + 1))


def _folded(name: str) -> bytes:
    """Names that differ only in case share their tags: on some servers they are one."""
    return name.lower().encode("utf-8", "surrogateescape")
