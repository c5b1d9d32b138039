"""The packets of a login: greeting, response, TLS request, auth switch, further auth data, COM_CHANGE_USER.

Sources: MySQL "Connection Phase Packets"; `parse_client_handshake_packet` and `parse_com_change_user_packet` in
`sql/auth/sql_authentication.cc`. A collation id has one byte here: see `charsets.handshake_id`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from proxy.errors import ProtocolError
from proxy.wire import capability, lenenc
from proxy.wire.command import COM_CHANGE_USER
from proxy.wire.cursor import Cursor

PROTOCOL = 10
SCRAMBLE_LENGTH = 20
NATIVE = "mysql_native_password"
CACHING_SHA2 = "caching_sha2_password"
_SSL_REQUEST_LENGTH = 32
_FIRST_PART = 8


def bad_handshake() -> ProtocolError:
    return ProtocolError("Bad handshake", 1043, "08S01")


def client_too_old() -> ProtocolError:
    return ProtocolError(
        "Client does not support authentication protocol requested by server; consider upgrading MySQL client",
        1251,
        "08004",
    )


@dataclass(frozen=True, slots=True)
class Greeting:
    """What a server says first. `scramble` is 20 bytes, none of them NUL."""

    server_version: str
    connection_id: int
    scramble: bytes
    capabilities: int
    charset: int
    status: int
    plugin: str

    def encode(self) -> bytes:
        caps = self.capabilities
        return b"".join(
            (
                PROTOCOL.to_bytes(1, "little"),
                self.server_version.encode("utf-8") + b"\0",
                (self.connection_id & 0xFFFFFFFF).to_bytes(4, "little"),
                self.scramble[:_FIRST_PART] + b"\0",
                (caps & 0xFFFF).to_bytes(2, "little"),
                (self.charset & 0xFF).to_bytes(1, "little"),
                self.status.to_bytes(2, "little"),
                (caps >> 16 & 0xFFFF).to_bytes(2, "little"),
                (SCRAMBLE_LENGTH + 1 if caps & capability.PLUGIN_AUTH else 0).to_bytes(1, "little"),
                bytes(10),
                self.scramble[_FIRST_PART:] + b"\0",
                self.plugin.encode("ascii") + b"\0" if caps & capability.PLUGIN_AUTH else b"",
            )
        )

    @staticmethod
    def parse(payload: bytes) -> Greeting:
        """Reads protocol 10 with a 4.1 scramble; anything older is a ProtocolError (1043)."""
        cursor = Cursor(payload)
        if cursor.uint(1) != PROTOCOL:
            raise bad_handshake()
        version = cursor.until_nul().decode("utf-8", "replace")
        connection_id = cursor.uint(4)
        scramble = cursor.take(_FIRST_PART)
        cursor.take(1)
        caps = cursor.uint(2)
        charset, status = cursor.uint(1), cursor.uint(2)
        caps |= cursor.uint(2) << 16
        data_length = cursor.uint(1)
        cursor.take(10)
        if not caps & capability.PROTOCOL_41 or not caps & capability.SECURE_CONNECTION:
            raise bad_handshake()
        second = cursor.take(min(max(13, data_length - _FIRST_PART), cursor.left))
        scramble += second[: SCRAMBLE_LENGTH - _FIRST_PART]
        if len(scramble) != SCRAMBLE_LENGTH:
            raise bad_handshake()
        plugin = _plugin(cursor) if caps & capability.PLUGIN_AUTH else NATIVE
        return Greeting(version, connection_id, scramble, caps, charset, status, plugin)


@dataclass(frozen=True, slots=True)
class SslRequest:
    """The first 32 bytes of a response, sent in clear; TLS follows, and in it the whole response."""

    capabilities: int
    max_packet: int
    charset: int

    def encode(self) -> bytes:
        return _fixed_part(self.capabilities | capability.SSL, self.max_packet, self.charset)


@dataclass(frozen=True, slots=True)
class HandshakeResponse:
    capabilities: int
    max_packet: int
    charset: int
    user: bytes
    auth_response: bytes = field(repr=False)
    database: bytes | None = None
    plugin: str = ""  # "": the client named none
    attributes: Mapping[bytes, bytes] = field(default_factory=dict)

    def encode(self) -> bytes:
        """Writes what the capabilities say. Raises ProtocolError for a name with NUL: it would shift the rest."""
        caps = self.capabilities
        if b"\0" in self.user or b"\0" in (self.database or b""):
            raise ProtocolError("The name of a user or database has a NUL in it")
        parts = [_fixed_part(caps, self.max_packet, self.charset), self.user, b"\0"]
        if caps & capability.PLUGIN_AUTH_LENENC:
            parts.append(lenenc.write_bytes(self.auth_response))
        elif caps & capability.SECURE_CONNECTION:
            parts += [len(self.auth_response).to_bytes(1, "little"), self.auth_response]
        else:
            parts += [self.auth_response, b"\0"]
        if caps & capability.CONNECT_WITH_DB:
            parts += [self.database or b"", b"\0"]
        if caps & capability.PLUGIN_AUTH:
            parts += [self.plugin.encode("ascii"), b"\0"]
        if caps & capability.CONNECT_ATTRS:
            parts.append(_encode_attributes(self.attributes))
        return b"".join(parts)


def parse_response(payload: bytes) -> HandshakeResponse | SslRequest:
    """Reads a client's first packet.

    The client's own flags say how it is laid out, whether we offered them or not. Raises ProtocolError 1043 where it
    is malformed, 1251 where the client is older than 4.1.
    """
    cursor = Cursor(payload)
    try:
        caps = cursor.uint(2)
        if not caps & capability.PROTOCOL_41:
            raise client_too_old()
        caps |= cursor.uint(2) << 16
        max_packet, charset = cursor.uint(4), cursor.uint(1)
        cursor.take(23)
        if caps & capability.SSL and len(payload) == _SSL_REQUEST_LENGTH:
            return SslRequest(caps, max_packet, charset)
        user = cursor.until_nul()
        if caps & capability.PLUGIN_AUTH_LENENC:
            proof = cursor.string()
        else:
            proof = _short_proof(cursor, caps)
        database = cursor.until_nul() if caps & capability.CONNECT_WITH_DB else None
        plugin = _plugin(cursor) if caps & capability.PLUGIN_AUTH else ""
        attributes = _parse_attributes(cursor) if caps & capability.CONNECT_ATTRS else {}
    except ProtocolError as error:
        if error.errno == 1251:
            raise
        raise bad_handshake() from error
    return HandshakeResponse(caps, max_packet, charset, user, proof, database or None, plugin, attributes)


@dataclass(frozen=True, slots=True)
class ChangeUser:
    user: bytes
    auth_response: bytes = field(repr=False)
    database: bytes | None = None
    charset: int | None = None  # here with two bytes; None: not sent
    plugin: str = ""
    attributes: Mapping[bytes, bytes] = field(default_factory=dict)

    def encode(self, capabilities: int) -> bytes:
        parts = [COM_CHANGE_USER.to_bytes(1, "little"), self.user, b"\0"]
        if capabilities & capability.SECURE_CONNECTION:
            parts += [len(self.auth_response).to_bytes(1, "little"), self.auth_response]
        else:
            parts += [self.auth_response, b"\0"]
        parts += [self.database or b"", b"\0"]
        if self.charset is not None:
            parts.append(self.charset.to_bytes(2, "little"))
            if capabilities & capability.PLUGIN_AUTH:
                parts += [self.plugin.encode("ascii"), b"\0"]
            if capabilities & capability.CONNECT_ATTRS:
                parts.append(_encode_attributes(self.attributes))
        return b"".join(parts)


def parse_change_user(payload: bytes, capabilities: int) -> ChangeUser:
    """Reads COM_CHANGE_USER of a client that logged in with `capabilities`. Raises ProtocolError 1043."""
    cursor = Cursor(payload)
    try:
        if cursor.uint(1) != COM_CHANGE_USER:
            raise bad_handshake()
        user = cursor.until_nul()
        proof = _short_proof(cursor, capabilities)
        database = cursor.until_nul() or None
        if cursor.left < 2:
            return ChangeUser(user, proof, database)
        charset = cursor.uint(2)
        plugin = _plugin(cursor) if capabilities & capability.PLUGIN_AUTH else ""
        attributes = _parse_attributes(cursor) if capabilities & capability.CONNECT_ATTRS else {}
    except ProtocolError as error:
        raise bad_handshake() from error
    return ChangeUser(user, proof, database, charset, plugin, attributes)


@dataclass(frozen=True, slots=True)
class AuthSwitch:
    """The server wants another plugin, with another scramble (without the NUL that ends it on the wire)."""

    plugin: str
    data: bytes

    def encode(self) -> bytes:
        return b"\xfe" + self.plugin.encode("ascii") + b"\0" + self.data + b"\0"

    @staticmethod
    def parse(payload: bytes) -> AuthSwitch:
        if payload[:1] != b"\xfe":
            raise bad_handshake()
        if len(payload) == 1:
            return AuthSwitch("mysql_old_password", b"")  # as servers before 5.5 say it
        cursor = Cursor(payload, 1)
        plugin = cursor.until_nul().decode("ascii", "replace")
        return AuthSwitch(plugin, cursor.rest().removesuffix(b"\0"))


@dataclass(frozen=True, slots=True)
class AuthMoreData:
    """Data of a plugin's own dialogue, from the server."""

    data: bytes

    def encode(self) -> bytes:
        return b"\x01" + self.data

    @staticmethod
    def parse(payload: bytes) -> AuthMoreData:
        if payload[:1] != b"\x01":
            raise bad_handshake()
        return AuthMoreData(payload[1:])


def _fixed_part(caps: int, max_packet: int, charset: int) -> bytes:
    # The filler ends in MariaDB's extended capabilities for those who do not set LONG_PASSWORD: none.
    return (
        (caps & 0xFFFFFFFF).to_bytes(4, "little")
        + max_packet.to_bytes(4, "little")
        + (charset & 0xFF).to_bytes(1, "little")
        + bytes(23)
    )


def _short_proof(cursor: Cursor, caps: int) -> bytes:
    if caps & capability.SECURE_CONNECTION:
        return cursor.take(cursor.uint(1))
    return cursor.until_nul()


def _plugin(cursor: Cursor) -> str:
    """A plugin's name; some peers leave out the NUL at the end of a packet, some the whole name."""
    end = cursor.data.find(b"\0", cursor.pos)
    name = cursor.rest() if end < 0 else cursor.until_nul()
    return name.decode("ascii", "replace")


def _encode_attributes(attributes: Mapping[bytes, bytes]) -> bytes:
    pairs = [lenenc.write_bytes(name) + lenenc.write_bytes(value) for name, value in attributes.items()]
    return lenenc.write_bytes(b"".join(pairs))


def _parse_attributes(cursor: Cursor) -> dict[bytes, bytes]:
    if not cursor.left:
        return {}
    block = Cursor(cursor.string())
    attributes: dict[bytes, bytes] = {}
    while block.left:
        name = block.string()
        attributes[name] = block.string()
    return attributes
