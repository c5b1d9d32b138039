"""The HTTP side: /metrics, /healthz, /readyz and a plain status page.

It shows no literals and no passwords, changes nothing, and has no login: bind it to loopback or to a private network.
"""

from __future__ import annotations

from collections.abc import Callable

from aiohttp import web
from prometheus_client.exposition import choose_encoder

from proxy.admin.metrics import registry
from proxy.admin.overview import Overview
from proxy.admin.page import page
from proxy.admin.show import show

SHAPES_ON_PAGE = 25


def application(look: Callable[[], Overview]) -> web.Application:
    """The web application over what `look` returns at each request."""
    metrics = registry(look)

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

    async def get_page(request: web.Request) -> web.Response:
        overview = look()
        tables = [
            (title, *await show(what, overview))
            for title, what in (
                ("Turnout", "STATUS"),
                ("Clusters", "CLUSTERS"),
                ("Workers", "WORKERS"),
                ("Tables", "TABLES"),
                (f"Shapes (the {SHAPES_ON_PAGE} that took the most time)", f"SHAPES LIMIT {SHAPES_ON_PAGE}"),
            )
        ]
        return web.Response(
            text=page(tables),
            content_type="text/html",
            headers={
                "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
                "Cache-Control": "no-store",
            },
        )

    made = web.Application()
    made.router.add_get("/metrics", get_metrics)
    made.router.add_get("/healthz", get_health)
    made.router.add_get("/readyz", get_ready)
    made.router.add_get("/", get_page)
    return made
