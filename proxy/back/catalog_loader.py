"""information_schema rows -> schemas. Pure: the caller runs the queries and hands in what came back.

For MariaDB (from 10.2.7, which quotes literal defaults) and MySQL 5.7 and 8. The service account sees what it has a
privilege on: SELECT on the databases, SHOW VIEW for the definitions of views, TRIGGER for triggers.
Sources: MariaDB Knowledge Base, "Information Schema COLUMNS Table"; MySQL 8.4 Reference Manual, 28.3.8.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence, Set

from parser import tokens
from parser.effects import of_tokens
from parser.shape import lexer
from parser.statement import Effect
from proxy.back.catalog import Catalog, Column, ForeignKey, TableSchema

Cell = bytes | str | None
Rows = Sequence[Sequence[Cell]]
Key = tuple[str, str, str]  # cluster, database, table: the latter two in lower case

_SYSTEM = ("information_schema", "mysql", "performance_schema", "sys")

_VERSION, _TABLES, _COLUMNS, _KEYS, _VIEWS, _TRIGGERS = "version", "tables", "columns", "keys", "views", "triggers"
_FOREIGN_KEYS, _FOREIGN_COLUMNS = "foreign keys", "columns of foreign keys"


def queries(databases: Collection[str] | None = None) -> dict[str, str]:
    """What to ask a server, by name. Without `databases`: about all but the system's own."""
    return {
        _VERSION: "SELECT VERSION()",
        _TABLES: "SELECT TABLE_SCHEMA, TABLE_NAME, TABLE_TYPE, ENGINE FROM information_schema.TABLES"
        f" WHERE {_among('TABLE_SCHEMA', databases)}",
        _COLUMNS: "SELECT TABLE_SCHEMA, TABLE_NAME, COLUMN_NAME, DATA_TYPE, COLUMN_TYPE, IS_NULLABLE,"
        " CHARACTER_SET_NAME, COLLATION_NAME, CHARACTER_MAXIMUM_LENGTH, COLUMN_DEFAULT, EXTRA, GENERATION_EXPRESSION"
        " FROM information_schema.COLUMNS"
        f" WHERE {_among('TABLE_SCHEMA', databases)} ORDER BY TABLE_SCHEMA, TABLE_NAME, ORDINAL_POSITION",
        _KEYS: "SELECT TABLE_SCHEMA, TABLE_NAME, INDEX_NAME, COLUMN_NAME, SUB_PART FROM information_schema.STATISTICS"
        f" WHERE NON_UNIQUE = 0 AND {_among('TABLE_SCHEMA', databases)}"
        " ORDER BY TABLE_SCHEMA, TABLE_NAME, INDEX_NAME, SEQ_IN_INDEX",
        _VIEWS: "SELECT TABLE_SCHEMA, TABLE_NAME, VIEW_DEFINITION FROM information_schema.VIEWS"
        f" WHERE {_among('TABLE_SCHEMA', databases)}",
        _TRIGGERS: "SELECT EVENT_OBJECT_SCHEMA, EVENT_OBJECT_TABLE, ACTION_STATEMENT, SQL_MODE, TRIGGER_NAME"
        " FROM information_schema.TRIGGERS"
        f" WHERE {_among('EVENT_OBJECT_SCHEMA', databases)}",
        _FOREIGN_KEYS: "SELECT UNIQUE_CONSTRAINT_SCHEMA, REFERENCED_TABLE_NAME, CONSTRAINT_SCHEMA, TABLE_NAME,"
        " CONSTRAINT_NAME, DELETE_RULE, UPDATE_RULE FROM information_schema.REFERENTIAL_CONSTRAINTS"
        f" WHERE {_among('UNIQUE_CONSTRAINT_SCHEMA', databases)} OR {_among('CONSTRAINT_SCHEMA', databases)}",
        _FOREIGN_COLUMNS: "SELECT TABLE_SCHEMA, TABLE_NAME, CONSTRAINT_NAME, COLUMN_NAME, REFERENCED_TABLE_SCHEMA,"
        " REFERENCED_TABLE_NAME, REFERENCED_COLUMN_NAME FROM information_schema.KEY_COLUMN_USAGE"
        " WHERE REFERENCED_TABLE_NAME IS NOT NULL"
        f" AND ({_among('TABLE_SCHEMA', databases)} OR {_among('REFERENCED_TABLE_SCHEMA', databases)})"
        " ORDER BY TABLE_SCHEMA, TABLE_NAME, CONSTRAINT_NAME, ORDINAL_POSITION",
    }


def _among(column: str, databases: Collection[str] | None) -> str:
    if databases is None:
        return f"{column} NOT IN ({', '.join(map(_literal, _SYSTEM))})"
    if not databases:
        return "1 = 0"
    return f"{column} IN ({', '.join(map(_literal, sorted(databases)))})"


def _literal(name: str) -> str:
    """A name as a string that means the same whatever sql_mode says about backslashes."""
    return f"_utf8mb4 0x{name.encode().hex()}" if "\\" in name else "'" + name.replace("'", "''") + "'"


def build(cluster: str, rows: Mapping[str, Rows]) -> dict[Key, TableSchema]:
    """The schemas of one cluster, from the answers to `queries`.

    Tables whose names differ only in case are left out: the rules cannot tell them apart. So are those without columns,
    which were made or dropped while they were asked for, or hide their columns from the account.
    """
    mariadb = "mariadb" in _text(rows[_VERSION][0][0]).lower()
    columns: dict[tuple[str, str], list[Column]] = defaultdict(list)
    times: dict[tuple[str, str], set[str]] = defaultdict(set)
    for database, table, column, data_type, *_ in rows[_COLUMNS]:
        if _text(data_type).lower() == "time":
            times[_text(database), _text(table)].add(_text(column).lower())
    types: dict[tuple[str, str], list[str]] = defaultdict(list)
    for database, table, *row in rows[_COLUMNS]:
        types[_text(database), _text(table)].append(_text(row[2]))
        of_day = times[_text(database), _text(table)]
        columns[_text(database), _text(table)].append(_column([_text_or_none(cell) for cell in row], mariadb, of_day))
    keys: dict[tuple[str, str], dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for database, table, index, column, part in rows[_KEYS]:
        keys[_text(database), _text(table)][_text(index)].append(_key_part(column, part))
    views = {(_text(database), _text(view)): _text(text) for database, view, text in rows[_VIEWS]}
    triggers: dict[tuple[str, str], set[str]] = defaultdict(set)
    for database, table, _, _, trigger in rows[_TRIGGERS]:
        triggers[_text(database), _text(table)].add(_text(trigger).lower())
    leaving = {
        (_text(database), _text(table))
        for database, table, body, mode, _ in rows[_TRIGGERS]
        if leaves_state(_text(body), _text(mode))
    }
    cascades: dict[tuple[str, str], list[tuple[str, str]]] = defaultdict(list)
    referenced: dict[tuple[str, str], set[str]] = defaultdict(set)
    for *_, database, table, column in rows[_FOREIGN_COLUMNS]:
        referenced[_text(database), _text(table)].add(_text(column).lower())
    listed: dict[tuple[str, str], list[ForeignKey]] = defaultdict(list)
    tables = {(_text(database), _text(table)) for database, table, *_ in rows[_TABLES]}
    for foreign in _foreign_keys(rows[_FOREIGN_KEYS], rows[_FOREIGN_COLUMNS]):
        listed[foreign.child if foreign.child in tables else foreign.parent].append(foreign)
        if not {foreign.on_delete, foreign.on_update} <= _KEEPS:
            cascades[foreign.parent].append(foreign.child)
    parents: dict[tuple[str, str], set[tuple[str, str]]] = defaultdict(set)
    for parent_name, children in cascades.items():
        for child_name in children:
            parents[child_name].add(parent_name)
    found: dict[Key, TableSchema] = {}
    twice: set[Key] = set()
    for database, table, kind, engine in rows[_TABLES]:
        name = (_text(database), _text(table))
        unique = keys[name]
        key = (cluster, name[0].lower(), name[1].lower())
        is_view = "VIEW" in _text(kind).upper()
        if name not in columns and not is_view:
            continue
        if key in found:
            twice.add(key)
        found[key] = TableSchema(
            database=name[0],
            name=name[1],
            columns=tuple(columns[name]),
            types=tuple(types[name]),
            is_view=is_view,
            view_definition=views.get(name, ""),
            primary_key=tuple(unique.get("PRIMARY", ())),
            unique_keys=tuple(tuple(parts) for parts in unique.values()),
            has_triggers=name in triggers,
            triggers=frozenset(triggers.get(name, ())),
            triggers_leave_state=name in leaving,
            engine=_text(engine),
            is_base=_text(kind).upper() == "BASE TABLE",
            cascades=tuple(sorted(set(cascades[name]))),
            referenced=tuple(sorted(referenced[name])),
            foreign_keys=tuple(listed[name]),
            follows=_reached(name, parents),
        )
    return {key: schema for key, schema in found.items() if key not in twice}


_KEEPS = frozenset({"restrict", "no action"})


def _foreign_keys(rules: Rows, columns: Rows) -> list[ForeignKey]:
    """In the order of child tables and names. One whose columns are hidden from the account has none."""
    parts: dict[tuple[str, str, str], list[tuple[str, str]]] = defaultdict(list)
    for database, table, name, column, _, _, other in columns:
        key = (_text(database).lower(), _text(table).lower(), _text(name).lower())
        parts[key].append((_text(column).lower(), _text(other).lower()))
    found = []
    for parent_database, parent, database, child, name, on_delete, on_update in rules:
        pairs = parts[_text(database).lower(), _text(child).lower(), _text(name).lower()]
        found.append(
            ForeignKey(
                _text(name),
                (_text(database), _text(child)),
                tuple(column for column, _ in pairs),
                (_text(parent_database), _text(parent)),
                tuple(other for _, other in pairs),
                _text(on_delete).lower(),
                _text(on_update).lower(),
            )
        )
    return sorted(found, key=lambda foreign: (foreign.child, foreign.name))


def _reached(
    start: tuple[str, str], edges: Mapping[tuple[str, str], Set[tuple[str, str]]]
) -> tuple[tuple[str, str], ...]:
    """All that edges lead to from `start`, and on."""
    found: set[tuple[str, str]] = set()
    waiting = list(edges.get(start, ()))
    while waiting:
        one = waiting.pop()
        if one not in found:
            found.add(one)
            waiting.extend(edges.get(one, ()))
    return tuple(sorted(found))


def merge(catalog: Catalog, cluster: str, tables: Mapping[Key, TableSchema]) -> Catalog:
    """The catalog with what is known of one cluster replaced; a new generation if that changes anything."""
    merged = {key: schema for key, schema in catalog.tables.items() if key[0] != cluster}
    merged.update(tables)
    if merged == catalog.tables:
        return catalog
    return Catalog(merged, catalog.generation + 1)


def leaves_state(body: str, sql_mode: str) -> bool:
    """May this trigger set variables that outlast the statement? Calls may do so out of sight."""
    read_by = lexer("ANSI_QUOTES" in sql_mode, "NO_BACKSLASH_ESCAPES" in sql_mode, "utf8mb4")
    shape, _ = read_by.shape(body.encode())
    found = tokens.read(shape.decode(), read_by.ansi_quotes)
    if found.doubt or any(token.word == "CALL" for token in found.tokens):
        return True
    return bool(of_tokens(found.tokens) & _LEAVING)


_LEAVING = (
    Effect.SETS_USER_VARIABLE
    | Effect.READS_USER_VARIABLE  # SET @x = .. looks like this
    | Effect.READS_SYSTEM_VARIABLE
    | Effect.UNKNOWN_FUNCTION
    | Effect.SESSION_LOCK
    | Effect.SETS_LAST_INSERT_ID
)
_CONSTANT_DEFAULT = re.compile(r"NULL|'.*'|[bx]'.*'|-?[0-9.]+(?:e[+-]?[0-9]+)?", re.IGNORECASE | re.DOTALL)
_CLOCK = re.compile(r"current_timestamp|now|localtime|localtimestamp", re.IGNORECASE)


def _column(row: Sequence[str | None], mariadb: bool, times: Set[str]) -> Column:
    """`times`: the columns of the table that are of type TIME."""
    name, data_type, column_type, nullable, charset, collation, length, default, extra, expression = row
    data_type, column_type, extra = (data_type or "").lower(), (column_type or "").lower(), (extra or "").lower()
    generated = bool(re.search(r"(?:virtual|stored|persistent)(?: generated)?\b", extra))
    return Column(
        name=(name or "").lower(),
        data_type=data_type,
        unsigned=" unsigned" in column_type,
        charset=charset,
        collation=collation,
        nullable=nullable == "YES",
        auto_increment="auto_increment" in extra,
        generated=generated,
        length=int(length) if length is not None else None,
        fraction=_fraction(column_type) if data_type in ("datetime", "timestamp", "time") else 0,
        zerofill=" zerofill" in column_type,
        invisible="invisible" in extra,
        server_default=not generated and _is_computed(default, data_type, extra, mariadb),
        on_update="on update" in extra,
        volatile="virtual" in extra and _is_volatile(expression or "", times),
    )


def _fraction(column_type: str) -> int:
    """6 of `datetime(6)`."""
    found = re.search(r"\(([0-6])\)", column_type)
    return int(found[1]) if found is not None else 0


def _is_volatile(expression: str, times: Set[str]) -> bool:
    """Does a generated column's value depend on more than its row? With dates, a time of day is taken to be today's."""
    read_by = lexer()
    shape, _ = read_by.shape(expression.encode())
    found = tokens.read(shape.decode("utf-8", "replace"), read_by.ansi_quotes)
    names = {token.text.lower() for token in found.tokens}
    return not expression or bool(found.doubt) or bool(of_tokens(found.tokens)) or not times.isdisjoint(names)


def _is_computed(default: str | None, data_type: str, extra: str, mariadb: bool) -> bool:
    if default is None:
        return False
    if mariadb:  # literals are quoted, everything else is an expression
        return _CONSTANT_DEFAULT.fullmatch(default) is None
    if "default_generated" in extra:
        return True
    return data_type in ("timestamp", "datetime") and _CLOCK.match(default) is not None


def _key_part(column: Cell, part: Cell) -> str:
    """A column of an index; for a prefix or an expression a name that no column has."""
    if column is None:
        return "(expression)"
    name = _text(column).lower()
    return name if part is None else f"{name}({_text(part)})"


def _text(cell: Cell) -> str:
    return _text_or_none(cell) or ""


def _text_or_none(cell: Cell) -> str | None:
    return cell.decode("utf-8", "replace") if isinstance(cell, bytes) else cell
