"""The benchmark's statements are what they are meant to be: new shapes each, that are planned."""

from __future__ import annotations

import pytest

from bench.miss import PLAIN, SPREAD, STATEMENTS, environment, new
from parser.shape import lexer


@pytest.mark.parametrize("name", STATEMENTS)
def test_every_text_has_a_new_shape(name: str) -> None:
    shapes = {lexer().shape(new(STATEMENTS[name]).encode())[0] for _ in range(50)}
    assert len(shapes) == 50


@pytest.mark.parametrize(("database", "kinds"), [(PLAIN, {"forward"}), (SPREAD, {"shard", "scatter", "insert"})])
def test_every_statement_is_planned(database: str, kinds: set[str]) -> None:
    known = environment()
    cache = known.cache(database, lexer())
    found = {known.miss(cache, *lexer().shape(new(text).encode())).plan.kind for text in STATEMENTS.values()}
    assert found <= kinds
