"""LOAD DATA LOCAL into tables of a directory sharding: every line to its key's cluster, new keys entered."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from tests.directory.conftest import World
from tests.directory.moving import HOLD, LET_GO, drained
from tests.front import raw
from tests.front.raw import Answer, Client
from tests.servers import MariaDB, Turnout
from tests.servers.process import wait_until
from tests.servers.shop import APP, APP_PASSWORD, DATABASE

pytestmark = pytest.mark.servers


def load(client: Client, table: str, lines: list[str], columns: str = "") -> Answer:
    client.file = lambda name: [f"{line}\n".encode() for line in lines]
    return client.query(f"LOAD DATA LOCAL INFILE 'f' INTO TABLE {table} FIELDS TERMINATED BY ',' {columns}")


def _arrived(shard: MariaDB) -> bool:
    """Rows, whether they are committed or not."""
    rows = shard.execute(
        "SET TRANSACTION ISOLATION LEVEL READ UNCOMMITTED", "SELECT COUNT(*) FROM files", database=DATABASE
    )
    return bool(rows[0][0])


@pytest.fixture
def client(world: World) -> Iterator[Client]:
    """Of a Turnout that puts new keys on shard1."""
    proxy: Turnout = world.start(weights="{shard0: 0, shard1: 1}", head="pool: {wait: 500ms}\n")
    made = Client(proxy.port, APP, APP_PASSWORD, DATABASE, flags=raw.LOCAL_FILES)
    yield made
    made.abort()


def test_lines_go_where_their_keys_are(world: World, client: Client) -> None:
    world.enter((1, "shard0"), (2, "shard1"), (3, "shard0"))
    lines = [f"{owner},{n}" for n in range(50) for owner in (1, 2, 3, 7)]
    answer = load(client, "files", lines, "(owner, id)").checked()
    assert (answer.affected_rows, answer.info) == (200, b"Records: 200  Deleted: 0  Skipped: 0  Warnings: 0")
    assert world.rows(0, "SELECT owner, COUNT(*) FROM files GROUP BY owner") == [(1, 50), (3, 50)]
    assert world.rows(1, "SELECT owner, COUNT(*) FROM files GROUP BY owner") == [(2, 50), (7, 50)]
    assert world.directory()["7"] == "shard1"
    # Ids that Turnout makes, as keys that are entered, on either shard.
    assert load(client, "members", ["a", "b", "c"], "(k)").checked().affected_rows == 3
    ids = {str(row[0]): f"shard{n}" for n in (0, 1) for row in world.rows(n, "SELECT id FROM members")}
    assert world.directory("membership") == ids
    assert [row[0] for row in client.query("SELECT k FROM members ORDER BY id").rows] == [b"a", b"b", b"c"]
    # Strings, of which some are equal.
    world.enter(("anna", "shard0"), table="names")
    assert load(client, "users", ["Anna,1", "bob,2", "BOB,3"], "(name, v)").checked().affected_rows == 2
    where = {str(row[0]).lower(): f"shard{n}" for n in (0, 1) for row in world.rows(n, "SELECT name FROM users")}
    assert where == {"anna": "shard0", "bob": where["bob"]}
    assert {name.lower(): cluster for name, cluster in world.directory("names").items()} == where


def test_many_new_keys(world: World, client: Client) -> None:
    """More than one batch of lines, which comes in pieces."""
    count = 20_000
    answer = load(client, "notes", [f"{n},1,x" for n in range(count)]).checked()
    assert answer.affected_rows == count
    assert world.rows(1, "SELECT COUNT(*), COUNT(DISTINCT owner) FROM notes") == [(count, count)]
    assert world.main.execute("SELECT COUNT(*), MIN(cluster) FROM owners", database=DATABASE) == ((count, "shard1"),)


def test_a_key_that_is_held_undoes_the_load(world: World, client: Client) -> None:
    world.enter((1, "shard0"), (2, "shard1"))
    load(client, "files", ["1,1", "2,1"], "(owner, id)").checked()
    world.main.execute("BEGIN", HOLD, "UPDATE owners SET cluster = '' WHERE owner = 2", "COMMIT", database=DATABASE)
    count = itertools.count(3)

    def is_held() -> bool:
        """As soon as the lease of what is known has run out."""
        number = next(count)
        answer = load(client, "files", [f"1,{number}", f"2,{number}"], "(owner, id)")
        assert answer.errno in (0, 1205), answer
        return bool(answer.errno)

    wait_until(is_held, 20)
    last = next(count) - 1  # was undone
    assert not world.rows(0, f"SELECT id FROM files WHERE id = {last}")
    world.main.execute(
        "BEGIN", LET_GO, "UPDATE owners SET cluster = 'shard0' WHERE owner = 2", "COMMIT", database=DATABASE
    )
    assert load(client, "files", ["1,2", "2,2"], "(owner, id)").checked().affected_rows == 2
    assert world.rows(0, "SELECT owner, id FROM files WHERE id = 2 ORDER BY owner") == [(1, 2), (2, 2)]
    client.query("SELECT 1").checked()


def test_a_file_on_its_way_is_waited_for(world: World, client: Client) -> None:
    """Step 3 of a move (docs/RULES.md): keys that were looked up before may be used until the statement ends."""
    world.enter((1, "shard0"), (2, "shard1"))
    seen: list[str] = []

    def waits(shard: int) -> bool:
        try:
            drained(world.shards[shard], 0.3)
        except TimeoutError:
            return True
        return False

    def pieces(name: bytes) -> Iterator[bytes]:
        yield b"1,1\n2,1\n" * 20_000  # more than a server keeps before it inserts
        wait_until(lambda: all(_arrived(shard) for shard in world.shards), 20)
        world.main.execute("BEGIN", HOLD, "UPDATE owners SET cluster = '' WHERE owner = 1", "COMMIT", database=DATABASE)
        seen.extend(str(shard) for shard in (0, 1) if waits(shard))
        yield b"1,2\n2,2\n"

    client.file = pieces
    text = "LOAD DATA LOCAL INFILE 'f' INTO TABLE files FIELDS TERMINATED BY ',' (owner, id)"
    answer = client.query(text)
    assert seen == ["0", "1"]
    assert answer.checked().affected_rows == 4
    assert not waits(0)
    assert not waits(1)
    assert world.rows(0, "SELECT id FROM files ORDER BY id") == [(1,), (2,)]
