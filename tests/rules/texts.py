"""Rules files for tests: a small one that is right, any section of which can be replaced."""

from __future__ import annotations

from pathlib import Path

from proxy.rules.loader import parse
from proxy.rules.model import Rules

FILE = Path("rules.yaml")
SECTIONS = {
    "turnout": "turnout: 1",
    "listen": "listen: {mysql: 127.0.0.1:3307}",
    "users": "users: {app: {password: a, admin: true}}",
    "clusters": """\
clusters:
  main: {primary: 127.0.0.1:3306, replicas: [127.0.0.1:3316]}
  media: {primary: 127.0.0.1:3326}
  shard0: {primary: 127.0.0.1:3336}
  shard1: {primary: 127.0.0.1:3346}""",
    "service": "service: {user: turnout, password: s}",
}


def text(**sections: str | None) -> str:
    """The base file with sections replaced, added, or (None) left out."""
    merged = {**SECTIONS, **sections}
    return "\n".join(section.strip("\n") for section in merged.values() if section is not None) + "\n"


def rules(**sections: str | None) -> Rules:
    return parse(text(**sections), FILE, {})


def shop(*tables: str, reads: str = "") -> str:
    """`databases:` with one database, at home on main."""
    lines = ["databases:", "  shop:", "    home: main", *([f"    reads: {reads}"] if reads else []), "    tables:"]
    return "\n".join([*lines, *(f"      {table}" for table in tables)])
