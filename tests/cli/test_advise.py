"""`turnout advise`: from a history to rules that `turnout check` accepts."""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from ruamel.yaml import YAML

from bench.synthetic import BASE, TRUTH, State, sampled, write_history
from proxy.admin.advice import as_yaml
from proxy.cli.main import main
from proxy.measure.advice import merged


def turnout(*words: object) -> Any:
    result = CliRunner().invoke(main, [str(word) for word in words])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


ENTRY = (
    "# User@Host: app[app] @ localhost []\n# Query_time: {}  Lock_time: 0.0 Rows_sent: 1  Rows_examined: {}\n"
    "use shop;\nSET timestamp={};\n{};\n"
)


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> list[object]:
    folder = tmp_path_factory.mktemp("advice")
    rules = folder / "routing_rules.yaml"
    rules.write_text(as_yaml({**BASE, "history": {"file": "history.sqlite"}}))
    end = write_history(folder / "history.sqlite", State(BASE), 10, *sampled(seconds=5))
    until = datetime.datetime.fromtimestamp(end, datetime.UTC)
    return [rules, "--since", (until - datetime.timedelta(days=7)).isoformat(), "--until", until.isoformat()]


def test_the_lines_to_paste_are_rules(options: list[object], tmp_path: Path) -> None:
    document = json.loads(turnout("advise", *options, "--json").stdout)
    assert {table: step["technique"] for step in document["steps"] for table in step["tables"] if table in TRUTH} == {
        table: technique.value for table, technique in TRUTH.items()
    }
    (server,) = document["servers"]
    assert server["weeks_soonest"] < server["weeks"] < server["weeks_latest"]
    assert server["weeks"] < server["weeks_with_all_steps"]
    together: dict[str, object] = dict(BASE)
    for step in document["steps"]:
        if step["rules"]:
            lines = YAML(typ="safe").load(step["rules"])
            together = merged(together, lines)
            for proposed in (merged(BASE, lines), together):  # each by itself, and all of them
                path = tmp_path / "new.yaml"
                path.write_text(as_yaml(proposed))
                result = turnout("check", path, "--no-servers")
                assert result.exit_code == 0, result.output + path.read_text()
    assert merged(BASE, document["rules"]) == together


def test_for_people(options: list[object]) -> None:
    shown = turnout("advise", *options).stdout
    for words in ("Leave alone", "shop.events", "cache:", "by:", "--cores", "What to do, the cheapest first"):
        assert words in shown
    assert "cores each" not in turnout("advise", *options, "--cores", "main=16").stdout


def test_a_slow_log_needs_no_rules(tmp_path: Path) -> None:
    log = tmp_path / "slow.log"
    sql = "SELECT id FROM users WHERE email = 'x'"
    log.write_text("".join(ENTRY.format("0.200", 90_000, 1_700_000_000 + n, sql) for n in range(100)))
    document = json.loads(turnout("advise", tmp_path / "none.yaml", "--slow-log", log, "--json").stdout)
    (step,) = document["steps"]
    assert (step["technique"], step["sure"], step["due"]) == ("index", "sure", None)
    assert "90000 rows are read for each 1" in step["evidence"][0]
    assert document["servers"][0]["weeks"] is None


def test_keys_of_a_slow_log(tmp_path: Path) -> None:
    """Ten keys are asked for again and again, and one of them is written now and then: a cache would answer."""
    log = tmp_path / "slow.log"
    lines = []
    for n in range(3000):
        write = n % 100 == 99
        sql = "UPDATE t SET a = 1 WHERE id = 3" if write else f"SELECT a FROM t WHERE id = {n % 10}"
        lines.append(ENTRY.format("0.100", 1, 1_700_000_000 + n // 10, sql))
    log.write_text("".join(lines))
    document = json.loads(turnout("advise", tmp_path / "none.yaml", "--slow-log", log, "--json").stdout)
    (step,) = document["steps"]
    assert (step["technique"], step["tables"], step["sure"]) == ("cache", ["shop.t"], "sure")
    assert step["evidence"][0].startswith("9")  # per cent


@pytest.mark.parametrize(
    ("words", "says"),
    [
        *(
            (word, "is no number of cores")
            for word in ("many", "0", "=5", "main=-1", "main=16,", "main=16;media=2", "nan")
        ),
        ("foo=2", "there is no cluster `foo`; rules know main."),
        ("main=16,media=2", "there is no cluster `media`; rules know main."),
        ("main=16,main=8", "given twice: 16 and 8"),
        ("16,8", "given twice: 16 and 8"),
    ],
)
def test_cores_that_are_none(words: str, says: str, options: list[object]) -> None:
    result = turnout("advise", *options, "--cores", words)
    assert (result.exit_code, says in " ".join(result.stderr.split())) == (2, True), result.stderr


@pytest.mark.parametrize("words", [["--cores", "3,main=16"], ["--cores", "main=16", "--cores", "3"], ["--cores", "16"]])
def test_cores(words: list[str], options: list[object]) -> None:
    document = json.loads(turnout("advise", *options, *words, "--json").stdout)
    assert [(one["cores"], one["cores_are"]) for one in document["servers"]] == [(16, "said")]


def test_without_rules_there_is_one_server(tmp_path: Path) -> None:
    log = tmp_path / "slow.log"
    log.write_text(ENTRY.format("0.200", 90_000, 1_700_000_000, "SELECT id FROM users WHERE email = 'x'") * 100)
    words = ["advise", tmp_path / "none.yaml", "--slow-log", log, "--json", "--cores"]
    assert json.loads(turnout(*words, "server=4").stdout)["servers"][0]["cores"] == 4
    result = turnout(*words, "main=4")
    assert (result.exit_code, "without rules there is server" in result.stderr) == (2, True)


def test_hardly_any_traffic(tmp_path: Path) -> None:
    """A newcomer's: 34 statements in three minutes."""
    log = tmp_path / "slow.log"
    tables = ("authors", "posts")
    sqls = [f"SELECT name FROM {tables[n % 2]} WHERE id = {n}" for n in range(34)]
    log.write_text("".join(ENTRY.format("0.001", 1, 1_700_000_000 + 5 * n, sql) for n, sql in enumerate(sqls)))
    document = json.loads(turnout("advise", tmp_path / "none.yaml", "--slow-log", log, "--json").stdout)
    assert document["steps"] == []
    assert document["rules"] == {}
    assert "34 statements in 3 minutes, busiest server server 0.00 of 5.6" in document["too_little"]
    assert {one["table"] for one in document["leave_alone"]} == {"shop.authors", "shop.posts"}
    words = " ".join(turnout("advise", tmp_path / "none.yaml", "--slow-log", log).stdout.split())
    assert "Too little to advise on (34 statements in 3 minutes" in words
    assert "leave all alone for now. That takes 1,000 statements" in words


def busy(path: Path, sqls: dict[str, int], database: str = "shop") -> Path:
    """A slow log of one minute of these, each so often a second, at 10 ms."""
    entry = ENTRY.replace("use shop;\n", f"use {database};\n" if database else "")
    path.write_text(
        "".join(
            entry.format("0.010", 1, 1_700_000_000 + second, sql)
            for second in range(61)
            for sql, per_s in sqls.items()
            for _ in range(per_s)
        )
    )
    return path


READS = {"SELECT name FROM authors WHERE id > 5": 100, "UPDATE rest SET a = 1 WHERE b > 5": 20}
SYSTEM = {
    "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = 'x'": 30,
    "INSERT INTO mysql.t VALUES (1)": 60,
    "CREATE TEMPORARY TABLE `shop`.`authors` (`id` int)": 10,
    "INSERT INTO `shop`.`authors` (`id`) VALUES (1)": 10,
}


def test_the_system_and_turnout_itself_are_no_application(tmp_path: Path) -> None:
    alone = busy(tmp_path / "alone.log", READS)
    mixed = busy(tmp_path / "mixed.log", {**READS, **SYSTEM, "CREATE TEMPORARY TABLE big (id INT)": 1,
                                          "INSERT INTO big VALUES (1)": 30})  # fmt: skip
    documents = [
        json.loads(turnout("advise", tmp_path / "none.yaml", "--slow-log", log, "--json").stdout)
        for log in (alone, mixed)
    ]
    assert documents[0]["steps"] == documents[1]["steps"] != []
    assert documents[0]["leave_alone"] == documents[1]["leave_alone"]
    assert documents[1]["notes"] == [f"{110 * 61} statements of system databases and of Turnout itself are left out"]
    every = json.loads(turnout("measure", "--slow-log", mixed, "--json").stdout)
    assert every["all"]["count"] == 61 * (120 + 110 + 31)
    assert sum(row["count"] for row in every["shapes"]) == every["all"]["count"]
    assert (every["shapes"][-1]["shape_id"], every["shapes"][-1]["count"]) == ("system", 110 * 61)


RULES = """
turnout: 1
listen: {mysql: '127.0.0.1:3307'}
users: {app: {password: a}}
service: {user: turnout, password: t}
clusters: {main: {primary: '127.0.0.1:3306'}, other: {primary: '127.0.0.1:3316'}}
databases: {shop: {home: main%s}}
"""


@pytest.mark.parametrize(
    ("tables", "database", "sqls", "lines"),
    [
        ("", "shop", READS, True),
        ("", "blog", READS, True),  # whose home the rules do not say
        (", tables: {AUTHORS: {reads: {from: primary}}}", "shop", READS, False),
        ("", "", READS, False),
        ("", "shop", {"UPDATE `a-b c` SET x = 1 WHERE `the key` = 5": 200, **READS}, True),
        ("", "shop", {"INSERT INTO `ä.b` (id) VALUES (5)": 200, **READS}, True),
    ],
)
def test_lines_that_check_rejects_are_not_printed(
    tables: str, database: str, sqls: dict[str, int], lines: bool, tmp_path: Path
) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(RULES % tables)
    log = busy(tmp_path / "slow.log", sqls, database)
    document = json.loads(turnout("advise", path, "--slow-log", log, "--json").stdout)
    assert document["steps"]
    base = YAML(typ="safe").load(path.read_text())
    for rules in [*(step["rules"] for step in document["steps"]), as_yaml(document["rules"])]:
        if rules:
            path.write_text(as_yaml(merged(base, YAML(typ="safe").load(rules) or {})))
            result = turnout("check", path, "--no-servers")
            assert result.exit_code == 0, result.output
    assert any(step["rules"] for step in document["steps"]) == lines
    if not lines:
        assert all("would not accept them" in step["evidence"][-1] for step in document["steps"])
