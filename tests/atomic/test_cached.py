"""Atomic transactions and the cache: whoever reads after COMMIT was answered sees every part."""

from __future__ import annotations

import pytest

from tests.atomic.branch_office import Bank
from tests.front.conftest import end
from tests.front.raw import Client
from tests.servers import Run
from tests.servers.process import wait_until
from tests.servers.shop import APP, APP_PASSWORD, DATABASE

pytestmark = [pytest.mark.servers, pytest.mark.thorough]


def test_cached_rows_are_fresh_after_commit(bank: Bank, run: Run) -> None:
    rules = bank.rules.replace("loans: {cluster: media}", "loans: {cluster: media, cache: {by: [id]}}")
    proxy = run.turnout(rules.replace("stocks: {cluster: shard0}", "stocks: {cluster: shard0, cache: {by: [id]}}"))
    writer, reader = (Client(proxy.port, APP, APP_PASSWORD, DATABASE) for _ in range(2))
    reads = {table: f"SELECT balance FROM {table} WHERE id = 1" for table in ("loans", "stocks")}

    def hits() -> float:
        return proxy.metric("turnout_cache_hits_total")

    def warm() -> None:
        """Until reads are answered from memory (which workers report once a second)."""
        before = hits()

        def served() -> bool:
            for sql in reads.values():
                for _ in range(3):
                    reader.query(sql).checked()
            return hits() >= before + 4

        wait_until(served, 60, every_s=0.3)

    try:
        for step in range(1, 11):
            writer.run("BEGIN", "UPDATE loans SET balance = balance + 1 WHERE id = 1")
            writer.query("UPDATE stocks SET balance = balance - 1 WHERE id = 1").checked()
            warm()  # with what it was: the marks of the UPDATEs are old by now
            writer.query("COMMIT").checked()
            assert reader.query(reads["loans"]).number == 100 + step
            assert reader.query(reads["stocks"]).number == 100 - step
        writer.run("UPDATE loans SET balance = 100 WHERE id = 1", "UPDATE stocks SET balance = 100 WHERE id = 1")
    finally:
        writer.abort()
        reader.abort()
        end(proxy)
