"""LOAD DATA LOCAL into tables of one server: every answer is that of the server itself, and whoever fails in the middle
of a file, the client's next statement gets its own answer."""

from __future__ import annotations

import contextlib

import pytest

from tests.front import raw
from tests.front.raw import Client, Disconnected, framed
from tests.load.place import Pair, Place
from tests.servers.process import wait_until
from tests.servers.shop import DATABASE

LOAD = "LOAD DATA LOCAL INFILE '/nonexistent/file' INTO TABLE "
CSV = " FIELDS TERMINATED BY ',' OPTIONALLY ENCLOSED BY '\"' LINES TERMINATED BY '\\r\\n'"
COMMANDS = (
    ("photos", b"10\t1\t2\tten\t2024-02-03\n11\t\\N\t3\televen\t\\N\n"),
    ("photos (k, n, title)", b"1\t2\tx\n3\t4\ty\n"),  # ids are made by the server
    ("photos (k, n, title)", b""),
    ("photos (k, n, title)", b"1\n1\t2\tz\tmore\nabc\t\\N\ttoo long a title for thirty characters\n"),  # warnings
    ("photos" + CSV + " IGNORE 1 LINES (id, title)", b'id,title\r\n20,"a ""b"", c"\r\n21,plain\r\n'),
    ("photos", b"1\t1\t1\tagain\t\\N\n30\t1\t1\tnew\t\\N\n"),  # a duplicate key
    ("users (name, @x, n) SET n = @x + 1", b"dan\t5\t1\neve\t6\t2\nada\t1\t1\n"),
    ("users CHARACTER SET latin1 (name)", b"M\xfcller\n"),
    ("users (nosuch)", b"1\n"),
    ("nosuch", b"1\n"),
    ("photos FIELDS ENCLOSED BY 'xx'", b"1\n"),
)


def test_every_answer_is_the_servers(pair: Pair) -> None:
    for rest, file in COMMANDS:
        for sql in (LOAD + rest, LOAD.replace("INTO", "REPLACE INTO") + rest):
            pair.same(sql, file)
            for about in ("SHOW WARNINGS", "SELECT ROW_COUNT()", "SELECT LAST_INSERT_ID()", "SELECT @@warning_count"):
                pair.same(about)
            pair.same("SELECT @x")
    pair.compare("users", "photos")


def test_in_a_transaction(pair: Pair) -> None:
    for verb in ("ROLLBACK", "COMMIT"):
        pair.same("BEGIN")
        pair.same(LOAD + "photos (k)", b"1\n2\n")
        pair.same("SELECT COUNT(*) FROM photos")
        pair.same(LOAD + "photos (nosuch)", b"1\n2\n")
        pair.same("INSERT INTO photos (k) VALUES (3)")
        pair.same(verb)
        pair.same("SELECT k, n FROM photos")
    pair.same("SET autocommit = 0")
    pair.same(LOAD + "photos (k)", b"8\n")
    pair.same("ROLLBACK")
    pair.same("SELECT k, n FROM photos")


def test_packets_of_every_size(pair: Pair) -> None:
    """An empty line, pieces that end anywhere, and packets around 16 MB, of which a full one goes on in the next."""
    pair.same(LOAD + "users (name)", [b"a", b"\n", b"\nb\nc", b"c\n"])
    pair.compare("users")
    lines = b"".join(b"%d\t1\t1\tt%d\t\\N\n" % (n, n) for n in range(100, 3000))
    comment = b"x" * 1000 + b"\n"
    for size in (0xFFFFFF, 0xFFFFFF - 1, 0xFFFFFF + 1):
        filler = (comment * (size // len(comment)))[: size - len(lines)]
        sql = LOAD + f"photos IGNORE {filler.count(10)} LINES"
        file = filler[: filler.rindex(10) + 1] + b"x" * (len(filler) - filler.rindex(10) - 1) + lines
        answer = pair.client.query
        pair.send([file])
        assert pair.client.query(sql).checked().affected_rows >= 2899
        assert answer("SELECT COUNT(*) FROM photos WHERE id >= 100 AND id < 3000").number >= 2899
        pair.client.run("DELETE FROM photos WHERE id >= 100")


def test_without_the_capability_the_server_says_no(place: Place, pair: Pair) -> None:
    with place.pair(0) as without:
        assert without.same(LOAD + "photos", b"1\n").errno
        assert without.same("SELECT 1").ok


def test_no_file_of_the_proxys_is_read(place: Place, pair: Pair) -> None:
    """The name is the client's business: this one exists where Turnout runs."""
    pair.client.file = lambda name: [b"77\t1\t1\t" + name[:30] + b"\t\\N\n"]
    pair.client.run("LOAD DATA LOCAL INFILE '/etc/hostname' INTO TABLE photos")
    assert pair.client.query("SELECT title FROM photos WHERE id = 77").value == b"/etc/hostname"


def test_a_server_that_asks_for_a_file_unasked_gets_none(place: Place, pair: Pair) -> None:
    meddler = place.meddler
    asked: list[bytes] = []

    def file(name: bytes) -> list[bytes]:
        asked.append(name)
        return [b"secret\n"]

    pair.client.file = file
    for sql in ("SELECT title, 'a file please' FROM parcels", "INSERT INTO parcels (title) VALUES ('a file please')"):
        meddler.said, meddler.answer = b"a file please", framed(b"\xfb/etc/passwd", 1)
        answer = pair.client.query(sql)
        assert "asked for a file" in answer.message, answer
        assert "far" in answer.message
        meddler.calm()
        assert pair.client.query("SELECT COUNT(*) FROM parcels").number == 1
    meddler.said, meddler.answer = b"a file please", framed(b"\xfb/etc/passwd", 1)
    statement = pair.client.prepare("SELECT title, 'a file please', ? FROM parcels")
    if isinstance(statement, raw.Statement):
        answer = pair.client.execute(statement, 1)
    else:
        answer = statement
    assert "asked for a file" in answer.message or "something else" in answer.message, answer
    assert asked == []


def test_a_server_that_is_lost_in_the_middle_of_a_file(place: Place, pair: Pair) -> None:
    meddler, client = place.meddler, pair.client
    line = b"1\t" + b"x" * 100 + b"\n"
    for held in (False, True):
        if held:
            client.run("BEGIN", "INSERT INTO parcels (title) VALUES ('before')")
        meddler.said, meddler.take = b"LOAD DATA LOCAL", 200_000
        client.file = lambda name: [line * 6000] * 30  # more than buffers on the way hold
        answer = client.query(LOAD + "parcels (k, title)")
        assert answer.errno in (1158, 1159), answer
        assert "far" in answer.message
        meddler.calm()
        if held:  # its transaction is lost, and nothing may run outside of it
            with pytest.raises((Disconnected, ConnectionError)):
                client.query("SELECT 1")
        else:
            assert client.query("SELECT 42").number == 42
            client.file = lambda name: [line * 600]
            assert client.query(LOAD + "parcels (k, title)").affected_rows == 600
            client.run("DELETE FROM parcels")


def test_a_server_that_answers_before_it_has_the_file(place: Place, pair: Pair) -> None:
    """None does, unless it is going away: the client gets the answer when it is done, and the connection is not used
    again."""
    meddler, client = place.meddler, pair.client
    error = framed(b"\xff\x15\x04#28000Access denied", 2)
    meddler.said, meddler.answer = b"LOAD DATA LOCAL", framed(b"\xfb/x", 1)
    meddler.take = 10 << 20
    sent: list[int] = []

    def file(name: bytes) -> list[bytes]:
        sent.append(len(name))
        return [b"1\tx\n" * 1000] * 20

    client.file = file
    meddler.answer += error
    answer = client.query(LOAD + "parcels (k, title)")
    assert answer.errno in (1045, 1158), answer
    meddler.calm()
    assert client.query("SELECT 43").number == 43
    assert client.query("SELECT COUNT(*) FROM parcels").number == 1


def test_a_client_that_vanishes_in_the_middle_of_a_file(place: Place, pair: Pair) -> None:
    """Its connection to the server is closed, so that nothing else comes behind half a file."""
    other = place.client()
    ours = place.servers["media"]
    before = ours.execute("SELECT COUNT(*) FROM photos", database=DATABASE)[0][0]
    other.send(LOAD + "photos (k, n, title)")
    assert other._receive()[:1] == b"\xfb"
    other._send(b"1\t1\t1")
    other.abort()

    def gone() -> bool:
        rows = ours.execute("SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE INFO LIKE 'LOAD DATA LOCAL%'")
        return bool(rows[0][0] == 0)

    wait_until(gone, 20)
    direct = Client(place.mirror.port, pair.client.user, pair.client.password, DATABASE, flags=raw.LOCAL_FILES)
    direct.send(LOAD + "photos (k, n, title)")
    assert direct._receive()[:1] == b"\xfb"
    direct._send(b"1\t1\t1")
    direct.abort()
    after = ours.execute("SELECT COUNT(*) FROM photos", database=DATABASE)[0][0]
    assert after in (before, before + 1)  # a server takes the end of the connection for the file's, as it always did
    assert pair.client.query("SELECT 1").number == 1


def test_packets_out_of_order_end_the_connection(place: Place, pair: Pair) -> None:
    other = place.client()
    other.numbered = False
    other.send(LOAD + "photos")
    assert other._receive()[:1] == b"\xfb"
    other.socket.sendall(framed(b"1\n", 9))
    assert raw._err(other._receive()).errno == 1156
    with pytest.raises((Disconnected, ConnectionError)):
        other._receive()
    other.abort()
    assert pair.client.query("SELECT COUNT(*) FROM photos").number == 3


def test_a_slow_server_makes_the_client_wait(place: Place, pair: Pair) -> None:
    """What the client may send before the server takes it is bounded, and all of it arrives in the end."""
    meddler = place.meddler
    meddler.said = b"LOAD DATA LOCAL"
    meddler.stall.set()
    memory = place.memory()
    other = place.client()
    other.send(LOAD + "parcels (k, title)")
    meddler.stall.clear()
    assert other._receive()[:1] == b"\xfb"
    meddler.stall.set()
    line = b"1\t" + b"y" * 150 + b"\n"
    chunk = line * 400
    other.socket.settimeout(0.5)
    sent = 0
    pending = b""
    with contextlib.suppress(TimeoutError):
        while sent < 256 << 20:
            if not pending:
                pending = framed(chunk, other._sequence + 1)
                other._sequence = (other._sequence + 1) & 0xFF
            n = other.socket.send(pending)
            pending = pending[n:]
            sent += n
    assert sent < 64 << 20
    assert place.memory() - memory < 24 << 20
    meddler.stall.clear()
    other.socket.settimeout(60)
    other.socket.sendall(pending)
    other._send(b"")
    answer = raw._ok(other._receive())
    other.close()
    assert answer.affected_rows == pair.client.query("SELECT COUNT(*) - 1 FROM parcels").number
    assert answer.affected_rows * len(line) >= sent - len(chunk)


def test_kill_ends_it(place: Place, pair: Pair) -> None:
    other = place.client()
    other.send(LOAD + "photos (k, n, title)")
    assert other._receive()[:1] == b"\xfb"
    pair.client.run(f"KILL QUERY {other.id}")
    other._send(b"1\t1\t1\n" * 10)
    other._send(b"")
    packet = other._receive()
    assert packet[:1] == b"\x00" or packet[:3] == b"\xff\x25\x05", packet  # it was too late, or 1317
    assert other.query("SELECT 5").number == 5
    other.send(LOAD + "photos (k, n, title)")
    assert other._receive()[:1] == b"\xfb"
    pair.client.run(f"KILL {other.id}")
    other.socket.settimeout(20)
    with pytest.raises((Disconnected, ConnectionError)):
        other._receive()
    other.abort()


def test_what_is_loaded_is_marked_in_the_cache(place: Place, pair: Pair) -> None:
    client = pair.client
    asking = "SELECT title FROM photos WHERE id = 7"
    hits = lambda: place.proxy.metric("turnout_cache_hits_total")  # noqa: E731

    def cached() -> bool:
        before = hits()
        client.run(asking)
        return hits() > before

    wait_until(cached, 30)
    for title in (b"other", b"third"):
        pair.send(b"7\t1\t1\t" + title + b"\t\\N\n")
        client.run(LOAD.replace("INTO", "REPLACE INTO") + "photos")
        assert client.query(asking).value == title
    client.run("BEGIN")
    client.run(LOAD.replace("INTO", "REPLACE INTO") + "photos", "COMMIT")
    assert client.query(asking).value == b"third"


def test_prepared(pair: Pair) -> None:
    """MariaDB takes it as a prepared statement, too."""
    for sql in (LOAD + "photos (k, n)", LOAD + "parts (k, part)"):
        pair.send(b"60\t1\n61\t2\n")
        answers = []
        for client in pair.both:
            statement = client.prepare(sql)
            assert isinstance(statement, raw.Statement)
            answers.append([str(client.execute(statement)) for _ in range(2)])
        assert answers[0] == answers[1]
    answers = []
    for client in pair.both:
        statement = client.prepare(LOAD + "photos (k) SET n = ?, title = ?")
        assert isinstance(statement, raw.Statement)
        answers.append([str(client.execute(statement, n, "it's")) for n in (5, 6)])
    assert answers[0] == answers[1]
    for table in ("photos (k, n)", "parts (k, part)"):
        pair.same(f'PREPARE p FROM "{LOAD}{table}"')
        pair.same("EXECUTE p", b"62\t1\n63\t2\n")
    pair.same("DEALLOCATE PREPARE p")
    pair.same("SELECT k, n FROM photos")
    pair.compare("parts")
