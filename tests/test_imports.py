"""The import rule holds in this repository, and the check sees what breaks it."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.check_imports import repository, violations

ROOT = Path(__file__).resolve().parents[1]


def test_the_repository_keeps_the_rule() -> None:
    sources = repository(ROOT)
    assert "parser/statement.py" in sources
    assert "proxy/errors.py" in sources
    assert violations(sources) == []


@pytest.mark.parametrize(
    ("file", "source", "expected"),
    [
        ("parser/a.py", "from proxy.errors import TurnoutError", "parser/a.py:1: parser imports nothing from proxy"),
        ("parser/a.py", "import proxy", "parser imports nothing from proxy (proxy)"),
        ("proxy/rules/a.py", "\nfrom proxy.back import catalog", "proxy/rules/a.py:2: proxy.rules is below proxy.back"),
        ("proxy/back/a.py", "def f():\n    import proxy.plan.plan", "proxy.back is below proxy.plan"),
        ("proxy/plan/a.py", "from ..front.session import x", "proxy.plan is below proxy.front"),
        ("proxy/plan/sub/a.py", "from ...front import x", "proxy.plan is below proxy.front"),
        ("proxy/plan/__init__.py", "from ..cli import main", "proxy.plan is below proxy.cli"),
        ("proxy/front/a.py", "if TYPE_CHECKING:\n    from proxy import admin", "proxy.front is below proxy.admin"),
        ("proxy/wire/a.py", "import asyncio", "proxy.wire does no I/O, so it does not import asyncio"),
        ("proxy/wire/a.py", "from asyncio import sleep", "proxy.wire does no I/O"),
        ("proxy/errors.py", "import proxy.rules.model", "proxy/errors.py is everybody's"),
        ("proxy/helpers.py", "x = 1", "proxy.helpers has no place in the layers"),
        ("proxy/cli/a.py", "import proxy.helpers", "proxy.helpers has no place in the layers"),
        ("proxy/plan/a.py", "from sqlglot import parse_one", "SQL is parsed in parser/ only"),
        ("proxy/plan/a.py", "import sqlglot\nsqlglot.parse('')", "proxy/plan/a.py:2: SQL is parsed in parser/ only"),
        ("proxy/plan/a.py", "from sqlglot.parser import Parser", "SQL is parsed in parser/ only"),
    ],
)
def test_a_broken_rule_is_seen(file: str, source: str, expected: str) -> None:
    found = violations({file: source})
    assert len(found) == 1
    assert expected in found[0]


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("parser/a.py", "import re\nfrom parser.statement import Kind\nfrom sqlglot import exp, parse_one"),
        ("proxy/wire/a.py", "from proxy.errors import ProtocolError\nimport struct"),
        ("proxy/rules/a.py", "import parser.statement\nfrom . import model"),
        ("proxy/front/a.py", "import asyncio\nfrom proxy.plan.plan import Plan\nfrom proxy.wire import frames"),
        ("proxy/cli/a.py", "from proxy.admin import http"),
        ("proxy/plan/a.py", "from sqlglot import exp"),
    ],
)
def test_what_is_allowed(file: str, source: str) -> None:
    assert violations({file: source}) == []


def test_neighbours_import_one_way_only() -> None:
    one_way = {"proxy/plan/a.py": "import proxy.cache.b", "proxy/cache/b.py": "import proxy.measure.c"}
    assert violations(one_way) == []
    circle = violations({**one_way, "proxy/measure/c.py": "import proxy.plan.a"})
    assert len(circle) == 3
    assert all("import each other" in line for line in circle)


def test_one_file_parses() -> None:
    source = "from sqlglot import parse_one"
    assert violations({"parser/a.py": source, "parser/b.py": source}) == [
        "parser/b.py:1: sqlglot.parse_one is called in parser/a.py only"
    ]
