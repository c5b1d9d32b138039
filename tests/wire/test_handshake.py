from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import ProtocolError
from proxy.wire import capability as cap
from proxy.wire.handshake import (
    AuthMoreData,
    AuthSwitch,
    ChangeUser,
    Greeting,
    HandshakeResponse,
    SslRequest,
    parse_change_user,
    parse_response,
)

BASE = cap.PROTOCOL_41 | cap.LONG_PASSWORD
SCRAMBLE = bytes(range(65, 85))

# MariaDB 10.11's greeting.
MARIADB = (
    b"\x0a5.5.5-10.11.19-MariaDB-0+deb12u1\x00\x05\x00\x00\x00Y$A\\*\\rK\x00\xfe\xff\x08\x02\x00\xff\x81\x15"
    b"\x00\x00\x00\x00\x00\x00\x1d\x00\x00\x00abcdefghijkl\x00mysql_native_password\x00"
)


def test_a_greeting_of_mariadb() -> None:
    greeting = Greeting.parse(MARIADB)
    assert greeting.server_version == "5.5.5-10.11.19-MariaDB-0+deb12u1"
    assert greeting.connection_id == 5
    assert greeting.scramble == b"Y$A\\*\\rKabcdefghijkl"
    assert greeting.capabilities == 0x81FFFFFE
    assert (greeting.charset, greeting.status, greeting.plugin) == (8, 2, "mysql_native_password")


def test_our_greeting_comes_back() -> None:
    greeting = Greeting("8.0.36-turnout", 7, SCRAMBLE, 0x81BFF7DF, 45, 2, "caching_sha2_password")
    assert Greeting.parse(greeting.encode()) == greeting


def test_a_server_without_plugins_means_native() -> None:
    capabilities = BASE | cap.SECURE_CONNECTION
    greeting = Greeting("5.1", 7, SCRAMBLE, capabilities, 8, 2, "mysql_native_password")
    assert Greeting.parse(greeting.encode()) == greeting


def test_a_plugin_without_its_nul_is_read() -> None:
    assert Greeting.parse(MARIADB[:-1]).plugin == "mysql_native_password"


@pytest.mark.parametrize("end", range(len(MARIADB) - len("mysql_native_password") - 2))
def test_every_truncated_greeting_is_refused(end: int) -> None:
    with pytest.raises(ProtocolError):
        Greeting.parse(MARIADB[:end])


def test_a_server_older_than_4_1_is_refused() -> None:
    with pytest.raises(ProtocolError):
        Greeting.parse(Greeting("3.23", 7, SCRAMBLE, 0, 8, 2, "").encode())
    with pytest.raises(ProtocolError):
        Greeting.parse(b"\x09" + MARIADB[1:])


VARIANTS = [
    HandshakeResponse(BASE, 1 << 24, 45, b"u", b""),
    HandshakeResponse(BASE, 1 << 24, 45, b"", b"proof"),
    HandshakeResponse(BASE | cap.SECURE_CONNECTION, 1, 8, b"u", b"x" * 20),
    HandshakeResponse(BASE | cap.SECURE_CONNECTION, 1, 8, b"u", b"\0" * 255),
    HandshakeResponse(BASE | cap.PLUGIN_AUTH_LENENC, 1, 8, b"u", b"\0" * 300),
    HandshakeResponse(BASE | cap.PLUGIN_AUTH_LENENC | cap.SECURE_CONNECTION, 1, 8, b"u", b"x" * 32),
    HandshakeResponse(BASE | cap.SECURE_CONNECTION | cap.CONNECT_WITH_DB, 1, 8, b"u", b"x" * 20, b"shop"),
    HandshakeResponse(BASE | cap.SECURE_CONNECTION | cap.PLUGIN_AUTH, 1, 8, b"u", b"x" * 20, None, "p"),
    HandshakeResponse(BASE | cap.CONNECT_ATTRS, 1, 8, b"u", b"p", None, "", {b"_os": b"Linux", b"e": b""}),
    HandshakeResponse(
        BASE
        | cap.SECURE_CONNECTION
        | cap.CONNECT_WITH_DB
        | cap.PLUGIN_AUTH
        | cap.CONNECT_ATTRS
        | cap.PLUGIN_AUTH_LENENC,
        1,
        8,
        b"u",
        b"x" * 20,
        b"shop",
        "caching_sha2_password",
        {b"a" * 300: b"b" * 300},
    ),
]


@pytest.mark.parametrize("response", VARIANTS)
def test_every_layout_of_a_response_comes_back(response: HandshakeResponse) -> None:
    assert parse_response(response.encode()) == response


@pytest.mark.parametrize("response", VARIANTS)
def test_every_truncated_response_is_read_or_refused_as_bad_handshake(response: HandshakeResponse) -> None:
    encoded = response.encode()
    errors = [outcome for end in range(len(encoded)) if (outcome := read_or_refused(encoded[:end], response))]
    assert len(errors) >= 33
    assert {(error.errno, error.sqlstate) for error in errors} <= {(1043, "08S01"), (1251, "08004")}
    assert errors[-1].message == "Bad handshake"


def read_or_refused(payload: bytes, whole: HandshakeResponse) -> ProtocolError | None:
    try:
        parsed = parse_response(payload)
    except ProtocolError as error:
        return error
    # Only the plugin's NUL or the attributes as a whole may be missing.
    assert isinstance(parsed, HandshakeResponse)
    assert (parsed.user, parsed.auth_response) == (whole.user, whole.auth_response)
    return None


def test_an_empty_database_is_none() -> None:
    response = parse_response(HandshakeResponse(BASE | cap.CONNECT_WITH_DB, 1, 8, b"u", b"", b"").encode())
    assert isinstance(response, HandshakeResponse)
    assert response.database is None


def test_tls_request() -> None:
    request = SslRequest(BASE | cap.SSL, 1 << 24, 45)
    assert len(request.encode()) == 32
    assert parse_response(request.encode()) == request


def test_a_whole_response_with_the_tls_flag_is_a_response() -> None:
    response = HandshakeResponse(BASE | cap.SSL | cap.SECURE_CONNECTION, 1, 8, b"u", b"x" * 20)
    assert parse_response(response.encode()) == response


def test_a_client_older_than_4_1_is_told_so() -> None:
    with pytest.raises(ProtocolError) as raised:
        parse_response(b"\x05\x00\x00\x00\x01user\x00proof")
    assert (raised.value.errno, raised.value.sqlstate) == (1251, "08004")


def test_names_with_nul_are_not_written() -> None:
    with pytest.raises(ProtocolError):
        HandshakeResponse(BASE | cap.CONNECT_WITH_DB, 1, 8, b"u", b"", b"a\0b").encode()
    with pytest.raises(ProtocolError):
        HandshakeResponse(BASE, 1, 8, b"u\0", b"").encode()


CAPS = cap.SECURE_CONNECTION | cap.PLUGIN_AUTH | cap.CONNECT_ATTRS


@pytest.mark.parametrize(
    ("change", "capabilities"),
    [
        (ChangeUser(b"u", b"x" * 20, b"db", 309, "p", {b"a": b"b"}), CAPS),
        (ChangeUser(b"u", b"", None, 45, "p", {}), CAPS),
        (ChangeUser(b"u", b"x" * 20, b"db"), CAPS),
        (ChangeUser(b"u", b"x" * 20, b"db", 8), cap.SECURE_CONNECTION),
        (ChangeUser(b"u", b"old", b"db", 8), 0),
    ],
)
def test_change_user_comes_back(change: ChangeUser, capabilities: int) -> None:
    encoded = change.encode(capabilities)
    assert parse_change_user(encoded, capabilities) == change
    for end in range(len(encoded)):
        with contextlib.suppress(ProtocolError):
            parse_change_user(encoded[:end], capabilities)


def test_auth_switch() -> None:
    switch = AuthSwitch("caching_sha2_password", SCRAMBLE)
    assert switch.encode() == b"\xfecaching_sha2_password\0" + SCRAMBLE + b"\0"
    assert AuthSwitch.parse(switch.encode()) == switch
    assert AuthSwitch.parse(b"\xfe").plugin == "mysql_old_password"
    for payload in (b"", b"\x00", b"\xfeno end"):
        with pytest.raises(ProtocolError):
            AuthSwitch.parse(payload)


def test_auth_more_data() -> None:
    assert AuthMoreData.parse(AuthMoreData(b"\x04").encode()) == AuthMoreData(b"\x04")
    with pytest.raises(ProtocolError):
        AuthMoreData.parse(b"\x02x")


@given(st.binary(max_size=200), st.integers(0, 0xFFFFFFFF))
def test_garbage_is_read_or_refused(garbage: bytes, capabilities: int) -> None:
    flags = (capabilities | cap.PROTOCOL_41).to_bytes(4, "little")
    for attempt in (
        lambda: Greeting.parse(b"\x0a" + garbage),
        lambda: parse_response(flags + garbage),
        lambda: parse_response(flags + bytes(28) + garbage),
        lambda: parse_change_user(b"\x11" + garbage, capabilities),
        lambda: AuthSwitch.parse(b"\xfe" + garbage),
    ):
        with contextlib.suppress(ProtocolError):
            attempt()
