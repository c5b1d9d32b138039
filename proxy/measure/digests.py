"""A server's own sums: performance_schema.events_statements_summary_by_digest, of MySQL and MariaDB.

The server makes its own digests of statements, so shapes have other ids here than everywhere else, and their texts are
the server's. Its sums go back to its start, or to when the table was last truncated; two looks tell what was in
between.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from parser.analyse import parse
from parser.shape import lexer
from proxy.measure import own
from proxy.measure.ranking import Knows, Measured, MeasuredShape
from proxy.measure.shapes import ShapeId, digest_id
from proxy.measure.tally import OTHERS, OTHERS_DIGEST, Tally

QUERY = """
SELECT COALESCE(SCHEMA_NAME, ''), DIGEST, DIGEST_TEXT, COUNT_STAR, SUM_TIMER_WAIT, MAX_TIMER_WAIT, SUM_ERRORS,
       SUM_ROWS_SENT, SUM_ROWS_EXAMINED, UNIX_TIMESTAMP(FIRST_SEEN), UNIX_TIMESTAMP(LAST_SEEN)
FROM performance_schema.events_statements_summary_by_digest
""".strip()
ENABLED = "SELECT @@performance_schema"
KNOWS = Knows(sent_bytes=False, examined=True, quantiles=False)
_SHORTENED = re.compile(rb" /\* , \.\.\. \*/|, \.\.\.")  # what servers write for further rows, or values
_SOME = re.compile(rb"\( ?\.\.\. ?\)|\.\.\.")


@dataclass(slots=True)
class Look:
    """All digests at one moment."""

    at: float  # Unix time
    sums: dict[tuple[str, str], Tally]  # by database and the server's digest; the digest of all others is ""
    texts: dict[tuple[str, str], str]
    first: float | None = None  # when the oldest of them began


def looked(rows: Sequence[Sequence[bytes | None]], at: float) -> Look:
    """The rows of QUERY."""
    look = Look(at, {}, {})
    for database, digest, text, count, total_ps, max_ps, errors, sent, examined, first, _ in rows:
        key = (_text(database), _text(digest))
        tally = look.sums.setdefault(key, Tally())
        look.texts[key] = _text(text)
        tally.count += int(count or 0)
        tally.total_ns += int(total_ps or 0) // 1000
        tally.max_ns = max(tally.max_ns, int(max_ps or 0) // 1000)
        tally.errors += int(errors or 0)
        tally.rows += int(sent or 0)
        tally.examined += int(examined or 0)
        began = float(first or 0)
        if began > 0:
            look.first = began if look.first is None else min(look.first, began)
    return look


def between(before: Look | None, after: Look, source: str) -> Measured:
    """What happened from one look to the next; since the server began to count, where there is only one."""
    notes = []
    shapes = []
    for key, now in after.sums.items():
        tally = Tally()
        tally.add(now)
        old = before.sums.get(key) if before is not None else None
        if old is not None and old.count <= now.count:  # else the sums began again in between
            for name in ("count", "errors", "rows", "examined", "total_ns"):
                setattr(tally, name, getattr(now, name) - getattr(old, name))
        if tally.count:
            shapes.append(_shape(key, after.texts[key], tally))
    if before is not None:
        notes.append("the longest times are those since the server began to count")
    if ("", "") in after.sums:
        notes.append("the server's table of digests is full: see performance_schema_digests_size")
    tables = [(table, "", one.tally) for one in shapes for table in one.shape.tables]
    since = before.at if before is not None else after.first
    return own.together(Measured(source, KNOWS, since, after.at, shapes, tables, notes=notes))


def _shape(key: tuple[str, str], text: str, tally: Tally) -> MeasuredShape:
    database, digest = key
    if not digest:
        return MeasuredShape(OTHERS, OTHERS_DIGEST, tally)
    return MeasuredShape(ShapeId(digest_id(text), "", _tables(text, database), ()), text, tally)


def _tables(text: str, database: str) -> tuple[str, ...]:
    """The tables that a digest names, as far as its text, in which lists are left out, can be read."""
    whole = _SOME.sub(lambda found: b"(?)" if found[0][:1] == b"(" else b"?", _SHORTENED.sub(b"", text.encode()))
    lex = lexer()
    shape, literals = lex.shape(whole)
    statement = parse(shape, literals, lexer=lex, prepared=True, merged=())
    inner = statement.inner or statement
    owners = ((table.database or database, table.name) for table in inner.tables[:16])
    return tuple(dict.fromkeys(f"{owner}.{name}" if owner else name for owner, name in owners))


def _text(value: bytes | None) -> str:
    return "" if value is None else value.decode("utf-8", "replace")
