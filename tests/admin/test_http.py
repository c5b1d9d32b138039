"""The HTTP side: what load balancers, Prometheus and browsers get."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from aiohttp.test_utils import TestClient, TestServer

from proxy.admin.http import application
from proxy.admin.overview import Overview
from proxy.rules.loader import parse
from proxy.rules.model import Address, HttpLogin, Rules
from tests.admin.conftest import RULES, run

LOOPBACK, ANYWHERE = Address("127.0.0.1", 9307), Address("0.0.0.0", 9307)
GUARDED = ("/", "/dashboard.json", "/static/dashboard.js", "/static/uplot/uPlot.min.css")
OPEN = ("/metrics", "/healthz", "/readyz")


def ask(overview: Overview, *asked: tuple[str, dict[str, str]], address: Address = LOOPBACK) -> list[Any]:
    """(status, headers, text) of each request, in order, to one application."""

    async def scene() -> list[Any]:
        found = []
        async with TestClient(TestServer(application(lambda: overview, address))) as client:
            for path, headers in asked:
                response = await client.get(path, headers=headers)
                found.append((response.status, response.headers, await response.text()))
        return found

    answers: list[Any] = run(scene())
    return answers


def get(overview: Overview, path: str, **headers: str) -> tuple[int, str, str]:
    ((status, found, text),) = ask(overview, (path, headers))
    return status, found["Content-Type"], text


def basic(user: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


def with_admin(overview: Overview, login: str = "remote") -> Overview:
    text = RULES.replace(
        "  app: {password: hunter2}", "  app: {password: hunter2}\n  ops: {password: 'ö:x', admin: true}"
    )
    rules: Rules = parse(text, overview.rules.path)
    return replace(overview, rules=replace(rules, listen=replace(rules.listen, http_login=HttpLogin(login))))


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


def test_the_page_asks_nobody_else_and_its_files_are_there(overview: Overview) -> None:
    ((status, headers, text),) = ask(overview, ("/", {}))
    assert status == 200
    assert headers["Content-Type"].startswith("text/html")
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert "unsafe" not in headers["Content-Security-Policy"]
    links = re.findall(r"(?:src|href)=\"([^\"#]+)\"", text)
    assert {"static/dashboard.js", "static/dashboard.css", "static/uplot/uPlot.iife.min.js"} <= set(links)
    for status, _, content in ask(overview, *((f"/{link}", {}) for link in links)):
        assert (status, bool(content)) == (200, True)
    assert "style=" not in text, "which the policy forbids"


def test_files_are_sent_once(overview: Overview) -> None:
    ((_, headers, _),) = ask(overview, ("/static/dashboard.js", {}))
    assert headers["Cache-Control"] == "no-cache"
    ((status, _, text),) = ask(overview, ("/static/dashboard.js", {"If-None-Match": headers["ETag"]}))
    assert (status, text) == (304, "")
    ((status, _, _),) = ask(overview, ("/static/dashboard.js", {"If-None-Match": '"another"'}))
    assert status == 200


def test_numbers_are_not_kept_by_anybody_and_hold_no_secrets(overview: Overview) -> None:
    ((status, headers, text),) = ask(overview, ("/dashboard.json", {}))
    assert (status, headers["Cache-Control"]) == (200, "no-store")
    assert json.loads(text)["version"] == "1.2.3"
    assert "hunter" not in text
    ((status, _, text),) = ask(overview, ("/dashboard.json?window=year", {}))
    assert (status, text) == (400, "No such window: there are live.\n")


def test_on_loopback_nobody_has_to_log_in_who_asks_for_loopback(overview: Overview) -> None:
    for path in GUARDED:
        for host in ("127.0.0.1:9307", "localhost:9307", "[::1]:9307", "LOCALHOST"):
            assert ask(overview, (path, {"Host": host}))[0][0] == 200, host
        for host in ("evil.example:9307", "localhost.evil.example", "10.0.0.1:9307", "127.0.0.1.evil.example", ""):
            assert ask(overview, (path, {"Host": host}))[0][0] == 401, host


def test_elsewhere_an_administrator_has_to_log_in(overview: Overview) -> None:
    guarded = with_admin(overview)
    for path in GUARDED:
        statuses = [
            status
            for status, *_ in ask(
                guarded,
                (path, {}),
                (path, basic("ops", "ö:x")),
                (path, basic("ops", "wrong")),
                (path, basic("app", "hunter2")),  # no administrator
                (path, basic("nobody", "")),
                (path, {"Authorization": "Basic %%%"}),
                (path, {"Authorization": "Bearer " + basic("ops", "ö:x")["Authorization"][6:]}),
                address=ANYWHERE,
            )
        ]
        assert statuses == [401, 200, 401, 401, 401, 401, 401], path
    (_, headers, text), *others = ask(guarded, *((path, {}) for path in ("/", *OPEN)), address=ANYWHERE)
    assert headers["WWW-Authenticate"].startswith("Basic ")
    assert "admin: true" in text
    assert [status for status, *_ in others] == [200, 200, 200], "Prometheus and load balancers do not log in"


def test_the_rules_can_ask_for_a_login_always(overview: Overview) -> None:
    guarded = with_admin(overview, "always")
    answers = ask(guarded, ("/", {}), ("/", basic("ops", "ö:x")), ("/healthz", {}))
    assert [status for status, *_ in answers] == [401, 200, 200]


def test_who_guesses_has_to_wait(overview: Overview) -> None:
    guarded = with_admin(overview)
    wrong = [("/dashboard.json", basic("ops", f"wrong{i}")) for i in range(11)]
    answers = ask(guarded, *wrong, ("/", basic("ops", "ö:x")), ("/metrics", {}), address=ANYWHERE)
    assert [status for status, *_ in answers] == [*[401] * 10, 429, 429, 200]


def test_anything_else_is_not_there(overview: Overview) -> None:
    for path in ("/admin", "/static/", "/static/../http.py", "/static/index.html", "/static/uplot/README.md"):
        assert get(overview, path)[0] == 404, path
