"""Positions in replication as both families of servers write them, and "has this replica applied that transaction?".

MariaDB: `domain-server-sequence`, one per domain, comma separated (`0-1-270,3-2-9`); a replica has applied a
transaction when its position in that domain has the same or a higher sequence. MySQL: `uuid:1-5:7,uuid2:1-3` (tagged
GTIDs are not understood).
Sources: MariaDB "Global Transaction ID"; MySQL "GTID Format and Storage".
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class GtidPosition:
    """Either `domains` (MariaDB: domain -> sequence) or `intervals` (MySQL: uuid -> inclusive intervals) is used."""

    domains: tuple[tuple[int, int], ...] = ()
    intervals: tuple[tuple[str, tuple[tuple[int, int], ...]], ...] = ()

    def covers(self, other: GtidPosition) -> bool:
        """Whether everything in `other` is in this position."""
        mine = dict(self.domains)
        for domain, sequence in other.domains:
            if mine.get(domain, -1) < sequence:
                return False
        sets = dict(self.intervals)
        for uuid, wanted in other.intervals:
            have = sets.get(uuid, ())
            for first, last in wanted:
                if not any(a <= first and last <= b for a, b in have):
                    return False
        return True

    def merged(self, other: GtidPosition) -> GtidPosition:
        """The position after both."""
        domains = dict(self.domains)
        for domain, sequence in other.domains:
            domains[domain] = max(sequence, domains.get(domain, -1))
        sets = {uuid: list(parts) for uuid, parts in self.intervals}
        for uuid, parts in other.intervals:
            sets.setdefault(uuid, []).extend(parts)
        return GtidPosition(
            tuple(sorted(domains.items())),
            tuple(sorted((uuid, _joined(parts)) for uuid, parts in sets.items())),
        )


def _joined(parts: list[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    out: list[tuple[int, int]] = []
    for first, last in sorted(parts):
        if out and first <= out[-1][1] + 1:
            out[-1] = (out[-1][0], max(last, out[-1][1]))
        else:
            out.append((first, last))
    return tuple(out)


def parse(text: str) -> GtidPosition:
    """Either family's text. Raises ValueError."""
    domains: dict[int, int] = {}
    intervals: dict[str, list[tuple[int, int]]] = {}
    for part in text.replace("\n", "").split(","):
        part = part.strip()
        if not part:
            continue
        if ":" in part:
            uuid, *ranges = part.split(":")
            for item in ranges:
                first, _, last = item.partition("-")
                intervals.setdefault(uuid.lower(), []).append((int(first), int(last or first)))
        else:
            domain, _server, sequence = part.split("-")
            domains[int(domain)] = max(int(sequence), domains.get(int(domain), -1))
    return GtidPosition(
        tuple(sorted(domains.items())), tuple(sorted((uuid, _joined(p)) for uuid, p in intervals.items()))
    )
