"""YAML with places: every scalar's place is where its text is, whatever it says."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.rules import tree

_SCALARS = st.one_of(
    st.integers(),
    st.booleans(),
    st.text(st.characters(codec="ascii", min_codepoint=32), max_size=12),
)
_DATA = st.dictionaries(
    st.text("abcdefg-_ :#'", min_size=1, max_size=5),
    st.recursive(
        _SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("xyz", min_size=1), inner)
    ),
    min_size=1,
    max_size=4,
)


@given(_DATA, st.sampled_from([None, 2]))
def test_json_is_read_as_it_is_with_places(data: dict[str, Any], indent: int | None) -> None:
    source = json.dumps(data, indent=indent)
    found = tree.read(source, "x")
    assert found.problems == []
    assert found.root is not None
    assert tree.plain(found.root) == data
    lines = source.split("\n")
    for path, scalar in tree.scalars(found.root):
        written = source[scalar.span.start : scalar.span.end]
        assert json.loads(written) == scalar.value()
        assert tree.place(found.root, path) == scalar.span
        assert lines[scalar.span.line - 1][scalar.span.column - 1 :].startswith(written)


@given(st.text(max_size=60))
def test_any_text_is_a_tree_or_a_problem(source: str) -> None:
    found = tree.read(source, "x")
    assert found.root is not None or found.problems
    for problem in found.problems:
        assert problem.line >= 1
        assert problem.column >= 1


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("no", "no"),
        ("on", "on"),
        ("2025-01-01", "2025-01-01"),
        ("1:30", "1:30"),
        ("0x10", "0x10"),
        ("1_000", "1_000"),
        ("007", 7),
        ("-5", -5),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        ("1.2.3", "1.2.3"),
        (".inf", ".inf"),
        ("true", True),
        ("'true'", "true"),
        ("'5'", "5"),
        ("~", None),
        ("'~'", "~"),
        ("9" * 41, "9" * 41),
    ],
)
def test_scalars_by_the_core_schema_in_decimal(written: str, value: object) -> None:
    root = tree.read(f"a: {written}", "x").root
    assert root is not None
    found = tree.plain(root)
    assert found == {"a": value}
    assert type(found["a"]) is type(value)  # type: ignore[index]


def test_keys_are_text() -> None:
    root = tree.read("{no: 1, 5: 2, true: 3, null: 4, 2025-01-01: 5}", "x").root
    assert root is not None
    assert tree.plain(root) == {"no": 1, "5": 2, "true": 3, "null": 4, "2025-01-01": 5}


def test_the_directive_of_an_older_yaml_changes_nothing() -> None:
    root = tree.read("%YAML 1.1\n---\na: no\n", "x").root
    assert root is not None
    assert tree.plain(root) == {"a": "no"}


def test_what_is_absent_is_placed_at_what_is_around_it() -> None:
    root = tree.read("a:\n  b: {c: 1}\n  d: [x, y]\n", "x").root
    assert root is not None

    def at(*path: str | int, key: bool = False) -> tuple[int, int]:
        span = tree.place(root, path, at_key=key)
        return span.line, span.column

    assert at("a", "b", "c") == (2, 10)
    assert at("a", "b", "c", key=True) == (2, 7)
    assert at("a", "b", "missing") == (2, 3)
    assert at("a", "missing", "deeper") == (1, 1)
    assert at("a", "d", 1) == (3, 10)
    assert at("a", "d", 7) == (3, 3)
    assert at("zzz") == (1, 1)
