"""Which clusters come first, and which have carried a statement out already, by their definitions."""

from __future__ import annotations

import pytest

from proxy.plan.ddl_progress import States, are_same, definition, has_it, in_turn, what_differs

OLD, NEW = "CREATE TABLE t (\n  a int\n)", "CREATE TABLE t (\n  a int,\n  b int\n)"
CLUSTERS = ("a", "b", "c", "d")


def states(*texts: str | None) -> States:
    return {cluster: (text,) for cluster, text in zip(CLUSTERS, texts)}


@pytest.mark.parametrize(
    ("before", "grows", "turn"),
    [
        (None, True, "abcd"),
        (states(OLD, OLD, OLD, OLD), True, "abcd"),
        (states(None, None, None, None), False, "abcd"),
        (states(NEW, NEW, OLD, OLD), None, "dcba"),  # an earlier try went through them from the first on
        (states(NEW, NEW, OLD, OLD), True, "dcba"),
        (states(OLD, OLD, NEW, NEW), True, "badc"),  # somebody did it by hand on the last two
        (states(OLD, OLD, NEW, NEW), False, "dcba"),
        (states(OLD, None, OLD, None), True, "dbca"),
        (states(None, OLD, None, OLD), False, "dbca"),
    ],
)
def test_the_order(before: States | None, grows: bool | None, turn: str) -> None:
    assert "".join(in_turn(CLUSTERS, before, grows)) == turn


@pytest.mark.parametrize(
    ("before", "after", "had"),
    [
        (states(NEW, OLD), {"b": (NEW,)}, True),
        (states(OLD, OLD), {"b": (NEW,)}, False),
        (states("other", OLD), {"b": (NEW,)}, False),
        (states(None, OLD), {"b": (None,)}, True),
        (states(NEW, OLD), {}, False),
        (states(OLD, OLD), {"b": (OLD,)}, False),  # it changes no definition: nothing tells
        (states(NEW, OLD, OLD), {"b": (NEW,), "c": (NEW,)}, True),
        (states(NEW, OLD, "other"), {"b": (NEW,), "c": ("another",)}, False),  # what is it to be?
        (states(NEW, OLD, "other"), {"b": (NEW,), "c": ("other",)}, True),
    ],
)
def test_who_has_it(before: States, after: States, had: bool) -> None:
    assert has_it("a", before, after) is had


def test_definitions_are_compared_without_their_counters() -> None:
    text = b"CREATE TABLE `t` (\n  `a` int NOT NULL AUTO_INCREMENT\n) ENGINE=InnoDB AUTO_INCREMENT=17 COMMENT='x'"
    other = text.replace(b" AUTO_INCREMENT=17", b"")
    assert definition(text) == definition(other) == other.decode()
    assert are_same({"a": (definition(text),), "b": (definition(other),)})


def test_what_differs_is_named_with_two_clusters() -> None:
    everywhere, apart = ("a", "b", "c"), ("a",)
    found = {"a": (OLD, OLD), "b": (OLD, None), "c": (NEW, None)}
    assert what_differs(["s.t", "s.u"], found, [everywhere, apart]) == "s.t is not the same on clusters a and c"
    assert what_differs(["s.u"], {"a": (OLD,), "b": (None,)}, [apart]) == ""
