"""Which rows a change of the rules would look for elsewhere. Nothing here moves them, so each is a caution."""

from __future__ import annotations

from collections.abc import Iterator

from proxy.rules import slots
from proxy.rules.change import Change, Severity
from proxy.rules.model import SLOTS, Database, Method, ReadFrom, Reads, Rules, Sharding, Table
from proxy.rules.problem import listed
from proxy.rules.quantity import duration_text

_NOT_COPIED = "its rows are NOT copied: copy them while nothing writes to it, or they are not found"
_MOST_NAMED = 5  # keys of a list sharding that a message names


def sharding_moves(old: Rules, new: Rules) -> Iterator[Change]:
    for name, sharding in new.shardings.items():
        before = old.shardings.get(name)
        where = f"shardings.{name}"
        if before is None:
            yield Change(Severity.INFO, where, f"is added, over {listed(sharding.clusters)}.")
            continue
        tables = _tables_of(name, old, new)
        moves = list(_moves(before, sharding))
        if moves and tables:
            message = f"{'; '.join(moves)}. The rows of {listed(tables)} are NOT copied."
            yield Change(Severity.CAUTION, where, message)
        elif moves:
            yield Change(Severity.INFO, where, f"{'; '.join(moves)}. No table used it.")
    for name in [name for name in old.shardings if name not in new.shardings]:
        yield Change(Severity.INFO, f"shardings.{name}", "is removed.")


def _tables_of(sharding: str, old: Rules, new: Rules) -> list[str]:
    """The tables that used a sharding and still do."""
    found = []
    for database in old.databases.values():
        for table in database.tables.values():
            after = new.table(database.name, table.name)
            if table.sharding and table.sharding.name == sharding and after and after.sharding:
                if after.sharding.name == sharding:
                    found.append(f"{database.name}.{table.name}")
    return found


def _moves(old: Sharding, new: Sharding) -> Iterator[str]:
    """What happens to the keys, as clauses of a sentence."""
    if old.method is not new.method:
        yield f"changes its method from {old.method.value} to {new.method.value}, so any key may move"
    elif new.method is Method.HASH:
        yield from _slot_moves(old, new)
    elif new.method is Method.RANGE:
        yield from _range_moves(old, new)
    elif new.method is Method.DIRECTORY:
        yield from _directory_moves(old, new)
    else:
        yield from _value_moves(old, new)


def _slot_moves(old: Sharding, new: Sharding) -> Iterator[str]:
    moved: dict[tuple[str, str], list[int]] = {}
    for slot, (before, after) in enumerate(zip(old.slots, new.slots, strict=True)):
        if before != after:
            moved.setdefault((before, after), []).append(slot)
    if not moved:
        return
    total = sum(len(some) for some in moved.values())
    ways = "; ".join(f"{slots.text(some)} from `{a}` to `{b}`" for (a, b), some in moved.items())
    yield f"moves {total} of {SLOTS} slots, {total / SLOTS:.1%} of the keys: {ways}"


def _range_moves(old: Sharding, new: Sharding) -> Iterator[str]:
    bounds = [bound for bound, _ in (*old.ranges, *new.ranges) if bound is not None]
    if len({isinstance(bound, str) for bound in bounds}) > 1:
        yield "changes the type of its bounds, so any key may move"
        return
    ascending = sorted(set(bounds), key=lambda bound: (isinstance(bound, str), bound))
    start: int | str | None = None
    runs: list[tuple[int | str | None, int | str | None, str, str]] = []
    for bound in (*ascending, None):
        before, after = _range_owner(old, bound), _range_owner(new, bound)
        if before != after:
            if runs and runs[-1][1:] == (start, before, after) and start is not None:
                runs[-1] = (runs[-1][0], bound, before, after)
            else:
                runs.append((start, bound, before, after))
        start = bound
    for first, last, before, after in runs:
        keys = " ".join(
            (
                "moves all keys" if first is None and last is None else "moves the keys",
                *(() if first is None else (f"from {first!r}",)),
                *(() if last is None else (f"below {last!r}",)),
            )
        )
        yield f"{keys} from `{before}` to `{after}`"


def _range_owner(sharding: Sharding, below: int | str | None) -> str:
    """The cluster of the keys just under `below` (None: the greatest keys)."""
    if below is not None:
        for bound, cluster in sharding.ranges:
            if bound is not None and not _less(bound, below):
                return cluster
    return sharding.ranges[-1][1]


def _less(one: int | str, other: int | str) -> bool:
    if isinstance(one, str) or isinstance(other, str):
        return str(one) < str(other)
    return one < other


def _value_moves(old: Sharding, new: Sharding) -> Iterator[str]:
    moved: dict[tuple[str | None, str | None], list[int | str]] = {}
    for value in dict.fromkeys((*old.values, *new.values)):
        way = (old.values.get(value, old.default), new.values.get(value, new.default))
        if way[0] != way[1]:
            moved.setdefault(way, []).append(value)
    for (before, after), values in moved.items():
        some = ", ".join(repr(value) for value in values[:_MOST_NAMED])
        more = f" and {len(values) - _MOST_NAMED} more" if len(values) > _MOST_NAMED else ""
        if before is None:
            yield f"takes the keys {some}{more}, refused so far, to `{after}`"
        elif after is None:
            yield f"refuses the keys {some}{more}, so far on `{before}`"
        else:
            yield f"moves the keys {some}{more} from `{before}` to `{after}`"
    if old.default != new.default:
        others = (_or_refusal(old.default), _or_refusal(new.default))
        yield f"sends keys that it does not name to {others[1]} and no longer to {others[0]}"


def _directory_moves(old: Sharding, new: Sharding) -> Iterator[str]:
    if old.table.lower() != new.table.lower():
        yield f"takes its keys from {new.table} and no longer from {old.table}, so any key may move"
    gone = [cluster for cluster in old.clusters if cluster not in new.clusters]
    if gone:
        yield f"loses {listed(gone)}: statements for keys that the directory has there are refused"
    added = [cluster for cluster in new.clusters if cluster not in old.clusters and new.weights[cluster]]
    if added:
        yield (
            f"places new keys on {listed(added)} too, which a Turnout with the old rules does not ask: give it the "
            "weight 0 until all have the new ones"
        )


def _or_refusal(default: str | None) -> str:
    return f"`{default}`" if default else "a refusal"


def database_moves(old: Rules, new: Rules) -> Iterator[Change]:
    if old.default_home != new.default_home:
        message = (
            f"databases without an entry, and statements without a database, go to `{new.default_home}` and no longer "
            f"to `{old.default_home}`; nothing is copied."
        )
        yield Change(Severity.CAUTION, "databases", message)
    for name in dict.fromkeys((*old.databases, *new.databases)):
        yield from _database(name, old, new)


def _database(name: str, old: Rules, new: Rules) -> Iterator[Change]:
    where = f"databases.{name}"
    before, after = old.database(name), new.database(name)
    homes = (old.home(name), new.home(name))
    if homes[0] != homes[1]:
        message = (
            f"moves its home from `{homes[0]}` to `{homes[1]}`: tables without a rule of their own are NOT copied."
        )
        yield Change(Severity.CAUTION, f"{where}.home", message)
    reads = (before.reads if before else Reads(), after.reads if after else Reads())
    if reads[0] != reads[1]:
        yield Change(Severity.INFO, f"{where}.reads", f"are {_reads_text(reads[1])}, and were {_reads_text(reads[0])}.")
    for table in dict.fromkeys((*_tables(before), *_tables(after))):
        yield from _table(
            f"{where}.tables.{table}", _effective(old, name, table), _effective(new, name, table), old, new
        )
        table_reads = (_effective(old, name, table).reads, _effective(new, name, table).reads)
        if table_reads[0] != table_reads[1] and table_reads != reads:
            message = f"are {_reads_text(table_reads[1])}, and were {_reads_text(table_reads[0])}."
            yield Change(Severity.INFO, f"{where}.tables.{table}.reads", message)


def _tables(database: Database | None) -> tuple[str, ...]:
    return tuple(database.tables) if database else ()


def _effective(rules: Rules, database: str, table: str) -> Table:
    """The table's entry, or the one that it would have."""
    found = rules.table(database, table)
    if found is not None:
        return found
    entry = rules.database(database)
    return Table(database, table, rules.home(database), entry.reads if entry else Reads())


def _table(where: str, before: Table, after: Table, old: Rules, new: Rules) -> Iterator[Change]:
    name = f"table {before.database}.{before.name}"
    one, other = _placed(before), _placed(after)
    if one != other and before.everywhere:
        message = f"{name}, so far everywhere, is {other}: the copies on other clusters stay, and grow stale."
        if after.sharding is not None:
            message = (
                f"{name}, so far everywhere, is {other}: every cluster still has ALL rows; delete those of others."
            )
        yield Change(Severity.CAUTION, where, message)
    elif one != other:
        verb = "moves" if not after.sharding and not before.sharding and not after.everywhere else "changes"
        message = f"{name} {verb} from {one.removeprefix('on ')} to {other.removeprefix('on ')}: {_NOT_COPIED}."
        yield Change(Severity.CAUTION, where, message)
    elif after.everywhere:
        added = [cluster for cluster in new.clusters if cluster not in old.clusters]
        if added:
            message = f"{name} is everywhere, so {listed(added)} must have a full copy first: it is NOT made."
            yield Change(Severity.CAUTION, where, message)


def _placed(table: Table) -> str:
    if table.everywhere:
        return "everywhere"
    if table.sharding is not None:
        return f"sharding `{table.sharding.name}` by `{table.key}`"
    return f"on `{table.cluster}`"


def _reads_text(reads: Reads) -> str:
    if reads.source is ReadFrom.PRIMARY:
        return "from the primary"
    own = "with own writes" if reads.own_writes else "without waiting for own writes"
    return f"from replicas at most {duration_text(reads.max_lag_s)} behind, {own}"
