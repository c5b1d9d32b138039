"""Writers: each owns some keys and changes them in one way, again and again, through the proxy or past it.

`write` issues versions, sends statements and acknowledges. When a statement fails, whether it took effect is not known:
`Ask` waits until the server no longer runs it before the next is sent, and `write` begins with `known` False, so that
it must bring its rows into a state that does not depend on the one before.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from tests.cache.coherence.ledger import Key, Rows
from tests.front import raw

_ANSWER_S = 60.0  # longer than any fault lasts: a statement that takes so long is a hang


class Failed(Exception):
    """A statement failed; whether it took effect is not known."""


class Hung(Exception):
    """A statement was not answered at all."""


Connect = Callable[[], Awaitable[raw.AsyncClient]]


class Ask:
    """One way to the server: `through` the proxy, or past it."""

    def __init__(self, connect: Connect, direct: Connect, through: bool) -> None:
        self.through = through
        self.answers = 0
        self.failures: dict[str, int] = {}
        self._connect = connect
        self._direct = direct
        self._client: raw.AsyncClient | None = None
        self._open: list[str] = []  # statements of the change under way

    async def __call__(self, sql: str) -> raw.Answer:
        """The answer, which is no error. Raises Failed, and Hung."""
        self._open.append(sql)
        try:
            if self._client is None:
                self._client = await self._connect()
            async with asyncio.timeout(_ANSWER_S):
                answer = await self._client.query(sql)
        except TimeoutError:
            raise Hung(f"{'the proxy' if self.through else 'the server'} did not answer {sql!r}") from None
        except (OSError, raw.LoginFailed, AssertionError) as error:
            await self._failed(f"{type(error).__name__} {str(error)[:60]}")
        if answer.errno:
            await self._failed(f"{answer.errno}: {answer.message[:80]}")
        self.answers += 1
        return answer

    def begin(self) -> None:
        self._open.clear()

    async def _failed(self, what: str) -> None:
        self.failures[what] = self.failures.get(what, 0) + 1
        await self.close()
        await self._settle()
        raise Failed(what)

    async def _settle(self) -> None:
        """Until nothing of this change runs on the server any longer."""
        texts = ", ".join("'" + text.replace("\\", "\\\\").replace("'", "''") + "'" for text in {*self._open, "COMMIT"})
        question = f"SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE INFO IN ({texts})"
        async with asyncio.timeout(_ANSWER_S):
            while True:
                await asyncio.sleep(0.1)
                with contextlib.suppress(OSError, raw.LoginFailed, AssertionError):
                    client = await self._direct()
                    try:
                        if (await client.query(question)).number == 0:
                            return
                    finally:
                        client.abort()

    async def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            client.abort()


class Writer:
    """See the module. `pause_s`: between two changes, on average."""

    tables: Sequence[str] = ()  # statements that make and fill the tables
    pause_s = 0.02
    direct_share = 0.4
    known = True  # are the rows in the state of the newest version?

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.keys: list[Key] = []

    async def write(self, ask: Ask) -> None:
        raise NotImplementedError

    async def change(self, ask: Ask, sql: str, *contents: tuple[Key, Rows]) -> raw.Answer:
        """One statement after which these keys have these contents."""
        issued = [(key, key.issue(content)) for key, content in contents]
        answer = await ask(sql)
        for key, version in issued:
            key.ack(version, ask.through)
        return answer


def number(value: int) -> Rows:
    return (b"%d" % value,)


class Counters(Writer):
    """Single rows: UPDATE, INSERT .. ON DUPLICATE KEY UPDATE, REPLACE, DELETE, INSERT .. SELECT."""

    IDS = 12

    def __init__(self, chance: random.Random, instance: int) -> None:
        super().__init__(chance)
        self._first = 1 + instance * self.IDS
        ids = range(self._first, self._first + self.IDS)
        rows = ", ".join(f"({id}, 0, 'x')" for id in ids)
        self.tables = (
            "CREATE TABLE IF NOT EXISTS counters (id INT PRIMARY KEY, v INT NOT NULL, pad VARCHAR(40) NOT NULL)",
            f"INSERT INTO counters VALUES {rows}",
        )
        self.keys = [Key(f"counters {id}", f"SELECT v FROM counters WHERE id = {id}", number(0)) for id in ids]
        self._present: list[bool | None] = [True] * self.IDS

    async def write(self, ask: Ask) -> None:
        at = self.chance.randrange(self.IDS)
        id, key = self._first + at, self.keys[at]
        n = len(key.contents)
        present, self._present[at] = self._present[at], None
        style = self.chance.choice(("update", "update", "update", "upsert", "replace", "select", "delete", "insert"))
        if present is not True and style in ("update", "select"):
            style = "replace"
        if present is not False and style == "insert":
            style = "upsert"
        sql = {
            "update": f"UPDATE counters SET v = {n} WHERE id = {id}",
            "upsert": f"INSERT INTO counters (id, v, pad) VALUES ({id}, {n}, 'y') ON DUPLICATE KEY UPDATE v = {n}",
            "replace": f"REPLACE INTO counters (id, v, pad) VALUES ({id}, {n}, 'z')",
            "select": f"REPLACE INTO counters (id, v, pad) SELECT id, {n}, pad FROM counters WHERE id = {id}",
            "insert": f"INSERT INTO counters VALUES ({id}, {n}, 'w')",
            "delete": f"DELETE FROM counters WHERE id = {id}",
        }[style]
        await self.change(ask, sql, (key, () if style == "delete" else number(n)))
        self._present[at] = style != "delete"


class Transactions(Writer):
    """Pairs of rows that change in one transaction, or in one that is rolled back, wholly or to a savepoint."""

    PAIRS = 6
    pause_s = 0.05
    tables = (
        "CREATE TABLE pairs (id INT PRIMARY KEY, v INT NOT NULL)",
        f"INSERT INTO pairs VALUES {', '.join(f'({id}, 0)' for id in range(1, 2 * PAIRS + 1))}",
    )

    def __init__(self, chance: random.Random) -> None:
        super().__init__(chance)
        self.keys = [
            Key(
                f"pair {pair}",
                f"SELECT v FROM pairs WHERE id IN ({2 * pair + 1}, {2 * pair + 2}) ORDER BY id",
                (b"0", b"0"),
            )
            for pair in range(self.PAIRS)
        ]

    async def write(self, ask: Ask) -> None:
        pair = self.chance.randrange(self.PAIRS)
        key, a, b = self.keys[pair], 2 * pair + 1, 2 * pair + 2
        n = len(key.contents)
        how = self.chance.choice(("commit", "commit", "commit", "range", "rollback", "savepoint"))
        version = key.issue(None if how == "rollback" else (b"%d" % n, b"%d" % n))
        await ask("BEGIN")
        if how == "range":
            await ask(f"UPDATE pairs SET v = {n} WHERE id BETWEEN {a} AND {b}")
        else:
            await ask(f"UPDATE pairs SET v = {n} WHERE id = {a}")
            await ask(f"UPDATE pairs SET v = {n} WHERE id = {b}")
        if how == "savepoint":
            await ask("SAVEPOINT later")
            await ask(f"UPDATE pairs SET v = -{n} WHERE id = {a}")
            await ask("ROLLBACK TO later")
        if how == "rollback":
            await ask("ROLLBACK")
            return
        await ask("COMMIT")
        key.ack(version, ask.through)


class Ranges(Writer):
    """Rows changed by statements that do not say which: they mark their table as a whole, all writers the same slot."""

    IDS = 3
    pause_s = 0.15
    direct_share = 0.0

    def __init__(self, chance: random.Random, instance: int) -> None:
        super().__init__(chance)
        self._first = 1 + instance * self.IDS
        ids = range(self._first, self._first + self.IDS)
        self.tables = (
            "CREATE TABLE IF NOT EXISTS ranged (id INT PRIMARY KEY, v INT NOT NULL)",
            f"INSERT INTO ranged VALUES {', '.join(f'({id}, 0)' for id in ids)}",
        )
        self.keys = [Key(f"ranged {id}", f"SELECT v FROM ranged WHERE id = {id}", number(0)) for id in ids]

    async def write(self, ask: Ask) -> None:
        at = self.chance.randrange(self.IDS)
        id, key = self._first + at, self.keys[at]
        n = len(key.contents)
        await self.change(ask, f"UPDATE ranged SET v = {n} WHERE id BETWEEN {id} AND {id}", (key, number(n)))


class Movers(Writer):
    """A row that goes from one group to another and back: only its before-image says where it was."""

    PAIRS = 5
    tables = (
        "CREATE TABLE members (id INT PRIMARY KEY, grp INT NOT NULL, v INT NOT NULL, KEY (grp))",
        f"INSERT INTO members VALUES {', '.join(f'({id}, {2 * id}, 0)' for id in range(PAIRS))}",
    )
    pause_s = 0.03

    def __init__(self, chance: random.Random) -> None:
        super().__init__(chance)
        for id in range(self.PAIRS):
            for group in (2 * id, 2 * id + 1):
                content = number(0) if group % 2 == 0 else ()
                self.keys.append(Key(f"group {group}", f"SELECT v FROM members WHERE grp = {group}", content))

    async def write(self, ask: Ask) -> None:
        id = self.chance.randrange(self.PAIRS)
        to = self.chance.randrange(2)
        here, there = self.keys[2 * id + to], self.keys[2 * id + 1 - to]
        n = len(here.contents)
        sql = f"UPDATE members SET grp = {2 * id + to}, v = {n} WHERE id = {id}"
        await self.change(ask, sql, (here, number(n)), (there, ()))


class Families(Writer):
    """Parents whose changes reach their children by foreign keys, of which the binary log says nothing."""

    PAIRS = 3
    pause_s = 0.15
    tables = (
        "CREATE TABLE parents (id INT PRIMARY KEY, name VARCHAR(20) NOT NULL DEFAULT '')",
        "CREATE TABLE children (id INT PRIMARY KEY, parent_id INT NOT NULL, v INT NOT NULL,"
        " FOREIGN KEY (parent_id) REFERENCES parents (id) ON DELETE CASCADE ON UPDATE CASCADE)",
        "CREATE TABLE wards (id INT PRIMARY KEY, parent_id INT,"
        " FOREIGN KEY (parent_id) REFERENCES parents (id) ON DELETE SET NULL ON UPDATE CASCADE)",
        f"INSERT INTO parents (id) VALUES {', '.join(f'({2 * id})' for id in range(1, PAIRS + 1))}",
        f"INSERT INTO children VALUES {', '.join(f'({id}, {2 * id}, 0)' for id in range(1, PAIRS + 1))}",
        f"INSERT INTO wards VALUES {', '.join(f'({id}, {2 * id})' for id in range(1, PAIRS + 1))}",
    )

    def __init__(self, chance: random.Random) -> None:
        super().__init__(chance)
        self._at: list[int | None] = []  # 0, 1: which parent of the pair is there; -1: neither; None: not known
        for id in range(1, self.PAIRS + 1):
            self._at.append(0)
            for parent in (2 * id, 2 * id + 1):
                content = number(0) if parent % 2 == 0 else ()
                self.keys.append(
                    Key(f"child of {parent}", f"SELECT v FROM children WHERE parent_id = {parent}", content)
                )
            self.keys.append(
                Key(f"ward {id}", f"SELECT IFNULL(parent_id, 0) FROM wards WHERE id = {id}", number(2 * id))
            )

    async def write(self, ask: Ask) -> None:
        pair = self.chance.randrange(self.PAIRS)
        id = pair + 1
        parents = (2 * id, 2 * id + 1)
        even, odd, ward = self.keys[3 * pair : 3 * pair + 3]
        at, self._at[pair] = self._at[pair], None
        if at is None or at == -1:
            to = self.chance.randrange(2)
            here, there = (even, odd) if to == 0 else (odd, even)
            n = len(here.contents)
            issued = [
                (here, here.issue(number(n))),
                (there, there.issue(())),
                (ward, ward.issue(number(parents[to]))),
            ]
            await ask("BEGIN")
            await ask(f"DELETE FROM parents WHERE id IN ({parents[0]}, {parents[1]})")
            await ask(f"INSERT INTO parents (id) VALUES ({parents[to]})")
            await ask(f"INSERT INTO children VALUES ({id}, {parents[to]}, {n})")
            await ask(f"UPDATE wards SET parent_id = {parents[to]} WHERE id = {id}")
            await ask("COMMIT")
            for key, version in issued:
                key.ack(version, ask.through)
            self._at[pair] = to
            return
        here, there = (even, odd) if at == 0 else (odd, even)
        if self.chance.random() < 0.5:
            sql = f"DELETE FROM parents WHERE id = {parents[at]}"
            await self.change(ask, sql, (here, ()), (there, ()), (ward, number(0)))
            self._at[pair] = -1
            return
        content = here.contents[-1]
        assert content is not None
        sql = f"UPDATE parents SET id = {parents[1 - at]} WHERE id = {parents[at]}"
        await self.change(ask, sql, (here, ()), (there, content), (ward, number(parents[1 - at])))
        self._at[pair] = 1 - at


class Definitions(Writer):
    """DDL that changes what every row says."""

    IDS = 3
    pause_s = 0.9
    tables = (
        "CREATE TABLE defined (id INT PRIMARY KEY, v INT NOT NULL DEFAULT 0)",
        f"INSERT INTO defined (id) VALUES {', '.join(f'({id})' for id in range(1, IDS + 1))}",
    )

    def __init__(self, chance: random.Random) -> None:
        super().__init__(chance)
        self.keys = [
            Key(f"defined {id}", f"SELECT v FROM defined WHERE id = {id}", number(0)) for id in range(1, self.IDS + 1)
        ]

    async def write(self, ask: Ask) -> None:
        n = len(self.keys[0].contents)
        sql = f"ALTER TABLE defined DROP COLUMN v, ADD COLUMN v INT NOT NULL DEFAULT {n}"
        await self.change(ask, sql, *((key, number(n)) for key in self.keys))


class Truncated(Writer):
    """A table that is emptied as a whole and filled again."""

    IDS = 3
    pause_s = 0.5
    tables = (
        "CREATE TABLE emptied (id INT PRIMARY KEY, v INT NOT NULL)",
        f"INSERT INTO emptied VALUES {', '.join(f'({id}, 0)' for id in range(1, IDS + 1))}",
    )

    def __init__(self, chance: random.Random) -> None:
        super().__init__(chance)
        self.keys = [
            Key(f"emptied {id}", f"SELECT v FROM emptied WHERE id = {id}", number(0)) for id in range(1, self.IDS + 1)
        ]

    async def write(self, ask: Ask) -> None:
        await self.change(ask, "TRUNCATE TABLE emptied", *((key, ()) for key in self.keys))
        n = len(self.keys[0].contents)
        rows = ", ".join(f"({id}, {n})" for id in range(1, self.IDS + 1))
        await self.change(ask, f"INSERT INTO emptied VALUES {rows}", *((key, number(n)) for key in self.keys))


class Names(Writer):
    """Keys that are strings: what the collation calls equal is one key."""

    NAMES = ("alice", "Bob", "CAROL")
    tables = (
        "CREATE TABLE names (name VARCHAR(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci PRIMARY KEY,"
        " v INT NOT NULL)",
        f"INSERT INTO names VALUES {', '.join(f'({name!r}, 0)' for name in NAMES)}",
    )
    pause_s = 0.05

    def __init__(self, chance: random.Random) -> None:
        super().__init__(chance)
        for name in self.NAMES:
            self.keys.append(Key(name, f"SELECT v FROM names WHERE name = '{name.swapcase()}'", number(0)))

    async def write(self, ask: Ask) -> None:
        at = self.chance.randrange(len(self.NAMES))
        key, name = self.keys[at], self.NAMES[at]
        n = len(key.contents)
        spelled = self.chance.choice((name, name.upper(), name.lower(), name.title(), name + "  "))
        await self.change(ask, f"UPDATE names SET v = {n} WHERE name = '{spelled}'", (key, number(n)))


class Triggered(Writer):
    """Rows that a trigger of another table changes."""

    IDS = 3
    pause_s = 0.7
    tables = (
        "CREATE TABLE causes (id INT PRIMARY KEY, n INT NOT NULL)",
        "CREATE TABLE effects (id INT PRIMARY KEY, v INT NOT NULL)",
        f"INSERT INTO causes VALUES {', '.join(f'({id}, 0)' for id in range(1, IDS + 1))}",
        f"INSERT INTO effects VALUES {', '.join(f'({id}, 0)' for id in range(1, IDS + 1))}",
        "CREATE TRIGGER cause_effect AFTER UPDATE ON causes FOR EACH ROW"
        " UPDATE effects SET v = NEW.n WHERE id = NEW.id",
    )

    def __init__(self, chance: random.Random) -> None:
        super().__init__(chance)
        self.keys = [
            Key(f"effect {id}", f"SELECT v FROM effects WHERE id = {id}", number(0)) for id in range(1, self.IDS + 1)
        ]

    async def write(self, ask: Ask) -> None:
        at = self.chance.randrange(self.IDS)
        n = len(self.keys[at].contents)
        await self.change(ask, f"UPDATE causes SET n = {n} WHERE id = {at + 1}", (self.keys[at], number(n)))


class Generated(Writer):
    """Rows with generated keys: before they are there, their absence is cached."""

    AHEAD = 8
    pause_s = 0.08
    direct_share = 0.3
    tables = ("CREATE TABLE made (id INT AUTO_INCREMENT PRIMARY KEY, v INT NOT NULL)",)

    def __init__(self, chance: random.Random) -> None:
        super().__init__(chance)
        self._newest = 0
        self._by_id: dict[int, Key] = {}
        self._extend()

    def _extend(self) -> None:
        for id in range(self._newest + 1, self._newest + self.AHEAD + 1):
            if id not in self._by_id:
                self._by_id[id] = Key(f"made {id}", f"SELECT v FROM made WHERE id = {id}", ())
        oldest = self._newest - self.AHEAD
        for id in [id for id in self._by_id if id < oldest]:
            del self._by_id[id]
        self.keys[:] = self._by_id.values()

    async def write(self, ask: Ask) -> None:
        if not self.known:
            answer = await ask("SELECT IFNULL(MAX(id), 0) FROM made")
            self._newest = max(self._newest, answer.number)
            self._extend()
        self.known = False
        n = self._newest + 1
        issued = {id: key.issue(number(n)) for id, key in self._by_id.items() if id > self._newest}
        answer = await ask(f"INSERT INTO made (v) VALUES ({n})")
        id = answer.insert_id
        if id in issued:
            self._by_id[id].ack(issued[id], ask.through)
        self._newest = id
        self._extend()
        self.known = True


class Bulk(Writer):
    """One transaction of many rows."""

    ROWS = 30_000
    READ = (1, 777, 15_000, 29_999)
    pause_s = 4.0
    tables = (
        "CREATE TABLE bulk (id INT PRIMARY KEY, v INT NOT NULL, pad CHAR(20) NOT NULL DEFAULT 'some padding')",
        f"INSERT INTO bulk (id, v) SELECT seq, 0 FROM seq_1_to_{ROWS}",
    )

    def __init__(self, chance: random.Random) -> None:
        super().__init__(chance)
        self.keys = [Key(f"bulk {id}", f"SELECT v FROM bulk WHERE id = {id}", number(0)) for id in self.READ]

    async def write(self, ask: Ask) -> None:
        n = len(self.keys[0].contents)
        await self.change(ask, f"UPDATE bulk SET v = {n}", *((key, number(n)) for key in self.keys))


class Slow(Writer):
    """Rows of a group so large that reading it takes longer than writing to it."""

    ROWS = 800
    pause_s = 0.15
    tables = (
        "CREATE TABLE slow (id INT PRIMARY KEY, grp INT NOT NULL, v INT NOT NULL, pad CHAR(60) NOT NULL, KEY (grp))",
        f"INSERT INTO slow SELECT seq, 1, 0, REPEAT('ab', 30) FROM seq_1_to_{ROWS}",
    )

    def __init__(self, chance: random.Random) -> None:
        super().__init__(chance)
        self.keys = [Key("slow group", "SELECT MAX(v) FROM slow WHERE grp = 1 AND pad REGEXP 'a.*b.*c|ab$'", number(0))]

    async def write(self, ask: Ask) -> None:
        (key,) = self.keys
        n = len(key.contents)
        await self.change(
            ask, f"UPDATE slow SET v = {n} WHERE id = {self.chance.randint(1, self.ROWS)}", (key, number(n))
        )


class Loaded(Writer):
    """LOAD DATA INFILE over existing rows."""

    IDS = 3
    pause_s = 0.6
    tables = (
        "CREATE TABLE loaded (id INT PRIMARY KEY, v INT NOT NULL)",
        f"INSERT INTO loaded VALUES {', '.join(f'({id}, 0)' for id in range(1, IDS + 1))}",
    )

    def __init__(self, chance: random.Random, folder: Path) -> None:
        super().__init__(chance)
        self._folder = folder
        self.keys = [
            Key(f"loaded {id}", f"SELECT v FROM loaded WHERE id = {id}", number(0)) for id in range(1, self.IDS + 1)
        ]

    async def write(self, ask: Ask) -> None:
        n = len(self.keys[0].contents)
        path = self._folder / f"rows-{n}"
        path.write_text("".join(f"{id}\t{n}\n" for id in range(1, self.IDS + 1)))
        path.chmod(0o644)
        sql = f"LOAD DATA INFILE '{path}' REPLACE INTO TABLE loaded"
        await self.change(ask, sql, *((key, number(n)) for key in self.keys))
        path.unlink()


class TwoPhase(Writer):
    """XA transactions, prepared for a while before they are committed or rolled back."""

    IDS = 3
    pause_s = 0.3
    direct_share = 0.7
    tables = (
        "CREATE TABLE prepared (id INT PRIMARY KEY, v INT NOT NULL)",
        f"INSERT INTO prepared VALUES {', '.join(f'({id}, 0)' for id in range(1, IDS + 1))}",
    )

    def __init__(self, chance: random.Random) -> None:
        super().__init__(chance)
        self.keys = [
            Key(f"prepared {id}", f"SELECT v FROM prepared WHERE id = {id}", number(0)) for id in range(1, self.IDS + 1)
        ]
        self._xid = 0
        self._left = ""  # a transaction that may be prepared still

    async def write(self, ask: Ask) -> None:
        if self._left:
            # Its fate is not known: it goes on holding its rows until somebody decides it.
            rows = (await ask("XA RECOVER")).rows
            if any((row[3] or b"").decode() == self._left for row in rows):
                await ask(f"XA ROLLBACK '{self._left}'")
            self._left = ""
        at = self.chance.randrange(self.IDS)
        key = self.keys[at]
        n = len(key.contents)
        self._xid += 1
        xid = f"x{self._xid}"
        keep = self.chance.random() < 0.7
        version = key.issue(number(n) if keep else None)
        await ask(f"XA START '{xid}'")
        await ask(f"UPDATE prepared SET v = {n} WHERE id = {at + 1}")
        await ask(f"XA END '{xid}'")
        self._left = xid
        await ask(f"XA PREPARE '{xid}'")
        await asyncio.sleep(self.chance.random() * 0.1)
        await ask(f"XA {'COMMIT' if keep else 'ROLLBACK'} '{xid}'")
        self._left = ""
        if keep:
            key.ack(version, ask.through)


class Accounts(Writer):
    """GRANT and its like concern everything that is cached."""

    pause_s = 2.0

    async def write(self, ask: Ask) -> None:
        await ask("CREATE USER IF NOT EXISTS 'visitor'@'%' IDENTIFIED BY 'x'")
        await ask("GRANT SELECT ON shop.* TO 'visitor'@'%'")
        await ask("REVOKE SELECT ON shop.* FROM 'visitor'@'%'")


async def write_on(writer: Writer, through: Ask, direct: Ask, stop: asyncio.Event, slower: float) -> None:
    """Change after change until `stop`. Raises Hung."""
    chance = writer.chance
    try:
        while not stop.is_set():
            ask = direct if chance.random() < writer.direct_share else through
            ask.begin()
            with contextlib.suppress(Failed):
                await writer.write(ask)
            await asyncio.sleep(chance.random() * 2 * writer.pause_s * slower)
    finally:
        await through.close()
        await direct.close()
