"""Statements at random from a new seed: Turnout and one server with all the rows give the same."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.differential.__main__ import summary
from tests.differential.run import Script
from tests.differential.world import Counts, Disagreement, World, start
from tests.front.conftest import end
from tests.front.raw import Answer, Column
from tests.servers import MariaDB, Run, Shop, Turnout
from tests.sizes import seed, size

pytestmark = pytest.mark.servers
SEED = seed("random")
STATEMENTS = size("TURNOUT_STATEMENTS", 1_000, 5_000)
PARTS = max(STATEMENTS // 500, 1)  # each a test, none of which takes long on a busy machine
MOST_REFUSED = 0.001  # of the SELECTs


@pytest.fixture(scope="module")
def servers(run: Run, shop_servers: Shop) -> Iterator[tuple[Turnout, MariaDB]]:
    made = start(run, shop_servers)
    yield made
    end(made[0])


_TOTALS = Counts()


@pytest.mark.parametrize("part", range(PARTS))
def test_statements_at_random(servers: tuple[Turnout, MariaDB], part: int) -> None:
    """By hand: `python -m tests.differential`, which tells more."""
    world = World(*servers)
    print(f"TURNOUT_SEED={SEED} TURNOUT_STATEMENTS={STATEMENTS}")
    try:
        Script(world, f"{SEED}-{part}").run(STATEMENTS // PARTS)
    finally:
        world.close()
        _TOTALS.add(world.counts)
    counts = world.counts
    assert counts.statements >= STATEMENTS // PARTS
    assert counts.rows > counts.reads  # most of them have rows to compare
    assert _TOTALS.refused_reads.total() <= max(MOST_REFUSED * _TOTALS.reads, 2), summary(_TOTALS, 0, 0)


_COLUMN = Column(b"shop", b"t", b"t", b"a", b"a", 45, 10, 3, 0, 0)
_SAME = Answer((_COLUMN,), ((b"1",), (b"2",)), status=2)


@pytest.mark.parametrize(
    ("ours", "theirs", "ordered"),
    [
        (_SAME, Answer((_COLUMN,), ((b"1",), (b"3",)), status=2), False),
        (_SAME, Answer((_COLUMN,), ((b"2",), (b"1",)), status=2), True),
        (_SAME, Answer((_COLUMN,), ((b"1",),), status=2), False),
        (_SAME, Answer((_COLUMN,), ((b"1",), (b"2",), (b"2",)), status=2), False),
        (_SAME, Answer((_COLUMN,), ((b"1",), (None,)), status=2), False),
        (_SAME, Answer((Column(b"shop", b"t", b"t", b"b", b"b", 45, 10, 3, 0, 0),), _SAME.rows, status=2), False),
        (_SAME, Answer((Column(b"shop", b"t", b"t", b"a", b"a", 45, 10, 8, 0, 0),), _SAME.rows, status=2), False),
        (_SAME, Answer((_COLUMN, _COLUMN), ((b"1", b"1"), (b"2", b"2")), status=2), False),
        (_SAME, Answer(errno=1054, sqlstate="42S22"), False),
        (Answer(errno=1064, sqlstate="42000"), Answer(errno=1054, sqlstate="42S22"), False),
        (Answer(affected_rows=1), Answer(affected_rows=2), False),
        (Answer(insert_id=1), Answer(insert_id=2), False),
        (Answer(info=b"Records: 2"), Answer(info=b"Records: 3"), False),
        (Answer(status=1), Answer(status=0), False),
    ],
)
def test_what_differs_is_seen(ours: Answer, theirs: Answer, ordered: bool) -> None:
    world = World.__new__(World)
    world._compare("SELECT 1", ours, ours, ordered)
    with pytest.raises(Disagreement):
        world._compare("SELECT 1", ours, theirs, ordered)


def test_counts_add_up() -> None:
    one, other = Counts(3, 2), Counts(4, 1)
    one.refused_reads["merge-form"] += 1
    other.refused_reads["merge-form"] += 2
    one.add(other)
    assert (one.statements, one.reads, one.refused_reads["merge-form"]) == (7, 3, 3)
