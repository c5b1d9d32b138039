"""One Turnout over a database on four clusters, and its mirror; the tests leave both as they found them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.around.logical import Logical, Pair, prepare
from tests.front.conftest import end
from tests.servers import Run, Shop


@pytest.fixture(scope="module")
def logical(run: Run, shop_servers: Shop) -> Iterator[Logical]:
    made = prepare(run, shop_servers)
    yield made
    end(made.proxy)


@pytest.fixture
def pair(logical: Logical) -> Iterator[Pair]:
    made = Pair(logical)
    yield made
    made.close()
