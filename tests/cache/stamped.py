"""Values of which only the stamp and the slots of the tags count."""

from __future__ import annotations

from proxy.cache.cached_value import CachedValue


def stamped(incarnation: int, position: int, slots: tuple[int, ...]) -> CachedValue:
    return CachedValue(incarnation, 0, position, slots, b"", 0, 0)
