"""What executions tell the statistics of keys: NULL is no key, and takes none away."""

from __future__ import annotations

from typing import Any, cast

import pytest

from parser.analyse import parse
from parser.shape import lexer
from proxy.front.key_use import tell_keys
from proxy.measure.key_book import KeyBook
from proxy.measure.key_sampling import KeySampler
from proxy.wire.binary import Execute

LEXER = lexer()


class Idle:
    in_transaction = False
    autocommit = True
    began = 0


def execution(*values: int | None) -> Execute:
    nulls = sum(1 << place for place, value in enumerate(values) if value is None).to_bytes(1, "little")
    data = b"".join(value.to_bytes(8, "little") for value in values if value is not None)
    return Execute(1, 0, 1, nulls, b"\x08\0" * len(values), 0, True, data)


@pytest.mark.parametrize(
    ("sql", "values", "expected"),
    [
        ("SELECT b FROM t WHERE id = ?", [(5,), (None,), (6,), (None,)], {("id",): (2, 0)}),
        (
            "SELECT b FROM t WHERE id = ? AND a = ?",
            [(5, None), (6, 7)],
            {("id",): (2, 0), ("a",): (1, 0), ("a", "id"): (1, 0)},
        ),
        ("SELECT b FROM t WHERE id = 5 AND a > ?", [(None,), (7,)], {("id",): (2, 0)}),
        ("UPDATE t SET b = ? WHERE id = ?", [(None, 5), (1, None)], {("id",): (0, 1)}),
        ("INSERT INTO t (id, a) VALUES (?, ?)", [(None, 5), (None, 6), (9, None)], {("id",): (0, 1)}),
    ],
)
def test_null_is_no_key(sql: str, values: list[Any], expected: dict[tuple[str, ...], tuple[int, int]]) -> None:
    sampler = KeySampler(lambda: 10**12)
    look, held = LEXER.shape(b"SELECT b FROM t WHERE id = 1")
    assert sampler.tap(parse(look, held, lexer=LEXER, merged=()), look, "shop") is not None  # makes id a candidate
    shape, literals = LEXER.shape(sql.encode())
    tap = sampler.tap(parse(shape, literals, lexer=LEXER, prepared=True, merged=()), shape, "shop")
    assert tap is not None
    for each in values:
        tell_keys(cast(Any, Idle()), tap, literals, execution(*each))
    book = KeyBook()
    book.add(sampler.take()[0])
    found = {columns: (sketch.reads, sketch.writes) for (_, columns), sketch in book.take().items()}
    assert found == expected
