"""What recording costs: a routed point select with statistics of keys, and without.

    python -m bench.recording

Python code alone, without the kernel, as in bench.fast_path: rounds are interleaved, CPU time, medians and their ratio.
A window is taken every 4,000 statements, as a worker does once a second. The kernel's share of a statement, two thirds
of it (bench/RESULTS.md), is the same on both sides and not in here. End to end, where other processes empty the
processor's caches between two statements, each of these lines costs several times as much: bench.recorded.
"""

from __future__ import annotations

import asyncio
import itertools
import statistics
import time
from collections.abc import Callable, Iterator

from bench import fast_path
from proxy.measure.key_book import KeyBook
from proxy.wire.frames import encode
from proxy.wire.resultset import encode_resultset, text_column

RECORDING = fast_path.RULES + "history: {file: history.sqlite}\n"
ANSWER = encode_resultset([text_column("c")], [[b"x" * 119]])
ROUNDS = 9
STATEMENTS = 20_000
WINDOW = 4_000
TRAFFIC: dict[str, Callable[[int], int]] = {
    "100 keys, all alike": lambda n: 5000 + n % 100,
    "100,000 keys, all alike": lambda n: 5000 + n * 7919 % 100_000,
    "one key has half": lambda n: 5000 + (n * 7919 % 100_000 if n % 2 else 0),
}


def worker(rules: str, keys: Callable[[int], int]) -> Iterator[int]:
    """Each `next` is a round; gives its nanoseconds of CPU."""
    client, connection = fast_path.make(rules)
    take, give = client.data_received, connection.data_received
    measures = client.listener.measures
    packets = [encode(b"\x03SELECT c FROM sbtest1 WHERE id=%d" % keys(n), 0) for n in range(STATEMENTS)]
    for _ in itertools.count():
        began = time.process_time_ns()
        for start in range(0, STATEMENTS, WINDOW):
            for packet in packets[start : start + WINDOW]:
                take(packet)
                give(ANSWER)
            measures.take()
        yield time.process_time_ns() - began


def supervisor_ns(keys: Callable[[int], int]) -> float:
    """What adding up one worker's windows costs, for each of its statements."""
    client, connection = fast_path.make(RECORDING)
    measures = client.listener.measures
    book, taken = KeyBook(), 0
    for n in range(STATEMENTS):
        client.data_received(encode(b"\x03SELECT c FROM sbtest1 WHERE id=%d" % keys(n), 0))
        connection.data_received(ANSWER)
        if n % WINDOW == WINDOW - 1:
            window = measures.take()
            began = time.process_time_ns()
            book.add(window.keys)
            taken += time.process_time_ns() - began
    began = time.process_time_ns()
    book.take()
    return (taken + time.process_time_ns() - began) / STATEMENTS


async def run() -> None:
    for name, keys in TRAFFIC.items():
        plain, recording = worker(fast_path.RULES, keys), worker(RECORDING, keys)
        next(plain), next(recording)
        pairs = [(next(plain), next(recording)) for _ in range(ROUNDS)]
        before, after = (statistics.median(side) / STATEMENTS / 1000 for side in zip(*pairs))
        ratio = statistics.median(b / a for a, b in pairs)
        print(
            f"{name:25} {before:6.2f} us without, {after:6.2f} us with: {100 * (ratio - 1):+.1f} % of the Python code; "
            f"{supervisor_ns(keys) / 1000:.2f} us in the supervisor"
        )


if __name__ == "__main__":
    asyncio.run(run())
