"""What is doubtful in rules that can be used."""

from __future__ import annotations

from collections.abc import Iterable

from proxy.rules import tree
from proxy.rules.model import Cluster, Database, ReadFrom, Rules, Table
from proxy.rules.problem import Problem, listed
from proxy.rules.report import Report


def warnings(rules: Rules) -> tuple[Problem, ...]:
    """What an operator probably did not mean, in the order of the file. The rules can be used nevertheless."""
    found = tree.read(rules.text, str(rules.path))
    report = Report(str(rules.path), found.root or tree.Mapping(tree.Span(0, 0, 0, 0)))
    _warn_users(report, rules)
    _warn_reads(report, rules)
    _warn_caches(report, rules)
    _warn_unused(report, rules)
    return tuple(sorted(report.problems, key=lambda problem: (problem.line, problem.column)))


def _warn_users(report: Report, rules: Rules) -> None:
    if not any(user.admin for user in rules.users.values()):
        suggestion = "Give one account `admin: true`."
        report.add(("users",), "has no account that may use SHOW TURNOUT and TURNOUT EXPLAIN", suggestion)
    for name, user in rules.users.items():
        if "@" in name:
            report.add(("users", name), "is a whole name here: `@` and what follows is not a host", at_key=True)
        if not user.password:
            report.add(("users", name), "has no password: whoever reaches Turnout can log in with it", at_key=True)


def _warn_reads(report: Report, rules: Rules) -> None:
    """Reads from replicas are said where there is no replica: they go to the primary."""
    for database in rules.databases.values():
        path: tree.Path = ("databases", database.name)
        if "from" in report.keys((*path, "reads")) and database.reads.source is ReadFrom.REPLICAS:
            inheriting = [t for t in database.tables.values() if "from" not in report.keys(_reads_of(t))]
            clusters = {database.home, *(name for table in inheriting for name in clusters_of(table, rules))}
            if not any(rules.clusters[name].replicas for name in clusters):
                _warn_no_replica(report, (*path, "reads", "from"), sorted(clusters))
        for table in database.tables.values():
            if "from" in report.keys(_reads_of(table)) and table.reads.source is ReadFrom.REPLICAS:
                without = [name for name in clusters_of(table, rules) if not rules.clusters[name].replicas]
                if without:
                    _warn_no_replica(report, (*_reads_of(table), "from"), without)


def _warn_caches(report: Report, rules: Rules) -> None:
    """Classes by age alone are said to be what they are."""
    for table in rules.cached_tables:
        path: tree.Path = ("databases", table.database, "tables", table.name, "cache")
        for index, one in enumerate(table.cache):
            if one.ttl_s is not None:
                where = (*path, "ttl") if "ttl" in report.keys(path) else (*path, index, "ttl")
                message = (
                    f"makes this class NOT coherent: a read may be {one.ttl_s:g} s behind, also behind what the same "
                    "session wrote"
                )
                report.add(where, message, "Leave `ttl:` out where the server has a binary log.")


def _warn_no_replica(report: Report, path: tree.Path, clusters: list[str]) -> None:
    has = "has" if len(clusters) == 1 else "have"
    message = f"{listed(clusters)} {has} no replicas, so reads go to the primary"
    report.add(path, message, "Add `replicas:` to the cluster, or read from `primary`.")


def _reads_of(table: Table) -> tree.Path:
    return ("databases", table.database, "tables", table.name, "reads")


def clusters_of(table: Table, rules: Rules) -> tuple[str, ...]:
    """The clusters that hold rows of a table."""
    if table.everywhere:
        return tuple(rules.clusters)
    return table.sharding.clusters if table.sharding else (table.cluster,)


def _warn_unused(report: Report, rules: Rules) -> None:
    tables = [table for database in rules.databases.values() for table in database.tables.values()]
    used = {table.sharding.name for table in tables if table.sharding}
    for name in rules.shardings:
        if name not in used:
            report.add(("shardings", name), "is not used by any table", at_key=True)
    for cluster in _idle(rules.clusters.values(), rules.databases.values(), tables, rules):
        report.add(("clusters", cluster), "has no table: nothing names it", at_key=True)


def _idle(clusters: Iterable[Cluster], databases: Iterable[Database], tables: list[Table], rules: Rules) -> list[str]:
    named = {rules.default_home, rules.users_from, *(database.home for database in databases)}
    for table in tables:
        named.update(clusters_of(table, rules))
    for sharding in rules.shardings.values():
        named.update(sharding.clusters)  # an unused sharding is reported as such
    return [cluster.name for cluster in clusters if cluster.name not in named]
