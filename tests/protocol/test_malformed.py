"""What breaks the protocol: the client is told or dismissed, and nobody else notices."""

from __future__ import annotations

import contextlib
import random
import socket
import struct
from collections.abc import Iterator

import pytest

from tests.front import raw
from tests.front.raw import Answer, Client, Statement, framed
from tests.protocol.both import ENDED, Both
from tests.protocol.conftest import Connect
from tests.servers import MariaDB, Turnout
from tests.servers.shop import APP

pytestmark = pytest.mark.servers
DEADLINE_S = 10.0


# -- logging in


def _response() -> bytes:
    """A login that is whole, with a wrong password."""
    flags = raw.BASE | raw.CONNECT_WITH_DB
    head = struct.pack("<IIB23x", flags, 1 << 24, 45)
    return head + APP.encode() + b"\0" + bytes((20,)) + b"p" * 20 + b"protocol\0" + b"mysql_native_password\0"


def _broken_logins() -> Iterator[tuple[str, bytes]]:
    whole = _response()
    for size in (0, 1, 3, 4, 31, 32, 33, len(APP) + 32, len(APP) + 40, len(whole) - 25):
        yield f"the first {size} bytes of a login", framed(whole[:size], 1)
    yield "a login whose proof is longer than its packet", framed(whole.replace(b"\x14ppp", b"\xfappp"), 1)
    yield "a login out of order", framed(whole, 5)
    yield "a login that is its own greeting", framed(b"\x0a5.5.5\0" + bytes(60), 1)
    yield "an old login", framed(struct.pack("<HHB", 0x85, 0, 0) + b"app\0", 1)
    yield "an error packet", framed(b"\xff\x15\x04#28000no", 1)
    yield "another protocol", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
    yield "a packet of 16 MB", b"\xff\xff\xff\x01" + b"x" * 100_000
    yield "TLS without its request", bytes.fromhex("16030100c8010000c40303") + bytes(200)
    rng = random.Random(5)
    for n in range(5):
        yield f"noise {n}", framed(rng.randbytes(rng.randrange(1, 300)), 1)


def _what_comes(port: int, sent: bytes) -> bytes:
    """What is answered to bytes sent after the greeting, up to the end of the connection, which comes soon."""
    with socket.create_connection(("127.0.0.1", port), DEADLINE_S) as connection:
        greeting = connection.recv(4096)
        assert greeting[4] == 10
        connection.sendall(sent)
        with contextlib.suppress(OSError):  # it has been hung up on already
            connection.shutdown(socket.SHUT_WR)  # a client that has no more to say, which is then not waited for
        found = b""
        try:
            while data := connection.recv(65536):
                found += data
        except ConnectionResetError:
            pass
        return found


@pytest.mark.parametrize(
    ("what", "sent"), list(_broken_logins()), ids=lambda value: value if isinstance(value, str) else ""
)
def test_logins_that_are_broken(proxy: Turnout, connect: Connect, what: str, sent: bytes) -> None:
    neighbour = connect()
    answer = _what_comes(proxy.port, sent)
    assert answer == b"" or answer[4] in (0xFF, 0xFE), (what, answer)  # an error, or the question for another proof
    if answer and answer[4] == 0xFF:
        assert int.from_bytes(answer[5:7], "little") in (1043, 1045, 1153, 1156, 1251), (what, answer)
    assert neighbour.run("SELECT 1").number == 1


# -- prepared statements

_NUMBER, _TEXT, _MOMENT = raw.LONGLONG, raw.VAR_STRING, 12
SELECT = "SELECT ?, ?, ? FROM items WHERE id = 1"


def _execution(number: int) -> bytes:
    types = bytes((_NUMBER, 0, _TEXT, 0, _MOMENT, 0))
    values = struct.pack("<q", 5) + b"\x05fives" + struct.pack("<BHBBBBBI", 11, 2024, 2, 29, 10, 0, 0, 5)
    return struct.pack("<IBI", number, 0, 1) + b"\0\1" + types + values


def test_a_wrong_id(both: Both) -> None:
    for number in (0, 1, 77, 0x7FFFFFFF):
        head = number.to_bytes(4, "little")
        for code, argument in (
            (raw.COM_STMT_EXECUTE, head + b"\0\1\0\0\0"),
            (raw.COM_STMT_RESET, head),
        ):
            assert both.command(code, argument, binary=True).errno == 1243
    made = both.prepare("SELECT id FROM items WHERE id = ?")
    made.close()
    for client, statement in ((both.ours, made.ours), (both.theirs, made.theirs)):
        assert client.execute(statement, 1).errno == 1243
    both.run("SELECT 1")


def test_parameters_cut_short(both: Both) -> None:
    """Every byte is missed: the server, which gets it as it is, takes what is left or refuses it, and the connection
    stays."""
    made = both.prepare(SELECT)
    whole = _execution(0)
    for size in range(4, len(whole) + 1):
        answer = made.each(
            f"{size} bytes", lambda client, statement, size=size: _executed(client, statement, whole[4:size])
        )  # type: ignore[misc]
        assert answer.errno in ((1210, 1105, 1047, 1835, 0) if size < len(whole) else (0,))
        assert both.query("SELECT 1").number == 1


def test_parameters_cut_short_over_several_shards(connect: Connect) -> None:
    """Where values are looked at here, none is made up."""
    client = connect()
    made = client.prepare(SELECT.replace("items WHERE id = 1", "spread WHERE id < 9"))
    assert isinstance(made, Statement)
    whole = _execution(made.id)
    for size in range(len(whole)):
        answer = client.command(raw.COM_STMT_EXECUTE, whole[:size], binary=True)
        assert answer.errno in (1210, 1243, 1835), (size, answer)
        assert client.query("SELECT 1").number == 1, size
    assert client.command(raw.COM_STMT_EXECUTE, whole, binary=True).checked().rows


def _executed(client: Client, statement: Statement, rest: bytes) -> Answer:
    return client.command(raw.COM_STMT_EXECUTE, statement.id.to_bytes(4, "little") + rest, binary=True)


LENGTHS = (
    b"\xfd\xff\xff\xff",
    b"\xfd\x00\x00\x10",
    b"\xfe" + (1 << 63).to_bytes(8, "little"),
    b"\xfe" + ((1 << 64) - 1).to_bytes(8, "little"),
    b"\xfe" + (0xFFFFFF + 1000).to_bytes(8, "little"),
    b"\xfc\xff",
    b"\xfb",
    b"\xff",
)


@pytest.mark.parametrize("size", [10, 0xFFFFFF + 5])
def test_a_length_that_is_wrong(both: Both, size: int) -> None:
    """Of a value that is in one packet, or goes on in a second one."""
    made = both.prepare("SELECT LENGTH(?) FROM items WHERE id = 1")
    head = struct.pack("<BI", 0, 1) + b"\0\1" + bytes((_TEXT, 0))
    for length in LENGTHS if size < 100 else LENGTHS[::3]:
        bound = head + length + b"x" * size
        made.each(length.hex(), lambda client, statement, bound=bound: _executed(client, statement, bound))  # type: ignore[misc]
        assert made.execute("x" * 10).rows
        assert both.query("SELECT 1").number == 1


@pytest.mark.parametrize("size", [10, 0xFFFFFF + 5])
def test_a_length_that_is_wrong_over_several_shards(connect: Connect, size: int) -> None:
    client = connect()
    made = client.prepare("SELECT LENGTH(?) FROM spread WHERE id < 9")
    assert isinstance(made, Statement)
    head = struct.pack("<IBI", made.id, 0, 1) + b"\0\1" + bytes((_TEXT, 0))
    for length in LENGTHS if size < 100 else LENGTHS[::3]:
        assert client.command(raw.COM_STMT_EXECUTE, head + length + b"x" * size, binary=True).errno in (1210, 1835)
        assert client.query("SELECT 1").number == 1
    right = b"\xfe" + size.to_bytes(8, "little")
    assert len(client.command(raw.COM_STMT_EXECUTE, head + right + b"x" * size, binary=True).checked().rows) == 8


@pytest.mark.parametrize("kind", [0x40, 17, 19, 0xF0])
def test_types_that_do_not_exist(connect: Connect, kind: int) -> None:
    client = connect()
    for sql in ("SELECT ? FROM items WHERE id = 1", "SELECT ? FROM spread WHERE id < 9"):
        made = client.prepare(sql)
        assert isinstance(made, Statement)
        bound = struct.pack("<IBI", made.id, 0, 1) + b"\0\1" + bytes((kind, 0)) + b"\x01x"
        assert client.command(raw.COM_STMT_EXECUTE, bound, binary=True).errno
        assert client.execute(made, 5).checked().rows


# -- other commands


@pytest.mark.parametrize(
    ("code", "argument"),
    [
        (raw.COM_STMT_EXECUTE, b""),
        (raw.COM_STMT_EXECUTE, b"\1\0\0"),
        (raw.COM_STMT_RESET, b""),
        (raw.COM_STMT_RESET, b"\1"),
        (raw.COM_PROCESS_KILL, b""),
        (raw.COM_SET_OPTION, b""),
        (raw.COM_SET_OPTION, b"\x07\0"),
        (raw.COM_INIT_DB, b""),
        (0x1C, b""),  # COM_STMT_FETCH
        (0x1C, b"\1\0\0\0\1\0\0\0"),
        (0x77, b""),
        (0x00, b""),  # COM_SLEEP
        (0x0B, b""),  # COM_CONNECT
        (0xFA, b"\1\0\0\0"),  # COM_STMT_BULK_EXECUTE
    ],
)
def test_commands_without_what_belongs_to_them(connect: Connect, code: int, argument: bytes) -> None:
    client = connect()
    assert client.command(code, argument).errno
    assert client.query("SELECT 1").number == 1


def test_commands_without_an_answer(connect: Connect) -> None:
    """Broken ones have none either."""
    client = connect()
    for payload in (b"\x19", b"\x19\1\0", b"\x18", b"\x18\1\0\0\0", b"\x18" + bytes(10)):
        client.socket.sendall(framed(payload))
    assert client.query("SELECT 1").number == 1


def test_an_empty_packet(both: Both) -> None:
    def ask(client: Client) -> Answer:
        client.socket.sendall(framed(b""))
        return client.receive()

    answer = both.same("an empty packet", ask)
    assert answer == ENDED or answer.errno
    # as after every command


def test_a_packet_out_of_order(proxy: Turnout, server: MariaDB, connect: Connect) -> None:
    """A part of a large statement with a wrong number ends the connection; other sessions go on."""
    neighbour = connect()
    client = connect()
    part = b"\x03SELECT '" + b"x" * (0xFFFFFF - 9)
    client.socket.sendall(len(part).to_bytes(3, "little") + b"\0" + part)
    client.socket.sendall(b"\x02\0\0\x07x'")
    answer = client.receive()
    assert answer.errno in (1156, 1835), answer
    assert neighbour.run("SELECT 1").number == 1
