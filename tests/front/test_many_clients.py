"""2,000 clients share at most 64 server connections: no errors, and nobody is given another's answer.

TURNOUT_CLIENT_STATEMENTS makes it longer.
"""

from __future__ import annotations

import asyncio
import random
import resource
from collections.abc import Callable, Iterator

import pytest

from tests.front.raw import AsyncClient
from tests.servers import Shop, Turnout
from tests.servers.process import wait_until
from tests.servers.shop import APP, APP_PASSWORD, DATABASE
from tests.sizes import size

CLIENTS = 2000
STATEMENTS = size("TURNOUT_CLIENT_STATEMENTS", 4, 6)
SERVER_CONNECTIONS = 64
LOGINS_AT_ONCE = 200
DESCRIPTORS = 2 * CLIENTS + 500


@pytest.fixture
def descriptors() -> Iterator[None]:
    """Enough open files for all the clients in this process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, DESCRIPTORS), max(hard, DESCRIPTORS)))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, max(hard, DESCRIPTORS)))


async def work(client: AsyncClient, number: int) -> int:
    """What one client does, each answer checked; returns the number of statements."""
    rng = random.Random(number)
    done = 0

    async def ask(sql: str) -> tuple[tuple[bytes | None, ...], ...]:
        nonlocal done
        done += 1
        answer = await client.query(sql)
        assert answer.ok, f"client {number}: {sql}: {answer}"
        return answer.rows

    await ask(f"SET @mine = {number}")
    if number % 5 == 0:  # a few settings, so that connections change hands between unlike sessions
        await ask(f"SET time_zone = '+0{number % 7}:00'")
    for n in range(STATEMENTS):
        token = f"{number}-{n}-{rng.random()}"
        choice = rng.randrange(6)
        if choice == 0:
            assert await ask(f"SELECT '{token}', {number}") == ((token.encode(), b"%d" % number),)
        elif choice == 1:
            rows = await ask(f"SELECT '{token}', n FROM numbers WHERE n <= {number % 300} ORDER BY n")
            expected = [(token.encode(), b"%d" % i) for i in range(1, number % 300 + 1)]
            assert rows == tuple(expected)
        elif choice == 2:
            assert await ask("SELECT @mine") == ((b"%d" % number,),)
        elif choice == 3:
            await ask(f"INSERT INTO notes (client, token) VALUES ({number}, '{token}')")
            ((own,),) = await ask("SELECT LAST_INSERT_ID()")
            assert own is not None
            found = await ask(f"SELECT client, token FROM notes WHERE id = {int(own)}")
            assert found == ((b"%d" % number, token.encode()),)
        elif choice == 4:
            zone = f"+0{number % 7}:00" if number % 5 == 0 else "SYSTEM"
            assert await ask("SELECT @@time_zone, CONNECTION_ID()") == ((zone.encode(), b"%d" % client.id),)
        else:
            await ask("BEGIN")
            await ask(f"UPDATE counters SET n = n + 1 WHERE client = {number}")
            ((count,),) = await ask(f"SELECT n FROM counters WHERE client = {number}")
            if rng.random() < 0.5:
                await ask("COMMIT")
            else:
                await ask("ROLLBACK")
                assert count is not None
                left = await ask(f"SELECT n FROM counters WHERE client = {number}")
                assert left == ((b"%d" % (int(count) - 1),),)
    return done


async def everybody(port: int) -> int:
    clients: list[AsyncClient] = []
    logins = asyncio.Semaphore(LOGINS_AT_ONCE)

    async def one() -> AsyncClient:
        async with logins:
            return await AsyncClient.connect(port, APP, APP_PASSWORD, DATABASE)

    try:
        async with asyncio.timeout(100):
            clients = list(await asyncio.gather(*(one() for _ in range(CLIENTS))))
            assert len({client.id for client in clients}) == CLIENTS
            counts = await asyncio.gather(*(work(client, n) for n, client in enumerate(clients)))
        for client in clients:
            await client.close()
        return sum(counts)
    finally:
        for client in clients:
            client.abort()


@pytest.mark.servers
@pytest.mark.parametrize("workers", [pytest.param(1, marks=pytest.mark.thorough), 2])
def test_2000_clients_share_64_connections(
    turnout: Callable[..., Turnout], shop_servers: Shop, descriptors: None, workers: int
) -> None:
    shop_servers.recreate()
    main = shop_servers.main
    main.execute(
        "CREATE TABLE numbers (n INT PRIMARY KEY)",
        "INSERT INTO numbers SELECT seq FROM seq_1_to_300",
        "CREATE TABLE notes (id INT AUTO_INCREMENT PRIMARY KEY, client INT NOT NULL, token VARCHAR(60) NOT NULL)",
        "CREATE TABLE counters (client INT PRIMARY KEY, n INT NOT NULL)",
        f"INSERT INTO counters SELECT seq, 0 FROM seq_0_to_{CLIENTS - 1}",
        "FLUSH STATUS",
        database=DATABASE,
    )
    each = SERVER_CONNECTIONS // workers
    rules = shop_servers.rules().replace("{primary:", f"{{max_connections: {each}, primary:")
    rules += f"workers: {workers}\npool: {{wait: 60s}}\nhealth: {{timeout: 30s, connect_timeout: 30s}}\n"
    rules += f"databases:\n  {DATABASE}: {{home: main}}\n"
    proxy = turnout(rules)
    before = proxy.metric("turnout_statements_total")
    peak_before = _status(main, "Threads_connected")
    statements = asyncio.run(everybody(proxy.port))
    # The peak also counts this test's own look at the server and what was connected before.
    peak = _status(main, "Max_used_connections")
    assert peak <= SERVER_CONNECTIONS + peak_before + 2 * workers, f"{peak} connections at once"
    wait_until(lambda: proxy.metric("turnout_statements_total") - before >= statements, 5)
    assert _status(main, "Threads_connected") <= SERVER_CONNECTIONS + peak_before + 2 * workers
    count, clients = main.execute(f"SELECT COUNT(*), COUNT(DISTINCT client) FROM {DATABASE}.notes")[0]
    assert count >= clients > CLIENTS // 3


def _status(server: object, name: str) -> int:
    from tests.servers import MariaDB

    assert isinstance(server, MariaDB)
    return int(server.execute(f"SHOW GLOBAL STATUS LIKE '{name}'")[0][1])
