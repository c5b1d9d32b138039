"""How many logins begin within a second: of all clients, and of one address."""

from __future__ import annotations

from proxy.errors import TurnoutError
from proxy.rules.model import Limits


class Rates:
    """Counts within whole seconds, so that what is remembered of addresses is at most one second old, and bounded by
    what is let in."""

    def __init__(self) -> None:
        self._second = 0
        self._all = 0
        self._by_address: dict[str, int] = {}

    def admit(self, origin: str, limits: Limits, now: float) -> tuple[str, TurnoutError] | None:
        """None when a login from there may go on; else a label for the metric, and what the client is told."""
        second = int(now)
        if second != self._second:
            self._second = second
            self._all = 0
            self._by_address.clear()
        most = limits.logins_per_second
        if most and self._all >= most:
            text = f"Too many connections: more than {most} logins a second; try again (limits.logins_per_second)"
            return "rate", TurnoutError(text, 1040, "08004")
        most = limits.logins_per_address
        if most:
            counted = self._by_address.get(origin, 0)
            if counted >= most:
                text = (
                    f"Host '{origin or 'localhost'}' is blocked because of more than {most} logins a second; "
                    "try again (limits.logins_per_address)"
                )
                return "address-rate", TurnoutError(text, 1129, "HY000")
            self._by_address[origin] = counted + 1
        self._all += 1
        return None
