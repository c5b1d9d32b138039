"""What the readers of single kinds of statement are given, and what they share."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from parser.changes import Meaning, Trust, read_name
from parser.rows import Rows, split_commas
from parser.statement import Access, Effect, Kind, Statement, TableRef
from parser.tokens import Token
from parser.tree import NotUnderstood


@dataclass(frozen=True, slots=True)
class Source:
    """The text that tokens stand in; `offset` turns places in it into places in the shape's bytes."""

    text: str
    literals: Sequence[bytes]
    offset: Callable[[int], int]
    rows: Rows | None = None  # of a long INSERT, read beforehand
    merged: Collection[str] | None = None  # see `parser.analyse.parse`

    def may_be_merged(self, table: TableRef) -> bool:
        if self.merged is None:
            return True
        name = table.name.lower()
        return name in self.merged if table.database is None else f"{table.database.lower()}.{name}" in self.merged


Recurse = Callable[[Sequence[Token], Source], Statement]


def word_at(tokens: Sequence[Token], at: int) -> str:
    return tokens[at].word if at < len(tokens) else ""


def trust(tokens: Sequence[Token]) -> Trust:
    marks = {t.mark for t in tokens}
    return Trust(":=" not in marks, "||" not in marks)  # the right side of := reaches further than it looks


def refuse_sequences(effects: Effect) -> None:
    """Raises NotUnderstood."""
    if effects.meets(Effect.SEQUENCE):
        raise NotUnderstood("a sequence, which lives somewhere like a table")


def built(kind: Kind, meaning: Meaning, effects: Effect) -> Statement:
    refuse_sequences(effects)
    return Statement(
        kind,
        tables=meaning.tables,
        blocks=meaning.blocks,
        effects=effects,
        insert=meaning.insert,
        assigned=meaning.assigned,
        assigned_values=meaning.assigned_values,
        subqueries=meaning.subqueries,
        change=meaning.change,
    )


def around(inner: Statement, kind: Kind) -> Statement:
    """A statement around another: what the inner one touches counts as the outer one's."""
    if inner.kind in (Kind.UNKNOWN, Kind.MULTI):
        raise NotUnderstood(inner.error or "several statements inside of one")
    return Statement(
        kind,
        tables=inner.tables,
        blocks=inner.blocks,
        effects=inner.effects,
        words=inner.words,
        subqueries=inner.subqueries,
        inner=inner,
    )


def admin_statement(tokens: Sequence[Token], source: Source, recurse: Recurse) -> Statement:
    name = " ".join(t.text.lower() for t in tokens[:2] if t.word)
    return Statement(Kind.ADMIN, effects=Effect.WRITES | Effect.IMPLICIT_COMMIT, name=name)


def table_list(tokens: Sequence[Token], at: int, access: Access) -> Statement:
    tables: list[TableRef] = []
    for part in split_commas(tokens[at:]):
        if part:
            database, name, _ = read_name(part, 0)
            tables.append(TableRef(len(tables), database, name, name, 0, access))
    name = " ".join(t.text.lower() for t in tokens[:at] if t.word)
    effects = Effect.WRITES | Effect.IMPLICIT_COMMIT
    return Statement(Kind.ADMIN, tables=tuple(tables), effects=effects, name=name)
