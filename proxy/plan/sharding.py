"""Which cluster holds the rows of a shard key, and whether the keys that the rules name can be shard keys at all."""

from __future__ import annotations

import bisect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from zlib import crc32

from proxy.back.catalog import Catalog, Column, TableSchema
from proxy.back.directory import Directory, KeysUnknown
from proxy.plan.directory_table import DirectoryTable, directory_form, directory_table
from proxy.plan.keys import Family, KeyForm, Unmodelled, form_text, key_form
from proxy.rules.model import SLOTS, Method, Rules, Sharding, Table


@dataclass(frozen=True, slots=True)
class Placement:
    """A sharding applied to one form of key: where the rows of one table are."""

    sharding: Sharding
    form: KeyForm
    numbers: tuple[int, ...] = ()  # of RANGE, ascending: the first key beyond each range, as numbers ..
    texts: tuple[bytes, ...] = ()  # .. or as texts
    range_clusters: tuple[str, ...] = ()
    listed: Mapping[bytes, str] | None = None  # of LIST
    directory: Directory | None = None  # of DIRECTORY, where it can be asked

    def cluster(self, text: bytes) -> str | None:
        """The cluster of the rows with this key; None where there can be no such rows (LIST, DIRECTORY). Raises
        KeysUnknown."""
        method = self.sharding.method
        if method is Method.DIRECTORY:
            if self.directory is None:
                raise KeysUnknown(Directory(self.sharding.name, self.sharding.table, "", frozenset()), (text,))
            return self.directory.find(text)
        if method is Method.HASH:
            return self.sharding.slots[crc32(text) % SLOTS]
        if method is Method.LIST:
            assert self.listed is not None
            return self.listed.get(text, self.sharding.default)
        if self.numbers:
            return self.range_clusters[bisect.bisect_right(self.numbers, int(text))]
        return self.range_clusters[bisect.bisect_right(self.texts, text)]


def placement(sharding: Sharding, form: KeyForm, directory: Directory | None = None) -> Placement | Unmodelled:
    """`sharding` for keys of this form, or why its bounds or values do not suit them."""
    if sharding.method is Method.DIRECTORY:
        return Placement(sharding, form, directory=directory)
    if sharding.method is Method.RANGE:
        texts: list[bytes] = []
        for bound, _ in sharding.ranges[:-1]:
            text = _bound_text(form, bound)
            if text is None:
                return Unmodelled(f"cannot be compared with the bound {bound!r} of sharding {sharding.name}")
            texts.append(text)
        numbers = tuple(int(text) for text in texts) if form.family is Family.INTEGER else ()
        if not _ascending(numbers, texts):
            return Unmodelled(f"orders the bounds of sharding {sharding.name} differently than they are written")
        clusters = tuple(cluster for _, cluster in sharding.ranges)
        return Placement(sharding, form, numbers, () if numbers else tuple(texts), clusters)
    if sharding.method is Method.LIST:
        listed: dict[bytes, str] = {}
        for value, cluster in sharding.values.items():
            text = _bound_text(form, value)
            if text is None:
                return Unmodelled(f"cannot hold the value {value!r} of sharding {sharding.name}")
            if listed.setdefault(text, cluster) != cluster:
                return Unmodelled(f"calls two values of sharding {sharding.name} equal that are on different clusters")
        return Placement(sharding, form, listed=listed)
    return Placement(sharding, form)


_DATES = (Family.DATE, Family.DATETIME)


def _ascending(numbers: Sequence[int], texts: Sequence[bytes]) -> bool:
    return list(numbers) == sorted(set(numbers)) and (bool(numbers) or list(texts) == sorted(set(texts)))


def _bound_text(form: KeyForm, value: int | str | None) -> bytes | None:
    """A bound or listed value as key text; it need not fit into the column (`below: 5000` on a TINYINT)."""
    if form.family is Family.INTEGER:
        return b"%d" % value if isinstance(value, int) else None
    if isinstance(value, str) and len(value) > form.length and form.family not in _DATES:
        return None
    return form_text(form, value, stored=True)


def directory_problem(
    sharding: Sharding, column: Column, form: KeyForm, rules: Rules, catalog: Catalog
) -> Unmodelled | None:
    """Why the directory of a sharding cannot have the values of this column as its keys (a clause that follows the
    column's name); None also where its columns are not known."""
    table = directory_table(sharding, rules, catalog)
    if table is None:
        return None
    own = directory_form(column)
    if isinstance(own, Unmodelled):
        return own
    if isinstance(table, Unmodelled):
        return Unmodelled(f"has its directory {sharding.table}, which {table.why}")
    if not _holds(table, form):
        return Unmodelled(f"has another type or collation than {table.key} in its directory {sharding.table}")
    return None


def _holds(table: DirectoryTable, form: KeyForm) -> bool:
    """Can every value of a column of this form be a key of the directory, with the same text?"""
    key = table.form
    if not key.compares_with(form) or key.strips is not form.strips:
        return False
    return key.low <= form.low and key.high >= form.high and key.length >= form.length


def key_schema(entry: Table, catalog: Catalog) -> TableSchema | None:
    """The schema of a sharded table, from the first of its clusters where it is known."""
    assert entry.sharding is not None
    found = (catalog.find(cluster, entry.database, entry.name) for cluster in entry.sharding.clusters)
    return next((schema for schema in found if schema is not None), None)


def sql_key_expression(column: Column, sharding: Sharding | None = None) -> str:
    """The SQL expression by which anyone computes a row's slot (hash shardings) or key text (range and list).

    Raises ValueError for a column that cannot be a shard key.
    """
    form = key_form(column)
    if isinstance(form, Unmodelled):
        raise ValueError(f"{column.name} {form.why}")
    text = f"`{column.name.replace('`', '``')}`"
    if form.strips:
        text = f"RTRIM({text})"
    if form.family is Family.FOLDED:
        text = f"LOWER({text})"
    if sharding is None or sharding.method is Method.HASH:
        return f"CRC32({text}) % {SLOTS}"
    if form.family in (Family.EXACT, Family.FOLDED):
        text = f"CAST(CONVERT({text} USING utf8mb4) AS BINARY)"
    return text


@dataclass(frozen=True, slots=True)
class KeyProblem:
    """Why a table cannot be sharded as the rules say, or (a `warning`) what will be refused or is not checked."""

    database: str
    table: str
    message: str
    suggestion: str
    warning: bool = False

    def __str__(self) -> str:
        return f"databases.{self.database}.tables.{self.table}: {self.message} {self.suggestion}"


def check_sharding_keys(rules: Rules, catalog: Catalog) -> list[KeyProblem]:
    """Everything wrong with the shard keys of tables whose schema is known; unknown ones are left out."""
    problems: list[KeyProblem] = []
    forms: dict[str, tuple[Table, KeyForm]] = {}
    for database in rules.databases.values():
        for entry in database.tables.values():
            if entry.sharding is None:
                continue
            on_clusters: dict[str, KeyForm] = {}
            for cluster in entry.sharding.clusters:
                schema = catalog.find(cluster, entry.database, entry.name)
                if schema is None:
                    continue
                found = _check_table(entry, cluster, schema, rules, catalog)
                if isinstance(found, KeyProblem):
                    problems.append(found)
                else:
                    on_clusters[cluster] = found
                    if cluster == next(iter(on_clusters)):
                        problems += _doubts(entry, schema)
            problems += _compare(entry, on_clusters, forms)
    return problems


def table_problems(rules: Rules, catalog: Catalog, label: str) -> list[KeyProblem]:
    """What is wrong, or doubtful, with one sharded table (`database.table`), by the first cluster that knows it."""
    database, _, name = label.partition(".")
    entry = rules.table(database, name)
    if entry is None or entry.sharding is None:
        return []
    known = ((cluster, catalog.find(cluster, database, name)) for cluster in entry.sharding.clusters)
    cluster, schema = next(((c, s) for c, s in known if s is not None), ("", None))
    if schema is None:
        return []
    found = _check_table(entry, cluster, schema, rules, catalog)
    return [found] if isinstance(found, KeyProblem) else _doubts(entry, schema)


def _check_table(
    entry: Table, cluster: str, schema: TableSchema, rules: Rules, catalog: Catalog
) -> KeyForm | KeyProblem:
    def problem(message: str, suggestion: str) -> KeyProblem:
        return KeyProblem(entry.database, entry.name, message, suggestion)

    if schema.is_view:
        return problem(f"is a view on cluster {cluster}.", "Shard the tables that it reads.")
    column = schema.column(entry.key.lower())
    if column is None:
        names = ", ".join(known.name for known in schema.columns)
        return problem(f"has no column {entry.key} on cluster {cluster}.", f"Its columns are {names}.")
    form = key_form(column)
    if isinstance(form, Unmodelled):
        return problem(
            f"{entry.key} on cluster {cluster} {form.why}.",
            "Use an integer, a DATE, a DATETIME, or a CHAR or VARCHAR with a _bin, _general_ci, _unicode_ci, "
            "_0900_ai_ci or _uca1400_ai_ci collation.",
        )
    assert entry.sharding is not None
    placed = placement(entry.sharding, form)
    if isinstance(placed, Unmodelled):
        return problem(f"{entry.key} on cluster {cluster} {placed.why}.", "Write values of the column's own type.")
    if entry.sharding.method is Method.DIRECTORY:
        why = directory_problem(entry.sharding, column, form, rules, catalog)
        if why is not None:
            suggestion = "A directory is an InnoDB table on home with a column `cluster` and one unique key."
            return problem(f"{entry.key} on cluster {cluster} {why.why}.", suggestion)
    return form


def _doubts(entry: Table, schema: TableSchema) -> list[KeyProblem]:
    def warning(message: str, suggestion: str) -> KeyProblem:
        return KeyProblem(entry.database, entry.name, message, suggestion, warning=True)

    doubts = []
    loose = [key for key in schema.unique_keys if entry.key.lower() not in key]
    if loose:
        names = "; ".join(", ".join(key) for key in loose)
        doubts.append(
            warning(
                f"has unique keys without {entry.key} ({names}): each shard checks them for its own rows only, and "
                "INSERT IGNORE, REPLACE and ON DUPLICATE KEY UPDATE are refused.",
                f"Add {entry.key} to them if the application relies on them.",
            )
        )
    if schema.has_triggers:
        doubts.append(
            warning(
                f"has triggers, which run on the shard of the row, see its rows only, and must not change {entry.key}.",
                "Check what they do.",
            )
        )
    return doubts


def _compare(
    entry: Table, on_clusters: Mapping[str, KeyForm], forms: dict[str, tuple[Table, KeyForm]]
) -> list[KeyProblem]:
    assert entry.sharding is not None
    problems = []
    known = list(on_clusters.items())
    for cluster, form in known[1:]:
        if form != known[0][1]:
            problems.append(
                KeyProblem(
                    entry.database,
                    entry.name,
                    f"{entry.key} has different types or collations on clusters {known[0][0]} and {cluster}.",
                    "Make them the same.",
                )
            )
    if known:
        first, first_form = forms.setdefault(entry.sharding.name, (entry, known[0][1]))
        if not known[0][1].compares_with(first_form):
            problems.append(
                KeyProblem(
                    entry.database,
                    entry.name,
                    f"{entry.key} and {first.database}.{first.name}.{first.key} follow the sharding "
                    f"{entry.sharding.name} with types or collations that differ: their rows do not lie together.",
                    "Give them the same type and collation, or shardings of their own.",
                )
            )
    return problems
