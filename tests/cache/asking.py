"""What memcached says, for tests that wait for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from proxy.cache.cached_value import CachedValue
from proxy.cache.memcached import Memcached
from proxy.cache.store import Adopt, Store
from proxy.cache.value import RemoteKey

T = TypeVar("T")


async def fetch(remote: Memcached, key: RemoteKey) -> CachedValue | None:
    item = await _told(partial(remote.ask, key))
    return remote.read(key, item) if item is not None else None


async def fetch_from(store: Store, key: RemoteKey, slots: tuple[int, ...], adopt: Adopt) -> CachedValue | None:
    item = await _told(partial(store.remote.ask, key)) if store.remote is not None else None
    return store.read(key, slots, adopt, item) if item is not None else None


async def lease(remote: Memcached, key: RemoteKey) -> bool | None:
    return await _told(partial(remote.lease, key))


async def _told(ask: Callable[[Callable[[T | None], None]], bool]) -> T | None:
    """What `ask` tells; None also when nothing is asked. Being told twice is an error, unless nobody waits any more."""
    future: asyncio.Future[T | None] = asyncio.get_running_loop().create_future()

    def done(found: T | None) -> None:
        if not future.cancelled():
            future.set_result(found)

    return await future if ask(done) else None
