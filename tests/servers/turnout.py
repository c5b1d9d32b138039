"""Turnout itself as a process of a run: `turnout serve` on a rules file."""

from __future__ import annotations

import http.client
import os
import re
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import pymysql
from pymysql.connections import Connection

from tests.servers import importer
from tests.servers.mariadb import without_tls
from tests.servers.process import Process, Started

ROOT = Path(__file__).resolve().parents[2]
MODULE = "proxy.cli.main"
AT_START = ("PYTHON", "LD_", "MALLOC_")  # variables that programs look at when they are executed


class Turnout(Process):
    """A supervisor with its workers. Ready when /readyz says so.

    The rules are used as given, except that a file without `turnout:` gets the version and one without `listen:` gets
    two free ports of 127.0.0.1. In a text with a `listen:` of its own, `@MYSQL_PORT@` and `@HTTP_PORT@` stand for them.
    `quick` has all of this process forked from one that has imported Turnout (see `importer`), instead of executed.
    """

    quick: ClassVar = False

    def __init__(
        self, name: str, folder: Path, rules: str, port: int, http_port: int, environment: Mapping[str, str]
    ) -> None:
        self.port = port
        self.http_port = http_port
        self.rules_path = folder / "routing_rules.yaml"
        self.write_rules(rules)
        argv = [sys.executable, "-m", MODULE, "serve", str(self.rules_path)]
        path = f"{ROOT}:{environment['PYTHONPATH']}" if environment.get("PYTHONPATH") else str(ROOT)
        super().__init__(name, argv, folder / "log", {**environment, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"})

    def _start(self) -> Started:
        changed = {name for name, value in self.environment.items() if os.environ.get(name) != value}
        if self.environment["PYTHONPATH"] == str(ROOT):  # else there may be a sitecustomize, which is run at the start
            changed.discard("PYTHONPATH")
        if self.quick and not any(name.startswith(AT_START) for name in changed - {"PYTHONUNBUFFERED"}):
            return importer.start(self.argv[2], self.argv[3:], self.environment, self.log)
        return super()._start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http_port}"

    def write_rules(self, rules: str) -> None:
        """Replaces the rules file in one step; Turnout may notice by itself."""
        if not re.search(r"^listen:", rules, re.MULTILINE):
            rules = f"listen: {{mysql: '127.0.0.1:{self.port}', http: '127.0.0.1:{self.http_port}'}}\n{rules}"
        if not re.search(r"^turnout:", rules, re.MULTILINE):
            rules = f"turnout: 1\n{rules}"
        rules = rules.replace("@MYSQL_PORT@", str(self.port)).replace("@HTTP_PORT@", str(self.http_port))
        new = self.rules_path.with_suffix(".new")
        new.write_text(rules)
        new.replace(self.rules_path)

    def reload(self, rules: str | None = None) -> None:
        """SIGHUP, after writing new rules if given. Does not wait until they are in force."""
        if rules is not None:
            self.write_rules(rules)
        self.signal(signal.SIGHUP)

    def get(self, path: str, timeout_s: float = 5.0) -> tuple[int, str]:
        """(status, body) of an HTTP request, e.g. `/metrics`."""
        connection = http.client.HTTPConnection("127.0.0.1", self.http_port, timeout=timeout_s)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()

    def metric(self, name: str, **labels: str) -> float:
        """The sum of a metric's samples that have these labels; 0 when there are none."""
        total = 0.0
        for line in self.get("/metrics")[1].splitlines():
            sample = re.fullmatch(r"(\w+)(?:\{(.*)\})? (\S+)(?: \d+)?", line)
            if sample is None or sample[1] != name:
                continue
            found = dict(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', sample[2] or ""))
            if labels.items() <= found.items():
                total += float(sample[3])
        return total

    def ready(self) -> bool:
        try:
            return self.get("/readyz", 1.0)[0] == 200
        except http.client.HTTPException as error:
            raise OSError(str(error)) from error

    def connect(self, user: str, password: str = "", database: str | None = None, **options: Any) -> Connection:
        """A PyMySQL connection through Turnout, autocommit on unless said otherwise."""
        return pymysql.connect(
            host="127.0.0.1",
            port=self.port,
            user=user,
            password=password,
            database=database,
            **without_tls(options),
        )
