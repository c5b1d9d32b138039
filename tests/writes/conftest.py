"""One Turnout with atomic transactions over four shards, and its mirror; every test begins with the same rows."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from tests.front.conftest import end
from tests.servers import Run, Shop
from tests.writes.shop import Pair, Place, rows


@pytest.fixture(scope="module")
def place(run: Run, shop_servers: Shop) -> Iterator[Place]:
    made = Place(run, shop_servers)
    yield made
    end(made.proxy)


@pytest.fixture
def pair(place: Place) -> Iterator[Pair]:
    with place.pair() as pair:
        pair.run(*rows(random.Random(11)))
        yield pair
        place.check_places()
