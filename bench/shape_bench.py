"""Time of `Lexer.shape`: all the parsing that a statement with a known shape costs: `python bench/shape_bench.py`."""

from __future__ import annotations

import statistics
import sys
import timeit
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from parser.shape import lexer

POINT = b"SELECT c FROM sbtest1 WHERE id=5012"
DJANGO = (
    b"SELECT `auth_user`.`id`, `auth_user`.`password`, `auth_user`.`last_login`, `auth_user`.`username` "
    b"FROM `auth_user` WHERE (`auth_user`.`id` = 21 AND `auth_user`.`email` = 'someone@example.org') LIMIT 21"
)
TRACED = POINT + b" /* request=7f3a9c controller=orders */"
ROW = b"(%d,%d,'68487932199-96439406143-93774651418-41631865787-96406072701','22195207048-70116052123-74140395089')"
SYSBENCH_INSERT = b"INSERT INTO sbtest1 (id, k, c, pad) VALUES " + b",".join(ROW % (i, i * 7) for i in range(8000))
DENSE_INSERT = b"INSERT INTO t VALUES " + b",".join(b"(%d,%d,'ab')" % (i, i * 7) for i in range(60000))
BLOB_INSERT = b"INSERT INTO t VALUES (1,'" + b"x" * 900_000 + b"')"


def seconds(sql: bytes, charset: str, number: int) -> float:
    shape = lexer(False, False, charset).shape
    return statistics.median(timeit.repeat(lambda: shape(sql), number=number, repeat=7)) / number


def main() -> None:
    for name, sql in (("point select", POINT), ("traced point select", TRACED), ("ORM select", DJANGO)):
        for charset in ("utf8mb4", "gbk"):
            print(f"{name:20} {charset:8} {seconds(sql, charset, 20_000) * 1e6:8.2f} us")
    for name, sql in (
        ("sysbench insert", SYSBENCH_INSERT),
        ("dense insert", DENSE_INSERT),
        ("blob insert", BLOB_INSERT),
    ):
        for charset in ("utf8mb4", "gbk"):
            taken = seconds(sql, charset, 1)
            print(f"{name:20} {charset:8} {taken * 1e3:8.2f} ms  {len(sql) / taken / 1e6:8.0f} MB/s")


if __name__ == "__main__":
    main()
