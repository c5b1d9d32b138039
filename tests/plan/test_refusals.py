"""The table of refusals: every one is said somewhere, with all its blanks filled in."""

from __future__ import annotations

import ast
import string
from pathlib import Path

import pytest

from proxy.errors import StatementRefused
from proxy.plan import refusals

PLAN = Path(refusals.__file__).parent
SOURCES = [path for path in PLAN.glob("*.py") if path.name != "refusals.py"]
SOURCES += PLAN.parent.joinpath("front").glob("*.py")  # what only the servers' answers tell
NAMES = {name: value for name, value in vars(refusals).items() if isinstance(value, refusals.Refusal)}


def blanks(refusal: refusals.Refusal) -> set[str]:
    text = f"{refusal.sentence} {refusal.remedy}"
    return {field for _, field, _, _ in string.Formatter().parse(text) if field is not None}


def uses() -> list[tuple[str, set[str], str]]:
    """(name of the refusal, keywords it is given, where) for every `refusals.NAME.error(...)`."""
    found = []
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "error":
                owner = node.func.value
                if isinstance(owner, ast.Attribute) and owner.attr.isupper():
                    found.append((owner.attr, {str(k.arg) for k in node.keywords}, f"{path.name}:{node.lineno}"))
    return found


@pytest.mark.parametrize(("name", "given", "where"), uses())
def test_every_use_fills_in_the_blanks(name: str, given: set[str], where: str) -> None:
    assert given == blanks(NAMES[name]), where


def test_every_refusal_is_used() -> None:
    assert {name for name, _, _ in uses()} == set(NAMES)
    assert set(refusals.ALL) == set(NAMES.values())


@pytest.mark.parametrize("name", sorted(NAMES))
def test_what_a_client_is_told(name: str) -> None:
    refusal = NAMES[name]
    error = refusal.error(**{blank: f"<{blank}>" for blank in blanks(refusal)})
    assert isinstance(error, StatementRefused)
    assert error.reason == refusal.slug
    assert refusal.slug == refusal.slug.lower()
    assert error.message[0].isupper() or error.message[0] == "<"
    assert len(error.sqlstate) == 5
    assert len(error.message) <= 512  # MYSQL_ERRMSG_SIZE
    if error.errno == 1235:
        assert refusal.remedy, "says nothing about what to do"
