"""The shop of `tests.workbench` with its mirror."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.front.conftest import end
from tests.prepared.pair import PreparedPair
from tests.servers import MariaDB, Run, Shop, Turnout
from tests.workbench.shop import CLUSTERS, prepare_filled


@pytest.fixture(scope="module")
def proxy(run: Run, shop_servers: Shop) -> Iterator[tuple[Turnout, MariaDB]]:
    for name in CLUSTERS:
        shop_servers.server(name).execute("SET GLOBAL max_allowed_packet = 67108864")  # of connections from now on
    made = prepare_filled(run, shop_servers)
    yield made
    end(made[0])


@pytest.fixture
def pair(proxy: tuple[Turnout, MariaDB]) -> Iterator[PreparedPair]:
    made = PreparedPair(*proxy)
    yield made
    made.close()
