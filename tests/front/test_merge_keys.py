"""Keys of rows: in the order that the server gives the rows, for every collation that is modelled."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import StatementRefused
from proxy.front.merge_keys import KeyReader, descending, padded, space_weight, time_of
from proxy.plan.merge import MergeKey
from proxy.wire import column as wire
from proxy.wire.column import ColumnDefinition
from tests.front.test_merge import TEXTS, WIDE_TEXTS
from tests.servers import Run

UNITS = st.sampled_from([b"\x00\x20", b"\x00\x1f", b"\x00\x21", b"\x20\x00", b"\x41\x42"])


def _with_spaces(weights: bytes, length: int) -> bytes:
    return weights + b"\x00\x20" * length


@given(st.lists(UNITS, max_size=6).map(b"".join), st.lists(UNITS, max_size=6).map(b"".join))
def test_padded_weights_compare_as_if_spaces_followed(one: bytes, other: bytes) -> None:
    pad = padded(b"\x00\x20")
    longest = 12
    expected = [_with_spaces(each, longest - len(each) // 2) for each in (one, other)]
    assert (pad(one) < pad(other)) == (expected[0] < expected[1])
    assert (pad(one) == pad(other)) == (expected[0] == expected[1])


@given(st.binary(max_size=5), st.binary(max_size=5))
def test_descending_is_the_opposite(one: bytes, other: bytes) -> None:
    assert (descending(one) < descending(other)) == (one > other)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"00:00:00", 0),
        (b"-00:00:01", -1_000_000),
        (b"838:59:59.5", 3_020_399_500_000),
        (b"-10:00:00.25", -36_000_250_000),
    ],
)
def test_times(text: bytes, expected: int) -> None:
    assert time_of(text) == expected


def definition(
    kind: int, *, flags: int = 0, decimals: int = 0, length: int = 20, org_name: bytes = b""
) -> ColumnDefinition:
    return ColumnDefinition(b"def", b"", b"", b"", b"x", org_name, 63, length, kind, flags, decimals)


@pytest.mark.parametrize(
    ("column", "ascending"),
    [
        (definition(wire.LONGLONG), [None, b"-10", b"-9", b"0", b"18446744073709551615"]),
        (definition(wire.NEWDECIMAL, decimals=2), [None, b"-1.10", b"-1.09", b"0.00", b"10.00", b"9" * 60]),
        (definition(wire.DOUBLE, decimals=31), [None, b"-1e300", b"-0.1", b"0", b"1e-5", b"3"]),
        (definition(wire.TIME), [None, b"-100:00:00", b"-99:00:00", b"00:00:00", b"99:00:00", b"100:00:00"]),
        (definition(wire.DATETIME), [None, b"0000-00-00 00:00:00", b"2024-01-01 00:00:00"]),
        (definition(wire.BIT, org_name=b"x"), [None, b"\x00\x00", b"\x00\xff", b"\x01\x00"]),
    ],
)
def test_keys_of_values_in_order(column: ColumnDefinition, ascending: list[bytes | None]) -> None:
    for falls in (False, True):
        reader = KeyReader([MergeKey(0, descending=falls, label="x")], [column])
        keys = [reader.key([value]) for value in ascending]
        assert len(set(keys)) == len(keys)
        assert sorted(keys, reverse=falls) == keys


@pytest.mark.parametrize(
    "column",
    [
        definition(wire.FLOAT, decimals=31),
        definition(wire.DOUBLE, decimals=2),
        definition(wire.TIMESTAMP),
        definition(wire.STRING, flags=256),
        definition(wire.STRING, flags=2048),
        definition(wire.YEAR, length=2),
        definition(wire.GEOMETRY),
        definition(wire.BIT),  # an expression's: digits, or bits
    ],
)
def test_types_whose_values_do_not_tell_their_order_are_refused(column: ColumnDefinition) -> None:
    with pytest.raises(StatementRefused) as refused:
        KeyReader([MergeKey(0, 0, 0, label="x")], [column])
    assert refused.value.reason == "sort-result-type"


def test_strings_without_a_modelled_collation_or_with_too_long_weights_are_refused() -> None:
    text = definition(wire.VAR_STRING)
    for row, reason in (
        ([b"x", b"\x01", b"latin2_czech_cs"], "sort-collation"),
        ([b"x", b"\x01", b"utf8mb4_uca1400_as_cs"], "sort-collation"),
        ([b"x", None, b"utf8mb4_bin"], "sort-length"),
    ):
        reader = KeyReader([MergeKey(0, 1, 2, label="x")], [text, text, text])
        assert reader.key([None, None, None]) == b""
        with pytest.raises(StatementRefused) as refused:
            reader.key(row)
        assert refused.value.reason == reason


_ENCODINGS = {"utf8mb4": "utf-8", "utf8mb3": "utf-8", "latin1": "latin-1"}


@pytest.mark.servers
def test_every_modelled_collation_orders_as_the_server_does(run: Run) -> None:
    """Ranks are by the collation itself, keys by the weights that the server tells."""
    server = run.mariadb("collations")
    rng = random.Random(3)
    more = ["".join(rng.choice("aAb \t!~éñ-\x01") for _ in range(rng.randrange(6))) for _ in range(120)]
    listed = server.execute(
        "SELECT full_collation_name, character_set_name FROM information_schema.collation_character_set_applicability"
    )
    modelled = [(name, charset) for name, charset in listed if charset and space_weight(name) is not None]
    assert len(modelled) > 50
    connection = server.admin("mysql")
    with connection, connection.cursor() as cursor:
        cursor.execute("CREATE DATABASE words")
        cursor.execute("USE words")
        for collation, charset in modelled:
            encoding = _ENCODINGS.get(charset, "ascii")
            texts = [t for t in (*TEXTS, *WIDE_TEXTS, *more) if _fits(t, encoding, charset)]
            cursor.execute(
                f"CREATE OR REPLACE TABLE w (id INT AUTO_INCREMENT PRIMARY KEY, v VARCHAR(20) CHARACTER SET {charset} "
                f"COLLATE {collation})"
            )
            cursor.executemany("INSERT INTO w (v) VALUES (CONVERT(%s USING utf8mb4))", [(t,) for t in texts])
            cursor.execute("SELECT DENSE_RANK() OVER (ORDER BY v), WEIGHT_STRING(v) FROM w")
            space = space_weight(collation)
            pad = padded(space) if space else bytes
            found = sorted((pad(weights), rank) for rank, weights in cursor.fetchall())
            ranks = [rank for _, rank in found]
            assert ranks == sorted(ranks), collation
            classes = {}
            for key, rank in found:
                assert classes.setdefault(key, rank) == rank, collation
            assert len(classes) == len(set(ranks)), collation


def _fits(text: str, encoding: str, charset: str) -> bool:
    if charset == "utf8mb3" and any(ord(character) > 0xFFFF for character in text):
        return False
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True
