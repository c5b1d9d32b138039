"""A number in ORDER BY or GROUP BY is a select item's place for a server, whatever signs and parentheses it has."""

from __future__ import annotations

import pytest

from parser.analyse import parse
from parser.shape import lexer
from proxy.errors import StatementRefused
from proxy.front.values import TextValues
from proxy.plan.plan import Reply, Route
from proxy.plan.planner import plan
from tests.plan import shop

LEXER = lexer()
RULES, CATALOG = shop.rules(), shop.catalog()
# MariaDB sorts by the second column for the first five of these, and says of the others that there is no such column.
SIGNED = ("(2)", "+2", "- -2", "(- -2)", "- (-(2))", "-2", "-(2)", "- - -2", "- -4", "+ +4")


def route(sql: str) -> Route:
    shape, literals = LEXER.shape(sql.encode())
    made = plan(parse(shape, literals, lexer=LEXER), RULES, CATALOG, "shop")
    return made.route(TextValues(literals, LEXER), sql.encode())


@pytest.mark.parametrize("number", SIGNED)
@pytest.mark.parametrize(
    "sql",
    [
        "SELECT id, name FROM customers ORDER BY {}",
        "SELECT id, name FROM customers ORDER BY {} DESC, id LIMIT 5",
        "SELECT name, COUNT(*) FROM customers GROUP BY name ORDER BY {}",
        "SELECT name, COUNT(*) FROM customers GROUP BY {}",
    ],
)
def test_it_is_not_taken_for_an_expression(sql: str, number: str) -> None:
    with pytest.raises(StatementRefused):
        route(sql.format(number))


def test_a_plain_one_is_a_place() -> None:
    merge = route("SELECT id, name FROM customers ORDER BY 2").merge
    assert merge is not None
    assert [key.label for key in merge.keys] == ["name"]


@pytest.mark.parametrize("expression", ["- -id", "-(id)", "+id + 2", "-2 + id"])
def test_signs_before_something_else_are_an_expression(expression: str) -> None:
    found = route(f"SELECT id, name FROM customers ORDER BY {expression}")
    assert found.reply is Reply.MERGE
    assert found.merge is not None
    assert len(found.merge.keys) == 1
