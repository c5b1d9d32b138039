"""A worker without MySQL, behind the same interface: a line protocol that lets tests do to it what they need.

python -m tests.cli.fake_worker --link-fd N        is the worker process
python -m tests.cli.fake_worker serve RULES        is a supervisor over such workers
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import time
from pathlib import Path

import uvloop

from proxy.cli.nursery import Nursery
from proxy.cli.supervisor import Supervisor
from proxy.cli.worker_main import run
from proxy.errors import TurnoutError
from proxy.measure import log as logs
from proxy.measure.measures import Measures
from proxy.measure.peers import Peers
from proxy.measure.shape_stats import ShapeStats
from proxy.measure.states import SequenceState, ServerState, SessionState
from proxy.rules.model import Rules


class FakeWorker:
    """Clients say a word a line and get a line back. See `_do`."""

    def __init__(self, rules: Rules, slot: int, slots: int, measures: Measures) -> None:
        self.rules = rules
        self.slot = slot
        self.slots = slots
        self.measures = measures
        self.peers: Peers | None = None
        self._clients: dict[int, asyncio.StreamWriter] = {}
        self._in_transaction: set[int] = set()
        self._draining = False
        self._next = 0
        self._shapes: dict[str, ShapeStats] = {}
        self._server: asyncio.Server | None = None

    async def start(self, listener: socket.socket) -> None:
        if "crash-at-start" in self.rules.users:
            os._exit(7)
        if "fail-at-start" in self.rules.users:
            raise TurnoutError("this worker was told to fail")
        start = asyncio.start_unix_server if listener.family == socket.AF_UNIX else asyncio.start_server
        self._server = await start(self._serve, sock=listener)

    def reload(self, rules: Rules) -> None:
        if "refuse-rules" in rules.users and "refuse-rules" not in self.rules.users:
            raise RuntimeError("told to")
        self.rules = rules

    def sessions(self) -> list[SessionState]:
        return [SessionState(id, "app", "h", transaction=id in self._in_transaction) for id in self._clients]

    async def sequences(self) -> list[SequenceState]:
        return [SequenceState("main", "a.b", 100, 5, 10)]

    def clusters(self) -> list[ServerState]:
        return [
            ServerState(c.name, str(c.primary), "primary", "up", busy=1, idle=2, limit=c.max_connections)
            for c in self.rules.clusters.values()
        ]

    def kill(self, connection_id: int, query_only: bool, user: str, admin: bool) -> str:
        if user != "app" and not admin:
            return "denied"
        writer = self._clients.get(connection_id)
        if writer is None:
            return "unknown"
        writer.write(b"killed\n")
        if not query_only:
            writer.close()
        return ""

    async def refresh(self) -> None:
        return

    async def drain(self, deadline_s: float) -> None:
        assert self._server is not None
        self._server.close()
        self._draining = True
        for id, writer in list(self._clients.items()):
            if id not in self._in_transaction:
                self._end(writer)
        deadline = time.monotonic() + deadline_s
        while self._clients and time.monotonic() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        for writer in list(self._clients.values()):
            self._end(writer)
        await asyncio.sleep(0.05)

    @staticmethod
    def _end(writer: asyncio.StreamWriter) -> None:
        writer.write(b"1053\n")
        writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        id = self._next * 64 + self.slot
        self._next += 1
        self._clients[id] = writer
        self.measures.clients += 1
        self.measures.accepted += 1
        try:
            while line := await reader.readline():
                writer.write((await self._do(id, line.decode().strip()) + "\n").encode())
                if self._draining and id not in self._in_transaction:
                    break
        except ConnectionError:
            pass
        finally:
            self.measures.clients -= 1
            del self._clients[id]
            self._in_transaction.discard(id)
            writer.close()

    async def _do(self, id: int, line: str) -> str:
        word, _, rest = line.partition(" ")
        assert self.peers is not None
        if word == "who":
            return f"{self.slot} {os.getpid()} {id}"
        if word == "users":
            return ",".join(sorted(self.rules.users))
        if word == "run":
            shape = self._shapes.setdefault(rest, self.measures.shape(rest, "forward", ["shop.t"], ["main"]))
            shape.record(2_000_000, 1_500_000, 3, 100, False)
            return "ok"
        if word == "begin":
            self._in_transaction.add(id)
            return "ok"
        if word == "commit":
            self._in_transaction.discard(id)
            return "ok"
        if word == "crash":
            os._exit(int(rest))
        if word == "hang":
            time.sleep(3600)  # noqa: ASYNC251
        try:
            if word == "show":
                columns, rows = await self.peers.show(rest)
                return repr((columns, rows))
            if word == "kill":
                target, user = rest.split()
                return repr(await self.peers.kill(int(target), False, user, False))
        except TurnoutError as error:
            return f"error {error.message}"
        return "what?"


def serve(path: str) -> int:
    logs.configure("info", "json")
    command = (sys.executable, "-m", "tests.cli.fake_worker", "--log-format", "json")

    nursery = Nursery.open(["tests.cli.fake_worker"])

    async def supervise() -> int:
        return await Supervisor(Path(path), command, nursery=nursery).run()

    try:
        return uvloop.run(supervise())
    except TurnoutError as error:
        print(f"turnout: {error.message}", file=sys.stderr)
        return 1
    finally:
        nursery.close()


def main() -> int:
    return serve(sys.argv[2]) if sys.argv[1] == "serve" else run(FakeWorker)


if __name__ == "__main__":
    sys.exit(main())
