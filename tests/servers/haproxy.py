"""HAProxy in TCP mode in front of one server: what a proxy that looks at nothing costs."""

from __future__ import annotations

import resource
import socket
from collections.abc import Mapping
from pathlib import Path

from tests.servers.process import Process

CONFIGURATION = """\
global
    nbthread {threads}
    maxconn {connections}
defaults
    mode tcp
    timeout connect 5s
    timeout client 1h
    timeout server 1h
listen mysql
    bind 127.0.0.1:{port}
    server backend 127.0.0.1:{backend_port} {options}
"""


def connections() -> int:
    """As many as our limit of open files allows (two sockets each), 10,000 at most."""
    return min(10_000, (resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 100) // 2)


class HAProxy(Process):
    def __init__(
        self,
        name: str,
        folder: Path,
        port: int,
        backend_port: int,
        environment: Mapping[str, str],
        threads: int,
        options: str = "",
    ) -> None:
        self.port = port
        configuration = folder / "haproxy.cfg"
        configuration.write_text(
            CONFIGURATION.format(
                threads=threads, connections=connections(), port=port, backend_port=backend_port, options=options
            )
        )
        super().__init__(name, ["haproxy", "-db", "-f", str(configuration)], folder / "log", environment)

    def ready(self) -> bool:
        with socket.create_connection(("127.0.0.1", self.port), 1.0):
            return True
