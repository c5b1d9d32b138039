"""The order of a COMMIT over clusters, what each event makes of it, and what recovery may do. No server."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.back.decisions import Decision, Row
from proxy.back.xa import FORMAT, Branch, prepared
from proxy.front.two_phase import (
    FINAL,
    KEEP_ABORTS_S,
    KEEP_COMMITS_S,
    TABLE,
    Ending,
    Event,
    Phase,
    Sightings,
    ending,
    forgettable,
)

A, B, C = "a" * 16, "b" * 16, "c" * 16
ID, OTHER = "0" * 24, "1" * 24


@pytest.mark.parametrize(
    ("branches", "writers", "expected"),
    [
        ("b", "", Ending(readers=("b",))),
        ("b", "a", Ending(readers=("b",))),
        ("b", "b", Ending(alone="b")),
        ("bc", "c", Ending(alone="c", readers=("b",))),
        ("b", "ab", Ending(prepare=("b",), decide=True)),
        ("bc", "ab", Ending(prepare=("b",), decide=True, readers=("c",))),
        ("bc", "bc", Ending(prepare=("b", "c"), decide=True)),
        ("bc", "abc", Ending(prepare=("b", "c"), decide=True)),
    ],
)
def test_what_has_to_be_prepared(branches: str, writers: str, expected: Ending) -> None:
    assert ending(tuple(branches), "a", set(writers)) == expected


def test_every_part_is_ended_once() -> None:
    for size in range(4):
        for writers in itertools.chain.from_iterable(itertools.combinations("abcd", n) for n in range(5)):
            plan = ending(tuple("bcd"[:size]), "a", set(writers))
            parts = [*plan.prepare, *plan.readers, *([plan.alone] if plan.alone else [])]
            assert sorted(parts) == sorted("bcd"[:size])
            wrote = {c for c in "a" + "bcd"[:size] if c in writers}
            assert plan.decide == (len(wrote) > 1)  # one writer needs no decision, several always do


def test_the_table_is_complete_and_ends() -> None:
    """Every phase but the final ones has an event that goes on; what is not in the table cannot happen."""
    possible = {
        Phase.PREPARING: {Event.DONE, Event.REFUSED, Event.LOST, Event.LATE},
        Phase.WRITING: {Event.DONE, Event.REFUSED, Event.LOST, Event.LATE},
        Phase.COMMITTING: {Event.DONE, Event.REFUSED, Event.LOST, Event.LATE},
        Phase.ASKING: {Event.FOUND_COMMIT, Event.FOUND_ABORT, Event.LATE},
    }
    assert set(TABLE) == {(phase, event) for phase, events in possible.items() for event in events}
    assert not {phase for phase, _ in TABLE} & FINAL


@settings(max_examples=300, derandomize=True)
@given(st.lists(st.sampled_from(list(Event)), max_size=12))
def test_committed_only_with_an_acknowledged_commit_or_a_row(events: list[Event]) -> None:
    phase, trace = Phase.PREPARING, []
    for event in events:
        if phase in FINAL:
            break
        following = TABLE.get((phase, event))
        if following is None:
            continue
        trace.append((phase, event))
        phase = following
    if phase is Phase.COMMITTED:
        assert trace[-1] in [(Phase.COMMITTING, Event.DONE), (Phase.ASKING, Event.FOUND_COMMIT)]
        assert (Phase.PREPARING, Event.DONE) in trace
    if phase is Phase.ROLLED_BACK:
        # Once COMMIT may have reached the server (LATE: it was not sent), only a row says that it did not.
        sent = any(one is Phase.COMMITTING and event is not Event.LATE for one, event in trace)
        assert not sent or trace[-1] == (Phase.ASKING, Event.FOUND_ABORT)


def test_names_of_branches_come_back_from_xa_recover() -> None:
    branch = Branch(ID, A, B)
    data = f"{ID}-{A}{B}".encode()
    rows: list[list[bytes | None]] = [
        [str(FORMAT).encode(), b"41", b"16", data],
        [b"1", b"41", b"16", data],  # somebody else's
        [str(FORMAT).encode(), b"3", b"1", b"abcd"],
        [str(FORMAT).encode(), b"41", b"16", data[:-1] + b"X"],
        [None, None, None, None],
    ]
    assert prepared(rows) == [branch]
    assert branch.start == b"XA START X'%s',X'%s',%d" % (
        data[:41].hex().encode(),
        data[41:].hex().encode(),
        FORMAT,
    )
    assert len(data[:41]) <= 64 >= len(data[41:])


def test_a_branch_is_left_alone_for_a_while() -> None:
    sightings = Sightings()
    one, other = Branch(ID, A, B), Branch(OTHER, A, C)
    assert sightings.due({one}, {B, C}, 0.0, 5.0) == []
    assert sightings.due({one, other}, {B, C}, 4.0, 5.0) == []
    assert sightings.due({one, other}, {B, C}, 5.0, 5.0) == [one]
    assert sightings.due({other}, {C}, 8.0, 5.0) == []  # B could not be asked: that is not to say that it is gone
    assert sightings.due({one, other}, {B, C}, 9.0, 5.0) == [one, other]
    assert sightings.due({other}, {B, C}, 10.0, 5.0) == [other]
    assert sightings.due({one}, {B, C}, 11.0, 5.0) == []  # it was gone, and is a new one


def test_when_decisions_are_forgotten() -> None:
    def row(decision: Decision, age_s: float, *branches: str, name: str = ID) -> Row:
        return Row(name, decision, branches, age_s)

    old = row(Decision.COMMIT, KEEP_COMMITS_S, B, C)
    assert forgettable([old], [], {A, B, C}) == [ID]
    assert forgettable([old], [], {A, B}) == []  # C may have a branch
    assert forgettable([old], [Branch(ID, A, C)], {A, B, C}) == []
    assert forgettable([old], [Branch(OTHER, A, C)], {A, B, C}) == [ID]
    assert forgettable([row(Decision.COMMIT, KEEP_COMMITS_S - 1, B)], [], {B}) == []
    assert forgettable([row(Decision.ABORT, KEEP_COMMITS_S)], [], {A, B, C}) == []
    assert forgettable([row(Decision.ABORT, KEEP_ABORTS_S)], [], set()) == [ID]
    assert forgettable([row(Decision.ABORT, KEEP_ABORTS_S)], [Branch(ID, A, B)], {B}) == []


def test_coordinators_give_up_before_abort_rows_are_forgotten() -> None:
    from proxy.front.atomic import DECIDE_WITHIN_S

    assert DECIDE_WITHIN_S * 100 < KEEP_ABORTS_S
