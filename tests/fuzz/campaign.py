"""Playing inputs at random for a while, or one of them again: what the fuzzers have in common.

An input is known by a seed and a number, and depends on nothing else.
"""

from __future__ import annotations

import argparse
import gc
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

MAX_GROWTH_BYTES = 64 << 20  # of the process, after the inputs that warm it up

Played = TypeVar("Played")


class Finding(Exception):
    """An input under which something that must hold did not."""


@dataclass(frozen=True, slots=True)
class Totals:
    inputs: int
    slowest_s: float  # of processor time
    grown_bytes: int

    def __str__(self) -> str:
        slowest, grown = self.slowest_s * 1000, self.grown_bytes >> 20
        return f"slowest {slowest:.0f} ms, memory +{grown} MB; nothing found"


@dataclass(frozen=True, slots=True)
class Campaign(Generic[Played]):
    """`play`: one input, by seed and number; raises whatever it found."""

    play: Callable[[int, int], Played]
    max_cpu_s: float  # for one input
    warm_up: int  # inputs

    def timed(self, seed: int, number: int) -> tuple[Played, float]:
        """What was played, and the processor time it took. Raises what it found. What takes too long is played again:
        where a virtual machine stands still, that is time of whatever was running."""
        took_s = 0.0
        for _ in range(2):
            before = time.process_time()
            played = self.play(seed, number)
            took_s = time.process_time() - before
            if took_s <= self.max_cpu_s:
                return played, took_s
        raise Finding(f"it took {took_s:.1f} s, twice")

    def run(self, seconds: float, seed: int, count: Callable[[Played], None]) -> Totals:
        """Plays inputs for so long. Raises Finding with what plays the input again."""
        inputs, slowest_s, base = 0, 0.0, 0
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                played, took_s = self.timed(seed, inputs)
            except Exception as error:
                raise Finding(f"--seed {seed} --input {inputs}: {type(error).__name__}: {error}") from error
            count(played)
            slowest_s = max(slowest_s, took_s)
            if inputs == self.warm_up:
                gc.collect()
                base = resident_peak()
            inputs += 1
        grown = resident_peak() - base if base else 0
        if grown > MAX_GROWTH_BYTES:
            raise Finding(f"--seed {seed}: {grown >> 20} MB more memory after {inputs} inputs")
        return Totals(inputs, slowest_s, grown)


def resident_peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main(
    doc: str | None,
    seconds: float,
    run: Callable[[float, int], object],
    again: Callable[[int, int], object],
    traced: Callable[[int, int], object] | None = None,
) -> int:
    """The command line of a fuzzer: `run` for so many seconds, or one input `again`, or `traced`; what they give is
    printed."""
    parser = argparse.ArgumentParser(description=(doc or "").split("\n", 1)[0])
    parser.add_argument("--seconds", type=float, default=seconds)
    parser.add_argument("--seed", type=int, default=None, help="default: by the clock")
    parser.add_argument("--input", type=int, default=None, help="play this input of the seed alone")
    if traced is not None:
        parser.add_argument("--trace", action="store_true", help="print what goes over its connections")
    options = parser.parse_args()
    seed = time.time_ns() if options.seed is None else options.seed
    if options.input is not None:
        print((traced if traced is not None and options.trace else again)(seed, options.input))
        return 0
    print(f"seed {seed}", flush=True)
    try:
        print(run(options.seconds, seed))
    except Finding as finding:
        print(finding, file=sys.stderr)
        return 1
    return 0
