"""The ids of one sequence that one worker may hand out: what it has taken from home and not used yet. Pure.

Home has, for each sequence, three numbers that only grow: `next_id`, where the next block begins; `handed_out`, where
the last one ended; and `void_below`, below which no block is valid any more. An id is handed out by one worker only,
since a block is taken by moving `next_id` in one statement. What is left are ids that clients give themselves:

- One that is not below `next_id` moves `next_id` above itself before it is inserted, so that no block will have it.
- One from `handed_out` on, or below `void_below`, is in no block.
- One that a row has already was handed out or admitted before.
- Any other may be in a block that some worker has not used up. Then `void_below` is moved to `next_id`, which takes the
  blocks away from all workers, and the INSERT waits until they have noticed: a block may be used for LEASE_S only from
  the moment at which the statement was sent that last found it valid.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

LEASE_S = 0.4
VOID_AFTER_S = LEASE_S * 1.1 + 0.02  # clocks of hosts do not run at quite the same speed
SMALLEST, LARGEST = 8, 10_000  # of the blocks that are taken ahead
_SOON_S, _LATE_S = 1.0, 20.0  # a block that is used up sooner doubles the next one; later, it halves it
_KNOWN_RANGES = 64


@dataclass(slots=True)
class Block:
    """The ids from `next` to `end` - 1. `until`: when they have to be found valid again (monotonic seconds)."""

    next: int
    end: int
    until: float


@dataclass(slots=True)
class IdBlocks:
    """See the module. Times are monotonic seconds of this process."""

    blocks: deque[Block] = field(default_factory=deque)
    void_below: int = 0
    highest: int = 0  # the greatest `next_id` that this worker has seen
    size: int = SMALLEST  # of the next block
    _free: deque[tuple[int, float]] = field(default_factory=deque)  # (void_below, when all workers have noticed)
    _taken_at: float = -1e9
    _used: deque[tuple[int, int]] = field(default_factory=deque)  # [first, end) that this worker has handed out

    @property
    def left(self) -> int:
        return sum(block.end - block.next for block in self.blocks)

    def take(self, count: int, now: float) -> int | None:
        """The first of `count` ids that follow one another; None where there are none that are certain to be valid."""
        for block in self.blocks:
            if block.end - block.next >= count:
                if block.until <= now:
                    return None
                while self.blocks[0] is not block:
                    self.blocks.popleft()  # too short: a gap
                first = block.next
                block.next += count
                self._note_used(first, block.next)
                if block.next == block.end:
                    self.blocks.popleft()
                return first
        return None

    def has(self, count: int) -> bool:
        """Would `take` find as many, if they are still valid?"""
        return any(block.end - block.next >= count for block in self.blocks)

    @property
    def until(self) -> float:
        """How long what is there is certain to be valid."""
        return min((block.until for block in self.blocks), default=0.0)

    def low(self) -> bool:
        return self.left * 2 < self.size

    def wanted(self, count: int, now: float) -> int:
        """How many to take for a statement that needs `count` (0: to have some ahead)."""
        if now - self._taken_at < _SOON_S:
            self.size = min(self.size * 2, LARGEST)
        elif now - self._taken_at > _LATE_S:
            self.size = max(self.size // 2, SMALLEST)
        self._taken_at = now
        return max(count, self.size)

    def add(self, first: int, count: int, sent: float) -> None:
        """A block that was taken by a statement sent at `sent`."""
        end = first + count
        self.highest = max(self.highest, end)
        last = self.blocks[-1] if self.blocks else None
        if last is not None and last.end == first:
            last.end = end  # nobody came between; `until` stays that of the older part
            return
        self.blocks.append(Block(first, end, sent + LEASE_S))

    def seen(self, next_id: int, void_below: int, sent: float, now: float) -> None:
        """What home said to a statement sent at `sent`, by its answer `now`."""
        self.highest = max(self.highest, next_id)
        if void_below > self.void_below:
            self.void_below = void_below
            self.size = SMALLEST  # what is taken away is lost: where that comes often, let it be little
            self._free.append((void_below, now + VOID_AFTER_S))
            while len(self._free) > 1 and self._free[1][1] <= now:
                self._free.popleft()
        for block in list(self.blocks):
            block.next = max(block.next, void_below)
            block.until = sent + LEASE_S
            if block.next >= block.end:
                self.blocks.remove(block)

    def is_free(self, number: int, now: float) -> bool:
        """Is an id that a client gives certain to be in no block that may still be used?"""
        if number <= 0 or any(number < below and at <= now for below, at in self._free):
            return True
        return any(first <= number < end for first, end in self._used)

    def free_at(self, number: int) -> float | None:
        """When an id will be free because all blocks with it have been taken away; None: they have not been."""
        return min((at for below, at in self._free if number < below), default=None)

    def give_up(self, number: int) -> bool:
        """Hand out nothing up to an id of a block of this worker's own; False where it is in none."""
        for block in self.blocks:
            if block.next <= number < block.end:
                self._note_used(block.next, number + 1)
                block.next = number + 1
                if block.next == block.end:
                    self.blocks.remove(block)
                return True
        return False

    def _note_used(self, first: int, end: int) -> None:
        if self._used and self._used[-1][1] == first:
            self._used[-1] = (self._used[-1][0], end)
            return
        self._used.append((first, end))
        if len(self._used) > _KNOWN_RANGES:
            self._used.popleft()
