"""What the statements of a server's log cost, by shape: the same shapes, under the same ids, as Turnout would measure.

A shape is parsed once, for its tables; every other statement costs one pass of the lexer and a look into a dictionary.
Memory is bounded: shapes beyond a limit make room for each other (`Tallies`), and look-ups are kept for a bounded
number.
"""

from __future__ import annotations

import itertools
import operator
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from parser.analyse import parse, shape_digest
from parser.shape import HOLE, Lexer, is_opaque
from proxy.measure.log_keys import LogKeys
from proxy.measure.shapes import DIGEST_CHARS, MAX_SAMPLE, Sample, ShapeId, digest_id
from proxy.measure.slow_log import LoggedStatement
from proxy.measure.tally import OTHER_TABLES, OTHERS, OTHERS_DIGEST, Tallies, Tally

MAX_SHAPES: Final = 20_000
MAX_KNOWN: Final = 50_000  # texts of shapes whose line is known
MAX_KNOWN_BYTES: Final = 64 << 20
MAX_TABLES: Final = 16  # of one statement
MAX_ALL_TABLES: Final = 10_000  # of all
COMMAND: Final = "administrator command: "
_COMMAND: Final = b"\0\0\0"  # before a command's name, where a shape would be: no shape begins so
_DIGITS: Final = bytes.maketrans(b"123456789", b"000000000")
_ANY_DIGIT: Final = re.compile(rb"[0-9]")
_NO_DIGITS: Final[Callable[[bytes], object]] = operator.itemgetter(slice(0, 0))
_PREFIXED: Final = re.compile(rb"0[xXbB]")
_ONE_BYTE_DIGITS: Final = frozenset(["utf8mb4", "utf8mb3", "utf8", "latin1", "ascii", "binary"])


class _Alike:
    """Texts that are the same but for their digits: those of them that are not in literals say which shape it is."""

    __slots__ = ("digits", "tallies")

    def __init__(self, places: list[int]) -> None:
        self.digits = operator.itemgetter(*places) if places else _NO_DIGITS
        self.tallies: dict[object, Tally] = {}


def _digits_of(shape: bytes, literals: list[bytes]) -> list[int]:
    """Where in a text the digits are that are not in literals."""
    places: list[int] = []
    at = 0
    for part, literal in itertools.zip_longest(shape.split(HOLE), literals, fillvalue=b""):
        places += [at + found.start() for found in _ANY_DIGIT.finditer(part)]
        at += len(part) + len(literal)
    return places


class LogShapes:
    """Sums by shape of what was added. `lexer` says how the log's statements are to be read. `since`, `until`: Unix
    time; statements before the one and from the other on are left out. `keys` is told of the statements, too."""

    def __init__(
        self,
        lexer: Lexer,
        since: float | None = None,
        until: float | None = None,
        max_shapes: int = MAX_SHAPES,
        keys: LogKeys | None = None,
    ) -> None:
        self.lexer = lexer
        self.since = since
        self.until = until
        self.keys = keys
        self.shapes: Tallies[ShapeId] = Tallies(max_shapes, OTHERS, self._made_room)
        self.digests: dict[ShapeId, str] = {}
        self.samples: dict[ShapeId, Sample] = {}
        self.first: float | None = None  # when the first and the last of them ran
        self.last: float | None = None
        self.seen = 0  # statements, those outside of the window too
        self._known: dict[bytes, dict[bytes, Tally]] = {}  # by database, by shape
        self._named: dict[tuple[str, str | None], ShapeId] = {}  # by digest and database
        self._tables_of_others: Tallies[str] = Tallies(MAX_ALL_TABLES, OTHER_TABLES)
        self._known_count = 0
        self._known_bytes = 0
        self._alike: dict[bytes, dict[bytes, _Alike]] = {}  # by database, by text with its digits alike
        self._alike_count = 0
        self._alike_bytes = 0
        self._generation = 0

    def add(self, statements: Iterable[LoggedStatement]) -> None:
        """Count these in."""
        split = self.lexer.shape
        known, all_alike = self._known, self._alike
        since = self.since if self.since is not None else float("-inf")
        until = self.until if self.until is not None else float("inf")
        windowed = self.since is not None or self.until is not None
        first = self.first if self.first is not None else float("inf")
        last = self.last if self.last is not None else float("-inf")
        see = self.keys.see if self.keys is not None else None
        of_database: bytes | None = None
        shapes: dict[bytes, Tally] = {}
        texts: dict[bytes, _Alike] = {}
        for text, database, unix_s, us, rows, examined, sent_bytes, failed, command in statements:
            self.seen += 1
            if unix_s is None:
                if windowed:
                    continue
            elif unix_s >= until or unix_s < since:
                continue
            elif unix_s > last:
                last = unix_s
                if unix_s < first:
                    first = unix_s
            elif unix_s < first:
                first = unix_s
            if see is not None and not command:
                see(text, database, unix_s)
            if database != of_database:
                of_database = database
                shapes = known.setdefault(database, {})
                texts = all_alike.setdefault(database, {})
            digitless = text.translate(_DIGITS)
            alike = texts.get(digitless) if not command else None
            tally = alike.tallies.get(alike.digits(text)) if alike is not None else None
            if tally is None:
                shape, literals = split(text) if not command else (_COMMAND + text, [])
                tally = shapes.get(shape)
                if tally is None:
                    tally = self._tally(shape, database, command)
                    of_database = None  # what is known may have been forgotten
                elif not command:
                    self._remember(digitless, text, shape, literals, texts, tally)
            ns = us * 1000
            tally.count += 1
            tally.rows += rows
            tally.examined += examined
            tally.sent_bytes += sent_bytes
            tally.total_ns += ns
            if ns > tally.max_ns:
                tally.max_ns = ns
            buckets = tally.buckets
            place = (ns >> 10).bit_length()
            buckets[place] = buckets.get(place, 0) + 1
            if failed:
                tally.errors += 1
        if first <= last:
            self.first, self.last = first, last

    def _remember(
        self,
        digitless: bytes,
        text: bytes,
        shape: bytes,
        literals: list[bytes],
        texts: dict[bytes, _Alike],
        tally: Tally,
    ) -> None:
        """Texts that are the same but for the digits in their literals have one shape: for those, no lexer is needed.

        Digits that are not in literals (t1) are compared. There may be no 0x or 0b, which are not numbers with every
        digit in their place."""
        if (
            self._alike_count >= MAX_KNOWN
            or self._alike_bytes >= MAX_KNOWN_BYTES
            or len(digitless) > MAX_SAMPLE
            or self.lexer.charset not in _ONE_BYTE_DIGITS
            or _PREFIXED.search(digitless)
            or is_opaque(shape)
        ):
            return
        alike = texts.get(digitless)
        if alike is None:
            alike = texts[digitless] = _Alike(_digits_of(shape, literals))
            self._alike_bytes += len(digitless)
        alike.tallies[alike.digits(text)] = tally
        self._alike_count += 1

    def _tally(self, shape: bytes, database: bytes, command: bool) -> Tally:
        """The sums of a shape that is not known yet, which is then."""
        owner = database.decode("utf-8", "replace") or None
        digest = COMMAND + _text(shape[len(_COMMAND) :]) if command else shape_digest(shape, self.lexer) or "unknown"
        named = (digest, owner)
        key = self._named.get(named)
        if key is None:
            tables = () if command else self._tables(shape, owner)
            key = self._named[named] = ShapeId(digest_id(digest), "", tables, ())
        tally = self.shapes.of(key)
        if self.shapes.generation != self._generation:  # some made room: whoever still held them would count in vain
            self._generation = self.shapes.generation
            self._forget()
            self._named = {name: one for name, one in self._named.items() if one in self.shapes}
            self.digests = {one: text for one, text in self.digests.items() if one in self.shapes}
            self.samples = {one: text for one, text in self.samples.items() if one in self.shapes}
            self.digests[OTHERS] = OTHERS_DIGEST
        self.digests.setdefault(key, digest if len(digest) <= DIGEST_CHARS else digest[:DIGEST_CHARS] + " ...")
        if not command and key not in self.samples and len(shape) <= MAX_SAMPLE and not is_opaque(shape):
            lexer = self.lexer
            self.samples[key] = Sample(
                shape, owner, False, lexer.charset, lexer.ansi_quotes, lexer.no_backslash_escapes
            )
        if self._known_count >= MAX_KNOWN or self._known_bytes >= MAX_KNOWN_BYTES:
            self._forget()
        self._known.setdefault(database, {})[shape] = tally
        self._known_count += 1
        self._known_bytes += len(shape)
        return tally

    def _made_room(self, shape: ShapeId, tally: Tally) -> None:
        """A shape counts as one of the others; its tables still count."""
        for table in shape.tables:
            self._tables_of_others.of(table).add(tally)

    def by_table(self) -> Iterator[tuple[str, Tally]]:
        """Sums by table, in parts; a statement over several tables counts for each of them."""
        for shape, tally in self.shapes:
            for table in shape.tables:
                yield table, tally
        yield from self.tables_of_others()

    def tables_of_others(self) -> Iterator[tuple[str, Tally]]:
        """The same of the shapes that made room."""
        return iter(self._tables_of_others)

    def _forget(self) -> None:
        self._known.clear()
        self._alike.clear()
        self._known_count = self._known_bytes = self._alike_count = self._alike_bytes = 0

    def _tables(self, shape: bytes, database: str | None) -> tuple[str, ...]:
        """The tables that statements of this shape name, as `database.table` where that is known."""
        statement = parse(shape, [], lexer=self.lexer, merged=())
        inner = statement.inner or statement
        owners = ((table.database or database, table.name) for table in inner.tables[:MAX_TABLES])
        return tuple(dict.fromkeys(f"{owner}.{name}" if owner else name for owner, name in owners))


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")
