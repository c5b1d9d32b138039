"""Shardings: every key has exactly one cluster, or the file is refused."""

from __future__ import annotations

from collections.abc import Collection

from proxy.rules import slots
from proxy.rules.form import DirectoryForm, FileForm, HashForm, ListForm, RangesForm
from proxy.rules.model import SLOTS, Method, Sharding
from proxy.rules.problem import listed
from proxy.rules.report import Report
from proxy.rules.tree import Path


def read_shardings(report: Report, form: FileForm) -> dict[str, Sharding]:
    """The shardings that can be used; what is wrong with the others is reported."""
    clusters = report.keys(("clusters",))
    found: dict[str, Sharding | None] = {}
    for name, sharding in form.shardings.items():
        path = ("shardings", name)
        match sharding:
            case HashForm():
                found[name] = _hash(report, path, name, sharding, clusters)
            case RangesForm():
                found[name] = _range(report, path, name, sharding, clusters)
            case ListForm():
                found[name] = _list(report, path, name, sharding, clusters)
            case DirectoryForm():
                found[name] = _directory(report, path, name, sharding, form)
    return {name: sharding for name, sharding in found.items() if sharding is not None}


def _hash(report: Report, path: Path, name: str, form: HashForm, clusters: Collection[str]) -> Sharding | None:
    written = report.keys(path)
    if "clusters" in written and "slots" in written:
        report.add((*path, "slots"), "and `clusters` both say where the slots are", "Keep one of them.", at_key=True)
    elif "clusters" not in written and "slots" not in written:
        report.add(path, "does not say where its slots are", "Write `clusters: [..]`, or `slots:` with ranges.")
    elif form.clusters is not None and not report.has_problem((*path, "clusters")):
        for index, cluster in enumerate(form.clusters):
            where = (*path, "clusters", index)
            report.refer(where, cluster, clusters, "cluster")
            if cluster in form.clusters[:index]:
                message = f"`{cluster}` is in the list twice"
                report.add(where, message, "To give it a larger share, write `slots:` with ranges.")
        if len(form.clusters) > SLOTS:
            report.add((*path, "clusters"), f"names more clusters than there are slots ({SLOTS})")
        return Sharding(name, Method.HASH, tuple(form.clusters), slots=slots.deal(form.clusters))
    elif form.slots is not None and not report.has_problem((*path, "slots")):
        for cluster in form.slots:
            report.refer((*path, "slots", cluster), cluster, clusters, "cluster")
        owners = _owners(report, (*path, "slots"), form.slots)
        if owners is not None:
            return Sharding(name, Method.HASH, tuple(form.slots), slots=owners)
    return None


def _owners(report: Report, path: Path, ranges: dict[str, slots.Ranges]) -> tuple[str, ...] | None:
    """The cluster of each slot, if each has exactly one."""
    owners: dict[int, str] = {}
    whole = True
    for cluster, parts in ranges.items():
        doubled: dict[str, list[int]] = {}
        for first, last in parts:
            for slot in range(first, last + 1):
                owner = owners.setdefault(slot, cluster)
                if owner != cluster:
                    doubled.setdefault(owner, []).append(slot)
        for owner, both in doubled.items():
            whole = False
            report.add((*path, cluster), f"has slots {slots.text(both)}, which `{owner}` has as well")
        if sum(last - first + 1 for first, last in parts) > len({s for a, b in parts for s in range(a, b + 1)}):
            whole = False
            report.add((*path, cluster), "names some of its slots twice")
    missing = [slot for slot in range(SLOTS) if slot not in owners]
    if missing:
        whole = False
        message = f"no cluster has the slots {slots.text(missing)}"
        report.add(path, message, f"All of 0-{SLOTS - 1} must be dealt out.")
    return tuple(owners[slot] for slot in range(SLOTS)) if whole else None


def _range(report: Report, path: Path, name: str, form: RangesForm, clusters: Collection[str]) -> Sharding | None:
    if report.has_problem((*path, "ranges")):  # with a broken one left out, the others' places are not known
        return None
    last = len(form.ranges) - 1
    below: int | str | None = None
    for index, one in enumerate(form.ranges):
        where: Path = (*path, "ranges", index)
        report.refer((*where, "cluster"), one.cluster, clusters, "cluster")
        if index == last:
            if one.below is not None:
                suggestion = "Add a range with a cluster alone, or take `below` out of the last one."
                report.add(
                    (*where, "below"), "is a bound in the last range, so keys above it have no cluster", suggestion
                )
        elif one.below is None:
            report.add(where, "has no `below`, which only the last range may lack")
        else:
            if below is not None:
                _check_ascends(report, (*where, "below"), below, one.below)
            below = one.below
    names = dict.fromkeys(one.cluster for one in form.ranges)
    return Sharding(name, Method.RANGE, tuple(names), ranges=tuple((one.below, one.cluster) for one in form.ranges))


def _check_ascends(report: Report, path: Path, before: int | str, below: int | str) -> None:
    if isinstance(before, str) != isinstance(below, str):
        report.add(path, "is not of the type of the bound before it: all are numbers, or all are text")
    elif isinstance(before, int) and isinstance(below, int):
        if below <= before:
            report.add(
                path, f"{below} is not above the bound before it, {before}", "Write the ranges in ascending order."
            )
    elif str(below) <= str(before):
        report.add(
            path, f"'{below}' is not above the bound before it, '{before}'", "Write the ranges in ascending order."
        )
    elif _folded(str(below)) <= _folded(str(before)):
        message = f"'{before}' and '{below}' ascend by their codes, but not where upper and lower case are equal"
        report.add(path, message, "Write the bounds in lower case.")


def _folded(key: str) -> str:
    """Keys with equal folded text may be equal to a collation: most ignore case and spaces at the end."""
    return key.rstrip(" ").casefold()


def _list(report: Report, path: Path, name: str, form: ListForm, clusters: Collection[str]) -> Sharding | None:
    broken = report.has_problem((*path, "values"))
    if form.default is not None:
        report.refer((*path, "default"), form.default, clusters, "cluster")
    for cluster in report.keys((*path, "values")):
        report.refer((*path, "values", cluster), cluster, clusters, "cluster")
    if broken:
        return None
    values: dict[int | str, str] = {}
    by_folded: dict[int | str, tuple[int | str, str]] = {}
    first: int | str | None = None
    for cluster, keys in form.values.items():
        for index, key in enumerate(keys):
            where = (*path, "values", cluster, index)
            first = key if first is None else first
            if isinstance(key, str) != isinstance(first, str):
                report.add(where, "is not of the type of the keys before it: all are numbers, or all are text")
                continue
            folded = _folded(key) if isinstance(key, str) else key
            known, owner = by_folded.setdefault(folded, (key, cluster))
            if key in values:
                report.add(where, f"{key!r} is a key of `{values[key]}` already")
            elif owner != cluster:
                report.add(where, f"{key!r} is the same to most collations as {known!r}, a key of `{owner}`")
            values.setdefault(key, cluster)
    names = dict.fromkeys((*form.values, *((form.default,) if form.default else ())))
    return Sharding(name, Method.LIST, tuple(names), values=values, default=form.default)


def _directory(report: Report, path: Path, name: str, form: DirectoryForm, file: FileForm) -> Sharding | None:
    known = report.keys(("clusters",))
    clusters = tuple(dict.fromkeys(form.clusters if form.clusters is not None else known))
    broken = report.has_problem((*path, "table"))
    for index, cluster in enumerate(form.clusters or ()):
        where = (*path, "clusters", index)
        report.refer(where, cluster, known, "cluster")
        if cluster in (form.clusters or ())[:index]:
            report.add(where, f"`{cluster}` is in the list twice", "To give it a larger share, write `weights:`.")
    if len(clusters) < 2 and not report.has_problem((*path, "clusters")) and len(known) > 0:
        at = "clusters" if form.clusters is not None else "table"
        message = f"leaves `{clusters[0]}` alone for all keys, so that nothing would be entered in the directory"
        suggestion = "Name a second cluster (with `weights: {..: 0}` it gets no new keys), or use `cluster:`."
        report.add((*path, at), message, suggestion)
    weights = form.weights or {}
    for cluster in weights:
        if cluster not in clusters:
            message = f"`{cluster}` is not a cluster of this sharding"
            report.add((*path, "weights", cluster), message, f"It has {listed(clusters)}.", at_key=True)
    shares = {cluster: weights.get(cluster, 1) for cluster in clusters}
    if not any(shares.values()) and not report.has_problem((*path, "weights")):
        report.add((*path, "weights"), "leave no cluster for new keys", "Give one of them a weight above 0.")
    if broken:
        return None
    _check_directory_table(report, path, name, form, file)
    return Sharding(name, Method.DIRECTORY, clusters, table=form.table, weights=shares)


def _check_directory_table(report: Report, path: Path, name: str, form: DirectoryForm, file: FileForm) -> None:
    """It is a plain table on the home of its database, and no other sharding's."""
    at = (*path, "table")
    database, _, table = form.table.partition(".")
    named = next((one for one in file.databases if one.lower() == database.lower()), None)
    if named is None:
        message = f"is in the database `{database}`, which this file does not have"
        report.add(at, message, f"Give `{database}` an entry under `databases`: its `home` has the table.")
        return
    for other, sharding in file.shardings.items():
        if other == name:
            break
        if isinstance(sharding, DirectoryForm) and sharding.table.lower() == form.table.lower():
            report.add(at, f"is the directory of `{other}` already", "Let the tables share one sharding.")
    tables = file.databases[named].tables
    entry = next((one for known, one in tables.items() if known.lower() == table.lower()), None)
    written = next((known for known in tables if known.lower() == table.lower()), "")
    if entry is None:
        return
    where: Path = ("databases", named, "tables", written)
    for key in ("sharding", "everywhere", "cache"):
        if getattr(entry, key) is not None:
            message = f"cannot be said of {form.table}, the directory of the sharding `{name}`"
            report.add(
                (*where, key), message, "It is a plain table on home, and workers keep what they need of it.", True
            )
    if entry.cluster is not None and entry.cluster != file.databases[named].home:
        message = f"takes {form.table}, the directory of the sharding `{name}`, away from its home"
        report.add((*where, "cluster"), message, "Take it out.", True)
