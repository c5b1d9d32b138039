"""Clients that say nothing, without looking at all of them once a second.

A client is *awake* from the first command that comes to the end of a second (a tick) in which none has come and none
was under way. Only those are looked at in every tick. A quiet one waits in a bucket with all others whose time is
over in the same second, so what a client costs depends on what it asks, and not on how long it is there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from proxy.front.overdue import IdleLimits

if TYPE_CHECKING:
    from proxy.front.client import Client
    from proxy.front.session import Session


class QuietClients:
    """See the module. Times are of `time.monotonic`, in seconds."""

    def __init__(self, now_s: float) -> None:
        self.awake: list[Client] = []
        self._limits: IdleLimits | None = None
        self._buckets: dict[int, dict[Client, None]] = {}
        self._looked_at = int(now_s)  # the second whose bucket was looked at last

    def gone(self, client: Client) -> None:
        """A client has left; among those that are awake it is noticed by the next tick."""
        self._take_out(client)
        client.quiet = False

    def tick(self, now_s: float, limits: IdleLimits) -> list[tuple[Client, Session]]:
        """Those whose time is over. `limits`: as they are now."""
        self._go_to_sleep(now_s, limits)
        if limits != self._limits:
            self._limits = limits
            self._looked_at = int(now_s)
            return self._judge(list(self._all()), now_s, limits)
        second = int(now_s)
        last, self._looked_at = self._looked_at, second
        due = [client for each in range(last + 1, second + 1) for client in self._buckets.get(each, ())]
        return self._judge(due, now_s, limits)

    def _all(self) -> Iterator[Client]:
        for bucket in self._buckets.values():
            yield from bucket

    def _go_to_sleep(self, now_s: float, limits: IdleLimits) -> None:
        still: list[Client] = []
        for client in self.awake:
            session = client.session
            if session is None or session.closed:
                continue
            if session.busy or session.statements != client.statements_seen:
                client.statements_seen = session.statements
                client.quiet_since = now_s
                still.append(client)
            else:
                client.quiet = True
                self._put(client, client.quiet_since + limits.seconds(client, session))
        self.awake = still

    def _judge(self, clients: Iterable[Client], now_s: float, limits: IdleLimits) -> list[tuple[Client, Session]]:
        over: list[tuple[Client, Session]] = []
        for client in clients:
            self._take_out(client)
            session = client.session
            if session is None or not client.quiet:
                continue  # it has spoken meanwhile, and comes back when it is quiet again
            end_s = client.quiet_since + limits.seconds(client, session)
            if now_s > end_s:
                over.append((client, session))
            else:
                self._put(client, end_s)
        return over

    def _put(self, client: Client, end_s: float) -> None:
        self._take_out(client)
        second = client.looked_at_in = max(int(end_s), self._looked_at) + 1
        self._buckets.setdefault(second, {})[client] = None

    def _take_out(self, client: Client) -> None:
        second, client.looked_at_in = client.looked_at_in, 0
        bucket = self._buckets.get(second)
        if bucket is not None:
            bucket.pop(client, None)
            if not bucket:
                del self._buckets[second]
