"""Where cached values are: in this worker's memory first, then in memcached, if the rules name any."""

from __future__ import annotations

from collections.abc import Callable, Hashable

from proxy.cache.cached_value import CachedValue
from proxy.cache.local import Local
from proxy.cache.memcached import Memcached
from proxy.cache.value import RemoteKey

Adopt = Callable[[int, int], int | None]  # log id and position of a stamp -> its incarnation here


class Store:
    """See the module. Whether a value may be served is the caller's question to the clocks."""

    __slots__ = ("keep", "local", "peek", "remote")

    def __init__(self, limit_bytes: int, remote: Memcached | None = None) -> None:
        self.local = Local(limit_bytes)
        self.remote = remote
        self.peek: Callable[[Hashable], CachedValue | None] = self.local.get
        self.keep: Callable[[Hashable, CachedValue], None] = self.local.put

    def read(self, key: RemoteKey, slots: tuple[int, ...], adopt: Adopt, item: bytes) -> CachedValue | None:
        """The value, if its stamp can be compared with the clocks here. It must depend on the same `slots`: whoever put
        it there may have had other rules, whose tags nobody touches here."""
        value = self.remote.read(key, item) if self.remote is not None else None
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

    def lease(self, key: RemoteKey, done: Callable[[bool | None], None]) -> bool:
        """Is this worker the one of all workers to ask the server? `done` is told, None: there is nobody to say so.
        False: nothing is asked, and `done` not called."""
        return self.remote is not None and self.remote.lease(key, done)

    def end_lease(self, key: RemoteKey) -> None:
        if self.remote is not None:
            self.remote.end_lease(key)
