"""A supervisor over workers that know no MySQL."""

from __future__ import annotations

import contextlib
import json
import logging
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.servers import Run, Turnout

RULES = """
turnout: 1
listen: {mysql: '127.0.0.1:@MYSQL_PORT@', http: '127.0.0.1:@HTTP_PORT@'}
workers: %(workers)d
users:
  app: {password: secret-of-app}
  ops: {password: secret-of-ops, admin: true}
%(users)s
clusters:
  main: {primary: '127.0.0.1:3306'}
service: {user: turnout, password: secret-of-turnout}
databases:
  shop: {home: main}
limits: {drain: %(drain)s}
"""


def rules(workers: int = 2, users: str = "", drain: str = "5s") -> str:
    more = "\n".join(f"  {name}: {{password: x}}" for name in users.split())
    return RULES % {"workers": workers, "users": more, "drain": drain}


class Fake(Turnout):
    """`turnout serve` whose workers are tests.cli.fake_worker."""

    def __init__(self, run: Run, text: str, **environment: str) -> None:
        folder = run.place("fake")
        super().__init__("fake", folder, text, run.port(), run.port(), {**run.environment, **environment})
        self.clients: list[Client] = []
        self.argv = [sys.executable, "-m", "tests.cli.fake_worker", "serve", str(self.rules_path)]
        self.environment["TURNOUT_CONTROL"] = str(folder / "control")

    def events(self, name: str) -> list[dict[str, Any]]:
        """The log's lines about one event."""
        lines = [json.loads(line) for line in self.log_text().splitlines() if line.startswith("{")]
        return [line for line in lines if line["event"] == name]

    def client(self) -> Client:
        made = Client(socket.create_connection(("127.0.0.1", self.port), 5.0))
        self.clients.append(made)
        return made

    def client_of(self, slot: int) -> Client:
        """A client that the kernel gave to the worker in this slot."""
        for _ in range(200):
            client = self.client()
            if client.ask("who").split()[0] == str(slot):
                return client
            client.close()
        raise AssertionError(f"no connection went to worker {slot}")


class Client:
    """A client of a FakeWorker."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._file = channel.makefile("rw", newline="\n")

    def send(self, line: str) -> None:
        self._file.write(line + "\n")
        self._file.flush()

    def read(self) -> str:
        """A line, or "" at the end."""
        try:
            return self._file.readline().strip()
        except ConnectionError:
            return ""

    def ask(self, line: str) -> str:
        self.send(line)
        return self.read()

    def close(self) -> None:
        with contextlib.suppress(OSError):  # it tries to send what the server did not wait for
            self._file.close()
        self._channel.close()


@pytest.fixture(autouse=True)
def logs_as_before() -> Iterator[None]:
    """The commands set up logging for a process of their own."""
    root, ours = logging.getLogger(), logging.getLogger("turnout")
    before = root.handlers[:], root.level, ours.level
    yield
    root.handlers[:] = before[0]
    root.setLevel(before[1])
    ours.setLevel(before[2])
    logging.captureWarnings(False)


@pytest.fixture
def fake(run: Run) -> Iterator[Callable[..., Fake]]:
    """A factory: `fake(rules_text)` is running and ready; `wait=False` leaves out the waiting."""
    made: list[Fake] = []

    def start(text: str = "", wait: bool = True, **environment: str) -> Fake:
        process = Fake(run, text or rules(), **environment)
        made.append(process)
        return run.started(process, wait)

    yield start
    for process in made:
        process.kill()
        for client in process.clients:
            client.close()


@pytest.fixture
def rules_file(tmp_path: Path) -> Path:
    path = tmp_path / "routing_rules.yaml"
    path.write_text(rules().replace("@MYSQL_PORT@", "3307").replace("@HTTP_PORT@", "9307"))
    return path
