"""What executions tell the statistics of keys: NULL is no key, and takes none away."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, cast

import pytest

from bench import fast_path
from parser.analyse import parse
from parser.shape import lexer
from proxy.front.key_use import tell_keys
from proxy.measure.key_book import KeyBook
from proxy.measure.key_replay import BLIND, WRITE
from proxy.measure.key_sampling import KeySampler
from proxy.wire.frames import encode
from proxy.wire.packets import encode_ok
from proxy.wire.resultset import encode_resultset, text_column

LEXER = lexer()
ROWS = encode_resultset([text_column("c")], [[b"x"]])
OK = encode(encode_ok(), 1)


class Idle:
    in_transaction = False
    autocommit = True
    began = 0


@dataclass
class Prepared:
    literals: list[bytes]
    params: int
    types: bytes | None = None


def execution(*values: int | None) -> bytes:
    nulls = sum(1 << place for place, value in enumerate(values) if value is None).to_bytes(1, "little")
    data = b"".join(value.to_bytes(8, "little") for value in values if value is not None)
    return b"\x17\1\0\0\0\0\1\0\0\0" + nulls + b"\1" + b"\x08\0" * len(values) + data


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
        tell_keys(cast(Any, Idle()), tap, cast(Any, Prepared(literals, len(each))), execution(*each))
    book = KeyBook()
    book.add(sampler.take()[0])
    found = {columns: (sketch.reads, sketch.writes) for (_, columns), sketch in book.take().items()}
    assert found == expected


@pytest.mark.parametrize(
    "sql", [b"DELETE FROM sbtest1", b"UPDATE sbtest1 SET k = NULL", b"DELETE FROM sbtest1 WHERE c IS NULL"]
)
def test_statements_without_any_value(sql: bytes) -> None:
    async def scene() -> list[int]:
        client, connection = fast_path.make(fast_path.RULES + "history: {file: history.sqlite}\n")
        for text, answer in ((b"SELECT c FROM sbtest1 WHERE id=5", ROWS), (sql, OK)):
            client.data_received(encode(b"\x03" + text, 0))
            assert connection.sink is not None, text
            connection.data_received(answer)
        sampler = client.listener.measures.keys
        assert sampler is not None
        return [event.kind for window in sampler.take()[0] for event in window.events]

    kinds = asyncio.run(scene())
    assert [bool(kind & BLIND) for kind in kinds] == [False, False, True]


class Busy(Idle):
    began = -1  # of no sample of statements, whatever its mask


def test_of_many_keys_the_same_are_told_by_executions_as_by_text() -> None:
    """Those of the keys that are sampled, however an execution has them."""
    text = b"SELECT b FROM t WHERE id = %d"
    told = []
    for way in ("text", "types", "known types", "a string beside it"):
        sampler = KeySampler(lambda: 10**12)
        sql = text % 1 if way == "text" else b"SELECT b FROM t WHERE id = ?"
        if way == "a string beside it":
            sql += b" AND b > ?"
        shape, literals = LEXER.shape(sql)
        tap = sampler.tap(parse(shape, literals, lexer=LEXER, prepared=way != "text", merged=()), shape, "shop")
        assert tap is not None
        sample = sampler._samples["shop.t", ("id",)]
        while sample.level < 4:
            sample._look_at_fewer()
        sample.mask = 3
        for number in range(400):
            if way == "text":
                literal = LEXER.shape(text % number)[1]
                if not sample.is_beyond(literal[tap.place]):
                    tap(cast(Any, Busy()), [b"%d" % number])
                continue
            value = number.to_bytes(8, "little")
            head = b"\x17\1\0\0\0\0\1\0\0\0\0"
            if way == "types":
                prepared, payload = Prepared([], 1), head + b"\1\x08\0" + value
            elif way == "known types":
                prepared, payload = Prepared([], 1, b"\x08\0"), head + b"\0" + value
            else:
                prepared, payload = Prepared([], 2), head + b"\1\x08\0\xfe\0" + value + b"\x02xy"
            tell_keys(cast(Any, Busy()), tap, cast(Any, prepared), payload)
        window = sampler.take()[0]
        told.append([(event.key, event.kind & WRITE) for each in window for event in each.events])
    assert 5 < len(told[0]) < 100
    assert told[1] == told[2]
    assert told[1] == told[3]
