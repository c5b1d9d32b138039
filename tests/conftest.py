"""Fixtures on real servers. `run` lives as long as the test session, what `turnout` starts as long as one test.

With several workers (`make test`) the tests of a module that share servers go to one worker, so that these are started
once, and what takes longest is begun first, so that the workers end at about the same time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests import pure  # noqa: F401  # before all else of ours
from tests.servers import Run, Shop, Turnout
from tests.sizes import THOROUGH

# Examples are not timed: on a busy machine any of them may take long.
settings.register_profile("turnout", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("turnout")

Turnout.quick = True  # the real start is tested by tests/cli, tests/test_demo.py and tests/test_deploy.py


# Modules and folders that take long, longest first, as measured by `pytest --durations=0`.
LONGEST = (
    "tests/cache/test_coherence.py",
    "tests/atomic/test_failures.py",
    "tests/cache/test_mutations.py",
    "tests/clients/",
    "tests/stream/",
    "tests/sequences/",
    "tests/workbench/",
    "tests/front/",
    "tests/protocol/",
    "tests/cli/",
    "tests/parser/test_pins.py",
)
# Their tests have nothing in common but the module: any worker may take any of them.
APART = ("tests/cache/test_coherence.py", "tests/cache/test_mutations.py", "tests/front/test_many_clients.py")
# Servers are shared by all modules of these.
TOGETHER = ("tests/load/", "tests/protocol/", "tests/sequences/", "tests/stream/")


@pytest.hookimpl(tryfirst=True)  # xdist reads the groups afterwards
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def place(item: pytest.Item) -> int:
        starts = (number for number, start in enumerate(LONGEST) if item.nodeid.startswith(start))
        return next(starts, len(LONGEST) + ("run" not in getattr(item, "fixturenames", ())))

    if not THOROUGH:
        left = [item for item in items if item.get_closest_marker("thorough") is not None]
        if left:
            left[0].config.hook.pytest_deselected(items=left)
        items[:] = [item for item in items if item.get_closest_marker("thorough") is None]
    for item in items:
        module = item.nodeid.partition("::")[0]
        shared = "run" in getattr(item, "fixturenames", ()) and module not in APART
        if shared and item.get_closest_marker("xdist_group") is None:
            group = next((folder for folder in TOGETHER if module.startswith(folder)), module)
            item.add_marker(pytest.mark.xdist_group(group))
    items.sort(key=place)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Groups that are not kept together cost each worker the servers of every module."""
    if getattr(session.config.option, "loadgroup", False):
        for item in session.items:
            if item.get_closest_marker("xdist_group") is not None and "@" not in item.nodeid:
                raise pytest.UsageError("xdist does not see groups of tests: do its version and pytest's fit?")


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
