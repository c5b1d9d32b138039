"""How a SELECT of one shape is merged, made once for all statements that differ in other literals only.

`MergeSelect.made` is a function of the literals that it looks at: a LIMIT, a place in ORDER BY, a number in HAVING,
seldom more. Which ones those are is noted while it runs; where a later statement has the same there, it would look at
no others, and come to the same result.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import overload

from parser.statement import Hole, Value
from proxy.plan.merge import Merge
from proxy.plan.merge_select import Edit, MergeSelect
from proxy.plan.plan import KeyValue, ValueOf

Made = tuple[Merge, list[Edit]]
_MOST = 64  # of literals at the same places
_MOST_PLACES = 4


class KeptMerges:
    """See the module; of one `MergeSelect`."""

    __slots__ = ("_by_places", "always")

    def __init__(self) -> None:
        self.always: Made | None = None  # what it is whatever the literals are, once that is known
        self._by_places: list[tuple[tuple[int, ...], dict[tuple[bytes, ...], Made]]] = []

    def made(self, select: MergeSelect, value_of: ValueOf, literals: Sequence[bytes]) -> Made:
        """`select.made`. Raises StatementRefused."""
        for places, kept in self._by_places:
            found = kept.get(tuple([literals[place] for place in places]))
            if found is not None:
                return found
        noted = _Noted(literals, value_of)
        made = select.made(noted.value_of, noted)
        if not noted.bound:
            if not noted.places:
                self.always = made
            self._keep(tuple(sorted(noted.places)), literals, made)
        return made

    def _keep(self, places: tuple[int, ...], literals: Sequence[bytes], made: Made) -> None:
        kept = next((kept for known, kept in self._by_places if known == places), None)
        if kept is None:
            if len(self._by_places) >= _MOST_PLACES:
                self._by_places.clear()
            kept = {}
            self._by_places.append((places, kept))
        if len(kept) >= _MOST:
            kept.clear()
        kept[tuple([literals[place] for place in places])] = made


class _Noted(Sequence[bytes]):
    """A statement's literals, and the places of those that were looked at. `bound`: a value was, that is none."""

    def __init__(self, literals: Sequence[bytes], value_of: ValueOf) -> None:
        self.places: set[int] = set()
        self.bound = False
        self._literals = literals
        self._value_of = value_of

    def value_of(self, value: Value) -> KeyValue:
        if isinstance(value, Hole):
            self.places.add(value.index)
        else:
            self.bound = True
        return self._value_of(value)

    @overload
    def __getitem__(self, place: int) -> bytes: ...

    @overload
    def __getitem__(self, place: slice) -> Sequence[bytes]: ...

    def __getitem__(self, place: int | slice) -> bytes | Sequence[bytes]:
        self.places.update(range(*place.indices(len(self))) if isinstance(place, slice) else (place,))
        return self._literals[place]

    def __len__(self) -> int:
        return len(self._literals)
