"""A database over four clusters, with tables that the rules have moved and old copies of them left behind, and one
server that has all of it: the same questions to both."""

from __future__ import annotations

from dataclasses import dataclass

from tests.front.raw import Answer, Client, Column
from tests.servers import MariaDB, Run, Shop, Turnout
from tests.servers.shop import APP, APP_PASSWORD, DATABASE

CLUSTERS = ("main", "media", "shard0", "shard1")
RULES = """\
{servers}
shardings:
  customer: {{method: hash, clusters: [shard0, shard1]}}
  region: {{method: list, values: {{main: [a], media: [b]}}}}
databases:
  shop:
    home: main
    tables:
      photos: {{cluster: media}}
      Albums: {{cluster: media}}
      ghost: {{cluster: media}}
      customers: {{sharding: customer, key: id}}
      orders: {{sharding: customer, key: customer_id}}
      places: {{sharding: region, key: region}}
      countries: {{everywhere: true}}
      accounts: {{reads: {{from: primary}}}}
  stats:
    home: media
transactions: best_effort
{more}
health: {{timeout: 30s, connect_timeout: 30s}}
"""
_CUSTOMERS = (
    "CREATE TABLE customers (id INT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(30) NOT NULL DEFAULT 'it''s', "
    "age INT CHECK (age >= 0), KEY by_name (name), KEY by_age (age, id)) COMMENT 'who buys'",
    "CREATE TABLE orders (customer_id INT, id INT, placed TIMESTAMP NOT NULL, total DECIMAL(9,2) UNSIGNED DEFAULT 1.5, "
    "PRIMARY KEY (customer_id, id), CONSTRAINT of_customer FOREIGN KEY (customer_id) REFERENCES customers (id) "
    "ON DELETE CASCADE, CONSTRAINT some CHECK (total < 100))",
)
_PLACES = ("CREATE TABLE places (region VARCHAR(5), id INT, name TEXT, PRIMARY KEY (region, id))",)
_MEDIA = (
    "CREATE TABLE photos (id INT AUTO_INCREMENT PRIMARY KEY, title VARCHAR(30) COLLATE utf8mb4_unicode_ci, n INT, "
    "data LONGBLOB, kind ENUM('a', 'b') DEFAULT 'a', KEY (n))",
    "CREATE TABLE Albums (id INT PRIMARY KEY, photo INT, CONSTRAINT cover FOREIGN KEY (photo) REFERENCES photos (id))",
    "CREATE TRIGGER photos_bi BEFORE INSERT ON photos FOR EACH ROW SET NEW.n = COALESCE(NEW.n, 0) + 1",
)
_EVERYWHERE = ("CREATE TABLE countries (i INT PRIMARY KEY, name VARCHAR(20) UNIQUE) COMMENT 'copies'",)
_MAIN = (
    "CREATE TABLE accounts (id INT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(30), balance INT, CHECK (balance > 0))",
    "CREATE TABLE `a-b` (i INT) COMMENT 'it''s'",
    "CREATE TABLE `zoé` (i INT)",
    "CREATE VIEW big_accounts AS SELECT id, name FROM accounts WHERE balance > 100",
    "CREATE TRIGGER accounts_bi BEFORE INSERT ON accounts FOR EACH ROW SET NEW.name = UPPER(NEW.name)",
    "CREATE FUNCTION twice (i INT) RETURNS INT DETERMINISTIC RETURN i * 2",
    "INSERT INTO accounts VALUES (1, 'a', 5), (2, 'b', 500)",
)
_STATS = ("CREATE TABLE visits (id INT PRIMARY KEY, at DATETIME)",)
# What nobody may find: copies from before the tables were moved, and tables that are only used elsewhere.
_LEFT_ON_MAIN = (
    "CREATE TABLE photos (old INT PRIMARY KEY, older INT CHECK (older > 5))",
    "CREATE TABLE customers (old INT PRIMARY KEY, INDEX by_old (old))",
    "CREATE TABLE ghost (old INT)",
    "CREATE TRIGGER customers_old BEFORE INSERT ON customers FOR EACH ROW SET NEW.old = 1",
)
_STRAY = (
    "CREATE TABLE accounts (stray INT)",
    "CREATE TABLE stray (i INT)",
    "CREATE VIEW stray_view AS SELECT 1 AS one",
)

# What is added up, or estimated by each server for itself.
_ESTIMATES = frozenset(
    [
        *("TABLE_ROWS", "ROWS", "AVG_ROW_LENGTH", "DATA_LENGTH", "MAX_DATA_LENGTH", "INDEX_LENGTH", "DATA_FREE"),
        *("AUTO_INCREMENT", "CREATE_TIME", "UPDATE_TIME", "CHECK_TIME", "CARDINALITY", "CREATED", "MODIFIED"),
    ]
)


@dataclass(frozen=True, slots=True)
class Logical:
    proxy: Turnout
    mirror: MariaDB
    shop: Shop


def prepare(run: Run, shop: Shop, more: str = "") -> Logical:
    servers = {name: shop.server(name) for name in CLUSTERS}
    mirror = run.mariadb("around-everything")
    mirror.create_account(APP, APP_PASSWORD)
    mirror.execute(f"CREATE DATABASE {DATABASE}")
    shop.recreate()
    for server in (mirror, servers["main"]):
        server.execute("CREATE DATABASE IF NOT EXISTS turnout")  # where Turnout keeps sequences and decisions
    for server in (mirror, servers["media"]):
        server.execute("CREATE DATABASE stats")
        server.execute(*_STATS, database="stats")
    mirror.execute(*_CUSTOMERS, *_PLACES, *_MEDIA, *_EVERYWHERE, *_MAIN, database=DATABASE)
    servers["main"].execute(*_PLACES, *_EVERYWHERE, *_MAIN, *_LEFT_ON_MAIN, database=DATABASE)
    servers["media"].execute(*_PLACES, *_EVERYWHERE, *_MEDIA, *_STRAY, database=DATABASE)
    for name in ("shard0", "shard1"):
        servers[name].execute(*_CUSTOMERS, *_EVERYWHERE, *_STRAY, database=DATABASE)
    proxy = run.turnout(RULES.format(servers=shop.rules(*CLUSTERS), more=more))
    return Logical(proxy, mirror, shop)


class Pair:
    """A client of Turnout and one of the server that has everything."""

    def __init__(self, logical: Logical, **options: int) -> None:
        self.client = Client(logical.proxy.port, APP, APP_PASSWORD, DATABASE, **options)
        self.mirror = Client(logical.mirror.port, APP, APP_PASSWORD, DATABASE, **options)

    def run(self, *statements: str) -> None:
        for sql in statements:
            self.client.query(sql).checked()
            self.mirror.query(sql).checked()

    def same(self, sql: str, origin: bool = True) -> Answer:
        ours, theirs = self.client.query(sql), self.mirror.query(sql)
        ordered = "ORDER BY" in sql.upper() and "ties" not in sql
        alike(sql, ours, theirs, ordered or sql.upper().startswith(("SHOW", "DESC")), origin)
        return ours

    def close(self) -> None:
        self.client.abort()
        self.mirror.abort()


def alike(sql: str, ours: Answer, theirs: Answer, ordered: bool, origin: bool = True) -> None:
    """Both answers say the same, but for what is added up or differs from server to server. `origin`: also which
    tables the columns are of."""
    said = f"{sql}\n  {ours}\n  instead of {theirs}"
    differing = [
        f"{column.name!r}: {a!r} instead of {b!r}"
        for one, other in zip(ours.rows, theirs.rows)
        for column, a, b in zip(ours.columns, one, other)
        if a != b
    ] + [f"{a} instead of {b}" for a, b in zip(ours.columns, theirs.columns) if _kind(a, origin) != _kind(b, origin)]
    said += "\n  " + "; ".join(differing[:8])
    assert (ours.errno, ours.sqlstate) == (theirs.errno, theirs.sqlstate), said
    assert [_kind(c, origin) for c in ours.columns] == [_kind(c, origin) for c in theirs.columns], said
    mine, other = [[_masked(row, answer.columns) for row in answer.rows] for answer in (ours, theirs)]
    if ordered:
        assert mine == other, said
    else:
        assert sorted(map(repr, mine)) == sorted(map(repr, other)), said
    assert ours.status & 3 == theirs.status & 3, said
    assert ours.warnings == theirs.warnings, said


def _kind(column: Column, origin: bool) -> tuple[object, ...]:
    """Not flags that depend on how the server went about it (a temporary table, a sort)."""
    where = (column.database, column.table, column.org_table, column.org_name, column.length)
    where = where if origin and column.table else ()
    number = (column.flags & (33 if origin else 32), column.decimals) if column.charset == 63 else ()
    kind = 252 if 249 <= column.type <= 251 and not origin else column.type  # sizes of BLOB
    return *where, column.name, column.charset, kind, *number


def _masked(row: tuple[bytes | None, ...], columns: tuple[Column, ...]) -> list[object]:
    names = [column.name.decode().upper() for column in columns]
    return [(value is None) if name in _ESTIMATES else value for name, value in zip(names, row)]
