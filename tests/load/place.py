"""A shop with a table in every kind of place, one behind a relay that misbehaves, and one server that has all."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.front import raw
from tests.front.raw import Answer, Client
from tests.servers import Run, Shop
from tests.servers.shop import APP, APP_PASSWORD, DATABASE

CLUSTERS = ("main", "media", "shard0")
FAR = "shard1"  # whose server `far` is, behind the relay
RULES = """\
{servers}
  far: {{primary: '127.0.0.1:{far}'}}
shardings:
  by_k: {{method: hash, clusters: [shard0, far, media]}}
  by_word: {{method: hash, clusters: [far, shard0]}}
  by_box: {{method: hash, clusters: [main, far]}}
databases:
  shop:
    home: main
    tables:
      photos: {{cluster: media, cache: {{by: [id]}}}}
      parcels: {{cluster: far}}
      orders: {{sharding: by_k, key: k}}
      parts: {{sharding: by_k, key: k}}
      counted: {{sharding: by_k, key: id}}
      words: {{sharding: by_word, key: w}}
      boxes: {{sharding: by_box, key: k}}
      kinds: {{everywhere: true}}
      numbered: {{everywhere: true}}
transactions: {transactions}
workbench: {{cluster: main}}
health: {{timeout: 30s, connect_timeout: 30s}}
"""
SCHEMA = {
    "users": "(id INT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(30) UNIQUE, n INT NOT NULL DEFAULT 5)",
    "photos": "(id INT AUTO_INCREMENT PRIMARY KEY, k INT, n INT NOT NULL DEFAULT 5, title VARCHAR(30), d DATE NULL)",
    "parcels": "(id INT AUTO_INCREMENT PRIMARY KEY, k INT, title VARCHAR(200))",
    "orders": "(id INT AUTO_INCREMENT PRIMARY KEY, k INT NOT NULL, n INT, title VARCHAR(20), KEY (k))",
    "parts": "(k INT, part INT, n INT, d DECIMAL(10,2), at DATETIME NULL, s VARCHAR(20) COLLATE utf8mb4_unicode_ci, "
    "PRIMARY KEY (k, part))",
    "counted": "(id INT AUTO_INCREMENT PRIMARY KEY, n INT, s VARCHAR(20))",
    "words": "(w VARCHAR(20) COLLATE utf8mb4_general_ci, n INT, s VARCHAR(20), PRIMARY KEY (w, n))",
    "boxes": "(k INT, n INT, s VARCHAR(200), PRIMARY KEY (k, n))",
    "kinds": "(i INT PRIMARY KEY, kind VARCHAR(20))",
    "numbered": "(id INT AUTO_INCREMENT PRIMARY KEY, kind VARCHAR(20))",
}
PROCEDURES = (
    "CREATE PROCEDURE three(IN a INT, OUT b INT) BEGIN SELECT a AS first; SELECT id, name FROM users ORDER BY id; "
    "SET b = a * 2; SELECT 'third', b; UPDATE users SET n = n + 1 WHERE id = a; END",
    "CREATE PROCEDURE fails() BEGIN SELECT 1; SELECT * FROM nosuch; SELECT 2; END",
    "CREATE PROCEDURE quiet(INOUT a INT) SET a = a + 1",
)
STATUS = raw.IN_TRANS | raw.AUTOCOMMIT | raw.MORE_RESULTS
File = bytes | Iterable[bytes]


class Meddler:
    """Relays a port to a server's. One connection can be made to misbehave, from the moment at which a client of it
    sends `said`."""

    def __init__(self, server_port: int) -> None:
        self._server_port = server_port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.said = b""  # nothing
        self.answer = b""  # sent in the server's place, once
        self.take = -1  # so many bytes of what follows are relayed: then the connection is closed, or nothing is taken
        self.stall = threading.Event()  # nothing is taken, until it is cleared
        self._ended = threading.Event()
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Meddler:
        self._run(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self.stall.clear()
        for thread in self._threads:
            thread.join(10)
        self._listener.close()

    def calm(self) -> None:
        self.said = self.answer = b""
        self.take = -1
        self.stall.clear()

    def _run(self, work: Callable[..., None], *arguments: socket.socket) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._ended.is_set():
            if select.select([self._listener], [], [], 0.05)[0]:
                self._run(self._relay, self._listener.accept()[0])

    def _relay(self, client: socket.socket) -> None:
        chosen = False
        with (
            client,
            contextlib.suppress(OSError),
            socket.create_connection(("127.0.0.1", self._server_port)) as server,
        ):
            while not self._ended.is_set():
                sources = [server] if chosen and self.stall.is_set() else [client, server]
                for source in select.select(sources, [], [], 0.02)[0]:
                    data = source.recv(65536)
                    if not data:
                        return
                    if source is server:
                        client.sendall(data)
                        continue
                    if self.said and self.said in data:
                        chosen = True
                        if self.answer:
                            client.sendall(self.answer)
                            self.answer = b""
                            continue
                    elif chosen and self.take >= 0:
                        if len(data) > self.take:
                            return
                        self.take -= len(data)
                    server.sendall(data)


class Pair:
    """A client of Turnout and one of the server that has everything. Their packets have to be numbered in turn."""

    def __init__(self, port: int, mirror_port: int, flags: int, without: int = 0) -> None:
        account = (APP, APP_PASSWORD, DATABASE)
        self.client = Client(port, *account, flags=flags, without=without)
        self.mirror = Client(mirror_port, *account, flags=flags, without=without)
        self.client.numbered = self.mirror.numbered = True

    def run(self, *statements: str) -> None:
        for sql in statements:
            self.client.run(sql)
            self.mirror.run(sql)

    def send(self, file: File) -> None:
        """What both clients send when they are asked for a file."""
        pieces = [file] if isinstance(file, bytes) else list(file)
        self.client.file = self.mirror.file = lambda name: [piece for piece in pieces if piece]

    def same(self, sql: str | bytes, file: File = b"", ids: bool = True) -> Answer:
        """The answer of Turnout, which is the mirror's. `ids`: the insert ids, too."""
        self.send(file)
        ours, theirs = self.client.query(sql), self.mirror.query(sql)
        assert seen(ours, ids) == seen(theirs, ids), f"{sql!r}\n  {ours}\n  instead of\n  {theirs}"
        return ours

    def refused(self, sql: str, word: str, file: File = b"") -> None:
        self.send(file)
        answer = self.client.query(sql)
        assert answer.errno == 1235, f"{sql}: {answer}"
        assert word in answer.message, f"{sql}: {answer}"

    def compare(self, *tables: str) -> None:
        """Every table has the same rows on both sides."""
        for table in tables or SCHEMA:
            ours, theirs = (sorted(map(repr, c.query(f"SELECT * FROM {table}").checked().rows)) for c in self.both)
            assert ours == theirs, table

    @property
    def both(self) -> tuple[Client, Client]:
        return self.client, self.mirror

    def close(self) -> None:
        self.client.abort()
        self.mirror.abort()


def seen(answer: Answer, ids: bool = True) -> list[object]:
    """All that a driver sees of it, result by result."""
    told: list[object] = [
        answer.errno,
        answer.sqlstate,
        answer.message,
        answer.affected_rows,
        answer.insert_id if ids else 0,
        answer.warnings,
        answer.info,
        answer.status & STATUS if not answer.errno else 0,
        [(c.name, c.type, c.flags, c.length, c.charset) for c in answer.columns],
        sorted(map(repr, answer.rows)),
    ]
    for more in answer.more:
        told += seen(more, ids)
    return told


class Place:
    """The servers, the mirror and a Turnout over them."""

    def __init__(self, run: Run, shop: Shop, transactions: str = "atomic") -> None:
        self.servers = {name: shop.server(name) for name in (*CLUSTERS, FAR)}
        self.mirror = run.mariadb("load-everything")
        self.mirror.create_account(APP, APP_PASSWORD)
        self.mirror.execute(f"CREATE DATABASE {DATABASE}")
        self.meddler = Meddler(self.servers[FAR].port)
        self.meddler.__enter__()
        for server in (self.mirror, *self.servers.values()):
            server.execute(f"DROP DATABASE IF EXISTS {DATABASE}", f"CREATE DATABASE {DATABASE}")
            server.execute(*(f"CREATE TABLE {name} {text}" for name, text in SCHEMA.items()), database=DATABASE)
        for server in (self.mirror, self.servers["main"]):
            server.execute(*PROCEDURES, database=DATABASE)
        self.proxy = run.turnout(
            RULES.format(servers=shop.rules(*CLUSTERS).rstrip(), far=self.meddler.port, transactions=transactions)
        )

    def close(self) -> None:
        self.meddler.__exit__()

    @contextmanager
    def pair(self, flags: int = raw.LOCAL_FILES | raw.MULTI_STATEMENTS, without: int = 0) -> Iterator[Pair]:
        pair = Pair(self.proxy.port, self.mirror.port, flags, without)
        try:
            yield pair
        finally:
            pair.close()

    def client(self, flags: int = raw.LOCAL_FILES) -> Client:
        client = Client(self.proxy.port, APP, APP_PASSWORD, DATABASE, flags=flags)
        client.numbered = True
        return client

    def memory(self) -> int:
        """Bytes that all processes of Turnout hold."""
        pages = sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in self.proxy.pids())
        return pages * os.sysconf("SC_PAGE_SIZE")

    def check_places(self) -> None:
        """Every row of a sharded table is on the shard of its key, as MySQL's own CRC32 says."""
        for number, shard in enumerate(("shard0", FAR, "media")):
            for table, key in (("orders", "k"), ("parts", "k"), ("counted", "id")):
                found = self.servers[shard].execute(
                    f"SELECT {key} FROM {table} WHERE CRC32({key}) % 4096 * 3 DIV 4096 <> {number}", database=DATABASE
                )
                assert not found, (shard, table, found)
