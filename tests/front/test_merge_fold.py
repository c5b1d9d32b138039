"""Sums and averages of several servers' parts: digit for digit what one server says."""

from __future__ import annotations

import random
from decimal import Decimal, localcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import ProtocolError
from proxy.front.merge_fold import added, average
from tests.servers import Run

DECIMALS = st.decimals(allow_nan=False, allow_infinity=False, places=4, min_value=-(10**20), max_value=10**20)


@given(DECIMALS, DECIMALS)
def test_sums_are_exact(one: Decimal, other: Decimal) -> None:
    with localcontext() as context:
        context.prec = 100
        expected = one + other
    assert Decimal(added(f"{one:f}".encode(), f"{other:f}".encode()).decode()) == expected


@pytest.mark.parametrize(
    ("one", "other", "total"),
    [(b"1", b"2.50", b"3.50"), (b"-0.5", b"0.25", b"-0.25"), (b"9" * 40, b"1", b"1" + b"0" * 40), (b"-1", b"1", b"0")],
)
def test_sums_as_they_are_written(one: bytes, other: bytes, total: bytes) -> None:
    assert added(one, other) == total


@pytest.mark.servers
def test_averages_are_the_servers(run: Run) -> None:
    """Of every scale: how much of a quotient is cut off before it is rounded depends on it."""
    server = run.mariadb("averages")
    rng = random.Random(5)
    server.execute("CREATE DATABASE numbers")
    for scale in range(16):
        server.execute(f"CREATE OR REPLACE TABLE numbers.n (g INT, v DECIMAL(45,{scale}))")
        rows = []
        for group in range(30):
            for _ in range(rng.choice((1, 2, 3, 6, 7, 11))):
                digits = rng.randrange(10 ** rng.choice((1, 6, scale + 3)))
                rows.append(f"({group}, {rng.choice(('', '-'))}{digits}e-{rng.randrange(scale + 1)})")
        server.execute(f"INSERT INTO numbers.n VALUES {', '.join(rows)}")
        for increment in (0, 4, 7):
            found = server.execute(
                f"SET div_precision_increment = {increment}",
                "SELECT CAST(SUM(v) AS CHAR), COUNT(v), CAST(AVG(v) AS CHAR) FROM numbers.n GROUP BY g",
            )
            for total, count, expected in found:
                decimals = len(expected.partition(".")[2])
                assert average(total.encode(), count, decimals).decode() == expected, (scale, increment, total, count)


@pytest.mark.parametrize("text", [b"def", b"", b"1.x", b"\xff"])
def test_what_is_no_number_is_the_servers_mistake(text: bytes) -> None:
    with pytest.raises(ProtocolError, match="where a number was due"):
        added(b"1", text)
