"""What a plan-cache miss costs: Turnout's CPU for statements that it has never seen, less that for a known one."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pymysql

from bench.topology import Target

POINT = "SELECT c AS c{n} FROM sbtest1 WHERE id = 17"
JOIN = (
    "SELECT a.k, COUNT(*) AS n{n}, SUM(b.k) FROM sbtest1 AS a JOIN sbtest1 AS b ON b.id = a.id"
    " LEFT JOIN sbtest1 AS d ON d.id = b.id AND d.k > 5 WHERE a.id BETWEEN 10 AND 12 AND b.pad LIKE '1%'"
    " GROUP BY a.k HAVING n{n} > 0 ORDER BY a.k DESC LIMIT 10"
)
STATEMENTS = {"point select": POINT, "join of three tables": JOIN}
_numbers = itertools.count(1)  # a name that no earlier statement had makes a shape that none had


def miss_us(target: Target, statement: str, count: int) -> float:
    """Microseconds of the proxy's CPU that a miss takes more than a hit."""
    if target.proxy is None:
        raise ValueError(f"{target.name} has no plan cache")
    proxy, account = target.proxy, target.account
    connection = pymysql.connect(
        host="127.0.0.1",
        port=target.port,
        user=account.user,
        password=account.password,
        database=account.database,
        autocommit=True,
    )
    with connection, connection.cursor() as cursor:

        def cpu_us(text: Callable[[], str]) -> float:
            before = sum(proxy.cpu_s())
            for _ in range(count):
                cursor.execute(text())
                cursor.fetchall()
            return (sum(proxy.cpu_s()) - before) * 1e6 / count

        known = statement.format(n=0)
        cursor.execute(known)
        cursor.fetchall()
        hit = cpu_us(lambda: known)
        return cpu_us(lambda: statement.format(n=next(_numbers))) - hit
