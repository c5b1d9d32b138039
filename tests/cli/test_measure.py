"""`turnout measure` and `turnout rehearse` as an operator meets them: on logs, and on a history."""

from __future__ import annotations

import csv
import gzip
import io
import json
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from proxy.cli.main import main
from proxy.cli.sources import moment
from proxy.measure.history import HistoryFile, Minute
from proxy.measure.shapes import Sample, ShapeId, digest_id
from proxy.measure.tally import Tally
from tests.measure.test_general_log import OLD
from tests.measure.test_slow_log import MARIADB

RULES = """
turnout: 1
listen: {mysql: '127.0.0.1:3307'}
users: {app: {password: a, admin: true}}
service: {user: turnout, password: t}
clusters: {main: {primary: '127.0.0.1:3306'}, media: {primary: '127.0.0.1:3316'}}
databases:
  shop:
    home: main
    tables:
      photos: {cluster: media}
history: {file: history.sqlite}
"""


def turnout(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


@pytest.fixture
def slow_log(tmp_path: Path) -> Path:
    path = tmp_path / "slow.log"
    path.write_bytes(MARIADB)
    return path


@pytest.fixture
def rules_file(tmp_path: Path) -> Path:
    path = tmp_path / "routing_rules.yaml"
    path.write_text(RULES)
    return path


def record(folder: Path, ago_s: int = 120, **shapes: int) -> None:
    """A minute of a history: how often each of these was executed."""
    texts = {
        "users": "SELECT * FROM users WHERE id = ?",
        "both": "SELECT * FROM users JOIN photos ON users.id = photos.user_id",
    }
    file = HistoryFile(folder / "history.sqlite")
    minute = Minute((int(time.time()) - ago_s) // 60 * 60)
    for name, count in shapes.items():
        text = texts[name]
        shape = ShapeId(digest_id(text), "forward", ("shop.users",), ("main",))
        tally = Tally()
        tally.count, tally.total_ns, tally.max_ns, tally.buckets = count, count * 10**6, 10**6, {10: count}
        minute.shapes[shape] = tally
        minute.digests[shape] = text
        minute.samples[shape] = Sample(text.replace("?", "\0").encode(), "shop")
    file.write(minute)
    file.close()


def test_a_slow_log(slow_log: Path) -> None:
    result = turnout("measure", "--slow-log", slow_log)
    assert result.exit_code == 0, result.output
    first = result.stdout.splitlines()[0]
    assert "2023-11-26T05:42:03Z to 2023-11-26T05:42:04Z, 3 statements, 3.0 a second, 1.500164 s in all" in first
    lines = [line for line in result.stdout.splitlines() if "UPDATE shop.orders" in line]
    assert lines[0].split()[:3] == ["1", "slow,", "frequent"]
    assert "administrator command: Quit" in result.stdout
    assert "By table" in result.stdout
    assert "two lines" not in result.stdout


def test_json_and_csv(slow_log: Path) -> None:
    document: dict[str, Any] = json.loads(turnout("measure", "--slow-log", slow_log, "--json").stdout)
    assert document["all"]["count"] == 3
    assert [row["count"] for row in document["shapes"]] == [1, 1, 1]
    assert document["tables"][0]["table"] == "orders"
    assert document["tables"][0]["count"] == 2
    shapes = list(csv.DictReader(io.StringIO(turnout("measure", "--slow-log", slow_log, "--csv").stdout)))
    assert [row["shape"] for row in shapes] == [row["shape"] for row in document["shapes"]]
    tables = turnout("measure", "--slow-log", slow_log, "--csv", "--by", "table", "--limit", 1).stdout.splitlines()
    assert len(tables) == 2
    assert tables[0].startswith("rank,database,table,")
    assert tables[1].startswith("1,shop,orders,")


def test_compressed_logs_and_several(slow_log: Path, tmp_path: Path) -> None:
    packed = tmp_path / "slow.log.1.gz"
    packed.write_bytes(gzip.compress(MARIADB))
    document = json.loads(turnout("measure", "--slow-log", slow_log, "--slow-log", packed, "--json").stdout)
    assert [row["count"] for row in document["shapes"]] == [2, 2, 2]


def test_a_general_log(tmp_path: Path) -> None:
    path = tmp_path / "general.log"
    path.write_bytes(OLD)
    document = json.loads(turnout("measure", "--general-log", path, "--json").stdout)
    assert document["shapes"][0]["shape"] == "SELECT ?"
    assert (document["shapes"][0]["count"], document["shapes"][0]["total_s"]) == (3, None)
    assert "how long" in document["notes"][0]
    assert "p95_ms" not in turnout("measure", "--general-log", path).stdout


def test_what_is_no_log(tmp_path: Path, slow_log: Path) -> None:
    path = tmp_path / "text"
    path.write_text("nothing\n" * 100)
    result = turnout("measure", "--slow-log", path)
    assert (result.exit_code, "has no entry of a slow query log" in result.stderr) == (1, True)
    result = turnout("measure", "--general-log", slow_log)
    assert (result.exit_code, "has no entry of a general log" in result.stderr) == (1, True)
    assert turnout("measure", "--slow-log", tmp_path / "absent").exit_code == 2


def test_broken_entries_are_told(slow_log: Path) -> None:
    slow_log.write_bytes(MARIADB + b"# User@Host: app[app] @ localhost []\nSELECT 1;\n")
    result = turnout("measure", "--slow-log", slow_log)
    assert "Note: 1 entries were not of a log's form" in result.stdout


def test_windows(slow_log: Path) -> None:
    result = turnout("measure", "--slow-log", slow_log, "--json", "--since", "2023-11-26T05:42:04Z")
    assert [row["shape"] for row in json.loads(result.stdout)["shapes"]] == ["administrator command: Quit"]
    assert turnout("measure", "--slow-log", slow_log, "--since", "yesterday").exit_code == 2


@pytest.mark.parametrize(
    ("text", "unix_s"),
    [
        ("90s", 10.0),
        ("1.5m", 10.0),
        ("1h", -3500.0),
        ("1970-01-01T01:00:00+01:00", 0.0),
        ("1970-01-02 00:00Z", 86400.0),
    ],
)
def test_moments(text: str, unix_s: float) -> None:
    assert moment(text, 100.0) == unix_s


def test_a_history(rules_file: Path, tmp_path: Path) -> None:
    result = turnout("measure", rules_file)
    assert (result.exit_code, "There is no history" in result.stderr) == (1, True)
    record(tmp_path, users=7, both=3)
    record(tmp_path, users=1)
    document = json.loads(turnout("measure", rules_file, "--since", "1h", "--json").stdout)
    assert [(row["count"], row["plan"]) for row in document["shapes"]] == [(8, "forward"), (3, "forward")]
    assert document["all"]["count"] == 11
    (table,) = document["tables"]
    assert (table["count"], table["plans"], table["found_by"]) == (11, "forward: 11", "id: 73 %, none: 27 %")
    assert json.loads(turnout("measure", "--history", tmp_path / "history.sqlite", "--json").stdout) == document
    result = turnout("measure", rules_file)
    assert "SELECT * FROM users WHERE id = ?" in result.stdout
    assert json.loads(turnout("measure", rules_file, "--until", "1h", "--json").stdout)["shapes"] == []


def test_the_last_day_unless_told(rules_file: Path, tmp_path: Path) -> None:
    record(tmp_path, 3 * 86_400, users=5)
    record(tmp_path, users=1)

    def count(*words: str) -> int:
        return int(json.loads(turnout("measure", rules_file, "--json", *words).stdout)["all"]["count"])

    assert (count(), count("--since", "7d"), count("--until", "1d")) == (1, 6, 5)


def test_rules_without_a_history(rules_file: Path) -> None:
    rules_file.write_text(RULES.replace("history:", "# history:"))
    result = turnout("measure", rules_file)
    assert result.exit_code == 1
    assert "keeps no history" in result.stderr


def test_live_goes_alone(rules_file: Path) -> None:
    result = turnout("measure", rules_file, "--live", "--json")
    assert result.exit_code == 2
    result = turnout("measure", rules_file, "--live")
    assert (result.exit_code, "No Turnout that serves these rules" in result.stderr) == (1, True)


def test_rehearse(rules_file: Path, tmp_path: Path) -> None:
    record(tmp_path, users=8, both=2)
    result = turnout("rehearse", rules_file)
    assert result.exit_code == 1
    assert "refused (20.0 % of statements): SELECT * FROM users JOIN photos" in result.stdout
    assert "1 of 2 shapes: refused or worse" in result.stdout
    better = tmp_path / "better.yaml"
    better.write_text(RULES + "workbench: {cluster: main}\n")
    assert turnout("rehearse", better, "--of", rules_file).exit_code == 0
    assert turnout("rehearse", better, "--of", rules_file, "--fail-on", "workbench").exit_code == 1
    assert turnout("rehearse", rules_file, "--fail-on", "never").exit_code == 0
    document = json.loads(turnout("rehearse", better, "--of", rules_file, "--json").stdout)
    assert {row["verdict"]: row["statements_pct"] for row in document["verdicts"]} == {
        "one cluster": 80.0,
        "workbench": 20.0,
    }
    assert [(row["verdict"], row["was"]) for row in document["shapes"]] == [
        ("workbench", "forward"),
        ("one cluster", "forward"),
    ]


def test_rehearse_a_log(rules_file: Path, slow_log: Path) -> None:
    result = turnout("rehearse", rules_file, "--slow-log", slow_log, "--json")
    assert result.exit_code == 0, result.output
    assert {row["verdict"] for row in json.loads(result.stdout)["shapes"]} == {"one cluster", "not known"}


def test_rehearse_without_a_catalog_says_what_it_does_not_know(rules_file: Path, tmp_path: Path) -> None:
    sharded = "shardings: {user: {method: hash, clusters: [main, media]}}\n" + RULES.replace(
        "photos: {cluster: media}", "orders: {sharding: user, key: user_id}"
    )
    rules_file.write_text(sharded)
    log = tmp_path / "slow.log"
    log.write_text(
        "# User@Host: app[app] @ localhost []\n# Query_time: 0.1  Lock_time: 0.0 Rows_sent: 0  Rows_examined: 0\n"
        "use shop;\nSET timestamp=1700000000;\nINSERT INTO orders VALUES (1, 2);\n"
    )
    result = turnout("rehearse", rules_file, "--slow-log", log)
    assert result.exit_code == 1
    assert "not known (100.0 % of statements): INSERT INTO orders" in result.stdout
    assert "1 of 1 shapes cannot be judged" in result.stdout
    assert "--catalog-from-servers" in result.stdout
    assert "refused" not in result.stdout
    assert turnout("rehearse", rules_file, "--slow-log", log, "--fail-on", "never").exit_code == 0
    document = json.loads(turnout("rehearse", rules_file, "--slow-log", log, "--json").stdout)
    assert (document["failed"], document["not_judged"]) == (0, 1)


def test_rehearse_with_bad_rules(rules_file: Path, slow_log: Path) -> None:
    rules_file.write_text(RULES.replace("cluster: media}", "cluster: meda}"))
    result = turnout("rehearse", rules_file, "--slow-log", slow_log)
    assert result.exit_code == 1
    assert "Did you mean `media`?" in result.stderr


def test_rehearse_leaves_out_what_is_no_application(rules_file: Path, tmp_path: Path) -> None:
    log = tmp_path / "slow.log"
    entry = (
        "# User@Host: app[app] @ localhost []\n# Query_time: 0.1  Lock_time: 0.0 Rows_sent: 0  Rows_examined: 0\n"
        "use shop;\nSET timestamp=1700000000;\n{};\n"
    )
    sqls = ("SELECT * FROM users", "SELECT * FROM mysql.user", "SELECT token FROM turnout.cluster", "SHOW SLAVE STATUS")
    log.write_text("".join(map(entry.format, sqls)))
    document = json.loads(turnout("rehearse", rules_file, "--slow-log", log, "--json").stdout)
    assert [(row["shape"], row["statements_pct"]) for row in document["shapes"]] == [("SELECT * FROM users", 100.0)]
    assert "3 statements of system databases" in turnout("rehearse", rules_file, "--slow-log", log).stdout
