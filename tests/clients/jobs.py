"""What a client is asked to do, in one go: play the scenario in several ways, log in where it should and should not."""

from __future__ import annotations

import traceback
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from tests.clients.scenario import DATABASE, NATIVE, PASSWORD, SHA2, UNKNOWN_DATABASE, WRONG_PASSWORD, Seen
from tests.clients.target import Target
from tests.servers import Certificate
from tests.sizes import THOROUGH

ACCOUNTS = (NATIVE, SHA2)
TRANSPORTS = ("plain", "tls")
# How the whole scenario is played through Turnout. What comes after a login does not depend on how it was made, so
# each account and each transport once is enough, unless more is asked for; logins themselves are made in all ways.
PLAYS = tuple(product(ACCOUNTS, TRANSPORTS)) if THOROUGH else ((NATIVE, "plain"), (SHA2, "tls"))


# What a client does besides, each over a connection with the option of that name.
OPTIONS = ("several", "infile", "compress")


@dataclass(frozen=True, slots=True)
class Job:
    """`action`: `play`, `log in` or one of OPTIONS. `other`: who the scenario changes to; `huge`: also with a value of
    17 MB; `file` is what LOAD DATA LOCAL is to send."""

    action: str
    target: Target
    other: Target
    huge: bool = False
    file: str = ""

    def as_json(self) -> dict[str, object]:
        return {
            "action": self.action,
            "target": self.target.as_json(),
            "other": self.other.as_json(),
            "huge": self.huge,
            "file": self.file,
        }

    @staticmethod
    def of_json(work: Mapping[str, Any]) -> Job:
        target, other = Target.of_json(work["target"]), Target.of_json(work["other"])
        return Job(work["action"], target, other, work["huge"], work["file"])


Run = Callable[[Sequence[Job]], list[Seen]]


def in_process(carry_out: Callable[[Job], Seen]) -> Run:
    """Jobs for a client that is Python's: one that fails says so in the place of what it saw."""

    def run(jobs: Sequence[Job]) -> list[Seen]:
        seen: list[Seen] = []
        with (
            warnings.catch_warnings()
        ):  # what some of them make of a server's warning, and of types that are new to them
            warnings.filterwarnings("ignore", "Truncated incorrect INTEGER value")
            warnings.filterwarnings("ignore", "Did not recognize type")
            warnings.filterwarnings("ignore", "(?s).*stored_results")
            for job in jobs:
                try:
                    seen.append(carry_out(job))
                except Exception:
                    seen.append({"failed": traceback.format_exc()})
        return seen

    return run


def playing(user: str, transport: str) -> str:
    return f"play as {user} over {transport}"


ON_SERVER = "play on the server"
# Logins by user and transport: `right`, and those that are refused, each also on the server itself (`.. there`).
REFUSED = ("wrong password", "unknown user", "unknown database")


def refused(why: str, user: str, transport: str) -> str:
    return f"{why} as {user} over {transport}"


def with_option(option: str, transport: str) -> str:
    return f"{option} over {transport}"


def there(what: str) -> str:
    return f"{what}, there"


def all_jobs(
    server_port: int,
    proxy_port: Callable[[str], int],
    server: Certificate,
    known: Certificate,
    strange: Certificate,
    file: str,
) -> dict[str, Job]:
    """Everything that the tests of this folder look at. `proxy_port(name)`: of the Turnout of that name in PROXIES;
    `known` and `strange` are certificates of clients."""
    jobs: dict[str, Job] = {}

    def add(name: str, action: str, target: Target, huge: bool = False) -> None:
        other = NATIVE if target.user == SHA2 else SHA2
        jobs[name] = Job(action, target, replace(target, user=other), huge, file)

    add(ON_SERVER, "play", Target(server_port, NATIVE, PASSWORD, DATABASE), huge=True)
    for user, transport in PLAYS:
        ca = server.ca if transport == "tls" else None
        target = Target(proxy_port(transport), user, PASSWORD, DATABASE, ca=ca)
        add(playing(user, transport), "play", target, huge=transport == "tls")
    for option in OPTIONS:
        target = Target(server_port, NATIVE, PASSWORD, DATABASE, options=(option,))
        add(there(option), option, target)
        for transport in TRANSPORTS:
            ca = server.ca if transport == "tls" else None
            add(with_option(option, transport), option, replace(target, port=proxy_port(transport), ca=ca))
    for user, transport in product(ACCOUNTS, TRANSPORTS):
        ca = server.ca if transport == "tls" else None
        right = Target(proxy_port(transport), user, PASSWORD, DATABASE, ca=ca)
        add(refused("right", user, transport), "log in", right)
        wrong = (
            replace(right, password=WRONG_PASSWORD),
            replace(right, user="nobody"),
            replace(right, database=UNKNOWN_DATABASE),
        )
        for why, target in zip(REFUSED, wrong, strict=True):
            login = refused(why, user, transport)
            add(login, "log in", target)
            add(there(login), "log in", replace(target, port=server_port))
    for user in ACCOUNTS:
        insecure = Target(proxy_port("tls-required"), user, PASSWORD, DATABASE)
        add(f"required TLS, without, as {user}", "log in", insecure)
        add(f"required TLS, with, as {user}", "log in", replace(insecure, ca=server.ca))
        add(f"offered TLS, without, as {user}", "log in", replace(insecure, port=proxy_port("tls")))
    without = Target(proxy_port("client-certificates"), NATIVE, PASSWORD, DATABASE, ca=known.ca)
    add("its certificate", "log in", replace(without, cert=known.cert, key=known.key))
    add("no certificate", "log in", without)
    add("a stranger's certificate", "log in", replace(without, cert=strange.cert, key=strange.key))
    return jobs
