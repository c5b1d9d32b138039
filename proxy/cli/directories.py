"""What `turnout check` finds out about the tables of directory shardings. It changes nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass

from parser.rewrite import quoted
from proxy.back.catalog import Catalog
from proxy.back.clusters import Clusters
from proxy.back.directory import TABLE
from proxy.errors import ServerFailed, TurnoutError
from proxy.front.directories import advice, literal
from proxy.front.sequences import DENIED, MISSING, Home, Sequences
from proxy.plan.directory_table import CLUSTER, DirectoryTable, directory_table
from proxy.rules.model import Rules, Sharding
from proxy.rules.problem import listed

_MOST_NAMES = 1000


@dataclass(frozen=True, slots=True)
class DirectoryFinding:
    """About the table of one sharding."""

    sharding: str
    message: str
    warning: bool = False


async def look_at_directories(
    rules: Rules, clusters: Clusters, asked: Collection[str], catalog: Catalog
) -> tuple[DirectoryFinding, ...]:
    """What is wrong with directories whose home answers."""
    sequences = Sequences(clusters, rules, lambda work, what: None)
    found: list[DirectoryFinding] = []
    for sharding in rules.directories.values():
        home = rules.home(sharding.table.partition(".")[0])
        if home not in asked:
            continue
        connection = Home(sequences, home, f"the directory {sharding.table}")
        try:
            found += [finding async for finding in _findings(sharding, home, rules, catalog, connection)]
        except TurnoutError as error:
            found.append(DirectoryFinding(sharding.name, f"{sharding.table} cannot be read: {error.message}.", True))
        finally:
            connection.close()
    return tuple(found)


async def _findings(
    sharding: Sharding, home: str, rules: Rules, catalog: Catalog, connection: Home
) -> AsyncIterator[DirectoryFinding]:
    table = directory_table(sharding, rules, catalog)
    if table is None:
        message = (
            f"There is no table {sharding.table} on its home, cluster {home}, or Turnout's account may not see it. "
            f"Make it with the shard key as its primary key and a column `{CLUSTER}` VARCHAR."
        )
        yield DirectoryFinding(sharding.name, message)
        return
    if not isinstance(table, DirectoryTable):
        yield DirectoryFinding(sharding.name, f"{sharding.table} on cluster {home} {table.why}.")
        return
    try:
        names = [row[0] or b"" for row in (await connection.run(_names(table))).rows]
        await connection.run(_nothing(table.name, table.key, CLUSTER))
    except ServerFailed as error:
        if error.errno not in DENIED:
            raise
        message = f"Turnout's account may not do what a directory takes: {error.message}. {advice(sharding.table)}"
        yield DirectoryFinding(sharding.name, message)
        return
    unknown = sorted(name.decode("utf-8", "replace") for name in names if name)
    unknown = [name for name in unknown if name not in sharding.clusters]
    if unknown:
        message = f"{sharding.table} has keys on {listed(unknown)}: statements for them fail."
        yield DirectoryFinding(sharding.name, f"{message} The sharding's clusters are {listed(sharding.clusters)}.")
    if b"" in names:
        message = f"{sharding.table} has keys without a cluster: they are being moved, and statements for them fail."
        yield DirectoryFinding(sharding.name, message, True)
    try:
        await connection.run(_nothing(TABLE, "name"))
        held = (await connection.run(f"SELECT held FROM {TABLE} WHERE name = {literal(sharding.table.lower())}")).rows
        if held and held[0][0] not in (b"0", None) and b"" not in names:
            message = f"{TABLE} says that keys of {sharding.table} are held, and none is: set `held` to 0 there,"
            yield DirectoryFinding(sharding.name, f"{message} or statements over several shards fail.", True)
    except ServerFailed as error:
        if error.errno in MISSING:
            message = f"There is no table {TABLE} on cluster {home} yet: Turnout makes it when it starts, if it may."
            yield DirectoryFinding(sharding.name, f"{message} {advice(sharding.table)}", True)
        elif error.errno in DENIED:
            yield DirectoryFinding(sharding.name, f"Turnout's account may not use {TABLE}. {advice(sharding.table)}")
        else:
            raise


def _names(table: DirectoryTable) -> str:
    return f"SELECT DISTINCT {quoted(CLUSTER)} FROM {table.name} LIMIT {_MOST_NAMES}"


def _nothing(table: str, *columns: str) -> str:
    """An INSERT of no row, which needs the privileges of one."""
    names = ", ".join(map(quoted, columns))
    return f"INSERT INTO {table} ({names}) SELECT {names} FROM {table} WHERE 1 = 0"
