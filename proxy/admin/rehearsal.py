"""Recorded shapes under proposed rules: what would become of each, without asking a server. Pure.

The planner is the one that serves clients, so a verdict is what Turnout would do; what depends on a statement's values,
which are not recorded, is said to depend on them.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from msgspec import structs

from parser.analyse import parse
from parser.shape import HOLE, lexer
from parser.split import statement_ends
from proxy.back.catalog import Catalog, TableSchema
from proxy.front.environment import clusters_of
from proxy.measure.ranking import MeasuredShape
from proxy.measure.shapes import Sample
from proxy.measure.tally import Tally
from proxy.plan.around_workbench import InSettings
from proxy.plan.inserts import InsertRows
from proxy.plan.places import sharded_names, table_clusters
from proxy.plan.plan import Plan, Refuse, Several
from proxy.plan.planner import plan
from proxy.plan.shard_routes import ByKey
from proxy.rules.model import Rules


class Verdict(enum.Enum):
    """What becomes of a shape, the best first."""

    LOCAL = "local"  # Turnout answers itself
    ONE = "one cluster"
    KEY = "by key"  # one shard, by its shard key's value
    SEVERAL = "several clusters"  # merged, split or written everywhere
    WORKBENCH = "workbench"
    DEPENDS = "depends"  # refused for some values
    REFUSED = "refused"
    UNKNOWN = "not known"  # there is no text of it to plan, or nobody has said which columns its tables have


_ORDER = list(Verdict)
_WORST = [*(verdict for verdict in Verdict if verdict is not Verdict.REFUSED), Verdict.REFUSED]
_NO_CATALOG = "schema-unknown"  # the refusal of what cannot be planned without a table's columns and keys
_BY_KIND = {
    "local": Verdict.LOCAL,
    "forward": Verdict.ONE,
    "shard": Verdict.KEY,
    "insert": Verdict.KEY,
    "workbench": Verdict.WORKBENCH,
    "refuse": Verdict.REFUSED,
}


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """One shape under the proposed rules."""

    measured: MeasuredShape
    verdict: Verdict
    plan: str  # its kind; "" for UNKNOWN
    clusters: tuple[str, ...]
    reason: str  # of a refusal, its name; else ""
    detail: str  # for people: why


@dataclass(frozen=True, slots=True)
class Share:
    """How much of the traffic has one verdict."""

    verdict: Verdict
    shapes: int
    tally: Tally


def rehearse(
    shapes: Iterable[MeasuredShape], rules: Rules, catalog: Catalog, complete: bool | None = None
) -> list[Rehearsed]:
    """Every shape, the worst verdicts first, and of the same verdict the most expensive ones. `complete`: a table that
    is not in the catalog is not there; None: it is complete if anything is in it."""
    if complete is None:
        complete = bool(catalog.tables)
    found = [_one(shape, rules, catalog, complete) for shape in shapes]
    found.sort(key=lambda one: (-_ORDER.index(one.verdict), -one.measured.tally.total_ns, -one.measured.tally.count))
    return found


def _one(shape: MeasuredShape, rules: Rules, catalog: Catalog, complete: bool) -> Rehearsed:
    sample = shape.sample
    if sample is None:
        why = "its text was not kept: it is too long, not certain, or one of many that were put together"
        return Rehearsed(shape, Verdict.UNKNOWN, "", (), "", why)
    made = planned(sample, rules, catalog)
    # Where a text has several statements, each has a plan of its own: the worst counts.
    parts = [planned(part, rules, catalog) for part in parts_of(sample)] if isinstance(made, Several) else [made]
    clusters = tuple(dict.fromkeys(name for part in parts for name in clusters_of(part)))
    found = [judged(part) for part in parts]
    if not complete:
        found = [
            _not_known(detail) if reason == _NO_CATALOG else (verdict, reason, detail)
            for verdict, reason, detail in found
        ]
    verdict, reason, detail = max(found, key=lambda one: _WORST.index(one[0]))
    # What would be planned with the tables' columns is another plan.
    kind = "" if verdict is Verdict.UNKNOWN and len(parts) == 1 else made.kind
    return Rehearsed(shape, verdict, kind, clusters, reason, detail)


def _not_known(detail: str) -> tuple[Verdict, str, str]:
    why = f"It cannot be judged without its tables' columns and keys: --catalog-from-servers reads them. ({detail})"
    return Verdict.UNKNOWN, _NO_CATALOG, why


def parts_of(sample: Sample) -> list[Sample]:
    """The statements of a text that has several."""
    lex = lexer(sample.ansi_quotes, sample.no_backslash_escapes, sample.charset)
    text = lex.restore(sample.shape, [b"0"] * sample.shape.count(HOLE))
    ends = [*statement_ends(text, lex), len(text)]
    begins = [0, *(end + 1 for end in ends[:-1])]
    texts = (text[begin:end].strip() for begin, end in zip(begins, ends))
    return [structs.replace(sample, shape=lex.shape(part)[0]) for part in texts if part]


def planned(sample: Sample, rules: Rules, catalog: Catalog) -> Plan:
    """The plan of a shape, as `proxy.front.environment` would make it."""
    lex = lexer(sample.ansi_quotes, sample.no_backslash_escapes, sample.charset)
    literals = [b""] * sample.shape.count(HOLE)  # no meaning depends on them (`parser.analyse`)
    merged = sharded_names(rules, sample.database)
    statement = parse(sample.shape, literals, lexer=lex, prepared=sample.prepared, merged=merged)
    return plan(statement, rules, catalog, sample.database)


def judged(made: Plan) -> tuple[Verdict, str, str]:
    """(verdict, name of the refusal, why in words)."""
    if isinstance(made, Refuse):
        return Verdict.REFUSED, made.error.reason, made.error.message
    if isinstance(made, InSettings):
        return judged(made.inner)
    if isinstance(made, InsertRows) and len(made.values) > 1 and made.together is not None:
        refusal = made.together(" and ".join(made.placement.sharding.clusters[:2]))
        return Verdict.DEPENDS, getattr(refusal, "reason", ""), f"If its rows are of several shards: {refusal}"
    if isinstance(made, ByKey) and isinstance(made.fallback, Refuse) and _may_be_several(made):
        error = made.fallback.error
        return Verdict.DEPENDS, error.reason, f"If its keys are of several shards: {error.message}"
    lines = dict(made.describe())
    detail = "; ".join(
        f"{what} {lines[what]}" for what in ("sharding", "answers", "workbench", "note") if what in lines
    )
    return _BY_KIND.get(made.kind, Verdict.SEVERAL if len(clusters_of(made)) > 1 else Verdict.ONE), "", detail


def _may_be_several(made: ByKey) -> bool:
    return len(made.keys) > 1 or bool(made.moves) or made.required is not None or len(made.keys[0].values) != 1


def shares(found: Iterable[Rehearsed]) -> list[Share]:
    """The traffic by verdict, the best verdict first."""
    counts: dict[Verdict, int] = {}
    tallies: dict[Verdict, Tally] = {}
    for one in found:
        counts[one.verdict] = counts.get(one.verdict, 0) + 1
        tallies.setdefault(one.verdict, Tally()).add(one.measured.tally)
    return [Share(verdict, counts[verdict], tallies[verdict]) for verdict in _ORDER if verdict in counts]


def unjudged(found: Iterable[Rehearsed]) -> list[Rehearsed]:
    """Those whose verdict a catalog would tell."""
    return [one for one in found if one.verdict is Verdict.UNKNOWN and one.reason == _NO_CATALOG]


def at_least(verdict: Verdict, limit: Verdict) -> bool:
    """Is it as bad as `limit`, or worse? What is not known is not judged."""
    return verdict is not Verdict.UNKNOWN and _ORDER.index(verdict) >= _ORDER.index(limit)


def as_proposed(catalog: Catalog, rules: Rules) -> Catalog:
    """The definitions, as if every table were already where the rules say: those that it has wherever it is now."""
    by_name: dict[tuple[str, str], TableSchema] = {}
    for (_, database, name), schema in catalog.tables.items():
        by_name.setdefault((database, name), schema)
    tables: Mapping[tuple[str, str, str], TableSchema] = catalog.tables
    added = {
        (cluster, entry.database.lower(), entry.name.lower()): by_name[(entry.database.lower(), entry.name.lower())]
        for one in rules.databases.values()
        for entry in one.tables.values()
        if (entry.database.lower(), entry.name.lower()) in by_name
        for cluster in table_clusters(rules, entry)
    }
    return replace(catalog, tables={**added, **tables})
