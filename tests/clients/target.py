"""Where a client connects, as whom, and with which certificates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Target:
    """`ca` asks for TLS with the server's certificate checked; without it a client does what it does by itself."""

    port: int
    user: str
    password: str
    database: str
    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None

    @staticmethod
    def of_json(work: Mapping[str, Any]) -> Target:
        paths = {name: Path(work[name]) if work[name] else None for name in ("ca", "cert", "key")}
        return Target(work["port"], work["user"], work["password"], work["database"], **paths)

    def as_json(self) -> dict[str, str | int]:
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
        }
