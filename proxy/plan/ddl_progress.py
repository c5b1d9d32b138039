"""How far a statement has come that defines something on several clusters: which have carried it out already. Pure.

A statement that failed on one cluster stays carried out on those before it. When it is sent again, these must be left
alone: an error of theirs ("duplicate column") would hide that the others need it, and an index without a name would be
made twice. Nothing but the definitions themselves tells: where they are the same on all clusters nobody has begun, and
the statement is what it is on one server, errors and all. Where they differ, a cluster *has it* whose definitions are
what the statement makes of another's. So the others have to come first: those that an earlier try, which goes through
the clusters in order, reached last, or whose definitions are shorter where the statement only adds to them (longer
where it only takes away).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence

# What each of the statement's objects is defined as on one cluster (None: it is not there), and that by cluster.
State = tuple[str | None, ...]
States = Mapping[str, State]

_COUNTER = re.compile(r" AUTO_INCREMENT=[0-9]+")

# Errors of a server that may mean: this has been done. Whether it has, is for the definitions to say.
ALREADY = frozenset(
    {
        1005,  # can't create table (MariaDB: a foreign key of that name exists)
        1007,  # database exists
        1008,  # database doesn't exist
        1022,  # duplicate key
        1050,  # table exists
        1051,  # unknown table
        1054,  # unknown column
        1060,  # duplicate column name
        1061,  # duplicate key name
        1068,  # multiple primary key
        1072,  # key column doesn't exist
        1091,  # can't drop
        1146,  # table doesn't exist
        1176,  # key doesn't exist
        1359,  # trigger exists
        1360,  # trigger doesn't exist
        1396,  # operation on an account failed
        1507,  # partition to drop
        1517,  # duplicate partition name
        1826,  # duplicate foreign key name
        3821,  # check constraint not found
        3822,  # duplicate check constraint name
        4031,  # constraint not found (MariaDB)
    }
)


def definition(text: bytes) -> str:
    """SHOW CREATE .. without what differs between servers that have the same definition."""
    return _COUNTER.sub("", text.decode("utf-8", "surrogateescape"))


def are_same(states: States) -> bool:
    return len(set(states.values())) <= 1


def in_turn(clusters: Sequence[str], before: States | None, grows: bool | None) -> list[str]:
    """The order in which the clusters are to be asked; `before` is None where definitions cannot be seen."""
    if before is None or are_same(before):
        return list(clusters)
    last_first = list(reversed(clusters))
    if grows is None:
        return last_first
    return sorted(last_first, key=lambda cluster: _lines(before[cluster]) * (1 if grows else -1))


def _lines(state: State) -> int:
    return sum(len(text.splitlines()) for text in state if text is not None)


def has_it(cluster: str, before: States, after: States) -> bool:
    """Has this cluster carried the statement out before? `after`: of those that have done so now."""
    made = [state for other, state in after.items() if state != before[other]]
    return bool(made) and all(state == before[cluster] for state in made)


def what_differs(names: Sequence[str], states: States, clusters: Sequence[Collection[str]]) -> str:
    """The first object whose definitions are not the same on all of its clusters, with two of these; "" if none."""
    for index, name in enumerate(names):
        there = [cluster for cluster in states if cluster in clusters[index]]
        for cluster in there[1:]:
            if states[cluster][index] != states[there[0]][index]:
                return f"{name} is not the same on clusters {there[0]} and {cluster}"
    return ""
