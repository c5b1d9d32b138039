"""Which keys statements ask for, in bounded space: how many different ones, and how unequal they are.

A `KeySketch` is about one *candidate key*: columns of a table by which rows are found, which a cache class or a
sharding could be made of. It holds no values, only 32-bit hashes, and two of them can be merged. About 3 KB in memory,
up to 1.5 KB in the history.

- Distinct keys: HyperLogLog with 1024 registers (standard error 3.3 %; Flajolet et al. 2007), estimated by maximum
  likelihood (Ertl 2017). Of `level` j only keys with a hash below 2^(32 - j) were looked at. Those are the keys whose
  hash begins with j zeros, so registers up to j say nothing, and the likelihood is that of what the others say.
- Heavy hitters: Space-Saving (Metwally et al. 2005) over a sample of the statements.
- Hits and misses: what a cache by this key would have done (`proxy.measure.key_replay`).
"""

from __future__ import annotations

import math
import zlib

import msgspec

_INDEX_BITS = 10
REGISTERS = 1 << _INDEX_BITS
_RANK_BITS = 32 - _INDEX_BITS
HEAVY = 32  # keys that are counted by themselves
MAX_LEVEL = _RANK_BITS - 2


class _Packed(msgspec.Struct, array_like=True):
    """What the history keeps."""

    level: int
    registers: bytes  # zlib
    heavy: list[tuple[int, int, int, int]]  # hash, reads, writes, how much of it may be others'
    reads: int
    writes: int
    cacheable: int
    hits: int
    misses: int
    samples: int


_decoder = msgspec.msgpack.Decoder(_Packed)


class KeySketch:
    """See the module. All counts are of statements that were not looked at, too: samples with their weights."""

    __slots__ = ("_heavy", "_registers", "cacheable", "hits", "level", "misses", "reads", "samples", "writes")

    def __init__(self, level: int = 0) -> None:
        self.level = level
        self.reads = self.writes = 0
        self.cacheable = 0  # of the reads: those that a cache class could answer
        self.hits = self.misses = 0  # of these, by replaying them
        self.samples = 0  # statements that were counted for this
        self._registers = bytearray(REGISTERS)
        self._heavy: dict[int, list[int]] = {}  # hash -> reads, writes, how much of it may be others'

    def see(self, key: int) -> None:
        """A statement asked for this key, which is one of those that are looked at at this level."""
        # The rank is that of the high bits, by which keys are sampled; the register has to know nothing of them. (The
        # low bits of a product would not do: they follow patterns of the texts.) MurmurHash3's finalizer.
        mixed = (key ^ key >> 16) * 0x85EBCA6B & 0xFFFFFFFF
        mixed = (mixed ^ mixed >> 13) * 0xC2B2AE35 & 0xFFFFFFFF
        index = (mixed ^ mixed >> 16) & (REGISTERS - 1)
        rank = _RANK_BITS + 1 - (key >> _INDEX_BITS).bit_length()
        if rank > self._registers[index]:
            self._registers[index] = rank

    def count(self, key: int, write: bool, cacheable: bool, weight: int) -> None:
        """So many statements asked for keys, of which one, with this key, was looked at."""
        self.samples += 1
        if write:
            self.writes += weight
        else:
            self.reads += weight
            if cacheable:
                self.cacheable += weight
        heavy = self._heavy
        found = heavy.get(key)
        if found is None:
            if len(heavy) < HEAVY:
                found = heavy[key] = [0, 0, 0]
            else:
                least = min(heavy, key=lambda one: heavy[one][0] + heavy[one][1])
                found = heavy[key] = heavy.pop(least)
                found[2] = found[0] + found[1]
        found[1 if write else 0] += weight

    def add(self, other: KeySketch) -> None:
        self.level = max(self.level, other.level)
        for name in ("reads", "writes", "cacheable", "hits", "misses", "samples"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self._registers = bytearray(map(max, self._registers, other._registers))
        # A key that one side does not count by itself may have been there as often as the least of those that it does.
        mine, others = _least(self._heavy), _least(other._heavy)
        merged = {}
        for key in self._heavy.keys() | other._heavy.keys():
            here, there = self._heavy.get(key), other._heavy.get(key)
            here = here if here is not None else [mine, 0, mine]
            there = there if there is not None else [others, 0, others]
            merged[key] = [a + b for a, b in zip(here, there)]
        largest = sorted(merged, key=lambda key: (-merged[key][0] - merged[key][1], key))[:HEAVY]
        self._heavy = {key: merged[key] for key in largest}

    @property
    def distinct(self) -> int:
        """Different keys, an estimate."""
        counts = [0] * (_RANK_BITS + 2)
        for rank in self._registers:
            counts[rank if rank > self.level else 0] += 1
        unseen = counts[0]
        if unseen == REGISTERS:
            return 0
        known = [(0.5**rank, n) for rank, n in enumerate(counts) if rank and n]
        floor = unseen * 0.5**self.level

        def slope(per_register: float) -> float:
            """Of the log-likelihood; it falls."""
            total = -floor
            for share, n in known:
                x = per_register * share
                total += n * share * (1 / math.expm1(x) - 1 if x < 50 else -1)
            return total

        low, high = 1e-6, 2.0**40
        for _ in range(80):
            middle = math.sqrt(low * high)
            if slope(middle) > 0:
                low = middle
            else:
                high = middle
        return max(1, round(low * REGISTERS))

    @property
    def heaviest(self) -> list[tuple[int, int]]:
        """(reads, writes) of the keys that are surely frequent, the heaviest first: what may be others' is left out."""
        found = []
        for reads, writes, doubtful in self._heavy.values():
            if (sure := reads + writes - doubtful) > 0:
                found.append((round(reads * sure / (reads + writes)), round(writes * sure / (reads + writes))))
        return sorted(found, key=lambda pair: (-sum(pair), pair))

    @property
    def top_share(self) -> float:
        """The heaviest key's share of all statements, at least."""
        total = self.reads + self.writes
        return sum(self.heaviest[0]) / total if total and self.heaviest else 0.0

    @property
    def hit_rate(self) -> float | None:
        """Of the reads that a cache class could answer, the share that it would. None: too few were replayed.

        The heaviest keys may be among those that were replayed, or not; but they miss seldom. So what is estimated from
        the sample of keys are the misses, and how many reads there were in all is taken from the sample of statements
        (as in SHARDS-adj; Waldspurger et al. 2015)."""
        if self.hits + self.misses == 0 or not self.cacheable:
            return None
        return min(1.0, max(0.0, 1 - self.misses / self.cacheable))

    def encode(self) -> bytes:
        return msgspec.msgpack.encode(
            _Packed(
                self.level,
                zlib.compress(bytes(self._registers)),
                [(key, *counts) for key, counts in self._heavy.items()],  # type: ignore[misc]
                self.reads,
                self.writes,
                self.cacheable,
                self.hits,
                self.misses,
                self.samples,
            )
        )

    @classmethod
    def decode(cls, blob: bytes) -> KeySketch:
        packed = _decoder.decode(blob)
        made = cls(packed.level)
        made._registers = bytearray(zlib.decompress(packed.registers))
        made._heavy = {key: [reads, writes, doubtful] for key, reads, writes, doubtful in packed.heavy}
        for name in ("reads", "writes", "cacheable", "hits", "misses", "samples"):
            setattr(made, name, getattr(packed, name))
        return made


def _least(heavy: dict[int, list[int]]) -> int:
    """How often a key may have been seen that is not counted by itself."""
    return min(reads + writes for reads, writes, _ in heavy.values()) if len(heavy) >= HEAVY else 0
