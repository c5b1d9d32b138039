"""What of a server's log is no application's: one line in rankings, nothing in advice."""

from __future__ import annotations

import pytest

from parser.shape import lexer
from proxy.measure.log_shapes import LogShapes
from proxy.measure.own import is_system, own, together, without
from proxy.measure.ranking import Knows, Measured, MeasuredShape, by_shape, by_table
from proxy.measure.tally import SYSTEM, SYSTEM_TABLES

MAKES = "CREATE TEMPORARY TABLE `shop`.`orders` (`id` int(11),`total` int(11)) DEFAULT CHARSET=utf8mb4"
FILLS = "INSERT INTO `shop`.`orders` (`id`,`total`) VALUES (1,2),(3,4)"
DROPS = "DROP TEMPORARY TABLE `shop`.`orders`, `shop`.`customers`"


def measured(*sqls: str) -> Measured:
    sums = LogShapes(lexer())
    sums.add([(sql.encode(), b"shop", 1.0, 1000, 1, 1, 10, False, False) for sql in sqls])
    shapes = [MeasuredShape(name, sums.digests[name], tally, sums.samples.get(name)) for name, tally in sums.shapes]
    return Measured("log", Knows(), 0.0, 60.0, shapes, [(table, "", tally) for table, tally in sums.by_table()])


@pytest.mark.parametrize(
    ("sql", "no_application"),
    [
        ("SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = 'shop'", True),
        ("SELECT User FROM mysql.user", True),
        ("SELECT * FROM performance_schema.threads", True),
        ("SELECT * FROM sys.version", True),
        ("SELECT token FROM turnout.cluster WHERE one = 1", True),
        ("INSERT IGNORE INTO turnout.transactions VALUES (1)", True),
        ("CREATE DATABASE IF NOT EXISTS turnout", True),
        ("SHOW SLAVE STATUS", True),
        ("SAVEPOINT turnout_statement", True),
        ("CREATE TEMPORARY TABLE `shop`.`turnout_part_1` (`a` int)", True),
        (MAKES, True),
        # An application's
        ("SELECT * FROM orders WHERE id = 1", False),
        ("SELECT * FROM orders JOIN information_schema.TABLES ON TABLE_NAME = note", False),
        ("CREATE TEMPORARY TABLE big (id INT)", False),
        ("CREATE TEMPORARY TABLE `big` (`id` INT)", False),
        ("DROP TEMPORARY TABLE `shop`.`big`", False),
        (FILLS, False),  # nobody has made a copy
        ("SHOW TABLES", False),
        ("SELECT 1", False),
        ("CREATE DATABASE turnout_of_trains", False),
    ],
)
def test_what_is_no_application_s(sql: str, no_application: bool) -> None:
    assert bool(own(measured(sql).shapes)) == no_application


def test_what_a_workbench_does() -> None:
    other = MAKES.replace("orders", "customers")
    look = "SELECT * FROM orders JOIN customers ON customers.id = orders.customer_id"
    found = measured(MAKES, other, FILLS, FILLS, DROPS, look, "INSERT INTO `shop`.`photos` (`id`) VALUES (1)")
    kept = [one.digest for place, one in enumerate(found.shapes) if place not in own(found.shapes)]
    assert [text.split()[0:2] for text in kept] == [["SELECT", "*"], ["INSERT", "INTO"]]


def test_sums_stay_those_of_everything() -> None:
    found = measured("SELECT 1 FROM t", "SELECT 1 FROM t", "SELECT 1 FROM mysql.user", "SELECT 1 FROM sys.x", MAKES)
    before = found.all().count
    together(found)
    assert found.all().count == before == 5
    rows = by_shape(found, limit=1)
    assert [(row["rank"], row["shape_id"], row["count"]) for row in rows] == [
        (1, rows[0]["shape_id"], 2),
        (None, SYSTEM.id, 3),
    ]
    assert [(row["table"], row["count"]) for row in by_table(found)] == [("t", 2), (SYSTEM_TABLES, 3)]
    assert [one.shape for one in without(found).shapes] == [found.shapes[0].shape]
    assert found.notes == ["3 statements of system databases and of Turnout itself are left out"]


def test_names_of_the_system_s_tables() -> None:
    assert is_system("INFORMATION_SCHEMA.TABLES")
    assert is_system("turnout.cluster")
    assert not is_system("mysql_shop.user")
    assert not is_system("user")
