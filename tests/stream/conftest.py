"""Servers that the stream's tests share: a source, and a target that is made from the source's log."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.servers import MariaDB, Run


@pytest.fixture(scope="package")
def source(run: Run) -> Iterator[MariaDB]:
    started = run.mariadb("source", options=["--max-allowed-packet=64M"])
    started.create_service_account()
    yield started
    started.kill()


@pytest.fixture(scope="package")
def target(run: Run) -> Iterator[MariaDB]:
    started = run.mariadb("target", options=["--max-allowed-packet=64M"])
    yield started
    started.kill()
