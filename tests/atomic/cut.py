"""A TCP relay in front of a server that cuts a connection once, after the server has answered a chosen command."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
from types import TracebackType


class Cut:
    """Relays `port` to a server's. When `armed`, the answer to the first command that contains `said` is awaited, kept
    back, and its connection closed on both sides; then it is `done` and relays on as before."""

    def __init__(self, server_port: int, said: bytes) -> None:
        self._server_port = server_port
        self._said = said
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.armed = threading.Event()
        self.done = threading.Event()
        self._ended = threading.Event()
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Cut:
        self._run(self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join(10)
        self._listener.close()

    def _run(self, work: object, *arguments: socket.socket) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._ended.is_set():
            if select.select([self._listener], [], [], 0.05)[0]:
                client, _ = self._listener.accept()
                self._run(self._relay, client)

    def _relay(self, client: socket.socket) -> None:
        with (
            client,
            contextlib.suppress(OSError),
            socket.create_connection(("127.0.0.1", self._server_port)) as server,
        ):
            while not self._ended.is_set():
                for source in select.select([client, server], [], [], 0.05)[0]:
                    data = source.recv(65536)
                    if not data:
                        return
                    if source is server:
                        client.sendall(data)
                        continue
                    server.sendall(data)
                    if self.armed.is_set() and not self.done.is_set() and self._said in data:
                        server.recv(65536)
                        self.done.set()
                        return
