"""sysbench through Turnout: no error that a server would not give, no lost or doubled write, every row in its place.

TURNOUT_SYSBENCH_SECONDS is how long each run takes, 2 unless given, 5 in CI.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from tests.servers import MariaDB, Shop, Turnout
from tests.servers.process import wait_until
from tests.servers.shop import APP, APP_PASSWORD, DATABASE
from tests.sizes import size
from tests.sysbench.program import Report, Sysbench

SECONDS = size("TURNOUT_SYSBENCH_SECONDS", 2, 5)
pytestmark = [
    pytest.mark.thorough,
    pytest.mark.servers,
    pytest.mark.xdist_group("sysbench"),
    pytest.mark.timeout(2 * SECONDS + 240),
]
Start = Callable[..., Turnout]

THREADS = 32
READERS = 8
ROWS = 10_000
SHARDS = 4
SLOTS_EACH = 4096 // SHARDS
READS_EACH = 14  # of an oltp_read_write or oltp_read_only event: ten by id, four of ranges
WRITES_EACH = 4  # of an oltp_read_write event: two UPDATEs, one DELETE, one INSERT
# Fewer connections than clients, so that sessions wait for one another's connections and take them over.
CONNECTIONS = 8

# sysbench's own table (oltp_common.lua, create_table with --auto_inc=off).
TABLE = """\
CREATE TABLE sbtest1 (id {id} NOT NULL, k INTEGER DEFAULT '0' NOT NULL, c CHAR(120) DEFAULT '' NOT NULL,
  pad CHAR(60) DEFAULT '' NOT NULL, PRIMARY KEY (id), KEY k_1 (k)) ENGINE = innodb"""


def rules(servers: str, database: str) -> str:
    servers = servers.replace("{primary:", f"{{max_connections: {CONNECTIONS}, primary:")
    return f"workers: 2\n{servers}pool: {{wait: 60s}}\ndatabases:\n  {DATABASE}:\n    home: main\n{database}"


def sysbench(
    proxy: Turnout, script: str, *options: str, command: str = "run", threads: int = THREADS, ps_mode: str = "disable"
) -> Sysbench:
    every = ["--tables=1", f"--table-size={ROWS}", f"--db-ps-mode={ps_mode}"]
    return Sysbench(proxy.port, script, command, threads, SECONDS, [*every, *options])


def number(server: MariaDB, query: str) -> int:
    return int(server.execute(query, database=DATABASE)[0][0])


def selects(server: MariaDB) -> int:
    return int(server.execute("SHOW GLOBAL STATUS LIKE 'Com_select'")[0][1])


def assert_fault_free(proxy: Turnout, *reports: Report) -> None:
    """What clients were told besides deadlocks: nothing. What Turnout says of itself: no mistake."""
    for report in reports:
        print(f"{SECONDS} s: {report}")
        assert report.reconnects == 0
        assert report.transactions > 0
    ignored = sum(report.ignored_errors for report in reports)
    # Workers hand their counts over once a second.
    wait_until(lambda: proxy.metric("turnout_client_errors_total", errno="1213") == ignored, 10)
    assert proxy.metric("turnout_client_errors_total") == ignored
    log = proxy.log_text()
    assert '"event": "defect"' not in log, log
    assert '"event": "task failed"' not in log, log


# everything on home


@pytest.mark.parametrize("ps_mode", ["disable", "auto"])
def test_transactions_on_home_with_a_replica(turnout: Start, shop_servers: Shop, ps_mode: str) -> None:
    """32 clients change rows in transactions while 8 read outside of any."""
    main, replica = shop_servers.main, shop_servers.replica
    shop_servers.recreate()
    reads = "    reads: {from: replicas, max_lag: 5s, own_writes: true}\n"
    proxy = turnout(rules(shop_servers.rules(replica=True), reads))
    sysbench(proxy, "oltp_read_write", command="prepare", threads=1).output()
    assert number(main, "SELECT COUNT(*) FROM sbtest1") == ROWS
    replica.catch_up()
    on_main, on_replica = selects(main), selects(replica)

    writing = sysbench(proxy, "oltp_read_write", ps_mode=ps_mode)
    reading = sysbench(proxy, "oltp_read_only", "--skip_trx=on", threads=READERS, ps_mode=ps_mode)
    reader, writer = reading.report(), writing.report()

    on_main, on_replica = selects(main) - on_main, selects(replica) - on_replica
    assert_fault_free(proxy, writer, reader)
    assert reader.ignored_errors == 0
    # Every event deletes a row and inserts it again.
    assert number(main, "SELECT COUNT(*) FROM sbtest1") == ROWS
    assert number(main, "SELECT COUNT(DISTINCT id) FROM sbtest1 WHERE id BETWEEN 1 AND 10000") == ROWS
    replica.catch_up(SECONDS + 60)
    checksum = "CHECKSUM TABLE sbtest1"
    assert replica.execute(checksum, database=DATABASE) == main.execute(checksum, database=DATABASE)
    # Reads of transactions were the primary's, most of the others the replica's (none while it was too far behind).
    assert writer.read >= READS_EACH * writer.transactions
    assert writer.write >= WRITES_EACH * writer.transactions
    assert on_main >= READS_EACH * writer.transactions
    assert on_replica >= reader.read // 2
    probes = 50 * (SECONDS + 30)  # of the health checks, at most; there are about 22 a second by two workers
    assert on_replica <= reader.read + probes


# a table over four shards


def shard_rules(shop: Shop) -> str:
    names = [f"shard{n}" for n in range(SHARDS)]
    return (
        rules(shop.rules("main", *names), "    tables:\n      sbtest1: {sharding: by_id, key: id}\n")
        + f"shardings:\n  by_id: {{method: hash, clusters: [{', '.join(names)}]}}\ntransactions: best_effort\n"
    )


def make_table(shop: Shop, id_type: str) -> list[MariaDB]:
    shards = [shop.shard(n) for n in range(SHARDS)]
    assert shop.main.alive
    shop.recreate()
    for server in shards:
        server.execute(TABLE.format(id=id_type), database=DATABASE)
    return shards


def load(proxy: Turnout, first_id: int) -> int:
    """`ROWS` rows through Turnout, in INSERTs of 2,500 as `sysbench prepare` makes them; the sum of their `k`."""
    draw = random.Random(11)
    ids, total = range(first_id, first_id + ROWS), 0
    with proxy.connect(APP, APP_PASSWORD, DATABASE) as connection, connection.cursor() as cursor:
        for start in range(0, ROWS, 2500):
            rows = []
            for id_ in ids[start : start + 2500]:
                k = draw.randint(1, ROWS)
                total += k
                c, pad = (f"{draw.randrange(10**digits):0{digits}}" for digits in (119, 59))
                rows.append(f"({id_}, {k}, '{c}', '{pad}')")
            assert cursor.execute(f"INSERT INTO sbtest1 (id, k, c, pad) VALUES {', '.join(rows)}") == len(rows)
    return total


def all_ids(shards: list[MariaDB]) -> list[int]:
    """Every row's id, from all shards, after a look that each shard has the rows of its slots and no others."""
    found: list[int] = []
    for n, server in enumerate(shards):
        astray = server.execute(
            f"SELECT id FROM sbtest1 WHERE CRC32(id) % 4096 DIV {SLOTS_EACH} <> {n}", database=DATABASE
        )
        assert astray == (), f"rows on shard{n} that belong elsewhere: {astray[:10]}"
        ids = [int(row[0]) for row in server.execute("SELECT id FROM sbtest1", database=DATABASE)]
        assert len(ids) > ROWS // SHARDS // 2, f"shard{n} has only {len(ids)} rows"
        found += ids
    assert len(set(found)) == len(found), "ids on two shards"
    return found


def test_selects_and_updates_by_key_on_four_shards(turnout: Start, shop_servers: Shop) -> None:
    shards = make_table(shop_servers, "INTEGER")
    proxy = turnout(shard_rules(shop_servers))
    total = load(proxy, first_id=1)
    assert sorted(all_ids(shards)) == list(range(1, ROWS + 1))

    before = [selects(server) for server in shards]
    selected = sysbench(proxy, "oltp_point_select", "--auto_inc=off").report()
    grown = [selects(server) - was for server, was in zip(shards, before)]
    assert selected.read == selected.transactions
    assert sum(grown) >= selected.read
    # Every id exists once, so every SELECT gave one row.
    wait_until(lambda: proxy.metric("turnout_statement_rows_total") == selected.read, 10)

    updated = sysbench(proxy, "oltp_update_index", "--auto_inc=off").report()
    assert_fault_free(proxy, selected, updated)
    assert updated.write == updated.transactions
    # `k = k + 1`, once each: a lost update or one done twice would show.
    assert sum(number(server, "SELECT SUM(k) FROM sbtest1") for server in shards) == total + updated.transactions
    assert sorted(all_ids(shards)) == list(range(1, ROWS + 1))


def test_inserts_on_four_shards(turnout: Start, shop_servers: Shop) -> None:
    # sysbench draws ids from all of INTEGER, each once, but cannot know which the table has. The rows that are there
    # before are beyond INTEGER.
    shards = make_table(shop_servers, "BIGINT")
    proxy = turnout(shard_rules(shop_servers))
    load(proxy, first_id=1 << 31)

    inserted = sysbench(proxy, "oltp_insert", "--auto_inc=off").report()

    assert_fault_free(proxy, inserted)
    assert inserted.write == inserted.transactions
    ids = all_ids(shards)
    assert len(ids) == ROWS + inserted.transactions
    assert sum(id_ < 1 << 31 for id_ in ids) == inserted.transactions
    assert any(id_ < 0 for id_ in ids)
