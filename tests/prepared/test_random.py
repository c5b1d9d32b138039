"""SELECTs at random (`tests.workbench.selects`, `tests.front.test_merge`) with literals bound."""

from __future__ import annotations

import os
import random
import re

import pytest

from tests.front.raw import Param
from tests.front.test_merge import _ordered
from tests.prepared.bound import DATETIME, LONG, NEWDECIMAL, SHORT, STRING, TINY, double, moment, text, whole
from tests.prepared.pair import PreparedPair
from tests.sizes import seed
from tests.workbench.selects import Selects

pytestmark = pytest.mark.servers
SEED = seed()
STEPS = int(os.environ.get("TURNOUT_STEPS", "150"))
_LITERAL = re.compile(r"'[^']*'|(?<![\w.'])\d+(?:\.\d+)?(?![\w.'])")
_IN_PLACES = re.compile(r"\b(?:ORDER|GROUP) BY [^()]*$|SEPARATOR $|ROWS $|ROUND\([^()]*$")
_IN_LIMIT = re.compile(r"(?:LIMIT|OFFSET) (?:\S+, )?$")


def bound(rng: random.Random, sql: str) -> tuple[str, list[Param]]:
    """A statement with some of its literals as parameters, and their values."""
    params: list[Param] = []

    def one(found: re.Match[str]) -> str:
        literal, before = found.group(), sql[: found.start()]
        limit = _IN_LIMIT.search(before) is not None
        if (_IN_PLACES.search(before) and not limit) or rng.random() < 0.15:
            return literal
        params.append(_value(rng, literal, limit))
        return "?"

    return _LITERAL.sub(one, sql), params


def _value(rng: random.Random, literal: str, limit: bool) -> Param:
    if literal[0] == "'":
        value = literal[1:-1]
        if value == "2024-02-29" and rng.random() < 0.5:
            return moment(DATETIME, 2024, 2, 29)
        return rng.choice((value, text(STRING, value), text(252, value)))
    if "." in literal:
        return rng.choice((text(NEWDECIMAL, literal), double(float(literal)), literal))
    number = int(literal)
    if number > 100:
        return number
    small: tuple[Param, ...] = (
        number,
        str(number),
        whole(TINY, number),
        whole(SHORT, number),
        whole(LONG, number, True),
    )
    if limit or rng.random() < 0.7:
        return rng.choice(small)
    return rng.choice((double(number), text(NEWDECIMAL, literal), None))


def test_what_the_workbench_finishes(pair: PreparedPair) -> None:
    print(f"TURNOUT_SEED={SEED} TURNOUT_STEPS={STEPS}")
    rng = random.Random(SEED)
    selects = Selects(rng)
    rows = 0
    for _ in range(STEPS):
        made, ordered = selects.make()
        sql, params = bound(rng, made)
        rows += len(pair.same(sql, *params, ordered=ordered).rows)
    assert rows > STEPS


def test_what_is_merged(pair: PreparedPair) -> None:
    print(f"TURNOUT_SEED={SEED} TURNOUT_STEPS={STEPS}")
    rng = random.Random(SEED)
    rows = 0
    for _ in range(STEPS):
        made = _ordered(rng).sql.replace("FROM empty", "FROM things")
        sql, params = bound(rng, made.partition(" LIMIT ")[0])
        rows += len(pair.same(sql, *params).rows)
    assert rows > STEPS
