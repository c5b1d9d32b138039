"""Statements of clients that would change where a directory has a key, while its rows stay where they are."""

from __future__ import annotations

from parser.statement import Kind
from proxy.plan import refusals
from proxy.plan.case import Case
from proxy.plan.places import Place
from proxy.rules.model import Sharding

_CHANGING = frozenset({Kind.UPDATE, Kind.DELETE, Kind.REPLACE, Kind.LOAD_DATA})


def check_directory_writes(asked: Case) -> None:
    """Raises StatementRefused for all but INSERTs of new keys."""
    statement = asked.statement
    inserting = statement.insert is not None and bool(statement.insert.on_duplicate)
    truncating = statement.kind is Kind.DDL and statement.name.startswith("truncate")
    if statement.kind in _CHANGING or inserting or truncating:
        directories = asked.rules.directories
        for each in asked.places:
            sharding = _of(each, directories) if each.written or truncating else None
            if sharding is not None:
                verb = "INSERT .. ON DUPLICATE KEY UPDATE" if inserting else asked.verb()
                verb = "TRUNCATE" if truncating else verb
                raise refusals.DIRECTORY_WRITE.error(table=each.label, sharding=sharding.name, verb=verb)


def _of(each: Place, directories: dict[str, Sharding]) -> Sharding | None:
    return directories.get(f"{each.database}.{each.ref.name}".lower())
