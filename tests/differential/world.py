"""A client of Turnout and one of the server that has everything: the same statements, and what may differ."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace

from tests.differential.schema import BY_NAME, CLUSTERS, RULES, TABLES, inserts
from tests.front.raw import Answer, Client, Column
from tests.servers import MariaDB, Run, Shop, Turnout
from tests.servers.shop import APP, APP_PASSWORD, DATABASE, OPS, OPS_PASSWORD
from tests.workbench.shop import alike

# What an UPDATE says that changes nothing. Where its condition is never true a server says nothing; of a statement with
# subqueries, whose tables may be elsewhere, none is asked whether that is so.
NOTHING = b"Rows matched: 0  Changed: 0  Warnings: 0"
_REFUSED = (1235, 1105)  # the errors with which Turnout refuses


class Disagreement(AssertionError):
    """The two sides differ; the text has what replays it."""


@dataclass
class Counts:
    statements: int = 0
    reads: int = 0
    rows: int = 0
    errors: int = 0  # the same on both sides
    refused_reads: Counter[str] = field(default_factory=Counter)
    refused_writes: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)
    kinds: Counter[str] = field(default_factory=Counter)

    def add(self, other: Counts) -> None:
        self.statements += other.statements
        self.reads += other.reads
        self.rows += other.rows
        self.errors += other.errors
        self.refused_reads += other.refused_reads
        self.refused_writes += other.refused_writes
        self.kinds += other.kinds
        self.examples = {**other.examples, **self.examples}


_MOST_ROWS = 10_000_000  # more than any answer has


def start(run: Run, shop: Shop, transactions: str = "atomic", workers: int = 1) -> tuple[Turnout, MariaDB]:
    """Tables with their first rows on both sides."""
    mirror = run.mariadb("differential-everything")
    mirror.create_account(APP, APP_PASSWORD)
    mirror.execute(f"CREATE DATABASE {DATABASE}")
    servers = [shop.server(name) for name in CLUSTERS]
    shop.recreate()
    for server in (mirror, *servers):
        server.execute(*(table.create for table in TABLES), database=DATABASE)
    servers_and_users = shop.rules(*CLUSTERS).replace("admin: true", f"admin: true, result_rows: {_MOST_ROWS}")
    rules = RULES.format(servers=servers_and_users, transactions=transactions, workers=workers)
    return run.turnout(rules), mirror


class World:
    """Runs statements on both sides, one at a time.

    On Turnout they run in one of two sessions. The results of one are limited, which makes its answers streams, however
    small they are; those of the other may be put together at once."""

    def __init__(self, proxy: Turnout, mirror: MariaDB) -> None:
        self.proxy = proxy
        accounts = ((APP, APP_PASSWORD), (OPS, OPS_PASSWORD))
        self._clients = [Client(proxy.port, *account, DATABASE) for account in accounts]
        self.client = self._clients[0]
        self.mirror = Client(mirror.port, APP, APP_PASSWORD, DATABASE)
        self.counts = Counts()
        self.changed: set[str] = set()
        self.admin = Client(proxy.port, OPS, OPS_PASSWORD, DATABASE)
        for client in (*self._clients, self.mirror):
            client.query("SET group_concat_max_len = 1000000").checked()
            # MariaDB 10.11 loses rows of a semi-join that it materializes when a branch of an OR in it compares rows,
            # `OR (t.key, 1) = (16, 1)`: it takes that for a condition on the outer table.
            # It loses rows, or has them twice, of a semi-join whose duplicates it weeds out ("Start temporary") where
            # a table of it groups, and is filled anew for each row of the others ("LATERAL DERIVED"), as in `WITH w AS
            # (SELECT a, COUNT(*) FROM t GROUP BY a) SELECT a FROM w WHERE a IN (SELECT b FROM u WHERE b = w.a)`.
            switches = "materialization=off,split_materialized=off"
            client.query(f"SET optimizer_switch = '{switches}'").checked()

    def close(self) -> None:
        for client in (*self._clients, self.mirror, self.admin):
            client.abort()

    def change_sessions(self, number: int) -> None:
        """Go on in this one; the other one's transaction has ended."""
        self.client = self._clients[number % len(self._clients)]

    def fill(self) -> None:
        """The first rows, whatever was there."""
        both = (self.client, self.mirror)
        for client in both:
            for table in TABLES:
                client.query(f"DELETE FROM {table.name}").checked()
            for sql in inserts():
                client.query(sql).checked()
        self.changed.clear()

    # -- one statement

    def read(self, sql: str, ordered: bool, kind: str = "") -> bool:
        """Was it answered with rows? Raises Disagreement."""
        self.counts.statements += 1
        self.counts.reads += 1
        self.counts.kinds[kind] += 1
        ours = self.client.query(sql)
        if self._was_refused(sql, ours, self.counts.refused_reads):
            return False
        theirs = self.mirror.query(sql)
        self._compare(sql, ours, theirs, ordered)
        self.counts.rows += len(ours.rows)
        self.counts.errors += bool(ours.errno)
        return ours.ok

    def write(self, sql: str) -> None:
        """Raises Disagreement."""
        self.counts.statements += 1
        self.counts.kinds["write"] += 1
        ours = self.client.query(sql)
        if self._was_refused(sql, ours, self.counts.refused_writes):
            return
        theirs = self.mirror.query(sql)
        # Of several rows that are wrong, each shard tells of the first among its own.
        if not (ours.errno and theirs.errno and sql.startswith(("INSERT", "REPLACE")) and "), (" in sql):
            self._compare(sql, ours, theirs, False)
        self.counts.errors += bool(ours.errno)
        self.changed.update(name for name in BY_NAME if name in sql)

    def plain(self, sql: str) -> None:
        """BEGIN, COMMIT and the like."""
        self.counts.statements += 1
        self.counts.kinds["transaction"] += 1
        ours, theirs = self.client.query(sql), self.mirror.query(sql)
        self._compare(sql, ours, theirs, False)

    def same(self, sql: str) -> None:
        """Something that is part of no script."""
        self._compare(sql, self.client.query(sql), self.mirror.query(sql), False)

    def check_tables(self) -> None:
        """What was written is the same on both sides."""
        for name in sorted(self.changed):
            table = BY_NAME[name]
            sql = f"SELECT * FROM {name} ORDER BY {', '.join(table.key)}"
            self._compare(sql, self.client.query(sql), self.mirror.query(sql), True)
        self.changed.clear()

    # -- comparing

    def _compare(self, sql: str, ours: Answer, theirs: Answer, ordered: bool) -> None:
        said = f"{sql};\n  Turnout:    {ours}\n  one server: {theirs}"
        if (ours.errno, ours.sqlstate) != (theirs.errno, theirs.sqlstate):
            raise Disagreement(said)
        if len(ours.columns) != len(theirs.columns):
            raise Disagreement(said)
        outer = "LEFT" in sql or "RIGHT" in sql or "ROLLUP" in sql
        for mine, other in zip(ours.columns, theirs.columns):
            if not (alike(mine, other, outer) or computed(mine) == computed(other) or as_wide(mine, other)):
                raise Disagreement(f"{said}\n  column {mine}\n  not    {other}")
        if ordered and ours.rows != theirs.rows:
            raise Disagreement(f"{said}{_difference(ours, theirs)}")
        if not ordered and Counter(ours.rows) != Counter(theirs.rows):
            raise Disagreement(f"{said}{_difference(ours, theirs)}")
        if ours.errno:
            return
        info = [b"" if answer.info == NOTHING and "SELECT" in sql else answer.info for answer in (ours, theirs)]
        numbers = [(a.affected_rows, a.insert_id, a.status & 3) for a in (ours, theirs)]
        if numbers[0] != numbers[1] or info[0] != info[1]:
            raise Disagreement(said)
        if ours.columns:  # of rows beyond a LIMIT, or that join with nothing, a server evaluates what its plan needs
            simple = "LIMIT" not in sql and "JOIN" not in sql and sql.count("SELECT") == 1
            warned = simple and bool(ours.warnings) != bool(theirs.warnings)
        else:
            warned = ours.warnings != theirs.warnings
        if warned:
            texts = [
                [row[1:] for row in client.query("SHOW WARNINGS").rows[:3]] for client in (self.client, self.mirror)
            ]
            raise Disagreement(f"{said}\n  warnings {texts[0]}\n  not      {texts[1]}")

    def _was_refused(self, sql: str, ours: Answer, counts: Counter[str]) -> bool:
        """Is that not a server's error, but Turnout's way to say that it cannot? The statement then runs nowhere."""
        if ours.errno not in _REFUSED:
            return False
        told = {row[0]: row[1] for row in self.admin.query(f"TURNOUT EXPLAIN {sql}").rows}
        if told.get(b"plan") == b"refuse":
            reason = (told[b"reason"] or b"").decode()
        elif "Turnout" in ours.message or "workbench" in ours.message:
            reason = f"while it ran: {ours.message[:60]}"
        else:
            return False
        counts[reason] += 1
        self.counts.examples.setdefault(reason, sql)
        return True


_TEXTS = frozenset({249, 250, 251, 252, 253, 254})  # BLOBs of four sizes, VARCHAR, CHAR


_WHOLE = frozenset({3, 8})  # INT, BIGINT


def computed(column: Column) -> object:
    """What is certain about a column that is an expression's. How long its values may be, and so which TEXT they are,
    depends on whether the server brings them by way of a temporary table."""
    text = column.type in _TEXTS
    return column.name, "text" if text else column.type, column.charset, 0 if text else column.decimals, column.table


def as_wide(one: Column, other: Column) -> bool:
    """INT or BIGINT, with as many digits: of MAX(DAYOFYEAR(d)) a server says one or the other, as its plan has it."""
    if one.org_table or other.org_table or one.length != other.length:
        return False
    return {one.type, other.type} == _WHOLE and computed(replace(one, type=other.type)) == computed(other)


def _difference(ours: Answer, theirs: Answer) -> str:
    mine, other = Counter(ours.rows), Counter(theirs.rows)
    only, missing = list((mine - other).elements())[:3], list((other - mine).elements())[:3]
    if not only and not missing:
        at = next(n for n, (a, b) in enumerate(zip(ours.rows, theirs.rows)) if a != b)
        return f"\n  the order differs from row {at}: {ours.rows[at]} instead of {theirs.rows[at]}"
    return f"\n  only from Turnout: {only}\n  missing:           {missing}"
