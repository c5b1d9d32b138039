"""Executions that the fast path carries out: no task is made for them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from bench.fast_path import FakeTransport, make
from proxy.back.connection import ServerConnection, ServerStatement
from proxy.front.prepared import read_statement
from proxy.front.prepared_statement import Prepared
from proxy.wire.binary import encode_binary_resultset
from proxy.wire.frames import encode
from proxy.wire.packets import encode_ok
from proxy.wire.resultset import text_column

_IN_TRANSACTION = 3  # autocommit, in a transaction
_LONGLONG = b"\x08\x00"


class Recorded(FakeTransport):
    def __init__(self) -> None:
        super().__init__()
        self.packets: list[bytes] = []

    def write(self, data: Any) -> None:
        self.packets.append(bytes(data))


def prepared(client: Any, connection: ServerConnection, sql: bytes, params: int, number: int) -> Prepared:
    """As if the client had prepared it, and its server had it under this number."""
    session = client.session
    statement = read_statement(session, sql)
    session.next_statement_id += 1
    statement.params = params
    session.prepared[statement.id] = statement
    connection.statements[statement.key] = ServerStatement(number)
    return statement


def execution(statement: Prepared, rest: bytes = b"") -> bytes:
    return encode(b"\x17" + statement.id.to_bytes(4, "little") + b"\0\x01\0\0\0" + rest, 0)


def play(dialogue: Callable[[Any, ServerConnection, Recorded, Recorded], None]) -> None:
    async def run() -> None:
        client, connection = make()
        to_client, to_server = Recorded(), Recorded()
        client.transport, client.write = to_client, to_client.write
        connection.transport, connection.write = to_server, to_server.write
        dialogue(client, connection, to_client, to_server)
        assert client.session is not None
        assert client.session.task is None
        assert not client.session.busy

    asyncio.run(run())


@pytest.mark.parametrize("end", [b"COMMIT", b"ROLLBACK"])
def test_a_transaction(end: bytes) -> None:
    def dialogue(client: Any, connection: ServerConnection, to_client: Recorded, to_server: Recorded) -> None:
        begin = prepared(client, connection, b"BEGIN", 0, 1)
        read = prepared(client, connection, b"SELECT c FROM sbtest1 WHERE id=?", 1, 7)
        ending = prepared(client, connection, end, 0, 2)
        client.data_received(execution(begin))
        assert to_client.packets == [encode(encode_ok(0, 0, _IN_TRANSACTION), 1)]
        assert not to_server.packets
        client.data_received(execution(read, b"\0\x01" + _LONGLONG + (5).to_bytes(8, "little")))
        assert to_server.packets == [
            encode(b"\x03BEGIN", 0)
            + encode(b"\x17\x07\0\0\0\0\x01\0\0\0\0\x01" + _LONGLONG + (5).to_bytes(8, "little"), 0)
        ]
        answer = encode_binary_resultset([text_column("c")], [[b"x"]], _IN_TRANSACTION)
        connection.data_received(encode(encode_ok(0, 0, _IN_TRANSACTION), 1) + answer)
        assert b"".join(to_client.packets[1:]) == answer
        client.data_received(execution(ending))
        assert to_server.packets[1:] == [encode(b"\x03" + end, 0)]
        done = encode(encode_ok(0, 0, 2), 1)
        connection.data_received(done)
        assert to_client.packets[-1] == done
        assert not client.session.held

    play(dialogue)


def test_types_that_a_client_does_not_send_again() -> None:
    """The server's statement is shared, so that it gets them every time."""

    def dialogue(client: Any, connection: ServerConnection, to_client: Recorded, to_server: Recorded) -> None:
        read = prepared(client, connection, b"SELECT c FROM sbtest1 WHERE id=?", 1, 7)
        answer = encode_binary_resultset([text_column("c")], [[b"x"]])
        value = (5).to_bytes(8, "little")
        for rest in (b"\0\x01" + _LONGLONG + value, b"\0\0" + value):
            client.data_received(execution(read, rest))
            connection.data_received(answer)
        assert to_server.packets[0] == to_server.packets[1]
        assert to_client.packets == [answer, answer]

    play(dialogue)


@pytest.mark.parametrize(
    ("number", "rest", "errno"),
    [(99, b"", 1243), (1, b"", 1835), (1, b"\0", 1835), (1, b"\0\0" + bytes(8), 1210), (1, b"\0\x01\x08", 1835)],
    ids=["unknown", "no values", "no flag", "no types", "types cut short"],
)
def test_what_cannot_be_executed_takes_no_connection(number: int, rest: bytes, errno: int) -> None:
    def dialogue(client: Any, connection: ServerConnection, to_client: Recorded, to_server: Recorded) -> None:
        prepared(client, connection, b"SELECT c FROM sbtest1 WHERE id=?", 1, 7)
        client.data_received(encode(b"\x17" + number.to_bytes(4, "little") + b"\0\x01\0\0\0" + rest, 0))
        assert len(to_client.packets) == 1
        assert int.from_bytes(to_client.packets[0][5:7], "little") == errno
        assert not to_server.packets
        assert connection.pool is not None
        assert connection.pool.idle == [connection]

    play(dialogue)
