"""Our ranking of a slow log against pt-query-digest's (Debian's percona-toolkit)."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from parser.analyse import shape_digest
from parser.shape import lexer
from proxy.cli.main import main
from proxy.measure.log_shapes import COMMAND
from proxy.measure.shapes import digest_id
from tests.measure.slow_logs import HARD, made
from tests.servers import Run

ENTRIES = int(os.environ.get("TURNOUT_SLOW_LOG_ENTRIES", "1000"))

needs_pt = pytest.mark.skipif(
    shutil.which("pt-query-digest") is None, reason="pt-query-digest is not installed (Debian: percona-toolkit)"
)


@dataclass(frozen=True)
class Line:
    """One of a ranking's lines; `total_s` in microseconds, to be compared exactly."""

    shape_id: str
    count: int
    total_us: int


def ours(path: Path) -> list[Line]:
    result = CliRunner().invoke(main, ["measure", "--slow-log", str(path), "--json", "--limit", "0"])
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert document["notes"] == []
    return [Line(row["shape_id"], row["count"], round(row["total_s"] * 1e6)) for row in document["shapes"]]


def theirs(path: Path) -> list[Line]:
    """With our ids, from the example that there is for each class."""
    argv = ["pt-query-digest", "--no-version-check", "--output", "json", "--limit", "100%", "--outliers", ""]
    argv += ["--order-by", "Query_time:sum", str(path)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=100, check=True)
    classes: list[dict[str, Any]] = json.loads(done.stdout)["classes"]
    return [
        Line(
            id_of(one["example"]["query"]), one["query_count"], round(float(one["metrics"]["Query_time"]["sum"]) * 1e6)
        )
        for one in classes
    ]


def id_of(statement: str) -> str:
    if statement.startswith(COMMAND):
        return digest_id(statement)
    return digest_id(shape_digest(lexer().shape(statement.encode())[0], lexer()))


@needs_pt
@pytest.mark.parametrize("kind", ["mariadb", "mysql", "percona"])
def test_the_same_ranking(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "slow.log"
    path.write_bytes(made(kind, ENTRIES).data)
    mine, pt = ours(path), theirs(path)
    assert sum(line.count for line in mine) == sum(line.count for line in pt) == ENTRIES
    assert len(mine) > 30
    assert mine[:20] == pt[:20]
    assert {line.shape_id: line for line in mine} == {line.shape_id: line for line in pt}


@pytest.mark.parametrize("kind", ["mariadb", "mysql", "percona"])
def test_the_sums_are_right_whatever_strings_hold(kind: str, tmp_path: Path) -> None:
    log = made(kind, ENTRIES, 2, HARD)
    path = tmp_path / "slow.log"
    path.write_bytes(log.data)
    names: dict[int, str] = {}
    sums: dict[str, tuple[int, int]] = {}
    for place, statement, us in log.entries:
        name = names.setdefault(place, id_of(statement))
        count, total = sums.get(name, (0, 0))
        sums[name] = count + 1, total + us
    assert {line.shape_id: (line.count, line.total_us) for line in ours(path)} == sums


WORKLOAD = {
    "SELECT * FROM t WHERE id = {n}": 40,
    "SELECT * FROM t WHERE id IN ({n}, 7) AND note <> 'it''s {n}'": 15,
    "INSERT INTO t VALUES ({n}, 'two\nlines; {n}')": 25,
    "UPDATE t SET note = '# User@Host {n}' WHERE id = {n}": 10,
    "SELECT COUNT(*) FROM t -- {n}": 5,
    "SELECT SLEEP(0.{n}1)": 3,
}


@pytest.mark.servers
def test_the_logs_of_a_real_server(run: Run) -> None:
    folder = run.place("logs")
    options = [f"--slow-query-log-file={folder}/slow.log", f"--general-log-file={folder}/general.log"]
    server = run.mariadb("logging", options=["--slow-query-log=1", "--general-log=1", "--log-output=FILE", *options])
    server.execute("CREATE DATABASE shop", "CREATE TABLE t (id INT PRIMARY KEY, note VARCHAR(50))", database="mysql")
    server.execute("CREATE TABLE shop.t (id INT PRIMARY KEY, note VARCHAR(50))")
    connection = server.admin("shop")
    with connection.cursor() as cursor:
        cursor.execute("SET SESSION long_query_time = 0")
        for sql, count in WORKLOAD.items():
            for n in range(count):
                cursor.execute(sql.replace("{n}", str(n)))
    connection.close()
    server.stop()
    expected = {id_of(sql.replace("{n}", "1")): count for sql, count in WORKLOAD.items()}
    mine = ours(folder / "slow.log")
    counts = {line.shape_id: line.count for line in mine}
    assert {name: counts.get(name) for name in expected} == expected
    slow = mine[0]
    assert slow.shape_id == id_of("SELECT SLEEP(0.01)")
    assert slow.total_us >= 330_000

    result = CliRunner().invoke(
        main, ["measure", "--general-log", str(folder / "general.log"), "--json", "--limit", "0"]
    )
    rows = {row["shape_id"]: row for row in json.loads(result.stdout)["shapes"]}
    assert {name: rows[name]["count"] for name in expected} == expected
    assert rows[id_of("SELECT * FROM t WHERE id = 1")]["tables"] == "shop.t"

    if shutil.which("pt-query-digest"):
        pt = theirs(folder / "slow.log")
        assert mine[:20] == pt[:20]
