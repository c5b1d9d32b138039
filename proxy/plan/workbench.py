"""SELECTs that are finished on the workbench: which rows are pulled there, and what then runs over them.

Every table of the statement that is not on the workbench's cluster alone is copied, as far as the statement needs it,
into a TEMPORARY table of the same database and name, which hides a table that may be there; the statement itself then
runs as the client wrote it. A table that is mentioned more than once gets a copy for each further mention, which that
mention is renamed to: MySQL cannot open a temporary table twice in one statement.

What is copied may be more than what matters, never less: the statement's own conditions are all still in it.
"""

from __future__ import annotations

import datetime
import enum
import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from parser.members import quick
from parser.rewrite import Piece, edit, literal, quoted
from parser.shape import Lexer
from parser.statement import Bound, BoundValue, DateSum, Effect, Hole, Kind, NumberSum, Param, TableRef, Value, Word
from proxy.back.catalog import TableSchema
from proxy.errors import StatementRefused
from proxy.plan import refusals
from proxy.plan.case import Case
from proxy.plan.in_place import Asked, Part, asked_of, parts_of, tellers
from proxy.plan.keys import Family, Unmodelled, key_form
from proxy.plan.pins import Conditions, Node, alternatives, bounds, conditions
from proxy.plan.places import Place, table_clusters
from proxy.plan.plan import KeyValue, Plan, Refuse, Route, ValueOf, WholeDouble
from proxy.plan.rows import key_placement
from proxy.plan.shard_routes import ByKey, KeyPin, Scatter, values_text
from proxy.plan.sharding import Placement
from proxy.rules.model import Method
from proxy.rules.model import Workbench as WorkbenchRules
from proxy.wire.charsets import codec

COPY = "turnout_copy_{number}"  # the temporary table of a further mention
COPY_PREFIX = b"`turnout_copy_"

# Refusals that are about where rows are or how they are merged: one server with all of them would just answer.
LIFTED = frozenset(
    refusal.slug
    for refusal in (
        *(refusals.CROSS_CLUSTER, refusals.SHARDED_AND_FIXED, refusals.SHARDS_APART, refusals.SEVERAL_SHARDS),
        *(refusals.MERGE_FORM, refusals.MERGE_STAR, refusals.MERGE_LIMIT, refusals.MERGE_BIT, refusals.MERGE_MEMORY),
        *(refusals.SELECT_LIMIT, refusals.SORT_CONSTANT, refusals.SORT_TYPE, refusals.SORT_UNKNOWN),
        *(refusals.SORT_COLLATION, refusals.SORT_RESULT_TYPE, refusals.SORT_LENGTH, refusals.SORT_ORDER),
        *(refusals.AMBIGUOUS_NAME, refusals.ALIAS_IN_EXPRESSION, refusals.DISTINCT_ORDER, refusals.DISTINCT_UNSTEADY),
        *(refusals.GROUP_ROLLUP, refusals.GROUP_HAVING, refusals.GROUP_FOUND_ROWS, refusals.GROUP_ITEM),
        *(refusals.GROUP_ORDER, refusals.GROUP_CONSTANT, refusals.FOLD_TYPE, refusals.FOLD_OVERFLOW),
        refusals.FOLD_QUOTIENT,
    )
)

# What ties a statement to a connection or server of the client's, so that another one cannot finish it.
_TIED = (
    (Effect.LOCKS_ROWS, "locks rows"),
    (Effect.UNKNOWN_FUNCTION, "calls a function that Turnout does not know"),
    (Effect.SETS_USER_VARIABLE, "sets a user variable"),
    (Effect.SESSION_LOCK, "takes or asks for a lock of the session"),
    (Effect.SETS_LAST_INSERT_ID, "sets LAST_INSERT_ID()"),
    (Effect.USES_FOUND_ROWS, "uses FOUND_ROWS()"),
    (Effect.USES_ROW_COUNT, "uses ROW_COUNT()"),
    (Effect.USES_CONNECTION_ID, "uses CONNECTION_ID()"),
    (Effect.USES_DIAGNOSTICS, "uses the diagnostics area"),
    (Effect.SEQUENCE, "uses a sequence"),
    (Effect.INTO_FILE, "writes a file"),
    (Effect.WRITES, "writes"),
)
_WORDS = (
    ("against", "searches a FULLTEXT index"),
    ("system_time", "asks for rows of the past"),
)
# Columns by which rows may be left out where they are pulled: what equals a constant there equals it in a copy.
_COMPARED = frozenset(
    [
        *("tinyint", "smallint", "mediumint", "int", "integer", "bigint", "decimal"),
        *("char", "varchar", "binary", "varbinary"),
    ]
)
_DATE = re.compile(rb"[1-9][0-9]{3}-[0-9]{2}-[0-9]{2}(?: [0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,6})?)?")
_AMOUNT = re.compile(rb"[0-9]{1,4}")
_MOST_VALUES = 10_000

Span = tuple[int, int]


@quick
class _Of(enum.Enum):
    NUMBER = "number"
    STRING = "string"
    MOMENT = "moment"  # that was bound as such
    DAY = "day"  # an expression whose value is a certain date


@dataclass(frozen=True, slots=True)
class Constants:
    """The constants of one statement, as they are written in a pull's conditions: literals as the client wrote them,
    parameters as literals that mean the same."""

    value_of: ValueOf
    literals: Sequence[bytes]
    lexer: Lexer

    def of(self, value: BoundValue) -> tuple[_Of, bytes] | None:
        """None: it is not certain how."""
        if isinstance(value, DateSum):
            return self._day(value)
        if isinstance(value, NumberSum):
            terms = (b"%s %s" % (sign.encode(), self._written(term)) for sign, term in value.terms)
            return _Of.NUMBER, b" ".join(terms)
        if isinstance(value, Word):
            return _Of.NUMBER, value.value.encode()
        if isinstance(value, Param):
            return self._bound(self.value_of(value))
        if not isinstance(value, Hole):
            return None
        return _Of.STRING if value.is_string else _Of.NUMBER, self._written(value)

    def _written(self, value: Hole) -> bytes:
        """A literal as the client wrote it."""
        text = self.literals[value.index]
        if not value.is_string:
            return (b"-" if value.negative else b"") + text
        quote = b'"' if value.double_quoted else b"'"
        return quote + text + quote

    def _day(self, value: DateSum) -> tuple[_Of, bytes] | None:
        """A day whose meaning is certain, and what is added to it."""
        day = self.literals[value.day.index]
        if len(day) != 10 or not _is_date(day):
            return None
        if not all(_AMOUNT.fullmatch(self.literals[amount.index]) for _, amount, _ in value.moves):
            return None
        moves = (
            b" %s INTERVAL %s %s" % (sign.encode(), self._written(amount), unit.encode())
            for sign, amount, unit in value.moves
        )
        return _Of.DAY, b"DATE " + self._written(value.day) + b"".join(moves)

    def _bound(self, value: KeyValue) -> tuple[_Of, bytes] | None:
        if isinstance(value, WholeDouble):
            return _Of.NUMBER, b"%de0" % value
        if isinstance(value, int):
            return _Of.NUMBER, b"%d" % value
        if isinstance(value, datetime.datetime):
            return _Of.MOMENT, b"'%s'" % value.isoformat(" ").encode()
        if isinstance(value, datetime.date):
            return _Of.MOMENT, b"'%s'" % value.isoformat().encode()
        if not isinstance(value, str):
            return None  # NULL too: `<=> NULL` finds rows
        try:
            text = literal(value.encode(codec(self.lexer.charset) or "ascii"), self.lexer)
        except UnicodeEncodeError:
            return None
        return (_Of.STRING, text) if text is not None else None


@dataclass(frozen=True, slots=True)
class Pin:
    """Rows that can matter have one of these constants in the column."""

    column: str
    values: tuple[Value, ...]

    def condition(self, constants: Constants) -> bytes:
        """Empty where it cannot be asked for."""
        found = [constants.of(value) for value in self.values]
        texts = [each[1] for each in found if each is not None]
        kinds = {each[0] if each is not None else None for each in found}
        if kinds not in ({_Of.NUMBER}, {_Of.STRING}):
            return b""
        return b"%s IN (%s)" % (quoted(self.column).encode(), b", ".join(dict.fromkeys(texts)))

    def describe(self) -> str:
        return f"{self.column} = {values_text(self.values)}"


@dataclass(frozen=True, slots=True)
class Limit:
    """Rows that can matter pass `column operator values`. `dates`: what that means is certain of whole dates alone."""

    column: str
    operator: str
    values: tuple[BoundValue, ...]
    dates: bool = False

    def condition(self, constants: Constants) -> bytes:
        """Empty where it cannot be asked for."""
        texts = []
        for value in self.values:
            found = constants.of(value)
            if found is None:
                return b""
            kind, text = found
            if self.dates and kind is not _Of.DAY and (kind is _Of.NUMBER or not _is_date(text[1:-1])):
                return b""
            if kind in (_Of.MOMENT, _Of.DAY) and not self.dates:
                return b""
            texts.append(text)
        operator = b"%s %s" % (quoted(self.column).encode(), self.operator.encode())
        return operator + b" " * bool(texts) + b" AND ".join(texts)

    def describe(self) -> str:
        values = " and ".join(_value_text(value) for value in self.values)
        return f"{self.column} {self.operator} {values}".rstrip()


@dataclass(frozen=True, slots=True)
class AnyOf:
    """Rows that can matter pass all of one of these."""

    branches: tuple[tuple[Limit | Pin, ...], ...]

    def condition(self, constants: Constants) -> bytes:
        """Empty where it cannot be asked for."""
        texts = []
        for branch in self.branches:
            said = [text for one in branch if (text := one.condition(constants))]
            if not said:
                return b""
            texts.append(b" AND ".join(said))
        return b"(%s)" % b" OR ".join(texts)

    def describe(self) -> str:
        branches = (" and ".join(one.describe() for one in branch) for branch in self.branches)
        return f"(({') or ('.join(branches)}))"


@dataclass(frozen=True, slots=True)
class KeysOf:
    """Rows that can matter have in `column` a value that some row of the pull number `pull` has in `source`, or (where
    `part` is not None) that the first column of this part has; both are of whole numbers. `placement`: where the rows
    with a value are, if `column` is the shard key."""

    column: str
    pull: int
    source: str
    label: str  # of the source, for people
    placement: Placement | None = None
    part: int | None = None

    def condition(self, values: Iterable[bytes]) -> bytes:
        texts = b", ".join(sorted(values))
        return b"%s IN (%s)" % (quoted(self.column).encode(), texts) if texts else b"FALSE"

    def is_on(self, cluster: str, values: Iterable[bytes]) -> bool:
        """Can rows with one of these values be there?"""
        placement = self.placement
        if placement is None or placement.sharding.method is Method.DIRECTORY:  # which is not asked in between
            return True
        return any(placement.cluster(value) == cluster for value in values)


@dataclass(frozen=True, slots=True)
class Copy:
    """A further mention of a table: the name it gets, and where its own name stands."""

    name: str
    span: Span
    aliased: bool

    @property
    def quoted(self) -> bytes:
        return b"`%s`" % self.name.encode()


@dataclass(frozen=True, slots=True)
class Pull:
    """One table whose rows the statement needs.

    `words`: of its columns those are needed that are among these; None: all. `mentions`: for each mention, the
    conditions that hold for it; a mention without any needs all rows. `local`: the workbench's cluster has all rows
    itself, so that they are pulled only where the session has a transaction or other state there; `system`: never.
    """

    database: str | None
    name: str
    label: str
    clusters: tuple[str, ...]
    words: frozenset[str] | None
    mentions: tuple[tuple[Pin | Limit | AnyOf, ...], ...]
    keys: tuple[KeyPin, ...] = ()  # of a sharded table, by mention; empty: not all are pinned
    shard_key: str = ""  # lower case
    copies: tuple[Copy, ...] = ()
    local: bool = False
    system: bool = False
    after: KeysOf | None = None  # pulled after another, whose rows say which of its own matter

    def describe(self) -> str:
        where = ", ".join(self.clusters)
        if self.system or self.local:
            return f"{self.label} stays where it is, on {where}" + ("" if self.system else ", outside of transactions")
        columns = "all columns" if self.words is None else "the columns that the statement names"
        if all(self.mentions):
            rows = " or ".join(
                " and ".join(condition.describe() for condition in conditions) for conditions in self.mentions
            )
            rows = f"rows with {rows}"
        else:
            rows = "all rows"
        if self.after is not None:
            rows += f"; of these, if few enough, those with {self.after.column} among {self.after.label}"
        copies = f", {len(self.copies) + 1} copies" if self.copies else ""
        return f"{self.label} from {where}: {columns}, {rows}{copies}"


@dataclass(frozen=True, slots=True)
class Pulled:
    """A `Pull` for one statement: where its rows are, and the condition that they have to meet (empty: none)."""

    pull: Pull
    clusters: tuple[str, ...]
    condition: bytes


@dataclass(frozen=True, slots=True)
class Work:
    """What is to be done for one statement (`proxy.front.workbench` does it). `plain`: the same without parts, for
    where they turn out to be impossible."""

    cluster: str
    max_rows: int
    max_time_s: float
    pulls: tuple[Pulled, ...]
    shape: bytes
    literals: tuple[bytes, ...]
    writes: frozenset[tuple[str | None, str]] | None = None  # tables whose rows a statement of ours finds to write them
    parts: tuple[Asked, ...] = ()
    plain: Work | None = None

    @property
    def without_parts(self) -> Work:
        return self if self.plain is None else replace(self.plain, writes=self.writes)

    def lock(self, pull: Pull) -> bytes:
        """What is asked for behind a pull's condition: what is written, and what that depends on, must stay."""
        if self.writes is None:
            return b""
        return b" FOR UPDATE" if (pull.database, pull.name) in self.writes else b" LOCK IN SHARE MODE"

    def final(self, pulled: Iterable[Pull], stand_ins: Sequence[bytes] = ()) -> bytes:
        """The statement over the temporary tables of these pulls. `stand_ins`: what is written for each part."""
        edits: list[tuple[Span, tuple[Piece, ...]]] = []
        for copy in (copy for pull in pulled for copy in pull.copies):
            name = copy.quoted
            edits.append((copy.span, (name,) if copy.aliased else (name, b" AS ", copy.span)))
        edits += [(asked.part.span, (text,)) for asked, text in zip(self.parts, stand_ins, strict=True)]
        return edit(self.shape, self.literals, sorted(edits, key=lambda edit: edit[0]))

    def shown(self) -> bytes:
        """The statement that finishes the work, for people: what columns a part has, its answer says."""
        stand_ins = [b"SELECT * FROM " + asked.part.name for asked in self.parts]
        return self.final((each.pull for each in self.pulls), stand_ins)

    def written(self, pulled: Iterable[Pull], stand_ins: Sequence[bytes] = ()) -> dict[bytes, bytes]:
        """By what stands for a further mention of a table, or for a part, in `final`: what the client wrote."""
        made = {text: asked.text for asked, text in zip(self.parts, stand_ins, strict=True)}
        for copy in (copy for pull in pulled for copy in pull.copies):
            name = self.shape[slice(*copy.span)]
            made[copy.quoted if copy.aliased else copy.quoted + b" AS " + name] = name
        return made


@dataclass(frozen=True, slots=True, kw_only=True)
class Workbench(Plan):
    kind = "workbench"
    cluster: str
    pulls: tuple[Pull, ...]
    limits: WorkbenchRules
    instead: str = ""  # the reason for which nothing cheaper is right
    parts: tuple[Part, ...] = ()
    beside: tuple[Pull, ...] = ()  # what is pulled where the parts are answered in place

    @property
    def clusters(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys([self.cluster, *(name for pull in self.pulls for name in pull.clusters)]))

    def route(self, value_of: ValueOf, text: bytes) -> Route:
        lexer = self.statement.lexer
        assert lexer is not None
        shape, literals = lexer.shape(text)
        constants = Constants(value_of, literals, lexer)
        pulls = tuple(pulled(pull, constants) for pull in self.pulls)
        limits = self.limits
        work = Work(self.cluster, limits.max_rows, limits.max_time_s, pulls, shape, tuple(literals))
        if self.parts:
            try:
                parts = tuple(asked_of(part, value_of, shape, work.literals) for part in self.parts)
            except StatementRefused:
                return Route((), work=work)
            beside = tuple(pulled(pull, constants) for pull in self.beside)
            work = replace(work, parts=parts, pulls=beside, plain=work)
        return Route((), work=work)

    def describe(self) -> list[tuple[str, str]]:
        lines = [("plan", self.kind), ("workbench", self.cluster)]
        if self.instead:
            lines.append(("because", self.instead))
        lines += [("in place", part.describe()) for part in self.parts]
        pulls = self.beside if self.parts else self.pulls
        lines += [("pull", pull.describe()) for pull in pulls]
        copies = sum(len(pull.copies) for pull in pulls)
        renamed = f", {copies} of its tables renamed" if copies else ""
        lines.append(("then", f"the statement itself over temporary tables{renamed}"))
        lines.append(("limits", f"{self.limits.max_rows} rows pulled, {self.limits.max_time_s:g} s"))
        return [*lines, *self.traits()]


def lift(asked: Case, refusal: StatementRefused) -> Workbench:
    """The plan for a SELECT that was refused elsewhere. Raises StatementRefused: that refusal, with a word about the
    workbench, or why not even there."""
    rules = asked.rules.workbench
    if refusal.reason not in LIFTED or asked.statement.kind is not Kind.SELECT:
        raise refusal
    problem = _problem(asked)
    if problem:
        raise refusal if rules is None else refusals.WORKBENCH_TIED.error(why=problem, first=refusal.message)
    if rules is None:
        raise StatementRefused(
            f"{refusal.message} Or give the rules a `workbench:`.",
            refusal.errno,
            refusal.sqlstate,
            refusal.reason,
        )
    return _workbench(asked, rules, refusal.reason)


def with_workbench(asked: Case, made: Plan) -> Plan:
    """A plan whose parts, where they refuse or turn out to be impossible, go to the workbench instead."""
    if asked.statement.kind is not Kind.SELECT:
        return made
    if isinstance(made, ByKey):
        if isinstance(made.fallback, Refuse):
            error = made.fallback.error
            try:
                return replace(made, fallback=lift(asked, error))
            except StatementRefused as refusal:
                return replace(made, fallback=Refuse(statement=asked.statement, error=refusal.with_traceback(None)))
        if isinstance(made.fallback, Scatter):
            return replace(made, fallback=with_workbench(asked, made.fallback))
    if isinstance(made, Scatter) and asked.rules.workbench is not None and not _problem(asked):
        try:
            return replace(made, otherwise=_workbench(asked, asked.rules.workbench))
        except StatementRefused:
            return made  # what only the rows tell is then an error
    return made


def _workbench(asked: Case, rules: WorkbenchRules, instead: str = "") -> Workbench:
    """Raises StatementRefused."""
    parts = parts_of(asked, rules.cluster)
    return Workbench(
        statement=asked.statement,
        cluster=rules.cluster,
        pulls=_pulls(asked, rules.cluster),
        limits=rules,
        instead=instead,
        parts=parts,
        beside=_pulls(asked, rules.cluster, parts) if parts else (),
    )


def _problem(asked: Case) -> str:
    """What ties the statement to servers of its own, as a clause; "" if nothing does."""
    statement = asked.statement
    for effect, why in _TIED:
        if statement.effects.meets(effect):
            return why
    for word, why in _WORDS:
        if word in statement.names:
            return why
    if "partition" in statement.names and not any(block.windows for block in statement.blocks):
        return "names a table's partitions"
    if "default" in statement.names and not all(
        map(_has_constant_defaults, map(asked.schema, range(len(asked.places))))
    ):
        return "calls DEFAULT(), and a column's default is no constant"
    return ""


def _has_constant_defaults(schema: TableSchema | None) -> bool:
    """Then a copy has them, too."""
    return schema is not None and not any(column.server_default for column in schema.columns)


def _pulls(asked: Case, cluster: str, parts: tuple[Part, ...] = ()) -> tuple[Pull, ...]:
    """What the statement needs of each table, but for what parts of it need that are answered in place. Raises
    StatementRefused."""
    statement = asked.statement
    found, limits = conditions(statement, asked.schema), bounds(statement, asked.schema)
    either = alternatives(statement, asked.schema)
    mentions: dict[tuple[str | None, str], list[Place]] = {}
    for place in asked.places:
        if any(place.ref.index in part.tables for part in parts):
            continue
        mentions.setdefault((place.database, place.ref.name), []).append(place)
    pulls = []
    copies = 0
    for places in mentions.values():
        more = [_copy(place.ref, copies + number) for number, place in enumerate(places[1:], 1)]
        if any(copy.name in statement.names for copy in more):
            raise refusals.WORKBENCH_TABLE.error(table=places[0].label, why="needs a name that the statement has")
        copies += len(more)
        pulls.append(_pull(asked, cluster, places, found, limits, either, tuple(more)))
    tables = [[place.ref.index for place in places] for places in mentions.values()]
    return _in_turn(asked, pulls, tables, found, parts)


def _in_turn(
    asked: Case, pulls: list[Pull], tables: list[list[int]], found: Conditions, parts: tuple[Part, ...]
) -> tuple[Pull, ...]:
    """The pulls in an order in which those that need few rows tell others which of their rows matter.

    `tables`: the mentions of each. What tells others is pulled also where it could stay in place: the rows that it has
    must be those that were asked for.
    """
    owner = {table: number for number, mentions in enumerate(tables) for table in mentions}
    by_part = _told_by_parts(asked, pulls, tables, parts)
    order = [*by_part, *(n for n, pull in enumerate(pulls) if n not in by_part and _is_selective(pull, Pin))]
    rest = [number for number, pull in enumerate(pulls) if not pull.local and _is_selective(pull, Limit, AnyOf)]
    told: dict[int, tuple[int, str, str]] = {}
    for number in _growing(order, rest):
        for source, targets in _told_by(found, tables[number]).items():
            if not all(_is_whole(asked, table, source) for table in tables[number]):
                continue
            for other in sorted({owner[target] for target, _ in targets if target in owner}):
                pull, mentions = pulls[other], tables[other]
                if other in order or (pull.local and not asked.places[mentions[0]].everywhere):
                    continue
                for column in sorted({column for target, column in targets if target == mentions[0]}):
                    if all((each, column) in targets and _is_whole(asked, each, column) for each in mentions):
                        told[other] = (number, source, column)
                        order.append(other)
                        break
    # What could stay where it is, and tells nobody, does.
    while idle := [n for n in told if pulls[n].local and all(teller != n for teller, _, _ in told.values())]:
        for number in idle:
            del told[number]
            order.remove(number)
    order += [number for number in range(len(pulls)) if number not in order]
    tellers = {number for number, _, _ in told.values()}
    place = {number: turn for turn, number in enumerate(order)}
    made = []
    for number in order:
        pull = pulls[number]
        if number in tellers:
            pull = replace(pull, local=False)
        if number in told:
            teller, source, column = told[number]
            label = f"{pulls[teller].label}.{source}"
            placed = key_placement(asked, asked.places[tables[number][0]]) if column == pull.shard_key else None
            pull = replace(pull, after=KeysOf(column, place[teller], source, label, placed))
        elif number in by_part:
            part, column = by_part[number]
            placed = key_placement(asked, asked.places[tables[number][0]]) if column == pull.shard_key else None
            pull = replace(pull, after=KeysOf(column, 0, "", "what was answered in place", placed, part))
        made.append(pull)
    return tuple(made)


def _told_by_parts(
    asked: Case, pulls: list[Pull], tables: list[list[int]], parts: tuple[Part, ...]
) -> dict[int, tuple[int, str]]:
    """By pull: a part that says which of its rows matter (in every mention), and of which column that has the value."""
    found = tellers(parts, asked.statement, asked.schema)
    made = {}
    for number, (pull, mentions) in enumerate(zip(pulls, tables)):
        for (table, column), part in found.items():
            if table == mentions[0] and not pull.local and not pull.system:
                if all(found.get((each, column)) == part and _is_whole(asked, each, column) for each in mentions):
                    made[number] = part, column
                    break
    return made


def _told_by(found: Conditions, mentions: list[int]) -> dict[str, set[Node]]:
    """For columns of a table: the columns of others whose values are among its own, by equalities of any mention."""
    made: dict[str, set[Node]] = {}
    for (table, source), targets in found.edges.items():
        if table in mentions:
            made.setdefault(source, set()).update(target for target in targets if target[0] not in mentions)
    return made


def _growing(order: list[int], rest: Iterable[int]) -> Iterator[int]:
    """All of `order`, and what comes to it on the way; then those of `rest` that did not, one after the other."""
    yield from order
    for number in rest:
        if number not in order:
            start = len(order)
            order.append(number)
            yield from itertools.islice(order, start, None)


def _is_selective(pull: Pull, *kinds: type[Pin | Limit | AnyOf]) -> bool:
    """May it be few rows that it needs? That is likely of those that equal constants, less of those within limits."""
    return not pull.system and all(any(isinstance(one, kinds) for one in each) for each in pull.mentions)


def _is_whole(asked: Case, table: int, name: str) -> bool:
    """Is the column one of whole numbers, each of which is written in one way?"""
    schema = asked.schema(table)
    column = schema.column(name) if schema is not None else None
    if column is None or column.generated or not name.isascii():
        return False
    form = key_form(column)
    return not isinstance(form, Unmodelled) and form.family is Family.INTEGER


def _copy(ref: TableRef, number: int) -> Copy:
    if ref.span is None:
        raise refusals.WORKBENCH_TABLE.error(table=ref.name, why="is mentioned where Turnout cannot rename it")
    return Copy(COPY.format(number=number), ref.span, ref.aliased)


def _pull(
    asked: Case,
    cluster: str,
    places: list[Place],
    found: Conditions,
    limits: dict[int, list[Bound]],
    either: dict[int, list[list[list[Bound]]]],
    copies: tuple[Copy, ...],
) -> Pull:
    place = places[0]
    entry = place.entry
    clusters = (place.cluster,) if place.cluster is not None else table_clusters(asked.rules, entry) if entry else ()
    local = place.cluster == cluster or place.everywhere
    if place.everywhere:
        clusters = (cluster,)
    schema = asked.schema(place.ref.index)
    if place.system and not local:
        raise refusals.WORKBENCH_TABLE.error(table=place.label, why=f"describes cluster {place.cluster} itself")
    if schema is not None and not local:
        if schema.is_view:
            raise refusals.WORKBENCH_TABLE.error(table=place.label, why="is a view on another cluster")
    names = asked.statement.names
    hinted = not names.isdisjoint({"use", "force", "ignore"})  # an index, whose columns are not named
    words = None if "*" in names or hinted else names
    keys: list[KeyPin] = []
    if place.sharded:
        placed = key_placement(asked, place)
        for each in places:
            values = found.values(each.ref.index, each.key)
            if values is not None:
                keys.append(KeyPin(each.label, each.key, values, placed))
    return Pull(
        place.database,
        place.ref.name,
        place.label,
        clusters,
        words,
        tuple((*_pins(asked, each, found), *_limits(asked, each, limits, either)) for each in places),
        tuple(keys) if len(keys) == len(places) else (),
        place.key if place.sharded else "",
        copies,
        local,
        place.system,
    )


def _pins(asked: Case, place: Place, found: Conditions) -> tuple[Pin, ...]:
    """What is certain about every row of this mention that can matter, and can be asked for where it is pulled."""
    schema = asked.schema(place.ref.index)
    if schema is None:
        return ()
    pins = []
    for (table, name), choices in found.pins.items():
        column = schema.column(name) if table == place.ref.index else None
        if column is None or column.data_type not in _COMPARED or column.generated:
            continue
        pin = _pin(name, min(choices, key=len))
        if pin is not None:
            pins.append(pin)
    return tuple(sorted(pins, key=lambda pin: pin.column))


def _limits(
    asked: Case, place: Place, found: dict[int, list[Bound]], either: dict[int, list[list[list[Bound]]]]
) -> tuple[Limit | Pin | AnyOf, ...]:
    schema = asked.schema(place.ref.index)
    if schema is None:
        return ()
    limits: dict[Limit | Pin | AnyOf, None] = {}
    for bound in found.get(place.ref.index, ()):
        limit = _limit(schema, bound)
        if limit is not None:
            limits[limit] = None
    for branches in either.get(place.ref.index, ()):
        made = tuple(tuple(one for bound in branch if (one := _limit(schema, bound))) for branch in branches)
        if all(made):
            limits[AnyOf(made)] = None
    return tuple(limits)


def _limit(schema: TableSchema, bound: Bound) -> Limit | Pin | None:
    """What can be asked for where the table is pulled."""
    column = schema.column(bound.column)
    if column is None or column.generated:
        return None
    if bound.operator == "IN":
        values = tuple(value for value in bound.values if not isinstance(value, (DateSum, NumberSum)))
        return _pin(bound.column, values) if column.data_type in _COMPARED else None
    dates = column.data_type in ("date", "datetime") and bound.operator not in ("LIKE", "NOT LIKE", "IS NOT NULL")
    if not all(_is_constant(value) or (dates and isinstance(value, DateSum)) for value in bound.values):
        return None
    if dates or column.data_type in _COMPARED or bound.operator == "IS NOT NULL":
        return Limit(bound.column, bound.operator, bound.values, dates)
    return None


def _pin(column: str, values: tuple[Value, ...]) -> Pin | None:
    if len(values) <= _MOST_VALUES and any(all(map(kind, values)) for kind in (_is_number, _is_string)):
        return Pin(column, tuple(dict.fromkeys(values)))
    return None


def _is_constant(value: BoundValue) -> bool:
    return isinstance(value, NumberSum) or _is_number(value) or _is_string(value)


def _is_date(text: bytes) -> bool:
    """Is it a date or time that every sql_mode takes for the same?"""
    try:
        return _DATE.fullmatch(text) is not None and bool(datetime.datetime.fromisoformat(text[:19].decode()))
    except ValueError:
        return False


def _is_number(value: BoundValue) -> bool:
    """May it be one? Of a parameter, that is seen when it is bound."""
    if isinstance(value, Hole):
        return not value.is_string
    return isinstance(value, Param) or value in (Word.TRUE, Word.FALSE)


def _is_string(value: BoundValue) -> bool:
    return isinstance(value, Param) or (isinstance(value, Hole) and value.is_string)


def pulled(pull: Pull, constants: Constants) -> Pulled:
    """A pull for the constants of one statement."""
    clusters = pull.clusters
    if pull.keys:
        wanted: set[str] = set()
        for key in pull.keys:
            some = key.clusters(constants.value_of)
            if some is None:
                break
            wanted |= some
        else:
            # Where no row can matter, one shard says what the columns are.
            clusters = tuple(name for name in clusters if name in wanted) or clusters[:1]
    condition = b""
    if all(pull.mentions):
        each = [
            b" AND ".join(text for one in conditions if (text := one.condition(constants)))
            for conditions in dict.fromkeys(pull.mentions)
        ]
        if all(each):
            condition = each[0] if len(each) == 1 else b" OR ".join(b"(%s)" % one for one in each)
    return Pulled(pull, clusters, condition)


def _value_text(value: BoundValue) -> str:
    if isinstance(value, DateSum):
        moves = (f" {sign} INTERVAL {values_text((amount,))} {unit}" for sign, amount, unit in value.moves)
        return f"DATE {values_text((value.day,))}{''.join(moves)}"
    if isinstance(value, NumberSum):
        return " ".join(f"{sign} {values_text((term,))}" for sign, term in value.terms).strip()
    return values_text((value,))
