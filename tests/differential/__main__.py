"""`python -m tests.differential --statements 5000 [--seed S] [--block N]`: exit status 1 at the first disagreement.

A run is made of blocks, each of which begins with the same rows and has a seed of its own: `--block` runs one alone.
"""

from __future__ import annotations

import argparse
import random
import sys
import time

from tests.differential.run import Script
from tests.differential.world import Counts, Disagreement, World, start
from tests.servers import Run, Shop


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--statements", type=int, default=5000)
    options.add_argument("--seed", default=str(random.SystemRandom().randrange(1 << 32)))
    options.add_argument("--block", type=int, help="this block of the seed's statements alone")
    options.add_argument("--only", default="", help="of SELECTs those of this kind alone (a method of `Selects`)")
    options.add_argument("--sql", help="statements to run first rows, separated by `;`, instead of ones at random")
    options.add_argument("--transactions", default="atomic", choices=("atomic", "best_effort", "single"))
    options.add_argument("--go-on", type=int, default=0, metavar="N", help="up to N disagreements, each in its block")
    chosen = options.parse_args()
    print(f"seed {chosen.seed}", flush=True)
    began = time.monotonic()
    with Run() as run:
        proxy, mirror = start(run, Shop(run), chosen.transactions)
        found = 0
        totals = Counts()
        progress = _Progress(chosen.statements, began)
        try:
            if chosen.sql is not None:
                return _one(World(proxy, mirror), chosen.sql)
            block = chosen.block or 0
            while chosen.block is not None or totals.statements < chosen.statements:
                world = World(proxy, mirror)
                try:
                    Script(world, chosen.seed, chosen.only).block(block, progress=progress)
                except Disagreement as problem:
                    found += 1
                    print(f"\nDISAGREEMENT {problem}", flush=True)
                    if found > chosen.go_on:
                        return 1
                finally:
                    totals.add(world.counts)
                    world.close()
                if chosen.block is not None:
                    break
                block += 1
            return 1 if found else 0
        finally:
            print(summary(totals, time.monotonic() - began, found), flush=True)
            proxy.kill()


def _one(world: World, text: str) -> int:
    world.fill()
    for sql in filter(None, map(str.strip, text.split(";"))):
        ours, theirs = world.client.query(sql), world.mirror.query(sql)
        print(f"{sql}\n  {ours}\n  {theirs}\n  {'same' if ours.rows == theirs.rows else 'DIFFERENT'}")
    return 0


class _Progress:
    """A bar on a terminal, a line now and then elsewhere."""

    def __init__(self, statements: int, began: float) -> None:
        self._done, self._statements, self._began = 0, statements, began
        self._bar = sys.stderr.isatty()
        self._shown = time.monotonic() if self._bar else began

    def __call__(self, more: int) -> None:
        self._done += more
        now = time.monotonic()
        if now - self._shown < (1 if self._bar else 60):
            return
        self._shown = now
        done = min(self._done / self._statements, 1)
        rate = self._done / (now - self._began)
        told = f"{self._done}/{self._statements} {rate:.0f}/s "
        sys.stderr.write(f"\r[{'#' * int(30 * done):30}] {told}" if self._bar else f"{told}\n")
        sys.stderr.flush()


def summary(counts: Counts, seconds: float, found: int) -> str:
    """What was run, and what was refused."""
    refused = counts.refused_reads.total()
    lines = [
        f"{counts.statements} statements in {seconds:.0f} s, {found} disagreements, {counts.rows} rows compared, "
        f"{counts.errors} errors on both sides",
        f"{counts.reads} SELECTs, of which {refused} refused ({100 * refused / max(counts.reads, 1):.3f} %)",
        "  " + ", ".join(f"{kind} {count}" for kind, count in counts.kinds.most_common()),
    ]
    for what, reasons in (("SELECT", counts.refused_reads), ("write", counts.refused_writes)):
        lines += [
            f"  {what} refused, {reason}: {count}, e.g. {counts.examples[reason]}"
            for reason, count in reasons.most_common()
        ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
