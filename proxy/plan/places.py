"""Where the tables of a statement are, by the rules alone."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from parser.statement import Access, TableRef
from proxy.back.catalog import Catalog
from proxy.plan import refusals
from proxy.rules.model import Database, Reads, Rules, Sharding, Table

SYSTEM_DATABASES = frozenset({"information_schema", "mysql", "performance_schema", "sys"})


@dataclass(frozen=True, slots=True)
class Place:
    """One mention of a table, and where it is: on `cluster`, or (where that is None) sharded, or everywhere."""

    ref: TableRef
    database: str | None
    label: str  # the name for people: shop.orders
    cluster: str | None
    reads: Reads
    entry: Table | None = None
    system: bool = False

    @property
    def sharded(self) -> bool:
        return self.cluster is None and self.entry is not None and self.entry.sharding is not None

    @property
    def everywhere(self) -> bool:
        return self.cluster is None and self.entry is not None and self.entry.everywhere

    @property
    def written(self) -> bool:
        return self.ref.access is Access.WRITE

    @property
    def key(self) -> str:
        """The shard key's column, lower case."""
        return self.entry.key.lower() if self.entry is not None else ""


def database_entry(rules: Rules, database: str | None) -> Database | None:
    """The rules' entry of a database; names that differ only in case are taken to be the same."""
    if not database:
        return None
    found = rules.databases.get(database)
    if found is None:
        folded = database.lower()
        found = next((entry for name, entry in rules.databases.items() if name.lower() == folded), None)
    return found


def home_of(rules: Rules, database: str | None) -> str:
    entry = database_entry(rules, database)
    return entry.home if entry is not None else rules.default_home


def sharding_clusters(sharding: Sharding) -> tuple[str, ...]:
    """The clusters that hold rows, in the order of the rules, each once."""
    return tuple(dict.fromkeys(sharding.clusters))


def table_clusters(rules: Rules, entry: Table) -> tuple[str, ...]:
    """Every cluster that holds rows of a table; home's first where it is everywhere."""
    if entry.sharding is not None:
        return sharding_clusters(entry.sharding)
    if entry.everywhere:
        home = home_of(rules, entry.database)
        return (home, *(name for name in rules.clusters if name != home))
    return (entry.cluster,)


def sharded_names(rules: Rules, database: str | None) -> frozenset[str]:
    """The sharded tables as statements in sessions of a database may name them, lower case: `database.table`, those of
    that database also without it."""
    names: set[str] = set()
    for entry in rules.databases.values():
        own = [table.name.lower() for table in entry.tables.values() if table.sharding is not None]
        names.update(f"{entry.name.lower()}.{name}" for name in own)
        if database is not None and entry.name.lower() == database.lower():
            names.update(own)
    return frozenset(names)


def place(ref: TableRef, rules: Rules, database: str | None) -> Place:
    """Where the table of one mention is. A table on several clusters of which there is only one is on that cluster."""
    named = ref.database or database
    label = f"{named}.{ref.name}" if named else ref.name
    if named is not None and named.lower() in SYSTEM_DATABASES:
        # The session's own home answers questions about the system; Turnout does not add up its clusters' schemas.
        return Place(ref, named, label, home_of(rules, database), Reads(), system=True)
    entry = database_entry(rules, named)
    if entry is None:
        return Place(ref, named, label, rules.default_home, Reads())
    table = rules.table(entry.name, ref.name)
    if table is None:
        return Place(ref, named, label, entry.home, entry.reads)
    clusters = table_clusters(rules, table)
    return Place(ref, named, label, clusters[0] if len(clusters) == 1 else None, table.reads, table)


def of_cluster(cluster: str, reason: str) -> str:
    """`main: reason`, where the reason does not name its cluster by itself."""
    return reason if reason.startswith(f"cluster {cluster},") else f"{cluster}: {reason}"


def unmatched(refs: Iterable[TableRef], database: str | None) -> Iterator[str]:
    """For EXPLAIN: why tables are not where the rules may say, where nothing says of which database they are."""
    if not database:
        for name in dict.fromkeys(ref.name for ref in refs if ref.database is None):
            yield f"no default database: `{name}` matches no entry of the rules"


def left_home(rules: Rules) -> Iterator[Table]:
    """The tables that are not, or not only, on their database's home."""
    for database in rules.databases.values():
        for table in database.tables.values():
            if table_clusters(rules, table) != (database.home,):
                yield table


def one_place(rules: Rules) -> str | None:
    """The cluster on which everything is, if everything that the rules name is on one."""
    homes = {rules.default_home, *(database.home for database in rules.databases.values())}
    if len(homes) == 1 and next(left_home(rules), None) is None:
        return rules.default_home
    return None


def words_elsewhere(rules: Rules, catalog: Catalog, cluster: str) -> frozenset[str]:
    """Lower-case names that a text sent to `cluster` unread must not mention: of tables that are not (or not only)
    there, of databases whose home is elsewhere, and of views on `cluster` that read such tables."""
    words: set[str] = set()
    for database in rules.databases.values():
        if database.home != cluster:
            words.add(database.name.lower())
        words.update(t.name.lower() for t in database.tables.values() if table_clusters(rules, t) != (cluster,))
    for (where, _, name), schema in catalog.tables.items():
        if where == cluster and schema.is_view and name not in words:
            if view_problem(rules, catalog, cluster, schema.database, name) is not None:
                words.add(name)
    return frozenset(words)


_QUALIFIED = re.compile(r"`((?:[^`]|``)+)`\s*\.\s*`((?:[^`]|``)+)`")


def qualified_names(definition: str) -> Iterator[tuple[str, str]]:
    """The `database`.`table` pairs of a view's definition; some may be the names of columns or functions."""
    for found in _QUALIFIED.finditer(definition):
        database, name = (part.replace("``", "`") for part in found.groups())
        yield database, name


def check_views(places: list[Place], rules: Rules, catalog: Catalog) -> None:
    """Raises StatementRefused for a view that reads what is not on its cluster."""
    for mention in places:
        if mention.cluster is not None and not mention.system:
            problem = view_problem(rules, catalog, mention.cluster, mention.database, mention.ref.name)
            if problem == "":
                raise refusals.VIEW_UNREADABLE.error(view=mention.label)
            if problem is not None:
                raise refusals.VIEW_OF_MOVED.error(view=mention.label, cluster=mention.cluster, table=problem)


def view_problem(
    rules: Rules, catalog: Catalog, cluster: str, database: str | None, name: str, seen: frozenset[str] = frozenset()
) -> str | None:
    """The table that a view on `cluster` reads and that is not there; "" where its definition is hidden from us.

    information_schema.VIEWS gives definitions with every table as `database`.`table`.
    """
    schema = catalog.find(cluster, database, name)
    if schema is None or not schema.is_view:
        return None
    if not schema.view_definition:
        return "" if one_place(rules) is None else None
    label = f"{database}.{name}".lower()
    for used_database, used in qualified_names(schema.view_definition):
        entry = database_entry(rules, used_database)
        used_label = f"{used_database}.{used}"
        if used_label.lower() in seen or used_label.lower() == label:
            continue
        if entry is not None:
            table = rules.table(entry.name, used)
            clusters = table_clusters(rules, table) if table is not None else (entry.home,)
            # A column may look like a table here (`alias`.`column`), but only where an alias is named as a database.
            if cluster not in clusters or (table is not None and table.sharding is not None and len(clusters) > 1):
                return used_label
        problem = view_problem(rules, catalog, cluster, used_database, used, seen | {label})
        if problem is not None:
            return problem
    return None
