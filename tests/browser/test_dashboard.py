"""The dashboard in a real browser, of a real Turnout with traffic."""

from __future__ import annotations

import asyncio
import base64
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from bench.synthetic import ALONE, BASE, BEGIN, TRUTH, State, sampled, write_history
from proxy.measure.spans import DAY
from tests.browser.chromium import COMMAND, Chromium
from tests.servers import Run, Shop, Turnout
from tests.servers.shop import APP, APP_PASSWORD, OPS, OPS_PASSWORD

pytestmark = [
    pytest.mark.servers,
    pytest.mark.skipif(COMMAND is None, reason="needs Chromium (scripts/setup.sh --clients)"),
]

EVIL = "SELECT '<img src=x onerror=alert(1)>' AS `<img src=x onerror=alert(2)>`, id FROM orders WHERE id = 1"
WIDE = "document.documentElement.scrollWidth"
ROWS = "document.querySelectorAll('#shapes tbody tr').length"
# The number in the row of the by-table chart's legend for orders.
ORDERS = (
    "[...document.querySelectorAll('#by-table tbody tr')].filter(r => r.cells[0].textContent === 'shop.orders')"
    ".map(r => r.cells[3].textContent)[0]"
)


class Traffic:
    """Statements, ten at a time, from a thread of its own until closed."""

    def __init__(self, turnout: Turnout) -> None:
        self._turnout = turnout
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        with self._turnout.connect(APP, APP_PASSWORD, "shop") as connection, connection.cursor() as cursor:
            while not self._end.wait(0.1):
                for i in range(10):
                    cursor.execute(f"SELECT total FROM orders WHERE id = {i}")
                cursor.execute(EVIL)

    def close(self) -> None:
        self._end.set()
        self._thread.join()


@pytest.fixture(scope="module")
def served(run: Run, shop_servers: Shop) -> Iterator[Turnout]:
    """One cluster, one cache class."""
    shop_servers.recreate()
    shop_servers.main.execute("USE shop", "CREATE TABLE orders (id INT PRIMARY KEY, total INT)")
    shop_servers.main.execute("INSERT INTO shop.orders VALUES (1, 10), (2, 20)")
    turnout = run.turnout(
        shop_servers.rules()
        + "cache: {local: 1MB}\ndatabases: {shop: {home: main, tables: {orders: {cache: {by: [id], ttl: 1s}}}}}\n"
    )
    yield turnout
    turnout.stop()


@pytest.fixture(scope="module")
def traffic(served: Turnout) -> Iterator[Traffic]:
    made = Traffic(served)
    yield made
    made.close()


def test_the_page(served: Turnout, traffic: Traffic, run: Run) -> None:
    """One browser for all: starting it is what takes longest."""

    async def scene() -> None:
        async with Chromium(run.environment) as browser:
            await browser.size(1280, 900)
            await shows_live_numbers(browser, served)
            await goes_on(browser)
            await stops_when_told_or_hidden(browser)
            await fits_a_telephone_and_the_dark(browser)
            await says_when_turnout_is_gone(browser)
            await asks_for_the_password(browser, served)

    asyncio.run(scene())


@pytest.fixture(scope="module")
def advised(run: Run, shop_servers: Shop) -> Iterator[Turnout]:
    """With three weeks of the history of an application that should be scaled (bench/synthetic.py), up to today."""
    week = 10
    path = run.place("history") / "history.sqlite"
    today = int(time.time()) // DAY
    write_history(path, State(BASE), week, *sampled(seconds=5), days_later=today - (BEGIN // DAY + 7 * week))
    turnout = run.turnout(
        shop_servers.rules() + f"databases: {{shop: {{home: main}}}}\nhistory: {{file: {path}}}\n", "advised"
    )
    yield turnout
    turnout.stop()


def test_advice(advised: Turnout, run: Run) -> None:
    async def scene() -> None:
        async with Chromium(run.environment) as browser:
            await browser.size(1280, 900)
            await browser.open(advised.url + "/")
            await says_what_to_do(browser)
            await fits_a_telephone_and_the_dark(browser)
            assert browser.errors == []

    asyncio.run(scene())


async def says_what_to_do(browser: Chromium) -> None:
    def cells(table: str) -> str:
        return (
            f"[...document.querySelectorAll('#{table} tbody tr')]"
            ".map(row => [...row.cells].map(cell => cell.textContent))"
        )

    await browser.until("document.querySelectorAll('#advice tbody tr').length", 60)
    steps = await browser.eval(cells("advice"))
    assert {technique.value for technique in TRUTH.values()} <= {step[1] for step in steps}
    for table in TRUTH:
        assert any(table in step[0] for step in steps)
    assert all("% of main" in step[2] and step[5] in ("now", "later") for step in steps)
    alone = await browser.eval(cells("alone"))
    assert set(ALONE) <= {row[0] for row in alone}
    assert all(row[2] for row in alone)
    ((cluster, busy, safe, cores, full),) = await browser.eval(cells("headroom"))
    assert (cluster, safe, cores) == ("main", "5.60", "8 (assumed)")
    assert float(busy) > 0
    assert float(full) > 0
    assert await browser.eval("document.getElementById('assumed').checkVisibility()")
    await browser.eval("document.querySelectorAll('#advice details').forEach(one => one.open = true)")
    assert "cache:" in await browser.eval("document.querySelector('#advice').innerText")


async def shows_live_numbers(browser: Chromium, served: Turnout) -> None:
    await browser.open(served.url + "/")
    await browser.until(f"{ORDERS} && {ROWS} >= 2", 40)  # it may say <0.01
    text = await browser.eval("document.body.innerText")
    for words in ("SELECT total FROM orders WHERE id = ?", "shop.orders by id", "main primary", "worker 0", "ready"):
        assert words in text
    assert "No advice yet." in text
    assert "onerror=alert" in text, "what a client wrote is shown as it is"
    assert await browser.eval("document.querySelectorAll('#shapes img').length") == 0
    assert await browser.eval("document.querySelectorAll('.plot canvas').length") == 2
    painted = (
        "(() => { const c = document.querySelector('#by-table canvas');"
        " const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;"
        " let n = 0; for (let i = 3; i < d.length; i += 4) n += d[i] > 250; return n; })()"
    )
    assert await browser.eval(painted) > 500, "an area, not only axes"
    # What a screen reader is told of the page.
    named = await told(browser)
    assert ("heading", "Top statements") in {(role, name.split(" of the")[0]) for role, name in named}
    assert ("table", "Servers, as all workers see them") in named
    images = [name for role, name in named if role == "image"]
    assert any("by table; latest: " in name and "shop.orders" in name for name in images), images
    assert browser.errors == []
    assert {url.split("/")[2] for url in browser.requested if url.startswith("http")} == {served.url.split("/")[2]}


async def told(browser: Chromium) -> set[tuple[str, str]]:
    """Role and name of what a screen reader finds, once it has learnt of the charts: the tree follows the page late."""
    for _ in range(50):
        nodes = (await browser.call("Accessibility.getFullAXTree"))["nodes"]
        named = {(n["role"]["value"], n.get("name", {}).get("value", "")) for n in nodes if not n["ignored"]}
        if any(role == "image" and "latest: " in name for role, name in named):
            break
        await asyncio.sleep(0.1)
    return named


async def goes_on(browser: Chromium) -> None:
    """Numbers rise by themselves, and what is unfolded or chosen stays so."""
    count = "Number([...document.querySelectorAll('#shapes tbody tr')][0].cells[4].textContent.replace(/,/g, ''))"
    await browser.eval("document.querySelector('#orders input[value=count]').click()")
    await browser.eval("document.querySelector('#measures input[value=per_s]').click()")
    await browser.eval("document.querySelector('#shapes tbody tr').mark = 'same'")
    before = await browser.eval(count)
    assert before > 0
    await browser.until(f"{count} > {before}")
    assert await browser.eval("document.querySelector('#shapes tbody tr').mark") == "same"
    assert await browser.eval("document.querySelector('#orders input:checked').value") == "count"


async def stops_when_told_or_hidden(browser: Chromium) -> None:
    def asked() -> int:
        return sum("dashboard.json" in url for url in browser.requested)

    await browser.eval("document.getElementById('pause').click()")
    assert await browser.eval("document.getElementById('pause').getAttribute('aria-pressed')") == "true"
    before = asked()
    await browser.eval("document.getElementById('pause').click()")
    await until(lambda: asked() > before)
    await browser.eval(
        "Object.defineProperty(document, 'hidden', {value: true, configurable: true});"
        "document.dispatchEvent(new Event('visibilitychange'))"
    )
    await asyncio.sleep(0.5)  # for an answer that is on its way
    before = asked()
    await asyncio.sleep(5.5)  # once more than it would ask
    assert asked() == before
    await browser.eval("delete document.hidden; document.dispatchEvent(new Event('visibilitychange'))")
    await until(lambda: asked() > before)


async def fits_a_telephone_and_the_dark(browser: Chromium) -> None:
    light = await browser.eval("getComputedStyle(document.body).backgroundColor")
    await browser.size(360, 740, mobile=True)
    await browser.until(f"{WIDE} === 360 && innerWidth === 360")
    beyond = (
        "[...document.querySelectorAll('main *, header *')].filter(e => !e.closest('.hidden, thead') && "
        "(e.getBoundingClientRect().right > 361 || e.getBoundingClientRect().left < -1)).map(e => e.outerHTML)"
    )
    assert await browser.eval(beyond) == []
    assert await browser.eval("document.querySelector('#by-table canvas')?.getBoundingClientRect().width ?? 0") < 340
    await browser.colours("dark")
    dark = await browser.eval("getComputedStyle(document.body).backgroundColor")
    assert dark != light
    for scheme in ("dark", "light"):
        await browser.colours(scheme)
        assert await browser.eval(CONTRAST) == [], scheme
    await browser.size(1280, 900)


async def says_when_turnout_is_gone(browser: Chromium) -> None:
    await browser.eval("window.fetch = () => Promise.reject(new Error('gone'))")
    await browser.until("document.getElementById('status').textContent.includes('does not answer')")
    assert browser.errors == []


async def asks_for_the_password(browser: Chromium, served: Turnout) -> None:
    """When the rules say so. Who is asked on which address: tests/admin/test_http.py."""
    served.write_rules(served.rules_path.read_text().replace("http: ", "http_login: always, http: "))
    served.reload()
    await until(lambda: served.get("/")[0] == 401)  # on this address, too
    assert [served.get(path)[0] for path in ("/dashboard.json", "/static/dashboard.js")] == [401, 401]
    assert [served.get(path)[0] for path in ("/healthz", "/readyz", "/metrics")] == [200, 200, 200]
    await browser.open(served.url + "/")
    await until(lambda: any("401" in error for error in browser.errors))
    assert await browser.eval("document.querySelectorAll('canvas').length") == 0
    browser.errors.clear()
    credentials = base64.b64encode(f"{OPS}:{OPS_PASSWORD}".encode()).decode()
    await browser.open(served.url + "/", Authorization=f"Basic {credentials}")
    await browser.until(f"{ROWS} >= 2")
    assert browser.errors == []


async def until(condition: Callable[[], bool], deadline_s: float = 30.0) -> None:
    end = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end
        await asyncio.sleep(0.1)


# Texts whose contrast with what is behind them is under WCAG's 4.5 (AA).
CONTRAST = """
(() => {
  const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
  const rgb = (colour) => {
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    return canvas.getImageData(0, 0, 1, 1).data;
  };
  const light = ([r, g, b]) => [r, g, b].map((c) => c / 255)
    .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (e) => {
    for (; e; e = e.parentElement) {
      const colour = rgb(getComputedStyle(e).backgroundColor);
      if (colour[3] === 255) return colour;
    }
    return [255, 255, 255];
  };
  const bad = [];
  for (const e of document.querySelectorAll('body *')) {
    const own = [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim());
    if (!own || e.closest('noscript, meter')) continue;
    const [a, b] = [light(rgb(getComputedStyle(e).color)), light(behind(e))].sort((x, y) => y - x);
    if ((a + 0.05) / (b + 0.05) < 4.5) bad.push(e.outerHTML);
  }
  return bad;
})()
"""
