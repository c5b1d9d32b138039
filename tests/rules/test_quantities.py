"""Durations, sizes, addresses and slot ranges, as they are written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.rules import address, slots
from proxy.rules.model import Address
from proxy.rules.quantity import duration_s, duration_text, size_bytes, size_text


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("5s", 5.0),
        ("500ms", 0.5),
        ("2m", 120.0),
        ("1h", 3600.0),
        ("1.5h", 5400.0),
        ("3 s", 3.0),
        (7, 7.0),
        (0.25, 0.25),
        (0, 0.0),
    ],
)
def test_durations(written: object, seconds: float) -> None:
    assert duration_s(written) == seconds


@pytest.mark.parametrize(
    "written", ["", "5", "5 d", "s", "-5s", "1m30s", "5S", True, None, [], -1, -0.5, 1e300, float("inf")]
)
def test_what_is_no_duration(written: object) -> None:
    with pytest.raises(ValueError, match="must"):
        duration_s(written)


@pytest.mark.parametrize(
    ("written", "size"), [("64MB", 64 << 20), ("1kb", 1024), ("2 GB", 2 << 30), ("5B", 5), (1000, 1000), (0, 0)]
)
def test_sizes(written: object, size: int) -> None:
    assert size_bytes(written) == size


@pytest.mark.parametrize("written", ["", "64", "64M", "1.5MB", "-1MB", True, None, 1.5, -1])
def test_what_is_no_size(written: object) -> None:
    with pytest.raises(ValueError, match="must"):
        size_bytes(written)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.5, "500ms"), (0, "0s"), (1.5, "1.5s"), (90, "90s"), (120, "2m"), (7200, "2h")]
)
def test_durations_for_people(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


@pytest.mark.parametrize(
    ("size", "text"), [(64 << 20, "64MB"), (1 << 30, "1GB"), (1536, "1536 bytes"), (2048, "2KB"), (0, "0 bytes")]
)
def test_sizes_for_people(size: int, text: str) -> None:
    assert size_text(size) == text


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("127.0.0.1:3306", Address("127.0.0.1", 3306)),
        ("db-1.example.com.:1", Address("db-1.example.com.", 1)),
        ("my_db:65535", Address("my_db", 65535)),
        ("[::1]:3306", Address("::1", 3306)),
        ("/run/mysqld/mysqld.sock", Address(path="/run/mysqld/mysqld.sock")),
    ],
)
def test_addresses_can_be_written_back(written: str, expected: Address) -> None:
    assert address.parse(written) == expected
    assert str(expected) == written


@given(st.text(max_size=30))
def test_any_text_is_an_address_or_a_sentence(text: str) -> None:
    try:
        found = address.parse(text)
    except ValueError:
        return
    assert address.parse(str(found)) == found


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("localhost:1", "127.0.0.1:1", True),
        ("localhost:1", "[::1]:1", True),
        ("localhost:1", "localhost:2", False),
        ("Db.Example:1", "db.example.:1", True),
        ("[::1]:1", "[0:0::1]:1", True),
        ("127.0.0.2:1", "127.0.0.1:1", False),
        ("/a.sock", "/a.sock", True),
        ("/a.sock", "localhost:1", False),
    ],
)
def test_two_addresses_of_one_place(one: str, other: str, same: bool) -> None:
    assert (address.place(address.parse(one)) == address.place(address.parse(other))) is same


@pytest.mark.parametrize(
    ("listening", "server", "covered"),
    [
        ("0.0.0.0:1", "127.0.0.1:1", True),
        ("[::]:1", "localhost:1", True),
        ("[0:0::0]:1", "localhost:1", True),
        ("0.0.0.0:1", "10.0.0.1:1", False),
        ("0.0.0.0:1", "127.0.0.1:2", False),
        ("127.0.0.1:1", "localhost:1", True),
        ("10.0.0.1:1", "127.0.0.1:1", False),
        ("/a", "/a", True),
        ("/a", "/b", False),
        ("/a", "localhost:1", False),
    ],
)
def test_a_listener_in_the_way_of_a_server(listening: str, server: str, covered: bool) -> None:
    assert address.covers(address.parse(listening), address.parse(server)) is covered


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("0-2047", ((0, 2047),)),
        ("5", ((5, 5),)),
        (5, ((5, 5),)),
        ("0 - 1, 7", ((0, 1), (7, 7))),
        (["0-1", 3, "5,7"], ((0, 1), (3, 3), (5, 5), (7, 7))),
    ],
)
def test_slot_ranges(written: object, expected: slots.Ranges) -> None:
    assert slots.parse(written) == expected


@given(st.sets(st.integers(0, 4095), min_size=1))
def test_slots_can_be_written_and_read(some: set[int]) -> None:
    read = slots.parse(slots.text(sorted(some)))
    assert {slot for first, last in read for slot in range(first, last + 1)} == some
    assert sum(last - first + 1 for first, last in read) == len(some)
