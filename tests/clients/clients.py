"""The clients of the matrix, and in what each differs from the others."""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from pathlib import Path

from tests.clients import programs, scenario, shell, sqlalchemy_client
from tests.clients.dbapi import Driver
from tests.clients.drivers import Aiomysql, Asyncmy, Connector, MariaDBConnector, MySQLClient, PyMySQL
from tests.clients.jobs import Run, in_process
from tests.clients.programs import Unavailable
from tests.clients.scenario import KINDS, Seen, shown

# Where a type's column is in `SELECT * FROM types`, behind the id.
_POSITIONS = {definition: n for n, (definition, *_) in enumerate(scenario.TYPES, 1)}


@dataclass(frozen=True, slots=True)
class Client:
    run: Run
    lacks: frozenset[str] = frozenset()  # steps of the scenario that its library has no means for
    differs: Mapping[str, object] = field(default_factory=dict)  # what it sees otherwise by its own nature
    # Columns (by step) that it reads by what MariaDB says of them beyond the protocol, which Turnout does not pass on.
    untold: Mapping[str, frozenset[int]] = field(default_factory=dict)
    sqlstates: bool = True  # it tells them
    login_sqlstates: bool = True  # of logins, too
    tls_by_itself: bool = False  # it uses TLS wherever that is offered
    sha2: bool = True  # it can log in by caching_sha2_password
    asks_for_key: bool = True  # of caching_sha2_password, to encrypt a password with when there is no TLS

    def account(self, user: str) -> str:
        return scenario.NATIVE if user == scenario.SHA2 and not self.sha2 else user

    def differing(self, option: str) -> Seen:
        """What it sees otherwise over a connection with this option; in `differs` the option comes before the step."""
        start = f"{option}: "
        return {step.removeprefix(start): seen for step, seen in self.differs.items() if step.startswith(start)}

    def expected(self, user: str, other: str) -> Seen:
        steps = {**scenario.expected(user, other), **self.differs}
        return {step: seen for step, seen in steps.items() if step not in self.lacks and ": " not in step}


@dataclass(frozen=True, slots=True)
class Workshop:
    """What clients are made with."""

    folder: Path
    loop: asyncio.AbstractEventLoop


def _of(driver: Driver, *lacks: str, differs: Mapping[str, object] | None = None, sqlstates: bool = True) -> Client:
    tls_by_itself = isinstance(driver, PyMySQL | Connector)
    run = in_process(driver.carry_out)
    return Client(run, frozenset(lacks), differs or {}, sqlstates=sqlstates, tls_by_itself=tls_by_itself)


def _needs(module: str) -> None:
    """Raises Unavailable."""
    if importlib.util.find_spec(module) is None:
        raise Unavailable(f"Python's package {module} is not installed")


def _shell(workshop: Workshop) -> Client:
    lacks = frozenset(("own id", "LAST_INSERT_ID()", "updated", "ping", "changed user", "reset"))
    programs.need("mariadb")
    differs: dict[str, object] = {
        "insert ids": ["1", "2", "3"],
        "results": [[["7", "first"], ["1"], ["2"], ["3"]]],  # it puts nothing in between
        "several: results": [["1"], ["2", "x;y"]],
    }
    return Client(in_process(shell.carry_out), lacks, differs, tls_by_itself=True)


def _pymysql(workshop: Workshop) -> Client:
    return _of(PyMySQL(), "changed user", "reset")


def _mysqlclient(workshop: Workshop) -> Client:
    differs = {"info": "Rows matched: 2  Changed: 0  Warnings: 0"}
    return _of(MySQLClient(), "reset", differs=differs, sqlstates=False)


def _connector_pure(workshop: Workshop) -> Client:
    # It reads negative binary times without their sign.
    differs = {**_kinds_with_time("12:34:56.500000"), "halfway": scenario.HALFWAY[1:]}
    # LOAD DATA LOCAL fails on the server, too.
    return _of(Connector(pure=True), "huge received", "infile", differs=differs)


def _connector_c(workshop: Workshop) -> Client:
    argv = programs.find_connector_c()
    failed = [-1, None, f"Failed calling stored routine; {scenario.NO_TABLE[2]}"]
    run = partial(programs.run, argv, "")
    lacks = frozenset(("several",))  # an error behind a result is none of its own classes
    return Client(run, lacks, {"halfway": [failed]}, tls_by_itself=True, asks_for_key=False)


def _kinds_with_time(text: str) -> dict[str, object]:
    return {"kinds": [text if isinstance(value, timedelta) else shown(value) for value in KINDS]}


def _asyncmy(workshop: Workshop, caching: bool) -> Client:
    lacks = ("infile", "changed user", "reset", *(() if caching else ("huge received",)))
    differs = {"results": [[["7", "first"]]]} if caching else {}  # only the first of a statement that it has prepared
    return _of(Asyncmy(workshop.loop, caching), *lacks, differs=differs)


def _aiomysql(workshop: Workshop) -> Client:
    _needs("aiomysql")
    return _of(Aiomysql(workshop.loop), "changed user", "reset")


def _mariadb_python(workshop: Workshop) -> Client:
    _needs("mariadb")
    # Of an error behind a result it says nothing. JSON is a type of its own to it, see `Client.untold`.
    differs: dict[str, object] = {"halfway": scenario.HALFWAY[:1], "several: wrong": [[["1"]]]}
    untold = {"type columns": frozenset({_POSITIONS["JSON"] - 2})}  # neither `id` nor the one that it cannot read
    return replace(_of(MariaDBConnector(), differs=differs), untold=untold)


def _sqlalchemy(workshop: Workshop, driver: str) -> Client:
    return Client(
        in_process(partial(sqlalchemy_client.carry_out, driver)),
        frozenset(
            (
                "several",
                "infile",
                "compress",
                "own id",
                "LAST_INSERT_ID()",
                "databases",
                "ping",
                "changed user",
                "reset",
            )
        ),
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


def _node(workshop: Workshop, driver: str, method: str) -> Client:
    argv = programs.install_node()
    differs: dict[str, object] = {
        "updated": [2, 2],  # they ask for rows found, not changed
        # Results are forgotten when an error follows.
        "halfway": scenario.HALFWAY[1:],
        "several: wrong": scenario.HALFWAY[1:],
    }
    if driver == "mysql2":
        differs["changed rows"] = [2, 0]
        if method == "execute":
            differs |= _kinds_with_time("-12:34:56.5")  # as it writes binary times
    positions = frozenset(_POSITIONS[definition] for definition in ("JSON", "POINT", "GEOMETRY"))
    untold = dict.fromkeys(("types as text", "types prepared", "type columns"), positions)
    return Client(partial(programs.run, argv, f"{driver} {method}"), differs=differs, untold=untold)


def _go(workshop: Workshop, mode: str) -> Client:
    argv = programs.build_go()
    lacks = frozenset(("compress", "own id", "changed user", "reset"))
    return Client(partial(programs.run, argv, mode), lacks)


def _java(workshop: Workshop, driver: str, cursors: bool = False) -> Client:
    argv = programs.build_java()
    lacks = frozenset(("own id", "changed user", "reset"))
    differs: dict[str, object] = {"updated": [2, 2], "halfway": scenario.HALFWAY[1:]}  # it asks for rows found
    differs["several: wrong"] = scenario.HALFWAY[1:]
    if driver == "mysql":
        differs |= _kinds_with_time("12:34:56.500000")  # it reads negative binary times without their sign
    mariadb = driver == "mariadb"
    own = frozenset(_POSITIONS[definition] for definition in ("JSON", "POINT", "UUID", "INET4", "INET6"))
    untold = {"type columns": own} if mariadb else {}
    mode = f"{driver} cursors" if cursors else driver
    return Client(partial(programs.run, argv, mode), lacks, differs, untold)


def _php(workshop: Workshop, mode: str) -> Client:
    argv = programs.find_php()
    lacks = ("reset",) if mode == "mysqli" else ("several", "reset", "own id", "changed user")
    # A procedure's own OK is a result to PDO.
    differs: dict[str, object] = {} if mode == "mysqli" else {"results": [*scenario.RESULTS, []]}
    return Client(partial(programs.run, argv, mode), frozenset(lacks), differs, login_sqlstates=False)


def _perl(workshop: Workshop, driver: str) -> Client:
    argv = programs.find_perl(driver)
    lacks = frozenset(("changed user", "reset"))
    return Client(partial(programs.run, argv, driver), lacks, {"updated": [2, 2]})  # it asks for rows found


def _ruby(workshop: Workshop) -> Client:
    argv = programs.find_ruby()
    return Client(partial(programs.run, argv, ""), frozenset(("changed user", "reset")))


# These are tried in CI only: they are others in another mode, and cost as much again.
THOROUGH = frozenset(("connector-j-cursors",))
CLIENTS: dict[str, Callable[[Workshop], Client]] = {
    "shell": _shell,
    "pymysql": _pymysql,
    "mysqlclient": _mysqlclient,
    "connector-pure": _connector_pure,
    "connector-c": _connector_c,
    "asyncmy": partial(_asyncmy, caching=False),
    "asyncmy-prepared": partial(_asyncmy, caching=True),
    "aiomysql": _aiomysql,
    "mariadb-python": _mariadb_python,
    "sqlalchemy-pymysql": partial(_sqlalchemy, driver="pymysql"),
    "sqlalchemy-mysqldb": partial(_sqlalchemy, driver="mysqldb"),
    "mysql2-query": partial(_node, driver="mysql2", method="query"),
    "mysql2-execute": partial(_node, driver="mysql2", method="execute"),
    "node-mariadb-query": partial(_node, driver="mariadb", method="query"),
    "node-mariadb-execute": partial(_node, driver="mariadb", method="execute"),
    "go-prepared": partial(_go, mode="prepared"),
    "go-interpolated": partial(_go, mode="interpolated"),
    "connector-j": partial(_java, driver="mysql"),
    "connector-j-cursors": partial(_java, driver="mysql", cursors=True),
    "mariadb-connector-j": partial(_java, driver="mariadb"),
    "php-mysqli": partial(_php, mode="mysqli"),
    "php-pdo": partial(_php, mode="pdo"),
    "perl-dbd-mysql": partial(_perl, driver="mysql"),
    "perl-dbd-mariadb": partial(_perl, driver="MariaDB"),
    "ruby-mysql2": _ruby,
}
