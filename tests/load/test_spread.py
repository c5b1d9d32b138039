"""LOAD DATA LOCAL into tables on several clusters: what one server with all the rows makes of the same file."""

from __future__ import annotations

import random
import re

from tests.front import raw
from tests.load.place import FAR, Pair, Place
from tests.servers.process import wait_until
from tests.servers.shop import DATABASE

LOAD = "LOAD DATA LOCAL INFILE 'x' INTO TABLE "
CSV = " FIELDS TERMINATED BY ',' OPTIONALLY ENCLOSED BY '\"' LINES TERMINATED BY '\\r\\n'"
CASES = (
    ("parts", b"".join(b"%d\t%d\t%d\t%d.5\t2024-01-01 10:00:00\ts%d\n" % (n, n, n, n, n) for n in range(10, 60))),
    ("parts", b""),
    # With REPLACE the first bad line is an error, on whichever shard it is; without, all are warnings.
    ("parts (k, part, n)", b"".join(b"%d\t1\t%s\n" % (n, b"7" if n < 130 else b"bad") for n in range(100, 140))),
    ("parts", b"10\t1\t\\N\t\\N\t\\N\t\\N"),  # no end of line
    # Warnings, whose rows are counted over the whole file; short and long lines; values that are cut.
    (
        "parts",
        b"11\t1\tx\n12\t1\t1\t2\t\\N\ts\tmore\tstill more\n13\t1\t1\t1e99\tnot a time\t" + b"long" * 9 + b"\n14\t1",
    ),
    ("parts", b"1\t1\t9\t9\t\\N\tagain\n50\t1\t1\t1\t\\N\tnew\n2\t1\t9\t9\t\\N\tagain\n"),  # duplicates
    ("parts (part, k)", b'1\t41\n2\t42\textra "fields"\n3\t043\n4\t-44\n'),
    (
        "parts" + CSV + " IGNORE 2 LINES (k, part, s)",
        b'head\r\nk,"p",s\r\n61,1,"a ""b"",\r\nc"\r\n"62",1,\\N\r\n63,1,NULL\r\n',
    ),
    ("parts (k, @x, part, @y) SET n = @x + 1, s = CONCAT('s', @y)", b"71\t1\t1\tx\n72\t2\t2\ty\n73\t3\n"),
    ("parts CHARACTER SET latin1 (k, part, s)", b"81\t1\tM\xfcller\n82\t1\t\xdf\n"),
    ("parts CHARACTER SET binary (k, part, s)", b"83\t1\tM\xc3\xbc\n"),
    ("parts FIELDS ESCAPED BY '' (k, part, s)", b"84\t1\t\\N\n85\t1\ta\\b\n"),
    (
        "parts FIELDS TERMINATED BY '||' ENCLOSED BY \"'\" ESCAPED BY '^' LINES TERMINATED BY ';' (k, part, s)",
        b"86||1||'a;b';'87'||1||^;^N;88||1||'x^'y'",
    ),
    ("words", "ANT\t2\tx\nbee\t1\ty\nÜber\t1\tz\n".encode()[:14]),
    ("words (w, n)", b"cat \t1\nCAT\t2\ndog\t1\n"),
    ("words FIELDS ENCLOSED BY '\"' (w, n)", b'"e ""l"" k"\t1\n"e\\"k"\t2\n'),
    ("kinds", b"2\ttwo\n3\tthree\n1\tagain\n4"),
    ("kinds IGNORE 1 LINES (kind, i)", b"head\nten\t10\neleven\t11\tmore\n"),
    ("numbered IGNORE 1 LINES", b"x\n5\tfive\n6\tsix\n"),
    ("boxes", b"".join(b"%d\t7\t%s\n" % (n, b"z" * 150) for n in range(2000))),
    ("nosuch", b"1\n"),
    ("parts (k, nosuch)", b"1\t2\n"),
)


def test_as_one_server_does_it(place: Place, pair: Pair) -> None:
    for rest, file in CASES:
        table = rest.split()[0]
        for verb in ("INTO", "REPLACE INTO", "IGNORE INTO"):
            cut = [file[i : i + 7] for i in range(0, len(file), 7)] if len(file) < 3000 else [file]
            pair.same(LOAD.replace("INTO", verb) + rest, cut)
            if table != "boxes":  # of 2000 duplicates, any 64
                pair.same("SHOW WARNINGS")
            pair.same("SHOW COUNT(*) WARNINGS")
            pair.same("SELECT ROW_COUNT()")
        if table != "nosuch":
            pair.compare(table)
    place.check_places()


def test_ids_are_made(place: Place, pair: Pair) -> None:
    """Ids of Turnout's own, in the order of lines; LAST_INSERT_ID() is the first of those that are there."""
    for rest, file in (
        ("orders (k, n, title)", b"".join(b"%d\t%d\tt%d\n" % (n, n, n) for n in range(300))),
        ("orders", b"\\N\t5\t5\tfive\n0\t6\t6\tsix\n\\N\t7\t\\N\t\\N\n"),
        ("counted", b"\\N\t1\ta\n0\t2\tb\n\\N\t3\tc\td\n"),
        ("counted (s, n)", b"a\t4\nb\t5"),
        ("counted (n, id, s)", b"6\t\\N\tx\n"),
        ("orders" + CSV + " (k, title)", b'8,"a,b"\r\n9\r\n'),
    ):
        table = rest.split()[0]
        key = "k, n, title" if table == "orders" else "n, s"
        before = pair.client.query(f"SELECT COALESCE(MAX(id), 0) FROM {table}").number
        pair.same(LOAD + rest, file)
        first = pair.client.query("SELECT LAST_INSERT_ID()").number
        pair.mirror.run(f"SELECT MIN(id) INTO @first FROM {table}")
        ours, theirs = (c.query(f"SELECT {key} FROM {table} ORDER BY id").checked().rows for c in pair.both)
        assert ours == theirs
        assert first == pair.client.query(f"SELECT MIN(id) FROM {table} WHERE id > {before}").number
        assert pair.mirror.query("SELECT LAST_INSERT_ID() > 0").number == 1
    assert pair.client.query("SELECT COUNT(DISTINCT id) = COUNT(*) FROM counted").number == 1
    place.check_places()


def test_ids_of_the_files_own(pair: Pair) -> None:
    """A table whose key is the id: its own are kept, duplicates are passed over, and later ids are not the same."""
    pair.same(LOAD + "counted", b"1000\t1\ta\n1001\t2\tb\n\\N\t3\tc\n1000\t4\td\n", ids=False)
    assert pair.client.query("SELECT COUNT(*) FROM counted").number == 3
    pair.client.run("INSERT INTO counted (n) VALUES (9), (9)")
    assert pair.client.query("SELECT COUNT(DISTINCT id) FROM counted").number == 5
    pair.refused(LOAD + "orders", "another shard", b"\\N\t1\t1\tx\n77\t2\t2\ty\n")
    pair.refused(LOAD + "counted", "no whole number", b"x7\t1\ta\n")
    assert pair.client.query("SELECT COUNT(*) FROM orders").number == 0


REFUSED = (
    ("parts", b"5\t1\t1\t1\t\\N\tx\n\\N\t1\t1\t1\t\\N\ty\n", "Line 2"),
    ("parts", b"5\t1\nabc\t1\n", "Line 2"),
    ("parts", b"5.0\t1\n", "Line 1"),
    ("parts", b"99999999999\t1\n", "Line 1"),
    ("parts (part, k)", b"5\n", "Line 1"),
    ("words", "ä\t1\tx\n".encode(), "Line 1"),
    ("numbered", b"5\tfive\n\\N\tsix\n", "Line 2"),
    ("numbered", b"0\tfive\n", "Line 1"),
    ("parts (k)", b"5\t\xc3\n6\t1\n", "no utf8mb4"),
)


def test_lines_that_have_no_certain_place(pair: Pair) -> None:
    """Nothing of the file is loaded, and the connection goes on."""
    for rest, file, word in REFUSED:
        pair.refused(LOAD + rest, word, file)
        if rest == "parts":
            pair.refused(LOAD + rest, "Line 4", b"".join(b"%d\t1\n" % n for n in range(100, 140)) + file)
    pair.compare()
    pair.client.run("BEGIN", "INSERT INTO parts (k, part) VALUES (500, 1)")
    for rest, file, word in REFUSED:
        pair.refused(LOAD + rest, "Line" if rest == "parts" else word, b"600\t1\n" * (rest == "parts") + file)
    pair.client.run("INSERT INTO parts (k, part) VALUES (501, 1)", "COMMIT")
    assert pair.client.query("SELECT COUNT(*) FROM parts WHERE k >= 500").number == 2


def loading(place: Place) -> int:
    """How many servers of `parts` are in the middle of a file."""
    asking = "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE INFO LIKE 'LOAD DATA LOCAL%'"
    return sum(place.servers[name].execute(asking)[0][0] for name in ("shard0", FAR, "media"))


def test_an_answer_comes_when_the_client_has_sent_its_file(place: Place, pair: Pair) -> None:
    """However long ago the reason for it is."""
    other = place.client()
    other.send(LOAD + "parts")
    assert other._receive()[:1] == b"\xfb"
    wait_until(lambda: loading(place) == 3, 20)
    other._send(b"abc\t1\n")
    wait_until(lambda: not loading(place), 20)
    other._send(b"5\t1\n")
    other._send(b"")
    assert raw._err(other._receive()).errno == 1235
    assert other.query("SELECT COUNT(*) FROM parts").number == 3
    other.close()


def test_transactions(pair: Pair) -> None:
    file = b"".join(b"%d\t1\t1\t1\t\\N\tt\n" % n for n in range(20, 40))
    for end in ("ROLLBACK", "COMMIT"):
        pair.same("BEGIN")
        pair.same("INSERT INTO parts (k, part) VALUES (300, 1)")
        pair.same("INSERT INTO users (name) VALUES ('before')")
        pair.same(LOAD + "parts", file)
        pair.same("SELECT COUNT(*), SUM(k) FROM parts")
        pair.same(LOAD + "parts (k, nosuch)", file)
        pair.same("SELECT COUNT(*) FROM parts")
        pair.same(end)
        pair.compare("parts")
    pair.same("SET autocommit = 0")
    pair.same(LOAD.replace("INTO", "REPLACE INTO") + "parts", file)
    pair.same("ROLLBACK")
    pair.compare("parts")


def test_a_shard_that_is_lost_in_the_middle(place: Place, pair: Pair) -> None:
    """Nothing stays on the other; the client gets rid of its file first."""
    file = b"".join(b"%d\t1\t%s\n" % (n, b"w" * 9_000) for n in range(100, 2_100))  # more than buffers on the way hold
    meddler, client = place.meddler, pair.client
    meddler.said, meddler.take = b"LOAD DATA LOCAL", 300_000
    pair.send([file[i : i + 16_000] for i in range(0, len(file), 16_000)])
    answer = client.query(LOAD + "boxes")
    assert answer.errno in (1158, 1159), answer
    meddler.calm()
    other = place.client()
    assert other.query("SELECT COUNT(*) FROM boxes").number == 2
    other.file = lambda name: [b"".join(b"%d\t1\tw\n" % n for n in range(100, 200))]
    assert other.query(LOAD + "boxes").affected_rows == 100
    assert other.query("SELECT COUNT(*) FROM boxes").number == 102
    other.close()


def test_a_slow_shard_makes_the_client_wait(place: Place, pair: Pair) -> None:
    meddler = place.meddler
    memory = place.memory()
    other = place.client()
    meddler.said = b"LOAD DATA LOCAL"
    other.send(LOAD + "boxes")
    assert other._receive()[:1] == b"\xfb"
    meddler.stall.set()
    other.socket.settimeout(0.5)
    sent, number = 0, 1000
    pending = b""
    try:
        while sent < 256 << 20:
            if not pending:
                lines = b"".join(b"%d\t1\t%s\n" % (n, b"v" * 150) for n in range(number, number + 400))
                number += 400
                pending = raw.framed(lines, other._sequence + 1)
                other._sequence = (other._sequence + 1) & 0xFF
            n = other.socket.send(pending)
            pending = pending[n:]
            sent += n
    except TimeoutError:
        pass
    assert sent < 64 << 20
    assert place.memory() - memory < 24 << 20
    meddler.stall.clear()
    other.socket.settimeout(60)
    other.socket.sendall(pending)
    other._send(b"")
    assert raw._ok(other._receive()).affected_rows == number - 1000
    other.close()


def test_a_client_that_vanishes(place: Place, pair: Pair) -> None:
    """Half a file is none: the transaction of its own is rolled back everywhere."""
    other = place.client()
    other.send(LOAD + "parts")
    assert other._receive()[:1] == b"\xfb"
    other._send(b"".join(b"%d\t1\n" % n for n in range(600, 700)))
    other.abort()

    wait_until(lambda: not loading(place), 20)
    for name in ("shard0", FAR, "media"):
        rows = place.servers[name].execute("SELECT COUNT(*) FROM parts WHERE k >= 600", database=DATABASE)
        assert rows[0][0] == 0, name


def test_user_variables_are_those_of_the_last_line_or_refused(place: Place, pair: Pair) -> None:
    with place.pair() as other:
        other.same(LOAD + "parts (k, @a, part)", b"91\tx\t1\n92\ty\t1\n")
        answer = other.client.query("SELECT @a")
        assert answer.errno == 1235 or answer.value == b"y", answer
    pair.same("SELECT @a")  # nobody else sees it


def test_several_files_in_one_text(pair: Pair) -> None:
    file = b"401\t1\n402\t1\n403\t1\n"
    sql = f"{LOAD}parts (k, part); SELECT COUNT(*) FROM parts; {LOAD}kinds (i, kind); {LOAD}users (id, n); SELECT 7"
    pair.same(sql, file)
    pair.compare("parts", "kinds", "users")


def test_random_files(pair: Pair) -> None:
    """What separators, quotes and escapes come to, against a real server: files made of little else."""
    rng = random.Random(f"{random.random()}")
    seed = str(rng.random())
    rng.seed(seed)
    formats = (
        ("", (b"\t", b"\n", b"\\", b"N", b"a", b"1", b"\\N")),
        (CSV, (b",", b"\r\n", b'"', b"\\", b"\r", b"\n", b"N", b"NULL", b"a", b'""')),
        (CSV + " ESCAPED BY ''", (b",", b"\r\n", b'"', b"\\", b"x", b'",', b"NULL")),
        (" FIELDS TERMINATED BY ',' ENCLOSED BY '\"' ESCAPED BY '\"'", (b",", b"\n", b'"', b"\\N", b"b", b'"",')),
    )
    for number in range(40):
        options, pieces = rng.choice(formats)
        by = b"\t" if not options else b","
        end = b"\r\n" if "\\r" in options else b"\n"
        options = options.replace(CSV + " ESCAPED BY ''", CSV.replace(" LINES", " ESCAPED BY '' LINES"))
        lines = []
        for n in range(30):
            tail = b"".join(rng.choice(pieces) for _ in range(rng.randrange(6)))
            lines.append(b"%d%s%d%s%s%s" % (1000 + number * 40 + n, by, n, by, tail, end))
        sql = f"{LOAD}parts{options} (k, part, s, n)"
        pair.send(b"".join(lines))
        ours = pair.client.query(sql)
        if ours.errno == 1235:  # a line that swallowed the next one's beginning
            assert re.match("Line [0-9]+ of", ours.message), (seed, ours)
            continue
        theirs = pair.mirror.query(sql)
        assert (ours.affected_rows, ours.info, ours.errno) == (theirs.affected_rows, theirs.info, theirs.errno), (
            seed,
            sql,
        )
        pair.same("SHOW WARNINGS")
    pair.compare("parts")
