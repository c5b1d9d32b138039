"""What a worker's front can ask of the world outside its process, without knowing that there is one."""

from __future__ import annotations

from typing import Protocol

Rows = list[list[str | int | float | None]]


class Described(Protocol):
    """A plan, as far as explaining it goes."""

    @property
    def notes(self) -> tuple[str, ...]: ...

    def describe(self) -> list[tuple[str, str]]: ...


class Peers(Protocol):
    async def show(self, what: str) -> tuple[list[str], Rows]:
        """SHOW TURNOUT <what>, over all workers: columns and rows. Raises TurnoutError."""
        ...

    def explain(self, plan: Described) -> tuple[list[str], Rows]:
        """TURNOUT EXPLAIN: columns and rows."""
        ...

    async def kill(self, connection_id: int, query_only: bool, user: str, admin: bool) -> str:
        """KILL of a session of another worker: "" when done, "unknown" or "denied"."""
        ...

    async def refresh(self) -> None:
        """Definitions have changed: returns when the other workers have read the schemas again. Raises TurnoutError."""
        ...
