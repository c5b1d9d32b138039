"""The HTTP side: what load balancers, Prometheus and people get."""

from __future__ import annotations

import re
from collections.abc import Callable

from aiohttp.test_utils import TestClient, TestServer

from proxy.admin.http import application
from proxy.admin.overview import Overview
from proxy.admin.page import page
from tests.admin.conftest import run


def get(overview: Overview, path: str, **headers: str) -> tuple[int, str, str]:
    async def scene() -> tuple[int, str, str]:
        async with TestClient(TestServer(application(lambda: overview))) as client:
            response = await client.get(path, headers=headers)
            return response.status, response.headers["Content-Type"], await response.text()

    answer: tuple[int, str, str] = run(scene())
    return answer


def test_health_is_about_the_process_and_readiness_about_clients(
    overview: Overview, changed: Callable[..., Overview]
) -> None:
    assert get(overview, "/readyz")[::2] == (200, "ready\n")
    assert get(changed(stopping=True), "/readyz")[::2] == (503, "stopping\n")
    assert get(changed(workers=()), "/readyz")[::2] == (503, "workers are not ready\n")
    assert get(changed(began=False), "/readyz")[0] == 503
    assert get(changed(stopping=True, workers=()), "/healthz")[::2] == (200, "ok\n")


def test_metrics_in_both_formats(overview: Overview) -> None:
    status, kind, text = get(overview, "/metrics")
    assert status == 200
    assert kind.startswith("text/plain")
    assert "turnout_statements_total{" in text
    _, kind, text = get(overview, "/metrics", Accept="application/openmetrics-text; version=1.0.0")
    assert kind.startswith("application/openmetrics-text")
    assert text.endswith("# EOF\n")


def test_the_page_shows_the_tables_and_asks_nobody_else(overview: Overview) -> None:
    status, kind, text = get(overview, "/")
    assert status == 200
    assert kind.startswith("text/html")
    for word in ("SELECT COUNT(*) FROM photos", "127.0.0.1:3316", "sharding: customer", "1.2.3"):
        assert word in text
    assert "<script" not in text
    assert re.findall(r"(?:src|href)=\"([^\"]*)\"", text) == ["/metrics"]
    assert "hunter" not in text


def test_the_page_escapes_what_clients_wrote() -> None:
    text = page([("T", ["shape"], [["SELECT `<img src=x onerror=alert(1)>` & more"]])])
    assert "<img" not in text
    assert "&lt;img" in text


def test_anything_else_is_not_there(overview: Overview) -> None:
    assert get(overview, "/admin")[0] == 404
