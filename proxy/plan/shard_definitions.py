"""What CREATE and ALTER TABLE may say of tables whose rows are on several clusters: their shard keys and foreign keys.

A foreign key is checked by each cluster for its own rows, so it must lead to rows that are on the same cluster whatever
happens: to a table with a full copy everywhere, or to one of the same sharding by way of both shard keys.
"""

from __future__ import annotations

from parser.defined import DefinedColumn, DefinedForeignKey
from proxy.back.catalog import Column, ForeignKey
from proxy.plan import refusals
from proxy.plan.case import Case
from proxy.plan.keys import Family, KeyForm, Unmodelled, key_form
from proxy.plan.places import Place
from proxy.plan.sharding import key_schema, placement
from proxy.rules.model import Table

_STRINGS = frozenset({"char", "varchar"})
_ANY_LENGTH = 65535
_SETS = frozenset({"set null", "set default"})


def check_foreign_keys(asked: Case) -> None:
    """Raises StatementRefused for a foreign key between rows that are not on one cluster."""
    defined = asked.statement.defined
    if defined is None or not defined.foreign_keys:
        return
    child = asked.places[0]
    for key in defined.foreign_keys:
        parent = asked.places[key.table]
        problem = foreign_key_problem(child, parent, key)
        if problem is not None:
            raise refusals.DDL_FOREIGN_KEY.error(
                table=child.label, columns=", ".join(key.columns), other=parent.label, why=problem[0], advice=problem[1]
            )


def foreign_key_problem(child: Place, parent: Place, key: DefinedForeignKey | ForeignKey) -> tuple[str, str] | None:
    """(why it is not kept, what to do); that two tables are on two clusters is not said here."""
    leave_out = f"Leave the foreign key out, or make {parent.label} `everywhere: true`."
    changes = key.on_update == "cascade" or key.on_update in _SETS or key.on_delete in _SETS
    if parent.everywhere:
        if child.sharded and child.key in key.columns and changes:
            return (
                f"would let a change of {parent.label} change the shard key {child.key} of a row, which would have to "
                "move",
                "Leave ON UPDATE CASCADE and SET NULL out.",
            )
        return None
    if child.cluster is not None:
        if parent.sharded:
            return f"leads to rows that are not on cluster {child.cluster}", leave_out
        return None  # two clusters are refused as in any statement
    if child.everywhere:
        return "leads to rows that not every cluster has", leave_out
    if not parent.sharded:
        return f"leads to cluster {parent.cluster}", leave_out
    assert child.entry is not None
    assert parent.entry is not None
    if child.entry.sharding != parent.entry.sharding:
        return "leads to a table with another sharding, whose rows lie on other clusters", leave_out
    if (child.key, parent.key) not in zip(key.columns, key.referenced):
        return (
            "does not lead from shard key to shard key, so that the rows may be on different clusters",
            f"Write FOREIGN KEY ({child.key}, ..) REFERENCES {parent.label} ({parent.key}, ..), or leave it out.",
        )
    if key.on_update in _SETS or key.on_delete in _SETS:
        return f"would set the shard key {child.key} to something else", "Leave SET NULL out."
    return None


def check_shard_key(asked: Case, table: Place) -> None:
    """Raises StatementRefused where after this CREATE or ALTER TABLE the table could not be sharded as the rules say,
    or rows that are there would be looked for elsewhere. What only the server knows (the collation that a column has
    by default) is not checked."""
    defined = asked.statement.defined
    if not table.sharded or defined is None:
        return
    assert table.entry is not None
    column = next((each for each in defined.columns if each.name == table.key), None)
    if asked.statement.name == "create table":
        if defined.like:
            _check_like(asked, table)
        elif column is None:
            raise _refused(
                table, f"defines no column {table.key}", f"Give it a column {table.key}, or change the rules."
            )
        else:
            _check_form(table, column, _co_located(asked, table.entry))
        return
    if asked.statement.name != "alter table":
        return
    if table.key in defined.dropped:
        raise _refused(
            table,
            f"drops or renames {table.key}",
            "Create a table with the other key, copy the rows, and change the rules.",
        )
    schema = key_schema(table.entry, asked.catalog)
    known = schema.column(table.key) if schema is not None else None
    form = key_form(known) if known is not None else None
    if column is not None:
        before = form if isinstance(form, KeyForm) else None
        if column.data_type in _STRINGS and column.collation is None and before is not None and before.collation:
            raise _refused(
                table,
                f"changes {table.key} without saying its collation, by which rows are placed",
                f"Add COLLATE {before.collation}.",
            )
        _check_form(table, column, (before, "it") if before is not None else None)
    if defined.converts and isinstance(form, KeyForm) and form.collation:
        raise _refused(
            table,
            f"converts {table.key}, by whose collation rows are placed",
            "Convert the other columns one by one with MODIFY.",
        )


def _refused(table: Place, why: str, advice: str) -> Exception:
    return refusals.DDL_SHARD_KEY.error(table=table.label, column=table.key, why=why, advice=advice)


def _check_like(asked: Case, table: Place) -> None:
    source = next(each for each in asked.places if not each.written)
    schema = asked.schema(source.ref.index)
    if schema is None:
        return  # the servers will say that it does not exist
    column = schema.column(table.key)
    if column is None:
        raise _refused(table, f"is LIKE {source.label}, which has no column {table.key}", "Change the rules.")
    form = key_form(column)
    if isinstance(form, Unmodelled):
        raise _refused(table, f"would give it a {table.key} that {form.why}", "Change the rules.")
    assert table.entry is not None
    other = _co_located(asked, table.entry)
    if other is not None and not form.compares_with(other[0]):
        raise _apart(table, other[1])


def _co_located(asked: Case, entry: Table) -> tuple[KeyForm, str] | None:
    """The form of key that another table of the same sharding has, and that table's name."""
    for database in asked.rules.databases.values():
        for other in database.tables.values():
            if other.sharding is None or other.sharding != entry.sharding or other is entry:
                continue
            schema = key_schema(other, asked.catalog)
            column = schema.column(other.key.lower()) if schema is not None else None
            form = key_form(column) if column is not None else None
            if isinstance(form, KeyForm):
                return form, f"{other.database}.{other.name}.{other.key}"
    return None


def _check_form(table: Place, column: DefinedColumn, other: tuple[KeyForm, str] | None) -> None:
    """`other`: a form of key that this one has to have rows in the same places with, and whose it is."""
    assert table.entry is not None
    assert table.entry.sharding is not None
    if column.data_type in _STRINGS and column.collation is None and column.charset != "binary":
        if other is not None and other[0].family in (Family.INTEGER, Family.DATE):
            raise _apart(table, other[1])
        return
    form = key_form(_column(column))
    if isinstance(form, Unmodelled):
        raise _refused(
            table,
            f"gives it a {table.key} that {form.why}",
            "Use an integer, a DATE, or a CHAR or VARCHAR with a _bin, _general_ci, _unicode_ci, _0900_ai_ci or "
            "_uca1400_ai_ci collation.",
        )
    placed = placement(table.entry.sharding, form)
    if isinstance(placed, Unmodelled):
        raise _refused(table, f"gives it a {table.key} that {placed.why}", "Use a column of the sharding's type.")
    if other is not None and not form.compares_with(other[0]):
        raise _apart(table, other[1])


def _apart(table: Place, other: str) -> Exception:
    return _refused(
        table,
        f"gives {table.key} another type or collation than {other} has, by which equal keys would be on different "
        "clusters",
        "Give it the same.",
    )


def _column(defined: DefinedColumn) -> Column:
    charset = defined.charset or (defined.collation.partition("_")[0] if defined.collation else None)
    return Column(
        defined.name,
        defined.data_type,
        unsigned=defined.unsigned,
        charset=charset,
        collation=defined.collation,
        length=_ANY_LENGTH,
        zerofill=defined.zerofill,
        generated=defined.generated,
    )
