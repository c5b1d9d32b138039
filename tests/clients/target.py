"""Where a client connects, as whom, and with which certificates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Target:
    """`ca` asks for TLS with the server's certificate checked; without it a client does what it does by itself.

    `options` of a connection: `several` statements in one text, `infile` (LOAD DATA LOCAL), `compress`.
    """

    port: int
    user: str
    password: str
    database: str
    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    options: tuple[str, ...] = ()

    @staticmethod
    def of_json(work: Mapping[str, Any]) -> Target:
        ca, cert, key = (Path(work[name]) if work[name] else None for name in ("ca", "cert", "key"))
        account = (work["port"], work["user"], work["password"], work["database"])
        return Target(*account, ca, cert, key, tuple(work["options"]))

    def as_json(self) -> dict[str, object]:
        """For clients in other languages; what is absent is empty."""
        return {
            "host": HOST,
            "port": self.port,
            "user": self.user,
            "password": self.password,
            "database": self.database,
            "ca": str(self.ca or ""),
            "cert": str(self.cert or ""),
            "key": str(self.key or ""),
            "options": self.options,
        }
