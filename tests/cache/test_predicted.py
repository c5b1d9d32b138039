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
# A user thinks after a write: for longer than the prediction takes the binary log to be behind it (SHADOW_NS).
THINK_S = 0.08
LATE = ("being-written", "stale-clock")  # values that were refused because the binary log was not read far enough


def traffic(proxy: Turnout, count: int) -> int:
    """Unequal keys, one statement in fifty a write; the same in every run. Returns how many reads there were."""
    chance, reads = random.Random(1), 0
    client = proxy.connect(APP, APP_PASSWORD, DATABASE)
    with client.cursor() as cursor:
        for _ in range(count):
            key = int(KEYS ** chance.random())
            if chance.random() < 0.02:
                cursor.execute(f"UPDATE asked SET n = n + 1 WHERE id = {key}")
                time.sleep(THINK_S)
            else:
                cursor.execute(f"SELECT n FROM asked WHERE id = {key}")
                cursor.fetchall()
                reads += 1
    client.close()
    return reads


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
    traffic(recording, 6_000)
    recording.stop()
    history = HistoryFile(path, read_only=True)
    predicted = history.read_keys().keys[f"{DATABASE}.asked", ("id",)].hit_rate
    history.close()
    cached = turnout(rules(server, "      asked: {cache: {by: [id]}}"))
    reads = traffic(cached, 6_000)

    def counted() -> list[float]:
        return [cached.metric(f"turnout_cache_{what}_total") for what in ("hits", "misses")]

    wait_until(lambda: sum(counted()) == reads, 30)  # workers tell once a second
    hits, misses = counted()
    late = sum(cached.metric("turnout_cache_refused_total", reason=reason) for reason in LATE)
    # On a busy machine the binary log may come late, and reads that find a value go to the server all the same: they
    # say how busy the machine was, nothing of the cache class, so they are left out. There are hardly ever any.
    assert late < (hits + misses) / 2
    assert predicted == pytest.approx(hits / (hits + misses - late), abs=0.05)
