"""Drivers that prepare on the server read of statements over several shards what one server gives them."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing

import pytest

from tests.clients import programs
from tests.clients.scenario import shown
from tests.clients.target import HOST, Target
from tests.prepared.pair import PreparedPair
from tests.servers import MariaDB, Turnout
from tests.servers.shop import APP, APP_PASSWORD, DATABASE

pytestmark = pytest.mark.servers
Asked = Sequence[tuple[str, Sequence[object]]]

COLUMNS = "k, id, i, u, n, day, at, ts, t, y, e, s, general, uni, raw, body"  # not FLOAT, BIT: drivers differ
ASKED: Asked = (
    (f"SELECT {COLUMNS} FROM things WHERE k = ? ORDER BY k, id", [3]),
    (f"SELECT {COLUMNS} FROM things WHERE i > ? ORDER BY k, id", [3]),
    (f"SELECT {COLUMNS} FROM things WHERE general > ? ORDER BY n DESC, id LIMIT ? OFFSET ?", ["b", "20", "5"]),
    ("SELECT i, COUNT(*), SUM(n), AVG(n), MIN(t), MAX(at) FROM things WHERE k <> ? GROUP BY i ORDER BY i", [4]),
    ("SELECT COUNT(*), SUM(u), AVG(i), ? FROM things WHERE at > ?", ["é", "2000-01-01"]),
    ("SELECT DISTINCT i, ? FROM things WHERE i IN (?, ?, ?) ORDER BY i DESC", [None, "3", "4", None]),
    (
        "SELECT t.id, p.id, p.title, ? FROM things t JOIN photos p ON p.of_id = t.id WHERE p.n > ? ORDER BY 1, 2",
        ["x", 3],
    ),
    (
        "SELECT id, RANK() OVER (ORDER BY price, k, part) FROM parts JOIN users ON id = of_id WHERE k < ? ORDER BY 2",
        [4],
    ),
    ("INSERT INTO parts VALUES (?, ?, ?, ?, ?), (?, ?, ?, ?, ?)", [1, 970, None, "1.25", "é", 6, 970, 5, "2", None]),
    ("INSERT INTO parts VALUES (?, ?, ?, ?, ?), (?, ?, ?, ?, ?)", [12, 970, None, "1.25", "é", 6, 970, 5, "2", None]),
    ("UPDATE parts SET price = price * ? WHERE part = ?", [3, 970]),
    ("SELECT * FROM parts WHERE part = ? ORDER BY k", [970]),
    ("DELETE FROM parts WHERE part = ? AND k IN (?, ?, ?)", [970, 1, 6, 12]),
)


def go(target: Target) -> object:
    return programs.ask(programs.build_go(), "prepared", target, ASKED)


def node(target: Target) -> object:
    return programs.ask(programs.install_node(), "mysql2 execute", target, ASKED)


def connector(target: Target) -> object:
    """MySQL Connector/Python in Python alone, with prepared cursors."""
    if importlib.util.find_spec("mysql.connector") is None:
        raise programs.Unavailable("mysql-connector-python is not installed")
    import mysql.connector

    account = {"user": target.user, "password": target.password, "database": target.database}
    found: list[object] = []
    with closing(mysql.connector.connect(host=HOST, port=target.port, use_pure=True, **account)) as connection:
        connection.autocommit = True
        for statement, values in ASKED:
            for unread in ("day, at, ts, t, y, e, s, ", ", MIN(t), MAX(at)"):  # YEAR, and times that are zero
                statement = statement.replace(unread, "")
            with closing(connection.cursor(prepared=True)) as cursor:
                try:
                    cursor.execute(statement, tuple(values))
                except mysql.connector.Error as error:
                    found.append([error.errno, error.sqlstate, error.msg])
                    continue
                selects = statement.startswith("SELECT")
                found.append([list(map(shown, row)) for row in cursor] if selects else cursor.rowcount)
    return found


@pytest.fixture
def unchanged(pair: PreparedPair) -> Iterator[None]:
    yield
    assert pair.text("SELECT COUNT(*) FROM parts WHERE part = 970").rows == ((b"0",),)


@pytest.mark.parametrize("client", [go, node, connector])
@pytest.mark.usefixtures("unchanged")
def test_a_driver_sees_one_server(
    client: Callable[[Target], object],
    proxy: tuple[Turnout, MariaDB],
) -> None:
    try:
        ours, theirs = (client(Target(port, APP, APP_PASSWORD, DATABASE)) for port in (proxy[0].port, proxy[1].port))
    except programs.Unavailable as why:
        pytest.skip(str(why))
    assert isinstance(ours, list)
    assert isinstance(theirs, list)
    for (statement, values), one, other in zip(ASKED, ours, theirs, strict=True):
        assert one == other, (statement, values)
    assert [bool(answer) for answer in theirs] == [True] * len(ASKED)
