"""What fuzzing has found, as small as it can be shown."""

from __future__ import annotations

import asyncio
from functools import partial
from types import SimpleNamespace
from typing import Any, cast

import pytest

from bench import fast_path
from parser.analyse import parse
from parser.shape import lexer
from parser.statement import Kind, Statement
from proxy.back import decisions
from proxy.back.connection import ServerConnection
from proxy.errors import ProtocolError, ServerFailed
from proxy.front import recovery
from proxy.front.key_list import Writer
from proxy.front.merge import RowReader
from proxy.front.row_streams import RowStream, Splitter
from proxy.plan.merge import Merge
from proxy.plan.plan import Plan
from proxy.wire.frames import encode
from proxy.wire.lenenc import write_bytes
from proxy.wire.packets import encode_eof, encode_err, encode_ok
from proxy.wire.response import ResponseScanner
from proxy.wire.resultset import encode_column, encode_resultset, text_column
from proxy.wire.status import AUTOCOMMIT, SESSION_STATE_CHANGED


async def pair() -> tuple[Any, ServerConnection]:
    """A client that has logged in, and the one connection of its pool."""
    return fast_path.make()


def test_who_sends_on_a_lost_connection_is_told() -> None:
    """It was lost while its session waited for another one; nobody else would say so."""

    async def play() -> None:
        _, connection = await pair()
        connection.aborted = ServerFailed("lost")
        connection.connection_lost(None)
        stream = RowStream(connection)
        connection.send(b"\x09\0\0\0\x03SELECT 1", stream)
        with pytest.raises(ServerFailed, match="lost"):
            async with asyncio.timeout(5):
                await stream.more()

    asyncio.run(play())


def test_what_a_client_held_is_given_back_once() -> None:
    """A client goes away while a task of its session has its idle connection in hand: given back by the task, it would
    be another session's when the transaction is rolled back on it."""

    async def play() -> None:
        client, connection = await pair()
        session, pool = client.session, connection.pool
        assert pool is not None
        pool.idle.remove(connection)
        connection.taker = session
        session.hold(connection)
        begun = asyncio.Event()

        async def work() -> None:
            try:
                begun.set()
                await asyncio.sleep(60)
            finally:
                session.give_back(connection)

        session.run(work())
        await begun.wait()
        client.connection_lost(None)
        await asyncio.sleep(0.05)
        assert connection.aborted is not None
        assert connection not in pool.idle

    asyncio.run(play())


def test_what_a_task_has_taken_is_found_where_pools_are_others_by_now() -> None:
    async def play() -> None:
        client, connection = await pair()
        session, pool = client.session, connection.pool
        assert pool is not None
        client.data_received(encode(b"\x03SELECT c FROM sbtest1 WHERE id=1", 0))
        connection.data_received(encode_resultset([text_column("c")], [[b"x"]]))
        session.set_capability(1 << 16, True)
        pool.idle.remove(connection)
        connection.taker = session
        connection.pool.server.connections.add(connection)
        session.run(asyncio.sleep(60))
        await asyncio.sleep(0)
        client.connection_lost(None)
        assert connection.aborted is not None

    asyncio.run(play())


def test_a_connection_that_cannot_join_a_transaction_is_given_back() -> None:
    """A statement that writes by a list of keys (or LOAD DATA) comes to a cluster where no transaction can begin. And
    what a session has taken and lost sight of ends when it begins anew (COM_CHANGE_USER)."""

    async def play() -> None:
        client, connection = await pair()
        session, pool = client.session, connection.pool
        assert pool is not None
        session.transaction.explicit = True
        session.transaction.begin = b"START TRANSACTION READ ONLY"  # which is waited for
        entry = SimpleNamespace(plan=Plan(statement=Statement(Kind.UPDATE)), replica_ok=False)
        entry = SimpleNamespace(plan=Plan(statement=Statement(Kind.UPDATE)), replica_ok=False)
        writer = Writer(session, cast(Any, entry))
        task = asyncio.ensure_future(writer.connection("main"))
        await asyncio.sleep(0.01)
        assert not pool.idle
        connection.data_received(encode(encode_err(1399, "XAE07", b"no"), 1))
        with pytest.raises(ServerFailed, match="no"):
            await task
        assert pool.idle == [connection]
        pool.idle.clear()
        connection.taker = session
        connection.pool.server.connections.add(connection)
        await session.release_all()
        assert connection.aborted is not None

    asyncio.run(play())


@pytest.mark.parametrize("text", [b"SET STATEMENT max_statement_time=1 FOR ", b"SET STATEMENT a=1 FOR", b"EXPLAIN"])
def test_a_statement_that_ends_where_another_should_begin(text: bytes) -> None:
    read_by = lexer(False, False, "utf8mb4")
    statement = parse(*read_by.shape(text), lexer=read_by)
    assert statement.kind is Kind.UNKNOWN
    assert statement.error


def test_another_number_of_columns_than_was_said() -> None:
    """A client that believes the number would take what follows for something else, and wait."""
    response = encode_resultset([text_column("c"), text_column("d")], [[b"x", b"y"]])
    one_less, one_more = b"\x01\0\0\x01\x01" + response[5:], b"\x01\0\0\x01\x03" + response[5:]
    for wrong in (one_less, one_more):
        with pytest.raises(ProtocolError, match="another number of columns"):
            ResponseScanner().feed(wrong, 0, [])
        with pytest.raises(ProtocolError, match="another number of columns"):
            Splitter().feed(wrong)


def told(state: bytes) -> bytes:
    """OK with session state."""
    status = (AUTOCOMMIT | SESSION_STATE_CHANGED).to_bytes(2, "little")
    return encode(b"\0\x01\0" + status + b"\0\0" + b"\0" + write_bytes(state), 1)


def variable(name: bytes, value: bytes) -> bytes:
    return b"\0" + write_bytes(write_bytes(name) + write_bytes(value))


@pytest.mark.parametrize(
    "state",
    [
        variable(b"sql mode", b""),  # no SET can give it to another connection
        variable(b"sql_mode=''; --", b""),
        variable(b"\xff", b""),
        b"\0\x05\x20ab",
        b"\x01\x02\x01\xff",
    ],
)
def test_what_a_server_tells_of_a_session_makes_no_sense(state: bytes) -> None:
    """The statement was answered; what the session's settings are is not known any more, so that it ends, and so does
    the connection. The client is told with its next command, and does not wait for ever."""

    async def play() -> None:
        client, connection = await pair()
        written: list[bytes] = []
        client.write = written.append
        client.data_received(encode(b"\x03UPDATE sbtest1 SET k=k+1 WHERE id=1", 0))
        connection.data_received(told(state))
        for _ in range(100):  # turns of the loop
            await asyncio.sleep(0)
        assert not client.session.busy
        assert written == [encode(encode_ok(1), 1)]
        assert "broke the protocol" in str(connection.aborted)
        client.data_received(encode(b"\x0e", 0))
        assert written[1][4] == 0xFF
        assert b"broke the protocol" in written[1]
        assert client.session.closed

    asyncio.run(play())


@pytest.mark.parametrize(
    "answer",
    [
        encode(encode_ok(), 1),
        encode_resultset([text_column("n")], []),
        encode_resultset([text_column("n")], [[b"1"], [b"2"]]),
        encode_resultset([text_column("n"), text_column("m")], [[b"1", b"2"]]),
        encode_resultset([text_column("n")], [[b"many"]]),
        encode_resultset([text_column("n")], [[b"1_0"]]),
        encode_resultset([text_column("n")], [[b"18446744073709551616"]]),
        encode_resultset([text_column("n")], [[b"12"]]).replace(b"\x0212", b"\x0a12"),
    ],
    ids=["ok", "no row", "two rows", "two columns", "text", "underscore", "too large", "a row cut short"],
)
def test_a_server_that_answers_our_question_with_something_else(answer: bytes) -> None:
    async def play() -> None:
        _, connection = await pair()
        asked = asyncio.ensure_future(connection.number("SELECT FOUND_ROWS() LIMIT 1"))
        await asyncio.sleep(0)
        connection.data_received(answer)
        with pytest.raises(ServerFailed, match="broke the protocol"):
            await asked
        assert connection.aborted is not None

    asyncio.run(play())


@pytest.mark.parametrize(
    "answer",
    [
        encode_resultset([text_column("outcome")], [[b"perhaps"]]),
        encode_resultset([text_column("outcome")], [[b"\xff"]]),
        encode_resultset([text_column("outcome")] * 4, [[b"x", b"2", b"many", b"4"]]),
    ],
    ids=["no decision", "no text", "another row"],
)
def test_a_server_that_answers_with_what_makes_no_sense(answer: bytes) -> None:
    async def play() -> None:
        for ask in (partial(decisions.read_rows, older_than_s=1.0), recovery.look):
            _, connection = await pair()
            asked = asyncio.ensure_future(ask(connection))
            await asyncio.sleep(0)
            connection.data_received(answer)
            with pytest.raises(ServerFailed, match="broke the protocol"):
                await asked
            assert connection.aborted is not None

    asyncio.run(play())


@pytest.mark.parametrize(
    ("said", "number"), [(b"12", 12), (b"-3", -3), (b"18446744073709551615", 2**64 - 1), (None, None)]
)
def test_a_server_that_answers_our_question(said: bytes | None, number: int | None) -> None:
    async def play() -> None:
        _, connection = await pair()
        asked = asyncio.ensure_future(connection.number("SELECT LAST_INSERT_ID() LIMIT 1"))
        await asyncio.sleep(0)
        connection.data_received(encode_resultset([text_column("n")], [[said]]))
        assert await asked == number
        refused = asyncio.ensure_future(connection.number("SELECT LAST_INSERT_ID() LIMIT 1"))
        await asyncio.sleep(0)
        connection.data_received(encode(encode_err(1317, "70100", "interrupted"), 1))
        with pytest.raises(ServerFailed, match="interrupted"):
            await refused
        assert connection.aborted is None

    asyncio.run(play())


def test_a_server_that_counts_other_parameters() -> None:
    """What is bound to one of them decides where a statement goes, so they have to be the same ones."""
    shards = 'clusters: {other: {primary: "127.0.0.1:3308"}, '
    sharding = "shardings: {by_k: {method: hash, clusters: [main, other]}}\n"
    tables = "databases: {sbtest: {tables: {sbtest1: {sharding: by_k, key: k}}, "
    rules = sharding + fast_path.RULES.replace("clusters: {", shards).replace("databases: {sbtest: {", tables)

    async def play(sql: bytes, count: int) -> bytes:
        client, connection = fast_path.make(rules, fast_path.CATALOG)
        written: list[bytes] = []
        client.write = written.append
        client.data_received(encode(b"\x16" + sql, 0))
        await asyncio.sleep(0.01)
        definition = encode(encode_column(text_column("?")), 1)
        ok = encode(b"\0\x05\0\0\0" + b"\0\0" + count.to_bytes(2, "little") + b"\0\0\0", 1)
        connection.data_received(ok + (definition * count + encode(encode_eof(), 2) if count else b""))
        await asyncio.sleep(0.01)
        return b"".join(written)

    delete = b"DELETE FROM sbtest1 WHERE k = ? AND id = ?"
    for count in (0, 1, 3):
        answer = asyncio.run(play(delete, count))
        assert b"counts %d parameters" % count in answer
    assert asyncio.run(play(delete, 2))[4] == 0
    assert asyncio.run(play(b'SELECT "\x80, ? FROM plain WHERE k = ?', 2))[4] == 0  # a text that cannot be read


@pytest.mark.parametrize("binary", [False, True])
def test_a_row_that_ends_too_early(binary: bool) -> None:
    columns = [text_column("id"), text_column("n")]
    reader = RowReader(Merge(hidden=1), columns, binary)
    with pytest.raises(ProtocolError, match="a row that cannot be read"):
        reader.read([b"\x00\x00" if binary else b""], [], [])
