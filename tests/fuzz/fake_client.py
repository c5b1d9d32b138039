"""One client: a login, and commands of every kind, some of them wrong. It knows which answers it may get."""

from __future__ import annotations

import asyncio
import random
import re
from collections import deque
from dataclasses import dataclass, field
from itertools import count

from proxy.front.client import Client
from proxy.front.listener import Listener
from proxy.wire import auth, frames
from proxy.wire import capability as cap
from proxy.wire import command as com
from proxy.wire.compression import CompressedReader, compressed
from proxy.wire.file_packets import file_packets
from proxy.wire.frames import FrameReader
from proxy.wire.handshake import NATIVE, ChangeUser, Greeting, HandshakeResponse
from tests.fuzz.answers import Answer, Malformed, Mode
from tests.fuzz.campaign import Finding
from tests.fuzz.fake_cluster import TAG
from tests.fuzz.transfers import WRITES, Transfer
from tests.fuzz.transfers import End as Ended
from tests.fuzz.virtual import End
from tests.wire.fuzz_wire import cut, mutate

USER, PASSWORD = "app", b"app"
_TRANSACTION = re.compile(rb"'[0-9a-f]{24}'")  # an id of Turnout's, in whose digits a tag may be found
PATIENCE_S = 600.0  # longer than everything that anybody may wait for

CAPABILITIES = (
    cap.PROTOCOL_41
    | cap.SECURE_CONNECTION
    | cap.PLUGIN_AUTH
    | cap.LONG_PASSWORD
    | cap.LONG_FLAG
    | cap.TRANSACTIONS
    | cap.LOCAL_FILES
    | cap.CONNECT_WITH_DB
    | cap.MULTI_RESULTS
    | cap.PS_MULTI_RESULTS
)
# `%d` is a number that no other statement has: servers repeat the statement in its rows.
READS = (
    "SELECT c FROM plain_t WHERE id = %d",
    "SELECT c FROM plain_t WHERE id = %d",
    "SELECT c FROM spread_t WHERE id = %d",
    "SELECT c FROM spread_t WHERE id = %d",
    "SELECT c FROM spread_t WHERE v = %d",
    "SELECT c FROM spread_t WHERE id IN (1, 2, 3, %d)",
    "SELECT c FROM away_t WHERE id = %d",
    "SELECT c FROM plain_t WHERE id = %d FOR UPDATE",
    "SELECT GET_LOCK('x', %d)",
    "SELECT SQL_CALC_FOUND_ROWS c FROM plain_t WHERE v = %d LIMIT 1",
    "SHOW TABLES LIKE '%d'",
    "/*!50000 SELECT %d */",
    "SELECT 1; SELECT %d",
    "SELECT @a, %d",
    "SET STATEMENT max_statement_time=1 FOR SELECT c FROM plain_t WHERE id = %d",
)
OTHERS = (
    *("BEGIN", "BEGIN", "COMMIT", "COMMIT", "ROLLBACK", "SAVEPOINT a", "ROLLBACK TO a", "START TRANSACTION READ ONLY"),
    *("SET autocommit=0", "SET autocommit=1", "SET NAMES latin1", "SET NAMES utf8mb4", "SET sql_mode='ANSI_QUOTES'"),
    *("SET sql_mode=''", "SET @a = %d", "SET @a = (SELECT %d)", "USE shop", "USE `nosuch`", "SHOW WARNINGS"),
    *("SELECT LAST_INSERT_ID()", "SELECT FOUND_ROWS()", "SELECT ROW_COUNT()", "SELECT CONNECTION_ID()", "", ";", "--"),
    *("INSERT INTO plain_t VALUES (%d, 'x')", "INSERT INTO spread_t (id, c) VALUES (%d, 'x')"),
    *("INSERT INTO spread_t (id, c) VALUES (1, 'x'), (2, 'y'), (%d, 'z')", "UPDATE spread_t SET c = 'y' WHERE v = %d"),
    *("UPDATE plain_t SET c = 'y' WHERE id = %d", "DELETE FROM spread_t WHERE id = %d", "DELETE FROM away_t"),
    *("PREPARE p FROM 'SELECT %d'", "EXECUTE p", "DEALLOCATE PREPARE p", "CREATE TEMPORARY TABLE q (id INT)"),
    *(
        "XA START 'x'",
        "XA END 'x'",
        "XA PREPARE 'x'",
        "XA COMMIT 'x'",
        "CALL p(%d)",
        "CALL p(%d)",
        "CALL p(%d)",
        "XYZZY %d",
        "SHOW TURNOUT SHAPES",
    ),
    *("SELECT COUNT(*) FROM spread_t", "SELECT c FROM spread_t ORDER BY c", "LOCK TABLES plain_t WRITE"),
    *("LOAD DATA LOCAL INFILE 'x' INTO TABLE plain_t", "LOAD DATA LOCAL INFILE 'x' INTO TABLE spread_t (id, c)"),
    *("DELETE FROM plain_t WHERE id = %d; SELECT 1", "TURNOUT EXPLAIN SELECT %d", "SELECT 'unclosed %d", "/* open %d"),
)
BOUND = (
    "SELECT c FROM plain_t WHERE id = ? AND v <> %d",
    "SELECT c FROM spread_t WHERE id = ? AND v <> %d",
    "SELECT c FROM spread_t WHERE v = ? AND v <> %d",
    "SELECT c FROM away_t WHERE v <> %d",
    "INSERT INTO plain_t VALUES (?, '%d')",
    "UPDATE spread_t SET c = '%d' WHERE id = ?",
    "BEGIN",
    "SELECT LAST_INSERT_ID()",
)


@dataclass(frozen=True, slots=True)
class Asked:
    """A command that was sent. `tag`: what its rows have to repeat; `prepares`: this text is what it prepares."""

    payload: bytes
    mode: Mode = Mode.RESULTS
    tag: bytes = b""
    prepares: str = ""
    answered: bool = True


@dataclass(slots=True)
class Round:
    """What clients of one round share. `honest`: servers never send anything that is wrong."""

    listener: Listener
    honest: bool
    wild: float  # share of commands that are changed
    writing: float  # share of transactions that are looked for afterwards, among single commands
    tags: count[int]
    commands: int = 0
    answers: int = 0
    refused: int = 0
    transfers: list[Transfer] = field(default_factory=list)


class Over(Exception):
    """The proxy has closed the connection."""


class FakeClient:
    """See the module."""

    def __init__(self, together: Round, rng: random.Random) -> None:
        self._round = together
        self._rng = rng
        self._client = Client(together.listener)
        self.end = End(self._client, "127.0.0.1")
        self._client.connection_made(self.end)
        self._reader = FrameReader(1 << 26)
        self._zip: CompressedReader | None = None
        self._packets: list[tuple[bytes, int]] = []
        self._scramble = b""
        self._flags = 0
        self._prepared: list[tuple[int, str, bytes]] = []
        self._opened: list[int] = []  # statements that have had a cursor
        self._tags: set[bytes] = set()
        self._said: deque[bytes] = deque(maxlen=12)  # what was sent of late, for whoever looks at a finding

    async def run(self) -> None:
        try:
            await self._login()
            for _ in range(self._rng.randrange(25)):
                await (self._transfer() if self._rng.random() < self._round.writing else self._some())
        except Over:
            pass
        except Finding as finding:
            raise Finding(f"{finding} (behind {b', '.join(self._said)!r}, flags {self._flags:#x})") from finding
        finally:
            if self._rng.random() < 0.5:
                self._write(b"\x01\0\0\0\x01")
            self.end.hang_up()

    # -- bytes -------------------------------------------------------------------------------------------------------

    def _write(self, data: bytes) -> None:
        if self._zip is not None:
            data, _ = compressed(data, 0)
        for piece in cut(data, self._rng) if self._rng.random() < 0.2 else [data]:
            self.end.deliver(piece)

    async def _packet(self) -> tuple[bytes, int]:
        """The next packet. Raises Over."""
        while not self._packets:
            if self._rng.random() < 0.02:
                self.end.stall(True)
                await asyncio.sleep(self._rng.random())
                self.end.stall(False)
            try:
                async with asyncio.timeout(PATIENCE_S):
                    data = await self.end.received()
            except TimeoutError:
                raise Finding(f"no answer after {PATIENCE_S:.0f} s") from None
            if not data:
                raise Over
            if self._zip is None:
                self._packets += self._reader.feed(data)
                continue
            self._zip.append(data)
            while (clear := self._zip.read()) is not None:
                self._packets += self._reader.feed(clear)
        return self._packets.pop(0)

    # -- login -------------------------------------------------------------------------------------------------------

    async def _login(self) -> None:
        rng = self._rng
        payload, _ = await self._packet()
        if payload[:1] == b"\xff":
            raise Over
        greeting = Greeting.parse(payload)
        self._scramble = greeting.scramble
        self._flags = CAPABILITIES | cap.CONNECT_ATTRS
        self._flags |= cap.MULTI_STATEMENTS if rng.random() < 0.5 else 0
        self._flags |= cap.FOUND_ROWS if rng.random() < 0.2 else 0
        self._flags |= cap.COMPRESS if rng.random() < 0.2 else 0
        proof = auth.native_response(PASSWORD, greeting.scramble)
        database = rng.choice((b"shop", b"shop", b"shop", b"nosuch"))
        response = HandshakeResponse(self._flags, 1 << 24, 45, USER.encode(), proof, database, NATIVE, {b"a": b"b"})
        data = response.encode()
        if rng.random() < self._round.wild:
            data = mutate(data, rng)
        if rng.random() < self._round.wild / 4:  # it goes on as if it were in
            self._write(frames.encode(self._ask().payload, 0))
            await asyncio.sleep(rng.random())
            raise Over
        self._write(frames.encode(data, 1))
        if rng.random() < 0.05:
            raise Over
        if rng.random() < self._round.wild:  # commands that come before the login's answer
            self._write(frames.encode(b"\x0e", 0))
            await asyncio.sleep(rng.random())
            raise Over
        payload, _ = await self._packet()
        if payload[:1] != b"\0" or int.from_bytes(data[:4], "little") != self._flags:  # what it said was changed
            raise Over
        if self._flags & cap.COMPRESS:
            self._zip = CompressedReader()

    async def _change_user(self) -> None:
        proof = auth.native_response(PASSWORD if self._rng.random() < 0.8 else b"wrong", self._scramble)
        change = ChangeUser(USER.encode(), proof, b"shop", 45, NATIVE, {b"a": b"b"}).encode(self._flags)
        if self._rng.random() < self._round.wild:
            change = change[:1] + mutate(change[1:], self._rng)
        self._write(frames.encode(change, 0))
        for _ in range(3):
            payload, sequence = await self._packet()
            if payload[:1] != b"\xfe":
                break
            scramble = payload[payload.find(b"\0") + 1 :].rstrip(b"\0")
            proof = auth.native_response(PASSWORD, scramble) if len(scramble) == 20 else b""
            self._write(frames.encode(proof, sequence + 1))
        self._prepared.clear()
        self._opened.clear()

    # -- commands ----------------------------------------------------------------------------------------------------

    async def _some(self) -> None:
        """A command, or several at once, and their answers."""
        rng = self._rng
        if rng.random() < 0.03:
            await self._change_user()
            return
        asked = [self._ask() for _ in range(rng.choice((1, 1, 1, 1, 2, 5)))]
        if any(each.mode is Mode.LOAD for each in asked):
            asked = asked[:1]
        self._round.commands += len(asked)
        data = b"".join(frames.encode(each.payload, 0) for each in asked)
        if rng.random() < self._round.wild / 3:  # what is sent cannot be taken apart
            data = mutate(data, rng)
            self._write(data)
            await asyncio.sleep(rng.choice((0, 0.1, 30)))
            raise Over
        if self._zip is None or rng.random() < 0.2:
            self._write(data)
        else:
            for each in asked:
                self._write(frames.encode(each.payload, 0))
        if rng.random() < 0.02:
            raise Over  # it goes while its statement runs
        for each in asked:
            self._said.append(each.payload[:80])
            if each.answered:
                await self._answer(each)
        if rng.random() < 0.1:
            await asyncio.sleep(rng.choice((0.01, 1, 20)))

    async def _transfer(self) -> None:
        """A transaction whose writes are looked for afterwards."""
        rng = self._rng
        transfer = Transfer()
        if not await self._told("BEGIN", transfer):
            return
        self._round.transfers.append(transfer)
        verb = "COMMIT" if rng.random() < 0.8 else "ROLLBACK"
        for template in rng.choices(WRITES, k=rng.choice((1, 2, 3, 4))):
            text, tag = self._text(template)
            transfer.tags.append(tag)
            if not await self._told(text.decode(), transfer):
                verb = "ROLLBACK"
                break
        if verb == "COMMIT":
            transfer.end = Ended.ONE_OF_THE_TWO
            if await self._told(verb, transfer):
                transfer.end = Ended.COMMITTED
            elif "rolled back on all clusters" in transfer.told:
                transfer.end = Ended.ROLLED_BACK
        elif not await self._told(verb, transfer):  # it is still open: the next transaction may commit it
            transfer.end = Ended.ONE_OF_THE_TWO

    async def _told(self, text: str, transfer: Transfer) -> bool:
        """Ask for something in a transaction; whether it was done."""
        asked = Asked(b"\x03" + text.encode())
        self._round.commands += 1
        self._said.append(asked.payload[:80])
        self._write(frames.encode(asked.payload, 0))
        error = await self._answer(asked)
        transfer.told = error.decode("utf-8", "replace")
        return not error

    def _text(self, template: str) -> tuple[bytes, bytes]:
        tag = b"77%08d" % next(self._round.tags)
        self._tags.add(tag)
        return template.replace("%d", tag.decode()).encode(), tag

    def _ask(self) -> Asked:
        rng = self._rng
        asked = self._ask_right()
        if rng.random() >= self._round.wild or len(asked.payload) < 2:
            return asked
        payload = asked.payload[:1] + mutate(asked.payload[1:], rng)
        if rng.random() < 0.1:
            payload = bytes([rng.choice([*range(0x02, 0x20), 0xFA, 0xFE, 0xFF])]) + payload[1:]
            if payload[0] == com.COM_CHANGE_USER:
                payload = b"\x0e"
        self._tags.update(TAG.findall(payload))
        mode = {
            com.COM_QUERY: Mode.LOAD,
            com.COM_STMT_EXECUTE: Mode.CURSOR if payload[5:6] > b"\0" and payload[5] & 1 else Mode.RESULTS,
            com.COM_STMT_FETCH: Mode.ROWS,
            com.COM_STMT_PREPARE: Mode.PREPARED,
            com.COM_FIELD_LIST: Mode.COLUMNS,
            com.COM_STATISTICS: Mode.PACKET,
            com.COM_SET_OPTION: Mode.PACKET,
        }
        answered = payload[0] not in (com.COM_STMT_CLOSE, com.COM_STMT_SEND_LONG_DATA)
        return Asked(payload[: 1 << 20], mode.get(payload[0], Mode.RESULTS), answered=answered)

    def _ask_right(self) -> Asked:
        rng = self._rng
        kind = rng.random()
        if self._opened and rng.random() < 0.3:
            head = rng.choice(self._opened).to_bytes(4, "little")
            return Asked(b"\x1c" + head + rng.choice((b"\1", b"\2", b"\xff")) + b"\0\0\0", Mode.ROWS)
        if kind < 0.4:
            template = rng.choice(READS)
            text, tag = self._text(template)
            several = template.startswith("SELECT 1;")
            return Asked(b"\x03" + text, tag=b"" if several else tag)
        if kind < 0.6:
            text, _ = self._text(rng.choice(OTHERS))
            return Asked(b"\x03" + text, Mode.LOAD if text.startswith(b"LOAD") else Mode.RESULTS)
        if kind < 0.7 or (kind < 0.9 and not self._prepared):
            template = rng.choice(BOUND)
            text, tag = self._text(template)
            return Asked(b"\x16" + text, Mode.PREPARED, tag, prepares=template)
        if kind < 0.9:
            number, template, tag = rng.choice(self._prepared)
            head = number.to_bytes(4, "little")
            if rng.random() < 0.1:
                return Asked(b"\x19" + head, answered=False)
            if rng.random() < 0.1 and "?" in template:
                return Asked(b"\x18" + head + b"\0\0" + rng.randbytes(30), answered=False)
            if rng.random() < 0.1:
                return Asked(b"\x1a" + head)
            if rng.random() < 0.2:
                return Asked(b"\x1c" + head + rng.choice((b"\0", b"\1", b"\xff")) + b"\0\0\0", Mode.ROWS)
            head += b"\1" if rng.random() < 0.3 else b"\0"
            bound = b"\0\1\x08\0" + rng.randrange(1000).to_bytes(8, "little") if "?" in template else b""
            tag = tag if template.startswith("SELECT c") else b""
            return Asked(b"\x17" + head + b"\1\0\0\0" + bound, Mode.CURSOR if head[4] else Mode.RESULTS, tag)
        others = (
            Asked(b"\x0e"),
            Asked(b"\x02shop"),
            Asked(b"\x02nosuch"),
            Asked(b"\x04plain_t\0", Mode.COLUMNS),
            Asked(b"\x09", Mode.PACKET),
            Asked(b"\x0c" + rng.choice((1, 1 << 30, self._client.connection_id - 64)).to_bytes(4, "little")),
            Asked(b"\x1b" + rng.choice((b"\0\0", b"\1\0", b"\2\0")), Mode.PACKET),
            Asked(b"\x1f"),
            Asked(bytes([rng.choice((0x05, 0x08, 0x0B, 0x1D, 0xFA, 0xFE))])),
            Asked(b"\x17\xff\xff\xff\xff\0\1\0\0\0"),
            Asked(b"\x03KILL %d" % (self._client.connection_id - rng.choice((0, 64, 128)))),
            Asked(b"\x03KILL QUERY %d" % (self._client.connection_id - rng.choice((64, 128)))),
        )
        return rng.choice(others)

    # -- answers -----------------------------------------------------------------------------------------------------

    async def _answer(self, asked: Asked) -> bytes:
        """Read the whole answer to a command and look at it; the error in it. Raises Over and Finding."""
        answer = Answer(asked.mode)
        seen: list[bytes] = []
        due = 1
        while True:
            try:
                payload, sequence = await self._packet()
            except Finding as finding:
                raise Finding(f"{asked.payload[:300]!r}: {finding}") from None
            if self._round.honest and sequence != due & 0xFF:
                raise Finding(f"{asked.payload[:300]!r}: packet {sequence} where {due} is due: {payload[:300]!r}")
            due = sequence + 1
            seen.append(payload)
            try:
                ended = answer.feed(payload)
            except Malformed as malformed:
                if self._round.honest:
                    raise Finding(f"{asked.payload[:300]!r}: {malformed}: {payload[:300]!r}") from None
                raise Over from None  # what its server has said
            if answer.wants_file:
                contents = self._rng.randbytes(self._rng.randrange(200))
                packets, due = file_packets(contents, due) if contents else (b"", due)
                self._write(packets + file_packets(b"", due)[0])
                due += 1
            elif ended:
                break
        self._round.answers += 1
        self._check(asked, answer, b"".join(seen))
        if answer.errno:
            self._round.refused += 1
        elif asked.prepares:
            self._prepared.append((answer.statement_id, asked.prepares, asked.tag))
        elif asked.mode is Mode.CURSOR and answer.has_cursor:
            self._opened.append(int.from_bytes(asked.payload[1:5], "little"))
        if asked.payload[:1] == b"\x1f":
            self._prepared.clear()
            self._opened.clear()
        return answer.error

    def _check(self, asked: Asked, answer: Answer, data: bytes) -> None:
        if not self._round.honest:
            return
        others = set(TAG.findall(_TRANSACTION.sub(b"", data))) - self._tags
        if others:
            raise Finding(f"{asked.payload[:300]!r} is told somebody else's: {data[:300]!r}")
        if asked.tag and asked.mode is Mode.RESULTS and not answer.errno and asked.tag not in data:
            raise Finding(f"{asked.payload[:300]!r} has the answer to something else: {data[:300]!r}")
        if b"mistake of its own" in data:
            raise Finding(f"{asked.payload[:300]!r}: {data[:300]!r}")
