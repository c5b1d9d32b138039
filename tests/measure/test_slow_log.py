"""Slow logs as servers of several kinds write them."""

from __future__ import annotations

import random
import re
import time

import pytest

from proxy.measure import slow_log
from proxy.measure.slow_log import LoggedStatement, SlowLog, logged_time
from tests.measure.slow_logs import made

BANNER = b"""/usr/sbin/mariadbd, Version: 10.11.6-MariaDB-log (Debian 12). started with:
Tcp port: 3306  Unix socket: /run/mysqld/mysqld.sock
Time\t\t    Id Command\tArgument
"""
MARIADB = (
    BANNER
    + b"""# Time: 231126  5:42:03
# User@Host: app[app] @ localhost [127.0.0.1]
# Thread_id: 4  Schema: shop  QC_hit: No
# Query_time: 0.000163  Lock_time: 0.000080  Rows_sent: 1  Rows_examined: 10
# Rows_affected: 0  Bytes_sent: 57
use shop;
SET timestamp=1700977323;
SELECT * FROM orders WHERE id = 5;
# User@Host: root[root] @ localhost []
# Thread_id: 5  Schema:   QC_hit: No
# Query_time: 1.500000  Lock_time: 0.000000  Rows_sent: 0  Rows_examined: 0
# Rows_affected: 3  Bytes_sent: 11
# Full_scan: Yes  Full_join: No  Tmp_table: No  Tmp_table_on_disk: No
#
# explain: id\tselect_type\ttable
# explain: 1\tSIMPLE\torders
#
SET last_insert_id=5,insert_id=6,timestamp=1700977323;
UPDATE shop.orders
SET note = 'two
lines; and # Query_time: 9'
WHERE id < 4;
# Time: 231126  5:42:04
# User@Host: app[app] @ localhost [127.0.0.1]
# Thread_id: 4  Schema: shop  QC_hit: No
# Query_time: 0.000001  Lock_time: 0.000000  Rows_sent: 0  Rows_examined: 0
# Rows_affected: 0  Bytes_sent: 0
SET timestamp=1700977324;
# administrator command: Quit;
"""
)
MARIADB_STATEMENTS = [
    (b"SELECT * FROM orders WHERE id = 5", b"shop", 1700977323.0, 163, 1, 10, 57, False, False),
    (
        b"UPDATE shop.orders\nSET note = 'two\nlines; and # Query_time: 9'\nWHERE id < 4",
        *(b"", 1700977323.0, 1_500_000, 0, 0, 11, False, False),
    ),
    (b"Quit", b"shop", 1700977324.0, 1, 0, 0, 0, False, True),
]
MYSQL_51 = b"""# Time: 071015 21:43:52
# User@Host: root[root] @ localhost []
# Query_time: 2  Lock_time: 0  Rows_sent: 1  Rows_examined: 0
use test;
select sleep(2) from n;
# User@Host: root[root] @ localhost []
# Query_time: 3  Lock_time: 0  Rows_sent: 1  Rows_examined: 7
select sleep(3);
"""
MYSQL_80 = b"""# Time: 2023-11-26T05:42:03.123456Z
# User@Host: app[app] @ localhost [127.0.0.1]  Id:     8
# Query_time: 0.000146  Lock_time: 0.000002 Rows_sent: 1  Rows_examined: 1 Thread_id: 8 Errno: 0 Killed: 0 \
Bytes_received: 0 Bytes_sent: 81 Read_first: 1 Start: 2023-11-26T05:42:03.123310Z End: 2023-11-26T05:42:03.123456Z
use `my-shop`;
SET timestamp=1700977323;
select 1;
# Time: 2023-11-26T07:42:04.000000+02:00
# User@Host: app[app] @  [::1]  Id:     8
# Query_time: 0.000146  Lock_time: 0.000002 Rows_sent: 0  Rows_examined: 0 Thread_id: 8 Errno: 1064 Killed: 0 \
Bytes_received: 0 Bytes_sent: 0 Read_first: 0
selekt;;
"""
PERCONA = b"""# Time: 231126  5:42:03.5
# User@Host: app[app] @ localhost []  Id:     8
# Schema: shop  Last_errno: 1062  Killed: 0
# Query_time: 0.010000  Lock_time: 0.000000  Rows_sent: 0  Rows_examined: 0  Rows_affected: 0
# Bytes_sent: 99  Tmp_tables: 0  Tmp_disk_tables: 0  Tmp_table_sizes: 0
# QC_Hit: No  Full_scan: No  Full_join: No  Tmp_table: No  Tmp_table_on_disk: No
#   InnoDB_IO_r_ops: 0  InnoDB_IO_r_bytes: 0  InnoDB_IO_r_wait: 0.000000
# No InnoDB statistics available for this query
SET timestamp=1700977323;
insert into t values (1);
"""


def statements(
    data: bytes, size: int | None = None, max_heads: int = slow_log.MAX_HEADS
) -> tuple[list[LoggedStatement], SlowLog]:
    """What is read when the file comes in blocks of `size`."""
    log = SlowLog(max_heads)
    found: list[LoggedStatement] = []
    for start in range(0, len(data), size or len(data) or 1):
        found += log.feed(data[start : start + (size or len(data))])
    return [*found, *log.end()], log


def test_mariadb() -> None:
    found, log = statements(MARIADB)
    assert found == MARIADB_STATEMENTS
    assert (log.unread, log.has_bytes, log.has_errors) == (0, True, False)


@pytest.mark.parametrize("data", [MARIADB, MYSQL_51, MYSQL_80, PERCONA], ids=["mariadb", "5.1", "8.0", "percona"])
def test_blocks_may_end_anywhere(data: bytes) -> None:
    whole, _ = statements(data)
    assert len(whole) == data.count(b"# User@Host: ")
    for size in (1, 7, 64, 200):
        assert statements(data, size)[0] == whole


def test_mysql_before_microseconds_and_timestamps() -> None:
    found, _ = statements(MYSQL_51)
    noted = time.mktime((2007, 10, 15, 21, 43, 52, 0, 0, -1))
    assert found == [
        (b"select sleep(2) from n", b"test", noted, 2_000_000, 1, 0, 0, False, False),
        (b"select sleep(3)", b"test", noted, 3_000_000, 1, 7, 0, False, False),
    ]


def test_mysql_8_with_all_fields() -> None:
    found, log = statements(MYSQL_80)
    assert found == [
        (b"select 1", b"my-shop", 1700977323.0, 146, 1, 1, 81, False, False),
        (b"selekt;", b"my-shop", 1700977324.0, 146, 0, 0, 0, True, False),
    ]
    assert log.has_errors


def test_percona_server() -> None:
    found, _ = statements(PERCONA)
    assert found == [(b"insert into t values (1)", b"shop", 1700977323.0, 10_000, 0, 0, 99, True, False)]


def test_a_server_that_was_started_again() -> None:
    found, log = statements(MARIADB + BANNER + MARIADB[len(BANNER) :])
    assert found == MARIADB_STATEMENTS * 2
    assert log.unread == 0
    assert statements(MARIADB + BANNER)[0] == MARIADB_STATEMENTS


def test_what_is_no_entry_is_counted_and_left_out() -> None:
    broken = b"# Time: 231126  5:42:03\n# User@Host: app[app] @ localhost []\nSELECT 1;\n"
    found, log = statements(broken + MARIADB[len(BANNER) :])
    assert (found, log.unread) == (MARIADB_STATEMENTS, 1)
    assert statements(b"")[0] == []
    assert statements(b"no log\n" * 1000, 100)[0] == []


def test_what_is_no_log_takes_no_memory() -> None:
    log = SlowLog()
    for _ in range(40):
        assert list(log.feed(b"x" * 100_000)) == []
    assert len(log._rest) <= 1 << 20


@pytest.mark.parametrize(
    ("text", "unix_s"),
    [
        (b"2023-11-26T05:42:03.5Z", 1700977323.5),
        (b"2023-11-26T05:42:03", 1700977323.0),
        (b"2023-11-26T06:42:03+01:00", 1700977323.0),
        (b"231126  5:42:03", time.mktime((2023, 11, 26, 5, 42, 3, 0, 0, -1))),
        (b"231126 15:42:03.25", time.mktime((2023, 11, 26, 15, 42, 3, 0, 0, -1)) + 0.25),
        (b"yesterday", None),
        (b"\xff", None),
        (b"", None),
    ],
)
def test_times(text: bytes, unix_s: float | None) -> None:
    assert logged_time(text) == unix_s


def test_lines_that_end_as_on_windows() -> None:
    for data in (MARIADB, MYSQL_80, PERCONA):
        found, log = statements(data.replace(b"\n", b"\r\n"))
        assert [(text.replace(b"\r\n", b"\n"), *rest) for text, *rest in found] == statements(data)[0]
        assert log.unread == 0


@pytest.mark.parametrize("kind", ["mariadb", "mysql", "percona"])
def test_heads_that_are_alike_are_read_alike(kind: str) -> None:
    """Heads are remembered by their text without its digits: nothing may be read otherwise because of that."""
    rng = random.Random(5)
    log = made(kind, 1500).data
    odd = (
        b"SELECT '\nSET timestamp=5;\n'",  # as what a head ends with
        b"SELECT 1;\n# Time: 231126  5:42:03;\nSELECT 2",
        b"# Query_time: 7",
        b"",
    )

    def changed(line: re.Match[bytes]) -> bytes:
        choice = rng.random()
        if choice < 0.85:
            return line[0]
        if choice < 0.88:
            return b""
        if choice < 0.9:
            return b"SET last_insert_id=%d,timestamp=%d;\n" % (rng.randrange(99), rng.randrange(10**9))
        if choice < 0.92:
            return line[0][:-1] + b"\r\n"
        return line[0] + rng.choice(odd) + b";\n"

    log = re.sub(rb"SET timestamp=\d+;\n", changed, log)
    log = re.sub(rb"Errno: 0|Last_errno: 0", lambda found: found[0][:-1] + rng.choice((b"0", b"7", b"00")), log)
    log = log.replace(b"Schema: shop", b"Schema: shop1").replace(b"use stats", b"use `sta``ts1`")
    remembered, log_of_them = statements(log)
    read, log_of_all = statements(log, max_heads=0)
    assert remembered == read
    assert (log_of_them.unread, log_of_them.has_bytes, log_of_them.has_errors) == (
        *(log_of_all.unread, log_of_all.has_bytes),
        log_of_all.has_errors,
    )
    assert len(log_of_them._heads) > 50
    assert not log_of_all._heads
