"""mariadb-dump and mariadb-show through Turnout print what they print of one server."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator

import pytest

from tests.around.logical import Logical, Pair
from tests.servers.shop import APP, APP_PASSWORD, DATABASE

pytestmark = pytest.mark.servers
# Tables made on several servers count from different numbers.
_COUNTER = re.compile(r" AUTO_INCREMENT=\d+")


@pytest.fixture
def rows(pair: Pair) -> Iterator[None]:
    people = ", ".join(f"({n}, 'name {n % 5}', {n})" for n in range(1, 40))
    orders = ", ".join(f"({n}, {n % 3}, '2024-01-0{n % 9 + 1} 10:00:00', {n}.5)" for n in range(1, 40))
    pair.run(
        f"INSERT INTO customers VALUES {people}",
        f"INSERT INTO orders VALUES {orders}",
        "INSERT INTO photos (id, title, data) VALUES (1, 'it''s', X'00270a5c'), (2, NULL, NULL)",
        "INSERT INTO places VALUES ('b', 2, 'x'), ('a', 1, 'y'), ('a', 3, NULL)",
        "INSERT INTO countries VALUES (1, 'de'), (2, 'fr')",
    )
    yield
    pair.run("DELETE FROM orders", "DELETE FROM customers", "DELETE FROM photos", "DELETE FROM places")
    pair.run("DELETE FROM countries")


def _printed(program: str, port: int, *words: str) -> str:
    login = (f"--port={port}", "--host=127.0.0.1", f"--user={APP}", f"--password={APP_PASSWORD}")
    done = subprocess.run([program, *login, *words], capture_output=True, text=True, timeout=60, check=False)
    assert not done.returncode, done.stderr
    assert not done.stderr
    return _COUNTER.sub("", done.stdout)


@pytest.mark.usefixtures("rows")
@pytest.mark.parametrize("how", ["--single-transaction", "--skip-lock-tables"])
def test_a_dump(logical: Logical, how: str) -> None:
    words = (how, "--skip-lock-tables", "--order-by-primary", "--compact", "--routines", "--triggers", DATABASE)
    ours, theirs = (_printed("mariadb-dump", server.port, *words) for server in (logical.proxy, logical.mirror))
    assert ours == theirs
    assert ours.count("CREATE TABLE") == 9
    assert ours.count("(39,'name 4',39)") == 1


@pytest.mark.usefixtures("rows")
def test_show(logical: Logical) -> None:
    for words in ((), ("--count",), ("--show-table-type",)):
        ours, theirs = (_printed("mariadb-show", s.port, *words, DATABASE) for s in (logical.proxy, logical.mirror))
        assert ours == theirs
        assert "customers" in ours
