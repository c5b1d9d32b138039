"""Foreign keys that servers have, and that the rules take apart.

A server checks a foreign key, and cascades along it, within its own rows. What it would do is done through Turnout only
where the rules keep a parent's rows and their children on one cluster: both tables whole on the same one, both by one
sharding from shard key to shard key, or the parent everywhere.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from parser.rewrite import quoted
from parser.statement import Access, Statement, TableRef
from proxy.back.catalog import Catalog, ForeignKey
from proxy.plan.places import Place, place, table_clusters
from proxy.plan.shard_definitions import foreign_key_problem
from proxy.rules.model import Rules

_KEEPS = frozenset({"restrict", "no action"})


@dataclass(frozen=True, slots=True)
class Apart:
    """One foreign key that the rules do not keep. `on`: the clusters whose servers have it, and where it matters.
    `grave`: it is not only in the way where the rules do not place the child, in a copy of it."""

    key: ForeignKey
    on: tuple[str, ...]
    where: str  # child and parent are: a sentence
    effects: tuple[str, ...]  # sentences
    advice: str  # sentences
    grave: bool

    @property
    def child(self) -> str:
        return ".".join(self.key.child)

    @property
    def parent(self) -> str:
        return ".".join(self.key.parent)

    @property
    def name(self) -> str:
        """The key as a noun."""
        return f"foreign key `{self.key.name}` from {self.child} to {self.parent}"

    @property
    def message(self) -> str:
        key = self.key
        actions = "".join(
            f" ON {what} {action.upper()}"
            for what, action in (("DELETE", key.on_delete), ("UPDATE", key.on_update))
            if action not in _KEEPS
        )
        text = f"({', '.join(key.columns)}) REFERENCES {self.parent} ({', '.join(key.referenced)}){actions}"
        on = "cluster " + self.on[0] if len(self.on) == 1 else "clusters " + ", ".join(self.on)
        has = "has" if len(self.on) == 1 else "have"
        verdict = "is NOT KEPT under these rules" if self.grave else "is still there in a copy"
        return f"Foreign key `{key.name}` {text}, as {on} {has} it, {verdict}: {self.where} " + " ".join(
            (*self.effects, self.advice)
        )


def apart(rules: Rules, catalog: Catalog) -> tuple[Apart, ...]:
    """The foreign keys that are not kept, in the order of the child tables' names."""
    by_key: dict[tuple[object, ...], dict[str, ForeignKey]] = defaultdict(dict)
    for (cluster, _, _), schema in catalog.tables.items():
        for key in schema.foreign_keys:
            same = (_folded(key.child), _folded(key.parent), key.columns, key.referenced)
            by_key[same].setdefault(cluster, key)
    found = [_looked_at(rules, catalog, by_cluster) for by_cluster in by_key.values()]
    return tuple(sorted(filter(None, found), key=lambda one: (one.key.child, one.key.name)))


def lines(statement: Statement, rules: Rules, catalog: Catalog, database: str | None) -> Iterator[str]:
    """For EXPLAIN of a write: the foreign keys of its tables that are not kept."""
    written = {
        ((table.database or database or "").lower(), table.name.lower())
        for table in statement.tables
        if table.access is Access.WRITE
    }
    if written:
        for one in apart(rules, catalog):
            if not written.isdisjoint((_folded(one.key.child), _folded(one.key.parent))):
                verdict = "not kept" if one.grave else "in the way"
                yield f"{verdict}: {one.name}. {one.where} {' '.join(one.effects)}"


def left_behind(rules: Rules, catalog: Catalog) -> dict[tuple[str, str], list[str]]:
    """(database, cluster) -> tables that the cluster has, and that the rules do not place there."""
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    for (cluster, _, _), schema in sorted(catalog.tables.items()):
        if cluster in rules.clusters and not schema.is_view:
            if cluster not in _clusters(rules, _place(rules, (schema.database, schema.name))):
                found[schema.database, cluster].append(schema.name)
    return dict(found)


def _looked_at(rules: Rules, catalog: Catalog, by_cluster: dict[str, ForeignKey]) -> Apart | None:
    """One key, of the clusters that have it; None where it is kept, or is on clusters that nothing is written on."""
    some = next(iter(by_cluster.values()))
    child, parent = _place(rules, some.child), _place(rules, some.parent)
    children, parents = _clusters(rules, child), _clusters(rules, parent)
    advice = _not_kept(child, parent, some)
    ours, theirs = child.label, parent.label
    effects = []
    copies = [cluster for cluster in sorted(by_cluster) if cluster in parents and cluster not in children]
    bad = [cluster for cluster in sorted(by_cluster) if cluster in children] if advice is not None else []
    if not bad and not copies:
        return None
    key = by_cluster[(bad or copies)[0]]
    if advice is not None:
        effects.append(_unseen(key, ours, theirs))
    local = [cluster for cluster in bad if cluster in parents]
    without = [c for c in bad if c not in parents and catalog.find(c, *key.parent) is None]
    old = [cluster for cluster in bad if cluster not in local and cluster not in without]
    if local:
        effects.append(
            f"{_each(local)} checks the key against its own rows of {theirs} only: an INSERT into {ours} fails with "
            "1452 where the parent's row is on another cluster."
        )
    if without:
        effects.append(
            f"{_each(without)} has no {theirs}: every INSERT into {ours} there fails with 1452, unless the key is NULL."
        )
    if old:
        effects.append(
            f"{_each(old)} checks the key against a copy of {theirs} of its own, which no statement reaches: an INSERT "
            f"into {ours} fails with 1452 where the copy lacks the parent's row."
        )
    for refused in (True, False):
        here = [cluster for cluster in copies if (by_cluster[cluster].on_delete in _KEEPS) is refused]
        if here:
            effects.append(
                f"{_each(here)} has a copy of {ours} with the key, which no statement reaches: a DELETE from {theirs} "
                + ("fails with 1451 while that copy has a row of it." if refused else f"changes it instead of {ours}.")
            )
    # Where the child is, somebody has made it without the key: that is the place to say that it is not wanted.
    there = all(catalog.find(cluster, *key.child) is not None for cluster in children)
    return Apart(
        key,
        (*bad, *copies),
        f"{_said(rules, child)}, {_said(rules, parent)}.",
        tuple(effects),
        _advice(advice or "", key, bad, copies, ours, advice is not None and not bad and not there),
        grave=bool(bad) or (advice is not None and not there),
    )


def _each(clusters: list[str]) -> str:
    return f"Cluster {clusters[0]}" if len(clusters) == 1 else f"Each of the clusters {', '.join(clusters)}"


def _unseen(key: ForeignKey, child: str, parent: str) -> str:
    if key.on_delete in _KEEPS:
        said = f"A DELETE from {parent} is not refused because of rows of {child}, which then have no parent."
    else:
        said = f"A DELETE from {parent} does not {key.on_delete.upper()} in {child}: rows without a parent stay there."
    if key.on_update not in _KEEPS:
        said += f" Nor does an UPDATE of its {', '.join(key.referenced)} change them."
    return said


def _not_kept(child: Place, parent: Place, key: ForeignKey) -> str | None:
    """What to do about it; None: it is kept."""
    if child.cluster is not None and parent.cluster is not None:
        if child.cluster == parent.cluster:
            return None
        return f"Put both tables on one cluster, or make {parent.label} `everywhere: true`."
    problem = foreign_key_problem(child, parent, key)
    if problem is None:
        return None
    if child.sharded and parent.cluster is not None:
        return f"Make {parent.label} `everywhere: true`."
    if child.sharded and parent.sharded:
        return problem[1]
    return f"Put both tables on one cluster, or make {parent.label} `everywhere: true`."


def _advice(first: str, key: ForeignKey, bad: list[str], copies: list[str], child: str, unmade: bool) -> str:
    """`unmade`: the child is not where the rules place it yet."""
    said = [first] if first else []
    if unmade:
        said.append(
            f"Or make {child} where these rules place it without the key, and let the application, or a DELETE of its "
            f"own from {child}, do what it did."
        )
    if bad:
        drop = f"ALTER TABLE {quoted(*key.child)} DROP FOREIGN KEY {quoted(key.name)}"
        said.append(
            f"{'Or drop' if first else 'Drop'} the key on {', '.join(bad)} ({drop}), and let the application, or a "
            f"DELETE of its own from {child}, do what it did."
        )
    if copies:
        said.append(f"When nobody needs the copy on {', '.join(copies)}, drop it there, or its key.")
    return " ".join(said)


def _said(rules: Rules, one: Place) -> str:
    if one.everywhere:
        return f"{one.label} is on every cluster"
    if one.sharded:
        assert one.entry is not None
        assert one.entry.sharding is not None
        return f"{one.label} is sharded by {one.key} over {', '.join(_clusters(rules, one))}"
    return f"{one.label} is on cluster {one.cluster}"


def _place(rules: Rules, name: tuple[str, str]) -> Place:
    return place(TableRef(0, name[0], name[1], name[1], 0, Access.READ), rules, None)


def _clusters(rules: Rules, one: Place) -> tuple[str, ...]:
    if one.cluster is not None:
        return (one.cluster,)
    assert one.entry is not None
    return table_clusters(rules, one.entry)


def _folded(name: tuple[str, str]) -> tuple[str, str]:
    return name[0].lower(), name[1].lower()
