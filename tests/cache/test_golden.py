"""SQL text -> what is cached of it and what it marks, as `golden/*.txt` say; `python -m tests.cache.test_golden` writes
them anew.

A golden file is a list of statements, each on one line, with what the plan says of the cache indented below, and what
that comes to with the literals at hand; `#` begins a comment.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from parser.analyse import parse
from parser.shape import lexer
from proxy.back.tags import CLUSTER_SLOT, class_seed, key_slot, table_slot
from proxy.front.values import TextValues
from proxy.plan import caching
from proxy.plan.plan import Refuse
from proxy.plan.planner import plan
from tests.cache import shop

FOLDER = Path(__file__).with_name("golden")
FILES = sorted(FOLDER.glob("*.txt"))
RULES = shop.rules()
CATALOG = shop.catalog()
_TABLES = RULES.databases[shop.DATABASE].tables
_WHOLE = {table_slot(shop.DATABASE, table): f"all of {table}" for table in _TABLES} | {
    key_slot(class_seed(shop.DATABASE, table.name, one.by), ()): f"all of {table.name} by {', '.join(one.by)}"
    for table in _TABLES.values()
    for one in table.cache
}


def described(sql: str) -> list[str]:
    text = sql.encode()
    shape, literals = lexer().shape(text)
    made = plan(parse(shape, literals, lexer=lexer(), prepared=False), RULES, CATALOG, shop.DATABASE)
    values = TextValues(literals, lexer())
    lines = [f"{what}: {value}" for what, value in made.describe() if what in ("cache", "cache marks")]
    if isinstance(made, Refuse):
        return [f"refused: {made.error.reason}"]
    if made.cached is not None:
        slots = made.cached.slots(values)
        quick = made.cached.text_slots
        assert quick is None or quick.of(literals) in (None, slots)
        lines.append("here: " + ("not cached: a value without a normal form" if slots is None else _named(slots)))
    if made.marks is not None:
        lines.append("here: " + _named(made.marks.slots(values)))
        if made.marks.generating:
            lines.append(f"with 7 as the generated id: {_named(made.marks.generated(7))}")
            lines.append(f"without a generated id: {_named(made.marks.generated(0))}")
    return lines or ["nothing"]


def _named(slots: tuple[int, ...]) -> str:
    names = ["everything"] if CLUSTER_SLOT in slots else []
    names += sorted(_WHOLE[slot] for slot in slots if slot in _WHOLE)
    keys = len([slot for slot in slots if slot != CLUSTER_SLOT and slot not in _WHOLE])
    return " + ".join(names + ([f"{keys} key" + "s" * (keys > 1)] if keys else [])) or "nothing"


def rewritten(text: str) -> str:
    """The golden file with every description replaced by what is planned now."""
    lines = []
    for line in text.splitlines():
        if not line.startswith(" "):
            lines.append(line)
            if line and not line.startswith("#"):
                lines += [f"    {each}" for each in described(line)]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_golden(path: Path) -> None:
    text = path.read_text()
    assert text == rewritten(text)


def test_every_reason_not_to_cache_is_among_them() -> None:
    text = "".join(path.read_text() for path in FILES)
    reasons = [reason for _, reason in caching._REASONS]
    reasons += ["a hint says so", "a hint names the server", "only reads of one table are cached"]
    reasons += ["it does more than read", "it is answered by several clusters", "is not an ordinary table"]
    reasons += ["only InnoDB says when a row is visible", "are not known yet", "to constants", "pins more than"]
    reasons += ["is worked out anew by every read", "whose values have no single text", "has no column"]
    reasons += ["in a database without cached tables"]
    reasons += ["a value without a normal form"]
    for reason in reasons:
        assert reason in text, reason


if __name__ == "__main__":
    for golden in FILES:
        golden.write_text(rewritten(golden.read_text()))


@pytest.mark.parametrize(
    "number", ["0", "00", "7", "007", "-7", "+7", "2147483647", "2147483648", "123456789", "7.0", "0x7", "'7'"]
)
def test_the_quick_way_to_the_slots_of_a_number_leads_to_the_same(number: str) -> None:
    shape, literals = lexer().shape(f"SELECT * FROM users WHERE id = {number}".encode())
    made = plan(parse(shape, literals, lexer=lexer(), prepared=False), RULES, CATALOG, shop.DATABASE)
    assert made.cached is not None
    quick = made.cached.text_slots.of(literals) if made.cached.text_slots is not None else None
    assert (quick is not None) == (number in ("7", "+7", "123456789"))
    assert quick in (None, made.cached.slots(TextValues(literals, lexer())))
