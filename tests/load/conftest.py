"""One Turnout with atomic transactions, shared by the modules of this folder; every test begins with the same rows."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.front.conftest import end
from tests.load.place import SCHEMA, Pair, Place
from tests.servers import Run, Shop
from tests.servers.shop import DATABASE

ROWS = (
    "INSERT INTO users VALUES (1, 'ada', 1), (2, 'ben', 2), (3, 'cy', 3)",
    "INSERT INTO photos VALUES (1, 1, 1, 'one', '2024-01-01'), (2, 2, 2, 'two', NULL), (7, 7, 7, 'seven', NULL)",
    "INSERT INTO parcels VALUES (1, 1, 'one')",
    "INSERT INTO parts VALUES (1, 1, 1, 1, NULL, 'one'), (2, 1, 1, 1, NULL, 'two'), (3, 1, 1, 1, NULL, 'three')",
    "INSERT INTO words VALUES ('ant', 1, 'x'), ('Bee', 1, 'y')",
    "INSERT INTO boxes VALUES (1, 1, 'x'), (2, 1, 'y')",
    "INSERT INTO kinds VALUES (1, 'one')",
)


@pytest.fixture(scope="package")
def place(run: Run, shop_servers: Shop) -> Iterator[Place]:
    made = Place(run, shop_servers)
    yield made
    end(made.proxy)
    made.close()


@pytest.fixture
def pair(place: Place) -> Iterator[Pair]:
    with place.pair() as pair:
        pair.run(*(f"DELETE FROM {table}" for table in SCHEMA), *ROWS)
        for server, table in (("main", "users"), ("media", "photos")):
            for each in (place.mirror, place.servers[server]):
                each.execute(f"ALTER TABLE {table} AUTO_INCREMENT = 8", database=DATABASE)
        yield pair
    place.meddler.calm()
