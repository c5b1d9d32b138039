"""Who a client says it is, in our terms: decoded names, a usable collation, the capabilities of both sides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from proxy.wire import capability, charsets
from proxy.wire.handshake import NATIVE, HandshakeResponse


@dataclass(frozen=True, slots=True)
class Claim:
    user: str
    database: str | None
    charset: int
    capabilities: int
    attributes: Mapping[bytes, bytes]
    plugin: str
    proof: bytes = field(repr=False)
    max_packet: int


def read_claim(response: HandshakeResponse, offered: int, default_charset: int) -> Claim:
    """Reads a response to a greeting that offered these capabilities and this collation.

    Like servers do, a collation that is unknown, or that no client may speak, becomes the offered one. Names are
    decoded from the client's character set; one that cannot be is nobody's (it holds U+FFFD).
    """
    collation = charsets.collation(response.charset)
    if collation is not None and not charsets.client_charset_allowed(collation.charset):
        collation = None
    codec = (charsets.codec(collation.charset) if collation else None) or "utf-8"
    return Claim(
        user=response.user.decode(codec, "replace"),
        database=None if response.database is None else response.database.decode(codec, "replace"),
        charset=collation.id if collation else default_charset,
        capabilities=response.capabilities & offered,
        attributes=response.attributes,
        plugin=response.plugin if response.capabilities & capability.PLUGIN_AUTH else NATIVE,
        proof=response.auth_response,
        max_packet=response.max_packet,
    )
