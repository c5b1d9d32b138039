"""Enums whose members are attributes of their class."""

from __future__ import annotations

import copy
import pickle

import pytest

from parser.statement import Access, Effect, Kind
from parser.tokens import Of


@pytest.mark.parametrize("of", [Of, Kind, Access])
def test_members_are_what_they_were(of: type[Of] | type[Kind] | type[Access]) -> None:
    for name, member in of.__members__.items():
        assert of.__dict__[name] is member
        assert getattr(of, name) is of[name] is of(member.value) is member
        assert (member.name, member in of) == (name, True)
        assert pickle.loads(pickle.dumps(member)) is copy.deepcopy(member) is member
    assert len({*of}) == len(of) == len(list(of))


@pytest.mark.parametrize("one", [Effect.NONE, Effect.WRITES, Effect.WRITES | Effect.RETURNING])
@pytest.mark.parametrize("others", [Effect.NONE, Effect.WRITES, Effect.SLEEPS, Effect.RETURNING | Effect.SLEEPS])
def test_effects_meet(one: Effect, others: Effect) -> None:
    assert one.meets(others) is bool(one & others)
    assert isinstance(one | others, Effect)
