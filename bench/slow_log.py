"""How fast `turnout measure` reads a slow log, per core: python -m bench.slow_log [--mb 100] [FILE]

Without a file, of a log made at random (tests/measure/slow_logs.py). CPU time of this process, best of three.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from parser.shape import lexer
from proxy.cli.sources import BLOCK
from proxy.measure.log_shapes import LogShapes
from proxy.measure.slow_log import SlowLog
from tests.measure.slow_logs import made


def read(data: bytes) -> LogShapes:
    log = SlowLog()
    sums = LogShapes(lexer())
    for start in range(0, len(data), BLOCK):
        sums.add(log.feed(data[start : start + BLOCK]))
    sums.add(log.end())
    return sums


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("file", nargs="?", type=Path)
    options.add_argument("--mb", type=int, default=20)
    chosen = options.parse_args()
    if chosen.file is not None:
        logs = {str(chosen.file): chosen.file.read_bytes()}
    else:
        one = {kind: made(kind, 10_000).data for kind in ("mariadb", "mysql", "percona")}
        logs = {kind: data * (chosen.mb * 10**6 // len(data) + 1) for kind, data in one.items()}
    for name, data in logs.items():
        best = float("inf")
        for _ in range(3):
            before = time.process_time()
            sums = read(data)
            best = min(best, time.process_time() - before)
        per = len(data) / sums.seen
        print(
            f"{name:10} {len(data) / best / 1e6:6.1f} MB/s, {best / sums.seen * 1e6:5.2f} us for {per:.0f} bytes each"
        )


if __name__ == "__main__":
    main()
