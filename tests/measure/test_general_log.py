"""General logs as MariaDB and MySQL write them."""

from __future__ import annotations

import time

import pytest

from proxy.measure.general_log import GeneralLog
from proxy.measure.slow_log import LoggedStatement

OLD = (
    b"/usr/sbin/mariadbd, Version: 10.11.6-MariaDB (Debian). started with:\n"
    b"Tcp port: 3306  Unix socket: /run/mysqld/mysqld.sock\n"
    b"Time\t\t    Id Command\tArgument\n"
    b"231126  5:42:03\t     4 Connect\tapp@localhost on shop using Socket\n"
    b"\t\t     4 Query\tSELECT 'two\n\nlines'\n"
    b"231126  5:42:04\t     5 Connect\tapp@localhost on  using TCP/IP\n"
    b"\t\t     5 Query\tSELECT 1\n"
    b"\t\t     5 Query\tuse `my-``shop`\n"
    b"\t\t     5 Prepare\tSELECT ?\n"
    b"\t\t     5 Execute\tSELECT 7\n"
    b"\t\t     4 Init DB\tother\n"
    b"\t\t     4 Quit\t\n"
    b"\t\t     4 Query\tCOMMIT\n"
)
NEW = (
    b"2023-11-26T05:42:03.123456Z\t    8 Connect\tapp@localhost on shop using TCP/IP\n"
    b"2023-11-26T05:42:03.200000Z\t    8 Query\tSELECT 1\n"
    b"2023-11-26T05:42:04.000000Z\t    8 Init DB\tother\n"
    b"2023-11-26T05:42:05.000000Z\t    8 Query\tSELECT 2\n"
    b"2023-11-26T05:42:05.000000Z\t    8 Quit\t\n"
)


def statements(data: bytes, size: int | None = None) -> list[tuple[bytes, bytes, float | None]]:
    log = GeneralLog()
    found: list[LoggedStatement] = []
    for start in range(0, len(data), size or len(data)):
        found += log.feed(data[start : start + (size or len(data))])
    found += log.end()
    assert all(one[3:] == (0, 0, 0, 0, False, False) for one in found)
    return [one[:3] for one in found]


def test_mariadb() -> None:
    first, second = (time.mktime((2023, 11, 26, 5, 42, s, 0, 0, -1)) for s in (3, 4))
    assert statements(OLD) == [
        (b"SELECT 'two\n\nlines'", b"shop", first),
        (b"SELECT 1", b"", second),
        (b"use `my-``shop`", b"", second),
        (b"SELECT 7", b"my-`shop", second),
        (b"COMMIT", b"", second),
    ]


def test_mysql() -> None:
    assert statements(NEW) == [(b"SELECT 1", b"shop", 1700977323.2), (b"SELECT 2", b"other", 1700977325.0)]


@pytest.mark.parametrize("data", [OLD, NEW], ids=["mariadb", "mysql"])
@pytest.mark.parametrize("size", [1, 13, 100])
def test_blocks_may_end_anywhere(data: bytes, size: int) -> None:
    assert statements(data, size) == statements(data)


def test_a_server_that_was_started_again() -> None:
    banner = OLD[: OLD.index(b"231126")]
    assert [text for text, *_ in statements(OLD + banner + NEW)][-3:] == [b"COMMIT", b"SELECT 1", b"SELECT 2"]


def test_what_is_no_log_has_no_statements_and_takes_no_memory() -> None:
    log = GeneralLog()
    for _ in range(40):
        assert list(log.feed(b"2023 nothing\n" * 10_000)) == []
    assert len(log._rest) <= 1 << 20
    assert list(log.end()) == []
