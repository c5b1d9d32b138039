from __future__ import annotations

import contextlib
import datetime
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import ProtocolError
from proxy.wire import binary, column
from proxy.wire.binary import (
    LONG_DATA,
    Integer,
    PrepareOk,
    decode_params,
    integer_at,
    parse_execute,
    rearranged,
    rebuild_execute,
    relayed_execute,
)
from proxy.wire.frames import FrameReader
from proxy.wire.lenenc import write_bytes
from proxy.wire.resultset import int_column, text_column

UNSIGNED = 0x80


def execute(
    types: list[tuple[int, int]], values: bytes, nulls: bytes | None = None, bound: bool = True, flags: int = 0
) -> bytes:
    bitmap = bytes((len(types) + 7) // 8) if nulls is None else nulls
    head = struct.pack("<BIBI", 0x17, 77, flags, 1)
    if not types:
        return head
    return head + bitmap + bytes([bound]) + (type_bytes(types) if bound else b"") + values


def type_bytes(types: list[tuple[int, int]]) -> bytes:
    return bytes(byte for pair in types for byte in pair)


@pytest.mark.parametrize(
    ("kind", "sign", "encoded", "value"),
    [
        (column.TINY, 0, b"\xff", -1),
        (column.TINY, UNSIGNED, b"\xff", 255),
        (column.SHORT, 0, b"\x00\x80", -32768),
        (column.YEAR, UNSIGNED, b"\xe8\x07", b"2024"),
        (column.LONG, 0, b"\xff\xff\xff\x7f", 2147483647),
        (column.INT24, 0, b"\xff\xff\xff\x00", b"16777215"),
        (column.LONGLONG, 0, b"\x00" * 7 + b"\x80", -(2**63)),
        (column.LONGLONG, UNSIGNED, b"\xff" * 8, 2**64 - 1),
        (column.FLOAT, 0, struct.pack("<f", 0.5), 0.5),
        (column.DOUBLE, 0, struct.pack("<d", 0.1), 0.1),
        (column.NULL, 0, b"", None),
        (column.NEWDECIMAL, 0, b"\x0412.5", b"12.5"),
        (column.VAR_STRING, 0, b"\x03\xff\x00a", b"\xff\x00a"),
        (column.LONG_BLOB, 0, write_bytes(b"x" * 70000), b"x" * 70000),
        (column.JSON, 0, b"\x02{}", b"{}"),
        (column.DATE, 0, b"\x04\xe8\x07\x02\x1d", b"2024-02-29"),
        (column.DATE, 0, b"\x00", b"0000-00-00"),
        (column.DATETIME, 0, b"\x00", b"0000-00-00 00:00:00"),
        (column.DATETIME, 0, b"\x04\xe8\x07\x02\x1d", b"2024-02-29 00:00:00"),
        (column.TIMESTAMP, 0, b"\x07\xe8\x07\x02\x1d\x17\x3b\x3a", b"2024-02-29 23:59:58"),
        (column.DATETIME, 0, b"\x0b\xe8\x07\x02\x1d\x17\x3b\x3a\x01\x00\x00\x00", b"2024-02-29 23:59:58.000001"),
        (column.TIME, 0, b"\x00", b"00:00:00"),
        (column.TIME, 0, b"\x08\x00\x00\x00\x00\x00\x01\x02\x03", b"01:02:03"),
        (column.TIME, 0, b"\x08\x01\x22\x00\x00\x00\x16\x3b\x3b", b"-838:59:59"),
        (column.TIME, 0, b"\x0c\x00\x00\x00\x00\x00\x01\x02\x03\x40\xe2\x01\x00", b"01:02:03.123456"),
    ],
)
def test_values(kind: int, sign: int, encoded: bytes, value: object) -> None:
    parsed = parse_execute(execute([(kind, sign)], encoded), 1, None)
    assert decode_params(parsed, set()) == [value]
    assert not encoded or len(encoded) > 60000 or truncations_refused(kind, sign, encoded)


def truncations_refused(kind: int, sign: int, encoded: bytes) -> bool:
    for end in range(len(encoded)):
        with pytest.raises(ProtocolError):
            decode_params(parse_execute(execute([(kind, sign)], encoded[:end]), 1, None), set())
    with pytest.raises(ProtocolError):
        decode_params(parse_execute(execute([(kind, sign)], encoded + b"\0"), 1, None), set())
    return True


@given(st.datetimes(min_value=datetime.datetime(1, 1, 1)))
def test_datetimes_are_their_own_text(moment: datetime.datetime) -> None:
    data = struct.pack("<HBBBBB", *moment.timetuple()[:6])
    if moment.microsecond:
        data += struct.pack("<I", moment.microsecond)
    parsed = parse_execute(execute([(column.DATETIME, 0)], bytes([len(data)]) + data), 1, None)
    assert decode_params(parsed, set()) == [moment.isoformat(" ").encode()]


@pytest.mark.parametrize(
    ("kind", "encoded"),
    [
        (column.DATE, b"\x05\xe8\x07\x02\x1d\x00"),
        (column.TIME, b"\x07" + bytes(7)),
        (column.DATETIME, b"\xff"),
        (13 + 128, b""),
        (17, b""),
        (column.VAR_STRING, b"\xfb"),
        (column.VAR_STRING, b"\xfe" + b"\xff" * 8),
    ],
)
def test_malformed_values_are_refused(kind: int, encoded: bytes) -> None:
    with pytest.raises(ProtocolError):
        decode_params(parse_execute(execute([(kind, 0)], encoded), 1, None), set())


def test_nulls_and_long_data_have_no_bytes() -> None:
    types = [(column.LONG, 0)] * 9
    payload = execute(types, b"\x01\x00\x00\x00", nulls=b"\xf7\x01")
    parsed = parse_execute(payload, 9, None)
    assert (parsed.statement_id, parsed.flags, parsed.iterations, parsed.new_params_bound) == (77, 0, 1, True)
    assert decode_params(parsed, set()) == [None] * 3 + [1] + [None] * 5
    assert decode_params(parsed, {0, 8}) == [LONG_DATA, None, None, 1, None, None, None, None, LONG_DATA]


def test_types_are_remembered_when_they_are_not_sent_again() -> None:
    types = [(column.TINY, 0), (column.VAR_STRING, 0)]
    payload = execute(types, b"\x05\x01a", bound=False)
    parsed = parse_execute(payload, 2, type_bytes(types))
    assert not parsed.new_params_bound
    assert decode_params(parsed, set()) == [5, b"a"]
    for known in (None, b"", type_bytes(types[:1])):
        with pytest.raises(ProtocolError) as raised:
            parse_execute(payload, 2, known)
        assert raised.value.errno == 1210


def test_an_execute_without_parameters() -> None:
    parsed = parse_execute(execute([], b""), 0, None)
    assert decode_params(parsed, set()) == []
    assert rebuild_execute(parse_execute(execute([], b"", flags=1), 0, None), 5) == b"\x17\x05\0\0\0\0\x01\0\0\0"


@pytest.mark.parametrize("bound", [False, True])
def test_an_execute_for_another_server(bound: bool) -> None:
    types = [(column.LONG, UNSIGNED), (column.VAR_STRING, 0), (column.DATE, 0)]
    values = b"\x07\x00\x00\x00" + b"\x03abc"
    parsed = parse_execute(execute(types, values, b"\x04", bound, flags=1), 3, type_bytes(types))
    rebuilt = rebuild_execute(parsed, 0x01020304)
    assert rebuilt == b"\x17\x04\x03\x02\x01\0\x01\0\0\0" + b"\x04\x01" + type_bytes(types) + values
    again = parse_execute(rebuilt, 3, None)
    assert (again.statement_id, again.flags) == (0x01020304, 0)
    assert decode_params(again, set()) == [7, b"abc", None]


@given(st.integers(0, 20), st.binary(max_size=120), st.sets(st.integers(0, 20)), st.none() | st.binary(max_size=40))
def test_garbage_is_read_or_refused(params: int, garbage: bytes, long_data: set[int], known: bytes | None) -> None:
    payload = b"\x17" + garbage
    with contextlib.suppress(ProtocolError):
        assert len(decode_params(parse_execute(payload, params, known), long_data)) == params
    with contextlib.suppress(ProtocolError):
        rebuild_execute(parse_execute(payload, params, known), 1)


@given(
    st.integers(0, 20),
    st.binary(min_size=5, max_size=120) | st.binary(max_size=30),
    st.none() | st.binary(max_size=40),
    st.booleans(),
)
def test_what_is_relayed_of_an_execute_is_what_it_is_rebuilt_as(
    params: int, garbage: bytes, known: bytes | None, suits: bool
) -> None:
    if suits:
        known = bytes(2 * params)
    payload = b"\x17" + garbage[:4] + b"\0" + garbage[5:]  # without a cursor

    def rebuilt() -> tuple[bytes, bytes]:
        parsed = parse_execute(payload, params, known)
        return rebuild_execute(parsed, 0x01020304), parsed.types

    def relayed() -> tuple[bytes, bytes]:
        rest, types = relayed_execute(payload, params, known)
        return b"\x17\x04\x03\x02\x01" + rest, types

    outcomes: list[object] = []
    for make in (rebuilt, relayed):
        try:
            outcomes.append(make())
        except ProtocolError as error:
            outcomes.append((error.errno, error.message))
    assert outcomes[0] == outcomes[1]


def test_an_execute_is_what_its_command_byte_says() -> None:
    with pytest.raises(ProtocolError):
        parse_execute(b"\x03select 1", 0, None)


def test_prepare_ok() -> None:
    encoded = b"\x00\x01\x00\x00\x00\x02\x00\x03\x00\x00\x04\x00"
    assert binary.parse_prepare_ok(encoded) == PrepareOk(1, 2, 3, 4)
    assert binary.encode_prepare_ok(PrepareOk(1, 2, 3, 4)) == encoded
    assert binary.parse_prepare_ok(encoded[:9]) == PrepareOk(1, 2, 3, 0)
    for end in [*range(9), 10, 11]:
        with pytest.raises(ProtocolError):
            binary.parse_prepare_ok(encoded[:end])
    with pytest.raises(ProtocolError):
        binary.parse_prepare_ok(b"\xff" + encoded[1:])


def test_long_data() -> None:
    assert binary.parse_long_data(b"\x18\x01\0\0\0\x02\0piece") == (1, 2, b"piece")
    for payload in (b"", b"\x17", b"\x18\x01\0\0\0\x02"):
        with pytest.raises(ProtocolError):
            binary.parse_long_data(payload)


def test_binary_rows_of_our_own() -> None:
    columns = [int_column("id"), text_column("name"), int_column("big")]
    rows = [[b"-2", b"ab", None], [None, None, b"18446744073709551615"]]
    payloads = [payload for payload, _ in FrameReader(10_000).feed(binary.encode_binary_resultset(columns, rows))]
    assert payloads[5] == b"\0\x10" + b"\xfe" + b"\xff" * 7 + b"\x02ab"
    assert payloads[6] == b"\0\x0c" + b"\xff" * 8
    nine = binary.encode_binary_resultset([text_column("x")] * 9, [[None] * 9])
    assert FrameReader(10_000).feed(nine)[11][0] == b"\0\xfc\x07"


@pytest.mark.parametrize(
    ("params", "long_data", "wanted", "expected", "was"),
    [
        ([5, b"x"], set(), [Integer(7), 0, 1], [7, 5, b"x"], [None, 0, 1]),
        ([5, b"x"], set(), [1, Integer(7), 1, 0, 0], [b"x", 7, b"x", 5, 5], [1, None, 1, 0, 0]),
        ([5, b"x", 6], set(), [0, Integer(7), 2, Integer(2**64 - 1)], [5, 7, 6, 2**64 - 1], [0, None, 2, None]),
        ([None, b"x"], set(), [1, 0, 0], [b"x", None, None], [1, 0, 0]),
        ([0, None, b"0", 1.5], set(), [3, 2, 1, 0], [1.5, b"0", None, 0], [3, 2, 1, 0]),
        ([LONG_DATA, 5], {0}, [Integer(7), 0, 1, 0], [7, LONG_DATA, 5, LONG_DATA], [None, 0, 1, 0]),
        ([LONG_DATA, 5], {0}, [1], [5], [1]),
        ([], set(), [Integer(7)], [7], [None]),
        ([5], set(), [], [], []),
        ([None] * 9, set(), [*range(8), Integer(7), 8], [None] * 8 + [7, None], [*range(8), None, 8]),
    ],
)  # fmt: skip
def test_parameters_in_another_order_and_integers_among_them(
    params: list[object],
    long_data: set[int],
    wanted: list[int | Integer],
    expected: list[object],
    was: list[int | None],
) -> None:
    payload = _execute_of(params, long_data)
    made, numbers = rearranged(parse_execute(payload, len(params), None), long_data, wanted)
    assert numbers == was
    now_long = {new for new, old in enumerate(numbers) if old in long_data and old is not None}
    again = parse_execute(made, len(expected), None)
    assert decode_params(again, now_long) == expected
    assert again.new_params_bound == bool(expected)


def _execute_of(params: list[object], long_data: set[int]) -> bytes:
    nulls, types, values = bytearray((len(params) + 7) // 8), b"", b""
    for index, value in enumerate(params):
        if index in long_data:
            types += bytes((column.BLOB, 0))
        elif value is None:
            nulls[index >> 3] |= 1 << (index & 7)
            types += bytes((column.NULL, 0))
        elif isinstance(value, int):
            types += bytes((column.LONG, 0))
            values += struct.pack("<i", value)
        elif isinstance(value, float):
            types += bytes((column.DOUBLE, 0))
            values += struct.pack("<d", value)
        else:
            assert isinstance(value, bytes)
            types += bytes((column.VAR_STRING, 0))
            values += write_bytes(value)
    bound = bytes(nulls) + b"\x01" + types if params else b""
    return struct.pack("<BIBI", 0x17, 1, 0, 1) + bound + values


_KINDS = st.sampled_from([column.TINY, column.SHORT, column.LONG, column.LONGLONG, column.YEAR, column.VAR_STRING])
_TYPES = st.lists(st.tuples(_KINDS, st.sampled_from([0, UNSIGNED])), max_size=10)


@given(_TYPES, st.binary(max_size=90), st.sampled_from([b"\0", b"\0", b"\1", b"\2"]), st.booleans())
def test_what_a_glance_tells_is_what_the_whole_says(
    types: list[tuple[int, int]], values: bytes, nulls: bytes, bound: bool
) -> None:
    bitmap = nulls + bytes(max(0, (len(types) + 7) // 8 - 1))
    payload, known = execute(types, values, bitmap, bound), type_bytes(types)
    told = [integer_at(payload, known, index) for index in range(len(types))]
    integers = [kind not in (column.YEAR, column.VAR_STRING) for kind, _ in types]
    if not any(bitmap) and len(types) <= 8 and len(values) >= 64:
        assert not any(each >= 0 and not all(integers[: index + 1]) for index, each in enumerate(told))
    for size in range(len(values) + 1):  # decoded from so many bytes as its values take
        with contextlib.suppress(ProtocolError):
            whole = decode_params(parse_execute(payload[: len(payload) - len(values) + size], len(types), known), set())
            for index, (glance, value) in enumerate(zip(told, whole)):
                plain = not any(bitmap) and len(types) <= 8 and all(integers[: index + 1])
                assert glance == (value if plain and isinstance(value, int) and 0 <= value < 1 << 63 else -1)
            break


def test_a_glance_at_what_is_cut_short_or_of_other_types_tells_nothing() -> None:
    types = [(column.LONGLONG, 0), (column.LONG, UNSIGNED)]
    known, values = type_bytes(types), b"\x05" + bytes(7) + b"\xff" * 4
    for payload in (execute(types, values), execute(types, values, bound=False)):
        assert [integer_at(payload, known, index) for index in range(2)] == [5, 2**32 - 1]
        for size in range(len(payload)):
            assert integer_at(payload[:size], known, 1) == -1
    payload = execute(types, values)
    assert integer_at(payload, None, 0) == -1
    assert integer_at(payload, type_bytes([(column.LONGLONG, 0), (column.LONG, 0)]), 0) == -1
