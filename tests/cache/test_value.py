"""Values as items of memcached: what comes back is what was sent under that very key, or nothing."""

from __future__ import annotations

import zlib
from unittest import mock

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.back.tags import SLOTS
from proxy.cache import value as module
from proxy.cache.value import FORMAT, PREFIX, CachedValue, decode_item, encode_item, item_name, memory_of

KEY = (b"main", b"text", b"shop", b"SELECT * FROM users WHERE id=\0", b"1")
VALUE = CachedValue(9, 77, 3 << 40 | 500, (1, 2, SLOTS - 1), b"\x01\0\0\x01\x01 the response", 3, 5)

keys = st.lists(st.binary(max_size=20), min_size=1, max_size=6).map(tuple)
values = st.builds(
    CachedValue,
    st.integers(0, 2**64 - 1),
    st.integers(0, 2**64 - 1),
    st.integers(0, 2**63),
    st.lists(st.integers(0, SLOTS - 1), max_size=9).map(tuple),
    st.binary(min_size=1, max_size=2000),
    st.integers(0, 2**32),
    st.integers(0, 2**62),
)


def parts(value: CachedValue) -> tuple[object, ...]:
    return value.log_id, value.position, value.slots, value.response, value.rows


@given(keys, values)
def test_what_was_encoded_is_decoded_but_for_what_is_this_process_s_alone(
    key: tuple[bytes, ...], value: CachedValue
) -> None:
    found = decode_item(key, encode_item(key, value), created_ns=123)
    assert found is not None
    assert parts(found) == parts(value)
    assert (found.incarnation, found.created_ns) == (0, 123)


@given(keys, keys, values)
def test_an_item_of_another_key_is_no_value(
    one: tuple[bytes, ...], other: tuple[bytes, ...], value: CachedValue
) -> None:
    """Also where both have the same hash."""
    if one != other:
        assert decode_item(other, encode_item(one, value), 0) is None


@given(keys, keys)
def test_names_differ_where_keys_do(one: tuple[bytes, ...], other: tuple[bytes, ...]) -> None:
    assert (item_name(one) == item_name(other)) == (one == other)


def test_parts_of_keys_do_not_run_into_each_other() -> None:
    assert (
        len({item_name(key) for key in [(b"ab", b"c"), (b"a", b"bc"), (b"abc",), (b"ab", b"c", b""), (b"2:ab1:c",)]})
        == 5
    )


def test_a_name_is_ours_and_short_enough_for_memcached() -> None:
    name = item_name((b"x" * 100_000,))
    assert name.startswith(PREFIX)
    assert PREFIX == b"turnout:%d:" % FORMAT
    assert len(name) <= 250
    assert name.isascii()
    assert not any(c <= 32 for c in name)


@given(st.binary(max_size=200))
def test_garbage_is_no_value(data: bytes) -> None:
    assert decode_item(KEY, data, 0) is None


def test_a_damaged_item_is_no_value() -> None:
    data = encode_item(KEY, VALUE)
    for at in range(len(data)):
        for changed in (data[:at], data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :], data[:at] + data[at + 1 :]):
            assert decode_item(KEY, changed, 0) is None
    assert decode_item(KEY, data + b"x", 0) is None


def body(*fields: object) -> bytes:
    packed = msgspec.msgpack.encode(fields)
    return b"TRN" + bytes((FORMAT,)) + zlib.crc32(packed).to_bytes(4, "little") + packed


@pytest.mark.parametrize(
    "fields",
    [
        (),
        (list(KEY), 77, 500, [1], 3),
        (list(KEY), 77, 500, [1], 3, b"r", 0),
        (list(KEY), -1, 500, [1], 3, b"r"),
        (list(KEY), 77, -500, [1], 3, b"r"),
        (list(KEY), 77, 500, [SLOTS], 3, b"r"),
        (list(KEY), 77, 500, [-1], 3, b"r"),
        (list(KEY), 77, 500, ["1"], 3, b"r"),
        (list(KEY), 77, 500, [1], 3, b""),
        (list(KEY), 77, 500, [1], 3, "text"),
        (b"key", 77, 500, [1], 3, b"r"),
        {"key": list(KEY)},
    ],
)
def test_whole_items_that_are_not_what_they_should_be(fields: object) -> None:
    assert decode_item(KEY, body(list(KEY), 77, 500, [1], 3, b"r"), 0) is not None
    packed = msgspec.msgpack.encode(fields)
    data = b"TRN" + bytes((FORMAT,)) + zlib.crc32(packed).to_bytes(4, "little") + packed
    assert decode_item(KEY, data, 0) is None


def test_an_item_of_another_version_of_the_format_is_no_value() -> None:
    data = encode_item(KEY, VALUE)
    with mock.patch.object(module, "_MAGIC", b"TRN" + bytes((FORMAT + 1,))):
        assert decode_item(KEY, data, 0) is None
        newer = encode_item(KEY, VALUE)
    assert decode_item(KEY, newer, 0) is None


def test_the_memory_of_a_value_counts_the_response_and_more() -> None:
    small = memory_of(0, (), (b"1",))
    assert small > 100
    assert memory_of(1000, (), (b"1",)) == small + 1000
    assert memory_of(0, (1, 2), (b"1",)) > small
    assert memory_of(0, (), (b"1" * 50,)) == small + 49
    assert memory_of(0, (), (b"1", b"2" * 50)) > small + 50
    assert memory_of(0, (), ()) < small
