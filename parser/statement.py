"""A statement's meaning, as far as routing needs it: kind, tables, key constraints, effects.

The values here are what the planner sees; it never looks at SQL text again. `parser.analyse.parse` makes them, once
per shape (see `parser.shape`), so nothing here depends on the contents of literals. What is not understood has
Kind.UNKNOWN and no tables; of what is understood every mention of a table is in `tables`, and a pin or equality is
there only if it surely holds.

Words: a *hole* is a place in a shape where a literal stood, numbered from 0 in order of appearance; a *param* is a
`?` of a prepared statement, numbered likewise; a *block* is one SELECT (or UPDATE/DELETE) with its own FROM and WHERE;
a *pin* says that every row of a table that can matter to its block has one of a few constant values in a column.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from parser.members import quick
from parser.shape import Lexer

if TYPE_CHECKING:
    from parser.defined import Defined
    from parser.outline import Outline


@quick
class Kind(enum.Enum):
    SELECT = "select"  # also VALUES, TABLE, WITH .. SELECT, parenthesised and UNION queries
    INSERT = "insert"
    REPLACE = "replace"
    UPDATE = "update"
    DELETE = "delete"
    LOAD_DATA = "load data"
    CALL = "call"
    DO = "do"
    SET = "set"
    USE = "use"
    SHOW = "show"
    DESCRIBE = "describe"  # DESC t, SHOW COLUMNS stays SHOW
    EXPLAIN = "explain"  # EXPLAIN/ANALYZE <statement>
    BEGIN = "begin"  # BEGIN, START TRANSACTION ...
    COMMIT = "commit"
    ROLLBACK = "rollback"
    SAVEPOINT = "savepoint"
    ROLLBACK_TO = "rollback to"
    RELEASE_SAVEPOINT = "release savepoint"
    XA = "xa"
    DDL = "ddl"  # CREATE/ALTER/DROP/RENAME/TRUNCATE of tables, views, indexes, databases, routines ...
    ACCOUNT = "account"  # GRANT, REVOKE, CREATE/ALTER/DROP USER or ROLE, SET PASSWORD
    LOCK_TABLES = "lock tables"
    UNLOCK_TABLES = "unlock tables"
    PREPARE = "prepare"  # SQL-level PREPARE / EXECUTE / DEALLOCATE
    EXECUTE = "execute"
    DEALLOCATE = "deallocate"
    KILL = "kill"
    HANDLER = "handler"
    ADMIN = "admin"  # FLUSH, ANALYZE/CHECK/OPTIMIZE/REPAIR TABLE, RESET, PURGE, CACHE INDEX, INSTALL ...
    TURNOUT = "turnout"  # SHOW TURNOUT ..., TURNOUT EXPLAIN ...
    EMPTY = "empty"  # nothing but white space, comments and semicolons
    MULTI = "multi"  # several statements separated by semicolons
    UNKNOWN = "unknown"  # sqlglot could not parse it; `tables` is empty and `words` holds every identifier-like token


@quick
class Effect(enum.IntFlag):
    """What a statement does besides reading the tables it names."""

    NONE = 0
    WRITES = 1 << 0  # changes table data or schema
    LOCKS_ROWS = 1 << 1  # FOR UPDATE, FOR SHARE, LOCK IN SHARE MODE
    IMPLICIT_COMMIT = 1 << 2
    READS_USER_VARIABLE = 1 << 3  # @x
    SETS_USER_VARIABLE = 1 << 4  # @x := .., SELECT .. INTO @x, SET @x
    TEMPORARY_TABLE = 1 << 5  # CREATE TEMPORARY TABLE
    SESSION_LOCK = 1 << 6  # GET_LOCK, LOCK TABLES, FLUSH TABLES WITH READ LOCK
    USES_LAST_INSERT_ID = 1 << 7  # LAST_INSERT_ID(), @@last_insert_id, @@identity
    SETS_LAST_INSERT_ID = 1 << 8  # LAST_INSERT_ID(expr)
    USES_FOUND_ROWS = 1 << 9
    CALC_FOUND_ROWS = 1 << 10  # SQL_CALC_FOUND_ROWS
    USES_ROW_COUNT = 1 << 11
    USES_CONNECTION_ID = 1 << 12  # CONNECTION_ID(), @@pseudo_thread_id
    USES_DIAGNOSTICS = 1 << 13  # SHOW WARNINGS/ERRORS, @@warning_count, @@error_count, GET DIAGNOSTICS
    NONDETERMINISTIC = 1 << 14  # RAND, UUID, NOW, SYSDATE, SLEEP ... anything whose value is not a function of the data
    UNKNOWN_FUNCTION = 1 << 15  # a function that is not a known built-in: may be a stored function, may write
    INTO_FILE = 1 << 16  # SELECT .. INTO OUTFILE / DUMPFILE
    LOCAL_INFILE = 1 << 17  # LOAD DATA LOCAL
    READS_SYSTEM_VARIABLE = 1 << 18  # @@x, and functions that ask about the server itself
    SEQUENCE = 1 << 19  # NEXTVAL, NEXT VALUE FOR, SETVAL
    RETURNING = 1 << 20  # INSERT/DELETE .. RETURNING
    SLEEPS = 1 << 21  # SLEEP, BENCHMARK, MASTER_GTID_WAIT ...
    MAKES_TIME = 1 << 22  # TIME '10:00', MAKETIME ...: where a date is wanted, a time of day is taken to be today's

    def meets(self, others: Effect) -> bool:
        """Is one of `others` among these? What `bool(self & others)` says, in a tenth of its time."""
        return int.__and__(self, others) != 0


@dataclass(frozen=True, slots=True)
class Hole:
    """A constant whose text stands at literal number `index` of the statement (`-` before it if `negative`).

    What a string's contents mean depends on the quote around them: see `parser.rewrite.unescape`.
    """

    index: int
    is_string: bool
    negative: bool = False
    double_quoted: bool = False


@dataclass(frozen=True, slots=True)
class Param:
    """The value bound to `?` number `index` of a prepared statement."""

    index: int


@quick
class Word(enum.Enum):
    NULL = "NULL"
    DEFAULT = "DEFAULT"
    TRUE = "TRUE"
    FALSE = "FALSE"


@dataclass(frozen=True, slots=True)
class Opaque:
    """Any other expression: its value cannot be known without a server."""


Value = Hole | Param | Word | Opaque


@dataclass(frozen=True, slots=True)
class DateSum:
    """DATE '1994-01-01' + INTERVAL '3' MONTH: a day, and what is added or subtracted: (sign, amount, unit)."""

    day: Hole
    moves: tuple[tuple[str, Hole, str], ...] = ()


@dataclass(frozen=True, slots=True)
class NumberSum:
    """0.06 - 0.01: numbers with their signs."""

    terms: tuple[tuple[str, Hole], ...]


BoundValue = Value | DateSum | NumberSum


@quick
class Access(enum.Enum):
    READ = "read"
    WRITE = "write"  # target of INSERT, REPLACE, UPDATE, DELETE, LOAD DATA, DDL


@dataclass(frozen=True, slots=True)
class TableRef:
    """One mention of a table. `index` is its place in `Statement.tables`; names are as written, without quotes.

    `span` is where its name stands (without the database) in a SELECT's shape, `whole` the same with the database,
    `aliased` whether an alias follows.
    """

    index: int
    database: str | None
    name: str
    alias: str  # the name by which columns refer to it (alias, or the table's name)
    block: int
    access: Access
    span: tuple[int, int] | None = field(default=None, compare=False)
    aliased: bool = field(default=False, compare=False)
    whole: tuple[int, int] | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Pin:
    """Every row of table `table` that can matter to its block has one of `values` in `column` (lower case).

    Only from conjunctive conditions: WHERE of the block, ON of inner joins, and for the inner side of an outer join its
    ON (which pins that side only). `column = c`, `column IN (c, ..)`, `column <=> c` and row constructors count, also
    `c = column`. Nothing under OR, NOT, CASE or a function counts, except an OR of equalities on the same column.
    """

    table: int
    column: str
    values: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Bound:
    """Every row of table `table` that can matter to its block passes `column operator value`: <, <=, >, >=, <>, LIKE,
    NOT LIKE, BETWEEN (two values) or IS NOT NULL (none); in a branch of an OR also IN. From the same places as pins;
    `table` is None where the column's table is for the planner to find among those of the block."""

    table: int | None
    column: str
    operator: str
    values: tuple[BoundValue, ...]


@dataclass(frozen=True, slots=True)
class ColumnEquality:
    """`left` and `right` (table index, lower-case column) are equal in every row combination that can matter; for an
    equality in the ON of an outer join, `only` is the index of the inner-side table for which it may be used."""

    left: tuple[int, str]
    right: tuple[int, str]
    only: int | None = None


@dataclass(frozen=True, slots=True)
class Block:
    """One query block. `parent` is the enclosing block's index, None for the outermost."""

    index: int
    parent: int | None
    pins: tuple[Pin, ...] = ()
    equalities: tuple[ColumnEquality, ...] = ()
    unresolved: tuple[tuple[str, tuple[Value, ...]], ...] = ()
    # (column, values) of pins whose unqualified column could belong to one of several tables: the planner resolves
    # them with the catalog, as it does for `unresolved_equalities`. Only from WHERE and the ON of inner joins, so that
    # each may be used whichever table it turns out to be about.
    unresolved_equalities: tuple[tuple[int | None, str, int | None, str], ...] = ()  # (table, column, table, column)
    bounds: tuple[Bound, ...] = field(default=(), compare=False)
    in_database: tuple[tuple[int | None, str], ...] = field(default=(), compare=False)
    # (table, column) that equal DATABASE() in every row that can matter, as a pin would say; None: as in `unresolved`
    either: tuple[tuple[tuple[Bound, ...], ...], ...] = field(default=(), compare=False)
    # of each OR: what its branches say, in one of which every row combination that can matter passes all bounds
    members: tuple[tuple[int | None, str, int], ...] = field(default=(), compare=False)
    # (table, column, block): in every row that can matter the column has a value that the block (an uncorrelated
    # subquery or not) has in its first column; None: as in `unresolved`
    around: int | None = field(default=None, compare=False)
    # the block to whose tables a column may belong that none here has; None also where this block's FROM has derived
    # tables, whose columns nobody knows
    outer_joins: bool = False
    nullable: tuple[int, ...] | None = None
    # tables of this block's FROM that an outer join may replace with NULLs (the right side of LEFT JOIN, the left side
    # of RIGHT JOIN, with everything inside); None where that was not worked out.
    distinct: bool = False
    grouped: bool = False  # GROUP BY or ROLLUP
    having: bool = False
    aggregates: bool = False
    windows: bool = False
    ordered: bool = False  # a UNION's ORDER BY and LIMIT count as those of each of its branches
    limited: bool = False
    set_operation: bool = False  # a branch of UNION / INTERSECT / EXCEPT
    computed: frozenset[str] | None = None
    # lower-case names of columns that the block does more with than show them or sort by them; None where that was not
    # worked out (only for a SELECT from one table).


@dataclass(frozen=True, slots=True)
class Aggregating:
    """A subquery that groups or aggregates. `span`: where it stands in the shape's bytes, without the parentheses
    around it; `table`: it is certain to be a derived table or that of a WITH clause; `quotient`: something in it
    divides; `qualifiers`: what stands before a dot in it, lower case."""

    span: tuple[int, int]
    table: bool
    quotient: bool
    qualifiers: frozenset[str]
    text: bytes = b""  # what stands there


@dataclass(frozen=True, slots=True)
class Insert:
    """INSERT or REPLACE. `columns` is None when the statement names none (all columns in order)."""

    table: int
    columns: tuple[str, ...] | None  # lower case
    rows: tuple[tuple[Value, ...], ...]  # empty for INSERT .. SELECT
    row_spans: tuple[tuple[int, int], ...]  # [start, end) of each row's "( .. )" in the shape's bytes; none for SET
    from_select: bool = False
    ignore: bool = False
    on_duplicate: tuple[str, ...] = ()  # lower-case columns that ON DUPLICATE KEY UPDATE assigns
    set_syntax: bool = False  # INSERT .. SET a = 1
    # In the shape's bytes: where one more column may be named. This is the ")" of the list of columns, or where such a
    # list (`listed` is False) or, with SET, one more assignment may stand.
    columns_end: int = 0
    listed: bool = False
    set_spans: tuple[tuple[int, int], ...] = ()  # [start, end) of the values of SET in the shape's bytes
    query: tuple[int, int] = (0, 0)  # [start, end) of the query in the shape's bytes, where `from_select`
    end: int = 0  # and where the statement's last word ends
    shape: bytes = field(default=b"", repr=False)  # of an INSERT .. SELECT; empty for one inside of another statement


Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Assigned:
    """One `qualifiers.column = value` of an UPDATE. `words`: every word of the value that may be a name, lower case."""

    qualifiers: tuple[str, ...]
    column: str  # lower case
    value: Span
    words: frozenset[str]


@dataclass(frozen=True, slots=True)
class Change:
    """Where the clauses of an UPDATE or DELETE stand in the shape's bytes; (n, n) for one that is not there."""

    tables: Span  # what is joined: between UPDATE and SET, behind FROM or USING
    where: Span  # without the word
    order: Span  # with ORDER BY
    limit: Span  # with LIMIT
    sets: Span = (0, 0)  # without the word
    assigned: tuple[Assigned, ...] = ()
    targets: tuple[int, ...] = ()  # the tables that are written to
    ignore: bool = False
    plain: bool = True  # UPDATE t SET .. or DELETE FROM t ..: one table alone, no WITH clause, no RETURNING
    shape: bytes = field(default=b"", repr=False)  # the statement's; empty for one inside of another
    by_place: bool = False  # ORDER BY has a number, which in a SELECT would mean a column


@dataclass(frozen=True, slots=True)
class LoadData:
    """The clauses of LOAD DATA. Options that are not there are None; what they are is in their literals, which are
    strings, or numbers (0x09)."""

    local: bool
    file: Hole
    replace: bool
    ignore: bool
    partitioned: bool
    charset: str  # lower case; empty where none is named, "?" where that is no plain name
    optionally: bool  # OPTIONALLY ENCLOSED BY
    ignore_lines: Hole | None
    ignore_span: Span  # of IGNORE n LINES in the shape's bytes; (n, n) where it may stand
    columns: tuple[str, ...] | None  # lower case, @variables among them; None where none are named
    columns_at: int  # behind the "(" of the columns in the shape's bytes; -1 where there is no list
    assigned: tuple[str, ...]  # lower-case columns of SET
    assigns_variables: bool  # SET has a :=
    effects: Effect  # of variables, and of the values of SET
    fields_terminated: Hole | None = None
    enclosed: Hole | None = None
    escaped: Hole | None = None
    lines_starting: Hole | None = None
    lines_terminated: Hole | None = None


@quick
class Scope(enum.Enum):
    SESSION = "session"
    GLOBAL = "global"  # also PERSIST, PERSIST_ONLY
    NEXT_TRANSACTION = "next transaction"  # SET TRANSACTION .. without SESSION, SET @@tx_isolation (MySQL)
    USER = "user"  # @x
    NAMES = "names"  # SET NAMES x [COLLATE y]; SET CHARACTER SET x
    ROLE = "role"
    STATEMENT = "statement"  # MariaDB's SET STATEMENT .. FOR
    LOCAL_VARIABLE = "local variable"


@dataclass(frozen=True, slots=True)
class Assignment:
    """One item of SET. `name` is lower case without @ signs; `constant` says that the value is a literal or a word
    (ON, DEFAULT, utf8mb4, ..) and not an expression; `value` is it where constant, None for a word that is no `Word`:
    the shape has it at `value_span`. `SET NAMES x COLLATE y` is "names" and "collate", `SET CHARACTER SET x` is
    "character set", `SET TRANSACTION ..` is "transaction_isolation" and "transaction_read_only"."""

    scope: Scope
    name: str
    constant: bool
    value: Value | None = None
    value_span: tuple[int, int] = (0, 0)  # of the value in the shape's bytes


@dataclass(frozen=True, slots=True)
class Hint:
    """`/* turnout: cluster=media */`, `/* turnout: primary */`, `/* turnout: no-cache */`; commas between several."""

    cluster: str | None = None
    primary: bool = False
    no_cache: bool = False
    unknown: tuple[str, ...] = ()  # words that are none of these: the planner refuses the statement


@dataclass(frozen=True, slots=True)
class Statement:
    kind: Kind
    tables: tuple[TableRef, ...] = ()
    blocks: tuple[Block, ...] = ()
    effects: Effect = Effect.NONE
    insert: Insert | None = None
    assigned: tuple[str, ...] = ()  # lower-case columns that UPDATE assigns
    assigned_values: tuple[Value, ...] = ()  # what each of `assigned` becomes; empty where that was not worked out
    assignments: tuple[Assignment, ...] = ()  # of SET
    hint: Hint | None = None
    words: frozenset[str] = frozenset()  # for UNKNOWN and MULTI: lower-case identifier-like tokens, quoted ones too
    name: str = ""  # USE: database; SAVEPOINT etc.: name; SHOW: what ("warnings", "tables", ..); DDL: verb and object
    detail: str = ""  # TURNOUT: the words after TURNOUT; KILL: "query" or "connection"; SHOW: see parser.show
    value: Value | None = None  # KILL's id; the only select item of e.g. SELECT LAST_INSERT_ID()
    items: tuple[
        str, ...
    ] = ()  # SELECT without FROM: normalised select items ("last_insert_id()", "@@version_comment")
    item_names: tuple[str, ...] = ()  # the column names that the server would give them
    subqueries: bool = False
    names: frozenset[str] = field(default=frozenset(), repr=False, compare=False)
    # of a SELECT: every word of it that may name a column, lower case; `*` where that stands for columns;
    # of a SHOW, the words of its WHERE
    qualifiers: tuple[tuple[int, int], ...] = field(default=(), repr=False, compare=False)
    # of a SELECT: where `information_schema.` stands in front of the table of a column
    aggregating: tuple[Aggregating, ...] = field(default=(), repr=False, compare=False)  # of a SELECT
    outline: Outline | None = None  # of a plain SELECT that sorts, limits, groups or aggregates its rows
    change: Change | None = field(default=None, compare=False)  # of UPDATE and DELETE
    load: LoadData | None = field(default=None, compare=False)  # of LOAD DATA; None where it has another form
    inner: Statement | None = None  # EXPLAIN's / TURNOUT EXPLAIN's statement
    inner_at: int = 0  # where that begins in the shape's bytes; of EXPLAIN and SET STATEMENT
    arguments: tuple[Value | str, ...] = ()
    # PREPARE's text; what EXECUTE is USING; of EXECUTE IMMEDIATE, the text and then these. Names are those of user
    # variables, "@x" in lower case
    defined: Defined | None = field(default=None, compare=False)  # of DDL: what it says of columns and keys
    digest: str = ""  # the shape for people: one space, no comments, lists collapsed, `?` for literals
    error: str = ""  # for UNKNOWN: why sqlglot gave up
    lexer: Lexer | None = field(
        default=None, repr=False, compare=False
    )  # takes texts of this shape apart, to rewrite them
