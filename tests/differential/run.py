"""A whole run: statements from one seed, in transactions and outside of them."""

from __future__ import annotations

import random
from collections.abc import Callable

from tests.differential.selects import Selects
from tests.differential.world import Disagreement, World
from tests.differential.writes import Writes

_REFILL = 400  # statements between two of which the tables get their first rows again
# Under which a block runs, besides those that a session begins with.
_SETTINGS = (
    *((), (), (), ()),
    *(("SET time_zone = '+02:00'",), ("SET NAMES latin1",), ("SET autocommit = 0",)),
    *(("SET sql_mode = ''",), ("SET sql_mode = 'ANSI_QUOTES,STRICT_ALL_TABLES'",), ("SET sql_mode = 'ANSI'",)),
    ("SET sql_mode = 'PIPES_AS_CONCAT,NO_BACKSLASH_ESCAPES,STRICT_TRANS_TABLES'", "SET time_zone = '-05:30'"),
    ("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED", "SET NAMES utf8mb3"),
    ("SET sql_mode = 'PAD_CHAR_TO_FULL_LENGTH,ERROR_FOR_DIVISION_BY_ZERO'", "SET div_precision_increment = 7"),
)
_RESET = (
    "ROLLBACK",
    "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ",
    "SET sql_mode = DEFAULT, time_zone = '+00:00', autocommit = 1, div_precision_increment = DEFAULT",
    "SET NAMES utf8mb4",
)


class Script:
    """The statements of one seed. Each block of `_REFILL` begins with the first rows, and has a seed of its own, so
    that it can be replayed alone."""

    def __init__(self, world: World, seed: str, only: str = "") -> None:
        """`only`: of SELECTs, this kind alone."""
        self.world = world
        self.only = only
        self.seed = seed
        self.history: list[str] = []

    def run(self, statements: int, progress: Callable[[int], None] = lambda done: None) -> None:
        """Raises Disagreement, with what replays it."""
        block = 0
        target = self.world.counts.statements + statements
        while self.world.counts.statements < target:
            self.block(block, min(_REFILL, target - self.world.counts.statements), progress)
            block += 1

    def block(
        self, number: int, statements: int = _REFILL, progress: Callable[[int], None] = lambda done: None
    ) -> None:
        world = self.world
        rng = random.Random(f"{self.seed}.{number}")
        selects, writes = Selects(rng, self.only), Writes(rng)
        self.history = []
        self._reset()  # what the last block has set, also on the server with everything, which has one session
        world.change_sessions(number)
        self._reset()
        world.fill()
        for sql in rng.choice(_SETTINGS):
            self._do(sql)
        begun = world.counts.statements
        in_transaction = False
        try:
            while world.counts.statements - begun < statements:
                progress(1)
                choice = rng.random()
                if in_transaction and choice < 0.12:
                    in_transaction = self._end(rng)
                elif not in_transaction and choice < 0.03:
                    self._do(rng.choice(("BEGIN", "START TRANSACTION")))
                    in_transaction = True
                elif choice < (0.55 if in_transaction else 0.2):
                    sql, _ = writes.make()
                    self.history.append(sql)
                    world.write(sql)
                    if rng.random() < 0.2:
                        world.check_tables()
                else:
                    self._select(selects)
            if in_transaction:
                self._do("COMMIT")
            world.check_tables()
        except Disagreement as problem:
            raise Disagreement(self.report(number, problem)) from None

    def _reset(self) -> None:
        for sql in _RESET:
            self.world.same(sql)

    def _do(self, sql: str) -> None:
        self.history.append(sql)
        self.world.plain(sql)

    def _end(self, rng: random.Random) -> bool:
        """One of the statements that shape a transaction: does it go on?"""
        sql = rng.choice(("COMMIT", "COMMIT", "ROLLBACK", "SAVEPOINT a", "SAVEPOINT b", "ROLLBACK TO a"))
        if sql == "ROLLBACK TO a" and "SAVEPOINT a" not in self.history[self._began() :]:
            sql = "SAVEPOINT a"
        self._do(sql)
        if sql in ("COMMIT", "ROLLBACK"):
            self.world.check_tables()
            return False
        return True

    def _began(self) -> int:
        return max(n for n, sql in enumerate(self.history) if sql in ("BEGIN", "START TRANSACTION"))

    def _select(self, selects: Selects) -> None:
        made = selects.make()
        self.history.append(made.sql)
        if self.world.read(made.sql, made.ordered, made.kind) and made.then:
            self.history.append(made.then)
            self.world.read(made.then, True, "then")

    def report(self, number: int, problem: Disagreement) -> str:
        return (
            f"{problem}\n"
            f"  replay: python -m tests.differential --seed {self.seed} --block {number}"
            f"{f' --only {self.only}' if self.only else ''}\n"
            f"  the last of {len(self.history)} statements of this block:\n    " + ";\n    ".join(self.history[-6:])
        )
