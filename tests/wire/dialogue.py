"""What the login tests share: a client written by hand, and the two machines of ours talking to each other."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from proxy.wire import auth, frames, packets
from proxy.wire import capability as cap
from proxy.wire.handshake import CACHING_SHA2, NATIVE, Greeting, HandshakeResponse, SslRequest
from proxy.wire.login import (
    Accepted,
    Account,
    ClientEvent,
    ClientLogin,
    LoggedIn,
    LoginFailed,
    Rejected,
    SendBytes,
    ServerEvent,
    ServerLogin,
    StartTls,
)

SCRAMBLE = b"ABCDEFGHIJKLMNOPQRST"
SWITCHED = b"abcdefghijklmnopqrst"
OFFERED = (
    cap.PROTOCOL_41
    | cap.SECURE_CONNECTION
    | cap.PLUGIN_AUTH
    | cap.PLUGIN_AUTH_LENENC
    | cap.CONNECT_WITH_DB
    | cap.CONNECT_ATTRS
    | cap.LONG_PASSWORD
    | cap.MULTI_STATEMENTS
)
GREETING = Greeting("10.11.6-turnout", 7, SCRAMBLE, OFFERED, 45, 2, CACHING_SHA2)

PASSWORD = b"s3cret"
ACCOUNTS = {
    "app": Account("app", password=PASSWORD),
    "native": Account("native", NATIVE, password=PASSWORD),
    "sha2": Account("sha2", CACHING_SHA2, password=PASSWORD),
    "open": Account("open", password=b""),
    "hashed": Account("hashed", native_hash=auth.native_stage2(PASSWORD)),
    "crypted": Account("crypted", sha2_crypt=auth.sha2_crypt(PASSWORD, SWITCHED)),
    "broken": Account("broken", CACHING_SHA2, native_hash=auth.native_stage2(PASSWORD)),
}


def find(user: str, host: str) -> Account | None:
    assert host == "10.0.0.9"
    return ACCOUNTS.get(user)


def client_login(greeting: Greeting = GREETING, **options: object) -> ClientLogin:
    settings: dict[str, object] = {"tls_available": False, "tls_required": False, "new_scramble": lambda: SWITCHED}
    return ClientLogin(greeting, find, "10.0.0.9", **(settings | options))  # type: ignore[arg-type]


def response(user: str, plugin: str = NATIVE, password: bytes = PASSWORD, **changes: object) -> HandshakeResponse:
    proof = (auth.native_response if plugin == NATIVE else auth.sha2_response)(password, SCRAMBLE)
    plain = HandshakeResponse(OFFERED & ~cap.CONNECT_WITH_DB, 1 << 24, 45, user.encode(), proof, None, plugin)
    return replace(plain, **changes)  # type: ignore[arg-type]


def ssl_request() -> bytes:
    return frames.encode(SslRequest(OFFERED | cap.SSL, 1 << 24, 45).encode(), 1)


def started(login: ClientLogin) -> ClientLogin:
    login.start()
    return login


def feed(login: ClientLogin, payload: bytes, sequence: int) -> list[ClientEvent]:
    return login.receive(frames.encode(payload, sequence))


def only(events: Iterable[object]) -> object:
    (event,) = events
    return event


def accepted(events: list[ClientEvent]) -> Accepted:
    event = events[-1]
    assert isinstance(event, Accepted), event
    return event


def refused(events: list[ClientEvent]) -> tuple[int, str, str]:
    """(errno, SQLSTATE, text) that the client is told; the events end there."""
    event = events[-1]
    assert isinstance(event, Rejected), event
    ((payload, _),) = frames.FrameReader(1 << 20).feed(event.data)
    err = packets.parse_err(payload)
    assert err.errno == event.errno
    return err.errno, err.sqlstate, err.message.decode()


def sent(event: object) -> tuple[bytes, int]:
    """(payload, sequence id) of one packet."""
    assert isinstance(event, SendBytes), event
    (packet,) = frames.FrameReader(1 << 20).feed(event.data)
    return packet


Verdict = tuple[Accepted | Rejected, LoggedIn | LoginFailed | None]


def converse(client_side: ClientLogin, server_side: ServerLogin, step: int = 1 << 20) -> Verdict:
    """Lets the two talk, `step` bytes at a time. Returns what each of them thinks of it in the end."""
    verdict: Accepted | Rejected | None = None
    opinion: LoggedIn | LoginFailed | None = None
    to_client: list[ClientEvent] = client_side.start()
    for _ in range(20):
        to_server: list[ServerEvent] = []
        for event in to_client:
            if isinstance(event, StartTls):
                assert event.leftover == b""
                client_side.tls_started()
                to_server += server_side.tls_started()
                continue
            if isinstance(event, Accepted):
                verdict = event
                data = frames.encode(packets.encode_ok(), event.sequence)
            else:
                assert isinstance(event, SendBytes | Rejected)
                data = event.data
                verdict = event if isinstance(event, Rejected) else verdict
            for start in range(0, len(data), step):
                to_server += server_side.receive(data[start : start + step])
        to_client = []
        for reply in to_server:
            if isinstance(reply, SendBytes):
                for start in range(0, len(reply.data), step):
                    to_client += client_side.receive(reply.data[start : start + step])
            elif isinstance(reply, LoggedIn | LoginFailed):
                opinion = reply
        if opinion is not None:
            assert verdict is not None
            return verdict, opinion
        if not to_client:
            break
    assert verdict is not None
    return verdict, opinion
