"""SHA-256 crypt, as MySQL uses it: Ulrich Drepper's algorithm with a salt of 20 bytes instead of at most 16.

Sources: "Unix crypt using SHA-256 and SHA-512" (its step numbers are in the comments);
MySQL `mysys/crypt_genhash_impl.cc`.
"""

from __future__ import annotations

from hashlib import sha256

_ALPHABET = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_GROUPS = (
    (0, 10, 20),
    (21, 1, 11),
    (12, 22, 2),
    (3, 13, 23),
    (24, 4, 14),
    (15, 25, 5),
    (6, 16, 26),
    (27, 7, 17),
    (18, 28, 8),
    (9, 19, 29),
)


def sha256_crypt(password: bytes, salt: bytes, rounds: int) -> bytes:
    """The 43 characters of the hash."""
    size = len(password)
    second = sha256(password + salt + password).digest()  # 4-8
    first = sha256(password + salt + _repeat(second, size))  # 1-3, 9-10
    bits = size
    while bits:  # 11
        first.update(second if bits & 1 else password)
        bits >>= 1
    digest = first.digest()
    p = _repeat(sha256(password * size).digest(), size)  # 13-16
    s = _repeat(sha256(salt * (16 + digest[0])).digest(), len(salt))  # 17-20
    for round_ in range(rounds):  # 21
        text = p if round_ & 1 else digest
        if round_ % 3:
            text += s
        if round_ % 7:
            text += p
        digest = sha256(text + (digest if round_ & 1 else p)).digest()
    return _encode(digest)


def _repeat(block: bytes, size: int) -> bytes:
    return (block * (size // len(block) + 1))[:size]


def _encode(digest: bytes) -> bytes:
    out = bytearray()
    for a, b, c in _GROUPS:
        _append(out, digest[a] << 16 | digest[b] << 8 | digest[c], 4)
    _append(out, digest[31] << 8 | digest[30], 3)
    return bytes(out)


def _append(out: bytearray, value: int, characters: int) -> None:
    for _ in range(characters):
        out.append(_ALPHABET[value & 63])
        value >>= 6
