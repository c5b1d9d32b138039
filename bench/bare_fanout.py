"""The least that a scatter through any proxy costs: a loop that passes bytes on, and understands nothing.

What one client sends goes to all servers at once; when the last of them has answered, the longest answer goes to the
client. Neither is looked at, but for an answer's end.
"""

from __future__ import annotations

import multiprocessing as mp
import select
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

AT_ONCE = 65536  # bytes


def is_whole(answer: bytes) -> bool:
    """Does a result set's last EOF packet end here?"""
    return answer[-9:-6] == b"\x05\x00\x00" and answer[-5] == 0xFE


@contextmanager
def bare_fanout(servers: Sequence[Callable[[], socket.socket]]) -> Iterator[socket.socket]:
    """A client's socket to such a process. `servers` make its connections, which have to be logged in."""
    listener = socket.create_server(("127.0.0.1", 0))
    process = mp.Process(target=_serve, args=(listener, servers), daemon=True)
    process.start()
    try:
        with socket.create_connection(listener.getsockname()) as client:
            listener.close()
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            yield client
    finally:
        process.kill()
        process.join()


def _serve(listener: socket.socket, servers: Sequence[Callable[[], socket.socket]]) -> None:
    client, _ = listener.accept()
    connections = [connect() for connect in servers]
    for each in (client, *connections):
        each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    _pass_on(client, connections)


def _pass_on(client: socket.socket, servers: Sequence[socket.socket]) -> None:
    """Until the client goes."""
    ready = select.epoll()
    by_number = {each.fileno(): each for each in (client, *servers)}
    for number in by_number:
        ready.register(number, select.EPOLLIN)
    answers: dict[int, bytes] = {}
    while True:
        for number, _ in ready.poll():
            data = by_number[number].recv(AT_ONCE)
            if by_number[number] is client:
                if not data:
                    return
                answers.clear()
                for each in servers:
                    each.sendall(data)
            else:
                answers[number] = answers.get(number, b"") + data
                if len(answers) == len(servers) and all(map(is_whole, answers.values())):
                    client.sendall(max(answers.values(), key=len))
