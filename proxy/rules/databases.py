"""Databases and their tables: where each lives and is read."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from proxy.rules.caching import read_classes
from proxy.rules.form import DatabaseForm, FileForm, ReadsForm, TableForm
from proxy.rules.model import Database, ReadFrom, Reads, Sharding, Table
from proxy.rules.problem import listed
from proxy.rules.report import Report
from proxy.rules.tree import Path

_NAME = re.compile(r"[^\x00`/\\]{1,64}")
_COLUMN = re.compile(r"[^\x00`.,()\s]{1,64}")


def read_databases(report: Report, form: FileForm, shardings: Mapping[str, Sharding]) -> dict[str, Database]:
    databases = {}
    _check_names(report, ("databases",), form.databases, "database")
    for name, database in form.databases.items():
        found = _database(report, name, database, shardings)
        if found is not None:
            databases[name] = found
    return databases


def _database(report: Report, name: str, form: DatabaseForm, shardings: Mapping[str, Sharding]) -> Database | None:
    path = ("databases", name)
    clusters = report.keys(("clusters",))
    home = form.home or ""
    if form.home is not None:
        report.refer((*path, "home"), form.home, clusters, "cluster")
    elif not report.has_problem((*path, "home")):
        suggestion = f"Write `home:` with the cluster that its tables live on, one of {listed(clusters)}."
        report.add(path, "has no `home`", suggestion if clusters else "")
    reads = _reads(form.reads, Reads())
    _check_names(report, (*path, "tables"), form.tables, "table")
    tables = {}
    for table, entry in form.tables.items():
        where = (*path, "tables", table)
        if table.lower().startswith(f"{name.lower()}."):
            report.add(where, "is written with its database", f"Write `{table[len(name) + 1 :]}`.", at_key=True)
        _check_placement(report, where, entry, clusters)
        sharding = shardings.get(entry.sharding or "")
        tables[table] = Table(
            database=name,
            name=table,
            cluster="" if sharding else entry.cluster or home,
            reads=_reads(entry.reads, reads),
            sharding=sharding,
            key=(entry.key or "").lower(),
            everywhere=entry.everywhere is True,
            cache=read_classes(report, where, entry),
        )
    return Database(name, home, reads, tables)


def _check_placement(report: Report, path: Path, form: TableForm, clusters: Iterable[str]) -> None:
    """Exactly one of: a cluster (or none: home); a sharding with its key; everywhere."""
    written = report.keys(path)
    if form.cluster is not None:
        report.refer((*path, "cluster"), form.cluster, clusters, "cluster")
    if form.sharding is not None:
        report.refer((*path, "sharding"), form.sharding, report.keys(("shardings",)), "sharding")
    if form.key is not None and not _COLUMN.fullmatch(form.key):
        report.add((*path, "key"), f"`{form.key}` is not the name of one column")
    if "everywhere" in written:
        for other in ("cluster", "sharding", "key"):
            if other in written:
                message = "and `everywhere` exclude each other: a full copy is on every cluster"
                report.add((*path, other), message, "Keep one of them.", at_key=True)
    elif "cluster" in written and "sharding" in written:
        message = "and `sharding` exclude each other: a table is on one cluster, or its rows are spread"
        report.add((*path, "cluster"), message, "Keep one of them.", at_key=True)
    elif "sharding" in written and "key" not in written:
        message = "needs `key` beside it, the column whose value says where a row is"
        report.add((*path, "sharding"), message, "Write for example `key: id`.", at_key=True)
    elif "key" in written and "sharding" not in written:
        message = "means nothing without `sharding`"
        report.add((*path, "key"), message, "Add `sharding:`, or take `key` out.", at_key=True)


def _check_names(report: Report, path: Path, names: Iterable[str], what: str) -> None:
    """Names that differ only in case are one name on some servers, and one entry could not be told from the other."""
    by_folded: dict[str, str] = {}
    for name in names:
        if not _NAME.fullmatch(name):
            report.add((*path, name), f"is not the name of a {what}", at_key=True)
        first = by_folded.setdefault(name.lower(), name)
        if first != name:
            message = f"differs from `{first}` only in upper and lower case"
            report.add((*path, name), message, "Keep one of them.", at_key=True)


def _reads(form: ReadsForm | None, inherited: Reads) -> Reads:
    if form is None:
        return inherited
    return Reads(
        source=ReadFrom(form.from_) if form.from_ is not None else inherited.source,
        max_lag_s=form.max_lag if form.max_lag is not None else inherited.max_lag_s,
        own_writes=form.own_writes if form.own_writes is not None else inherited.own_writes,
    )
