"""Names of XA branches, and the statements about them. Pure.

An XA branch is one server's part of a transaction that a coordinator ends in two phases. Its name (X/Open CAE, "XID")
has a format number, a global part and a branch part. Ours say all that recovery has to know:

    format    FORMAT: the branch is Turnout's
    global    <transaction's id, 24 hex digits>-<token of the cluster that has its decision, 16 hex digits>
    branch    <token of the branch's own cluster, 16 hex digits>

A token is made once and kept on its cluster (`proxy.back.decisions`), so that neither another name in the rules nor
another address makes a cluster a different one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

FORMAT = 0x54524E54  # "TRNT"
_GLOBAL = re.compile(r"([0-9a-f]{24})-([0-9a-f]{16})")
_TOKEN = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True, slots=True)
class Branch:
    """One branch's name. `id` is the transaction's; `first` and `own` are tokens of clusters."""

    id: str
    first: str
    own: str

    @property
    def sql(self) -> bytes:
        """As XA statements take it. Hexadecimal, which every sql_mode and character set reads alike."""
        name = f"{self.id}-{self.first}".encode()
        return b"X'%s',X'%s',%d" % (name.hex().encode(), self.own.encode().hex().encode(), FORMAT)

    @property
    def start(self) -> bytes:
        return b"XA START " + self.sql

    @property
    def end(self) -> bytes:
        return b"XA END " + self.sql

    @property
    def prepare(self) -> bytes:
        return b"XA PREPARE " + self.sql

    @property
    def commit(self) -> bytes:
        return b"XA COMMIT " + self.sql

    @property
    def commit_unprepared(self) -> bytes:
        """Commit at once a branch that nobody else depends on."""
        return b"XA COMMIT " + self.sql + b" ONE PHASE"

    @property
    def rollback(self) -> bytes:
        return b"XA ROLLBACK " + self.sql


def prepared(rows: Sequence[Sequence[bytes | None]]) -> list[Branch]:
    """Turnout's branches among the rows of XA RECOVER (format, length of the global and of the branch part, both)."""
    found = []
    for format_id, global_length, _, data in rows:
        if int(format_id or 0) != FORMAT or data is None or global_length is None:
            continue
        name = data.decode("latin-1")
        at = int(global_length)
        match = _GLOBAL.fullmatch(name[:at])
        if match is not None and _TOKEN.fullmatch(name[at:]):
            found.append(Branch(match[1], match[2], name[at:]))
    return found
