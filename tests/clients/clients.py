"""The clients of the matrix, and in what each differs from the others."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from pathlib import Path

from tests.clients import programs, scenario, shell, sqlalchemy_client
from tests.clients.dbapi import Driver
from tests.clients.drivers import Asyncmy, Connector, MySQLClient, PyMySQL
from tests.clients.scenario import KINDS, Seen, shown
from tests.clients.target import Target


@dataclass(frozen=True, slots=True)
class Client:
    play: Callable[[Target, Target], Seen]
    log_in: Callable[[Target], Seen]
    lacks: frozenset[str] = frozenset()  # steps of the scenario that its library has no means for
    differs: Mapping[str, object] = field(default_factory=dict)  # what it sees otherwise by its own nature
    sqlstates: bool = True  # it tells them
    tls_by_itself: bool = False  # it uses TLS wherever that is offered
    asks_for_key: bool = True  # of caching_sha2_password, to encrypt a password with when there is no TLS

    def expected(self, user: str, other: str) -> Seen:
        steps = {**scenario.expected(user, other), **self.differs}
        return {step: seen for step, seen in steps.items() if step not in self.lacks}


@dataclass(frozen=True, slots=True)
class Workshop:
    """What clients are made with."""

    folder: Path
    loop: asyncio.AbstractEventLoop


def _of(driver: Driver, *lacks: str, differs: Mapping[str, object] | None = None, sqlstates: bool = True) -> Client:
    tls_by_itself = isinstance(driver, PyMySQL | Connector)
    return Client(driver.play, driver.log_in, frozenset(lacks), differs or {}, sqlstates, tls_by_itself)


def _shell(workshop: Workshop) -> Client:
    lacks = frozenset(("own id", "LAST_INSERT_ID()", "updated", "ping", "changed user", "reset"))
    return Client(shell.play, shell.log_in, lacks, {"insert ids": ["1", "2", "3"]}, tls_by_itself=True)


def _pymysql(workshop: Workshop) -> Client:
    return _of(PyMySQL(), "changed user", "reset")


def _mysqlclient(workshop: Workshop) -> Client:
    differs = {"info": "Rows matched: 2  Changed: 0  Warnings: 0"}
    return _of(MySQLClient(), "reset", differs=differs, sqlstates=False)


def _connector_pure(workshop: Workshop) -> Client:
    # It reads negative binary times without their sign.
    return _of(Connector(pure=True), differs=_kinds_with_time("12:34:56.500000"))


def _connector_c(workshop: Workshop) -> Client:
    argv = programs.find_connector_c()
    play, log_in = partial(programs.play, argv, ""), partial(programs.log_in, argv, "")
    return Client(play, log_in, tls_by_itself=True, asks_for_key=False)


def _kinds_with_time(text: str) -> dict[str, object]:
    return {"kinds": [text if isinstance(value, timedelta) else shown(value) for value in KINDS]}


def _asyncmy(workshop: Workshop, caching: bool) -> Client:
    return _of(Asyncmy(workshop.loop, caching), "changed user", "reset")


def _sqlalchemy(workshop: Workshop, driver: str) -> Client:
    return Client(
        partial(sqlalchemy_client.play, driver),
        partial(sqlalchemy_client.log_in, driver),
        frozenset(("own id", "LAST_INSERT_ID()", "databases", "ping", "changed user", "reset")),
        {
            "insert ids": [1, 2, 3, 4, 5],
            "updated": [2, 2],  # it asks for rows found, not rows changed
            "after savepoint": "6",
            "other database": "marked",
            "isolation": ["SERIALIZABLE", "REPEATABLE READ"],
        },
        sqlstates=driver != "mysqldb",
        tls_by_itself=driver == "pymysql",
    )


def _mysql2(workshop: Workshop, mode: str) -> Client:
    argv = programs.install_node()
    differs: dict[str, object] = {"updated": [2, 2], "changed rows": [2, 0]}  # it asks for rows found, not changed
    if mode == "execute":
        differs |= _kinds_with_time("-12:34:56.5")  # as it writes binary times
    return Client(partial(programs.play, argv, mode), partial(programs.log_in, argv, mode), differs=differs)


def _go(workshop: Workshop, mode: str) -> Client:
    argv = programs.build_go(workshop.folder)
    lacks = frozenset(("own id", "changed user", "reset"))
    return Client(partial(programs.play, argv, mode), partial(programs.log_in, argv, mode), lacks)


CLIENTS: dict[str, Callable[[Workshop], Client]] = {
    "shell": _shell,
    "pymysql": _pymysql,
    "mysqlclient": _mysqlclient,
    "connector-pure": _connector_pure,
    "connector-c": _connector_c,
    "asyncmy": partial(_asyncmy, caching=False),
    "asyncmy-prepared": partial(_asyncmy, caching=True),
    "sqlalchemy-pymysql": partial(_sqlalchemy, driver="pymysql"),
    "sqlalchemy-mysqldb": partial(_sqlalchemy, driver="mysqldb"),
    "mysql2-query": partial(_mysql2, mode="query"),
    "mysql2-execute": partial(_mysql2, mode="execute"),
    "go-prepared": partial(_go, mode="prepared"),
    "go-interpolated": partial(_go, mode="interpolated"),
}
