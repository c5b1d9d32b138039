"""A cached answer with its stamp, and how it is written into memcached.

An item of memcached holds the whole key again: two statements whose hashes are the same cannot get each other's answer.
Its bytes: magic and version, CRC32 of all that follows, then a msgpack array. Whatever is not that is no value.
"""

from __future__ import annotations

import functools
import hashlib
import zlib

import msgspec

from proxy.back.tags import SLOTS

FORMAT = 1
PREFIX = b"turnout:%d:" % FORMAT
_MAGIC = b"TRN" + bytes((FORMAT,))
_OVERHEAD_BYTES = 600  # of an entry in a worker's memory besides its response: objects, dictionary, key (measured)

RemoteKey = tuple[bytes, ...]


class CachedValue(msgspec.Struct, gc=False):
    """One answer. `slots` are those of its tags; `response` is the framed result set, sequence ids from 1.

    The collector of cycles does not look at it: it refers to nothing that could refer back, and with hundreds of
    thousands of them every full collection would stop the worker for a tenth of a second."""

    incarnation: int
    log_id: int
    position: int
    slots: tuple[int, ...]
    response: bytes
    rows: int
    created_ns: int  # monotonic, of this host: for classes with `ttl`
    size_bytes: int = 0  # of memory that it takes (`memory_of`)
    generation: int = 0  # of `Local`, where it is; 0: nowhere
    unsent: int | None = None  # it is to be sent to memcached once it is served: by which definitions it was made


def memory_of(response: int, slots: tuple[int, ...], literals: tuple[bytes, ...]) -> int:
    """Bytes of a worker's memory that a value with so long a response takes with a key of these literals, roughly."""
    return response + 36 * len(slots) + len(b"".join(literals)) + 48 * len(literals) + _OVERHEAD_BYTES


class _Item(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    key: list[bytes]
    log_id: int
    position: int
    slots: list[int]
    rows: int
    response: bytes


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Item)


@functools.lru_cache(maxsize=1024)  # a miss asks for it, and again when it has the answer
def item_name(key: RemoteKey) -> bytes:
    """The key in memcached: our prefix and a hash of an unambiguous encoding of all that the answer depends on."""
    digest = hashlib.blake2b(b"".join(b"%d:%s" % (len(part), part) for part in key), digest_size=24)
    return PREFIX + digest.hexdigest().encode()


def encode_item(key: RemoteKey, value: CachedValue) -> bytes:
    body = _encoder.encode(
        _Item(list(key), value.log_id, value.position, list(value.slots), value.rows, value.response)
    )
    return _MAGIC + zlib.crc32(body).to_bytes(4, "little") + body


def decode_item(key: RemoteKey, data: bytes, created_ns: int) -> CachedValue | None:
    """The value, with incarnation 0: whether its position means anything here is for the clocks to say. None: not an
    item of this format for this key."""
    if data[:4] != _MAGIC or int.from_bytes(data[4:8], "little") != zlib.crc32(data[8:]):
        return None
    try:
        item = _decoder.decode(data[8:])
    except msgspec.MsgspecError:
        return None
    if tuple(item.key) != key or not item.response:
        return None
    if item.position < 0 or item.log_id < 0 or not all(0 <= slot < SLOTS for slot in item.slots):
        return None
    return CachedValue(0, item.log_id, item.position, tuple(item.slots), item.response, item.rows, created_ns)
