"""Plans for sharded tables whose target depends on the values of one statement."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from zlib import crc32

from parser.params import bindings, param_places
from parser.rewrite import edit
from parser.statement import Hole, Param, Value, Word
from proxy.back.directory import Directory, KeysUnknown
from proxy.errors import StatementRefused
from proxy.plan.kept_merges import KeptMerges
from proxy.plan.keys import Family, form_text
from proxy.plan.merge_select import MergeSelect
from proxy.plan.plan import KeyValue, Plan, Reply, Route, Send, Unknown, ValueOf
from proxy.plan.sharding import Placement
from proxy.rules.model import SLOTS, Method, Sharding


@dataclass(frozen=True, slots=True)
class KeyPin:
    """The rows of a sharded table that can matter have one of `values` in its key."""

    table: str  # for people
    column: str
    values: tuple[Value, ...]
    placement: Placement

    def clusters(self, value_of: ValueOf) -> set[str] | None:
        """Where those rows are. None: they may be anywhere. Empty: there can be none."""
        found = set()
        unknown: KeysUnknown | None = None
        for value in self.values:
            text = form_text(self.placement.form, constant(value, value_of))
            if text is None:
                return None
            try:
                cluster = self.placement.cluster(text)
            except KeysUnknown as error:  # all of them at once, then
                unknown = error.with_keys_of(unknown)
                continue
            if cluster is not None:
                found.add(cluster)
        if unknown is not None:
            raise unknown
        return found


def constant(value: Value, value_of: ValueOf) -> KeyValue:
    """The value of a constant, words included."""
    if isinstance(value, (Hole, Param)):
        return value_of(value)
    if value is Word.TRUE:
        return 1
    if value is Word.FALSE:
        return 0
    if value is Word.NULL:
        return None
    return Unknown.UNKNOWN


@functools.lru_cache(maxsize=1024)
def route_to(cluster: str) -> Route:
    """The client's own bytes to one cluster."""
    return Route((Send(cluster),))


_ROUTES_BY_SLOT: dict[int, tuple[tuple[str, ...], tuple[Route, ...]]] = {}


def _routes_by_slot(slots: tuple[str, ...]) -> tuple[Route, ...]:
    """A route for each slot, made once for each rules file (by identity: hashing 4096 names takes too long)."""
    kept = _ROUTES_BY_SLOT.get(id(slots))
    if kept is not None and kept[0] is slots:
        return kept[1]
    if len(_ROUTES_BY_SLOT) >= 64:
        _ROUTES_BY_SLOT.clear()
    routes = tuple(route_to(cluster) for cluster in slots)
    _ROUTES_BY_SLOT[id(slots)] = (slots, routes)
    return routes


_REPLIES = {
    Reply.CONCATENATE: "rows one shard after the other",
    Reply.MERGE: "rows merged",
    Reply.SUM: "affected rows added up",
    Reply.EXPLAIN: "rows one shard after the other, with a column `cluster`",
    Reply.FIRST: "the first shard's",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scatter(Plan):
    """To every shard; the answers one after the other, their rows merged, or their affected rows added up.

    With `select` every shard gets a text of its own making; else the statement as it is.
    """

    kind = "scatter"
    clusters: tuple[str, ...]
    reply: Reply
    select: MergeSelect | None = None
    otherwise: Plan | None = None  # where the rows cannot be merged after all (`proxy.plan.workbench`)
    _kept: KeptMerges = field(init=False, default_factory=KeptMerges, repr=False, compare=False)
    # The statement as it is to every shard: None where what becomes of the answers depends on its literals.
    everywhere: Route | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "everywhere", self._as_it_is(self.clusters) if self.select is None else None)

    def _as_it_is(self, clusters: Iterable[str]) -> Route:
        return Route(tuple(Send(cluster) for cluster in clusters), self.reply, otherwise=self.otherwise)

    def route(self, value_of: ValueOf, text: bytes) -> Route:
        if self.everywhere is not None:
            return self.everywhere
        route = self.route_over(self.clusters, value_of, text)
        if self.select is not None and self._kept.always == (route.merge, []):
            object.__setattr__(self, "everywhere", route)
        return route

    def route_over(self, clusters: Iterable[str], value_of: ValueOf, text: bytes) -> Route:
        """To those of the shards that can hold rows that matter. Raises StatementRefused."""
        wanted = frozenset(clusters)
        targets = [cluster for cluster in self.clusters if cluster in wanted]
        if self.select is None:
            return self._as_it_is(targets)
        assert self.statement.lexer is not None
        shape, literals = self.statement.lexer.shape(text)
        try:
            merge, edits = self._kept.made(self.select, value_of, literals)
        except StatementRefused:
            if self.otherwise is None:
                raise
            return self.otherwise.route(value_of, text)
        own = edit(shape, literals, edits) if edits else None
        params = bindings(param_places(shape, self.statement.lexer), edits) if edits and b"?" in shape else ()
        sends = tuple(Send(cluster, own, params) for cluster in targets)
        return Route(sends, self.reply, merge, otherwise=self.otherwise)

    def describe(self) -> list[tuple[str, str]]:
        lines = [("plan", self.kind), ("clusters", ", ".join(self.clusters)), ("answers", _REPLIES[self.reply])]
        if self.select is not None:
            lines += self.select.describe()
        if self.otherwise is not None and self.select is not None:
            lines.append(("if that cannot be merged", "workbench"))
        return [*lines, *self.traits()]


class HashedLiteral:
    """An integer key that is literal number `place`: digits as the key's text has them are hashed as they are."""

    __slots__ = ("_high", "_place", "_slots")

    def __init__(self, place: int, high: int, slots: tuple[str, ...]) -> None:
        self._place = place
        self._high = high
        self._slots = slots

    def cluster(self, literals: Sequence[bytes]) -> str:
        """ "": the route has to be asked for."""
        text = literals[self._place]
        if text.isdigit() and text[0] != _ZERO and len(text) < _MOST_DIGITS and int(text) <= self._high:
            return self._slots[crc32(text) % SLOTS]
        return ""


_ZERO = ord("0")
_MOST_DIGITS = 21


@dataclass(frozen=True, slots=True, kw_only=True)
class ByKey(Plan):
    """To the one shard that holds every row that matters: all `keys` lead there (and `required` is it, if given).

    Where they lead to several shards, or a value's shard is not known, `fallback` decides. `moves` are values that an
    UPDATE assigns to shard keys: where they may not leave the rows where they are, `fallback` decides too.
    """

    kind = "shard"
    keys: tuple[KeyPin, ...]
    fallback: Plan
    required: str | None = None
    any_cluster: str  # where no row can matter
    moves: tuple[KeyPin, ...] = ()

    # The quick way: one integer key with one value, hashed or of a directory, no conditions.
    _value: Value | None = field(init=False, default=None, repr=False, compare=False)
    _low: int = field(init=False, default=0, repr=False, compare=False)
    _high: int = field(init=False, default=0, repr=False, compare=False)
    _routes: tuple[Route, ...] = field(init=False, default=(), repr=False, compare=False)
    _directory: Directory | None = field(init=False, default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        if len(self.keys) != 1 or self.required is not None or self.moves:
            return
        key = self.keys[0]
        sharding, form = key.placement.sharding, key.placement.form
        if len(key.values) == 1 and form.family is Family.INTEGER and isinstance(key.values[0], (Hole, Param)):
            if sharding.method is Method.HASH:
                object.__setattr__(self, "_routes", _routes_by_slot(sharding.slots))
            elif key.placement.directory is not None:
                object.__setattr__(self, "_directory", key.placement.directory)
            else:
                return
            object.__setattr__(self, "_value", key.values[0])
            object.__setattr__(self, "_low", form.low)
            object.__setattr__(self, "_high", form.high)

    @property
    def hashed(self) -> HashedLiteral | None:
        """What says the cluster of nearly all statements of this shape from their literals alone."""
        value = self._value
        if not isinstance(value, Hole) or value.is_string or value.negative or self._directory is not None:
            return None
        return HashedLiteral(value.index, self._high, self.keys[0].placement.sharding.slots)

    def route(self, value_of: ValueOf, text: bytes) -> Route:
        if self._value is not None:
            value = value_of(self._value)
            if isinstance(value, int) and self._low <= value <= self._high:
                if self._directory is None:
                    return self._routes[crc32(b"%d" % value) % SLOTS]
                return route_to(self._directory.find(b"%d" % value) or self.any_cluster)
        return self._route(value_of, text)

    def _route(self, value_of: ValueOf, text: bytes) -> Route:
        found = {self.required} if self.required is not None else set()
        known = True
        for key in self.keys:
            clusters = key.clusters(value_of)
            if clusters is None:
                known = False
            else:
                found.update(clusters)
        if not known or len(found) > 1:
            if known and isinstance(self.fallback, Scatter):
                return self.fallback.route_over(found, value_of, text)
            return self.fallback.route(value_of, text)
        cluster = found.pop() if found else self.any_cluster
        for move in self.moves:
            if move.clusters(value_of) != {cluster}:
                return self.fallback.route(value_of, text)
        return route_to(cluster)

    def describe(self) -> list[tuple[str, str]]:
        lines = [("plan", self.kind)]
        for key in self.keys:
            sharding = key.placement.sharding
            lines.append(("key", f"{key.table}.{key.column} = {values_text(key.values)}"))
            lines.append(("sharding", sharding_text(sharding)))
        if self.required is not None:
            lines.append(("only if on", self.required))
        fallback = dict(self.fallback.describe())
        kind = fallback["plan"]
        lines.append(("otherwise", " ".join([kind, *(fallback[what] for what in _FALLBACK if what in fallback)])))
        return [*lines, *self.traits()]


_FALLBACK = ("cluster", "clusters", "workbench", "reason")  # what is said of a fallback


def sharding_text(sharding: Sharding) -> str:
    """A sharding for EXPLAIN."""
    where = f", looked up in {sharding.table}" if sharding.method is Method.DIRECTORY else ""
    return f"{sharding.name} ({sharding.method.value}{where})"


def values_text(values: tuple[Value, ...]) -> str:
    """Values for EXPLAIN: literals as `?` (with their place), several as a list."""
    texts = []
    for value in values:
        if isinstance(value, Hole):
            texts.append(f"literal {value.index}")
        elif isinstance(value, Param):
            texts.append(f"parameter {value.index}")
        else:
            texts.append(value.value if isinstance(value, Word) else "expression")
    return texts[0] if len(texts) == 1 else f"one of ({', '.join(texts)})"
