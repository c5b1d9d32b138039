"""A memcached server of a run."""

from __future__ import annotations

import getpass
import socket
from collections.abc import Mapping
from pathlib import Path

from tests.servers.process import Process


class Memcached(Process):
    def __init__(self, name: str, folder: Path, port: int, environment: Mapping[str, str], size_mb: int) -> None:
        self.port = port
        argv = ["memcached", "-l", "127.0.0.1", "-p", str(port), "-U", "0", "-m", str(size_mb), "-u", getpass.getuser()]
        super().__init__(name, argv, folder / "log", environment)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def ready(self) -> bool:
        with socket.create_connection(("127.0.0.1", self.port), 1.0) as connection:
            connection.sendall(b"version\r\n")
            return connection.recv(64).startswith(b"VERSION ")
