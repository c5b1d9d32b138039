"""Fixtures on real servers. `run` lives as long as the test session, what `turnout` starts as long as one test."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests.servers import Run, Shop, Turnout

# Examples are not timed: on a busy machine any of them may take long.
settings.register_profile("turnout", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("turnout")


@pytest.fixture(scope="session")
def run() -> Iterator[Run]:
    with Run() as started:
        yield started


@pytest.fixture(scope="session")
def shop_servers(run: Run) -> Shop:
    """Main, its replica, media, shards and memcached, shared by all tests and started when first asked for.

    Tests that stop, pause or reconfigure a server take one of their own from `run` instead.
    """
    return Shop(run)


@pytest.fixture
def turnout(run: Run) -> Iterator[Callable[..., Turnout]]:
    """A factory: `turnout(rules_text)` is a running Turnout, ended after the test. Keywords are environment."""
    started: list[Turnout] = []

    def start(rules: str, name: str = "turnout", **environment: str) -> Turnout:
        process = run.turnout(rules, name, wait=True, **environment)
        started.append(process)
        return process

    yield start
    for process in reversed(started):
        process.kill()
