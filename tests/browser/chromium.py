"""Chromium without a window, driven by the DevTools protocol (https://chromedevtools.github.io/devtools-protocol/)."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any

import aiohttp

COMMAND = shutil.which("chromium")
START_S = 60.0


class Chromium:
    """A browser with one page. `errors` has what the page's console said of errors, and what failed to load."""

    def __init__(self, environment: dict[str, str] | None = None) -> None:
        self._environment = environment or dict(os.environ)
        self.errors: list[str] = []
        self.requested: list[str] = []  # addresses
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}

    async def __aenter__(self) -> Chromium:
        assert COMMAND is not None
        self._folder = Path(tempfile.mkdtemp(prefix="turnout-chromium-"))
        flags = ["--headless=new", "--remote-debugging-port=0", f"--user-data-dir={self._folder}", "--disable-gpu"]
        flags += ["--no-first-run", "--disable-extensions", "--disable-background-networking", "--mute-audio"]
        flags += ["--disable-dev-shm-usage", "--hide-scrollbars", "--disable-component-update", "--disable-sync"]
        if os.geteuid() == 0:
            flags.append("--no-sandbox")  # which it refuses to make as root
        self._log = (self._folder / "log").open("wb")
        self._process = self._start([COMMAND, *flags, "about:blank"])
        try:
            port = await self._port()
            self._http = aiohttp.ClientSession()
            async with self._http.get(f"http://127.0.0.1:{port}/json/list") as answer:
                (page,) = [one for one in await answer.json(content_type=None) if one["type"] == "page"]
            self._socket = await self._http.ws_connect(page["webSocketDebuggerUrl"], max_msg_size=0)
            self._reader = asyncio.create_task(self._read())
            for domain in ("Page", "Runtime", "Log", "Network"):
                await self.call(f"{domain}.enable")
        except BaseException:
            self._process.kill()
            raise
        return self

    def _start(self, argv: list[str]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            env=self._environment,
            start_new_session=True,
        )

    async def _port(self) -> int:
        """Chromium writes it down when it listens."""
        file = self._folder / "DevToolsActivePort"
        until = time.monotonic() + START_S
        while not (file.exists() and "\n" in file.read_text()):
            if self._process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"Chromium did not start:\n{(self._folder / 'log').read_text(errors='replace')}")
            await asyncio.sleep(0.05)
        return int(file.read_text().split()[0])

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._socket.send_json({"id": 0, "method": "Browser.close"})
        try:
            await asyncio.to_thread(self._process.wait, 10.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.cancel()
        await self._http.close()
        self._log.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    async def _read(self) -> None:
        async for message in self._socket:
            event = json.loads(message.data)
            if "id" in event:
                waiting = self._waiting.pop(event["id"], None)
                if waiting is not None and not waiting.done():
                    waiting.set_result(event)
                continue
            parameters = event["params"]
            if event["method"] == "Runtime.exceptionThrown":
                self.errors.append(json.dumps(parameters["exceptionDetails"]))
            elif event["method"] == "Runtime.consoleAPICalled" and parameters["type"] in ("error", "assert", "warning"):
                self.errors.append(json.dumps(parameters["args"]))
            elif event["method"] == "Log.entryAdded" and parameters["entry"]["level"] in ("error", "warning"):
                self.errors.append(f"{parameters['entry']['text']} {parameters['entry'].get('url', '')}")
            elif event["method"] == "Network.requestWillBeSent":
                self.requested.append(parameters["request"]["url"])

    async def call(self, method: str, **parameters: Any) -> Any:
        """A command of the protocol, and its result."""
        number = next(self._numbers)
        self._waiting[number] = asyncio.get_running_loop().create_future()
        await self._socket.send_json({"id": number, "method": method, "params": parameters})
        answer = await asyncio.wait_for(self._waiting[number], 60.0)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        return answer["result"]

    async def open(self, url: str, **headers: str) -> None:
        await self.call("Network.setExtraHTTPHeaders", headers=headers)
        await self.call("Page.navigate", url=url)

    async def size(self, width: int, height: int, mobile: bool = False, scale: float = 1.0) -> None:
        await self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale, mobile=mobile
        )

    async def colours(self, scheme: str) -> None:
        """`scheme`: light or dark."""
        await self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    async def eval(self, expression: str) -> Any:
        """The value of a JavaScript expression."""
        answer = await self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(json.dumps(answer["exceptionDetails"]))
        return answer["result"].get("value")

    async def until(self, expression: str, deadline_s: float = 30.0) -> Any:
        """Waits until an expression is true, and returns it. Raises TimeoutError."""
        end = time.monotonic() + deadline_s
        while True:
            value = await self.eval(expression)
            if value:
                return value
            if time.monotonic() > end:
                raise TimeoutError(f"{expression} is {value!r} after {deadline_s:g} s; {self.errors}")
            await asyncio.sleep(0.1)

    async def picture(self, whole: bool = False) -> bytes:
        """A PNG of what is seen, or of the whole page."""
        answer = await self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        return base64.b64decode(answer["data"])
