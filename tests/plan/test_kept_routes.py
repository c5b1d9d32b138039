"""The route of a scatter is made once where no literal counts for it, and anew wherever one does."""

from __future__ import annotations

import random

import pytest

from parser.analyse import parse
from parser.shape import lexer
from proxy.front.values import TextValues
from proxy.plan.plan import Plan, Route
from proxy.plan.planner import plan
from proxy.plan.shard_routes import Scatter
from tests.plan import shop

LEXER = lexer()
RULES, CATALOG = shop.rules(), shop.catalog()


def planned(sql: str) -> Plan:
    shape, literals = LEXER.shape(sql.encode())
    return plan(parse(shape, literals, lexer=LEXER), RULES, CATALOG, "shop")


def route(made: Plan, sql: str) -> Route:
    text = sql.encode()
    return made.route(TextValues(LEXER.shape(text)[1], LEXER), text)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT id, name FROM customers WHERE name = '{}' ORDER BY id",
        "SELECT COUNT(*), MAX(id) FROM customers WHERE name = '{}'",
        "SELECT id FROM customers WHERE name IN ('{}', 'x') ORDER BY id DESC",
        "SELECT id FROM customers WHERE name = '{}'",
    ],
)
def test_it_is_the_same_whatever_the_literals_are(sql: str) -> None:
    made = planned(sql.format("a"))
    assert isinstance(made, Scatter)
    first = route(made, sql.format("b"))
    assert route(made, sql.format("c")) is first
    assert first == route(planned(sql.format("c")), sql.format("c"))
    assert len(first.sends) == 2


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT id, name FROM customers WHERE name = 'x' ORDER BY id LIMIT {}",
        "SELECT id, name FROM customers WHERE name = 'x' ORDER BY id LIMIT {}, 7",
        "SELECT id, name FROM customers WHERE name > '{}' ORDER BY name LIMIT 5",
        "SELECT AVG(id) FROM customers WHERE id > {}",
        "SELECT name, COUNT(*) FROM customers GROUP BY name HAVING COUNT(*) > {}",
    ],
)
def test_with_other_literals_it_is_that_of_a_plan_of_its_own(sql: str) -> None:
    """A LIMIT, and texts that are made for the shards."""
    rng = random.Random(3)
    kept = planned(sql.format(1))
    assert isinstance(kept, Scatter)
    for number in [1, 2, 1, *(rng.randrange(200) for _ in range(100))]:
        text = sql.format(number)
        found, own = route(kept, text), route(planned(text), text)
        assert (found.sends, found.reply, found.merge) == (own.sends, own.reply, own.merge), text


def test_fewer_shards_have_a_route_of_their_own() -> None:
    sql = "SELECT id, name FROM customers WHERE name = '{}' ORDER BY id"
    made = planned(sql.format("a"))
    assert isinstance(made, Scatter)
    everywhere = route(made, sql.format("b"))
    text = sql.format("c").encode()
    fewer = made.route_over(["shard1"], TextValues(LEXER.shape(text)[1], LEXER), text)
    assert [send.cluster for send in fewer.sends] == ["shard1"]
    assert fewer.merge == everywhere.merge
    assert route(made, sql.format("d")) is everywhere
