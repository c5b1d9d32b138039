"""The dashboard's files, which are in this package: what browsers are sent, and when they need not be sent it again."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.resources import files

_TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
PAGE = "index.html"
NAMES = (PAGE, "dashboard.css", "dashboard.js", "icon.svg", "uplot/uPlot.iife.min.js", "uplot/uPlot.min.css")


@dataclass(frozen=True, slots=True)
class StaticFile:
    content: bytes
    content_type: str
    etag: str  # changes with the content


def read() -> dict[str, StaticFile]:
    """All of them, by name."""
    folder = files("proxy.admin") / "static"
    found = {}
    for name in NAMES:
        content = folder.joinpath(*name.split("/")).read_bytes()
        found[name] = StaticFile(content, _TYPES[name.rpartition(".")[2]], hashlib.sha256(content).hexdigest()[:16])
    return found
