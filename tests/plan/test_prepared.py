"""What a prepared statement's shares are: their texts, what is bound to each `?`, and what a pull may ask for."""

from __future__ import annotations

import pytest

from parser.analyse import parse
from parser.rewrite import Number
from parser.shape import Lexer, lexer
from proxy.errors import StatementRefused
from proxy.front.values import BoundValues
from proxy.plan.inserts import InsertRows
from proxy.plan.plan import Plan, Route
from proxy.plan.planner import plan
from proxy.wire import column
from tests.plan import shop

RULES = {bench: shop.rules("best_effort", bench) for bench in ("off", "main")}
CATALOG = shop.catalog()
UTF8 = lexer()
Bound = tuple[int, object]  # type, value as `decode_params` gives it


def whole(value: int | None) -> Bound:
    return column.LONGLONG, value


def text(value: str) -> Bound:
    return column.VAR_STRING, value.encode()


def planned(sql: str, *bound: Bound, bench: str = "off", lex: Lexer = UTF8) -> tuple[Plan, BoundValues]:
    shape, literals = lex.shape(sql.encode())
    statement = parse(shape, literals, lexer=lex, prepared=True)
    types = b"".join(bytes((kind, 0)) for kind, _ in bound)
    values = BoundValues([value for _, value in bound], types, literals, lex, lex.charset)
    return plan(statement, RULES[bench], CATALOG, "shop"), values


def route(sql: str, *bound: Bound, bench: str = "off") -> Route:
    made, values = planned(sql, *bound, bench=bench)
    return made.route(values, sql.encode())


def test_limits_are_bound() -> None:
    sql = "SELECT id, name FROM customers WHERE id <> ? ORDER BY name, id + ? LIMIT ? OFFSET ?"
    made = route(sql, whole(1), whole(2), whole(5), whole(7))
    assert made.merge is not None
    assert (made.merge.offset, made.merge.limit) == (7, 5)
    (one,) = {send.text for send in made.sends}
    assert one is not None
    assert one.endswith(b"ORDER BY name, id + ? LIMIT ?")
    assert one.count(b"?") == len(made.sends[0].params)
    assert [*dict.fromkeys(made.sends[0].params)] == [1, 0, Number(12)]  # the hidden columns come first
    again = route(sql, whole(1), whole(2), text("50"), whole(0))
    assert again.sends[0].text == one
    assert again.sends[0].params[-1] == Number(50)
    assert route(sql, whole(1), whole(2), (column.DOUBLE, 50.0), whole(0)).sends == again.sends
    for wrong in (text("5x"), text("-5"), whole(-1), whole(None), (column.DOUBLE, 5.5)):
        with pytest.raises(StatementRefused) as refused:
            route(sql, whole(1), whole(2), whole(5), wrong)
        assert refused.value.reason == "merge-limit"


def test_what_is_bound_where_literals_and_comments_have_question_marks() -> None:
    sql = "SELECT id AS `a?b`, '?' /* ? */ FROM customers WHERE name = '?' AND id > ? ORDER BY `a?b` LIMIT ?"
    made = route(sql, whole(1), whole(5))
    assert made.sends[0].params == (0, Number(5))


@pytest.mark.parametrize("clause", ["ORDER BY ?", "GROUP BY name, ?", "GROUP BY name ORDER BY COUNT(*), ?"])
def test_places_that_are_bound_are_not_merged(clause: str) -> None:
    with pytest.raises(StatementRefused) as refused:
        route(f"SELECT name, COUNT(*) FROM customers {clause}", whole(1))
    assert refused.value.reason in ("sort-constant", "group-constant", "group-item")


def test_having_compares_with_what_is_bound() -> None:
    sql = "SELECT country, COUNT(*) FROM customers GROUP BY country HAVING COUNT(*) > ?"
    made = route(sql, whole(3))
    assert made.merge is not None
    assert made.merge.groups is not None
    assert [(each.operator, each.number) for each in made.merge.groups.having] == [(">", 3)]
    made = route(sql, (column.DOUBLE, 3.0))
    assert made.merge is not None
    assert made.merge.groups is not None
    assert [type(each.number) for each in made.merge.groups.having] == [float]
    for other in (text("3"), (column.DOUBLE, 3.5), whole(None)):
        with pytest.raises(StatementRefused):
            route(sql, other)


def test_rows_get_their_own_parameters() -> None:
    rows = (
        "INSERT INTO logins (email, customer_id) VALUES (?, ? + ?), ('?', 5), (?, ?) ON DUPLICATE KEY UPDATE seen = ?"
    )
    made = route(rows, text("a"), whole(1), whole(2), text("e"), whole(4), whole(9))
    head, behind = b"INSERT INTO logins (email, customer_id) VALUES ", b" ON DUPLICATE KEY UPDATE seen = ?"
    parts = [(b"(?, ? + ?)", (0, 1, 2)), (b"('?', 5)", ()), (b"(?, ?)", (3, 4))]
    for number, send in enumerate(made.sends):
        own = [part for part, where in zip(parts, made.rows) if where == number]
        assert send.text == head + b", ".join(row for row, _ in own) + behind
        assert send.params == (*(param for _, params in own for param in params), 5)
    assert len(made.sends) == 2


def test_ids_become_parameters() -> None:
    sql = "INSERT INTO invoices (total, year) VALUES (? + 1, ?), (5, 2024), (?, ?)"
    made, values = planned(sql, whole(1), whole(2023), whole(3), whole(2023))
    assert isinstance(made, InsertRows)
    found = made.route_with(values, sql.encode(), [10, 11, 12], bound=True)
    assert [(send.text, send.params) for send in found.sends] == [
        (
            b"INSERT INTO invoices (total, year, `id`) VALUES (? + 1, ?, ?), (?, ?, ?)",
            (0, 1, Number(10), 2, 3, Number(12)),
        ),
        (b"INSERT INTO invoices (total, year, `id`) VALUES (5, 2024, ?)", (Number(11),)),
    ]
    sql = "INSERT INTO invoices (id, total, year) VALUES (?, ?, 2023), (DEFAULT, ?, 2023), (?, ?, 2023)"
    made, values = planned(sql, whole(None), whole(1), whole(2), whole(7), whole(3))
    assert isinstance(made, InsertRows)
    (send,) = made.route_with(values, sql.encode(), [10, 11, None], bound=True).sends
    assert send.text == b"INSERT INTO invoices (id, total, year) VALUES (?, ?, 2023), (?, ?, 2023), (?, ?, 2023)"
    assert send.params == (Number(10), 1, Number(11), 2, 3, 4)
    sql = "INSERT INTO invoices SET total = ?, year = ?"
    made, values = planned(sql, whole(1), whole(2025))
    assert isinstance(made, InsertRows)
    (send,) = made.route_with(values, sql.encode(), [10], bound=True).sends
    assert (send.text, send.params) == (
        b"INSERT INTO invoices SET total = ?, year = ?, `id` = ?",
        (0, 1, Number(10)),
    )


@pytest.mark.parametrize(
    ("bound", "clusters"),
    [
        (whole(1), 1),
        (text("1"), 1),
        ((column.NEWDECIMAL, b"1"), 1),
        ((column.NEWDECIMAL, b"1.5"), 2),
        ((column.NEWDECIMAL, b"1.0"), 2),
        ((column.DOUBLE, 1.0), 1),
        ((column.FLOAT, 1.5), 2),
        ((column.DOUBLE, float("nan")), 2),
        ((column.DOUBLE, 2.0**53), 2),
        (text("1a"), 2),
        ((column.DATE, b"2024-01-01"), 2),
        ((column.BLOB, b"1"), 1),
        ((column.YEAR, b"1"), 2),
    ],
)
def test_the_shard_of_a_bound_number(bound: Bound, clusters: int) -> None:
    assert len(route("SELECT name FROM customers WHERE id = ?", bound).sends) == clusters


@pytest.mark.parametrize(
    ("bound", "clusters"),
    [
        (text("a@example.com"), 1),
        ((column.BLOB, b"a@example.com"), 1),
        ((column.BLOB, "é".encode()), 2),
        ((column.NEWDECIMAL, b"5.0"), 2),
        ((column.DATE, b"2024-01-01"), 2),
        ((column.TIME, b"10:00:00"), 2),
        (whole(5), 2),
        ((column.DOUBLE, 5.0), 2),
    ],
)
def test_the_shard_of_a_bound_string(bound: Bound, clusters: int) -> None:
    assert len(route("SELECT customer_id FROM logins WHERE email = ?", bound).sends) == clusters


@pytest.mark.parametrize(
    ("condition", "bound", "asked"),
    [
        ("c.id > ?", (whole(5),), "`id` > 5"),
        ("c.id IN (?, ?, 9)", (whole(5), whole(-6)), "`id` IN (5, -6, 9)"),
        ("c.name = ?", (text("it's \\"),), r"`name` IN ('it''s \\')"),
        ("c.name IN (?, 'x')", (text("é"),), "`name` IN ('é', 'x')"),
        ("c.name = ?", ((column.NEWDECIMAL, b"7"),), "`name` IN (7)"),
        ("c.id BETWEEN ? AND ?", (whole(1), text("9")), "`id` BETWEEN 1 AND '9'"),
        ("c.name LIKE ?", (text("a%"),), "`name` LIKE 'a%'"),
        # not certain: every row
        ("c.name IN (?, 5)", (text("x"),), ""),
        ("c.id = ?", ((column.DOUBLE, 5.0),), "`id` IN (5e0)"),
        ("c.id = ?", ((column.DOUBLE, 5.5),), ""),
        ("c.id <=> ?", (whole(None),), ""),
        ("c.name = ?", ((column.DATE, b"2024-01-01"),), ""),
        ("c.name > ?", ((column.DATETIME, b"2024-01-01 10:00:00"),), ""),
        ("c.name = ?", ((column.BLOB, b"\xff"),), ""),
    ],
)
def test_what_a_pull_asks_for(condition: str, bound: tuple[Bound, ...], asked: str) -> None:
    sql = f"SELECT c.id, p.id FROM customers c JOIN photos p ON p.title = c.name WHERE {condition}"
    work = route(sql, *bound, bench="main").work
    assert work is not None
    (pulled,) = [each for each in work.pulls if each.pull.name == "customers"]
    assert pulled.condition.decode() == asked


def test_texts_in_character_sets_that_hide_backslashes() -> None:
    gbk = lexer(charset="gbk")
    sql = "SELECT c.id, p.id FROM customers c JOIN photos p ON p.title = c.name WHERE c.name = ?"
    for value, asked in ((b"\xb0\x5c", b""), (b"\x5c", b"`name` IN ('\\\\')")):
        made, values = planned(sql, (column.VAR_STRING, value), bench="main", lex=gbk)
        work = made.route(values, sql.encode()).work
        assert work is not None
        assert [each.condition for each in work.pulls if each.pull.name == "customers"] == [asked]
