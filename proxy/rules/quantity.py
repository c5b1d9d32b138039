"""Durations and sizes as they are written in the rules: `500ms`, `5s`, `2m`, `1h`, `64MB`."""

from __future__ import annotations

import re

_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(ms|s|m|h)")
_SIZE = re.compile(r"([0-9]+)\s*(B|KB|MB|GB)", re.IGNORECASE)
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_BYTES = {"B": 1, "KB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30}

LONGEST_S = 365 * 24 * 3600.0


def duration_s(value: object) -> float:
    """Seconds; a bare number is seconds. Raises ValueError with a sentence."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        seconds = float(value)
    else:
        found = _DURATION.fullmatch(value) if isinstance(value, str) and len(value) < 40 else None
        if found is None:
            raise ValueError("must be a time: `500ms`, `5s`, `2m`, `1h`, or a number of seconds")
        seconds = float(found[1]) * _SECONDS[found[2]]
    if seconds < 0:
        raise ValueError("must not be negative")
    if seconds > LONGEST_S:
        raise ValueError("must not be longer than a year (8760h)")
    return seconds


def size_bytes(value: object) -> int:
    """Bytes; a bare number is bytes, KB is 1024 of them. Raises ValueError with a sentence."""
    if isinstance(value, int) and not isinstance(value, bool):
        if value < 0:
            raise ValueError("must not be negative")
        return value
    found = _SIZE.fullmatch(value) if isinstance(value, str) and len(value) < 40 else None
    if found is None:
        raise ValueError("must be a size: `64MB`, `512KB`, `1GB`, or a number of bytes")
    return int(found[1]) * _BYTES[found[2].upper()]


def duration_text(seconds: float) -> str:
    """A duration as an operator would write it."""
    for unit, factor in (("h", 3600), ("m", 60), ("s", 1)):
        if seconds >= factor and seconds % factor == 0:
            return f"{int(seconds // factor)}{unit}"
    return f"{seconds * 1000:g}ms" if 0 < seconds < 1 else f"{seconds:g}s"


def size_text(size: int) -> str:
    """A size as an operator would write it."""
    for unit in ("GB", "MB", "KB"):
        if size >= _BYTES[unit] and size % _BYTES[unit] == 0:
            return f"{size // _BYTES[unit]}{unit}"
    return f"{size} bytes"
