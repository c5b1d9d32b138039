"""Prepared statements through Turnout and on one server that has everything: the same packets."""

from __future__ import annotations

from tests.differential.world import computed
from tests.front.raw import Answer, Client, Column, Param, Statement
from tests.servers import MariaDB, Turnout
from tests.servers.shop import APP, APP_PASSWORD, DATABASE
from tests.workbench.shop import alike


class PreparedPair:
    """Every text is prepared once on either side."""

    def __init__(self, proxy: Turnout, mirror: MariaDB, **options: int) -> None:
        self.port = proxy.port
        self.client = Client(proxy.port, APP, APP_PASSWORD, DATABASE, **options)
        self.mirror = Client(mirror.port, APP, APP_PASSWORD, DATABASE, **options)
        self._made: dict[str, tuple[Statement, Statement]] = {}

    def run(self, *statements: str) -> None:
        for sql in statements:
            self.client.query(sql).checked()
            self.mirror.query(sql).checked()

    def prepared(self, sql: str) -> tuple[Statement, Statement]:
        """The statement on both sides: the same numbers of parameters and columns, the same columns."""
        if sql not in self._made:
            ours, theirs = self.client.prepare(sql), self.mirror.prepare(sql)
            assert isinstance(ours, Statement), f"{sql}: {ours}"
            assert isinstance(theirs, Statement), f"{sql}: {theirs}"
            assert ours.params == theirs.params, sql
            self._same_columns(sql, ours.columns, theirs.columns)
            self._made[sql] = ours, theirs
        return self._made[sql]

    def same(self, sql: str, *params: Param, ordered: bool = False, rows: int | None = None) -> Answer:
        """The answer to an execution, which is the same on both sides: packets of rows, columns, numbers, errors."""
        ours, theirs = self.both(sql, *params)
        self.compare(f"{sql} {params}", ours, theirs, ordered)
        assert rows is None or len(theirs.rows) == rows, f"{sql} {params}: {theirs}"
        return ours

    def both(self, sql: str, *params: Param) -> tuple[Answer, Answer]:
        one, other = self.prepared(sql)
        return self.client.execute(one, *params), self.mirror.execute(other, *params)

    def compare(self, what: str, ours: Answer, theirs: Answer, ordered: bool = False) -> None:
        said = f"{what}\n  {ours}\n  instead of {theirs}"
        assert (ours.errno, ours.sqlstate) == (theirs.errno, theirs.sqlstate), said
        self._same_columns(what, ours.columns, theirs.columns)
        if ordered:
            assert ours.rows == theirs.rows, said
        else:
            assert sorted(ours.rows) == sorted(theirs.rows), said
        assert ours.status & 3 == theirs.status & 3, said
        assert (ours.affected_rows, ours.info) == (theirs.affected_rows, theirs.info), said

    @staticmethod
    def _same_columns(what: str, ours: tuple[Column, ...], theirs: tuple[Column, ...]) -> None:
        assert len(ours) == len(theirs), what
        outer = " JOIN" in what and ("LEFT" in what or "RIGHT" in what)
        for mine, other in zip(ours, theirs):
            same = alike(mine, other, outer) or (not mine.table and computed(mine) == computed(other))
            assert same, f"{what}\n  {mine}\n  {other}"

    def text(self, sql: str) -> Answer:
        """A text statement on both sides."""
        ours, theirs = self.client.query(sql), self.mirror.query(sql)
        self.compare(sql, ours, theirs)
        return ours

    def close(self) -> None:
        self.client.abort()
        self.mirror.abort()
