"""Hashes of keys: 32 bits, the same in every process, whether a statement's text has the key or an execution's packet.

Every statement is asked for its key's, so what keys nearly always are, integers, needs no table: where other programs
have emptied the processor's caches, CRC's costs more than all else here.
"""

from __future__ import annotations

import zlib
from typing import Final

from mypy_extensions import i64

_DIGITS: Final = 18  # of numbers that are hashed as such
LARGEST: Final = 10**_DIGITS - 1
_ZERO: Final = 48
_MIX: Final = 0x9E3779B1  # 2^32 / golden ratio
_crc32: Final = zlib.crc32


def key_hash(text: bytes) -> int:
    """Of a key as text."""
    size: i64 = len(text)
    if 0 < size <= _DIGITS and (size == 1 or text[0] != _ZERO):
        number: i64 = 0
        at: i64 = 0
        while at < size:
            digit: i64 = text[at] - _ZERO
            if digit < 0 or digit > 9:
                break
            number = number * 10 + digit
            at += 1
        if at == size:
            return integer_hash(number)
    return _crc32(text) * _MIX & 0xFFFFFFFF  # a product spreads what CRC leaves of patterns in texts


def integer_hash(number: i64) -> i64:
    """`key_hash` of a number from 0 to LARGEST, without its text. What is above its 30 lowest bits is multiplied into
    them, and the 32 bits are mixed by the two multiplications that hash-prospector found least biased. All factors are
    below 2^31, so that no product needs 64 bits."""
    mixed: i64 = (number ^ (number >> 30) * 0x2C1B3C6D) & 0xFFFFFFFF
    mixed = (mixed ^ mixed >> 16) * 0x21F0AAAD & 0xFFFFFFFF
    mixed = (mixed ^ mixed >> 15) * 0x735A2D97 & 0xFFFFFFFF
    return mixed ^ mixed >> 15
