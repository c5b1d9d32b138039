"""One session, run twice: through Turnout, and on a connection of its own to a server of its own. Both must agree."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from dataclasses import replace

from tests.front import raw
from tests.front.raw import Answer, Client, Column, Disconnected, LoginFailed, Param, Statement
from tests.front.statements import FOLLOW_UPS, PREPARED, THEMES, fill
from tests.servers import MariaDB
from tests.servers.process import wait_until
from tests.servers.shop import APP, APP_PASSWORD, DATABASE

# Flags that a driver acts on. The others describe how a server went about it (no index used, ...), or are not told
# before the server was asked (a transaction is read-only).
STATUS = raw.IN_TRANS | raw.AUTOCOMMIT | raw.MORE_RESULTS | raw.NO_BACKSLASH_ESCAPES
# Column flags for keys and auto-increment: gone where the optimizer decided for a temporary table.
KEY_FLAGS = 2 | 4 | 8 | 512 | 4096 | 16384
REFUSED = 1235
PARAMS: tuple[Param, ...] = (1, 2, 5, -1, "x", "it's", b"\xe9", None, 2.5, "")


# What all sessions did lately: whose state it is that one of them sees can often be read here.
_journal: deque[str] = deque(maxlen=30)


class Mismatch(AssertionError):
    """The two answers differ; the message has the session's last steps."""


class PairedSession:
    """See the module. `client` is the session through Turnout, `mirror` the one on a server of its own."""

    def __init__(self, prefix: str, seed: str, port: int, mirror: MariaDB, behind: MariaDB, flags: int) -> None:
        self.prefix = prefix
        self.rng = random.Random(f"{seed}-{prefix}")
        self.flags = flags
        self.port = port
        self._server = mirror
        self._behind = behind
        self._history: deque[str] = deque(maxlen=25)
        self._statements: list[tuple[str, Statement, Statement]] = []
        self.steps = 0
        self._failed = False
        self._next: tuple[str, ...] = ()  # one of these is asked next, because of what was asked last
        self.refused = 0
        self.client, self.mirror = self._connect()

    def _connect(self) -> tuple[Client, Client]:
        account = (APP, APP_PASSWORD, DATABASE)
        return (
            Client(self.port, *account, flags=self.flags),
            Client(self._server.port, *account, flags=self.flags),
        )

    def close(self) -> None:
        self.client.close()
        self.mirror.close()

    # -- choosing

    def step(self) -> None:
        """Do one thing on both sides. Raises Mismatch."""
        self.steps += 1
        if self._next:
            templates, self._next = self._next, ()
            self.query(fill(self.rng.choice(templates), self.prefix, self.rng))
        elif self.rng.random() < 0.16:
            self._other_than_text()
        else:
            name = self.rng.choices(list(THEMES), [theme.weight for theme in THEMES.values()])[0]
            theme = THEMES[name]
            sql = fill(self.rng.choice(theme.templates), self.prefix, self.rng)
            several = self.flags & raw.MULTI_STATEMENTS and self.rng.random() < 0.05
            self.query(f"{sql}; SELECT 'second', @a" if several else sql)
            if not several and not (self._failed and name != "conditions"):
                self._next = FOLLOW_UPS.get(name, ())

    def _other_than_text(self) -> None:
        weights: dict[Callable[[], None], int] = {
            self.prepare: 5,
            self.execute: 12,
            self.close_statement: 2,
            self.ping: 2,
            self.init_db: 2,
            self.field_list: 1,
            self.reset: 3,
            self.change_user: 2,
            self.reconnect: 2,
            self.release: 1,
        }
        self.rng.choices(list(weights), list(weights.values()))[0]()

    # -- doing

    def query(self, sql: str) -> None:
        """A text statement. The proxy may say (1235) that it cannot answer; never that the answer is another."""
        text = sql.encode()
        ours = _try(lambda: self.client.query(text))
        if ours.errno == REFUSED:
            self.refused += 1
            # The refusal is in the diagnostics of one side only, until a statement that uses a table.
            self.query(f"SELECT COUNT(*) FROM {self.prefix}_b")
            return
        theirs = _try(lambda: self.mirror.query(text))
        if sql.startswith("ROLLBACK"):  # 1196, changes of a table without transactions stay: a warning not passed on
            ours, theirs = replace(ours, warnings=0), replace(theirs, warnings=0)
        self._compare(sql, ours, theirs)
        self._failed = bool(theirs.errno)
        if theirs.errno and "INSERT" in sql:  # after an error, LAST_INSERT_ID() is undefined (manual): define it
            self.query("SELECT LAST_INSERT_ID(99)")
            self._failed = True

    def ping(self) -> None:
        self._both("COM_PING", lambda c: c.command(raw.COM_PING))

    def init_db(self) -> None:
        name = self.rng.choice(("shop", "attic", "nosuch_db"))
        self._both(f"COM_INIT_DB {name}", lambda c: c.command(raw.COM_INIT_DB, name.encode()))

    def field_list(self) -> None:
        name = f"{self.prefix}_{self.rng.choice(('a', 'b', 'nosuch'))}"

        def listed(client: Client) -> Answer:
            found = client.field_list(name)
            return found if isinstance(found, Answer) else Answer(columns=found)

        self._both(f"COM_FIELD_LIST {name}", listed)

    def prepare(self) -> None:
        sql = fill(self.rng.choice(PREPARED), self.prefix, self.rng)
        ours, theirs = self.client.prepare(sql), self.mirror.prepare(sql)
        self._compare(f"COM_STMT_PREPARE {sql}", _described(ours), _described(theirs))
        if isinstance(ours, Statement) and isinstance(theirs, Statement):
            self._statements.append((sql, ours, theirs))

    def execute(self) -> None:
        if not self._statements:
            self.prepare()
        if not self._statements:
            return
        sql, ours, theirs = self.rng.choice(self._statements)
        params = [self.rng.choice(PARAMS) for _ in range(ours.params)]
        got = _try(lambda: self.client.execute(ours, *params))
        expected = _try(lambda: self.mirror.execute(theirs, *params))
        if got.errno and expected.errno:  # a statement that is prepared again meets another of its errors first
            got = expected
        self._compare(f"COM_STMT_EXECUTE {sql} {params}", got, expected)

    def close_statement(self) -> None:
        if self._statements:
            sql, ours, theirs = self._statements.pop(self.rng.randrange(len(self._statements)))
            self._history.append(f"COM_STMT_CLOSE {sql}")
            self.client.close_statement(ours)
            self.mirror.close_statement(theirs)

    def reset(self) -> None:
        self._statements.clear()
        self._next = ()
        self._both("COM_RESET_CONNECTION", lambda c: c.command(raw.COM_RESET_CONNECTION))

    def change_user(self) -> None:
        self._statements.clear()
        database = self.rng.choice(("shop", "attic"))
        self._history.append(f"COM_CHANGE_USER {database}")
        for client in (self.client, self.mirror):
            client.change_user(APP, APP_PASSWORD, database)
        self.ping()

    def reconnect(self) -> None:
        self._history.append("reconnect")
        self.close()
        self._come_back()

    def release(self) -> None:
        """A COMMIT or ROLLBACK that ends the connection, too."""
        sql = self.rng.choice(("COMMIT RELEASE", "ROLLBACK WORK AND NO CHAIN RELEASE"))
        # Only on a server does the OK say that changes of a table without transactions were not rolled back.
        self._both(sql, lambda c: replace(c.query(sql), warnings=0))
        self._both("a statement after RELEASE", lambda c: c.query("SELECT 1"))
        self.client.abort()
        self.mirror.abort()
        self._come_back()

    def _come_back(self) -> None:
        """Servers let go of an ended session's lock, and of its transaction, a moment after its end."""
        for server in (self._behind, self._server):
            wait_until(lambda s=server: bool(s.execute(f"SELECT IS_FREE_LOCK('{self.prefix}')")[0][0]), 10)  # type: ignore[misc]
        self._statements.clear()
        self.client, self.mirror = self._connect()

    # -- comparing

    def _both(self, what: str, action: Callable[[Client], Answer]) -> None:
        self._compare(what, _try(lambda: action(self.client)), _try(lambda: action(self.mirror)))

    def _compare(self, what: str, ours: Answer, theirs: Answer) -> None:
        self._history.append(f"{what}\n      = {theirs}")
        _journal.append(f"{self.prefix} {what}")
        if _plain(ours) != _plain(theirs):
            history = "\n  ".join(self._history)
            raise Mismatch(
                f"session {self.prefix} (flags {self.flags:#x}), step {self.steps}:\n  {history}\n"
                f"  but through Turnout\n      = {ours}\n{_difference(ours, theirs)}\n"
                f"lately, all sessions together:\n  " + "\n  ".join(_journal)
            )


def _try(action: Callable[[], Answer]) -> Answer:
    try:
        return action()
    except (Disconnected, BrokenPipeError, ConnectionResetError):
        return Answer(errno=-1, message="the connection ended")


def _described(statement: Statement | Answer) -> Answer:
    if isinstance(statement, Answer):
        return statement
    return Answer(columns=statement.columns, affected_rows=statement.params)


def _plain(answer: Answer) -> Answer:
    """The answer without what no driver acts on: some status flags, and the type that a variable has or once had when
    its value is NULL or not known yet (a variable that a connection had before is NULL, not unknown, to the server)."""
    values = answer.rows[0] if answer.rows and len(answer.rows[0]) == len(answer.columns) else None
    nothing = Column(b"", b"", b"", b"", b"", 0, 0, 0, 0, 0)
    columns = tuple(
        replace(nothing, name=column.name)
        if column.name.startswith(b"@") and (values is None or values[n] is None)
        else _comparable(column)
        for n, column in enumerate(answer.columns)
    )
    answer = replace(answer, columns=columns)
    return replace(answer, status=answer.status & STATUS, more=tuple(_plain(a) for a in answer.more))


# Collations that a column may be labelled with, where SET character_set_results (rather than SET NAMES) was used.
_LABELS = {224: 45, 192: 33, 5: 8, 31: 8}


def _comparable(column: Column) -> Column:
    if column.name in (b"Level", b"Message"):  # SHOW WARNINGS is the proxy's own answer, and always UTF-8
        return replace(column, charset=0, length=0)
    charset = _LABELS.get(column.charset, column.charset)
    return replace(column, charset=charset, flags=column.flags & ~KEY_FLAGS)


def _difference(ours: Answer, theirs: Answer) -> str:
    ours, theirs = _plain(ours), _plain(theirs)
    found = []
    for name in Answer.__slots__:
        one, other = getattr(ours, name), getattr(theirs, name)
        if one != other:
            found.append(f"  {name}: {one!r}\n  instead of {other!r}")
    return "\n".join(found)


__all__ = ["LoginFailed", "Mismatch", "PairedSession"]
