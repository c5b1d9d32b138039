"""Positions in replication: both families' texts, and which covers which."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.back.gtid import GtidPosition, parse

ONE = "3e11fa47-71ca-11e1-9e33-c80aa9429562"
TWO = "b9b4712a-df64-11e3-b391-60672090eb04"


@pytest.mark.parametrize(
    ("text", "domains"),
    [
        ("", ()),
        ("0-1-270", ((0, 270),)),
        ("3-2-9,0-1-270", ((0, 270), (3, 9))),
        (" 0-1-270 , 3-2-9\n", ((0, 270), (3, 9))),
        ("0-1-5,0-2-7", ((0, 7),)),
        ("0-2-7,0-1-5", ((0, 7),)),
        ("4294967295-4294967295-18446744073709551615", ((4294967295, 18446744073709551615),)),
    ],
)
def test_mariadb_s_text(text: str, domains: tuple[tuple[int, int], ...]) -> None:
    assert parse(text) == GtidPosition(domains=domains)


@pytest.mark.parametrize(
    ("text", "intervals"),
    [
        (f"{ONE}:5", ((ONE, ((5, 5),)),)),
        (f"{ONE}:1-5", ((ONE, ((1, 5),)),)),
        (f"{ONE}:1-5:7:9-11", ((ONE, ((1, 5), (7, 7), (9, 11))),)),
        (f"{ONE}:7:1-5", ((ONE, ((1, 5), (7, 7))),)),
        (f"{ONE}:1-5:6-7", ((ONE, ((1, 7),)),)),
        (f"{ONE}:1-5:3-9", ((ONE, ((1, 9),)),)),
        (f"{ONE}:1-9:3-5", ((ONE, ((1, 9),)),)),
        (f"{ONE.upper()}:1-5", ((ONE, ((1, 5),)),)),
        (f"{TWO}:1-3,\n{ONE}:1-5", ((ONE, ((1, 5),)), (TWO, ((1, 3),)))),
        (f"{ONE}:1-5,{ONE}:6", ((ONE, ((1, 6),)),)),
    ],
)
def test_mysql_s_text(text: str, intervals: tuple[tuple[str, tuple[tuple[int, int], ...]], ...]) -> None:
    assert parse(text) == GtidPosition(intervals=intervals)


@pytest.mark.parametrize(
    "text",
    [
        "x",
        "0",
        "0-1",
        "0-1-2-3",
        "0-1-x",
        "a-1-2",
        "0-1--5",
        f"{ONE}:",
        f"{ONE}:x",
        f"{ONE}:1-x",
        f"{ONE}:tag:1-5",
        ONE,
    ],
)
def test_what_is_neither_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse(text)


COVERS = [
    # (position, covers, does not cover)
    ("", [""], ["0-1-1", f"{ONE}:1"]),
    ("0-1-270", ["", "0-1-270", "0-9-269"], ["0-1-271", "1-1-1", "0-1-270,1-1-1", f"{ONE}:1"]),
    ("0-1-270,3-2-9", ["3-2-9", "0-1-270,3-7-1"], ["0-1-270,3-2-10"]),
    (f"{ONE}:1-5:7", [f"{ONE}:1-5", f"{ONE}:2-3:7", f"{ONE}:7"], [f"{ONE}:6", f"{ONE}:5-7", f"{TWO}:1", "0-1-1"]),
    (f"{ONE}:1-5,{TWO}:1-3", [f"{TWO}:1,{ONE}:5"], [f"{TWO}:4,{ONE}:5"]),
]


@pytest.mark.parametrize(
    ("position", "other", "expected"),
    [(p, o, e) for p, yes, no in COVERS for others, e in ((yes, True), (no, False)) for o in others],
)
def test_covers(position: str, other: str, expected: bool) -> None:
    assert parse(position).covers(parse(other)) is expected


# -- any positions: a position is a set of transactions ----------------------------------------------------------------

UUIDS = (ONE, TWO)
Transactions = frozenset[tuple[int | str, int]]


@st.composite
def mariadb(draw: st.DrawFn) -> str:
    """Domains with sequences: everything up to the sequence is applied."""
    domains = draw(st.dictionaries(st.integers(0, 3), st.integers(1, 8)))
    return ",".join(f"{domain}-{draw(st.integers(1, 3))}-{sequence}" for domain, sequence in domains.items())


@st.composite
def mysql(draw: st.DrawFn) -> str:
    parts = []
    for _ in range(draw(st.integers(0, 4))):
        uuid = draw(st.sampled_from(UUIDS))
        if draw(st.booleans()):
            uuid = uuid.upper()
        ranges = []
        for _ in range(draw(st.integers(1, 3))):
            first, length = draw(st.integers(1, 12)), draw(st.integers(0, 4))
            ranges.append(f"{first}-{first + length}" if length or draw(st.booleans()) else str(first))
        parts.append(":".join([uuid, *ranges]))
    return draw(st.sampled_from([",", ",\n", ", "])).join(parts)


def transactions(text: str) -> Transactions:
    """The set that a text stands for, read in another way than the code under test does."""
    found: set[tuple[int | str, int]] = set()
    for part in text.replace("\n", "").replace(" ", "").split(","):
        if ":" in part:
            uuid, *ranges = part.split(":")
            for item in ranges:
                ends = [int(end) for end in item.split("-")]
                found |= {(uuid.lower(), n) for n in range(ends[0], ends[-1] + 1)}
        elif part:
            domain, _, sequence = (int(number) for number in part.split("-"))
            found |= {(domain, n) for n in range(1, sequence + 1)}
    return frozenset(found)


def all_of(position: GtidPosition) -> Transactions:
    found: set[tuple[int | str, int]] = {(d, n) for d, last in position.domains for n in range(1, last + 1)}
    for uuid, parts in position.intervals:
        found |= {(uuid, n) for first, last in parts for n in range(first, last + 1)}
    return frozenset(found)


FAMILIES = [mariadb(), mysql()]
PAIRS = st.one_of([st.tuples(family, family) for family in FAMILIES] + [st.tuples(mariadb(), mysql())])


@given(st.one_of(FAMILIES))
def test_parsing_keeps_every_transaction(text: str) -> None:
    position = parse(text)
    assert all_of(position) == transactions(text)
    for _, parts in position.intervals:
        assert list(parts) == sorted(parts)
        assert all(before[1] + 1 < after[0] for before, after in itertools.pairwise(parts)), "joined where they touch"


@given(PAIRS)
def test_covering_is_being_a_superset(texts: tuple[str, str]) -> None:
    one, other = texts
    assert parse(one).covers(parse(other)) == (transactions(one) >= transactions(other))
    assert parse(other).covers(parse(one)) == (transactions(other) >= transactions(one))


@given(PAIRS)
def test_merging_is_the_union(texts: tuple[str, str]) -> None:
    one, other = parse(texts[0]), parse(texts[1])
    both = one.merged(other)
    assert all_of(both) == all_of(one) | all_of(other)
    assert both == other.merged(one)
    assert both.covers(one)
    assert both.covers(other)
    assert both.merged(one) == both
    assert one.merged(one) == one


@given(st.text(alphabet="0123456789abcdefx-:, \n_", max_size=40))
def test_any_text_is_a_position_or_a_value_error(text: str) -> None:
    try:
        position = parse(text)
    except ValueError:
        return
    assert position.covers(position)
    assert position.covers(GtidPosition())
