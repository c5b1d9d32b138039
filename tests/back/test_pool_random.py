"""Pools of several accounts on one server under clients that come, wait, give up and go while connections are lost."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field

from hypothesis import example, given, settings
from hypothesis import strategies as st

from proxy.back.connection import ServerConnection
from proxy.back.pool import Pool
from proxy.errors import ServerFailed, TurnoutError
from tests.back.fakes import FakeServer, lose, play, refused, run_a_statement, settle, take

ACCOUNTS = ("a", "b", "c")


@dataclass
class World:
    """What is checked while it goes on: a connection has one holder, and the server's numbers add up."""

    rng: random.Random
    server: FakeServer
    held: dict[ServerConnection, int] = field(default_factory=dict)
    served: int = 0

    async def client(self, number: int) -> None:
        rng = self.rng
        pool = self.server.account(rng.choice(ACCOUNTS))
        database = rng.choice((None, "shop"))
        for _ in range(rng.randrange(1, 5)):
            await asyncio.sleep(rng.choice((0, 0, 0.01, 0.3)))
            try:
                async with asyncio.timeout(rng.choice((None, None, 0.0, 0.1, 1.0))):
                    connection = await take(pool, database)
            except (TurnoutError, TimeoutError):
                continue
            assert connection not in self.held, "a connection with two holders"
            assert database is not None or connection.database is None
            connection.database = database
            self.held[connection] = number
            self.served += 1
            try:
                await asyncio.sleep(rng.choice((0, 0.01, 0.2)))
            finally:
                del self.held[connection]
                self.give_back(pool, connection)

    def give_back(self, pool: Pool, connection: ServerConnection) -> None:
        kind = self.rng.randrange(12)
        if kind == 0:
            connection.dirty = "lock"
        elif kind == 1 and connection.aborted is None:
            run_a_statement(connection)
        elif kind == 2:
            connection.abort(ServerFailed("gone"))
        pool.release(connection)

    async def weather(self) -> None:
        """What happens to the server meanwhile."""
        server, rng = self.server, self.rng
        while True:
            await asyncio.sleep(rng.choice((0.01, 0.1, 0.4)))
            kind = rng.randrange(7)
            connections = [c for c in server.connections if c.aborted is None]
            connection = rng.choice(sorted(connections, key=id)) if connections else None
            if kind == 0 and connection is not None:
                lose(connection)
            elif kind == 1 and connection is not None:
                connection.abort(ServerFailed("killed"))
            elif kind == 2:
                server.refusal[rng.choice(ACCOUNTS)] = refused(rng.choice((1045, 1040)))
            elif kind == 3:
                server.refusal.clear()
            elif kind == 4 and rng.random() < 0.3:
                server.mark_down("gone")
            elif kind == 5:
                server.mark_up()
            else:
                server.connect_s = rng.choice((0.0, 0.05, 0.5))
            server.check()


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 1 << 32), st.integers(1, 4), st.integers(1, 25))
@example(692, 4, 9)  # another account took the place that was made by closing an idle connection
def test_nothing_is_lost_or_given_twice(seed: int, limit: int, clients: int) -> None:
    async def scene() -> None:
        rng = random.Random(seed)
        server = FakeServer(limit, wait_s=rng.choice((0.05, 1.0, 5.0)))
        world = World(rng, server)
        weather = asyncio.create_task(world.weather())
        tasks = [asyncio.create_task(world.client(number)) for number in range(clients)]
        for task in rng.sample(tasks, len(tasks) // 4):
            asyncio.get_running_loop().call_later(rng.random(), task.cancel)
        results = await asyncio.gather(*tasks, return_exceptions=True)
        weather.cancel()
        await asyncio.wait([weather])
        for result in [*results, None if weather.cancelled() else weather.exception()]:
            assert result is None or isinstance(result, asyncio.CancelledError), result
        server.refusal.clear()
        server.connect_s = 0.0
        server.mark_up()
        await asyncio.sleep(10)  # whatever is being opened is there now
        server.check()
        assert world.held == {}
        for pool in server.pools.values():
            assert not pool.waiting
            assert pool._opening == 0
            assert pool.size == len(pool.idle)
        for user in ACCOUNTS:  # every slot of the server is still there, for anybody
            connections = [await take(server.account(user)) for _ in range(limit)]
            for connection in connections:
                server.account(user).release(connection)
            await settle()
            server.check()

    play(scene)
