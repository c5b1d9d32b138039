"""What was measured, as advice sees it: shapes with their meaning and the load that they are. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from parser.analyse import parse
from parser.shape import HOLE, lexer
from parser.statement import Access, Effect, Kind, Statement
from proxy.measure.key_history import KeysRead
from proxy.measure.own import is_system
from proxy.measure.ranking import Measured, MeasuredShape
from proxy.measure.shapes import Sample

MOST = 1_000  # shapes that are read, the most expensive first: each takes about a millisecond

# Of other statements (of DDL, above all) no technique takes anything off.
_KINDS = frozenset(
    {Kind.SELECT, Kind.INSERT, Kind.REPLACE, Kind.UPDATE, Kind.DELETE, Kind.LOAD_DATA, Kind.UNKNOWN, Kind.HANDLER}
)

Column = tuple[str, str]  # database.table, column


@dataclass(frozen=True, slots=True)
class Use:
    """One shape. `load`: how many of its statements were under way on servers at once, on average."""

    digest: str
    count: int
    load: float
    rows: float  # sent, of one statement
    sent_bytes: float
    examined: float | None  # by one statement; None: not known
    tables: tuple[str, ...]
    clusters: tuple[str, ...]
    reads: bool = True  # SELECT without locks
    pins: frozenset[Column] = frozenset()  # columns that are one value; of an INSERT, those it gives values to
    equal: tuple[tuple[Column, Column], ...] = ()  # joined by
    aggregates: bool = False
    inserts_one: bool = False  # INSERT of one row

    mean_ms: float = 0.0  # of a statement, on servers


@dataclass(frozen=True, slots=True)
class Workload:
    """Everything in one window of `seconds`, but for tables of the system, Turnout's own, and temporary ones."""

    seconds: float
    uses: tuple[Use, ...]
    others_load: float = 0.0  # of shapes whose text is not known
    keys: KeysRead = field(default_factory=KeysRead)
    times_known: bool = True


def workload(measured: Measured, keys: KeysRead) -> Workload:
    seconds = measured.seconds or 1.0
    shapes = sorted(measured.shapes, key=lambda one: (-one.tally.total_ns, -one.tally.count))
    read = [
        (one, *_read(one.sample)) if place < MOST and one.sample is not None else (one, None, [])
        for place, one in enumerate(shapes)
    ]
    temporary = {
        name
        for _, statement, names in read
        if statement is not None and statement.effects & Effect.TEMPORARY_TABLE and statement.name == "create table"
        for name in names
    }
    uses = []
    others = 0.0
    for one, statement, names in read:
        tables = tuple(dict.fromkeys(name for name in names if name not in temporary and not is_system(name)))
        if statement is not None and tables and statement.kind in _KINDS:
            uses.append(_use(one, statement, names, tables, measured, seconds))
        else:
            others += _busy_s(one, measured) / seconds
    return Workload(seconds, tuple(uses), others, keys, measured.knows.times)


def _read(sample: Sample) -> tuple[Statement, list[str]]:
    """A shape's statement, and its tables' names by their number."""
    lex = lexer(sample.ansi_quotes, sample.no_backslash_escapes, sample.charset)
    literals = [b""] * sample.shape.count(HOLE)
    statement = parse(sample.shape, literals, lexer=lex, prepared=sample.prepared, merged=())
    statement = statement.inner or statement
    owners = [table.database or sample.database for table in statement.tables]
    return statement, [
        f"{owner}.{table.name}" if owner else table.name for owner, table in zip(owners, statement.tables)
    ]


def _busy_s(one: MeasuredShape, measured: Measured) -> float:
    return (one.tally.server_ns if measured.knows.server_times else one.tally.total_ns) / 1e9


def _use(
    one: MeasuredShape,
    statement: Statement,
    names: list[str],
    tables: tuple[str, ...],
    measured: Measured,
    seconds: float,
) -> Use:
    tally = one.tally
    count = max(1, tally.count)
    busy_s = _busy_s(one, measured)
    return Use(
        one.digest,
        tally.count,
        busy_s / seconds,
        tally.rows / count,
        tally.sent_bytes / count,
        tally.examined / count if measured.knows.examined else None,
        tables,
        one.shape.clusters,
        statement.kind is Kind.SELECT and not statement.effects & Effect.LOCKS_ROWS,
        _pins(statement, names),
        tuple(
            ((names[equal.left[0]], equal.left[1]), (names[equal.right[0]], equal.right[1]))
            for block in statement.blocks
            for equal in block.equalities
        ),
        any(block.aggregates or block.grouped for block in statement.blocks),
        statement.insert is not None and len(statement.insert.rows) == 1,
        1000 * busy_s / count,
    )


def _pins(statement: Statement, names: list[str]) -> frozenset[Column]:
    """Columns that have one value in all rows that matter, equalities followed."""
    insert = statement.insert
    if insert is not None and not insert.from_select:
        written = next(table for table in statement.tables if table.access is Access.WRITE)
        return frozenset((names[written.index], column) for column in insert.columns or ())
    pins = {(pin.table, pin.column) for block in statement.blocks for pin in block.pins if len(pin.values) == 1}
    equalities = [equal for block in statement.blocks for equal in block.equalities]
    for _ in range(len(equalities)):
        for equal in equalities:
            for source, target in ((equal.left, equal.right), (equal.right, equal.left)):
                if source in pins and (equal.only is None or equal.only == target[0]):
                    pins.add(target)
    return frozenset((names[table], column) for table, column in pins)
