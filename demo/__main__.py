"""Starts MariaDB servers and Turnout, shows what it does, and prints how to connect.

make demo              in a terminal it stays up until Ctrl-C; without one it ends by itself
make demo DEMO=--end   ends by itself in any case
"""

from __future__ import annotations

import argparse
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pymysql
from pymysql.connections import Connection
from rich.console import Console
from rich.panel import Panel
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from demo import shop
from tests.servers import MariaDB, Memcached, Run, Turnout

RULES = Path(__file__).resolve().parents[1] / "routing_rules.yaml"
USER, PASSWORD = "app", "demo-app"
ADMIN, ADMIN_PASSWORD = "ops", "demo-ops"
SERVICE, SERVICE_PASSWORD = "turnout", "demo-turnout"


# Columns that a narrow terminal does without.
HIDDEN = frozenset(
    {
        "id",
        "errors",
        "rows",
        "total_s",
        "max_ms",
        "server_pct",
        "server_%",
        "last_seen",
        "first_seen",
        "tables",
        "reason",
    }
)


class Failed(Exception):
    """The demo did not see what it promised."""


class Demo:
    """The servers, the proxy, and the steps."""

    def __init__(self, run: Run, console: Console) -> None:
        self.run = run
        self.console = console
        self.servers: dict[str, MariaDB] = {}
        self.replica: MariaDB
        self.memcached: Memcached
        self.turnout: Turnout

    # -- setting up --------------------------------------------------------------------------------------------------

    def start(self) -> None:
        names = ("main", "media", "shard0", "shard1")
        with Progress(
            TextColumn("{task.description:<34}"), BarColumn(), TimeElapsedColumn(), console=self.console
        ) as progress:
            work = progress.add_task("starting servers", total=len(names) + 4)
            for name in names:
                progress.update(work, description=f"MariaDB {name}")
                server = self.servers[name] = self.run.mariadb(name)
                server.create_account(USER, PASSWORD)
                server.create_account(ADMIN, ADMIN_PASSWORD)
                server.create_service_account(SERVICE, SERVICE_PASSWORD)
                server.execute("CREATE DATABASE shop", "USE shop", *self._tables(name), *shop.EVERYWHERE)
                progress.advance(work)
            progress.update(work, description="MariaDB replica of main")
            self.replica = self.run.replica_of(self.servers["main"], "main-replica")
            progress.advance(work)
            progress.update(work, description="memcached")
            self.memcached = self.run.memcached()
            progress.advance(work)
            progress.update(work, description="Turnout")
            self.turnout = self.run.turnout(self.rules())
            progress.advance(work)
            progress.update(work, description="loading rows through Turnout")
            self.load()
            progress.advance(work)

    @staticmethod
    def _tables(name: str) -> Sequence[str]:
        return {"main": shop.HOME, "media": shop.MEDIA}.get(name, shop.SHARDS)

    def rules(self) -> str:
        """The annotated example with the ports of the servers that were started."""
        text = RULES.read_text()
        ports = {
            "3306": self.servers["main"].port,
            "3316": self.replica.port,
            "3326": self.servers["media"].port,
            "3336": self.servers["shard0"].port,
            "3346": self.servers["shard1"].port,
        }
        text = text.replace("127.0.0.1:3307", "127.0.0.1:@MYSQL_PORT@").replace(
            "127.0.0.1:9307", "127.0.0.1:@HTTP_PORT@"
        )
        text = text.replace("127.0.0.1:11211", self.memcached.address)
        text = re.sub(r"127\.0\.0\.1:(33\d6)\b", lambda m: f"127.0.0.1:{ports[m[1]]}", text)
        return re.sub(r"^(  shard\d: \{primary: [\d.:]+)\}", r"\1, max_connections: 8}", text, flags=re.MULTILINE)

    def load(self) -> None:
        with self.connect() as connection, connection.cursor() as cursor:
            cursor.execute(f"INSERT INTO countries VALUES {', '.join(map(str, shop.COUNTRIES))}")
            cursor.execute(
                "INSERT INTO accounts (email, balance) VALUES ('ann@example.com', 100), ('bob@example.com', 50)"
            )
            cursor.execute("INSERT INTO products (name, price) VALUES ('Lamp', 19.90), ('Chair', 89.00)")
            cursor.execute("INSERT INTO photos (product_id, caption) VALUES (1, 'Lamp, lit'), (2, 'Chair, empty')")
            for first in range(1, shop.CUSTOMERS, 500):
                cursor.execute(f"INSERT INTO customers VALUES {shop.customer_rows(first, 500)}")
                cursor.execute(f"INSERT INTO orders VALUES {shop.order_rows(first, 500)}")
        self.replica.catch_up()

    def connect(self, user: str = USER, password: str = PASSWORD) -> Connection[Any]:
        return self.turnout.connect(user, password, "shop")

    # -- showing -----------------------------------------------------------------------------------------------------

    def steps(self) -> list[tuple[str, str, Callable[[], None]]]:
        return [
            ("Home", "a table without a rule stays where it was", self.home),
            ("Replicas", "reads go to a replica, and a session still sees its own writes", self.replicas),
            ("Vertical partitioning", "photos live on the cluster media", self.vertical),
            ("Horizontal partitioning", "customers and their orders are spread by customer", self.horizontal),
            ("Caching", "customers by id come from memory, and are never staler than promised", self.caching),
            ("Everywhere", "countries has a full copy on every cluster", self.everywhere),
            ("Right or refused", "what cannot be shown to be right is refused, with a way out", self.refused),
            ("Pooling", "200 clients, a few server connections, nobody sees another's session", self.pooling),
            ("Changing the rules", "while clients are connected", self.reload),
            ("Failure", "one server dies: the others go on, and it is used again when it is back", self.failure),
            ("Watching", "what the proxy measured of all this", self.watching),
        ]

    def show(self) -> None:
        for number, (title, what, step) in enumerate(self.steps(), 1):
            self.console.rule(f"[bold]{number}. {title}[/] [dim]{what}[/]", align="left")
            step()
            self.console.print()

    def sql(self, cursor: Any, sql: str, where: str = "", limit: int = 4) -> list[tuple[Any, ...]]:
        """Run a statement through Turnout and show it with its answer."""
        cursor.execute(sql)
        rows = list(cursor.fetchall())
        self.console.print(f"  [cyan]{_short(sql)}[/]" + (f"   [dim]{where}[/]" if where else ""), highlight=False)
        for row in rows[:limit]:
            self.console.print(f"      {row}", highlight=False)
        if len(rows) > limit:
            self.console.print(f"      [dim]... {len(rows)} rows[/]")
        return rows

    def explain(self, sql: str) -> dict[str, str]:
        with self.connect(ADMIN, ADMIN_PASSWORD) as connection, connection.cursor() as cursor:
            cursor.execute(f"TURNOUT EXPLAIN {sql}")
            return {str(row[0]): str(row[1]) for row in cursor.fetchall()}

    def home(self) -> None:
        with self.connect() as connection, connection.cursor() as cursor:
            rows = self.sql(cursor, "SELECT id, email, balance FROM accounts ORDER BY id", "on main")
            _expect(len(rows) == 2, "two accounts")

    def replicas(self) -> None:
        with self.connect() as connection, connection.cursor() as cursor:
            on_replica, on_main = self._reads(cursor, "SELECT name FROM products WHERE id = 1", 50)
            _expect(on_replica >= 50 > on_main, "the reads went to the replica")
            cursor.execute("UPDATE products SET price = price + 1 WHERE id = 1")
            own = self.sql(cursor, "SELECT price FROM products WHERE id = 1", "right after this session's own UPDATE")
            _expect(str(own[0][0]) == "20.90", "the session sees its own write")
            on_replica, on_main = self._reads(cursor, "SELECT balance FROM accounts WHERE id = 1", 50)
            _expect(on_main >= 50 > on_replica, "accounts are read from the primary")

    def _reads(self, cursor: Any, sql: str, times: int) -> tuple[int, int]:
        """Run a read many times; returns how many SELECTs the replica and the primary counted meanwhile."""
        servers = (self.replica, self.servers["main"])
        before = [_selects(server) for server in servers]
        for _ in range(times):
            cursor.execute(sql)
            cursor.fetchall()
        counts = [_selects(server) - old for server, old in zip(servers, before)]
        self.console.print(
            f"  [cyan]{sql}[/]   {times} times: {counts[0]} SELECTs on the replica, {counts[1]} on the primary "
            "[dim](health probes included)[/]",
            highlight=False,
        )
        return counts[0], counts[1]

    def vertical(self) -> None:
        with self.connect() as connection, connection.cursor() as cursor:
            self.sql(cursor, "SELECT id, caption FROM photos ORDER BY id", "on media")
        _expect(self._count("media", "photos") == 2, "the rows are on media")

    def horizontal(self) -> None:
        with self.connect() as connection, connection.cursor() as cursor:
            self.sql(cursor, "SELECT id, name FROM customers WHERE id = 42", "one shard: the key is pinned")
            self.sql(
                cursor,
                "SELECT c.name, o.id, o.total FROM customers c JOIN orders o ON o.customer_id = c.id WHERE c.id = 42",
                "a join of co-located tables on one shard",
            )
            rows = self.sql(cursor, "SELECT id FROM customers WHERE country = 'jp'", "all shards, concatenated")
            _expect(len(rows) == shop.CUSTOMERS // 4, "every shard's rows")
            rows = self.sql(
                cursor, "SELECT name FROM customers ORDER BY name DESC LIMIT 3", "all shards, merged in order"
            )
            _expect(rows[0] == ("Customer 999",), "the last name of all shards")
            rows = self.sql(
                cursor,
                "SELECT country, COUNT(*), AVG(id) FROM customers GROUP BY country ORDER BY country",
                "groups of all shards, put together",
            )
            _expect(sum(row[1] for row in rows) == shop.CUSTOMERS, "every customer is counted once")
            update = "UPDATE orders SET total = total + 1 WHERE total < 10"
            cursor.execute(update)
            self.console.print(f"  [cyan]{update}[/]   {cursor.rowcount} rows on both shards", highlight=False)
        spread = {name: self._count(name, "customers") for name in ("shard0", "shard1")}
        self.console.print(f"  rows of customers by shard: {spread}", highlight=False)
        _expect(sum(spread.values()) == shop.CUSTOMERS and min(spread.values()) > shop.CUSTOMERS // 3, "an even spread")

    def caching(self) -> None:
        sql = "SELECT name FROM customers WHERE id = 42"
        self.console.print(f"  [dim]EXPLAIN: cache = {self.explain(sql)['cache']}[/]", highlight=False)
        shards = [self.servers[name] for name in ("shard0", "shard1")]
        with self.connect() as connection, connection.cursor() as cursor:
            deadline = time.monotonic() + 20
            while True:  # the stream processes follow both shards' logs a moment after the start
                before = sum(map(_selects, shards))
                for _ in range(1000):
                    cursor.execute(sql)
                asked = sum(map(_selects, shards)) - before
                if asked < 100:
                    break
                _expect(time.monotonic() < deadline, "reads are served from memory")
                time.sleep(0.2)
            self.console.print(
                f"  [cyan]{sql}[/]   1,000 times: the shards were asked {asked} times [dim](health probes included)[/]",
                highlight=False,
            )
            with self.connect() as other, other.cursor() as writer:
                writer.execute("UPDATE customers SET name = 'Renamed' WHERE id = 42")
            rows = self.sql(cursor, sql, "right after another session's UPDATE through Turnout")
            _expect(rows == [("Renamed",)], "a write through Turnout shows at once")
            for shard in shards:
                shard.execute("UPDATE shop.customers SET name = 'Customer 42' WHERE id = 42")
            began = time.monotonic()
            while rows != [("Customer 42",)]:
                cursor.execute(sql)
                rows = list(cursor.fetchall())
                _expect(time.monotonic() - began < 5, "a write past Turnout shows")
            took_ms = (time.monotonic() - began) * 1000
            self.console.print(
                f"  a write past Turnout, on the shard itself, showed after {took_ms:.0f} ms "
                "[dim](max_staleness: 500ms)[/]",
                highlight=False,
            )

    def everywhere(self) -> None:
        with self.connect() as connection, connection.cursor() as cursor:
            self.sql(
                cursor,
                "SELECT c.name, k.name FROM customers c JOIN countries k ON k.code = c.country WHERE c.id = 7",
                "joined on the customer's shard",
            )
            cursor.execute("INSERT INTO countries VALUES ('it', 'Italy')")
        _expect({self._count(name, "countries") for name in self.servers} == {5}, "the row is on every cluster")
        self.console.print("  [cyan]INSERT INTO countries VALUES ('it', 'Italy')[/]   now on all four clusters")

    def refused(self) -> None:
        with self.connect() as connection, connection.cursor() as cursor:
            for sql in (
                "SELECT p.caption FROM photos p JOIN products q ON q.id = p.product_id",
                "SELECT id, ROW_NUMBER() OVER (ORDER BY name) FROM customers",
                "LOCK TABLES orders WRITE",
            ):
                try:
                    cursor.execute(sql)
                except pymysql.MySQLError as error:
                    self.console.print(f"  [cyan]{sql}[/]", highlight=False)
                    self.console.print(f"      [yellow]{error.args[0]}[/] {error.args[1]}", highlight=False)
                else:
                    raise Failed(f"not refused: {sql}")

    def pooling(self) -> None:
        clients = [self.connect() for _ in range(200)]
        wrong: list[int] = []

        def work(number: int, connection: Connection[Any]) -> None:
            with connection.cursor() as cursor:
                cursor.execute(f"SET @mine = {number}")
                for _ in range(5):
                    cursor.execute(f"SELECT @mine, name FROM customers WHERE id = {number + 1}")
                    if cursor.fetchall() != ((number, f"Customer {number + 1}"),):
                        wrong.append(number)

        threads = [threading.Thread(target=work, args=(i, c)) for i, c in enumerate(clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        open_now = sum(self._threads(name) for name in ("shard0", "shard1"))
        for client in clients:
            client.close()
        self.console.print(
            f"  200 clients, 1,000 statements with a user variable each: {len(wrong)} wrong answers, "
            f"{open_now} connections on two shards (max_connections: 8 each)",
            highlight=False,
        )
        _expect(not wrong and open_now <= 16, "every client got its own answer over shared connections")

    def reload(self) -> None:
        with self.connect() as connection, connection.cursor() as cursor:
            sql = "SELECT name FROM products WHERE id = 2"
            before = self.explain(sql)
            rules = self.turnout.rules_path.read_text()
            self.turnout.reload(
                rules.replace("reads: {from: replicas, max_lag: 5s, own_writes: true}", "reads: {from: primary}")
            )
            deadline = time.monotonic() + 20
            while self.explain(sql) == before:
                _expect(time.monotonic() < deadline, "the new rules are in force")
                time.sleep(0.05)
            self.console.print("  reads: {from: replicas, ..} becomes reads: {from: primary}; on the same connection:")
            on_replica, on_main = self._reads(cursor, sql, 50)
            _expect(on_main >= 50 > on_replica, "reads go to the primary now")
            self.turnout.reload(rules)

    def failure(self) -> None:
        with self.connect() as connection, connection.cursor() as cursor:
            self.servers["media"].kill()
            began = time.monotonic()
            try:
                cursor.execute("SELECT caption FROM photos WHERE id = 1")
                raise Failed("a statement on a dead server succeeded")
            except pymysql.MySQLError as error:
                took = time.monotonic() - began
                self.console.print("  media is killed.  [cyan]SELECT caption FROM photos WHERE id = 1[/]")
                self.console.print(
                    f"      [yellow]{error.args[0]}[/] {error.args[1]}  [dim]({took:.2f} s)[/]", highlight=False
                )
        with self.connect() as connection, connection.cursor() as cursor:
            self.sql(cursor, "SELECT name FROM customers WHERE id = 1", "the others go on")
            self.servers["media"].restart()
            deadline = time.monotonic() + 20
            while True:
                try:
                    self.sql(cursor, "SELECT caption FROM photos WHERE id = 1", "media is back")
                    break
                except pymysql.MySQLError:
                    _expect(time.monotonic() < deadline, "media is used again")
                    time.sleep(0.1)

    def watching(self) -> None:
        time.sleep(1.5)  # workers report once a second
        with self.connect(ADMIN, ADMIN_PASSWORD) as connection, connection.cursor() as cursor:
            for what, limit in (("CLUSTERS", 10), ("SHAPES", 8)):
                cursor.execute(f"SHOW TURNOUT {what}")
                rows = cursor.fetchall()
                names = [column[0] for column in cursor.description]
                shown = [i for i, name in enumerate(names) if name not in HIDDEN]
                table = Table(title=f"SHOW TURNOUT {what}", title_justify="left", expand=False)
                for i in shown:
                    table.add_column(names[i], overflow="ellipsis", no_wrap=True, max_width=60)
                for row in rows[:limit]:
                    table.add_row(*("" if row[i] is None else str(row[i]) for i in shown))
                self.console.print(table)
        status, body = self.turnout.get("/metrics")
        _expect(status == 200 and "turnout_" in body, "metrics are exported")

    # -- asking the servers themselves -----------------------------------------------------------------------------

    def _count(self, server: str, table: str) -> int:
        return int(self.servers[server].execute(f"SELECT COUNT(*) FROM shop.{table}")[0][0])

    def _threads(self, server: str) -> int:
        found = self.servers[server].execute("SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE USER = 'app'")
        return int(found[0][0])


def _selects(server: MariaDB) -> int:
    return int(server.execute("SHOW GLOBAL STATUS LIKE 'Com_select'")[0][1])


def _short(sql: str) -> str:
    return sql if len(sql) <= 110 else sql[:107] + "..."


def _expect(condition: bool, what: str) -> None:
    if not condition:
        raise Failed(f"expected: {what}")


@contextmanager
def _servers(console: Console) -> Iterator[Demo]:
    with Run() as run:
        demo = Demo(run, console)
        demo.start()
        yield demo


def main() -> int:
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument("--end", action="store_true", help="end after the show, also in a terminal")
    options = parser.parse_args()
    console = Console(width=None if sys.stdout.isatty() else 140)
    stay = sys.stdin.isatty() and sys.stdout.isatty() and not options.end
    try:
        with _servers(console) as demo:
            demo.show()
            turnout = demo.turnout
            console.print(
                Panel(
                    f"DSN       mysql://{USER}:{PASSWORD}@{turnout.address}/shop\n"
                    f"admin     mariadb -h127.0.0.1 -P{turnout.port} -u{ADMIN} -p{ADMIN_PASSWORD} shop"
                    f"   then  SHOW TURNOUT SHAPES;\n"
                    f"status    {turnout.url}/\n"
                    f"metrics   {turnout.url}/metrics",
                    title="Turnout is up" if stay else "Turnout was up at",
                    expand=False,
                )
            )
            if stay:
                console.print("Ctrl-C ends everything.")
                threading.Event().wait()
    except KeyboardInterrupt:
        return 0
    except Failed as failure:
        console.print(f"[red]The demo failed:[/] {failure}")
        return 1
    console.print("All servers are stopped.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
