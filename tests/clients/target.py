"""Where a client connects, as whom, and with which certificates."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

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
