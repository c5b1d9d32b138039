"""What tools ask about a database whose tables are on several clusters is answered as one server with all would."""

from __future__ import annotations

import pytest

from tests.around.logical import Pair, alike
from tests.around.looks import ALL, PREPARED
from tests.front.raw import Statement

pytestmark = pytest.mark.servers
TABLES = ("customers", "orders", "photos", "Albums", "places", "countries", "accounts", "big_accounts", "a-b")


@pytest.mark.parametrize("tool", ALL)
def test_tools(pair: Pair, tool: str) -> None:
    rows = 0
    for question in ALL[tool]:
        for table in TABLES if "{t}" in question else ("",):
            rows += len(pair.same(question.replace("{t}", table)).rows)
    assert rows > len(ALL[tool])


def test_prepared_statements(pair: Pair) -> None:
    for sql, values in PREPARED:
        ours, theirs = pair.client.prepare(sql), pair.mirror.prepare(sql)
        assert isinstance(ours, Statement), f"{sql}: {ours}"
        assert isinstance(theirs, Statement)
        for _ in range(2):
            one, other = pair.client.execute(ours, *values), pair.mirror.execute(theirs, *values)
            alike(f"{sql} {values}", one, other, "ORDER BY" in sql, origin=False)
