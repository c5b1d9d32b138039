"""The hit rate that is predicted from recorded keys is the one that the cache then has."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from proxy.measure.history import HistoryFile
from tests.cache.test_served import rules, server, turnout  # noqa: F401  fixtures
from tests.servers import MariaDB, Turnout
from tests.servers.process import wait_until
from tests.servers.shop import APP, APP_PASSWORD, DATABASE

pytestmark = [pytest.mark.servers, pytest.mark.thorough]
KEYS = 3000


def traffic(proxy: Turnout, count: int) -> None:
    """Unequal keys, one statement in twenty a write; the same in every run."""
    chance = random.Random(1)
    client = proxy.connect(APP, APP_PASSWORD, DATABASE)
    with client.cursor() as cursor:
        for _ in range(count):
            key = int(KEYS ** chance.random())
            if chance.random() < 0.05:
                cursor.execute(f"UPDATE asked SET n = n + 1 WHERE id = {key}")
                time.sleep(0.003)  # a user thinks; reads before the stream has come to a write are not served
            else:
                cursor.execute(f"SELECT n FROM asked WHERE id = {key}")
                cursor.fetchall()
    client.close()


def test_what_is_predicted_is_what_is_then_measured(
    server: MariaDB,  # noqa: F811
    turnout: Callable[..., Turnout],  # noqa: F811
    tmp_path: Path,
) -> None:
    server.execute(
        f"CREATE OR REPLACE DATABASE {DATABASE}",
        f"USE {DATABASE}",
        "CREATE TABLE asked (id INT PRIMARY KEY, n INT)",
        f"INSERT INTO asked SELECT seq, 0 FROM seq_1_to_{KEYS}",
    )
    path = tmp_path / "history.sqlite"
    recording = turnout(rules(server, "      asked: {}", more=f"history: {{file: {path}}}\n"), following=False)
    traffic(recording, 8_000)
    recording.stop()
    history = HistoryFile(path, read_only=True)
    predicted = history.read_keys().keys[f"{DATABASE}.asked", ("id",)].hit_rate
    history.close()
    cached = turnout(rules(server, "      asked: {cache: {by: [id]}}"))
    traffic(cached, 8_000)

    def counted() -> list[float]:
        return [cached.metric(f"turnout_cache_{what}_total") for what in ("hits", "misses")]

    wait_until(lambda: sum(counted()) > 7_000, 10)  # workers tell once a second
    hits, misses = counted()
    # 5 points are what the sample is good for (tests/measure/test_key_sampling.py), on a machine that is not busy.
    assert predicted == pytest.approx(hits / (hits + misses), abs=0.1)
