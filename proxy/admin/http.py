"""The HTTP side: /metrics, /healthz, /readyz, and the dashboard with its numbers.

It shows no literals and no passwords, and changes nothing. The first three have no login, as Prometheus and load
balancers expect; who may see the dashboard is decided in `proxy.admin.login`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable

import msgspec
from aiohttp import web
from prometheus_client.exposition import choose_encoder

from proxy.admin.dashboard import dashboard
from proxy.admin.login import Door, Verdict, is_open
from proxy.admin.metrics import registry
from proxy.admin.overview import Overview
from proxy.admin.past import LIVE, Reader
from proxy.admin.static_files import PAGE, StaticFile, read
from proxy.rules.model import Address

log = logging.getLogger("turnout.http")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_REFUSED = {
    Verdict.ASKED: (401, "Log in as an account with `admin: true` of the rules.\n"),
    Verdict.WRONG: (401, "Wrong name or password, or not an account with `admin: true` of the rules.\n"),
    Verdict.WAIT: (429, "Too many wrong passwords from this address: wait a minute.\n"),
}


def application(look: Callable[[], Overview], address: Address) -> web.Application:
    """The web application over what `look` returns at each request; it is bound to `address`."""
    metrics = registry(look)
    door = Door()
    history = Reader()

    async def get_metrics(request: web.Request) -> web.Response:
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return web.Response(body=encode(metrics), headers={"Content-Type": content_type})

    async def get_health(request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def get_ready(request: web.Request) -> web.Response:
        overview = look()
        if overview.ready:
            return web.Response(text="ready\n")
        return web.Response(status=503, text="stopping\n" if overview.stopping else "workers are not ready\n")

    def guarded(handler: Handler) -> Handler:
        async def handle(request: web.Request) -> web.StreamResponse:
            rules = look().rules
            if not is_open(address, rules.listen.http_login, request.headers.get("Host", "")):
                verdict = door.decide(
                    rules, request.remote or "", request.headers.get("Authorization", ""), time.monotonic()
                )
                if verdict is not Verdict.ADMITTED:
                    if verdict is Verdict.WRONG:
                        log.warning("dashboard: login refused", extra={"client": request.remote or ""})
                    status, text = _REFUSED[verdict]
                    headers = {"WWW-Authenticate": 'Basic realm="Turnout", charset="UTF-8"'} if status == 401 else {}
                    return web.Response(status=status, text=text, headers={**_HEADERS, **headers})
            return await handler(request)

        return handle

    async def get_numbers(request: web.Request) -> web.Response:
        overview = look()
        windows = history.windows(overview)
        window = request.query.get("window", LIVE)
        if window not in windows:
            return web.Response(status=400, text=f"No such window: there are {', '.join(windows)}.\n")
        past = await history.read(overview, window) if window != LIVE else None
        shown = dashboard(overview, window, windows, past, history.advice(overview))
        response = web.Response(
            body=msgspec.json.encode(shown),
            content_type="application/json",
            headers={**_HEADERS, "Cache-Control": "no-store"},
        )
        response.enable_compression()
        return response

    def sender(file: StaticFile) -> Handler:
        async def send(request: web.Request) -> web.Response:
            known = request.if_none_match or ()
            response = web.Response(headers={**_HEADERS, "Cache-Control": "no-cache"})
            response.etag = file.etag
            if any(etag.value == file.etag for etag in known):
                response.set_status(304)
                return response
            response.body = file.content
            response.content_type = file.content_type
            response.charset = "utf-8"
            response.enable_compression()
            return response

        return send

    made = web.Application()
    made.router.add_get("/metrics", get_metrics)
    made.router.add_get("/healthz", get_health)
    made.router.add_get("/readyz", get_ready)
    made.router.add_get("/dashboard.json", guarded(get_numbers))
    for name, file in read().items():
        made.router.add_get("/" if name == PAGE else f"/static/{name}", guarded(sender(file)))
    return made
