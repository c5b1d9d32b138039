"""The checker by hand: `python -m tests.cache.coherence --reads 10000000 --hours 2`."""

from __future__ import annotations

import argparse
import sys
import time

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from tests.cache.coherence.checker import Setting, check
from tests.servers import Run


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--reads", type=int, default=200_000)
    parser.add_argument("--seed", type=int, default=None, help="default: by the clock")
    parser.add_argument("--minutes", type=float, default=60.0, help="at the most")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--readers", type=int, default=6)
    parser.add_argument("--fault-every", type=float, default=1.5, metavar="SECONDS", help="on average")
    parser.add_argument("--slower", type=float, default=1.0, help="writers' pauses are so many times as long")
    options = parser.parse_args()
    seed = time.time_ns() % 1_000_000_007 if options.seed is None else options.seed
    print(f"seed {seed}", flush=True)
    with Run() as run, Progress(TextColumn("reads"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()) as bar:
        task = bar.add_task("", total=options.reads)
        said = [0]

        def show(reads: int, seconds: float) -> None:
            bar.update(task, completed=reads)
            if not sys.stdout.isatty() and reads - said[0] >= options.reads // 50:
                said[0] = reads
                print(f"{reads:,} reads in {seconds:.0f} s", flush=True)

        setting = Setting(
            options.reads,
            seed,
            options.minutes * 60,
            options.workers,
            options.readers,
            fault_every_s=options.fault_every,
            slower=options.slower,
            progress=show,
        )
        report = check(run, setting)
    print(report)
    return 1 if report.tally.violations or report.unexpected else 0


if __name__ == "__main__":
    sys.exit(main())
