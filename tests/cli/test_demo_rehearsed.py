"""The demo's traffic, recorded, rehearsed under its own rules and under others, and then sent under these: every
verdict is what happens."""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pymysql
import pytest
from click.testing import CliRunner
from pymysql.connections import Connection
from pymysql.cursors import Cursor
from rich.console import Console

from demo import shop
from demo.__main__ import Demo
from parser.analyse import shape_digest
from parser.shape import lexer
from proxy.cli.main import main
from proxy.measure.shapes import MAX_SAMPLE
from tests.servers import Run
from tests.servers.process import wait_until

pytestmark = pytest.mark.servers

HISTORY = "\nhistory: {file: history.sqlite}\n"
OTHERS = (
    ("transactions: best_effort", "transactions: single"),
    ("photos: {cluster: media}", "photos: {cluster: main}"),
    ("\ntransactions:", "\nworkbench: {cluster: main}\ntransactions:"),
)
SHOWN = ("home", "replicas", "vertical", "horizontal", "caching", "everywhere", "refused", "pooling")
# How many clusters are asked for statements of a verdict.
PLACES = {"local": (0, 0), "one cluster": (1, 1), "by key": (1, 1), "several clusters": (2, 4), "workbench": (2, 4)}


def digest(sql: str) -> str:
    return shape_digest(lexer().shape(sql.encode())[0], lexer())


class Recorded(Demo):
    """Keeps a history, and the texts that it sent."""

    sent: Counter[str]

    def rules(self) -> str:
        return super().rules() + HISTORY

    def connect(self, *account: str) -> Connection[Any]:
        connection = super().connect(*account)
        sent = self.sent

        class Noted(Cursor):
            def execute(self, query: str, args: object = None) -> int:
                sent[query] += 1
                return super().execute(query, args)

        connection.cursorclass = Noted
        return connection


@pytest.fixture
def demo(run: Run) -> Iterator[Recorded]:
    demo = Recorded(run, Console(file=io.StringIO()))
    demo.sent = Counter()
    demo.start()
    try:
        yield demo
    finally:
        for process in (demo.turnout, demo.memcached, demo.replica, *demo.servers.values()):
            process.kill()


def rehearsed(rules: Path, of: Path) -> list[dict[str, Any]]:
    words = ["rehearse", str(rules), "--of", str(of), "--catalog-from-servers", "--fail-on", "never", "--json"]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, result.output
    found: list[dict[str, Any]] = json.loads(result.stdout)["shapes"]
    return found


def test_every_verdict_on_the_demo_s_traffic_is_what_happens(demo: Recorded, run: Run) -> None:
    for name in SHOWN:
        getattr(demo, name)()
    demo.turnout.stop()
    own = demo.turnout.rules_path
    other = own.with_name("other.yaml")
    other.write_text(changed(own.read_text()))
    sent = Counter({sql: n for sql, n in demo.sent.items() if not sql.startswith(("TURNOUT ", "SHOW TURNOUT "))})
    by_rules = {path: rehearsed(path, own) for path in (own, other)}
    counts = Counter[str]()
    for sql, n in sent.items():
        counts[digest(sql)] += n
    for shapes in by_rules.values():  # every shape, with all its statements
        found = {row["shape"]: row["statements"] for row in shapes}
        assert {shape: found.get(shape) for shape in counts} == dict(counts)
        assert all(shape.startswith(("SET ", "TURNOUT ")) for shape in found.keys() - counts.keys())
    texts = list({digest(sql): sql for sql in sent}.values())
    demo.turnout = run.turnout(demo.rules(), "rehearsed")
    assert happens(demo, texts, by_rules[own]).keys() == {*PLACES, "refused", "not known"} - {"workbench"}
    demo.servers["main"].execute("USE shop", *shop.MEDIA)
    demo.turnout.reload(changed(demo.rules()))
    wait_until(lambda: demo.explain("SELECT id, caption FROM photos ORDER BY id").get("cluster") == "main", 20)
    assert happens(demo, texts, by_rules[other]).keys() >= {*PLACES, "refused"}


def changed(rules: str) -> str:
    for before, after in OTHERS:
        assert before in rules
        rules = rules.replace(before, after)
    return rules


def happens(demo: Recorded, texts: list[str], shapes: list[dict[str, Any]]) -> Counter[str]:
    """Send each text, and compare what happens with its verdict. Returns how often there was which verdict."""
    rows = {row["shape"]: row for row in shapes}
    seen = Counter[str]()
    for server in (*demo.servers.values(), demo.replica):
        server.execute("SET GLOBAL log_output = 'TABLE'", "SET GLOBAL general_log = 1")
    with demo.connect() as connection, connection.cursor() as cursor:
        for sql in texts:
            row = rows[digest(sql)]
            verdict = row["verdict"]
            seen[verdict] += 1
            if verdict == "not known":  # some rows at once
                assert len(lexer().shape(sql.encode())[0]) > MAX_SAMPLE
                continue
            explained = demo.explain(sql)
            assert row["plan"] == explained["plan"], sql
            asked_before(demo)
            refused = ""
            try:
                cursor.execute(sql)
            except pymysql.err.NotSupportedError as error:  # 1235
                refused = str(error.args[1])
            except pymysql.err.IntegrityError:
                assert sql.startswith("INSERT"), sql  # the row is there since it was recorded
            asked = asked_before(demo)
            if verdict in ("refused", "depends"):
                assert verdict == "depends" or refused == row["detail"], sql
                assert bool(refused) != bool(asked), sql
            else:
                fewest, most = PLACES[verdict]
                if explained.get("cache", "").startswith("class by"):
                    fewest = 0  # it may be answered from memory
                assert not refused, (sql, refused)
                assert fewest <= len(asked) <= most, (sql, verdict, asked)
                assert verdict == "workbench" or asked <= set(row["clusters"].split(", ")), sql
    return seen


def asked_before(demo: Recorded) -> set[str]:
    """The clusters whose servers were asked something for the application, since the last call."""
    own = (
        "SELECT COUNT(*) FROM mysql.general_log WHERE user_host LIKE 'app[%' AND argument NOT LIKE 'SET %'"
        " AND command_type IN ('Query', 'Execute')"
    )
    servers = {**demo.servers, "replica of main": demo.replica}
    asked = {name.rpartition(" ")[2] for name, server in servers.items() if server.execute(own)[0][0]}
    for server in servers.values():
        server.execute("TRUNCATE mysql.general_log")
    return asked
