"""We log in to a server. Sans-IO: bytes in, events out.

    GREETING  --without TLS-->  RESULT
              --with TLS----->  TLS  --tls_started-->  RESULT
    RESULT    --OK----------->  DONE
              --auth switch, fast path taken-->  RESULT
              --password in full, no TLS------>  KEY  --public key-->  RESULT
    (any)     --ERR, refused, malformed------->  DONE

A server that asks for what is not known of the password, or for a plugin that is not spoken here, is left with a
sentence that says so. Nothing that a server sends raises: it is answered by LoginFailed.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Final

from proxy.errors import Defect, ProtocolError
from proxy.wire import auth, capability, charsets, frames, packets
from proxy.wire.handshake import (
    CACHING_SHA2,
    NATIVE,
    SCRAMBLE_LENGTH,
    AuthMoreData,
    AuthSwitch,
    Greeting,
    HandshakeResponse,
    SslRequest,
)
from proxy.wire.login_events import Closed, LoggedIn, LoginFailed, Secret, SendBytes, ServerEvent, StartTls

MAX_HELD: Final = 64 * 1024
MAX_SWITCHES: Final = 4  # MariaDB tries an account's plugins in turn
MAX_PACKET: Final = 1 << 30  # what we take from a server; its rows are relayed, not held
_AUTH_FAILED: Final = (2059, "HY000")  # CR_AUTH_PLUGIN_CANNOT_LOAD, what client libraries say
_FAST_OK: Final = b"\x03"
_FULL_PLEASE: Final = b"\x04"
_KEY_PLEASE: Final = b"\x02"

_WHY_NOT: Final = {
    "client_ed25519": "a proxy cannot pass on ed25519 proofs",
    "parsec": "a proxy cannot pass on parsec proofs",
    "auth_socket": "it asks the operating system who is at the other end, and that is the proxy",
    "unix_socket": "it asks the operating system who is at the other end, and that is the proxy",
    "mysql_clear_password": "it wants the password in clear text",
    "mysql_old_password": "it is broken since MySQL 4.1",
    "sha256_password": "use caching_sha2_password, its successor",
}


class State(enum.Enum):
    GREETING = "awaits the server's greeting"
    TLS = "awaits tls_started()"
    RESULT = "awaits the server's verdict"
    KEY = "awaits the server's public key"
    DONE = "logged in or failed"


class Step(enum.Enum):
    TLS_ASKED = enum.auto()
    ANSWERED = enum.auto()
    KEY_ASKED = enum.auto()
    ENDED = enum.auto()


_NEXT: Final[dict[tuple[State, Step], State]] = {
    (State.GREETING, Step.TLS_ASKED): State.TLS,
    (State.GREETING, Step.ANSWERED): State.RESULT,
    (State.TLS, Step.ANSWERED): State.RESULT,
    (State.RESULT, Step.ANSWERED): State.RESULT,
    (State.RESULT, Step.KEY_ASKED): State.KEY,
    (State.KEY, Step.ANSWERED): State.RESULT,
    (State.GREETING, Step.ENDED): State.DONE,
    (State.TLS, Step.ENDED): State.DONE,
    (State.RESULT, Step.ENDED): State.DONE,
    (State.KEY, Step.ENDED): State.DONE,
}


class _Refused(Exception):
    """The login cannot succeed; the event says why."""

    def __init__(self, message: str, errno: int = _AUTH_FAILED[0], sqlstate: str = _AUTH_FAILED[1]) -> None:
        super().__init__(message)
        self.event = LoginFailed(errno, sqlstate, message)


class ServerLogin:
    """One login. `capabilities` are wanted where the server has them; those that login needs are added.

    `secure`: the connection cannot be listened to without TLS (a Unix socket). Calls in the wrong order raise Defect.
    """

    def __init__(
        self,
        user: str,
        secret: Secret,
        database: str | None,
        capabilities: int,
        charset: int,
        *,
        tls: bool,
        attributes: Mapping[bytes, bytes] | None = None,
        secure: bool = False,
    ) -> None:
        self._user = user
        self._secret = secret
        self._database = database
        self._wanted = capabilities
        self._charset = charsets.handshake_id(charset)
        self._tls = tls
        self._attributes = attributes or {}
        self._secure = secure
        self._state = State.GREETING
        self._reader = frames.FrameReader(MAX_HELD - frames.HEADER)
        self._expected = 0  # sequence id of the next packet, either way
        self._greeting: Greeting | None = None
        self._capabilities = 0
        self._plugin = NATIVE
        self._scramble = b""
        self._switches = 0

    @property
    def done(self) -> bool:
        """Whether the login is over, one way or the other."""
        return self._state is State.DONE

    @property
    def pending(self) -> int:
        """Bytes held."""
        return self._reader.pending

    def receive(self, data: bytes) -> list[ServerEvent]:
        """Takes bytes from the server."""
        if self.done:
            return [Closed()]
        if self._state is State.TLS:
            raise Defect(f"bytes of a server that {self._state.value}")
        events: list[ServerEvent] = []
        try:
            self._reader.append(data)
            while self._state not in (State.DONE, State.TLS):
                packet = self._reader.next_payload()
                if packet is None:
                    break
                payload, sequence = packet
                if payload[:1] != b"\xff" and sequence != self._expected:  # errors may come out of turn
                    raise ProtocolError("Got packets out of order", 1156, "08S01")
                self._expected = (sequence + 1) & 0xFF
                events += self._take(payload)
            if not self.done and self._reader.pending > MAX_HELD:
                raise ProtocolError("Malformed packet: the server says more than a login holds")
        except ProtocolError as error:
            events.append(self._fail(LoginFailed(error.errno, error.sqlstate, error.message)))
        except _Refused as refusal:
            events.append(self._fail(refusal.event))
        return events

    def tls_started(self) -> list[ServerEvent]:
        """Goes on inside TLS."""
        if self._state is not State.TLS:
            raise Defect(f"TLS with a server that {self._state.value}")
        self._secure = True
        try:
            return self._respond()
        except ProtocolError as error:
            return [self._fail(LoginFailed(error.errno, error.sqlstate, error.message))]
        except _Refused as refusal:
            return [self._fail(refusal.event)]

    def _take(self, payload: bytes) -> list[ServerEvent]:
        if not payload:
            raise ProtocolError("Malformed packet: an empty packet during login")
        if payload[0] == 0xFF:
            err = packets.parse_err(payload)
            return [self._fail(LoginFailed(err.errno, err.sqlstate, err.message.decode("utf-8", "replace")))]
        if self._state is State.GREETING:
            return self._take_greeting(Greeting.parse(payload))
        if self._state is State.KEY:
            return self._take_key(AuthMoreData.parse(payload).data)
        if payload[0] == 0x00:
            return self._take_ok(payload)
        if payload[0] == 0xFE:
            return self._take_switch(AuthSwitch.parse(payload))
        if payload[0] == 0x01:
            return self._take_more(AuthMoreData.parse(payload).data)
        if payload[0] == 0x02:
            raise _Refused(f"The server wants a second factor from '{self._user}', which a proxy cannot give")
        raise ProtocolError(f"Malformed packet: {payload[0]:#04x} in answer to a login")

    def _take_greeting(self, greeting: Greeting) -> list[ServerEvent]:
        self._greeting = greeting
        self._scramble = greeting.scramble
        wanted = self._wanted | capability.PLUGIN_AUTH | capability.PLUGIN_AUTH_LENENC | capability.LONG_PASSWORD
        wanted |= capability.PROTOCOL_41 | capability.SECURE_CONNECTION
        for flag, present in (
            (capability.CONNECT_WITH_DB, self._database is not None),
            (capability.CONNECT_ATTRS, bool(self._attributes)),
            (capability.SSL, self._tls),
        ):
            wanted = wanted | flag if present else wanted & ~flag
        # MariaDB does not offer LONG_PASSWORD: it calls the bit CLIENT_MYSQL, and a client without it is taken to
        # speak MariaDB's extensions.
        self._capabilities = wanted & (greeting.capabilities | capability.LONG_PASSWORD)
        if self._database is not None and not self._capabilities & capability.CONNECT_WITH_DB:
            raise _Refused("The server cannot be told a database at login")
        if not self._tls:
            return self._respond()
        if not greeting.capabilities & capability.SSL:
            raise _Refused("TLS is required by the rules, and the server does not offer it", 2026)
        if self._reader.pending:
            raise ProtocolError("Malformed packet: data behind the greeting, in front of TLS")
        self._move(Step.TLS_ASKED)
        request = SslRequest(self._capabilities, MAX_PACKET, self._charset)
        return [self._send(request.encode()), StartTls(b"")]

    def _respond(self) -> list[ServerEvent]:
        if self._greeting is None:
            raise Defect("a response without a greeting")
        # The plugin in the greeting is only the server's guess. Where it is none of ours, or cannot be with what we
        # know, the other one is tried, and the server switches if the account needs it.
        ours = [plugin for plugin in (NATIVE, CACHING_SHA2) if self._proof(plugin) is not None]
        if not ours:
            raise _Refused(f"The password of '{self._user}' is not known to the proxy")
        self._plugin = self._greeting.plugin if self._greeting.plugin in ours else ours[0]
        response = HandshakeResponse(
            self._capabilities,
            MAX_PACKET,
            self._charset,
            self._encode_name(self._user),
            self._proof(self._plugin) or b"",
            None if self._database is None else self._encode_name(self._database),
            self._plugin,
            self._attributes,
        )
        encoded = response.encode()
        self._move(Step.ANSWERED)
        return [self._send(encoded)]

    def _take_ok(self, payload: bytes) -> list[ServerEvent]:
        ok = packets.parse_ok(payload, bool(self._capabilities & capability.SESSION_TRACK))
        if self._greeting is None:
            raise Defect("a verdict without a greeting")
        self._move(Step.ENDED)
        sequence = (self._expected - 1) & 0xFF
        leftover = self._reader.take_pending()
        return [LoggedIn(self._greeting, self._capabilities, ok.status, sequence, leftover, ok)]

    def _take_switch(self, switch: AuthSwitch) -> list[ServerEvent]:
        self._switches += 1
        if self._switches > MAX_SWITCHES:
            raise ProtocolError("Malformed packet: the server switches between authentication plugins without end")
        if switch.plugin not in (NATIVE, CACHING_SHA2):
            why = _WHY_NOT.get(switch.plugin, "the proxy speaks mysql_native_password and caching_sha2_password")
            raise _Refused(f"The server authenticates '{self._user}' with {switch.plugin[:64]}: {why}")
        if len(switch.data) < SCRAMBLE_LENGTH:
            raise ProtocolError("Malformed packet: an authentication switch without its scramble")
        self._plugin = switch.plugin
        self._scramble = switch.data[:SCRAMBLE_LENGTH]
        proof = self._proof(switch.plugin)
        if proof is None:
            raise _Refused(
                f"The server authenticates '{self._user}' with {switch.plugin}, "
                "and what the proxy knows of the password fits another plugin only"
            )
        self._move(Step.ANSWERED)
        return [self._send(proof)]

    def _take_more(self, data: bytes) -> list[ServerEvent]:
        if self._plugin != CACHING_SHA2:
            raise ProtocolError(f"Malformed packet: more data for {self._plugin}")
        if data == _FAST_OK:
            return []
        if data != _FULL_PLEASE:
            raise ProtocolError("Malformed packet: caching_sha2_password wants neither more nor less")
        if self._secret.password is None:
            raise _Refused(
                f"The server wants the password of '{self._user}' itself (it is not in its cache), "
                "and the proxy knows a hash of it only; log in to the proxy again"
            )
        if self._secure:
            self._move(Step.ANSWERED)
            return [self._send(self._secret.password + b"\0")]
        self._move(Step.KEY_ASKED)
        return [self._send(_KEY_PLEASE)]

    def _take_key(self, public_key: bytes) -> list[ServerEvent]:
        encrypted = auth.rsa_encrypt(self._secret.password or b"", self._scramble, public_key)
        self._move(Step.ANSWERED)
        return [self._send(encrypted)]

    def _proof(self, plugin: str) -> bytes | None:
        """The proof for the present scramble; None where what is known of the password is not enough."""
        secret = self._secret
        if secret.password == b"":
            return b"" if plugin == NATIVE else b"\0"
        if plugin == NATIVE:
            stage1 = secret.native_stage1 or (auth.native_stage1(secret.password) if secret.password else None)
            return auth.native_response_from_stage1(stage1, self._scramble) if stage1 else None
        stage1 = secret.sha2_stage1 or (auth.sha2_stage1(secret.password) if secret.password else None)
        return auth.sha2_response_from_stage1(stage1, self._scramble) if stage1 else None

    def _encode_name(self, name: str) -> bytes:
        """In the character set that the response announces: the server decodes names by it."""
        collation = charsets.collation(self._charset)
        codec = "utf-8"
        if collation is not None and collation.charset != "binary":
            codec = charsets.codec(collation.charset) or "ascii"
        try:
            return name.encode(codec)
        except UnicodeEncodeError:
            raise _Refused(f"'{name}' cannot be written in the character set that the session begins with") from None

    def _send(self, payload: bytes) -> SendBytes:
        data = frames.encode(payload, self._expected)
        self._expected = frames.next_sequence(len(payload), self._expected)
        return SendBytes(data)

    def _fail(self, event: LoginFailed) -> LoginFailed:
        self._move(Step.ENDED)
        self._reader.discard()
        return event

    def _move(self, step: Step) -> None:
        following = _NEXT.get((self._state, step))
        if following is None:
            raise Defect(f"{step.name} does not follow for a server that {self._state.value}")
        self._state = following
