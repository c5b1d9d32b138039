"""Compression on either side, alone and together, with TLS and without; what is compressed wrongly."""

from __future__ import annotations

import contextlib
import random
import subprocess
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import MySQLdb
import pytest

from tests.front.raw import (
    COM_PING,
    COM_QUERY,
    COM_STATISTICS,
    LOCAL_FILES,
    MULTI_STATEMENTS,
    Disconnected,
    Statement,
    framed,
)
from tests.network.conftest import DATABASES, PASSWORD, Network
from tests.network.packed import NumberedClient, PackedClient

pytestmark = [pytest.mark.servers, pytest.mark.xdist_group("network")]

NOISE = random.Random(7).randbytes(40_000)
BIG = 17 << 20


@pytest.fixture(params=DATABASES)
def database(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@contextlib.contextmanager
def packed(network: Network, database: str = "plain") -> Iterator[PackedClient]:
    client = PackedClient(network.proxy.port, "app", PASSWORD, database)
    with client:
        yield client


def dialogue(client: NumberedClient) -> None:
    """What every client does, in whatever way it and its server are connected."""
    assert client.run("SELECT 1").number == 1
    client.check_numbers()
    assert client.command(COM_PING).ok
    assert client.packet(COM_STATISTICS).startswith(b"Uptime")
    answer = client.query("SELECT nonsense")
    assert (answer.errno, answer.sqlstate) == (1054, "42S22")
    noise = client.run(f"SELECT x'{NOISE.hex()}', '{'a' * 40_000}'")
    assert noise.rows == ((NOISE, b"a" * 40_000),)
    rows = client.run("SELECT seq, REPEAT(seq MOD 10, 90) FROM seq_1_to_3000")
    assert rows.rows == tuple((b"%d" % n, b"%d" % (n % 10) * 90) for n in range(1, 3001))
    client.check_numbers()
    client.run("CREATE OR REPLACE TABLE t (id INT PRIMARY KEY, v LONGBLOB)")
    client.run("BEGIN", f"INSERT INTO t VALUES (1, x'{NOISE.hex()}')", "COMMIT")
    statement = client.prepare("SELECT ?, v FROM t WHERE id = ?")
    assert isinstance(statement, Statement)
    ((row,),) = client.execute(statement, "b" * 300, 1).checked().rows
    assert row is not None
    assert row.endswith(NOISE)
    assert b"b" * 300 in row
    client.check_numbers()
    assert client.run("DELETE FROM t").affected_rows == 1


def test_a_compressed_client(network: Network, database: str) -> None:
    with packed(network, database) as client:
        dialogue(client)


def test_a_plain_client(network: Network, database: str) -> None:
    with NumberedClient(network.proxy.port, "app", PASSWORD, database) as client:
        dialogue(client)


@pytest.mark.parametrize("compressed", [True, False])
def test_statements_and_results_of_more_than_a_packet(network: Network, compressed: bool) -> None:
    with (PackedClient if compressed else NumberedClient)(network.proxy.port, "app", PASSWORD, "near") as client:
        answer = client.run(f"SELECT '{'x' * BIG}' AS v")
        assert answer.value == b"x" * BIG
        client.check_numbers(2)
        assert client.run("SELECT 1").number == 1


@pytest.mark.parametrize(("extra", "frames"), [(-3, 1), (0, 2)])
def test_commands_of_two_compressed_packets(network: Network, extra: int, frames: int) -> None:
    """Their answer's first frame is numbered by the frames that the client has sent."""
    with NumberedClient(network.proxy.port, "app", PASSWORD, "near") as client:
        size = 0xFFFFFF + extra - len("\x03DO LENGTH('')")
        assert client.run(f"DO LENGTH('{'y' * size}')").ok
        client.check_numbers(frames)


def test_several_results(network: Network, database: str) -> None:
    """Servers that compress number the second result's frames by another count."""
    with contextlib.closing(network.server.admin(database)) as admin, admin.cursor() as cursor:
        cursor.execute("DROP PROCEDURE IF EXISTS several")
        body = "SELECT REPEAT('a', 30) FROM seq_1_to_2000; SELECT 2; SELECT REPEAT('c', 90) FROM seq_1_to_300"
        cursor.execute(f"CREATE PROCEDURE several() BEGIN {body}; END")
    for client in (
        PackedClient(network.proxy.port, "app", PASSWORD, database),
        NumberedClient(network.proxy.port, "app", PASSWORD, database, flags=MULTI_STATEMENTS),
    ):
        with client:
            answer = client.query("CALL several()").checked()
            results = [answer, *answer.more]
            assert [len(result.rows) for result in results] == [2000, 1, 300, 0]
            client.check_numbers()


def test_files_and_several_statements(network: Network, database: str) -> None:
    """In the middle of a command a client sends a file, longer than what is held of one that sends ahead."""
    load = "LOAD DATA LOCAL INFILE 'x' INTO TABLE f"
    for kind in (PackedClient, NumberedClient):
        with kind(network.proxy.port, "app", PASSWORD, database, flags=MULTI_STATEMENTS | LOCAL_FILES) as client:
            client.run("CREATE OR REPLACE TABLE f (n INT, t VARCHAR(90))")
            client.numbered = True
            for pieces in (150, 1, 0):
                client.file = lambda name, pieces=pieces: [b"7\t" + b"z" * 60_000 + b"\n"] * pieces
                assert client.run(load).affected_rows == pieces
            client.file = lambda name: [b"1\t" + NOISE.replace(b"\n", b"") + b"\n"]
            answer = client.run(f"DELETE FROM f; {load}; SELECT n FROM f; {load}; SELECT COUNT(*) FROM f")
            assert [answer.affected_rows, *(each.affected_rows for each in answer.more)] == [151, 1, 0, 1, 0]
            assert answer.more[-1].value == b"2"
            assert client.run("DROP TABLE f").ok


@pytest.mark.parametrize("step", [1, 3, 7, 1000])
def test_packets_that_come_in_pieces(network: Network, step: int) -> None:
    with packed(network) as client:
        client.packed.step = step
        assert client.run("SELECT 5").number == 5
        assert client.run(f"SELECT LENGTH('{'x' * 3000}')").number == 3000
        client.packed.compress = False
        assert client.run(f"SELECT LENGTH('{'y' * 2000}')").number == 2000


def test_one_command_in_several_packets_and_several_in_one(network: Network) -> None:
    with packed(network) as client:
        command = framed(bytes((COM_QUERY,)) + b"SELECT 'in pieces'")
        client.packed._sequence = 0
        client.packed.send_raw(b"".join(client.packed.packet(command[at : at + 5]) for at in range(0, len(command), 5)))
        assert client.receive().value == b"in pieces"
        client.packed._sequence = 0
        commands = [framed(bytes((COM_QUERY,)) + b"SELECT %d" % number) for number in range(3)]
        client.packed.send_raw(client.packed.packet(b"".join(commands)))
        assert [client.receive().number for _ in range(3)] == [0, 1, 2]
        assert client.run("SELECT 4").number == 4


def test_commands_that_are_sent_ahead(network: Network) -> None:
    """Each answer begins with the compressed packet that follows its own command."""
    with packed(network) as client:
        for number in range(200):
            client.send(f"SELECT {number}, REPEAT('x', 500)" if number % 3 else f"DO {number}")
        for number in range(200):
            client.packed._sequence = 1
            answer = client.receive().checked()
            assert not number % 3 or answer.rows == ((b"%d" % number, b"x" * 500),)
            client.check_numbers()


def test_change_user_and_reset(network: Network) -> None:
    with packed(network) as client:
        client.run("SET @a = 5", "BEGIN")
        client.change_user("app", PASSWORD, "near")
        assert client.run("SELECT DATABASE(), @a").rows == ((b"near", None),)
        dialogue(client)
        assert client.command(31).ok  # COM_RESET_CONNECTION
        assert client.run("SELECT 1").number == 1


def test_a_slow_reader_of_what_compresses_well(network: Network) -> None:
    """The server's 80 MB are 400 KB on the wire: they must not be inflated before the client reads them."""
    memory = network.proxy.metric("turnout_worker_memory_bytes")
    with NumberedClient(network.proxy.port, "app", PASSWORD, "near") as slow:
        slow.send("SELECT REPEAT('a', 1000000) FROM seq_1_to_80")
        with packed(network, "packed") as other:
            for _ in range(12):  # memory is told once a second
                other.run("DO SLEEP(0.1)")
        assert network.proxy.metric("turnout_worker_memory_bytes") - memory < 40 << 20
        assert sum(len(row[0] or b"") for row in slow.rows()) == 80 * 1_000_000


@pytest.mark.parametrize(
    ("wrong", "errno"),
    [
        (b"\x05\0\0\0\x64\0\0hello", 1157),  # not zlib
        (b"\x00\0\0\0\x64\0\0", 1157),
        (len(zlib.compress(b"a" * 99)).to_bytes(3, "little") + b"\0\x64\0\0" + zlib.compress(b"a" * 99), 1157),
        (b"\x05\0\0\x09\0\0\0\x01\0\0\0\x0e", 1156),  # out of turn
        (b"\x04\0\0\0\0\0\0\xff\xff\xff\0", None),  # a frame that goes on: more is awaited
    ],
)
def test_what_is_compressed_wrongly_ends_the_connection(network: Network, wrong: bytes, errno: int | None) -> None:
    with packed(network) as client:
        client.packed.send_raw(wrong)
        client.packed._sequence = (wrong[3] + 1) & 0xFF
        if errno is None:
            client.packed.plain.settimeout(0.2)
            with pytest.raises(TimeoutError):
                client.receive()
            return
        assert client.receive().errno == errno
        with pytest.raises(Disconnected):
            client.receive()
    with packed(network) as client:
        assert client.run("SELECT 1").number == 1


def test_a_bomb_costs_no_memory(network: Network) -> None:
    """50 compressed packets of 16 MB each, in 800 KB: one is inflated, and is longer than a statement may be."""
    memory = network.proxy.metric("turnout_worker_memory_bytes")
    zeros = zlib.compress(bytes(0xFFFFFF), 9)
    one = len(zeros).to_bytes(3, "little") + b"\0\xff\xff\xff" + zeros
    with packed(network) as client:
        with contextlib.suppress(ConnectionError):
            for number in range(50):
                client.packed.send_raw(one[:3] + bytes((number,)) + one[4:])
        client.packed._sequence = 1
        with contextlib.suppress(ConnectionError, Disconnected, AssertionError):
            client.receive()
    with packed(network) as client:
        assert client.run("SELECT 1").number == 1
    assert network.proxy.metric("turnout_worker_memory_bytes") - memory < 150 << 20


def test_a_file_that_is_sent_before_it_is_asked_for(network: Network) -> None:
    """As it would reach a server: what waits is the file when the request is out."""
    with contextlib.closing(PackedClient(network.proxy.port, "app", PASSWORD, "near", flags=LOCAL_FILES)) as client:
        client.run("CREATE OR REPLACE TABLE ahead (id INT PRIMARY KEY)")
        client.packed._sequence = 0
        load = client.packed.packet(framed(bytes((COM_QUERY,)) + b"LOAD DATA LOCAL INFILE 'f' INTO TABLE ahead"))
        client.packed._sequence = 2  # behind the server's request
        file = client.packed.packet(framed(b"1\n2\n", 2) + framed(b"3\n", 3)) + client.packed.packet(framed(b"", 4))
        client.packed.send_raw(load + file)
        client.packed._sequence = 1
        assert client._receive() == b"\xfbf"
        client.packed._sequence = 4
        assert client.receive().affected_rows == 3
        assert client.run("SELECT COUNT(*) FROM ahead").number == 3


@pytest.mark.parametrize(("database", "compress"), [("plain", True), ("near", True), ("near", False)])
def test_a_file_of_the_clients(network: Network, database: str, compress: bool, tmp_path: Path) -> None:
    """LOAD DATA LOCAL: more packets than there are numbers, in a direction in which nothing else is long."""
    file = tmp_path / "rows"
    file.write_text("".join(f"{number}\t{'v' * 990}\n" for number in range(18_000)))
    client = MySQLdb.connect(
        host="127.0.0.1",
        port=network.proxy.port,
        user="app",
        password=PASSWORD,
        database=database,
        compress=compress,
        local_infile=1,
        ssl_mode="DISABLED",
    )
    with contextlib.closing(client), client.cursor() as cursor:
        cursor.execute("CREATE OR REPLACE TABLE loaded (id INT PRIMARY KEY, v VARCHAR(1000))")
        for statement, rows in ((f"LOAD DATA LOCAL INFILE '{file}' INTO TABLE loaded", 18_000), ("DO 1", 0)):
            assert cursor.execute(statement) == rows
        client.commit()
        with pytest.raises(MySQLdb.ProgrammingError, match="nowhere"):
            cursor.execute(f"LOAD DATA LOCAL INFILE '{file}' INTO TABLE nowhere")
        cursor.execute("SELECT COUNT(*), SUM(id), MIN(v) = REPEAT('v', 990) FROM loaded")
        assert cursor.fetchone() == (18_000, sum(range(18_000)), 1)
        file.write_text("20000\tone more\n")
        load = f"LOAD DATA LOCAL INFILE '{file}' INTO TABLE loaded"
        cursor.execute(f"SELECT seq, REPEAT('x', 999) FROM seq_1_to_500; {load}; SELECT 7")
        assert len(cursor.fetchall()) == 500
        assert cursor.nextset()
        assert cursor.rowcount == 1
        assert cursor.nextset()
        assert cursor.fetchall() == ((7,),)


@pytest.mark.parametrize(("database", "tls"), [("plain", False), ("packed", True), ("near", True)])
def test_real_clients(network: Network, database: str, tls: bool) -> None:
    ssl = {"ca": str(network.certificate.ca)} if tls else None
    client = MySQLdb.connect(
        host="127.0.0.1",
        port=network.proxy.port,
        user="app",
        password=PASSWORD,
        database=database,
        compress=True,
        ssl=ssl,
        ssl_mode="VERIFY_CA" if tls else "DISABLED",
        local_infile=1,
    )
    with contextlib.closing(client), client.cursor() as cursor:
        cursor.execute("SELECT seq, REPEAT('z', 100) FROM seq_1_to_20000")
        assert cursor.fetchall() == tuple((n, "z" * 100) for n in range(1, 20001))
        cursor.execute("CREATE OR REPLACE TABLE real_file (n INT)")
        with tempfile.NamedTemporaryFile() as file:
            file.write(b"".join(b"%d\n" % n for n in range(100_000)))
            file.flush()
            assert cursor.execute(f"LOAD DATA LOCAL INFILE '{file.name}' INTO TABLE real_file") == 100_000
        cursor.execute("DROP TABLE real_file")
        cursor.execute("SELECT %s", ("long " * 1_000_000,))
        assert cursor.fetchone() == ("long " * 1_000_000,)
        client.change_user("app", PASSWORD, "near")
        cursor.execute("SELECT DATABASE(), REPEAT('y', 100)")
        assert cursor.fetchone() == ("near", "y" * 100)
    argv = ["mariadb", "--no-defaults", "--protocol=tcp", "--host=127.0.0.1", f"--port={network.proxy.port}"]
    argv += ["--user=app", f"--password={PASSWORD}", "--compress", "--batch", "--skip-column-names", database]
    argv += [f"--ssl-ca={network.certificate.ca}"] if tls else ["--skip-ssl"]
    shown = subprocess.run(
        [*argv, "--execute=STATUS; SELECT SUM(seq) FROM seq_1_to_100"], capture_output=True, text=True, check=True
    )
    assert "Protocol:\t\tCompressed" in shown.stdout
    assert shown.stdout.rstrip().endswith("5050")
    assert ("Cipher in use" in shown.stdout) == tls


def test_servers_are_talked_to_compressed(network: Network) -> None:
    """`Compression` is the server's own word for the connection."""
    found = {}
    for database in DATABASES:
        with network.proxy.connect("app", PASSWORD, database) as client, client.cursor() as cursor:
            cursor.execute("SHOW STATUS WHERE Variable_name IN ('Compression', 'Ssl_version')")
            found[database] = dict(cursor.fetchall())
    assert {name: status["Compression"] for name, status in found.items()} == {
        "plain": "OFF",
        "packed": "ON",
        "near": "ON",
    }
    assert bool(found["packed"]["Ssl_version"])
    assert not found["plain"]["Ssl_version"]
