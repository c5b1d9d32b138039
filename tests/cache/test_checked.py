"""What `turnout check` and SHOW TURNOUT CACHE say of cache classes that cannot be served, or are not coherent."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from proxy.rules.loader import parse
from proxy.rules.warning import warnings
from tests.cache.test_served import SOON_S, rules, through
from tests.servers import MariaDB, Run, Turnout
from tests.servers.process import wait_until
from tests.servers.shop import APP, APP_PASSWORD, DATABASE, OPS, OPS_PASSWORD, SERVICE, SERVICE_PASSWORD

ROOT = Path(__file__).resolve().parents[2]
CLASSES = """\
      things: {cache: [{by: [id]}, {by: [price]}, {by: [gone]}]}
      aged: {cache: {by: [id], ttl: 10s}}
      heap: {cache: {by: [id]}}
"""


@pytest.fixture(scope="module")
def without_log(run: Run) -> MariaDB:
    server = run.mariadb("without-log", options=["--skip-log-bin"])
    server.create_account(APP, APP_PASSWORD)
    server.create_account(OPS, OPS_PASSWORD)
    server.create_service_account(SERVICE, SERVICE_PASSWORD)
    server.execute(f"CREATE DATABASE {DATABASE}")
    server.execute(
        "CREATE TABLE things (id INT PRIMARY KEY, price DECIMAL(9, 2))",
        "CREATE TABLE aged (id INT PRIMARY KEY)",
        "CREATE TABLE heap (id INT PRIMARY KEY) ENGINE=MEMORY",
        "INSERT INTO things VALUES (1, 1)",
        "INSERT INTO aged VALUES (1)",
        database=DATABASE,
    )
    return server


def checked(text: str, folder: Path) -> tuple[int, str]:
    path = folder / "routing_rules.yaml"
    path.write_text(f"turnout: 1\nlisten: {{mysql: 127.0.0.1:3307}}\n{text}")
    done = subprocess.run(
        [sys.executable, "-m", "proxy.cli.main", "check", str(path)],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", "COLUMNS": "400"},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, " ".join((done.stdout + done.stderr).split())


def test_check_refuses_a_coherent_class_on_a_server_without_a_log(without_log: MariaDB, tmp_path: Path) -> None:
    code, said = checked(rules(without_log, CLASSES), tmp_path)
    assert code == 1
    assert "needs log_bin" in said
    assert "`ttl:`" in said
    assert f"databases.{DATABASE}.tables.things.cache" in said


def test_check_takes_it_with_a_ttl_and_says_what_that_means(without_log: MariaDB, tmp_path: Path) -> None:
    code, said = checked(rules(without_log, "      aged: {cache: {by: [id], ttl: 10s}}"), tmp_path)
    assert code == 0, said
    assert "NOT coherent" in said


def test_check_says_by_which_classes_nothing_can_be_cached(without_log: MariaDB, tmp_path: Path) -> None:
    _, said = checked(rules(without_log, CLASSES), tmp_path)
    assert "Nothing is cached by (price) on cluster main: price is of type DECIMAL" in said
    assert "Nothing is cached by (gone) on cluster main: things has no column gone" in said
    assert "Nothing is cached by (id) on cluster main: heap is kept by MEMORY" in said


@pytest.mark.parametrize(
    "form", ["{by: [id], ttl: 10s}", "[{by: [id], ttl: 10s}]", "[{by: [x]}, {by: [id], ttl: 10s}]"]
)
def test_a_ttl_is_warned_of_at_its_place(form: str) -> None:
    text = f"""\
turnout: 1
listen: {{mysql: 127.0.0.1:3307}}
users: {{app: {{password: x, admin: true}}}}
service: {{user: t, password: x}}
clusters: {{main: {{primary: 127.0.0.1:3306}}}}
databases:
  shop:
    home: main
    tables:
      t: {{cache: {form}}}
"""
    found = [problem for problem in warnings(parse(text, Path("r.yaml"))) if "NOT coherent" in str(problem)]
    assert len(found) == 1
    assert found[0].line == 10


def test_at_run_time_it_is_not_served_and_the_reason_is_shown(
    without_log: MariaDB, turnout: Callable[..., Turnout]
) -> None:
    proxy = turnout(rules(without_log, CLASSES))
    client = through(proxy)
    ops = proxy.connect(OPS, OPS_PASSWORD)

    def line(table: str) -> dict[str, object]:
        with ops.cursor() as cursor:
            cursor.execute("SHOW TURNOUT CACHE")
            names = [column[0] for column in cursor.description]
            rows = [dict(zip(names, row)) for row in cursor.fetchall()]
        return next(row for row in rows if row["table"] == f"{DATABASE}.{table}" and row["by"] == "id")

    for _ in range(3):
        for table in ("things", "aged"):
            with client.cursor() as cursor:
                cursor.execute(f"SELECT id FROM {table} WHERE id = 1")
                assert cursor.fetchall() == ((1,),)
    wait_until(lambda: "needs log_bin" in str(line("things")["not_served"]), SOON_S)
    wait_until(lambda: int(str(line("things")["bypassed"])) >= 3, SOON_S)
    assert line("things")["hits"] == 0
    assert line("things")["coherent"] == "yes"
    # By age it is served all the same, and says that it is not coherent.
    wait_until(lambda: int(str(line("aged")["hits"])) >= 1, SOON_S)
    assert line("aged")["coherent"] == "no"
    assert line("aged")["not_served"] == ""
    name = f"{DATABASE}.things"
    wait_until(
        lambda: proxy.metric("turnout_cache_bypassed_total", table=name, by="id", reason="no-stream") >= 3, SOON_S
    )
    assert proxy.metric("turnout_stream_up", cluster="main") == 0
