"""Where cached values are: in this worker's memory first, then in memcached, if the rules name any."""

from __future__ import annotations

from collections.abc import Callable, Hashable

from proxy.cache.local import Local
from proxy.cache.memcached import Memcached
from proxy.cache.value import CachedValue, RemoteKey

Adopt = Callable[[int, int], int | None]  # log id and position of a stamp -> its incarnation here


class Store:
    """See the module. Whether a value may be served is the caller's question to the clocks."""

    __slots__ = ("keep", "local", "peek", "remote")

    def __init__(self, limit_bytes: int, remote: Memcached | None = None) -> None:
        self.local = Local(limit_bytes)
        self.remote = remote
        self.peek: Callable[[Hashable], CachedValue | None] = self.local.get
        self.keep: Callable[[Hashable, CachedValue], None] = self.local.put

    async def fetch(self, key: RemoteKey, slots: tuple[int, ...], adopt: Adopt | None) -> CachedValue | None:
        """What memcached has, if its stamp can be compared with the clocks here. It must depend on the same `slots`:
        whoever put it there may have had other rules, whose tags nobody touches here."""
        if self.remote is None or adopt is None:
            return None
        value = await self.remote.fetch(key)
        if value is None or value.slots != slots:
            return None
        incarnation = adopt(value.log_id, value.position)
        if incarnation is None:
            return None
        value.incarnation = incarnation
        return value

    def send(self, key: RemoteKey, value: CachedValue) -> None:
        if self.remote is not None:
            self.remote.send(key, value)

    async def lease(self, key: RemoteKey) -> bool | None:
        """Whether this worker is the one of all workers to ask the server; None: there is nobody to say so."""
        return await self.remote.lease(key) if self.remote is not None else None

    def end_lease(self, key: RemoteKey) -> None:
        if self.remote is not None:
            self.remote.end_lease(key)
