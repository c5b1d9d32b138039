"""Many clients: what 10,000 idle ones cost, what 200 busy ones notice of them, and what a storm of logins does.

    python -m bench.clients [--quick]

Clients are plain sockets of this process that know just enough of the protocol, on several addresses of loopback. The
busy ones send a point select each at a fixed rate, well below what the machine carries, so that the time an answer
takes is not that of a queue.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import resource
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from bench import machine, sysbench
from bench.samples import Spread
from bench.tables import number, scaled, spread, table
from bench.topology import PLAIN
from proxy.wire import auth
from proxy.wire import capability as cap
from proxy.wire.frames import encode
from proxy.wire.handshake import NATIVE, Greeting, HandshakeResponse
from tests.servers import Run, Turnout

QUERY = encode(b"\x03SELECT c FROM sbtest1 WHERE id = 1", 0)
QUIT = encode(b"\x01", 0)
SOURCES = tuple(f"127.0.0.{number}" for number in range(2, 10))  # each has ports of its own
PATIENCE_S = 30.0  # a client that is not answered for so long hangs
SETTLE_S = 1.0
AT_ONCE = 50  # idle clients that log in together
TOO_MANY = 1040

RULES = """\
listen: {{mysql: '127.0.0.1:@MYSQL_PORT@', http: '127.0.0.1:@HTTP_PORT@', max_connections: 20000}}
workers: 1
users:
  {user}: {{password: {password}}}
service: {{user: turnout, password: turnout-secret}}
clusters:
  main: {{primary: '{main}', max_connections: 64}}
databases:
  {database}: {{home: main}}
limits: {{logins_per_second: {most}, logins_per_address: 0}}
"""


@dataclass(frozen=True, slots=True)
class ClientSize:
    idle: int
    busy: int
    rounds: int
    seconds: float  # of each measurement of the busy ones
    per_second: int  # statements of one busy client
    logins: int  # one after the other, to see what one costs
    storm_per_second: int
    storm_seconds: float
    admitted_per_second: int  # while the storm blows


FULL = ClientSize(10_000, 200, 3, 5.0, 5, 2000, 2000, 4.0, 200)
QUICK = ClientSize(1000, 50, 1, 2.0, 5, 300, 500, 2.0, 50)


@dataclass(slots=True)
class ClientResults:
    size: ClientSize
    idle_bytes: list[float] = field(default_factory=list)  # of Turnout, per idle client
    alone_ms: list[tuple[float, float, float]] = field(default_factory=list)  # p50, p95, p99 of the busy ones
    among_ms: list[tuple[float, float, float]] = field(default_factory=list)  # the same with the idle ones there
    alone_us: list[float] = field(default_factory=list)  # CPU of Turnout per statement
    among_us: list[float] = field(default_factory=list)
    login_us: list[float] = field(default_factory=list)  # CPU of Turnout per login
    refused_us: list[float] = field(default_factory=list)  # and per login that is turned away
    logins_per_s: float = 0.0  # that one worker has carried, as fast as it could
    storm: Counter[str] = field(default_factory=Counter)  # outcomes
    storm_ms: tuple[float, float, float] = (0.0, 0.0, 0.0)  # until those who were let in had logged in
    storm_seconds: float = 0.0


# -- clients that wait -------------------------------------------------------------------------------------------------


def response_to(greeting: bytes) -> bytes:
    """The login, given the packet that the server began with."""
    parsed = Greeting.parse(greeting)
    flags = cap.PROTOCOL_41 | cap.SECURE_CONNECTION | cap.PLUGIN_AUTH | cap.CONNECT_WITH_DB | cap.LONG_PASSWORD
    proof = auth.native_response(PLAIN.password.encode(), parsed.scramble)
    account = (PLAIN.user.encode(), proof, PLAIN.database.encode(), NATIVE)
    return encode(HandshakeResponse(flags | cap.TRANSACTIONS, 1 << 24, 45, *account).encode(), 1)


def _packet(connection: socket.socket) -> bytes:
    head = connection.recv(4, socket.MSG_WAITALL)
    return connection.recv(int.from_bytes(head[:3], "little"), socket.MSG_WAITALL)


def logged_in(port: int, *sources: str) -> list[socket.socket]:
    """Clients that have logged in, one from each address. Raises RuntimeError where one was not let in."""
    connections = []
    for source in sources:
        connection = socket.socket()
        connection.settimeout(PATIENCE_S)
        connection.bind((source, 0))
        connection.connect(("127.0.0.1", port))
        connections.append(connection)
    for connection in connections:
        first = _packet(connection)
        if first[:1] == b"\xff":
            raise _not_let_in(connections, first)
        connection.sendall(response_to(first))
    for connection in connections:
        last = _packet(connection)
        if last[:1] != b"\0":
            raise _not_let_in(connections, last)
    return connections


def _not_let_in(connections: Sequence[socket.socket], said: bytes) -> RuntimeError:
    for connection in connections:
        connection.close()
    return RuntimeError(f"not logged in: {said!r}")


def asked(connection: socket.socket) -> bytes:
    """The answer to the point select, which ends with its second EOF packet."""
    connection.sendall(QUERY)
    data, ends = b"", 0
    while ends < 2:
        data += connection.recv(65536)
        ends, pos = 0, 0
        while pos + 5 <= len(data):
            ends += data[pos + 4] == 0xFE
            pos += 4 + int.from_bytes(data[pos : pos + 3], "little")
    return data


@contextlib.contextmanager
def idle_clients(port: int, count: int) -> Iterator[None]:
    """Clients that have logged in, have asked something, and say nothing more."""
    with contextlib.ExitStack() as stack:
        sources = itertools.islice(itertools.cycle(SOURCES), count)
        while some := list(itertools.islice(sources, AT_ONCE)):
            for connection in logged_in(port, *some):
                stack.enter_context(connection)
                stack.callback(connection.sendall, QUIT)
                asked(connection)
        yield


# -- clients that ask --------------------------------------------------------------------------------------------------


class Busy(asyncio.Protocol):
    """A client on a connection that has logged in; it asks every `every_s`, late where an answer came late."""

    def __init__(self, length: int, every_s: float, took_s: list[float]) -> None:
        self._length = length
        self._every_s = every_s
        self._took_s = took_s
        self._got = 0
        self._sent = 0.0
        self._transport: asyncio.Transport
        self.stopped = False
        self.waiting = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    def ask(self) -> None:
        if not self.stopped:
            self._got, self._sent, self.waiting = 0, time.perf_counter(), True
            self._transport.write(QUERY)

    def data_received(self, data: bytes) -> None:
        self._got += len(data)
        if self._got >= self._length:
            took_s = time.perf_counter() - self._sent
            self._took_s.append(took_s)
            self.waiting = False
            asyncio.get_running_loop().call_later(max(0.0, self._every_s - took_s), self.ask)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.stopped:
            raise RuntimeError(f"a busy client was dismissed: {exc}")


async def busy_clients(port: int, size: ClientSize) -> list[float]:
    """How long each answer took (seconds)."""
    loop = asyncio.get_running_loop()
    took_s: list[float] = []
    clients: list[Busy] = []
    every_s = 1.0 / size.per_second
    for n, source in enumerate(itertools.islice(itertools.cycle(SOURCES), size.busy)):
        (connection,) = logged_in(port, source)
        length = len(asked(connection))
        connection.setblocking(False)
        _, client = await loop.create_connection(lambda: Busy(length, every_s, took_s), sock=connection)  # noqa: B023
        clients.append(client)
        loop.call_later(every_s * n / size.busy, client.ask)
    await asyncio.sleep(every_s * 2)
    took_s.clear()
    await asyncio.sleep(size.seconds)
    found = list(took_s)
    for client in clients:
        client.stopped = True
    deadline = time.monotonic() + PATIENCE_S
    while any(client.waiting for client in clients):
        if time.monotonic() > deadline:
            raise RuntimeError("a busy client has had no answer")
        await asyncio.sleep(0.01)
    for client in clients:
        client._transport.close()
    return found


def percentiles(seconds: Sequence[float]) -> tuple[float, float, float]:
    """p50, p95 and p99, in milliseconds."""
    ordered = sorted(seconds)
    p50, p95, p99 = (1000 * ordered[min(len(ordered) - 1, int(len(ordered) * share))] for share in (0.5, 0.95, 0.99))
    return p50, p95, p99


# -- a storm -----------------------------------------------------------------------------------------------------------


async def _one_of_many(port: int, source: str) -> tuple[str, float]:
    """(how a login ended, seconds)."""
    began = time.perf_counter()
    try:
        async with asyncio.timeout(PATIENCE_S):
            reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(source, 0))
            try:
                first = await _read(reader)
                if first[:1] != b"\xff":
                    writer.write(response_to(first))
                    first = await _read(reader)
                outcome = "ok" if first[:1] == b"\0" else str(int.from_bytes(first[1:3], "little"))
                took_s = time.perf_counter() - began
                writer.write(QUIT)
            finally:
                writer.close()
    except TimeoutError:
        return "hung", PATIENCE_S
    except (OSError, asyncio.IncompleteReadError) as error:
        return type(error).__name__, time.perf_counter() - began
    return outcome, took_s


async def _read(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readexactly(4)
    return await reader.readexactly(int.from_bytes(head[:3], "little"))


async def storm(port: int, size: ClientSize, per_second: int, seconds: float) -> tuple[list[tuple[str, float]], float]:
    """Logins that come at a rate, whatever becomes of them: how each ended; how long it took for them to come."""
    tasks: list[asyncio.Task[tuple[str, float]]] = []
    began = time.perf_counter()
    sources = itertools.cycle(SOURCES)
    while (passed_s := time.perf_counter() - began) < seconds:
        for _ in range(int(passed_s * per_second) - len(tasks)):
            tasks.append(asyncio.create_task(_one_of_many(port, next(sources))))
        await asyncio.sleep(0.005)
    came_s = time.perf_counter() - began
    return list(await asyncio.gather(*tasks)), came_s


def login_cost(turnout: Turnout, count: int) -> tuple[float, float]:
    """(CPU of Turnout per login in microseconds, logins a second), one after the other."""
    began, before = time.perf_counter(), sum(turnout.cpu_s())
    for source in itertools.islice(itertools.cycle(SOURCES), count):
        (connection,) = logged_in(turnout.port, source)
        with connection:
            connection.sendall(QUIT)
    return 1e6 * (sum(turnout.cpu_s()) - before) / count, count / (time.perf_counter() - began)


def refusal_cost(turnout: Turnout, count: int) -> float:
    """The same for logins that are turned away. Turnout lets one in per second."""
    before = sum(turnout.cpu_s())
    for source in itertools.islice(itertools.cycle(SOURCES), count):
        with contextlib.suppress(RuntimeError):
            logged_in(turnout.port, source)[0].close()
    return 1e6 * (sum(turnout.cpu_s()) - before) / count


# -- all of it ---------------------------------------------------------------------------------------------------------


def measure(run: Run, size: ClientSize, say: Callable[[str], None]) -> ClientResults:
    results = ClientResults(size)
    main = run.mariadb("main", options=["--max-connections=500"])
    main.create_account(PLAIN.user, PLAIN.password)
    main.create_service_account("turnout", "turnout-secret")
    main.execute(f"CREATE DATABASE {PLAIN.database}")
    sysbench.prepare(main.port, PLAIN, 100)

    def turnout(most: int) -> Turnout:
        account = {"user": PLAIN.user, "password": PLAIN.password, "database": PLAIN.database}
        return run.turnout(RULES.format(main=main.address, most=most, **account))

    proxy = turnout(0)
    asyncio.run(busy_clients(proxy.port, replace(size, seconds=1.0)))  # pools and plans are there
    for round_number in range(size.rounds):
        _busy(proxy, size, results.alone_ms, results.alone_us)
        time.sleep(SETTLE_S)
        before = proxy.memory_bytes()
        with idle_clients(proxy.port, size.idle):
            time.sleep(SETTLE_S)
            results.idle_bytes.append((proxy.memory_bytes() - before) / size.idle)
            _busy(proxy, size, results.among_ms, results.among_us)
        alone, among = results.alone_ms[-1], results.among_ms[-1]
        say(
            f"round {round_number + 1}/{size.rounds}: {results.idle_bytes[-1] / 1024:.1f} KB an idle client;"
            f" p50/p95/p99 of {size.busy} busy ones alone {_three(alone)}, among the idle ones {_three(among)}"
        )
        cost, rate = login_cost(proxy, size.logins)
        results.login_us.append(cost)
        results.logins_per_s = max(results.logins_per_s, rate)
    refusing = turnout(1)
    results.refused_us = [refusal_cost(refusing, size.logins) for _ in range(size.rounds)]
    refusing.stop()
    stormed = turnout(size.admitted_per_second)
    found, came_s = asyncio.run(storm(stormed.port, size, size.storm_per_second, size.storm_seconds))
    results.storm_seconds = came_s
    results.storm = Counter(outcome for outcome, _ in found)
    results.storm_ms = percentiles([took_s for outcome, took_s in found if outcome == "ok"])
    say(f"storm: {len(found)} logins in {came_s:.1f} s: {dict(results.storm)}; {_three(results.storm_ms)} until let in")
    time.sleep(1.0)
    (after,) = logged_in(stormed.port, SOURCES[0])  # it is over
    with after:
        asked(after)
    return results


def _busy(proxy: Turnout, size: ClientSize, took_ms: list[tuple[float, float, float]], cpu_us: list[float]) -> None:
    before = sum(proxy.cpu_s())
    found = asyncio.run(busy_clients(proxy.port, size))
    took_ms.append(percentiles(found))
    cpu_us.append(1e6 * (sum(proxy.cpu_s()) - before) / len(found))


def _three(ms: tuple[float, float, float]) -> str:
    return "/".join(f"{value:.2f}" for value in ms) + " ms"


def _row(label: str, took_ms: Sequence[tuple[float, float, float]], cpu_us: Sequence[float]) -> list[str]:
    return [label, *(spread(Spread.of(column)) for column in zip(*took_ms)), spread(Spread.of(cpu_us))]


def section(results: ClientResults) -> list[str]:
    """The lines of a report."""
    size, outcomes = results.size, results.storm
    others = {name: count for name, count in outcomes.items() if name not in ("ok", "hung", str(TOO_MANY))}
    busy = f"{size.busy} busy clients"
    rows = [
        _row(f"{busy} alone", results.alone_ms, results.alone_us),
        _row(f"{busy} among {size.idle:,} idle ones", results.among_ms, results.among_us),
    ]
    costs = [
        ["memory of an idle client (KB)", spread(scaled(Spread.of(results.idle_bytes), 1024))],
        ["CPU of a login without TLS (us)", spread(Spread.of(results.login_us))],
        ["CPU of a login that is turned away (us)", spread(Spread.of(results.refused_us))],
        ["logins a second of one worker, by its CPU", number(1e6 / Spread.of(results.login_us).median)],
        ["logins a second that one client after the other has made", number(results.logins_per_s)],
    ]
    return [
        f"One worker; busy clients send {size.per_second} point selects a second each. Medians of {size.rounds} rounds,"
        " with the lowest and the highest; in each round the busy ones are measured alone and among the idle ones.",
        "CPU includes that of logging the busy ones in, and of everything that Turnout does once a second.",
        "",
        *table(["", "p50 ms", "p95 ms", "p99 ms", "CPU us a statement"], rows),
        "",
        *table(["", ""], costs),
        "",
        f"A storm of {sum(outcomes.values()):,} logins in {results.storm_seconds:.1f} s, of which"
        f" `logins_per_second: {size.admitted_per_second}` lets in so many: {outcomes['ok']:,} logged in"
        f" ({_three(results.storm_ms)} p50/p95/p99), {outcomes[str(TOO_MANY)]:,} were told error {TOO_MANY},"
        f" {outcomes['hung']} had no answer" + (f", others: {others}." if others else "."),
    ]


def allow_many_files() -> None:
    """A client is a socket here and one in Turnout, or two in a proxy that gives each a connection of its own."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limits[1], limits[1]))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--quick", action="store_true", help="1,000 idle clients, seconds instead of minutes")
    parser.add_argument("--rounds", type=int, help="interleaved rounds")
    arguments = parser.parse_args()
    size = QUICK if arguments.quick else FULL
    if arguments.rounds:
        size = replace(size, rounds=arguments.rounds)
    allow_many_files()
    with Run() as run:
        results = measure(run, size, lambda text: print(text, file=sys.stderr, flush=True))
    print("\n".join([*table(["", ""], [list(pair) for pair in machine.describe()]), "", *section(results)]))


if __name__ == "__main__":
    main()
