"""The history's spans of time: how long what is kept, in how many rows, and which rows make up a window. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from proxy.measure.tally import Key, Tally

MINUTE, HOUR, DAY = 60, 3600, 86_400


@dataclass(frozen=True, slots=True)
class Span:
    """A length of time that rows are about: how long they are kept, and how many there are for each."""

    seconds: int
    kept_s: int
    shapes: int
    tables: int


SPANS = (
    Span(MINUTE, 26 * HOUR, shapes=200, tables=200),
    Span(HOUR, 35 * DAY, shapes=300, tables=300),
    Span(DAY, 3 * 365 * DAY, shapes=300, tables=300),
)


def parts_of(
    spans: Sequence[Span], covered: Mapping[int, tuple[int, int]], since: float | None, until: float | None
) -> list[tuple[int, int, int]]:
    """Which rows make up a window: (span, first start, end of starts), never two of the same time. Days where there are
    no hours any more, hours where there are no minutes; a row belongs to a window if it begins in it, or is the one
    in which the window begins."""
    parts = []
    end = float("inf") if until is None else until
    for span in spans:
        if span.seconds not in covered:
            continue
        begun, _ = covered[span.seconds]
        begin = begun if since is None else max(begun, int(since - since % span.seconds))
        if begin < end:
            parts.append((span.seconds, begin, int(min(end, 1 << 62))))
        end = min(end, begun)
        if since is not None and begun <= since:
            break
    return parts


def bounded(sums: dict[Key, Tally], limit: int, others: Key) -> dict[Key, Tally]:
    """The `limit` most expensive of these, and all others as one."""
    named = [key for key in sums if key != others]
    if len(named) <= limit:
        return sums
    named.sort(key=lambda key: (-sums[key].total_ns, -sums[key].count))
    rest = Tally()
    for key in [*named[limit:], *([others] if others in sums else [])]:
        rest.add(sums[key])
    return {**{key: sums[key] for key in named[:limit]}, others: rest}
