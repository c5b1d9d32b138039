"""TPC-H's tables on four shards and on one server that has everything, and a client of each."""

from __future__ import annotations

import csv
import io
import zlib
from collections.abc import Iterable
from pathlib import Path

import pymysql
from pymysql.constants import CLIENT

from tests.servers import MariaDB, Run, Shop, Turnout
from tests.servers.shop import APP, APP_PASSWORD, DATABASE
from tests.tpch.data import SCALE, Data, Row

SHARDS = 4
CLUSTERS = ("main", *(f"shard{n}" for n in range(SHARDS)))
RULES = """\
{servers}
shardings:
  by_order: {{method: hash, clusters: [shard0, shard1, shard2, shard3]}}
  by_customer: {{method: hash, clusters: [shard0, shard1, shard2, shard3]}}
  by_part: {{method: hash, clusters: [shard0, shard1, shard2, shard3]}}
databases:
  shop:
    home: main
    tables:
      orders: {{sharding: by_order, key: o_orderkey}}
      lineitem: {{sharding: by_order, key: l_orderkey}}
      customer: {{sharding: by_customer, key: c_custkey}}
      part: {{sharding: by_part, key: p_partkey}}
      partsupp: {{sharding: by_part, key: ps_partkey}}
      supplier: {{everywhere: true}}
      nation: {{everywhere: true}}
      region: {{everywhere: true}}
workbench: {{cluster: main}}
health: {{timeout: 30s, connect_timeout: 30s}}
"""
KEYED = frozenset({"orders", "lineitem", "customer", "part", "partsupp"})  # by their first column
# Types and keys of the specification (1.4.1); further indexes are those of the foreign keys.
SCHEMA = (
    "CREATE TABLE region (r_regionkey INT PRIMARY KEY, r_name CHAR(25) NOT NULL, r_comment VARCHAR(152))",
    "CREATE TABLE nation (n_nationkey INT PRIMARY KEY, n_name CHAR(25) NOT NULL, n_regionkey INT NOT NULL, "
    "n_comment VARCHAR(152), KEY (n_regionkey))",
    "CREATE TABLE supplier (s_suppkey INT PRIMARY KEY, s_name CHAR(25) NOT NULL, s_address VARCHAR(40) NOT NULL, "
    "s_nationkey INT NOT NULL, s_phone CHAR(15) NOT NULL, s_acctbal DECIMAL(15,2) NOT NULL, "
    "s_comment VARCHAR(101) NOT NULL, KEY (s_nationkey))",
    "CREATE TABLE part (p_partkey INT PRIMARY KEY, p_name VARCHAR(55) NOT NULL, p_mfgr CHAR(25) NOT NULL, "
    "p_brand CHAR(10) NOT NULL, p_type VARCHAR(25) NOT NULL, p_size INT NOT NULL, p_container CHAR(10) NOT NULL, "
    "p_retailprice DECIMAL(15,2) NOT NULL, p_comment VARCHAR(23) NOT NULL)",
    "CREATE TABLE partsupp (ps_partkey INT NOT NULL, ps_suppkey INT NOT NULL, ps_availqty INT NOT NULL, "
    "ps_supplycost DECIMAL(15,2) NOT NULL, ps_comment VARCHAR(199) NOT NULL, "
    "PRIMARY KEY (ps_partkey, ps_suppkey), KEY (ps_suppkey))",
    "CREATE TABLE customer (c_custkey INT PRIMARY KEY, c_name VARCHAR(25) NOT NULL, c_address VARCHAR(40) NOT NULL, "
    "c_nationkey INT NOT NULL, c_phone CHAR(15) NOT NULL, c_acctbal DECIMAL(15,2) NOT NULL, "
    "c_mktsegment CHAR(10) NOT NULL, c_comment VARCHAR(117) NOT NULL, KEY (c_nationkey))",
    "CREATE TABLE orders (o_orderkey INT PRIMARY KEY, o_custkey INT NOT NULL, o_orderstatus CHAR(1) NOT NULL, "
    "o_totalprice DECIMAL(15,2) NOT NULL, o_orderdate DATE NOT NULL, o_orderpriority CHAR(15) NOT NULL, "
    "o_clerk CHAR(15) NOT NULL, o_shippriority INT NOT NULL, o_comment VARCHAR(79) NOT NULL, KEY (o_custkey))",
    "CREATE TABLE lineitem (l_orderkey INT NOT NULL, l_partkey INT NOT NULL, l_suppkey INT NOT NULL, "
    "l_linenumber INT NOT NULL, l_quantity DECIMAL(15,2) NOT NULL, l_extendedprice DECIMAL(15,2) NOT NULL, "
    "l_discount DECIMAL(15,2) NOT NULL, l_tax DECIMAL(15,2) NOT NULL, l_returnflag CHAR(1) NOT NULL, "
    "l_linestatus CHAR(1) NOT NULL, l_shipdate DATE NOT NULL, l_commitdate DATE NOT NULL, l_receiptdate DATE NOT NULL, "
    "l_shipinstruct CHAR(25) NOT NULL, l_shipmode CHAR(10) NOT NULL, l_comment VARCHAR(44) NOT NULL, "
    "PRIMARY KEY (l_orderkey, l_linenumber), KEY (l_partkey, l_suppkey))",
)


def prepare(run: Run, shop: Shop, scale: float = SCALE) -> tuple[Turnout, MariaDB, dict[str, int]]:
    """A Turnout over the loaded shards, the server that has everything, and how many rows each table has."""
    mirror = run.mariadb("tpch-everything")
    mirror.create_account(APP, APP_PASSWORD)
    mirror.execute(f"CREATE DATABASE {DATABASE}")
    servers = {name: shop.server(name) for name in CLUSTERS}
    shop.recreate()
    for server in (mirror, *servers.values()):
        server.execute(*SCHEMA, database=DATABASE)
    counts = {}
    file = run.place("tpch") / "rows"
    for table, rows in Data(scale).tables():
        counts[table] = len(rows)
        _load(mirror, file, table, rows)
        for number, name in enumerate(CLUSTERS):
            if table not in KEYED:
                _load(servers[name], file, table, rows)
            elif name != "main":
                _load(servers[name], file, table, (row for row in rows if _shard(row[0]) == number - 1))
    for server in (mirror, *servers.values()):
        server.execute("ANALYZE TABLE " + ", ".join(counts), database=DATABASE)
    return run.turnout(RULES.format(servers=shop.rules(*CLUSTERS))), mirror, counts


def _shard(key: object) -> int:
    """Of 4096 slots the first quarter is shard0's, and so on."""
    return zlib.crc32(str(key).encode()) % 4096 * SHARDS // 4096


def _load(server: MariaDB, file: Path, table: str, rows: Iterable[Row]) -> None:
    """LOAD DATA LOCAL, past Turnout."""
    text = io.StringIO()
    csv.writer(text, delimiter="|", lineterminator="\n").writerows(rows)
    file.write_text(text.getvalue())
    connection = server.connect(APP, APP_PASSWORD, DATABASE, local_infile=True, client_flag=CLIENT.LOCAL_FILES)
    try:
        with connection.cursor() as cursor:
            cursor.execute(
                f"LOAD DATA LOCAL INFILE '{file}' INTO TABLE {table} FIELDS TERMINATED BY '|' OPTIONALLY ENCLOSED BY "
                "'\"'"
            )
            warnings = cursor.fetchall() or connection.show_warnings()
            assert not warnings, warnings
    except pymysql.Error as error:
        raise AssertionError(f"{table} could not be loaded: {error}") from error
    finally:
        connection.close()
