"""What the connections of one server have in common: XA branches, the decisions of transactions over several clusters
(`proxy.back.decisions`), and which writes were committed.

Writes are known by the numbers in them (`TAG`), branches by the text of their names.
"""

from __future__ import annotations

import asyncio
import enum
import re
from dataclasses import dataclass, field

from proxy.back.xa import FORMAT

TAG = re.compile(rb"77\d{8}")
XA = re.compile(rb"XA\s+(START|BEGIN|END|PREPARE|COMMIT|ROLLBACK)\s+(.*?)(\s+ONE\s+PHASE)?\s*;?\s*\Z", re.I | re.S)
_OURS = re.compile(rb"X'(\w+)',X'(\w+)',%d" % FORMAT)
_DECIDING = re.compile(rb"INSERT INTO turnout\.transactions .*\('(\w+)', '(\w+)', '([\w,]*)'\)")
_ASKING = re.compile(rb"SELECT outcome FROM turnout\.transactions WHERE id = '(\w+)'")
_LOCKED_S = 0.05  # how often somebody who waits for a row looks again


class State(enum.Enum):
    ACTIVE = enum.auto()
    IDLE = enum.auto()
    DOOMED = enum.auto()  # a deadlock has undone it: it can be rolled back, and nothing else
    PREPARED = enum.auto()


class Refused(Exception):
    """The server's answer to a statement is an error."""

    def __init__(self, errno: int, sqlstate: str) -> None:
        super().__init__(errno)
        self.errno = errno
        self.sqlstate = sqlstate


UNKNOWN = (1397, "XAE04")
OUT_OF_PLACE = (1399, "XAE07")
OUTSIDE = (1400, "XAE09")
UNDONE = (1614, "XA102")
DUPLICATE_NAME = (1440, "XAE08")
DUPLICATE = (1062, "23000")
WAITED = (1205, "HY000")


@dataclass(eq=False, slots=True)
class Work:
    """A transaction that is not over."""

    tags: set[bytes] = field(default_factory=set)
    decisions: list[bytes] = field(default_factory=list)


@dataclass(eq=False, slots=True)
class Branch:
    name: bytes
    work: Work
    state: State = State.ACTIVE
    attached: bool = True  # to the connection that began it

    @property
    def ours(self) -> tuple[bytes, bytes, bytes] | None:
        """Of a branch of Turnout's: the transaction's id, the token of the cluster that decides, its own token."""
        found = _OURS.fullmatch(self.name)
        if found is None:
            return None
        whole = bytes.fromhex(found[1].decode())
        return whole[:24], whole[25:], bytes.fromhex(found[2].decode())


class FakeCluster:
    """See the module."""

    def __init__(self, number: int) -> None:
        self.token = b"%016x" % number
        self.branches: dict[bytes, Branch] = {}
        self.committed: set[bytes] = set()
        self.undone: set[bytes] = set()
        self.ended: list[tuple[Branch, bool]] = []  # branches that had been prepared, and whether they were committed
        self.decisions: dict[bytes, tuple[bytes, Work | None]] = {}  # by transaction; whose, until that is committed

    def end(self, work: Work, commit: bool) -> None:
        """Commit or undo all of a transaction."""
        (self.committed if commit else self.undone).update(work.tags)
        for transaction in work.decisions:
            if commit:
                self.decisions[transaction] = (self.decisions[transaction][0], None)
            else:
                del self.decisions[transaction]
        work.tags.clear()
        work.decisions.clear()

    async def decide(self, text: bytes, work: Work, lock_wait_s: float) -> bool:
        """Whether it is a decision that is written, into `work`. Raises Refused."""
        found = _DECIDING.match(text)
        if found is None:
            return False
        transaction = found[1]
        loop = asyncio.get_running_loop()
        until = loop.time() + lock_wait_s
        while (known := self.decisions.get(transaction)) is not None:
            if known[1] is None or known[1] is work:
                raise Refused(*DUPLICATE)
            if loop.time() > until:
                raise Refused(*WAITED)
            await asyncio.sleep(_LOCKED_S)
        self.decisions[transaction] = (found[2], work)
        work.decisions.append(transaction)
        return True

    def asked(self, text: bytes) -> list[list[bytes | None]] | None:
        """The rows of a question that Turnout asks for itself; None: it is another one."""
        if text.startswith(b"SELECT token FROM turnout.cluster"):
            return [[self.token]]
        found = _ASKING.match(text)
        if found is not None:
            known = self.decisions.get(found[1])
            return [[known[0]]] if known is not None and known[1] is None else []
        return None

    def prepared(self) -> list[list[bytes | None]]:
        """XA RECOVER."""
        rows: list[list[bytes | None]] = []
        for branch in self.branches.values():
            found = _OURS.fullmatch(branch.name)
            if branch.state is State.PREPARED and found is not None:
                whole, own = (bytes.fromhex(part.decode()) for part in found.groups())
                rows.append([b"%d" % FORMAT, b"%d" % len(whole), b"%d" % len(own), whole + own])
        return rows

    # -- branches ----------------------------------------------------------------------------------------------------

    def start(self, name: bytes) -> Branch:
        if name in self.branches:
            raise Refused(*DUPLICATE_NAME)
        branch = self.branches[name] = Branch(name, Work())
        return branch

    def finish(self, branch: Branch, commit: bool) -> None:
        del self.branches[branch.name]
        if branch.state is State.PREPARED:
            self.ended.append((branch, commit))
        self.end(branch.work, commit)

    def let_go(self, branch: Branch) -> None:
        """Its connection is gone."""
        if branch.state is State.PREPARED:
            branch.attached = False
        else:
            self.finish(branch, False)
