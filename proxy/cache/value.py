"""The keys of cached answers, and how an answer with its stamp is written into memcached.

An item of memcached holds the whole key again: two statements whose names are the same cannot get each other's answer.
Its bytes: magic and version, CRC32 of all that follows, then a msgpack array. Whatever is not that is no value.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from hashlib import blake2b

import msgspec

from proxy.back.tags import SLOTS
from proxy.cache.cached_value import CachedValue

FORMAT = 2
PREFIX = b"turnout:%d:" % FORMAT
_IN_NAME_BYTES = 150  # of values in a name, which may have 250 bytes
_MAGIC = b"TRN" + bytes((FORMAT,))


class RemoteKey(msgspec.Struct, frozen=True, gc=False):
    """`words`: everything that an answer depends on, each part with its length before it, so that no two are the same;
    `name`: the item's, which begins with our prefix."""

    words: bytes
    name: bytes


def words_of(parts: Iterable[bytes]) -> bytes:
    """Those of a key, or of a part of one: they can be put together."""
    return b"".join([b"%d:%b" % (len(part), part) for part in parts])


def named(words: bytes) -> RemoteKey:
    """The key whose name is a hash."""
    return RemoteKey(words, PREFIX + blake2b(words, digest_size=24).hexdigest().encode())


class Family:
    """What keys have in common that differ in their last parts only, the values that a statement has. Values that may
    stand in a name do: a hash of each key would cost more than the rest of it."""

    __slots__ = ("_name", "_words")

    def __init__(self, words: bytes) -> None:
        self._words = words
        self._name = PREFIX + blake2b(words, digest_size=16).hexdigest().encode() + b"/"

    def key(self, literals: tuple[bytes, ...]) -> RemoteKey:
        words = words_of(literals)
        if len(words) <= _IN_NAME_BYTES and b"".join(literals).isalnum():
            return RemoteKey(self._words + words, self._name + words)
        return named(self._words + words)


class _Item(msgspec.Struct, array_like=True, forbid_unknown_fields=True, gc=False):
    key: bytes
    log_id: int
    position: int
    slots: tuple[int, ...]
    rows: int
    response: bytes


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Item).decode


def encode_item(key: RemoteKey, value: CachedValue) -> bytes:
    body = _encode((key.words, value.log_id, value.position, value.slots, value.rows, value.response))
    return b"".join((_MAGIC, zlib.crc32(body).to_bytes(4, "little"), body))


def decode_item(key: RemoteKey, data: bytes, created_ns: int) -> CachedValue | None:
    """The value, with incarnation 0: whether its position means anything here is for the clocks to say. None: not an
    item of this format for this key."""
    body = data[8:]
    if data[:4] != _MAGIC or int.from_bytes(data[4:8], "little") != zlib.crc32(body):
        return None
    try:
        item = _decode(body)
    except msgspec.MsgspecError:
        return None
    slots = item.slots
    if item.key != key.words or not item.response:
        return None
    if item.position < 0 or item.log_id < 0 or (slots and (min(slots) < 0 or max(slots) >= SLOTS)):
        return None
    return CachedValue(0, item.log_id, item.position, slots, item.response, item.rows, created_ns)
