"""The planner's part in the cache: which reads may be served from memory, and what a write touches.

A read is cached when its answer is a function of the rows of one table that have known values in the columns of a
class, of the account, and of settings that are in the key. Whatever could make it depend on more is a reason not to.

A write's marks may be too many, never too few. They are exact where the statement itself pins the class's columns to
constants and leaves them as they are; else the whole class is marked, and where even the table is not known, everything
on the cluster. Foreign keys and triggers carry a write on to other tables.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

from parser import tokens
from parser.effects import of_tokens
from parser.shape import lexer
from parser.statement import Effect, Hole, Kind, Pin, Statement, Value, Word
from proxy.back.catalog import Catalog, TableSchema
from proxy.back.tags import CLUSTER_SLOT, class_seed, key_slot, table_slot
from proxy.back.text_slots import TextSlots
from proxy.plan.case import Case
from proxy.plan.insert_values import column_values, insert_columns
from proxy.plan.keys import Family, KeyForm, Unmodelled, form_text, key_form
from proxy.plan.places import Place, qualified_names
from proxy.plan.plan import Forward, Plan, ValueOf
from proxy.plan.shard_routes import ByKey
from proxy.rules.model import CacheClass, Rules, Table

MAX_KEYS = 8  # that one statement pins
_MAX_ROWS = 32  # of an INSERT whose keys are marked one by one

_REASONS = (
    (Effect.LOCKS_ROWS, "it locks rows"),
    (Effect.NONDETERMINISTIC, "it uses the time, random numbers or the like"),
    (Effect.UNKNOWN_FUNCTION, "it calls a function that is not built in"),
    (Effect.READS_USER_VARIABLE | Effect.SETS_USER_VARIABLE, "it uses user variables"),
    (Effect.READS_SYSTEM_VARIABLE, "it reads system variables"),
    (Effect.CALC_FOUND_ROWS | Effect.USES_FOUND_ROWS, "it uses FOUND_ROWS"),
    (Effect.MAKES_TIME, "it computes with a time of day, which may become one of today"),
)
_KNOWN_WRITES = frozenset({Kind.INSERT, Kind.REPLACE, Kind.UPDATE, Kind.DELETE, Kind.LOAD_DATA})
_UNKNOWN_WRITES = frozenset(
    {
        Kind.CALL,
        Kind.DDL,
        Kind.ACCOUNT,
        Kind.ADMIN,
        Kind.XA,
        Kind.UNKNOWN,
        Kind.EXECUTE,
        Kind.HANDLER,
    }
)


_CALLS = Effect.UNKNOWN_FUNCTION | Effect.SEQUENCE  # what may write without saying where


@dataclass(frozen=True, slots=True)
class ClassRead:
    """See `proxy.plan.plan.CachedRead`. `values`: what each column of the class is pinned to."""

    database: str
    table: str
    cache_class: CacheClass
    seed: int
    forms: tuple[KeyForm, ...]
    values: tuple[tuple[Value, ...], ...]
    always: tuple[int, ...]  # the slots of the cluster, of the table and of the class
    memcached: bool = False  # do the rules name any?

    text_slots: TextSlots | None = field(init=False, default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        if len(self.values) == 1 and len(self.values[0]) == 1 and self.forms[0].family is Family.INTEGER:
            value = self.values[0][0]
            if isinstance(value, Hole) and not value.is_string and not value.negative:
                digits = len(str(self.forms[0].high)) - 1
                quick = TextSlots(self.always, value.index, self.seed, digits)
                object.__setattr__(self, "text_slots", quick)

    def slots(self, value_of: ValueOf) -> tuple[int, ...] | None:
        texts = []
        for form, values in zip(self.forms, self.values):
            found = [form_text(form, value_of(value)) for value in values]
            if None in found:
                return None
            texts.append(found)
        if len(texts) == 1:
            return (*self.always, *(key_slot(self.seed, (text,)) for text in texts[0]))
        return (*self.always, *(key_slot(self.seed, row) for row in itertools.product(*texts)))

    def describe(self) -> str:
        what = f"class by ({', '.join(self.cache_class.by)}) of {self.database}.{self.table}"
        if self.cache_class.ttl_s is not None:
            return f"{what}: this worker's memory, NOT coherent: up to {self.cache_class.ttl_s:g} s old"
        return f"{what}: this worker's memory{', then memcached' if self.memcached else ''}"


@dataclass(frozen=True, slots=True)
class _Keys:
    """Rows of one class: `rows` has a value for each of its columns, None for one that the server generates."""

    seed: int
    forms: tuple[KeyForm, ...]
    rows: tuple[tuple[Value | None, ...], ...]
    whole: int  # marked instead where a value has no normal form: the slot of the class
    automatic: tuple[bool, ...]  # columns where 0 means: generate one
    stored: bool

    def slots(self, value_of: ValueOf) -> Iterable[int]:
        for row in self.rows:
            texts = []
            for form, value, automatic in zip(self.forms, row, self.automatic):
                if value is None:
                    break
                text = form_text(form, value_of(value), stored=self.stored)
                if text is None or (automatic and text == b"0"):
                    yield self.whole
                    break
                texts.append(text)
            else:
                yield key_slot(self.seed, texts)


@dataclass(frozen=True, slots=True)
class Touched:
    """See `proxy.plan.plan.Marks`."""

    fixed: tuple[int, ...] = ()
    keys: tuple[_Keys, ...] = ()
    generating: tuple[tuple[int, KeyForm, int], ...] = ()  # seed, form and slot of classes by the generated column
    text: str = ""

    def slots(self, value_of: ValueOf) -> tuple[int, ...]:
        if not self.keys:
            return self.fixed
        found = set(self.fixed)
        for keys in self.keys:
            found.update(keys.slots(value_of))
        return tuple(found)

    def generated(self, insert_id: int) -> tuple[int, ...]:
        found = []
        for seed, form, whole in self.generating:
            text = form_text(form, insert_id) if insert_id else None
            found.append(whole if text is None else key_slot(seed, (text,)))
        return tuple(found)

    def describe(self) -> str:
        return self.text


EVERYTHING = Touched(fixed=(CLUSTER_SLOT,), text="everything on the cluster")


def cached_read(plan: Plan, asked: Case) -> tuple[ClassRead | None, str]:
    """(how a read is cached, why it is not). Neither where its tables have no class."""
    statement = asked.statement
    if statement.kind is not Kind.SELECT:
        return None, ""
    concerned = [each for each in asked.places if each.entry is not None and each.entry.cache]
    if not concerned:
        return None, ""
    reason = _uncacheable(plan, asked)
    if reason:
        return None, reason
    place = asked.places[0]
    schema = asked.schema(0)
    entry = place.entry
    assert entry is not None
    if schema is None:
        return None, f"the columns of {entry.name} are not known yet"
    unfit = table_problem(schema, asked.rules) or _computes_with_time(schema, statement)
    if unfit:
        return None, unfit
    pins = _narrowest(statement.blocks[0].pins)
    missing = ""
    for one in sorted(entry.cache, key=lambda one: one.ttl_s is not None):  # coherent ones before others
        forms = class_forms(schema, one)
        if isinstance(forms, str):
            missing = missing or forms
            continue
        values = [pins.get(column) for column in one.by]
        if any(value is None for value in values):
            lacking = ", ".join(column for column, value in zip(one.by, values) if value is None)
            missing = missing or f"it does not pin {lacking} to constants"
            continue
        pinned = tuple(value for value in values if value is not None)
        keys = 1
        for each in pinned:
            keys *= len(each)
        if keys > MAX_KEYS:
            missing = missing or f"it pins more than {MAX_KEYS} keys"
            continue
        seed = class_seed(entry.database, entry.name, one.by)
        always = (CLUSTER_SLOT, table_slot(entry.database, entry.name), _class_slot(seed))
        return ClassRead(
            entry.database, entry.name, one, seed, forms, pinned, always, bool(asked.rules.cache.memcached)
        ), ""
    return None, missing


def _uncacheable(plan: Plan, asked: Case) -> str:
    statement = asked.statement
    hint = statement.hint
    if hint is not None and hint.no_cache:
        return "a hint says so"
    if hint is not None and (hint.primary or hint.cluster is not None):
        return "a hint names the server"
    if len(asked.places) != 1 or len(statement.blocks) != 1 or statement.subqueries:
        return "only reads of one table are cached"
    for effect, reason in _REASONS:
        if statement.effects.meets(effect):
            return reason
    if statement.effects:
        return "it does more than read"
    if not isinstance(plan, (Forward, ByKey)):
        return "it is answered by several clusters"
    entry = asked.places[0].entry
    if entry is not None and entry.everywhere:
        return "the table is everywhere"
    return ""


def table_problem(schema: TableSchema, rules: Rules) -> str:
    """Why nothing of a table can be cached; "" where it can."""
    if not schema.is_base or schema.is_view:
        return f"{schema.name} is not an ordinary table"
    if schema.engine.lower() != "innodb":
        return f"{schema.name} is kept by {schema.engine}: only InnoDB says when a row is visible"
    followed = {table.database.lower() for table in rules.cached_tables}
    parent = next((parent for parent in schema.follows if parent[0].lower() not in followed), None)
    if parent is not None:  # the stream process knows the foreign keys of these databases only
        return f"its rows follow those of {'.'.join(parent)} by a foreign key, in a database without cached tables"
    volatile = next((column.name for column in schema.columns if column.volatile), None)
    return f"{volatile} is worked out anew by every read" if volatile is not None else ""


def class_problem(schema: TableSchema, one: CacheClass, rules: Rules) -> str:
    """Why nothing can be cached by one class; "" where it can."""
    forms = class_forms(schema, one)
    return table_problem(schema, rules) or (forms if isinstance(forms, str) else "")


def _computes_with_time(schema: TableSchema, statement: Statement) -> str:
    times = {column.name for column in schema.columns if column.data_type == "time"}
    computed = statement.blocks[0].computed
    if times and (computed is None or not times.isdisjoint(computed)):
        return "it computes with a time of day, which may become one of today"
    return ""


def _narrowest(pins: Iterable[Pin]) -> dict[str, tuple[Value, ...]]:
    found: dict[str, tuple[Value, ...]] = {}
    for pin in pins:
        known = found.get(pin.column)
        if known is None or len(pin.values) < len(known):
            found[pin.column] = pin.values
    return found


def class_forms(schema: TableSchema, one: CacheClass) -> tuple[KeyForm, ...] | str:
    """The normal forms of a class's columns, or why the class cannot be used."""
    forms = []
    for name in one.by:
        column = schema.column(name)
        if column is None:
            return f"{schema.name} has no column {name}"
        form = key_form(column)
        if isinstance(form, Unmodelled):
            return f"{name} {form.why}"
        if form.family is Family.DATETIME:
            return f"{name} is a DATETIME, which classes cannot be by"
        forms.append(form)
    return tuple(forms)


def touched(plan: Plan, asked: Case) -> Touched | None:
    """What a statement may change of cached rows."""
    rules = asked.rules
    if not rules.cached_clusters:
        return None
    statement = asked.statement
    if statement.kind in _UNKNOWN_WRITES or statement.effects.meets(_CALLS) or calling_view(asked):
        return EVERYTHING
    if statement.kind not in _KNOWN_WRITES:
        # What else may write (ANALYZE carries its statement out) is not taken apart.
        return EVERYTHING if plan.writes and statement.kind is not Kind.LOCK_TABLES else None
    written = [each for each in asked.places if each.written]
    if not written:
        return EVERYTHING
    fixed: set[int] = set()
    keys: list[_Keys] = []
    generating: list[tuple[int, KeyForm, int]] = []
    said: list[str] = []
    for index, place in enumerate(asked.places):
        if not place.written:
            continue
        schema = asked.schema(index)
        if schema is None or schema.is_view or schema.has_triggers:
            return EVERYTHING
        if statement.kind is not Kind.INSERT or (statement.insert is not None and statement.insert.on_duplicate):
            for table in _children(schema, asked, place):
                fixed.add(table_slot(*table))
                said.append(f"all of {table[1]} (foreign key)")
        if place.entry is None or not any(one.ttl_s is None for one in place.entry.cache):
            continue
        for one in place.entry.cache:
            if one.ttl_s is None:
                _touch(one, place.entry, schema, asked, index, len(written) == 1, fixed, keys, generating, said)
    if not fixed and not keys and not generating:
        return None
    return Touched(tuple(fixed), tuple(keys), tuple(generating), "; ".join(dict.fromkeys(said)))


def touched_locally(asked: Case) -> Touched | None:
    """The same for what the session carries out: a SET may call functions, an EXECUTE may do anything."""
    statement = asked.statement
    writes = statement.kind is Kind.EXECUTE or statement.effects.meets(_CALLS) or calling_view(asked)
    return EVERYTHING if writes and asked.rules.cached_clusters else None


def calling_view(asked: Case) -> bool:
    """Does it read a view that calls a stored function, which may write?"""
    return any(
        _calls(asked.catalog, place.cluster, place.database or "", place.ref.name)
        for place in asked.places
        if place.cluster is not None and not place.system
    )


def _calls(catalog: Catalog, cluster: str, database: str, name: str, seen: frozenset[str] = frozenset()) -> bool:
    schema = catalog.find(cluster, database, name)
    if schema is None or not schema.is_view:
        return False
    label = f"{database}.{name}".lower()
    if label in seen:
        return False
    calls, used = _definition(schema.view_definition)
    return calls or any(_calls(catalog, cluster, *each, seen | {label}) for each in used)


@functools.lru_cache(maxsize=1000)
def _definition(text: str) -> tuple[bool, tuple[tuple[str, str], ...]]:
    """(whether a view may call a stored function, what it reads). A definition that is hidden from us may do so."""
    read_by = lexer()
    shape, _ = read_by.shape(text.encode())
    found = tokens.read(shape.decode("utf-8", "replace"), read_by.ansi_quotes)
    calls = not text or bool(found.doubt) or bool(of_tokens(found.tokens) & _CALLS)
    return calls, tuple(qualified_names(text))


def _children(schema: TableSchema, asked: Case, place: Place) -> list[tuple[str, str]]:
    """The tables with a coherent class whose rows may change with this one's, by foreign keys."""
    cluster = place.cluster or next(
        iter(place.entry.sharding.clusters if place.entry and place.entry.sharding else ()), ""
    )
    statement = asked.statement
    if statement.kind is Kind.UPDATE and not _reaches_children(schema, statement.assigned):
        return []
    insert = statement.insert
    if statement.kind is Kind.INSERT and insert is not None and not _reaches_children(schema, insert.on_duplicate):
        return []
    found: dict[tuple[str, str], None] = {}
    waiting = list(schema.cascades)
    while waiting:
        child = waiting.pop()
        if child in found:
            continue
        found[child] = None
        known = asked.catalog.find(cluster, *child)
        if known is not None:
            waiting.extend(known.cascades)
    return [child for child in found if _has_class(asked.rules, *child)]


def _reaches_children(schema: TableSchema, assigned: Collection[str]) -> bool:
    """May an UPDATE of these columns change one to which foreign keys refer?"""
    if schema.referenced is None or not assigned:
        return True
    by_itself = {column.name for column in schema.columns if column.generated or column.on_update}
    return not by_itself.union(assigned).isdisjoint(schema.referenced)


def _has_class(rules: Rules, database: str, table: str) -> bool:
    entry = rules.table(database, table)
    return entry is not None and any(one.ttl_s is None for one in entry.cache)


def _touch(
    one: CacheClass,
    entry: Table,
    schema: TableSchema,
    asked: Case,
    index: int,
    alone: bool,
    fixed: set[int],
    keys: list[_Keys],
    generating: list[tuple[int, KeyForm, int]],
    said: list[str],
) -> None:
    """The marks of one class of one written table."""
    statement = asked.statement
    by = ", ".join(one.by)
    forms = class_forms(schema, one)
    if isinstance(forms, str):
        return  # nothing is cached by it
    seed = class_seed(entry.database, entry.name, one.by)
    whole = _class_slot(seed)
    automatic = tuple(bool(column and column.auto_increment) for column in map(schema.column, one.by))
    rows = _pinned_rows(statement, one, index) if alone else None
    if rows is not None:
        keys.append(_Keys(seed, forms, rows, whole, (False,) * len(forms), stored=False))
        said.append(f"the rows of {entry.name} with its {by}")
        return
    inserted = _inserted_rows(statement, one, schema, index) if alone else None
    generates = inserted is not None and any(value is None for row in inserted for value in row)
    if inserted is None or (generates and (len(one.by) > 1 or len(inserted) > 1)):
        fixed.add(whole)
        said.append(f"all of {entry.name} by {by}")
    elif generates:
        generating.append((seed, forms[0], whole))
        said.append(f"the row of {entry.name} with the generated {by}")
    else:
        keys.append(_Keys(seed, forms, inserted, whole, automatic, stored=True))
        said.append(f"the rows of {entry.name} with the {by} of the statement")


def _class_slot(seed: int) -> int:
    """What stands for all rows by one class: a write that does not say which it touches marks it, and leaves the
    table's other classes alone."""
    return key_slot(seed, ())


def _pinned_rows(statement: Statement, one: CacheClass, index: int) -> tuple[tuple[Value, ...], ...] | None:
    """UPDATE and DELETE of one table whose WHERE pins the class's columns, which stay as they are."""
    if statement.kind not in (Kind.UPDATE, Kind.DELETE) or set(one.by) & set(statement.assigned):
        return None
    block = statement.tables[index].block
    if not 0 <= block < len(statement.blocks):
        return None
    pins = _narrowest(pin for pin in statement.blocks[block].pins if pin.table == index)
    values = [pins.get(column) for column in one.by]
    if any(value is None for value in values):
        return None
    pinned = [value for value in values if value is not None]
    rows = tuple(itertools.islice(itertools.product(*pinned), MAX_KEYS + 1))
    return rows if len(rows) <= MAX_KEYS else None


def _inserted_rows(
    statement: Statement, one: CacheClass, schema: TableSchema, index: int
) -> tuple[tuple[Value | None, ...], ...] | None:
    """INSERT whose new rows are all that changes: their values in the class's columns, None for generated ones."""
    insert = statement.insert
    if insert is None or insert.from_select or insert.table != index or not 0 < len(insert.rows) <= _MAX_ROWS:
        return None
    if (statement.kind is Kind.REPLACE or insert.on_duplicate) and not _decides_alone(schema, one, insert.on_duplicate):
        return None
    columns = insert_columns(insert, schema)
    by_column: list[Sequence[Value | None]] = []
    for name in one.by:
        column = schema.column(name)
        values = column_values(insert, columns, name)
        generated = column is not None and column.auto_increment and schema.primary_key == (name,)
        if values is None:
            if not generated:
                return None  # its default
            by_column.append([None] * len(insert.rows))
            continue
        by_column.append([None if generated and value in (Word.NULL, Word.DEFAULT) else value for value in values])
    return tuple(zip(*by_column))


def _decides_alone(schema: TableSchema, one: CacheClass, assigned: tuple[str, ...]) -> bool:
    """Does a row that is in the way of a new one have the same key of the class for certain?"""
    return set(schema.primary_key) == set(one.by) and len(schema.unique_keys) == 1 and not set(assigned) & set(one.by)
