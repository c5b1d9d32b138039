"""What comes from a server, and what must go out."""

from __future__ import annotations

from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.errors import Defect
from proxy.wire import auth, frames, packets
from proxy.wire import capability as cap
from proxy.wire.handshake import (
    CACHING_SHA2,
    NATIVE,
    AuthMoreData,
    AuthSwitch,
    Greeting,
    HandshakeResponse,
    SslRequest,
    parse_response,
)
from proxy.wire.login import (
    Accepted,
    Closed,
    LoggedIn,
    LoginFailed,
    Rejected,
    Secret,
    SendBytes,
    ServerLogin,
    StartTls,
)
from proxy.wire.session_state import Schema, parse_session_state
from tests.wire.dialogue import GREETING, OFFERED, PASSWORD, SCRAMBLE, SWITCHED, client_login, converse, only, sent

NATIVE_GREETING = replace(GREETING, plugin=NATIVE, capabilities=OFFERED | cap.SESSION_TRACK)
SHA2_GREETING = replace(NATIVE_GREETING, plugin=CACHING_SHA2)
OK = packets.encode_ok()


@pytest.fixture(scope="module")
def rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


def server_login(secret: Secret | None = None, database: str | None = None, **options: object) -> ServerLogin:
    given_secret = Secret(PASSWORD) if secret is None else secret
    settings: dict[str, object] = {"user": "app", "capabilities": cap.SESSION_TRACK, "charset": 45, "tls": False}
    return ServerLogin(secret=given_secret, database=database, **(settings | options))  # type: ignore[arg-type]


def say(login: ServerLogin, payload: bytes, sequence: int) -> list[object]:
    return list(login.receive(frames.encode(payload, sequence)))


def greeted(login: ServerLogin, greeting: Greeting = NATIVE_GREETING) -> ServerLogin:
    say(login, greeting.encode(), 0)
    return login


def answer(login: ServerLogin, greeting: Greeting) -> HandshakeResponse:
    payload, sequence = sent(only(say(login, greeting.encode(), 0)))
    assert sequence == 1
    parsed = parse_response(payload)
    assert isinstance(parsed, HandshakeResponse)
    return parsed


def failed(events: list[object]) -> LoginFailed:
    event = events[-1]
    assert isinstance(event, LoginFailed), event
    return event


# -- the first answer -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("secret", [Secret(PASSWORD), Secret(native_stage1=auth.native_stage1(PASSWORD))])
def test_native(secret: Secret) -> None:
    login = server_login(secret, "shop", attributes={b"program_name": b"turnout"})
    reply = answer(login, NATIVE_GREETING)
    assert reply.auth_response == auth.native_response(PASSWORD, SCRAMBLE)
    assert (reply.user, reply.database, reply.plugin, reply.charset) == (b"app", b"shop", NATIVE, 45)
    assert reply.attributes == {b"program_name": b"turnout"}
    (event,) = say(login, OK, 2)
    assert event == LoggedIn(NATIVE_GREETING, reply.capabilities, 2, 2, b"", packets.Ok(0, 0, 2, 0))


@pytest.mark.parametrize("secret", [Secret(PASSWORD), Secret(sha2_stage1=auth.sha2_stage1(PASSWORD))])
def test_caching_sha2_fast_path(secret: Secret) -> None:
    login = server_login(secret)
    reply = answer(login, SHA2_GREETING)
    assert (reply.plugin, reply.auth_response) == (CACHING_SHA2, auth.sha2_response(PASSWORD, SCRAMBLE))
    assert say(login, b"\x01\x03", 2) == []
    assert isinstance(only(say(login, OK, 3)), LoggedIn)


def test_the_plugin_that_fits_what_is_known_is_tried_first() -> None:
    native, sha2 = Secret(native_stage1=auth.native_stage1(PASSWORD)), Secret(sha2_stage1=auth.sha2_stage1(PASSWORD))
    assert answer(server_login(native), SHA2_GREETING).plugin == NATIVE
    assert answer(server_login(sha2), NATIVE_GREETING).plugin == CACHING_SHA2
    assert answer(server_login(), replace(NATIVE_GREETING, plugin="sha256_password")).plugin == NATIVE


def test_the_empty_password() -> None:
    assert answer(server_login(Secret(b"")), NATIVE_GREETING).auth_response == b""
    assert answer(server_login(Secret(b"")), SHA2_GREETING).auth_response == b"\0"


def test_only_capabilities_that_the_server_has_are_asked_for() -> None:
    wanted = cap.FOUND_ROWS | cap.MULTI_STATEMENTS | cap.DEPRECATE_EOF
    reply = answer(server_login(capabilities=wanted), NATIVE_GREETING)
    assert reply.capabilities & wanted == cap.MULTI_STATEMENTS
    assert not reply.capabilities & (cap.CONNECT_WITH_DB | cap.CONNECT_ATTRS | cap.SSL | cap.SESSION_TRACK)


def test_mariadb_does_not_offer_long_password_and_gets_it() -> None:
    greeting = replace(NATIVE_GREETING, capabilities=OFFERED & ~cap.LONG_PASSWORD)
    assert answer(server_login(), greeting).capabilities & cap.LONG_PASSWORD


def test_names_are_in_the_character_set_of_the_handshake() -> None:
    assert answer(server_login(user="zoë", charset=8), NATIVE_GREETING).user == "zoë".encode("cp1252")
    assert answer(server_login(user="zoë", charset=309), NATIVE_GREETING).user == "zoë".encode()
    assert "Ω" in failed(say(server_login(user="Ω", charset=8), NATIVE_GREETING.encode(), 0)).message


def test_a_collation_over_255_is_not_cut() -> None:
    assert answer(server_login(charset=309), NATIVE_GREETING).charset == 45


def test_session_state_in_the_first_ok() -> None:
    login = greeted(server_login())
    event = only(say(login, b"\0\0\0\2\x40\0\0\0\x07\1\5\4test", 2))
    assert isinstance(event, LoggedIn)
    assert parse_session_state(event.ok.state) == [Schema("test")]


# -- switches and the password in full --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("greeting", "plugin", "proof"),
    [
        (NATIVE_GREETING, CACHING_SHA2, auth.sha2_response(PASSWORD, SWITCHED)),
        (SHA2_GREETING, NATIVE, auth.native_response(PASSWORD, SWITCHED)),
        (NATIVE_GREETING, NATIVE, auth.native_response(PASSWORD, SWITCHED)),
    ],
)
def test_auth_switch(greeting: Greeting, plugin: str, proof: bytes) -> None:
    login = greeted(server_login(), greeting)
    assert sent(only(say(login, AuthSwitch(plugin, SWITCHED).encode(), 2))) == (proof, 3)
    assert isinstance(only(say(login, OK, 4)), LoggedIn)


def test_full_path_over_tls_is_the_password() -> None:
    login = greeted(server_login(secure=True), SHA2_GREETING)
    assert sent(only(say(login, b"\x01\x04", 2))) == (PASSWORD + b"\0", 3)
    assert isinstance(only(say(login, OK, 4)), LoggedIn)


def test_full_path_without_tls_is_the_password_encrypted(rsa_key: rsa.RSAPrivateKey) -> None:
    login = greeted(server_login(), SHA2_GREETING)
    assert sent(only(say(login, b"\x01\x04", 2))) == (b"\x02", 3)
    public = auth.public_key_pem(rsa_key)
    payload, sequence = sent(only(say(login, AuthMoreData(public).encode(), 4)))
    assert (auth.rsa_decrypt(payload, SCRAMBLE, rsa_key), sequence) == (PASSWORD, 5)
    assert isinstance(only(say(login, OK, 6)), LoggedIn)


def test_full_path_with_a_hash_only_says_why_not() -> None:
    login = greeted(server_login(Secret(sha2_stage1=auth.sha2_stage1(PASSWORD)), secure=True), SHA2_GREETING)
    assert "hash" in failed(say(login, b"\x01\x04", 2)).message


def test_a_switch_to_a_plugin_that_the_secret_does_not_fit() -> None:
    login = greeted(server_login(Secret(native_stage1=auth.native_stage1(PASSWORD))))
    event = failed(say(login, AuthSwitch(CACHING_SHA2, SWITCHED).encode(), 2))
    assert (event.errno, event.sqlstate) == (2059, "HY000")
    assert CACHING_SHA2 in event.message


def test_without_any_secret_nothing_is_sent() -> None:
    assert "not known" in failed(say(server_login(Secret()), NATIVE_GREETING.encode(), 0)).message


@pytest.mark.parametrize(
    ("plugin", "why"),
    [
        ("client_ed25519", "ed25519"),
        ("auth_socket", "operating system"),
        ("mysql_clear_password", "clear text"),
        ("mysql_old_password", "broken"),
        ("sha256_password", "caching_sha2_password"),
        ("dialog", "mysql_native_password"),
    ],
)
def test_other_plugins_are_refused_by_name(plugin: str, why: str) -> None:
    event = failed(say(greeted(server_login()), AuthSwitch(plugin, SWITCHED).encode(), 2))
    assert event.errno == 2059
    assert plugin in event.message
    assert why in event.message


def test_a_second_factor_is_refused() -> None:
    assert "second factor" in failed(say(greeted(server_login()), b"\x02webauthn\0", 2)).message


# -- TLS --------------------------------------------------------------------------------------------------------------


def test_tls() -> None:
    login = server_login(tls=True)
    greeting = replace(NATIVE_GREETING, capabilities=OFFERED | cap.SSL)
    request, start = say(login, greeting.encode(), 0)
    payload, sequence = sent(request)
    assert sequence == 1
    assert isinstance(parse_response(payload), SslRequest)
    assert start == StartTls(b"")
    payload, sequence = sent(only(login.tls_started()))
    assert sequence == 2
    reply = parse_response(payload)
    assert isinstance(reply, HandshakeResponse)
    assert reply.capabilities & cap.SSL
    assert isinstance(only(say(login, OK, 3)), LoggedIn)


def test_tls_that_the_server_does_not_offer_is_not_forgone() -> None:
    event = failed(say(server_login(tls=True), NATIVE_GREETING.encode(), 0))
    assert event.errno == 2026


def test_nothing_is_taken_from_between_greeting_and_tls() -> None:
    greeting = replace(NATIVE_GREETING, capabilities=OFFERED | cap.SSL)
    injected = frames.encode(greeting.encode(), 0) + frames.encode(OK, 2)
    assert isinstance(failed(list(server_login(tls=True).receive(injected))), LoginFailed)


def test_a_secret_that_is_not_known_fails_behind_tls_too() -> None:
    login = server_login(Secret(), tls=True)
    say(login, replace(NATIVE_GREETING, capabilities=OFFERED | cap.SSL).encode(), 0)
    assert "not known" in failed(list(login.tls_started())).message


# -- errors, order, garbage -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sequence", [0, 1])
def test_an_error_instead_of_a_greeting(sequence: int) -> None:
    event = only(say(server_login(), b"\xff\x10\x04Too many connections", sequence))
    assert event == LoginFailed(1040, "HY000", "Too many connections")


def test_an_error_instead_of_ok() -> None:
    login = greeted(server_login())
    event = only(say(login, packets.encode_err(1045, "28000", "Access denied"), 2))
    assert event == LoginFailed(1045, "28000", "Access denied")
    assert login.done
    assert login.receive(b"more") == [Closed()]


@pytest.mark.parametrize(
    ("payload", "sequence"),
    [
        (OK, 3),
        (b"", 2),
        (b"\x00", 2),
        (b"\x05", 2),
        (b"\x01\x03", 2),
        (b"\xfemysql_native_password\0short\0", 2),
        (b"\xfeno end", 2),
    ],
)
def test_a_verdict_that_breaks_the_protocol(payload: bytes, sequence: int) -> None:
    failed(say(greeted(server_login()), payload, sequence))


@pytest.mark.parametrize("payload", [b"", b"\x0a", b"\x09old\0", GREETING.encode()[:-40], b"HTTP/1.1 400 Bad Request"])
def test_what_is_no_greeting(payload: bytes) -> None:
    failed(say(server_login(), payload, 0))


def test_another_protocol_on_the_port() -> None:
    failed(list(server_login().receive(b"HTTP/1.1 400 Bad Request\r\n\r\n")))
    failed(list(server_login().receive(b"SSH-2.0-OpenSSH_9.2p1\r\n")))


def test_switches_without_end_are_ended() -> None:
    login = greeted(server_login())
    for round_ in range(4):
        assert isinstance(only(say(login, AuthSwitch(NATIVE, SWITCHED).encode(), 2 + 2 * round_)), SendBytes)
    failed(say(login, AuthSwitch(NATIVE, SWITCHED).encode(), 10))


def test_a_database_with_nul_is_not_written_into_the_handshake() -> None:
    failed(say(server_login(database="a\0b"), NATIVE_GREETING.encode(), 0))


def test_calls_in_the_wrong_order_are_our_own_mistake() -> None:
    with pytest.raises(Defect):
        server_login().tls_started()
    login = server_login(tls=True)
    say(login, replace(NATIVE_GREETING, capabilities=OFFERED | cap.SSL).encode(), 0)
    with pytest.raises(Defect):
        login.receive(b"x")


@settings(max_examples=200)
@given(st.lists(st.binary(max_size=80), max_size=5), st.booleans(), st.booleans())
def test_garbage_ends_in_a_failure_or_waits_for_more(parts: list[bytes], framed: bool, polite: bool) -> None:
    login = greeted(server_login()) if polite else server_login()
    for index, part in enumerate(parts):
        login.receive(frames.encode(part, 2 * index + 2 * polite) if framed else part)


# -- our two machines with each other ---------------------------------------------------------------------------------


@pytest.mark.parametrize("step", [1, 7, 1 << 20])
@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("plugin", [NATIVE, CACHING_SHA2])
@pytest.mark.parametrize("user", ["app", "native", "sha2", "hashed", "crypted"])
def test_we_can_log_in_to_ourselves(rsa_key: rsa.RSAPrivateKey, user: str, plugin: str, tls: bool, step: int) -> None:
    ours = client_login(replace(GREETING, plugin=plugin), tls_available=tls, rsa_key=rsa_key)
    verdict, opinion = converse(ours, server_login(user=user, tls=tls), step)
    assert isinstance(verdict, Accepted)
    assert isinstance(opinion, LoggedIn)
    assert opinion.sequence == verdict.sequence


@pytest.mark.parametrize("plugin", [NATIVE, CACHING_SHA2])
@pytest.mark.parametrize("user", ["app", "native", "sha2", "hashed", "crypted", "nobody", "open"])
def test_a_wrong_password_gets_the_same_error_everywhere(rsa_key: rsa.RSAPrivateKey, user: str, plugin: str) -> None:
    ours = client_login(replace(GREETING, plugin=plugin), rsa_key=rsa_key)
    verdict, opinion = converse(ours, server_login(Secret(b"wrong"), user=user))
    assert isinstance(verdict, Rejected)
    text = f"Access denied for user '{user}'@'10.0.0.9' (using password: YES)"
    assert opinion == LoginFailed(1045, "28000", text)
