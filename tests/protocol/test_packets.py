"""Packets of all sizes, commands sent ahead, clients that vanish, and KILLs in the midst of it."""

from __future__ import annotations

import os
import socket
import ssl
import struct
import threading
from collections.abc import Callable

import pymysql
import pytest

from tests.front import raw
from tests.front.raw import Client, Disconnected, Statement, framed
from tests.protocol.conftest import Connect
from tests.servers import MariaDB, Run, Shop, Turnout
from tests.servers.process import wait_until
from tests.servers.shop import APP, APP_PASSWORD

pytestmark = pytest.mark.servers
FULL = 0xFFFFFF
SIZES = (FULL - 1, FULL, FULL + 1)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("table", ["items", "spread"])
def test_statements_of_exactly(connect: Connect, size: int, table: str) -> None:
    """`size` is that of the whole payload, so that its last part may be empty."""
    client = connect()
    start, end = b"SELECT COUNT(*) FROM %s WHERE LENGTH('" % table.encode(), b"') = %d"
    filler = size - 1 - len(start) - len(end % FULL)
    assert client.query(start + b"x" * filler + end % filler).number == 60
    assert client.query("SELECT 1").number == 1


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("table", ["items", "spread"])
def test_executions_of_exactly(connect: Connect, size: int, table: str) -> None:
    client = connect()
    made = client.prepare(f"SELECT id, LENGTH(?) FROM {table} WHERE id < ? ORDER BY id")
    assert isinstance(made, Statement)
    head = struct.pack("<IBI", made.id, 0, 1) + b"\0\1" + bytes((raw.VAR_STRING, 0, raw.LONGLONG, 0))
    filler = size - 1 - len(head) - 9 - 8
    if filler <= FULL:
        filler += 5  # its length takes four bytes, not nine
    bound = head + raw.lenenc(filler) + b"x" * filler + struct.pack("<q", 10)
    assert len(bound) == size - 1
    answer = client.command(raw.COM_STMT_EXECUTE, bound, binary=True).checked()
    rows = [row[0] or b"" for row in answer.rows]
    numbers = [(int.from_bytes(row[2:6], "little"), int.from_bytes(row[6:10], "little")) for row in rows]
    assert numbers == [(n, filler) for n in range(1, 10)]
    assert client.query("SELECT 1").number == 1


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("table", ["items", "spread"])
def test_rows_of_exactly(connect: Connect, size: int, table: str) -> None:
    client = connect()
    head = len(raw.lenenc(size - 9)) + 2
    filler = size - head
    sql = f"SELECT id % 7, REPEAT('x', {filler} * (id = 3)) FROM {table} WHERE id IN (2, 3, 4) ORDER BY id"
    rows = client.query(sql).checked().rows
    assert [(row[0], len(row[1] or b"")) for row in rows] == [(b"2", 0), (b"3", filler), (b"4", 0)]
    made = client.prepare(sql)
    assert isinstance(made, Statement)
    # Two bytes of head, then the number with its eight bytes at most.
    for wanted in (size, size - 6):
        made = client.prepare(sql.replace(str(filler), str(wanted - head)))
        assert isinstance(made, Statement)
        rows = client.execute(made).checked().rows
        assert len(rows) == 3
        assert len(rows[1][0] or b"") > wanted - head
    assert client.query("SELECT 1").number == 1


@pytest.mark.parametrize("table", ["items", "spread"])
def test_a_ping_in_the_middle_of_a_result(connect: Connect, table: str) -> None:
    """It is answered behind the rows."""
    client = connect()
    for binary in (False, True):
        sql = f"SELECT REPEAT('x', 200000), id FROM {table} WHERE id < 50"
        if binary:
            made = client.prepare(sql)
            assert isinstance(made, Statement)
            client.socket.sendall(framed(bytes((raw.COM_STMT_EXECUTE,)) + struct.pack("<IBI", made.id, 0, 1)))
        else:
            client.send(sql)
        first = client.socket.recv(1000, socket.MSG_PEEK)
        assert first
        client.socket.sendall(framed(bytes((raw.COM_PING,))) * 3)
        client.send("SELECT 'behind'")
        answer = client._drive(raw._answer(binary), first=False)
        assert len(answer.checked().rows) == 49
        for _ in range(3):
            assert client.receive().checked().columns == ()
        assert client.receive().value == b"behind"


def test_a_tls_client_that_vanishes(proxy: Turnout, server: MariaDB, connect: Connect, run: Run) -> None:
    """More of them than there are connections to the server: none is lost, and their statements end."""
    context = ssl.create_default_context(cafile=str(run.authority.ca))
    for n in range(16):
        connection = pymysql.connect(
            host="127.0.0.1", port=proxy.port, user=APP, password=APP_PASSWORD, database="protocol", ssl=context
        )
        sql = ("SELECT SLEEP(30), 'vanished'", "SELECT REPEAT('x', 100000), 'vanished' FROM seq_1_to_1000")[n % 2]
        connection._execute_command(3, sql)
        sock = connection._sock
        if n % 4 < 2:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # without a goodbye of TCP's
        os.close(sock.detach())
        connection._force_close()
    wait_until(lambda: not _running(server, "vanished"), 15)
    clients = [connect() for _ in range(8)]
    for client in clients:
        assert client.run("BEGIN", "SELECT 1").number == 1
    wait_until(lambda: proxy.metric("turnout_clients") <= len(clients), 10)


def _running(server: MariaDB, mark: str) -> int:
    sql = f"SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE INFO LIKE '%{mark}%' AND ID <> CONNECTION_ID()"
    return int(server.execute(sql)[0][0])


def test_kills_at_the_same_moment(connect: Connect, server: MariaDB, shop_servers: Shop) -> None:
    """KILL QUERY and KILL CONNECTION, of one client by several others at once: it ends, also on the other shard, they
    are answered, and nobody else's statement is hit."""
    neighbours = [connect() for _ in range(4)]
    killers = [connect() for _ in range(4)]
    for round_ in range(12):
        victim = connect()
        ways: list[Callable[[Client], object]] = [
            lambda killer, n=victim.id: killer.query(f"KILL QUERY {n}"),  # type: ignore[misc]
            lambda killer, n=victim.id: killer.query(f"KILL {n}"),  # type: ignore[misc]
            lambda killer, n=victim.id: killer.command(raw.COM_PROCESS_KILL, n.to_bytes(4, "little")),  # type: ignore[misc]
            lambda killer, n=victim.id: killer.query(f"KILL QUERY {n}"),  # type: ignore[misc]
        ]
        if round_ % 3 == 0:
            victim.run("BEGIN", "SELECT id FROM items WHERE id = 1 FOR UPDATE")
        table = "spread" if round_ % 2 else "items"
        victim.send(f"SELECT SLEEP(20), 'victim {round_}' FROM {table} WHERE id < 30")
        if round_ % 4:
            wait_until(lambda n=round_: _running(server, f"victim {n}") > 0, 10)  # type: ignore[misc]
        start = threading.Barrier(len(ways))

        def kill(way: Callable[[Client], object], killer: Client, start: threading.Barrier = start) -> None:
            start.wait(10)
            way(killer)

        threads = [threading.Thread(target=kill, args=pair) for pair in zip(ways, killers)]
        for thread in threads:
            thread.start()
        for neighbour in neighbours:
            assert neighbour.query("SELECT COUNT(*) FROM items").number == 60
        for thread in threads:
            thread.join(20)
            assert not thread.is_alive()
        try:
            answer = victim.receive()
            assert answer.errno in (1317, 1927, 1053) or answer.rows, answer
            for _ in range(50):  # the connection ends, if not at once
                victim.query("SELECT 1")
            raise AssertionError("the victim goes on")
        except (Disconnected, ConnectionError):
            pass
        for shard in (server, shop_servers.shard(0)):
            wait_until(lambda n=round_, s=shard: not _running(s, f"victim {n}"), 10)  # type: ignore[misc]
        for client in (*neighbours, *killers):
            assert client.query("SELECT id FROM items WHERE id = 1 FOR UPDATE").checked().rows == ((b"1",),)
            assert client.query("SELECT COUNT(*) FROM spread").number == 60
