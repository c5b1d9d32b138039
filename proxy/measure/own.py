"""Statements of a server's log that are no application's: of system databases, and Turnout's own.

A log of a server behind Turnout has the catalog's queries, health probes, look-ups in Turnout's tables and what fills a
workbench. They count as one line, so that sums stay those of everything. Workbenches' temporary tables have the names
of the tables that they are copies of: what is filled into those is told by how Turnout writes it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from proxy.measure.ranking import Measured, MeasuredShape
from proxy.measure.tally import SYSTEM, SYSTEM_DIGEST, SYSTEM_TABLES, Tally
from proxy.plan.places import SYSTEM_DATABASES

OWN_DATABASE = "turnout"
_DATABASES = SYSTEM_DATABASES | {OWN_DATABASE}
_NAME = r"`(?:[^`]|``)+`\.`(?:[^`]|``)+`"
_MAKES_COPY = re.compile(rf"\ACREATE TEMPORARY TABLE ({_NAME}) \(`")
_DROPS_COPIES = re.compile(rf"\ADROP TEMPORARY TABLE ({_NAME}(?:, {_NAME})*)\Z")
_FILLS = re.compile(rf"\AINSERT INTO ({_NAME}) \(")
_NAMES_OF_OURS = re.compile(
    r"\bturnout_(?:copy|part)_\d|\A(?:ROLLBACK TO )?SAVEPOINT `?turnout_statement\b", re.IGNORECASE
)
_LOOKS = re.compile(
    r"\ASHOW (?:(?:SLAVE|REPLICA|MASTER|BINARY LOG) STATUS|BINARY LOGS|GLOBAL STATUS WHERE|STATUS LIKE)\b"
    r"|\A(?:CREATE|DROP) DATABASE (?:IF (?:NOT )?EXISTS )?`?turnout\b",
    re.IGNORECASE,
)


def is_system(table: str) -> bool:
    """Is `database.table` a system's, or Turnout's?"""
    return table.partition(".")[0].lower() in _DATABASES if "." in table else False


def own(shapes: Iterable[MeasuredShape]) -> set[int]:
    """The places of those that are no application's."""
    texts = [(place, one, _text(one)) for place, one in enumerate(shapes)]
    copies = {made[1] for _, _, text in texts if (made := _MAKES_COPY.match(text))}
    return {place for place, one, text in texts if _is_own(one.shape.tables, text, copies)}


def _is_own(tables: tuple[str, ...], text: str, copies: set[str]) -> bool:
    if tables and all(map(is_system, tables)):
        return True
    if _MAKES_COPY.match(text) or _NAMES_OF_OURS.search(text) or _LOOKS.match(text):
        return True
    dropped, filled = _DROPS_COPIES.match(text), _FILLS.match(text)
    if dropped is not None:
        return copies.issuperset(re.findall(_NAME, dropped[1]))
    return filled is not None and filled[1] in copies


def _text(one: MeasuredShape) -> str:
    """As it was written, where that is known: a digest says little of quotes."""
    text = one.sample.shape.decode("utf-8", "replace") if one.sample is not None else one.digest
    return text.strip()


def together(measured: Measured, tables_of_others: Sequence[tuple[str, str, Tally]] = ()) -> Measured:
    """The same with one line for all of them, in place. `tables_of_others`: of shapes that have no line."""
    places = own(measured.shapes)
    if places:
        every, kept = Tally(), []
        for place, one in enumerate(measured.shapes):
            if place in places:
                every.add(one.tally)
            else:
                kept.append(one)
        measured.shapes = [*kept, MeasuredShape(SYSTEM, SYSTEM_DIGEST, every)]
        measured.tables = [
            *((table, "", one.tally) for one in kept for table in one.shape.tables),
            *((SYSTEM_TABLES if is_system(name) else name, kind, tally) for name, kind, tally in tables_of_others),
            (SYSTEM_TABLES, "", every),
        ]
    return measured


def without(measured: Measured) -> Measured:
    """The same without them; a note says how many they were."""
    left_out = sum(one.tally.count for one in measured.shapes if one.shape == SYSTEM)
    if left_out:
        measured.shapes = [one for one in measured.shapes if one.shape != SYSTEM]
        measured.tables = [one for one in measured.tables if one[0] != SYSTEM_TABLES]
        measured.notes.append(f"{left_out} statements of system databases and of Turnout itself are left out")
    return measured
