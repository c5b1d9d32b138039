"""What comes from a client, and what must go out."""

from __future__ import annotations

from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.errors import Defect
from proxy.wire import auth, frames
from proxy.wire import capability as cap
from proxy.wire.handshake import CACHING_SHA2, NATIVE, AuthSwitch, ChangeUser, Greeting, SslRequest
from proxy.wire.login import (
    MAX_HELD,
    Account,
    ClientLogin,
    Closed,
    Rejected,
    Secret,
    SendBytes,
    Sha2Cache,
    StartTls,
    decoy,
)
from tests.wire.dialogue import (
    ACCOUNTS,
    GREETING,
    OFFERED,
    PASSWORD,
    SCRAMBLE,
    SWITCHED,
    accepted,
    client_login,
    feed,
    only,
    refused,
    response,
    sent,
    ssl_request,
    started,
)

ASKED = b"\x01\x04"  # for the password in full
DENIED = "Access denied for user '{}'@'10.0.0.9' (using password: {})"


@pytest.fixture(scope="module")
def rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


def test_the_greeting_offers_tls_only_where_there_is_tls() -> None:
    for available in (False, True):
        payload, sequence = sent(only(client_login(tls_available=available).start()))
        greeting = Greeting.parse(payload)
        assert sequence == 0
        assert bool(greeting.capabilities & cap.SSL) == available
        assert greeting.scramble == SCRAMBLE


def test_native_password() -> None:
    events = feed(started(client_login()), response("app").encode(), 1)
    done = accepted(events)
    assert len(events) == 1
    assert (done.account, done.user, done.database, done.charset) == (ACCOUNTS["app"], "app", None, 45)
    assert done.secret == Secret.of_password(PASSWORD)
    assert (done.sequence, done.leftover, done.scramble) == (2, b"", SCRAMBLE)


def test_caching_sha2_fast_path() -> None:
    events = feed(started(client_login()), response("app", CACHING_SHA2).encode(), 1)
    assert sent(events[0]) == (b"\x01\x03", 2)
    assert accepted(events).sequence == 3


@pytest.mark.parametrize(
    ("name", "version", "status"),
    [
        (b"MySQL Connector/J", "5.5.5-10.11.6-MariaDB-turnout", b""),
        (b"MySQL Connector Java", "5.5.5-10.6.1-MariaDB-turnout", b""),
        (b"MySQL Connector/J", "11.4.2-MariaDB-turnout", b"\x01"),
        (b"MySQL Connector/J", "8.0.36-turnout", b"\x01"),
        (b"libmysql", "5.5.5-10.11.6-MariaDB-turnout", b"\x01"),
        (None, "5.5.5-10.11.6-MariaDB-turnout", b"\x01"),
    ],
)
def test_a_client_that_takes_the_server_for_an_old_one(name: bytes | None, version: str, status: bytes) -> None:
    """It reads the plugin's packets with their first byte, which says what they are: that is left out then."""
    attributes = {b"_client_name": name} if name is not None else {}
    greeting = replace(GREETING, server_version=version)
    events = feed(started(client_login(greeting)), response("app", CACHING_SHA2, attributes=attributes).encode(), 1)
    assert sent(events[0]) == (status + b"\x03", 2)
    assert accepted(events).sequence == 3
    login = started(client_login(greeting, secure=True))
    asked = feed(login, response("crypted", CACHING_SHA2, attributes=attributes).encode(), 1)
    assert sent(only(asked)) == (status + b"\x04", 2)
    assert accepted(feed(login, PASSWORD + b"\0", 3)).secret == Secret.of_password(PASSWORD)


def test_database_charset_capabilities_and_attributes() -> None:
    full = response(
        "app", database=b"shop", capabilities=OFFERED | cap.COMPRESS, charset=8, attributes={b"_client_name": b"x"}
    )
    done = accepted(feed(started(client_login()), full.encode(), 1))
    assert (done.database, done.charset, done.max_packet) == ("shop", 8, 1 << 24)
    assert done.capabilities == OFFERED
    assert done.attributes == {b"_client_name": b"x"}


@pytest.mark.parametrize("charset", [0, 35, 54, 56, 60, 254])
def test_a_charset_that_no_client_may_speak_becomes_the_servers(charset: int) -> None:
    assert accepted(feed(started(client_login()), response("app", charset=charset).encode(), 1)).charset == 45


def test_names_are_in_the_clients_character_set() -> None:
    seen = []
    login = ClientLogin(
        GREETING,
        lambda user, host: seen.append(user),
        "h",
        tls_available=False,
        tls_required=False,
    )
    feed(started(login), replace(response("x", charset=8), user="zoë".encode("cp1252")).encode(), 1)
    assert seen == ["zoë"]


def test_a_client_without_plugins_proves_itself_natively() -> None:
    old = response("app", capabilities=cap.PROTOCOL_41 | cap.SECURE_CONNECTION)
    assert accepted(feed(started(client_login()), old.encode(), 1)).secret.password == PASSWORD


def test_a_native_hash_is_enough_and_the_proof_is_kept_for_servers() -> None:
    done = accepted(feed(started(client_login()), response("hashed").encode(), 1))
    assert done.secret == Secret(native_stage1=auth.native_stage1(PASSWORD))


@pytest.mark.parametrize(
    ("user", "offered", "wanted"),
    [
        ("native", CACHING_SHA2, NATIVE),
        ("sha2", NATIVE, CACHING_SHA2),
        ("hashed", CACHING_SHA2, NATIVE),
        ("app", "mysql_clear_password", CACHING_SHA2),
        ("app", "", CACHING_SHA2),
        ("nobody", "dialog", CACHING_SHA2),
    ],
)
def test_a_client_with_another_plugin_is_switched(user: str, offered: str, wanted: str) -> None:
    login = started(client_login(secure=True))
    events = feed(login, response(user, plugin=offered).encode(), 1)
    assert sent(only(events)) == (AuthSwitch(wanted, SWITCHED).encode(), 2)
    respond = auth.native_response if wanted == NATIVE else auth.sha2_response
    events = feed(login, respond(PASSWORD, SWITCHED), 3)
    if user == "nobody":
        assert sent(only(events)) == (ASKED, 4)
        assert refused(feed(login, PASSWORD + b"\0", 5)) == (1045, "28000", DENIED.format("nobody", "YES"))
    else:
        assert accepted(events).sequence == (4 if wanted == NATIVE else 5)
        assert accepted(events).scramble == SWITCHED


def test_an_old_proof_does_not_help_after_a_switch() -> None:
    native = started(client_login())
    feed(native, response("native", CACHING_SHA2).encode(), 1)
    assert refused(feed(native, auth.native_response(PASSWORD, SCRAMBLE), 3))[0] == 1045
    sha2 = started(client_login())
    feed(sha2, response("sha2").encode(), 1)
    assert sent(only(feed(sha2, auth.sha2_response(PASSWORD, SCRAMBLE), 3))) == (ASKED, 4)
    assert refused(feed(sha2, auth.sha2_response(PASSWORD, SWITCHED), 5))[0] == 1045


@pytest.mark.parametrize("secure", [False, True])
@pytest.mark.parametrize("plugin", [NATIVE, CACHING_SHA2])
@pytest.mark.parametrize("user", ["app", "nobody", "open"])
def test_an_unknown_user_sees_what_a_wrong_password_sees(
    user: str, plugin: str, secure: bool, rsa_key: rsa.RSAPrivateKey
) -> None:
    login = started(client_login(secure=secure, rsa_key=rsa_key))
    events = feed(login, response(user, plugin, b"wrong").encode(), 1)
    last = 2
    if plugin == CACHING_SHA2:
        assert sent(only(events)) == (ASKED, 2)
        if secure:
            events, last = feed(login, b"wrong\0", 3), 4
        else:
            public = auth.public_key_pem(rsa_key)
            assert sent(only(feed(login, b"\x02", 3))) == (b"\x01" + public, 4)
            events, last = feed(login, auth.rsa_encrypt(b"wrong", SCRAMBLE, public), 5), 6
    assert refused(events) == (1045, "28000", DENIED.format(user, "YES"))
    event = only(events)
    assert isinstance(event, Rejected)
    assert (event.data[3], event.user, event.reason) == (last, user, "wrong password or unknown user")


@pytest.mark.parametrize("plugin", [NATIVE, CACHING_SHA2])
@pytest.mark.parametrize("user", ["app", "nobody", "hashed"])
def test_no_password_where_one_is_due(user: str, plugin: str) -> None:
    login = started(client_login())
    events = feed(login, response(user, plugin, b"").encode(), 1)
    if isinstance(events[0], SendBytes):
        events = feed(login, b"", 3)
    assert refused(events) == (1045, "28000", DENIED.format(user, "NO"))


@pytest.mark.parametrize(("plugin", "proof"), [(NATIVE, b""), (CACHING_SHA2, b""), (CACHING_SHA2, b"\0")])
def test_no_password_where_none_is_due(plugin: str, proof: bytes) -> None:
    done = accepted(feed(started(client_login()), response("open", plugin, auth_response=proof).encode(), 1))
    assert done.secret.password == b""
    assert done.sequence == 2


def test_an_account_whose_hash_does_not_fit_its_plugin_is_denied() -> None:
    assert refused(feed(started(client_login()), response("broken").encode(), 1))[0] == 1045


@pytest.mark.parametrize(("plugin", "length"), [(NATIVE, 19), (NATIVE, 21), (CACHING_SHA2, 31), (CACHING_SHA2, 255)])
def test_a_proof_of_a_wrong_length_is_a_bad_handshake(plugin: str, length: int) -> None:
    events = feed(started(client_login()), response("app", plugin, auth_response=b"x" * length).encode(), 1)
    assert refused(events) == (1043, "08S01", "Bad handshake")


def test_old_clients_are_told_so() -> None:
    too_old = 1251, "08004"
    assert refused(feed(started(client_login()), b"\x05\x00\x00\x00\x01u\x00p", 1))[:2] == too_old
    old = response("app", capabilities=cap.PROTOCOL_41, auth_response=b"oldproof")
    assert refused(feed(started(client_login()), old.encode(), 1))[:2] == too_old
    cannot_switch = response("sha2", capabilities=cap.PROTOCOL_41 | cap.SECURE_CONNECTION)
    assert refused(feed(started(client_login()), cannot_switch.encode(), 1))[:2] == too_old


# -- caching_sha2_password with the password in full ------------------------------------------------------------------


def test_full_path_over_tls_and_the_cache_after_it() -> None:
    cache = Sha2Cache()
    first = started(client_login(secure=True, sha2_cache=cache))
    assert sent(only(feed(first, response("crypted", CACHING_SHA2).encode(), 1))) == (ASKED, 2)
    done = accepted(feed(first, PASSWORD + b"\0", 3))
    assert done.secret == Secret.of_password(PASSWORD)
    assert done.sequence == 4
    second = started(client_login(sha2_cache=cache))
    events = feed(second, response("crypted", CACHING_SHA2).encode(), 1)
    assert sent(events[0]) == (b"\x01\x03", 2)
    assert accepted(events).secret == Secret(sha2_stage1=auth.sha2_stage1(PASSWORD))


@pytest.mark.parametrize(
    "password",
    [
        b"wrong\0",
        PASSWORD,
        PASSWORD[:-1] + b"\0",
        b"\0",
        b"\0\0",
        b"",
        PASSWORD + b"\0\0",
        b"x" * 257 + b"\0",
        b"x" * 60000 + b"\0",
    ],
)
@pytest.mark.parametrize("user", ["app", "sha2", "crypted", "open", "nobody"])
def test_full_path_over_tls_with_what_is_not_the_password(user: str, password: bytes) -> None:
    login = started(client_login(secure=True))
    events = feed(login, response(user, CACHING_SHA2, b"wrong").encode(), 1)
    assert sent(only(events)) == (ASKED, 2)
    assert refused(feed(login, password, 3)) == (1045, "28000", DENIED.format(user, "YES"))


@pytest.mark.parametrize("password", [b"wrong", PASSWORD + b"\0", b"", b"x" * 200])
@pytest.mark.parametrize("user", ["app", "sha2", "crypted", "open", "nobody"])
def test_full_path_with_the_public_key_and_what_is_not_the_password(
    user: str, password: bytes, rsa_key: rsa.RSAPrivateKey
) -> None:
    login = started(client_login(rsa_key=rsa_key))
    feed(login, response(user, CACHING_SHA2, b"wrong").encode(), 1)
    encrypted = auth.rsa_encrypt(password, SCRAMBLE, auth.public_key_pem(rsa_key))
    assert refused(feed(login, encrypted, 3)) == (1045, "28000", DENIED.format(user, "YES"))


@pytest.mark.parametrize("user", ["sha2", "crypted"])
def test_full_path_in_clear_is_denied_without_tls_even_if_it_is_the_password(
    user: str, rsa_key: rsa.RSAPrivateKey
) -> None:
    login = started(client_login(rsa_key=rsa_key))
    feed(login, response(user, CACHING_SHA2, b"wrong").encode(), 1)
    assert refused(feed(login, PASSWORD + b"\0", 3))[0] == 1045


def with_closing_nul(password: bytes) -> bytes:
    """The proof of clients that take the NUL behind a switch's scramble for a part of it (asyncmy, old PyMySQL)."""
    return auth.sha2_response(password, SWITCHED + b"\0")


@pytest.mark.parametrize("secure", [True, False])
@pytest.mark.parametrize("user", ["sha2", "crypted"])
@pytest.mark.parametrize("password", [PASSWORD, b"wrong"])
def test_a_client_that_hashes_the_scrambles_closing_nul(
    user: str, secure: bool, password: bytes, rsa_key: rsa.RSAPrivateKey
) -> None:
    cache = Sha2Cache()
    cache.remember("crypted", ACCOUNTS["crypted"].sha2_crypt or b"", PASSWORD)
    login = started(client_login(replace(GREETING, plugin=NATIVE), secure=secure, rsa_key=rsa_key, sha2_cache=cache))
    assert sent(only(feed(login, response(user).encode(), 1))) == (AuthSwitch(CACHING_SHA2, SWITCHED).encode(), 2)
    assert sent(only(feed(login, with_closing_nul(password), 3))) == (ASKED, 4)
    if secure:
        events, last = feed(login, password + b"\0", 5), 6
    else:
        payload, sequence = sent(only(feed(login, b"\x02", 5)))
        assert (payload, sequence) == (b"\x01" + auth.public_key_pem(rsa_key), 6)
        events, last = feed(login, auth.rsa_encrypt(password, SWITCHED, payload[1:]), 7), 8
    if password == PASSWORD:
        assert len(events) == 1
        done = accepted(events)
        assert (done.user, done.secret, done.sequence) == (user, Secret.of_password(PASSWORD), last)
        assert (done.account, done.scramble) == (ACCOUNTS[user], SWITCHED)
    else:
        assert refused(events) == (1045, "28000", DENIED.format(user, "YES"))


def test_a_password_in_full_that_is_longer_than_the_scramble(rsa_key: rsa.RSAPrivateKey) -> None:
    password = "päßword ".encode() * 8
    login = ClientLogin(
        GREETING,
        lambda user, host: Account(user, CACHING_SHA2, password=password),
        "10.0.0.9",
        tls_available=False,
        tls_required=False,
        rsa_key=rsa_key,
    )
    feed(started(login), response("x", CACHING_SHA2, b"wrong").encode(), 1)
    encrypted = auth.rsa_encrypt(password, SCRAMBLE, auth.public_key_pem(rsa_key))
    assert accepted(feed(login, encrypted, 3)).secret == Secret.of_password(password)


def test_a_wrong_fast_proof_of_a_cached_account_asks_in_full() -> None:
    cache = Sha2Cache()
    cache.remember("crypted", ACCOUNTS["crypted"].sha2_crypt or b"", PASSWORD)
    login = started(client_login(secure=True, sha2_cache=cache))
    assert sent(only(feed(login, response("crypted", CACHING_SHA2, b"wrong").encode(), 1))) == (ASKED, 2)
    assert refused(feed(login, b"wrong\0", 3))[0] == 1045


def test_full_path_with_the_public_key(rsa_key: rsa.RSAPrivateKey) -> None:
    login = started(client_login(rsa_key=rsa_key))
    feed(login, response("crypted", CACHING_SHA2).encode(), 1)
    payload, sequence = sent(only(feed(login, b"\x02", 3)))
    assert sequence == 4
    assert payload == b"\x01" + auth.public_key_pem(rsa_key)
    done = accepted(feed(login, auth.rsa_encrypt(PASSWORD, SCRAMBLE, payload[1:]), 5))
    assert (done.secret.password, done.sequence) == (PASSWORD, 6)


def test_full_path_with_a_key_that_the_client_has_already(rsa_key: rsa.RSAPrivateKey) -> None:
    login = started(client_login(rsa_key=rsa_key))
    feed(login, response("crypted", CACHING_SHA2).encode(), 1)
    done = accepted(feed(login, auth.rsa_encrypt(PASSWORD, SCRAMBLE, auth.public_key_pem(rsa_key)), 3))
    assert done.secret.password == PASSWORD


@pytest.mark.parametrize("reply", [b"\x02", b"\x03", PASSWORD + b"\0", b"x" * 256, b""])
@pytest.mark.parametrize("user", ["sha2", "crypted", "nobody"])
def test_without_tls_or_key_a_password_in_full_is_denied(user: str, reply: bytes) -> None:
    login = started(client_login())
    events = feed(login, response(user, CACHING_SHA2, b"wrong").encode(), 1)
    assert sent(only(events)) == (ASKED, 2)
    assert refused(feed(login, reply, 3)) == (1045, "28000", DENIED.format(user, "YES"))


def test_the_key_is_sent_once(rsa_key: rsa.RSAPrivateKey) -> None:
    login = started(client_login(rsa_key=rsa_key))
    feed(login, response("crypted", CACHING_SHA2).encode(), 1)
    feed(login, b"\x02", 3)
    assert refused(feed(login, b"\x02", 5))[0] == 1045


def test_a_decoy_goes_through_the_dialogue_of_its_plugin() -> None:
    def strangers(user: str, host: str) -> Account:
        return decoy(user, CACHING_SHA2)

    login = ClientLogin(GREETING, strangers, "10.0.0.9", tls_available=False, tls_required=False, secure=True)
    assert sent(only(feed(started(login), response("x", CACHING_SHA2).encode(), 1))) == (ASKED, 2)
    assert refused(feed(login, PASSWORD + b"\0", 3))[0] == 1045
    assert decoy("x", NATIVE).plugins() == (NATIVE,)
    assert decoy("x").plugins() == (NATIVE, CACHING_SHA2)


# -- TLS --------------------------------------------------------------------------------------------------------------


def test_tls() -> None:
    login = started(client_login(tls_available=True))
    hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc"
    assert only(login.receive(ssl_request() + hello)) == StartTls(hello)
    certificate = {"subject": ((("commonName", "app"),),)}
    assert login.tls_started(certificate) == []
    full = response("app", capabilities=OFFERED | cap.SSL)
    done = accepted(feed(login, full.encode(), 2))
    assert (done.sequence, done.peer_certificate) == (3, certificate)
    assert done.capabilities & cap.SSL


def test_tls_where_there_is_none_is_a_bad_handshake() -> None:
    assert refused(started(client_login()).receive(ssl_request()))[0] == 1043


def test_tls_twice_is_a_bad_handshake() -> None:
    login = started(client_login(tls_available=True))
    login.receive(ssl_request())
    login.tls_started()
    request = ssl_request()
    assert refused(login.receive(request[:3] + b"\x02" + request[4:]))[0] == 1043


def test_required_tls() -> None:
    text = "Connections using insecure transport are prohibited while --require_secure_transport=ON."
    for user in ("app", "nobody"):
        login = started(client_login(tls_available=True, tls_required=True))
        assert refused(feed(login, response(user).encode(), 1)) == (3159, "HY000", text)
    login = started(client_login(tls_available=True, tls_required=True, secure=True))
    assert accepted(feed(login, response("app").encode(), 1))


# -- COM_CHANGE_USER --------------------------------------------------------------------------------------------------


def change(user: str, password: bytes, scramble: bytes, plugin: str = NATIVE) -> bytes:
    proof = (auth.native_response if plugin == NATIVE else auth.sha2_response)(password, scramble)
    return ChangeUser(user.encode(), proof, b"shop", 309, plugin).encode(OFFERED)


def test_change_user() -> None:
    login = client_login(replace(GREETING, scramble=SWITCHED))
    done = accepted(login.start_change_user(change("native", PASSWORD, SWITCHED), OFFERED))
    assert (done.user, done.database, done.charset, done.sequence) == ("native", "shop", 309, 1)


def test_change_user_of_a_client_that_goes_by_an_older_scramble() -> None:
    login = client_login()
    events = login.start_change_user(change("app", PASSWORD, b"some older scramble!"), OFFERED)
    assert sent(only(events)) == (AuthSwitch(NATIVE, SWITCHED).encode(), 1)
    assert accepted(feed(login, auth.native_response(PASSWORD, SWITCHED), 2)).sequence == 3


def test_change_user_with_a_wrong_password() -> None:
    login = client_login()
    login.start_change_user(change("app", b"wrong", SCRAMBLE), OFFERED)
    assert refused(feed(login, auth.native_response(b"wrong", SWITCHED), 2)) == (
        1045,
        "28000",
        DENIED.format("app", "YES"),
    )


def test_change_user_of_a_client_without_plugins_cannot_switch() -> None:
    caps = cap.PROTOCOL_41 | cap.SECURE_CONNECTION
    payload = ChangeUser(b"app", auth.native_response(b"wrong", SCRAMBLE), None, 8).encode(caps)
    assert refused(client_login().start_change_user(payload, caps))[0] == 1045


def test_change_user_to_another_plugin() -> None:
    login = client_login()
    events = login.start_change_user(change("sha2", PASSWORD, SCRAMBLE), OFFERED)
    assert sent(only(events)) == (AuthSwitch(CACHING_SHA2, SWITCHED).encode(), 1)
    events = feed(login, auth.sha2_response(PASSWORD, SWITCHED), 2)
    assert sent(events[0]) == (b"\x01\x03", 3)
    assert accepted(events).sequence == 4


@pytest.mark.parametrize("user", ["sha2", "crypted", "nobody"])
@pytest.mark.parametrize("password", [PASSWORD, b"wrong"])
def test_change_user_with_a_wrong_fast_proof_is_switched_before_the_password_is_asked_for(
    user: str, password: bytes
) -> None:
    login = client_login(secure=True)
    events = login.start_change_user(change(user, password, b"some older scramble!", CACHING_SHA2), OFFERED)
    assert sent(only(events)) == (AuthSwitch(CACHING_SHA2, SWITCHED).encode(), 1)
    assert sent(only(feed(login, with_closing_nul(password), 2))) == (ASKED, 3)
    events = feed(login, password + b"\0", 4)
    if password == PASSWORD and user != "nobody":
        assert (accepted(events).secret, accepted(events).sequence) == (Secret.of_password(PASSWORD), 5)
    else:
        assert refused(events) == (1045, "28000", DENIED.format(user, "YES"))


def test_change_user_with_a_proof_of_a_wrong_length() -> None:
    payload = ChangeUser(b"app", b"x" * 19, None, 8, NATIVE).encode(OFFERED)
    assert refused(client_login().start_change_user(payload, OFFERED))[0] == 1043


def test_change_user_malformed() -> None:
    payload = change("app", PASSWORD, SCRAMBLE)
    for end in (1, 3, 10, 20):
        assert refused(client_login().start_change_user(payload[:end], OFFERED))[0] == 1043


# -- order, size, garbage ---------------------------------------------------------------------------------------------


def test_packets_out_of_order() -> None:
    for sequence in (0, 2, 255):
        events = feed(started(client_login()), response("app").encode(), sequence)
        assert refused(events) == (1156, "08S01", "Got packets out of order")


def test_nothing_is_read_behind_the_end() -> None:
    login = started(client_login())
    feed(login, response("app", password=b"wrong").encode(), 1)
    assert login.done
    assert login.receive(b"anything") == [Closed()]


def test_commands_sent_ahead_are_handed_over() -> None:
    ahead = frames.encode(b"\x03select 1", 0) + b"\x09\x00\x00\x00\x03sel"
    events = started(client_login()).receive(frames.encode(response("app").encode(), 1) + ahead)
    assert accepted(events).leftover == ahead


def test_calls_in_the_wrong_order_are_our_own_mistake() -> None:
    with pytest.raises(Defect):
        client_login().receive(b"x")
    with pytest.raises(Defect):
        started(client_login()).start()
    with pytest.raises(Defect):
        started(client_login()).tls_started()
    with pytest.raises(Defect):
        started(client_login()).start_change_user(b"\x11", OFFERED)
    waiting = started(client_login(tls_available=True))
    waiting.receive(ssl_request())
    with pytest.raises(Defect):
        waiting.receive(b"x")


def test_a_packet_over_64_kb_is_refused_at_its_header() -> None:
    login = started(client_login())
    assert refused(login.receive((MAX_HELD - 3).to_bytes(3, "little") + b"\x01"))[0] == 1153
    assert login.pending == 0


def test_64_kb_are_the_most_that_is_held() -> None:
    login = started(client_login())
    login.receive((MAX_HELD - 4).to_bytes(3, "little") + b"\x01")
    for left in range(MAX_HELD - 4, 1000, -1000):
        assert login.receive(b"x" * 1000) == []
        assert login.pending == MAX_HELD - left + 1000
    assert refused(login.receive(b"x" * 1000))[0] == 1251
    ahead = started(client_login(tls_available=True))
    assert refused(
        ahead.receive(frames.encode(response("sha2").encode(), 1) + (60_000).to_bytes(4, "little") + bytes(70_000))
    )


DIALOGUES = {
    "native": [frames.encode(response("app").encode(), 1)],
    "sha2 fast": [frames.encode(response("app", CACHING_SHA2).encode(), 1)],
    "switch": [
        frames.encode(response("sha2").encode(), 1),
        frames.encode(auth.sha2_response(PASSWORD, SWITCHED), 3),
    ],
    "full": [
        frames.encode(response("crypted", CACHING_SHA2).encode(), 1),
        frames.encode(PASSWORD + b"\0", 3),
    ],
    "full after a wrong proof": [
        frames.encode(response("sha2").encode(), 1),
        frames.encode(with_closing_nul(PASSWORD), 3),
        frames.encode(PASSWORD + b"\0", 5),
    ],
    "wrong": [frames.encode(response("app", password=b"wrong").encode(), 1)],
    "wrong in full": [
        frames.encode(response("app", CACHING_SHA2, b"wrong").encode(), 1),
        frames.encode(b"wrong\0", 3),
    ],
}


def play(parts: list[bytes]) -> list[object]:
    login = started(client_login(secure=True))
    events: list[object] = []
    for part in parts:
        events += [event for event in login.receive(part) if not isinstance(event, Closed)]
    return events


@pytest.mark.parametrize("name", DIALOGUES)
def test_it_does_not_matter_how_a_dialogue_is_cut(name: str) -> None:
    packets = DIALOGUES[name]
    whole = play(packets)
    assert play([bytes([byte]) for packet in packets for byte in packet]) == whole
    for index, packet in enumerate(packets):
        for cut in range(1, len(packet)):
            parts = [*packets[:index], packet[:cut], packet[cut:], *packets[index + 1 :]]
            assert play(parts) == whole


@pytest.mark.parametrize("name", DIALOGUES)
def test_every_truncated_packet_is_answered_and_never_accepted_with_less_proof(name: str) -> None:
    packets = DIALOGUES[name]
    for index, packet in enumerate(packets):
        for end in range(4, len(packet) - (26 if index == 0 else 0)):
            events = play([*packets[:index], frames.encode(packet[4:end], packet[3])])
            assert isinstance(events[-1], Rejected)


@settings(max_examples=200)
@given(st.lists(st.binary(max_size=60), max_size=6), st.booleans())
def test_garbage_ends_in_a_rejection_or_waits_for_more(parts: list[bytes], framed: bool) -> None:
    login = started(client_login(tls_available=False, secure=True))
    for sequence, part in enumerate(parts):
        for event in login.receive(frames.encode(part, 2 * sequence + 1) if framed else part):
            assert isinstance(event, Rejected | Closed)
        assert login.pending <= MAX_HELD


@settings(max_examples=300)
@given(st.sampled_from(sorted(DIALOGUES)), st.data())
def test_one_changed_byte_never_raises(name: str, data: st.DataObject) -> None:
    stream = b"".join(DIALOGUES[name])
    at = data.draw(st.integers(0, len(stream) - 1))
    changed = stream[:at] + bytes([data.draw(st.integers(0, 255))]) + stream[at + 1 :]
    play([changed])


def test_tls_on_a_unix_socket_which_is_secure_without() -> None:
    login = started(client_login(tls_available=True, secure=True))
    assert login.receive(ssl_request()) == [StartTls(b"")]
    login.tls_started()
    assert refused(feed(login, SslRequest(OFFERED | cap.SSL, 1 << 24, 45).encode(), 2))[0] == 1043  # no TLS in TLS


@pytest.mark.parametrize("header", [b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n", b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c"])
def test_a_proxy_header_where_none_belongs(header: bytes) -> None:
    errno, _, message = refused(started(client_login()).receive(header))
    assert errno == 1043
    assert "a PROXY protocol header from 10.0.0.9, which is not in listen.proxy_protocol" in message
