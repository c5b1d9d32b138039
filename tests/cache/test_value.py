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
from proxy.cache.cached_value import CachedValue, memory_of
from proxy.cache.value import FORMAT, PREFIX, Family, RemoteKey, decode_item, encode_item, named, words_of

KEY = named(words_of((b"main", b"text", b"shop", b"SELECT * FROM users WHERE id=\0", b"1")))
VALUE = CachedValue(9, 77, 3 << 40 | 500, (1, 2, SLOTS - 1), b"\x01\0\0\x01\x01 the response", 3, 5)

part_lists = st.lists(st.binary(max_size=20), min_size=1, max_size=6)
keys = part_lists.map(words_of).map(named)
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
def test_what_was_encoded_is_decoded_but_for_what_is_this_process_s_alone(key: RemoteKey, value: CachedValue) -> None:
    found = decode_item(key, encode_item(key, value), created_ns=123)
    assert found is not None
    assert parts(found) == parts(value)
    assert (found.incarnation, found.created_ns) == (0, 123)


@given(keys, keys, values)
def test_an_item_of_another_key_is_no_value(one: RemoteKey, other: RemoteKey, value: CachedValue) -> None:
    """Also where both have the same hash."""
    if one.words != other.words:
        other = RemoteKey(other.words, one.name)
        assert decode_item(other, encode_item(one, value), 0) is None


@given(part_lists, part_lists)
def test_keys_differ_where_parts_do(one: list[bytes], other: list[bytes]) -> None:
    keys = named(words_of(one)), named(words_of(other))
    assert (keys[0].name == keys[1].name) == (keys[0].words == keys[1].words) == (one == other)
    assert words_of(one) + words_of(other) == words_of([*one, *other])


def test_parts_of_keys_do_not_run_into_each_other() -> None:
    parts = [(b"ab", b"c"), (b"a", b"bc"), (b"abc",), (b"ab", b"c", b""), (b"2:ab1:c",)]
    assert len({words_of(each) for each in parts}) == 5
    assert len({named(words_of(each)).name for each in parts}) == 5


@given(part_lists, part_lists, st.lists(st.sampled_from([b"1", b"12", b"2", b"a", b"1" * 90, b" ", b"'x'", b"\xe4"])))
def test_keys_of_a_family_are_keys_of_all_their_parts(
    first: list[bytes], other: list[bytes], last: list[bytes]
) -> None:
    key = Family(words_of(first)).key(tuple(last))
    assert key.words == words_of([*first, *last])
    assert key.name.startswith(PREFIX)
    assert len(key.name) <= 250 - len(b":lease")
    assert key.name.isascii()
    assert not any(c <= 32 for c in key.name)
    another = Family(words_of(other)).key(tuple(last))
    assert (another.name == key.name) == (other == first)
    longer = Family(words_of(first)).key((*last, b"1"))
    assert longer.name != key.name
    assert longer.name != key.name + b":lease"


def test_a_name_is_ours_and_short_enough_for_memcached() -> None:
    name = named(words_of([b"x" * 100_000])).name
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
        (KEY.words, 77, 500, [1], 3),
        (KEY.words, 77, 500, [1], 3, b"r", 0),
        (KEY.words, -1, 500, [1], 3, b"r"),
        (KEY.words, 77, -500, [1], 3, b"r"),
        (KEY.words, 77, 500, [SLOTS], 3, b"r"),
        (KEY.words, 77, 500, [-1], 3, b"r"),
        (KEY.words, 77, 500, ["1"], 3, b"r"),
        (KEY.words, 77, 500, [1], 3, b""),
        (KEY.words, 77, 500, [1], 3, "text"),
        (b"key", 77, 500, [1], 3, b"r"),
        ([KEY.words], 77, 500, [1], 3, b"r"),
        {"key": KEY.words},
    ],
)
def test_whole_items_that_are_not_what_they_should_be(fields: object) -> None:
    assert decode_item(KEY, body(KEY.words, 77, 500, [1], 3, b"r"), 0) is not None
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
