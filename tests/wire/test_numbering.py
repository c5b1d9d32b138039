"""Towards a server that compresses: commands begin compressed packets, and its frames are numbered anew."""

from __future__ import annotations

import pytest

from proxy.wire.compression import CompressedReader
from proxy.wire.frames import MAX_PAYLOAD, encode
from proxy.wire.numbering import CommandWriter, NumberedScanner
from proxy.wire.packets import encode_eof, encode_err, encode_ok
from proxy.wire.response import FIELDS, QUERY
from proxy.wire.status import MORE_RESULTS


def sent(data: bytes) -> list[tuple[int, bytes]]:
    """The compressed packets in `data`: number and content."""
    reader = CompressedReader()
    reader.append(data)
    found: list[tuple[int, bytes]] = []
    while (part := reader.read(1 << 30)) is not None:
        found.append((reader.sequence, part))
    return found


def numbers(frames: bytes) -> list[int]:
    found = []
    while frames:
        found.append(frames[3])
        frames = frames[4 + int.from_bytes(frames[:3], "little") :]
    return found


def resultset(rows: int, start: int, status: int = 2) -> bytes:
    """One column; its frames are numbered from `start`."""
    payloads = [b"\x01", b"\x03def" + bytes(20), encode_eof(0, status), *[b"\x01r"] * rows, encode_eof(0, status)]
    return b"".join(encode(payload, start + place) for place, payload in enumerate(payloads))


SET, BEGIN, SELECT = (encode(b"\x03" + text, 0) for text in (b"SET x = 1", b"BEGIN", b"SELECT '" + b"a" * 100 + b"'"))


def test_every_command_begins_a_compressed_packet() -> None:
    writer = CommandWriter(NumberedScanner())
    assert sent(writer.write(SET + BEGIN + SELECT)) == [(0, SET), (0, BEGIN), (0, SELECT)]
    assert sent(writer.write(SET)) == [(0, SET)]


@pytest.mark.parametrize("step", [1, 2, 3, 5, 7, 11])
def test_commands_that_are_written_in_pieces(step: int) -> None:
    writer = CommandWriter(NumberedScanner())
    stream = SET + SELECT + BEGIN
    pieces: list[tuple[int, bytes]] = []
    for start in range(0, len(stream), step):
        pieces += sent(writer.write(stream[start : start + step]))
    assert b"".join(part for _, part in pieces) == stream
    beginnings = [part for number, part in pieces if number == 0]
    assert [part[:4] for part in beginnings] == [command[:4] for command in (SET, SELECT, BEGIN)]


def test_a_long_command_goes_on_in_further_packets() -> None:
    scanner = NumberedScanner()
    writer = CommandWriter(scanner)
    command = encode(b"\x03" + bytes(MAX_PAYLOAD), 0)
    packets = sent(writer.write(SET + command))
    assert [number for number, _ in packets] == [0, 0, 1]
    assert b"".join(part for _, part in packets[1:]) == command
    assert scanner.first == 2  # the client has sent two frames


def test_a_file_goes_on_where_the_server_stopped() -> None:
    """LOCAL INFILE: the server asks in its packet 1; the file's frames may come to number 0 again."""
    scanner = NumberedScanner()
    writer = CommandWriter(scanner)
    writer.write(SET)
    writer.sequence = 2
    file = b"".join(encode(b"line", number & 0xFF) for number in range(2, 258)) + encode(b"", 2)
    assert [number for number, _ in sent(writer.write(file))] == [2]
    assert scanner.first == 3
    assert [number for number, _ in sent(writer.write(SET))] == [0]


def test_a_file_that_ends_at_255_and_a_command() -> None:
    writer = CommandWriter(NumberedScanner())
    writer.sequence = 9
    writer.write(encode(b"line", 254) + encode(b"", 255))
    assert [number for number, _ in sent(writer.write(SET))] == [0]


def followed(scanner: NumberedScanner, data: bytes, step: int) -> list[bytes]:
    """The responses in `data`, as the client gets them."""
    responses: list[list[bytes]] = [[]]
    for start in range(0, len(data), step):
        chunk, pos = data[start : start + step], 0
        while pos < len(chunk):
            end = scanner.feed(chunk, pos, responses[-1])
            if end < 0:
                break
            pos = end
            responses.append([])
            scanner.begin(QUERY)
    return [b"".join(parts) for parts in responses if parts]


@pytest.mark.parametrize("step", [1, 2, 3, 4, 5, 9, 50, 10_000])
def test_frames_are_numbered_in_turn(step: int) -> None:
    """The second result of a response goes on with the number of compressed packets, as `net_flush` makes it."""
    response = resultset(300, 1, 2 | MORE_RESULTS) + resultset(3, 2, 2 | MORE_RESULTS) + encode(encode_ok(7), 3)
    scanner = NumberedScanner()
    (got,) = followed(scanner, response, step)
    assert numbers(got) == [number & 0xFF for number in range(1, 1 + 304 + 7 + 1)]
    assert len(got) == len(response)


def test_each_response_begins_anew() -> None:
    scanner = NumberedScanner()
    stream = encode(encode_ok(1), 1) + resultset(1, 1) + encode(encode_err(1064, "42000", "no"), 1)
    assert [numbers(got) for got in followed(scanner, stream, 10_000)] == [[1], [1, 2, 3, 4, 5], [1]]


def test_the_response_to_a_long_command_begins_with_its_number() -> None:
    scanner = NumberedScanner()
    scanner.begin(FIELDS)  # the command is announced before it is written
    CommandWriter(scanner).write(encode(b"\x04" + bytes(MAX_PAYLOAD * 2), 0))
    (got,) = followed(scanner, encode(encode_err(1, "HY000", "x"), 9), 10_000)
    assert numbers(got) == [3]
