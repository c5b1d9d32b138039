"""How long a point read takes that four shards are asked for, at one client.

`python -m bench.point_scatter [rounds, default 7]` starts four servers and a Turnout of one worker. In every round each
statement is asked 500 times by one client that reads answers without looking at them: of one server, directly; of all
four at once, directly, until the slowest has answered; through Turnout with the shard known, and without, so that all
four are asked, by a Turnout with the rules' defaults and by one that never stays awake (`busy_poll: off`). The budget
is 1.5 x the slowest shard's time. On fewer cores than shards the four share what the one has for itself, so the slowest
of four is what there is to be compared with; the one alone is shown beside it, and what the least takes that could
stand between (`bench.bare_fanout`), which sleeps.
"""

from __future__ import annotations

import socket
import statistics
import sys
import time
from collections import defaultdict
from contextlib import ExitStack
from functools import partial

from bench.bare_fanout import bare_fanout, is_whole
from bench.scatter import DATABASE, PASSWORD, RULES, SHARDS, USER, filled
from tests.front.raw import COM_QUERY, Client, framed
from tests.servers import Run

ROWS, ASKED = 20_000, 500
POINT = "SELECT id, n, name FROM big WHERE id = {}"
SORTED = "SELECT id, n, name FROM big WHERE id IN ({}, {}, {}, {}) ORDER BY id"
COUNTED = "SELECT COUNT(*), SUM(n) FROM big WHERE id = {}"
ONE, FOUR = "a server, directly", "the slowest of four servers, directly"
BARE = "a bare loop before four servers"


def ask(sockets: list[socket.socket], statements: list[str]) -> float:
    """Seconds until all have answered one, on average."""
    commands = [framed(bytes((COM_QUERY,)) + sql.encode()) for sql in statements]
    began = time.perf_counter()
    for command in commands:
        for each in sockets:
            each.sendall(command)
        for each in sockets:
            answer = each.recv(65536)
            while not is_whole(answer):
                assert answer[4] != 0xFF, answer
                answer += each.recv(65536)
    return (time.perf_counter() - began) / len(statements)


def logged_in(port: int) -> socket.socket:
    return Client(port, USER, PASSWORD, DATABASE).socket


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    with ExitStack() as stack:
        run = stack.enter_context(Run())
        servers = [filled(run, number, ROWS) for number in range(SHARDS)]
        clusters = "\n".join(f"  shard{n}: {{primary: '{server.address}'}}" for n, server in enumerate(servers))
        rules = RULES.format(clusters=clusters)
        proxy = run.turnout(rules)
        asleep = run.turnout(f"{rules}\nbusy_poll: off\n")
        ids = [number * 37 % ROWS + 1 for number in range(ASKED)]
        bare = stack.enter_context(bare_fanout([partial(logged_in, server.port) for server in servers]))
        direct = [logged_in(server.port) for server in servers]
        through, through_asleep = [logged_in(proxy.port)], [logged_in(asleep.port)]
        points = [POINT.format(n) for n in ids]
        asked: dict[str, tuple[list[socket.socket], list[str]]] = {
            ONE: (direct[:1], points),
            FOUR: (direct, points),
            BARE: ([bare], points),
            "Turnout, one shard": (through, [f"{sql} AND k = {n}" for sql, n in zip(points, ids)]),
            "Turnout, four shards": (through, points),
            "the same, busy_poll: off": (through_asleep, points),
            "Turnout, four shards, sorted": (through, [SORTED.format(n, n + 1, n + 2, n + 3) for n in ids]),
            "Turnout, four shards, COUNT and SUM": (through, [COUNTED.format(n) for n in ids]),
        }
        times: dict[str, list[float]] = defaultdict(list)
        cpu_us: dict[str, list[float]] = defaultdict(list)
        for turn in range(rounds + 1):
            names = list(asked)
            for name in (*names[turn % len(names) :], *names[: turn % len(names)]):
                sockets, statements = asked[name]
                one = asleep if sockets is through_asleep else proxy
                before = sum(one.cpu_s())
                times[name].append(ask(sockets, statements))
                cpu_us[name].append((sum(one.cpu_s()) - before) / len(statements) * 1e6)
        print(f"{'':<38} {'us':>7} {'CPU us':>7}  {'x slowest of four':^26}  {'x one':^26}")
        for name in asked:
            taken = times[name]
            ratios = (_ratios(taken[1:], times[base][1:]) for base in (FOUR, ONE))
            used = statistics.median(cpu_us[name][1:])
            print(f"{name:<38} {statistics.median(taken[1:]) * 1e6:7.0f} {used:7.0f}  {'  '.join(ratios)}")


def _ratios(taken: list[float], base: list[float]) -> str:
    found = [a / b for a, b in zip(taken, base, strict=True)]
    return f"{statistics.median(found):8.2f} ({min(found):.2f}-{max(found):.2f})".ljust(26)


if __name__ == "__main__":
    main()
