"""Feeds mutated dialogues to everything that reads what a peer sent.

    python -m tests.wire.fuzz_wire --seconds 30 [--seed N] [--input K]

Dialogues are valid ones, changed where it hurts: lengths, sequence ids, capability flags, ends, whole frames. For every
input: nothing is raised but ProtocolError, what is held before login stays within 64 KB, an accepted client has proven
the password, cutting the bytes elsewhere changes nothing, and it takes less than a second of processor time. Inputs
depend on seed and number only, so `--seed N --input K` plays one again.
"""

from __future__ import annotations

import contextlib
import logging
import random
import sys
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

from cryptography.hazmat.primitives.asymmetric import rsa

from proxy.errors import ProtocolError
from proxy.stream import values
from proxy.stream.definition import NotReadable, definition
from proxy.stream.rows import Layout
from proxy.wire import auth, binary, column, frames, packets, proxy_header
from proxy.wire import capability as cap
from proxy.wire.compression import CompressedReader, compressed
from proxy.wire.edited import EditedResponse
from proxy.wire.file_packets import FilePackets, file_packets
from proxy.wire.frames import FrameReader
from proxy.wire.handshake import (
    CACHING_SHA2,
    NATIVE,
    AuthMoreData,
    AuthSwitch,
    ChangeUser,
    Greeting,
    parse_change_user,
    parse_response,
)
from proxy.wire.lenenc import read_bytes, read_int
from proxy.wire.login import (
    MAX_HELD,
    Accepted,
    ClientLogin,
    Closed,
    LoggedIn,
    LoginFailed,
    Rejected,
    Secret,
    SendBytes,
    ServerLogin,
    StartTls,
)
from proxy.wire.numbering import CommandWriter, NumberedScanner
from proxy.wire.response import ResponseScanner
from proxy.wire.resultset import ResultsetReader, encode_resultset, int_column, parse_row, text_column
from proxy.wire.session_state import parse_session_state
from tests.fuzz import campaign
from tests.fuzz.campaign import Campaign, Finding, Totals
from tests.stream import log, tracked
from tests.stream.tracked import mapped, order
from tests.wire.dialogue import ACCOUNTS, GREETING, OFFERED, PASSWORD, SCRAMBLE, SWITCHED, client_login, response

MAX_CPU_S = 1.0  # for one input

Stream = list[bytes]  # whole frames, as the peer would send them
Target = Callable[[random.Random], str]


COLUMN_TYPES = [
    *("tinyint", "int unsigned", "bigint", "float", "double", "decimal(10,4)", "decimal(65,30)", "bit(17)", "year"),
    *("date", "time", "time(3)", "time(6)", "datetime", "datetime(6)", "timestamp", "timestamp(1)", "enum('a','b')"),
    *("set('a','b')", "char(3)", "varchar(9)", "binary(3)", "text", "blob", "json", "point", "uuid", "inet6", "inet4"),
]


# -- valid dialogues --------------------------------------------------------------------------------------------------


@cache
def rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


@cache
def client_dialogues() -> list[Stream]:
    """What clients send to log in, from sequence id 1."""
    tls = replace(response("app"), capabilities=OFFERED | cap.SSL)
    full = response(
        "app",
        database=b"shop",
        capabilities=OFFERED,
        attributes={b"_client_name": b"libmysql", b"program_name": b"x" * 300},
    )
    encrypted = auth.rsa_encrypt(PASSWORD, SCRAMBLE, auth.public_key_pem(rsa_key()))
    payloads = [
        [response("app").encode()],
        [full.encode()],
        [response("app", CACHING_SHA2).encode()],
        [response("hashed").encode(), b"\x03select 1"],
        [response("sha2").encode(), auth.sha2_response(PASSWORD, SWITCHED)],
        [response("native", CACHING_SHA2).encode(), auth.native_response(PASSWORD, SWITCHED)],
        [response("crypted", CACHING_SHA2).encode(), PASSWORD + b"\0"],
        [response("crypted", CACHING_SHA2).encode(), b"\x02", encrypted],
        [response("app", CACHING_SHA2, b"wrong").encode(), PASSWORD + b"\0"],
        [response("app", CACHING_SHA2, b"wrong").encode(), b"\x02", encrypted],
        [response("sha2").encode(), auth.sha2_response(PASSWORD, SWITCHED + b"\0"), PASSWORD + b"\0"],
        [response("nobody", CACHING_SHA2).encode(), PASSWORD + b"\0"],
        [response("open", password=b"").encode()],
        [response("nobody").encode()],
        [replace(response("app"), capabilities=cap.PROTOCOL_41 | cap.SECURE_CONNECTION).encode()],
        [tls.encode()[:32], tls.encode()],
    ]
    return [[frames.encode(payload, 2 * i + 1) for i, payload in enumerate(dialogue)] for dialogue in payloads]


@cache
def wrong_dialogues() -> list[Stream]:
    """What clients send that know no password, by every way to prove one."""
    wrong = b"wrong"
    encrypted = auth.rsa_encrypt(wrong, SWITCHED, auth.public_key_pem(rsa_key()))
    payloads = []
    for user in [*ACCOUNTS, "nobody"]:
        sha2 = auth.sha2_response(wrong, SWITCHED)
        for plugin in (NATIVE, CACHING_SHA2):
            first = response(user, plugin, wrong).encode()
            payloads.append([first, auth.native_response(wrong, SWITCHED)])
            payloads.append([first, sha2, wrong + b"\0"])
            payloads.append([first, sha2, b"\x02", encrypted])
            payloads.append([first, wrong + b"\0"])
    return [[frames.encode(payload, 2 * i + 1) for i, payload in enumerate(dialogue)] for dialogue in payloads]


@cache
def server_dialogues() -> list[Stream]:
    """What servers send to somebody who logs in, from sequence id 0."""
    ok = packets.encode_ok()
    greeting = replace(GREETING, plugin=NATIVE, capabilities=OFFERED | cap.SESSION_TRACK | cap.SSL)
    native, sha2 = greeting.encode(), replace(greeting, plugin=CACHING_SHA2).encode()
    public = AuthMoreData(auth.public_key_pem(rsa_key())).encode()
    payloads = [
        [native, ok],
        [native, b"\0\0\0\2\x40\0\0\0\x1b\0\x0f\nautocommit\3OFF\1\6\5mysql\2\1\x31"],
        [sha2, b"\x01\x03"],
        [sha2, b"\x01\x04", ok],
        [sha2, b"\x01\x04", public, ok],
        [native, AuthSwitch(CACHING_SHA2, SWITCHED).encode(), ok],
        [sha2, AuthSwitch(NATIVE, SWITCHED).encode(), ok],
        [native, AuthSwitch("client_ed25519", SWITCHED).encode()],
        [native, packets.encode_err(1045, "28000", "Access denied")],
        [b"\xff\x10\x04Too many connections"],
    ]
    return [[frames.encode(payload, 2 * i) for i, payload in enumerate(dialogue)] for dialogue in payloads]


@cache
def results() -> list[Stream]:
    rows: list[list[bytes | None]] = [[b"1", None], [b"2", b"x" * 300], [None, b""]]
    data = encode_resultset([int_column("id"), text_column("name")], rows)
    select = [frames.encode(payload, sequence) for payload, sequence in FrameReader(1 << 20).feed(data)]
    ok = packets.encode_ok(1, 2, 0x0A, 3, b"Rows matched: 1")
    return [select, [frames.encode(ok, 1), *select], [frames.encode(packets.encode_err(1064, "42000", "no"), 1)]]


EXECUTES = [
    b"\x17\x01\0\0\0\0\x01\0\0\0"
    + b"\x02\x00\x01"
    + bytes([3, 0, 3, 0, 253, 0, 8, 128, 12, 0, 11, 0, 10, 0, 5, 0, 246, 0])
    + b"\x2a\0\0\0\x03abc"
    + b"\xff" * 8
    + b"\x0b\xe8\x07\x02\x1d\x17\x3b\x3a\x01\0\0\0"
    + b"\x0c\x01\x22\0\0\0\x16\x3b\x3b\x01\0\0\0"
    + b"\x04\xe8\x07\x02\x1d"
    + b"\0" * 8
    + b"\x0412.5",
    b"\x17\x01\0\0\0\x01\x01\0\0\0\x00\x00",
    b"\x17\x01\0\0\0\0\x01\0\0\0",
]
PAYLOADS = [
    *EXECUTES,
    b"\x18\x01\0\0\0\x02\0piece",
    b"\0\1\0\0\0\2\0\3\0\0\4\0",
    b"\0\x0f\nautocommit\3OFF\1\6\5mysql\2\1\x31\3\7\0\5uuid1\4\6\5START\5\t\x08T_______",
    column.encode_column(text_column("name")),
    b"\0\2\0\x21\x40\0\0\x28Rows matched: 2  Changed: 2  Warnings: 0\x0b\5\t\x08I___W___",
    packets.encode_err(1064, "42000", "You have an error"),
    packets.encode_eof(1, 2),
    GREETING.encode(),
    response("app").encode(),
    ChangeUser(b"app", b"x" * 20, b"db", 45, NATIVE, {b"a": b"b"}).encode(OFFERED | cap.CONNECT_ATTRS),
    AuthSwitch(CACHING_SHA2, SWITCHED).encode(),
]

PARSERS: list[Callable[[bytes], object]] = [
    lambda data: packets.parse_ok(data, True),
    lambda data: packets.parse_ok(data, False),
    packets.parse_err,
    packets.parse_eof,
    parse_session_state,
    column.parse_column,
    lambda data: parse_row(data, 3),
    Greeting.parse,
    parse_response,
    lambda data: parse_change_user(data, OFFERED | cap.CONNECT_ATTRS),
    lambda data: parse_change_user(data, 0),
    AuthSwitch.parse,
    AuthMoreData.parse,
    binary.parse_prepare_ok,
    binary.parse_long_data,
    lambda data: read_int(data, 0),
    lambda data: read_bytes(data, 0),
]


# -- mutations --------------------------------------------------------------------------------------------------------

LENGTHS = [
    b"\xfa",
    b"\xfb",
    b"\xfc\xff\xff",
    b"\xfd\xff\xff\xff",
    b"\xfe" + b"\xff" * 8,
    b"\xfe" + b"\xff" * 7 + b"\x7f",
    b"\xff",
    b"\xfc\0\0",
]


def mutate(data: bytes, rng: random.Random) -> bytes:
    """One change to a payload (or any bytes)."""
    at = rng.randrange(len(data) + 1)
    kind = rng.randrange(9)
    if kind == 0:
        return data[:at]
    if kind == 1:
        return data[:at] + bytes([rng.randrange(256)]) + data[at + 1 :]
    if kind == 2:
        return data[:at] + rng.choice(LENGTHS) + data[at + 1 :]
    if kind == 3:
        return data[:at] + rng.randbytes(rng.randrange(1, 40)) + data[at:]
    if kind == 4:
        return data[:at] + data[at + rng.randrange(1, 20) :]
    if kind == 5:
        return data.replace(b"\0", b"", rng.randrange(1, 4))
    if kind == 6 and len(data) >= 4:  # capability flags of a response, or whatever stands there
        flags = int.from_bytes(data[:4], "little") ^ (1 << rng.randrange(32))
        return flags.to_bytes(4, "little") + data[4:]
    if kind == 7:
        return data + rng.choice(PAYLOADS)
    return data[:at] + bytes([0, rng.randrange(256)][rng.randrange(2) :]) * rng.choice((1, 30, 70_000)) + data[at:]


def mutate_stream(stream: Stream, rng: random.Random) -> bytes:
    """Some changes to a dialogue: in payloads with the lengths kept right, in headers, in the order of frames."""
    changed = list(stream)
    for _ in range(rng.choice((0, 1, 1, 1, 2, 4))):
        at = rng.randrange(len(changed))
        frame = changed[at]
        kind = rng.randrange(8)
        if kind < 4:
            changed[at] = frames.encode(mutate(frame[4:], rng), frame[3] if len(frame) > 3 else 0)
        elif kind == 4:
            changed[at] = frame[:3] + bytes([rng.randrange(256)]) + frame[4:]
        elif kind == 5:
            length = rng.choice((0, 1, 0xFFFF, 0x10000, 0xFFFFFF, len(frame), max(len(frame) - 5, 0)))
            changed[at] = length.to_bytes(3, "little") + frame[3:]
        elif kind == 6:
            changed.insert(at, rng.choice(changed))
        else:
            changed[at] = mutate(frame, rng)
    return b"".join(changed)


def cut(data: bytes, rng: random.Random) -> Stream:
    kind = rng.randrange(4)
    if kind == 0 or len(data) > 5000:
        return [data]
    if kind == 1:
        return [data[i : i + 1] for i in range(len(data))]
    cuts = sorted(rng.randrange(len(data) + 1) for _ in range(rng.randrange(1, 6)))
    return [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]


# -- targets ----------------------------------------------------------------------------------------------------------


def fuzz_frames(rng: random.Random) -> str:
    data = mutate_stream(rng.choice([*client_dialogues(), *server_dialogues(), *results()]), rng)
    limit = rng.choice((0, 1, 100, 65_536, 1 << 24))

    def read(parts: Stream) -> tuple[list[tuple[bytes, int]], int]:
        reader = FrameReader(limit)
        got = []
        try:
            for part in parts:
                reader.append(part)
                while (packet := reader.next_payload()) is not None:
                    got.append(packet)
                if reader.pending > len(data):
                    raise Finding(f"{reader.pending} bytes held of {len(data)} received")
        except ProtocolError as error:
            return got, error.errno
        return got, 0

    if read([data]) != read(cut(data, rng)):
        raise Finding(f"cut otherwise, {data[:200]!r} reads otherwise")
    with contextlib.suppress(ProtocolError):
        reader = FrameReader(limit)
        for part in cut(data, rng):
            reader.feed(part)
    return "frames"


def play_client(login: ClientLogin, parts: Stream) -> list[object]:
    """The events of a login; TLS is passed through."""
    events: list[object] = []
    todo = list(reversed(parts))
    while todo:
        for event in login.receive(todo.pop()):
            if isinstance(event, StartTls):
                login.tls_started()
                if event.leftover:
                    todo.append(event.leftover)
                events.append(StartTls(b""))
            elif isinstance(event, Accepted):
                check_proof(event)
                events.append(replace(event, leftover=b""))
            elif not isinstance(event, Closed):
                events.append(event)
        if login.pending > MAX_HELD:
            raise Finding(f"{login.pending} bytes held before login")
    if sum(isinstance(event, Accepted | Rejected) for event in events) > 1:
        raise Finding("a login that ends twice")
    return events


def check_proof(event: Accepted) -> None:
    account = ACCOUNTS.get(event.user)
    if account != event.account:
        raise Finding(f"{event.user!r} accepted as {event.account!r}")
    expected = Secret.of_password(b"" if event.user == "open" else PASSWORD)
    for known, right in (
        (event.secret.password, expected.password),
        (event.secret.native_stage1, expected.native_stage1),
        (event.secret.sha2_stage1, expected.sha2_stage1),
    ):
        if known not in (None, right):
            raise Finding(f"{event.user!r} accepted with {event.secret!r}")


def fuzz_client_login(rng: random.Random) -> str:
    data = mutate_stream(rng.choice(client_dialogues()), rng)
    greeting = replace(GREETING, plugin=rng.choice((NATIVE, CACHING_SHA2)))
    tls, secure, key = rng.random() < 0.5, rng.random() < 0.5, rng.choice((None, rsa_key()))
    required = rng.random() < 0.1

    def login() -> ClientLogin:
        made = client_login(greeting, tls_available=tls, tls_required=required, secure=secure, rsa_key=key)
        made.start()
        return made

    whole, parts = [data], cut(data, rng)
    if len(data) <= MAX_HELD and play_client(login(), whole) != play_client(login(), parts):
        raise Finding(f"cut otherwise, {data[:300]!r} logs in otherwise")
    play_client(login(), parts)
    return "client login"


def fuzz_wrong_passwords(rng: random.Random) -> str:
    data = mutate_stream(rng.choice(wrong_dialogues()), rng)
    login = client_login(
        replace(GREETING, plugin=rng.choice((NATIVE, CACHING_SHA2))), secure=rng.random() < 0.5, rsa_key=rsa_key()
    )
    login.start()
    for event in play_client(login, cut(data, rng)):
        # Only the account without a password lets it in; mutations may also paste a whole right response.
        known = isinstance(event, Accepted) and event.user != "open"
        if known and auth.native_response(PASSWORD, SCRAMBLE) not in data:
            raise Finding(f"{data[:300]!r} is accepted without the password")
    return "wrong passwords"


def fuzz_change_user(rng: random.Random) -> str:
    capabilities = rng.choice((OFFERED, OFFERED | cap.CONNECT_ATTRS, cap.PROTOCOL_41 | cap.SECURE_CONNECTION, 0))
    plugin = rng.choice((NATIVE, CACHING_SHA2))
    respond = auth.native_response if plugin == NATIVE else auth.sha2_response
    proof = respond(PASSWORD, rng.choice((SCRAMBLE, SWITCHED)))
    user = rng.choice([*ACCOUNTS, "nobody"]).encode()
    payload = ChangeUser(user, proof, b"shop", 45, plugin, {b"a": b"b"}).encode(capabilities)
    if rng.random() < 0.8:
        payload = mutate(payload, rng)
    login = client_login(secure=rng.random() < 0.5, rsa_key=rng.choice((None, rsa_key())))
    for event in login.start_change_user(payload, capabilities):
        if isinstance(event, Accepted):
            check_proof(event)
    proof = respond(PASSWORD, rng.choice((SWITCHED, SWITCHED + b"\0")))
    replies = [frames.encode(proof, 2), frames.encode(PASSWORD + b"\0", 4)]
    play_client(login, cut(mutate_stream(replies, rng), rng))
    return "change user"


def fuzz_server_login(rng: random.Random) -> str:
    data = mutate_stream(rng.choice(server_dialogues()), rng)
    secret = rng.choice(
        (Secret(PASSWORD), Secret(native_stage1=bytes(20)), Secret(sha2_stage1=bytes(32)), Secret(b""), Secret())
    )
    tls, secure = rng.random() < 0.3, rng.random() < 0.5

    def play(parts: Stream) -> list[object]:
        login = ServerLogin("app", secret, "shop", OFFERED, 45, tls=tls, attributes={b"a": b"b"}, secure=secure)
        events: list[object] = []
        for part in parts:
            for event in login.receive(part):
                if isinstance(event, StartTls):
                    events += login.tls_started()
                elif isinstance(event, LoggedIn):
                    events.append(replace(event, leftover=b""))
                elif not isinstance(event, Closed):
                    events.append(event)
            if login.pending > MAX_HELD:
                raise Finding(f"{login.pending} bytes held before login")
        if sum(isinstance(event, LoggedIn | LoginFailed) for event in events) > 1:
            raise Finding("a login that ends twice")
        # What is encrypted for the server differs each time.
        return [len(event.data) if isinstance(event, SendBytes) else event for event in events]

    parts = cut(data, rng)
    result = play(parts)
    # With TLS the greeting must come alone, so how it is cut matters there.
    if not tls and len(data) <= MAX_HELD and play([data]) != result:
        raise Finding(f"cut otherwise, {data[:300]!r} logs in otherwise")
    return "server login"


def fuzz_parsers(rng: random.Random) -> str:
    payload = rng.choice(PAYLOADS)
    for _ in range(rng.randrange(1, 4)):
        payload = mutate(payload, rng)
    for parse in PARSERS:
        with contextlib.suppress(ProtocolError):
            parse(payload)
    return "parsers"


def fuzz_results(rng: random.Random) -> str:
    reader = ResultsetReader(session_track=rng.random() < 0.5, max_bytes=100_000)
    data = mutate_stream(rng.choice(results()), rng)
    with contextlib.suppress(ProtocolError):
        for payload, _ in FrameReader(1 << 20).feed(data):
            if reader.feed(payload):
                break
    return "results"


def fuzz_responses(rng: random.Random) -> str:
    data = mutate_stream(rng.choice([*results(), *server_dialogues()]), rng)
    mode, tracked = rng.randrange(7), rng.random() < 0.5

    def follow(parts: Stream) -> tuple[object, ...] | None:
        """What is relayed and learnt; None where the server broke the protocol."""
        scanner = ResponseScanner(session_track=tracked)
        scanner.begin(mode)
        out: list[bytes] = []
        taken = 0
        try:
            end = -1
            for part in parts:
                end = scanner.feed(part, 0, out)
                taken += len(part) if end < 0 else end
                if end >= 0:
                    if not 0 <= end <= len(part):
                        raise Finding(f"a response of {len(part)} bytes ends at {end}")
                    break
        except ProtocolError:
            return None
        learnt = (scanner.status, scanner.rows, scanner.columns, scanner.errno, scanner.affected_rows, scanner.warnings)
        return (end >= 0, b"".join(out) if end >= 0 else b"", taken, learnt, scanner.session_state, scanner.info)

    whole, cut_up = follow([data]), follow(cut(data, rng))
    if whole is not None and cut_up is not None and whole != cut_up:
        raise Finding(f"cut otherwise, {data[:300]!r} is relayed otherwise")
    return "responses"


def fuzz_edited(rng: random.Random) -> str:
    data = mutate_stream(rng.choice(results()), rng)
    start, more = rng.randrange(256), rng.random() < 0.5

    def follow(parts: Stream) -> tuple[bytes, int, bool] | None:
        edited = EditedResponse(start)
        edited.more = more
        try:
            return b"".join([edited.feed(part) for part in parts]), edited.sequence, edited.failed
        except ProtocolError:
            return None

    whole, cut_up = follow([data]), follow(cut(data, rng))
    if whole != cut_up:
        raise Finding(f"cut otherwise, {data[:300]!r} is edited otherwise")
    if whole is not None and len(whole[0]) > len(data):
        raise Finding(f"{data[:300]!r} becomes longer")
    return "edited responses"


def fuzz_files(rng: random.Random) -> str:
    contents, start = rng.randbytes(rng.randrange(300)), rng.randrange(256)
    packets, end = file_packets(contents, start + 1) if contents else (b"", start + 1)
    stream = [packets, file_packets(b"", end)[0], rng.randbytes(rng.randrange(9))]
    data = mutate_stream(stream, rng) if rng.random() < 0.7 else b"".join(stream)

    def follow(parts: Stream) -> tuple[bytes, int, int] | None:
        reader = FilePackets(start)
        out: list[bytes] = []
        taken = 0
        try:
            for part in parts:
                at = reader.feed(part, out)
                if not -1 <= at <= len(part):
                    raise Finding(f"a file in {len(part)} bytes ends at {at}")
                if at >= 0:
                    return b"".join(out), reader.sequence, taken + at
                taken += len(part)
        except ProtocolError:
            return None
        return b"".join(out), reader.sequence, -1

    whole, cut_up = follow([data]), follow(cut(data, rng))
    if whole != cut_up:
        raise Finding(f"cut otherwise, {data[:300]!r} is another file")
    return "files"


def fuzz_binary(rng: random.Random) -> str:
    payload = rng.choice(EXECUTES)
    for _ in range(rng.randrange(1, 4)):
        payload = mutate(payload, rng)
    params = rng.choice((0, 1, 9, 9, 9, 65_535))
    known = rng.choice((None, rng.randbytes(2 * params), EXECUTES[0][13:31]))
    long_data = {rng.randrange(10) for _ in range(rng.randrange(3))}
    with contextlib.suppress(ProtocolError):
        execute = binary.parse_execute(payload, params, known)
        rebuilt = binary.rebuild_execute(execute, 7)
        again = binary.parse_execute(rebuilt, params, None)
        if (again.statement_id, again.flags, again.types) != (7, 0, execute.types):
            raise Finding(f"{payload!r} is rebuilt as something else")
        if repr(binary.decode_params(execute, long_data)) != repr(binary.decode_params(again, long_data)):
            raise Finding(f"{payload!r} has other values when rebuilt")
    return "binary"


@cache
def logged() -> list[bytes]:
    """Events of binary logs, of both families of servers, some of them with rows that somebody wants."""
    source = uuid.UUID(int=1)
    return [
        log.format_description(),
        log.rotate("binlog.000002"),
        log.query(b"BEGIN"),
        log.query(b"ALTER TABLE orders ADD x INT"),
        log.query_compressed(b"INSERT INTO orders VALUES (1)"),
        log.mariadb_gtid(1),
        log.mariadb_gtid(64, b"one", 5),
        log.mysql_gtid(source, 7),
        log.previous_gtids({source: [(1, 5), (7, 9)]}),
        mapped(),
        mapped(b"notes"),
        log.table_map(
            5, b"shop", b"orders", [3, 15, 18, 10, 4, 246, 252, 254, 16, 7], b"\x50\0\0\4\x0a\2\2\xfe\x50\1\1"
        ),
        *(log.rows(kind, 5, 4, order(1) + order(2, None, None)) for kind in (23, 24, 25, 30, 31, 32)),
        log.event(166, (5).to_bytes(6, "little") + b"\1\0\4\xff" + log.compressed(order(3))),
        log.event(38, bytes(13)),
        log.xid(),
    ]


def fuzz_binary_log(rng: random.Random) -> str:
    """Changed events, one after the other, as the stream process takes them apart."""
    stream = tracked.Stream()
    for _ in range(rng.randrange(1, 12)):
        data = rng.choice(logged())
        if rng.random() < 0.6:  # the body, with length and checksum kept right
            data = log.event(rng.choice((data[4], data[4], rng.randrange(256))), mutate(data[19:-4], rng))
        elif rng.random() < 0.2:
            data = mutate(data, rng)
        with contextlib.suppress(ProtocolError):
            before = stream.clock.applied
            stream.feed(data)
            if stream.clock.applied < before:
                raise Finding(f"{data!r} takes the clock back")
    return "binary log"


def fuzz_values(rng: random.Random) -> str:
    """Changed values under every kind of column."""
    column = definition("c", rng.choice(COLUMN_TYPES), rng.choice(("utf8mb4", "latin1", None)))
    kind, meta, raw = rng.choice((*range(20), *range(140, 142), *range(245, 256))), rng.randbytes(2), rng.randbytes(17)
    with contextlib.suppress(ProtocolError, NotReadable):
        layout = Layout(memoryview(log.table_rest([kind], meta)), [column.fraction_digits])
        writer = values.writer(layout.stored(0), column)
        size = layout.sizes[0] if layout.sizes[0] >= 0 and rng.random() < 0.8 else rng.randrange(18)
        literal, text = writer.literal(raw[:size]), writer.text(raw[:size])
        if not literal.isascii() or not isinstance(text, bytes):
            raise Finding(f"{raw[:size]!r} of {column} is {literal!r}")
    return "values"


def fuzz_compressed(rng: random.Random) -> str:
    clear = b"".join(rng.choice(results()))
    packets, sequence = [], 0
    for part in cut(clear, rng):
        packet, sequence = compressed(part, sequence)
        packets.append(packet)
    data = b"".join(packets)
    for _ in range(rng.choice((0, 1, 1, 2))):
        data = mutate(data, rng)

    def read(parts: Stream) -> tuple[bytes, bool]:
        reader = CompressedReader()
        got = []
        try:
            for part in parts:
                reader.append(part)
                while (slice_ := reader.read(1000)) is not None:
                    got.append(slice_)
                if reader.pending > len(data):
                    raise Finding(f"{reader.pending} bytes held of {len(data)} received")
        except ProtocolError:
            return b"".join(got), True
        return b"".join(got), False

    if read([data]) != read(cut(data, rng)):
        raise Finding(f"cut otherwise, {data[:200]!r} reads otherwise")
    return "compressed"


def fuzz_numbering(rng: random.Random) -> str:
    """Numbers are all that the compressed protocol's own scanner changes, whatever a server sends."""
    data = mutate_stream(rng.choice(results()), rng)

    def follow(scanner: ResponseScanner) -> tuple[int, bytes, int]:
        out: list[bytes] = []
        try:
            return scanner.feed(data, 0, out), b"".join(out), scanner.status
        except ProtocolError:
            return -2, b"", 0

    end, numbered, status = follow(NumberedScanner())
    plain_end, plain, plain_status = follow(ResponseScanner())
    if (end, len(numbered), status) != (plain_end, len(plain), plain_status):
        raise Finding(f"{data[:300]!r} is followed otherwise when it is numbered")
    pos, number = 0, 1
    while pos + 4 <= len(numbered):
        if numbered[pos + 3] != number:
            raise Finding(f"{data[:300]!r} has frame {numbered[pos + 3]} where {number} was due")
        number = (number + 1) & 0xFF
        pos += 4 + int.from_bytes(numbered[pos : pos + 3], "little")
    writer, sent = CommandWriter(NumberedScanner()), CompressedReader()
    for part in cut(data, rng):
        sent.append(writer.write(part))
    got = b""
    while (slice_ := sent.read()) is not None:
        got += slice_
    if got != data[: len(got)] or len(data) - len(got) > 3:
        raise Finding(f"{data[:300]!r} is sent as something else")
    return "numbering"


def fuzz_proxy_headers(rng: random.Random) -> str:
    source = proxy_header.Source(rng.choice(("10.1.2.3", "2001:db8::5")), rng.randrange(65536))
    data = rng.choice((proxy_header.v1, proxy_header.v2))(rng.choice((None, source, source)), source)
    for _ in range(rng.choice((0, 1, 1, 2))):
        data = mutate(data, rng)

    def read(data: bytes) -> object:
        try:
            return proxy_header.read(data)
        except ProtocolError as error:
            return error.errno

    found = read(data)
    if isinstance(found, proxy_header.Header):
        if not 0 < found.length <= len(data):
            raise Finding(f"the header in {data[:200]!r} is {found.length} bytes long")
        for end in range(1, found.length):
            if read(data[:end]) is not None:
                raise Finding(f"{data[:end]!r} is taken for a whole header, or for none")
    return "PROXY headers"


TARGETS: list[Target] = [
    fuzz_compressed,
    fuzz_numbering,
    fuzz_proxy_headers,
    fuzz_frames,
    fuzz_client_login,
    fuzz_client_login,
    fuzz_wrong_passwords,
    fuzz_change_user,
    fuzz_server_login,
    fuzz_parsers,
    fuzz_parsers,
    fuzz_results,
    fuzz_responses,
    fuzz_edited,
    fuzz_files,
    fuzz_binary,
    fuzz_binary_log,
    fuzz_values,
]


# -- running ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Report:
    totals: Totals
    by_target: dict[str, int]

    def __str__(self) -> str:
        parts = ", ".join(f"{name} {count}" for name, count in sorted(self.by_target.items()))
        return f"{self.totals.inputs} inputs ({parts}); {self.totals}"


def run_input(seed: int, number: int) -> str:
    """Plays one input; its target. Raises whatever it found."""
    rng = random.Random(f"{seed}:{number}")
    return rng.choice(TARGETS)(rng)


CAMPAIGN = Campaign(run_input, MAX_CPU_S, warm_up=1000)


def run(seconds: float, seed: int) -> Report:
    """Plays inputs for so long. Raises Finding with what plays the input again."""
    client_dialogues(), wrong_dialogues(), server_dialogues()  # key generation is not part of an input
    by_target: Counter[str] = Counter()
    totals = CAMPAIGN.run(seconds, seed, lambda target: by_target.update((target,)))
    return Report(totals, by_target)


def main() -> int:
    logging.disable()
    return campaign.main(__doc__, 30.0, run, run_input)


if __name__ == "__main__":
    sys.exit(main())
