"""What the best hit could be: a server of nothing but uvloop that gives one constant answer, beside MariaDB and a hit.

    python -m bench.ceiling [--rounds 5] [--seconds 2] [--clients 8 64]

The server looks at one byte of what it is sent and writes bytes that it made beforehand, so its throughput is what a
Python process on uvloop cannot exceed however a cache is written. Runs are interleaved as in `bench.throughput`.

sysbench runs on the same processors and takes its share of them: `highest x` is how many times MariaDB's throughput
would come out if all processors did nothing but what one read costs client and server together.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import statistics
import sys
from collections import defaultdict
from typing import cast

import uvloop

from bench import cached_topology, sysbench
from bench.cached import SCRIPT
from bench.cached_topology import ACCOUNT, LOCAL
from bench.topology import DIRECT
from proxy.wire import capability, command, packets
from proxy.wire.frames import encode
from proxy.wire.handshake import Greeting
from proxy.wire.resultset import encode_resultset, text_column
from tests.servers import Run
from tests.servers.process import Process

CEILING = "constant answer"
KEYS = 10_000
_OK = packets.encode_ok()
_ANSWER = encode_resultset([text_column("c")], [[b"x" * 119]])
_CAPABILITIES = (
    capability.LONG_PASSWORD
    | capability.LONG_FLAG
    | capability.CONNECT_WITH_DB
    | capability.PROTOCOL_41
    | capability.TRANSACTIONS
    | capability.SECURE_CONNECTION
    | capability.PLUGIN_AUTH
)
_GREETING = Greeting(
    "10.11.0-constant", 1, b"a" * 20, _CAPABILITIES, charset=45, status=2, plugin="mysql_native_password"
)


class Constant(asyncio.Protocol):
    """Lets anybody in, and answers every statement but SET with the same row."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.logged_in = False
        self.transport.write(encode(_GREETING.encode(), 0))

    def data_received(self, data: bytes) -> None:
        if not self.logged_in:
            self.logged_in = True
            self.transport.write(encode(_OK, 2))
        elif data[4] == command.COM_QUERY and data[5] in b"Ss" and data[6] in b"Ee" and data[7] in b"Ll":
            self.transport.write(_ANSWER)
        elif data[4] != command.COM_QUIT:
            self.transport.write(encode(_OK, 1))


async def _serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Constant, "127.0.0.1", port)
    await server.serve_forever()


def _measure(rounds: int, seconds: int, clients: list[int]) -> None:
    with Run() as run:
        topology = cached_topology.build(run, [LOCAL], KEYS, KEYS)
        port = run.port()
        argv = [sys.executable, "-m", "bench.ceiling", "--serve", str(port)]
        constant = run.started(Process(CEILING, argv, run.place("ceiling") / "log", run.environment), wait=False)
        targets: list[tuple[str, int, Process]] = [(DIRECT, topology.targets[0].port, topology.server)]
        targets += [(each.name, each.port, each.proxy) for each in topology.targets if each.proxy]
        targets += [(CEILING, port, constant)]
        options = ("--table=sbtest1", f"--keys={KEYS}")
        warm = sysbench.Workload(SCRIPT, options=(*options, "--pattern=deal", f"--events={KEYS}"))
        for _, at, _ in targets:
            sysbench.run(at, ACCOUNT, warm, 1, 0)
        found: defaultdict[tuple[int, str, str], list[float]] = defaultdict(list)
        for number in range(rounds):
            for count in clients:
                turn = number % len(targets)
                per_second: dict[str, float] = {}
                both_us: dict[str, float] = {}
                for name, at, process in [*targets[turn:], *targets[:turn]]:
                    before, clients_before = sum(process.cpu_s()), _children_s()
                    report = sysbench.run(at, ACCOUNT, sysbench.Workload(SCRIPT, options=options), count, seconds)
                    cpu_us = 1e6 * (sum(process.cpu_s()) - before) / report.queries
                    client_us = 1e6 * (_children_s() - clients_before) / report.queries
                    per_second[name], both_us[name] = report.queries_per_s, cpu_us + client_us
                    found[count, name, "cpu"].append(cpu_us)
                    found[count, name, "client"].append(client_us)
                    found[count, name, "per_second"].append(report.queries_per_s)
                for name, _, _ in targets:
                    found[count, name, "x"].append(per_second[name] / per_second[DIRECT])
                    found[count, name, "highest"].append(both_us[DIRECT] / both_us[name])
        print(
            f"{'clients':>7}  {'asked':<16}  {'per second':>10}  {'x direct':>18}  {'highest x':>18}  "
            f"{'CPU us':>7}  {'client us':>9}"
        )
        for count in clients:
            for name, _, _ in targets:
                ratio, highest = (_spread(found[count, name, what]) for what in ("x", "highest"))
                per_s, cpu, client = (
                    statistics.median(found[count, name, what]) for what in ("per_second", "cpu", "client")
                )
                print(
                    f"{count:>7}  {name:<16}  {per_s:>10,.0f}  {ratio:>18}  {highest:>18}  {cpu:>7.1f}  {client:>9.1f}"
                )


def _children_s() -> float:
    """CPU of sysbench's runs so far, and of no process that is still running."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _spread(values: list[float]) -> str:
    return f"{statistics.median(values):.2f} ({min(values):.2f}-{max(values):.2f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=2)
    parser.add_argument("--clients", type=int, nargs="+", default=[8, 64])
    parser.add_argument("--serve", type=int, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.serve:
        uvloop.run(_serve(asked.serve))
    else:
        _measure(asked.rounds, asked.seconds, asked.clients)


if __name__ == "__main__":
    main()
