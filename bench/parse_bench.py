"""Time of `parse`, which a statement of an unknown shape costs once (budget of a plan-cache miss: 1 ms).

Run: python bench/parse_bench.py
"""

from __future__ import annotations

import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.shape_bench import DENSE_INSERT, DJANGO, POINT, SYSBENCH_INSERT
from parser.analyse import parse
from parser.shape import lexer

JOIN = (
    b"SELECT o.id, o.total, c.name, COUNT(DISTINCT i.id) AS n FROM orders o JOIN customers c ON c.id = o.customer_id "
    b"LEFT JOIN order_items i ON i.order_id = o.id AND i.customer_id = o.customer_id WHERE o.customer_id = 42 AND "
    b"o.created > NOW() - INTERVAL 7 DAY AND c.country IN ('de', 'fr', 'us') GROUP BY o.id ORDER BY o.id DESC LIMIT 20"
)
SUBQUERIES = (
    b"SELECT * FROM customers c WHERE c.id IN (SELECT customer_id FROM orders WHERE total > 5) AND NOT EXISTS "
    b"(SELECT 1 FROM refunds r WHERE r.customer_id = c.id) UNION ALL SELECT * FROM old_customers WHERE id = 7"
)
STATEMENTS = {
    "point select": POINT,
    "ORM select": DJANGO,
    "join": JOIN,
    "subqueries": SUBQUERIES,
    "insert": b"INSERT INTO t (a, b, c) VALUES (1, 'x', NOW()) ON DUPLICATE KEY UPDATE b = VALUES(b)",
    "update": b"UPDATE t SET a = a + 1, b = 'x' WHERE id = 5",
    "delete": b"DELETE FROM t WHERE id = 5 AND owner = 'me'",
    "set": b"SET NAMES utf8mb4, autocommit = 0",
    "begin": b"START TRANSACTION READ ONLY",
    "sysbench insert, 8000 rows": SYSBENCH_INSERT,
    "dense insert, 60000 rows": DENSE_INSERT,
    "IN of 5000": b"SELECT * FROM t WHERE id IN (" + b",".join(b"%d" % i for i in range(5000)) + b")",
}


def main() -> None:
    lex = lexer()
    for name, sql in STATEMENTS.items():
        shape, literals = lex.shape(sql)
        times = []
        for _ in range(9 if len(sql) > 10_000 else 300):
            began = time.perf_counter()
            parse(shape, literals, lexer=lex)
            times.append(time.perf_counter() - began)
        print(f"{name:28} {statistics.median(times) * 1e3:9.3f} ms  (slowest {max(times) * 1e3:.3f})")


if __name__ == "__main__":
    main()
