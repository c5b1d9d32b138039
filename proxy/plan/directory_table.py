"""The table of a directory sharding, as its columns are on home: what may serve as one, and how it is asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from parser.rewrite import quoted
from proxy.back.catalog import Catalog, Column
from proxy.plan.keys import Family, KeyForm, Unmodelled, form_text, key_form
from proxy.rules.model import Rules, Sharding

CLUSTER = "cluster"  # the column with a cluster's name
_TEXTS = frozenset({"char", "varchar", "tinytext", "text"})


@dataclass(frozen=True, slots=True)
class DirectoryTable:
    """`key`: its column; `form`: that of its values. `name`: for SQL."""

    home: str
    name: str
    key: str
    form: KeyForm

    def literal(self, text: bytes) -> str:
        """The normal form of a key as SQL, whatever sql_mode and charset say."""
        if self.form.family is Family.INTEGER:
            return text.decode("ascii")
        if self.form.collation == "binary":
            return f"x'{text.hex()}'"
        return f"_utf8mb4 x'{text.hex()}'"

    def text(self, cell: bytes) -> bytes | None:
        """The normal form of a key as a server gives it (in utf8mb4)."""
        if self.form.family is Family.INTEGER:
            return form_text(self.form, int(cell), stored=True)
        try:
            return form_text(self.form, cell.decode(), stored=True)
        except UnicodeDecodeError:
            return None

    def look(self, name: str, state: str, texts: list[bytes]) -> str:
        """One statement that gives the row of `state` (NULL, NULL, epoch, held) and those of the keys
        (key, cluster, NULL, NULL), all as they are at one moment."""
        sql = f"SELECT NULL, NULL, epoch, held FROM {state} WHERE name = {name}"
        if texts:
            among = ", ".join(map(self.literal, texts))
            sql += (
                f" UNION ALL SELECT {quoted(self.key)}, {quoted(CLUSTER)}, NULL, NULL FROM {self.name}"
                f" WHERE {quoted(self.key)} IN ({among})"
            )
        return sql

    def look_at(self, text: bytes) -> str:
        """(cluster) of one key, by the server's own idea of equality."""
        return f"SELECT {quoted(CLUSTER)} FROM {self.name} WHERE {quoted(self.key)} = {self.literal(text)}"

    def enter(self, clusters: Sequence[tuple[bytes, str]]) -> str:
        """An INSERT of keys with their clusters. It leaves keys alone that are there already."""
        rows = ", ".join(f"({self.literal(text)}, _utf8mb4 x'{name.encode().hex()}')" for text, name in clusters)
        return f"INSERT IGNORE INTO {self.name} ({quoted(self.key)}, {quoted(CLUSTER)}) VALUES {rows}"


def directory_table(sharding: Sharding, rules: Rules, catalog: Catalog) -> DirectoryTable | Unmodelled | None:
    """What serves as the directory; why it cannot (a clause that follows its name); None: its columns are not known."""
    database, _, name = sharding.table.partition(".")
    home = rules.home(database)
    schema = catalog.find(home, database, name)
    if schema is None:
        return None
    if not schema.is_base:
        return Unmodelled("is not an ordinary table")
    if schema.engine.lower() != "innodb":
        return Unmodelled(f"has the engine {schema.engine}, not InnoDB")
    cluster = schema.column(CLUSTER)
    if cluster is None or cluster.data_type not in _TEXTS or cluster.generated:
        return Unmodelled(f"has no column `{CLUSTER}` of type VARCHAR")
    longest = max(sharding.clusters, key=len)
    if cluster.length is not None and cluster.length < len(longest):
        return Unmodelled(f"has a column `{CLUSTER}` that is too short for {longest}")
    keys = {unique[0] for unique in schema.unique_keys if len(unique) == 1} - {CLUSTER}
    columns = [column for column in schema.columns if column.name in keys and not column.auto_increment]
    if len(columns) != 1:
        return Unmodelled("needs exactly one unique key of one column, which is the shard key")
    (column,) = columns
    if column.nullable:
        return Unmodelled(f"has a key, {column.name}, that may be NULL")
    form = directory_form(column)
    if isinstance(form, Unmodelled):
        return Unmodelled(f"has a key, {column.name}, that {form.why}")
    return DirectoryTable(home, quoted(schema.database, schema.name), column.name, form)


def directory_form(column: Column) -> KeyForm | Unmodelled:
    """The form of a directory's keys: unlike for slots, it must tell apart all that the column tells apart."""
    form = key_form(column)
    if not isinstance(form, Unmodelled) and form.family is Family.FOLDED and form.collation.endswith("_cs"):
        return Unmodelled(f"has the collation {form.collation}, which tells upper from lower case")
    return form
