"""Reads of four shards with small answers, as bytes: what each server is asked, what it says, what the client gets."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import pytest

from bench.fast_path import FakeTransport
from bench.spread_path import SHARDS, make
from proxy.back.connection import ServerConnection
from proxy.errors import ProtocolError
from proxy.front.merge_whole import payloads_of
from proxy.wire.column import LONG, LONGLONG, NEWDECIMAL, VAR_STRING, ColumnDefinition
from proxy.wire.frames import FrameReader, encode
from proxy.wire.packets import encode_err, encode_ok
from proxy.wire.resultset import encode_resultset

POINT = "SELECT id, n, name FROM big WHERE id = 7"
Row = list[bytes | None]


class Wire(FakeTransport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.out = b""
        self.aborted = False

    def write(self, data: Any) -> None:
        self.out += bytes(data)

    def abort(self) -> None:
        self.aborted = True

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


def column(name: str, kind: int = LONG, table: bytes = b"big", decimals: int = 0) -> ColumnDefinition:
    charset = 45 if kind == VAR_STRING else 63
    database = b"wide" if table else b""
    return ColumnDefinition(b"def", database, table, table, name.encode(), b"", charset, 11, kind, 0, decimals)


COLUMNS = [column("id"), column("n"), column("name", VAR_STRING)]


def rows(*found: Row, columns: Sequence[ColumnDefinition] = COLUMNS, status: int = 2, warnings: int = 0) -> bytes:
    return encode_resultset(columns, found, status, warnings)


class Play:
    """One client of four shards. Connections are known by their shards' numbers."""

    def __init__(self) -> None:
        self.client, self.servers = make(Wire)
        assert self.client.session is not None
        self.session = self.client.session
        self.taken()

    def ask(self, sql: str = POINT) -> None:
        self.client.data_received(encode(b"\x03" + sql.encode(), 0))

    def answer(self, number: int, data: bytes) -> None:
        self.servers[number].data_received(data)

    async def answered(self, sql: str, answers: Sequence[bytes], order: Sequence[int] = (0, 1, 2, 3)) -> bytes:
        """What the client gets where all answer, each in one piece; no task is needed for that."""
        self.ask(sql)
        for number in order:
            assert self.session.task is None
            self.answer(number, answers[number])
        assert self.session.task is None
        assert not self.session.busy
        return self.taken()

    async def streamed(self, sql: str, answers: Sequence[bytes]) -> bytes:
        """The same where the first answer comes in two pieces: from then on a task merges streams."""
        self.ask(sql)
        self.answer(0, answers[0][:-3])
        assert self.session.task is not None
        self.answer(0, answers[0][-3:])
        for number in range(1, len(answers)):
            self.answer(number, answers[number])
        await self.settled()
        return self.taken()

    async def settled(self) -> None:
        for _ in range(50):
            await asyncio.sleep(0)
        assert not self.session.busy

    def taken(self) -> bytes:
        """What the client was sent since the last time."""
        wire: Any = self.client.transport
        out, wire.out = wire.out, b""
        return bytes(out)

    def asked(self, number: int) -> bytes:
        wire: Any = self.servers[number].transport
        out, wire.out = wire.out, b""
        return bytes(out)

    def idle(self, connection: ServerConnection) -> bool:
        return connection.pool is not None and connection in connection.pool.idle


def play(dialogue: Callable[[Play], Coroutine[Any, Any, None]]) -> None:
    async def run() -> None:
        async with asyncio.timeout(20):
            await dialogue(Play())

    asyncio.run(run())


def test_rows_of_all_shards_are_one_answer() -> None:
    async def dialogue(it: Play) -> None:
        found: list[list[Row]] = [
            [[b"7", None, b"a"]],
            [],
            [[b"7", b"2", b"b"], [b"7", b"3", b"c"]],
            [[b"7", b"4", b"d"]],
        ]
        whole = rows(*itertools.chain(*found))
        for order in itertools.permutations(range(4)):
            assert await it.answered(POINT, [rows(*each) for each in found], order) == whole
        assert await it.streamed(POINT, [rows(*each) for each in found]) == whole
        assert it.session.found_rows == 4
        for number, connection in enumerate(it.servers):
            assert it.asked(number) == encode(b"\x03" + POINT.encode(), 0) * 25
            assert it.idle(connection)
        stats = it.session.plans[it.session.lexer.shape(POINT.encode())[0]].stats
        assert (stats.count, stats.rows, stats.sent_bytes, stats.errors) == (25, 100, 25 * len(whole), 0)

    play(dialogue)


def test_numbers_of_packets_go_on_over_255() -> None:
    async def dialogue(it: Play) -> None:
        found: list[list[Row]] = [
            [[b"%d" % n, b"1", b"x" * (n % 90)] for n in range(shard, 1200, 4)] for shard in range(4)
        ]
        answers = [rows(*each) for each in found]
        assert await it.answered(POINT, answers) == rows(*itertools.chain(*found))
        assert await it.streamed(POINT, answers) == rows(*itertools.chain(*found))

    play(dialogue)


NUMBERS = [column("id"), column("n")]
SUMS = [column("COUNT(*)", LONGLONG, b""), column("SUM(n)", NEWDECIMAL, b""), column("MAX(n)", LONG, b"")]
GROUPS = [column("n"), column("COUNT(*)", LONGLONG, b""), column("SUM(id)", NEWDECIMAL, b"")]
NAMES = [column("name", VAR_STRING), column("turnout_0", VAR_STRING, b""), column("turnout_1", VAR_STRING, b"")]


def weighed(*names: bytes | None) -> list[Row]:
    """Rows of a string, its WEIGHT_STRING and its collation."""
    found: list[Row] = []
    for name in names:
        found.append([name, name and b"".join(b"\0%c" % c for c in name.upper()), name and b"utf8mb4_unicode_ci"])
    return found


MERGED: dict[str, tuple[str, list[ColumnDefinition], list[list[Row]], list[Row]]] = {
    "sorted": (
        "SELECT id, n FROM big WHERE id < 20 ORDER BY n DESC, id",
        NUMBERS,
        [[[b"4", b"9"], [b"1", None]], [], [[b"2", b"12"], [b"5", b"9"], [b"6", b"-1"]], [[b"3", b"9"]]],
        [[b"2", b"12"], [b"3", b"9"], [b"4", b"9"], [b"5", b"9"], [b"6", b"-1"], [b"1", None]],
    ),
    "limited": (
        "SELECT id, n FROM big WHERE id < 20 ORDER BY id LIMIT 2 OFFSET 1",
        NUMBERS,
        [[[b"4", b"9"], [b"10", None]], [], [[b"2", b"12"]], [[b"3", b"9"], [b"7", b"0"]]],
        [[b"3", b"9"], [b"4", b"9"]],
    ),
    "distinct": (
        "SELECT DISTINCT n FROM big",
        [column("n")],
        [[[None], [b"1"], [b"10"]], [[b"1"], [b"2"]], [], [[None], [b"10"]]],
        [[None], [b"1"], [b"2"], [b"10"]],
    ),
    "limited alone": (
        "SELECT id, n FROM big WHERE id < 20 LIMIT 3",
        NUMBERS,
        [[[b"4", b"9"]], [], [[b"2", b"12"]], [[b"3", b"9"], [b"7", b"0"]]],
        [[b"4", b"9"], [b"2", b"12"], [b"3", b"9"]],
    ),
    "aggregates": (
        "SELECT COUNT(*), SUM(n), MAX(n) FROM big",
        SUMS,
        [[[b"0", None, None]], [[b"2", b"12", b"7"]], [[b"1", b"-5", b"-5"]], [[b"9", b"100", b"50"]]],
        [[b"12", b"107", b"50"]],
    ),
    "groups": (
        "SELECT n, COUNT(*), SUM(id) FROM big GROUP BY n ORDER BY n LIMIT 2",
        GROUPS,
        [[[b"1", b"2", b"30"], [b"3", b"1", b"8"]], [], [[b"2", b"1", b"4"]], [[b"1", b"1", b"5"], [b"2", b"2", b"6"]]],
        [[b"1", b"3", b"35"], [b"2", b"3", b"10"]],
    ),
    "groups by their sums": (
        "SELECT n, COUNT(*), SUM(id) FROM big GROUP BY n HAVING COUNT(*) > 1 ORDER BY COUNT(*) DESC",
        [*GROUPS, column("turnout_0", LONGLONG, b"")],
        [
            [[b"1", b"2", b"30", b"2"], [b"3", b"1", b"8", b"1"]],
            [],
            [[b"2", b"1", b"4", b"1"]],
            [[b"1", b"1", b"5", b"1"], [b"2", b"9", b"6", b"9"]],
        ],
        [[b"2", b"10", b"10"], [b"1", b"3", b"35"]],
    ),
    "strings": (
        "SELECT name FROM big ORDER BY name",
        NAMES,
        [weighed(b"b", b"D"), weighed(None, b"a"), [], weighed(b"C")],
        [[None], [b"a"], [b"b"], [b"C"], [b"D"]],
    ),
}


@pytest.mark.parametrize("name", MERGED)
def test_rows_are_merged_as_streams_are(name: str) -> None:
    sql, columns, found, expected = MERGED[name]

    async def dialogue(it: Play) -> None:
        answers = [rows(*each, columns=columns) for each in found]
        whole = rows(*expected, columns=[each for each in columns if b"turnout_" not in each.name])
        if name == "limited alone":  # the last one is not waited for where the others have enough
            assert await it.answered(sql, answers, (1, 3, 0, 2)) == whole
        else:
            assert await it.answered(sql, answers) == whole
            assert await it.answered(sql, answers, (3, 1, 0, 2)) == whole
        assert it.session.found_rows == (None if "OFFSET" in sql else len(expected))
        assert await it.streamed(sql, answers) == whole
        assert all(map(it.idle, it.servers))

    play(dialogue)


def test_what_is_merged_follows_the_literals() -> None:
    """How a shape is merged is made once for the same LIMIT, but not for another."""
    answers = [rows([b"%d" % n, b"1"], [b"%d" % (n + 4), b"1"], columns=NUMBERS) for n in range(4)]

    async def dialogue(it: Play) -> None:
        for limit, offset in ((1, 0), (3, 2), (1, 0), (8, 0), (3, 2), (0, 0), (100, 7)):
            sql = f"SELECT id, n FROM big WHERE id > {limit} ORDER BY id LIMIT {offset}, {limit}"
            expected: list[Row] = [[b"%d" % n, b"1"] for n in range(8)][offset : offset + limit]
            assert await it.answered(sql, answers) == rows(*expected, columns=NUMBERS), sql
            assert it.asked(3).endswith(b"LIMIT %d" % (offset + limit if limit else 0))

    play(dialogue)


def errors(data: bytes) -> list[int]:
    """The error numbers of an answer that ends with one."""
    packets = FrameReader(1 << 24).feed(data)
    return [int.from_bytes(payload[1:3], "little") for payload, _ in packets if payload[:1] == b"\xff"]


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (2, 0, 1, 3), (3, 2, 1, 0)])
def test_an_error_of_one_shard_is_the_answer(order: tuple[int, ...]) -> None:
    async def dialogue(it: Play) -> None:
        answers = [rows(), rows(), encode(encode_err(1146, "42S02", "no such table"), 1), rows()]
        for _ in range(2):
            it.ask()
            for number in order:
                it.answer(number, answers[number])
            await it.settled()
            assert errors(it.taken()) == [1146]
            assert it.session.warning_count == 1
            assert all(map(it.idle, it.servers))

    play(dialogue)


@pytest.mark.parametrize("before", [0, 1, 3])
def test_a_lost_connection_is_an_error(before: int) -> None:
    async def dialogue(it: Play) -> None:
        it.ask()
        for number in range(before):
            it.answer(number, rows())
        it.servers[3].connection_lost(None)
        for number in range(before, 3):
            it.answer(number, rows())
        await it.settled()
        assert errors(it.taken()) == [1158]
        assert [it.idle(each) for each in it.servers] == [True, True, True, False]
        it.ask("SELECT id, n, name FROM big WHERE k = 1")  # of one shard alone: the session goes on
        assert it.session.busy

    play(dialogue)


def test_warnings_are_asked_for() -> None:
    shown = [column("Level", VAR_STRING), column("Code", LONGLONG), column("Message", VAR_STRING)]

    async def dialogue(it: Play) -> None:
        it.ask()
        for number in range(4):
            it.answer(number, rows([b"7", b"1", b"a"], warnings=1) if number == 1 else rows())
        for _ in range(20):
            await asyncio.sleep(0)
        assert it.asked(1).endswith(b"SHOW WARNINGS")
        it.answer(1, rows([b"Warning", b"1292", b"hm"], columns=shown))
        await it.settled()
        assert it.session.warning_count == 1
        assert it.session.diagnostics is not None
        assert b"hm" in it.session.diagnostics
        assert it.taken() == rows([b"7", b"1", b"a"], warnings=1)

    play(dialogue)


def test_columns_that_differ_are_looked_at() -> None:
    """A difference that depends on how a server went about it is none, another one is an error."""
    odd = [*COLUMNS[:2], ColumnDefinition(b"def", b"wide", b"big", b"big", b"name", b"", 45, 11, VAR_STRING, 16, 0)]
    other = [*COLUMNS[:2], column("name", LONG)]

    async def dialogue(it: Play) -> None:
        for columns, failed in ((odd, []), (other, [1105])):
            for _ in range(2):
                it.ask()
                for number in range(4):
                    it.answer(number, rows([b"7", b"1", b"1"], columns=columns if number == 2 else COLUMNS))
                await it.settled()
                assert errors(it.taken()) == failed

    play(dialogue)


def test_who_has_gone_gets_nothing() -> None:
    async def dialogue(it: Play) -> None:
        it.ask()
        it.answer(0, rows())
        it.client.connection_lost(None)
        for number, connection in enumerate(it.servers):
            wire: Any = connection.transport
            assert wire.aborted
            if number:
                it.answer(number, rows([b"7", b"1", b"a"]))  # it was on its way
            connection.connection_lost(None)
        await asyncio.sleep(0)
        assert it.taken() == b""
        assert it.session.task is None
        assert not any(each.pool is not None and each.pool.idle for each in it.servers)

    play(dialogue)


def test_a_killed_statement_runs_where_it_has_not_ended() -> None:
    async def dialogue(it: Play) -> None:
        it.ask()
        assert it.session.running_connections() == it.servers
        it.answer(1, rows())
        assert it.session.running_connections() == [it.servers[0], *it.servers[2:]]
        for number in (0, 2, 3):
            it.answer(number, encode(encode_err(1317, "70100", "interrupted"), 1))
        await it.settled()
        assert errors(it.taken()) == [1317]
        assert it.session.spread == []

    play(dialogue)


def test_a_transaction_keeps_its_connections() -> None:
    async def dialogue(it: Play) -> None:
        it.ask("BEGIN")
        it.taken()
        it.ask()
        assert it.session.task is not None  # the connections join
        for _ in range(20):
            await asyncio.sleep(0)
        for number in range(4):
            it.answer(number, encode(encode_ok(status=3), 1) + rows(status=3))
        await it.settled()
        it.taken()
        assert list(it.session.held) == list(SHARDS)
        answers = [rows([b"7", b"%d" % n, b"a"], status=3) for n in range(4)]
        whole = rows(*[[b"7", b"%d" % n, b"a"] for n in range(4)], status=3)
        assert await it.answered(POINT, answers) == whole
        assert list(it.session.held) == list(SHARDS)
        assert not any(map(it.idle, it.servers))

    play(dialogue)


def test_a_shard_that_is_not_free_is_waited_for() -> None:
    """Nothing is sent to the others before, and their connections stay where they are."""

    async def dialogue(it: Play) -> None:
        pool = it.servers[2].pool
        assert pool is not None
        pool.idle.clear()
        pool.server.limit = 1
        it.ask()
        for _ in range(20):
            await asyncio.sleep(0)
        assert it.session.waiting
        assert [it.asked(number) for number in range(4)] == [b""] * 4
        pool.release(it.servers[2])
        for _ in range(20):
            await asyncio.sleep(0)
        for number in range(4):
            assert it.asked(number) == encode(b"\x03" + POINT.encode(), 0)
            it.answer(number, rows())
        await it.settled()
        assert it.taken() == rows()
        assert all(map(it.idle, it.servers))

    play(dialogue)


def test_answers_that_break_the_protocol_are_refused() -> None:
    async def dialogue(it: Play) -> None:
        for wrong in (rows()[:-9] + b"\x03\0\0\7\xfe\0\0", rows()[:-9] + b"\1\0\0\7\xfe"):
            it.ask()
            for number in range(4):
                it.answer(number, wrong if number == 1 else rows())
            await it.settled()
            it.taken()

    play(dialogue)
    whole = rows([b"1", b"2", b"3"])
    head = whole[: whole.index(b"\xfe", 100) + 1] if b"\xfe" in whole[100:] else b""
    assert payloads_of(whole, head) == [b"\x011\x012\x013"]
    for data in (whole[:-1], whole[: len(head) + 2], b"x" + whole, whole[:-9] + whole[-8:]):
        with pytest.raises(ProtocolError):
            payloads_of(data, head)
