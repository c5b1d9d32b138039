"""No session sees another's state: many sessions over few server connections, each compared with itself run alone.

TURNOUT_SEED repeats a run (the seed is in every failure), TURNOUT_STEPS makes it longer.
"""

from __future__ import annotations

import concurrent.futures
import random
from collections.abc import Callable, Iterator

import pytest

from tests.front import raw
from tests.front.paired import PairedSession
from tests.front.raw import Client
from tests.front.statements import SCHEMA, SHARED
from tests.servers import MariaDB, Run, Shop, Turnout
from tests.servers.shop import APP, APP_PASSWORD, DATABASE, OPS, OPS_PASSWORD
from tests.sizes import seed, size

SEED = seed()
STEPS = size("TURNOUT_STEPS", 120, 250)
SESSIONS = 8
CONNECTIONS = 4
HELD = 8  # the column of SHOW TURNOUT SESSIONS with the clusters whose connections a session holds
FLAGS = (0, raw.FOUND_ROWS, raw.MULTI_STATEMENTS, 0)

RULES = """\
pool: {{wait: 60s}}
health: {{timeout: 30s, connect_timeout: 30s}}
{servers}
databases:
  shop:
    home: main
{reads}
  attic: {{home: main}}
"""
READS = "    reads: {from: replicas, max_lag: 60s, own_writes: true}"


@pytest.fixture(scope="module")
def mirror(run: Run) -> MariaDB:
    """The server that sessions have to themselves."""
    server = run.mariadb("mirror")
    server.create_account(APP, APP_PASSWORD)
    server.execute(f"CREATE DATABASE {DATABASE}")
    return server


@pytest.fixture
def rules(shop_servers: Shop, mirror: MariaDB) -> Iterator[str]:
    prefixes = [f"s{n:02}" for n in range(SESSIONS)]
    shop_servers.recreate()
    for server in (shop_servers.main, mirror):
        server.execute("DROP DATABASE IF EXISTS attic", "CREATE DATABASE attic")
        server.execute(f"DROP DATABASE {DATABASE}", f"CREATE DATABASE {DATABASE}")
        for database, script in ((DATABASE, SCHEMA + SHARED), ("attic", SCHEMA)):
            lines = [line.replace("{p}", prefix) for prefix in prefixes for line in script.splitlines()]
            server.execute(*lines, database=database)
    yield shop_servers.rules()
    shop_servers.main.execute("DROP DATABASE attic")


def limited(rules: str, connections: int) -> str:
    return rules.replace("{primary:", f"{{max_connections: {connections}, primary:")


@pytest.fixture
def paired(
    turnout: Callable[..., Turnout], shop_servers: Shop, mirror: MariaDB
) -> Iterator[Callable[[str], list[PairedSession]]]:
    """A factory: Turnout on these rules, and all the sessions."""
    made: list[PairedSession] = []

    def make(rules: str) -> list[PairedSession]:
        proxy = turnout(rules)
        print(f"TURNOUT_SEED={SEED} TURNOUT_STEPS={STEPS}")
        made.extend(
            PairedSession(f"s{n:02}", SEED, proxy.port, mirror, shop_servers.main, FLAGS[n % len(FLAGS)])
            for n in range(SESSIONS)
        )
        return made

    yield make
    for session in made:
        session.client.abort()
        session.mirror.abort()


@pytest.mark.servers
def test_interleaved_sessions_one_statement_at_a_time(rules: str, paired: Callable[[str], list[PairedSession]]) -> None:
    """Every statement of a session may run on a connection that another session has just left. Repeatable exactly."""
    sessions = paired(RULES.format(servers=limited(rules, CONNECTIONS), reads=""))
    order = random.Random(SEED)
    with Client(sessions[0].port, OPS, OPS_PASSWORD) as admin:
        for _ in range(STEPS * SESSIONS):
            holders = {int(row[0] or 0) for row in admin.run("SHOW TURNOUT SESSIONS").rows if row[HELD]}
            if len(holders) < CONNECTIONS - 1:
                order.choice(sessions).step()
            else:  # one connection has to be left to those that hold none
                order.choice([session for session in sessions if session.client.id in holders]).reset()
    _report(sessions)


@pytest.mark.servers
@pytest.mark.parametrize("replica", [False, True], ids=["primary", "replica"])
def test_sessions_at_the_same_time(
    rules: str, shop_servers: Shop, paired: Callable[[str], list[PairedSession]], replica: bool
) -> None:
    """The same with every session in a thread of its own: more transactions at once than there are connections."""
    if replica:
        shop_servers.replica.catch_up()
        rules = shop_servers.rules(replica=True)
    sessions = paired(RULES.format(servers=limited(rules, CONNECTIONS), reads=READS if replica else ""))
    failures: list[BaseException] = []  # the first is the one to look at: the others stop because of it

    def work(session: PairedSession) -> None:
        try:
            for _ in range(STEPS):
                if failures:
                    return
                session.step()
            session.close()
        except BaseException as error:
            failures.append(error)
        finally:
            session.client.abort()  # what it holds is what others wait for

    with concurrent.futures.ThreadPoolExecutor(SESSIONS) as pool:
        for session in sessions:
            pool.submit(work, session)
    if failures:
        raise failures[0]
    _report(sessions)


def _report(sessions: list[PairedSession]) -> None:
    steps, refused = sum(s.steps for s in sessions), sum(s.refused for s in sessions)
    print(f"{steps} steps, {refused} refused")
    assert refused < steps / 20, "the proxy refuses what it should answer"
