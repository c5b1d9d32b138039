"""What workers hand on of their numbers: each window is what was added since the one before."""

from __future__ import annotations

import sys
from typing import TypeVar

import msgspec

from proxy.measure.key_replay import KeyEvent
from proxy.measure.shapes import ShapeWindow

T = TypeVar("T")
_OURS = 3  # references to an element of a list that is being walked: the list, the loop's variable, the argument


class ServerWindow(msgspec.Struct, array_like=True):
    """What one server was asked since the last take, through all pools of one worker. `counters`: see ServerStats."""

    cluster: str
    address: str
    role: str
    counters: dict[str, int]
    open_failed: dict[str, int]
    closed: dict[str, int]


class CacheWindow(msgspec.Struct, array_like=True):
    """What happened to one class's reads since the last take. `counters`: see CacheStats."""

    table: str
    by: str
    coherent: bool
    counters: dict[str, int]
    refused: dict[str, int]
    bypassed: dict[str, int]
    unfilled: dict[str, int]


class KeyWindow(msgspec.Struct, array_like=True):
    """One candidate key since the last take. `events` are `KeyEvent`s; those of COUNTED stand for `every` each."""

    table: str
    columns: tuple[str, ...]
    level: int
    every: int
    events: list[KeyEvent]


class Window(msgspec.Struct, array_like=True):
    """What one worker did since its last window, and (gauges) what it has open now."""

    shapes: list[ShapeWindow]
    servers: list[ServerWindow]
    counters: dict[str, int]
    labelled: dict[str, dict[str, int]]
    gauges: dict[str, int]
    caches: list[CacheWindow] = []
    keys: list[KeyWindow] = []
    together: list[tuple[tuple[str, ...], int]] = []  # tables that transactions touched, and how many of these did


def referred_to(counted: list[T]) -> list[T]:
    """Those that anybody but the list refers to. It may not be compiled: references are other ones then."""
    kept = []
    for each in counted:
        if sys.getrefcount(each) > _OURS:
            kept.append(each)
    return kept
