"""The commands as an operator meets them: what they print, and their exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from proxy.cli.main import main


def turnout(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def test_the_commands_that_there_are() -> None:
    result = turnout("--help")
    assert result.exit_code == 0
    listed = [line.split()[0] for line in result.stdout.partition("Commands:")[2].splitlines() if line.strip()]
    assert listed == ["advise", "check", "explain", "measure", "rehearse", "reload", "schema", "serve", "status"]
    assert "..." not in result.stdout.partition("Commands:")[2], "every first sentence fits its line"


def test_check_of_good_rules(rules_file: Path) -> None:
    result = turnout("check", rules_file, "--no-servers")
    assert result.exit_code == 0
    assert "rules checked, " in result.stdout


def test_check_reports_everything_with_places_and_suggestions(rules_file: Path) -> None:
    rules_file.write_text(rules_file.read_text().replace("home: main", "home: mian").replace("drain:", "dran:"))
    result = turnout("check", rules_file, "--no-servers")
    assert result.exit_code == 1
    assert "mian" in result.stdout
    assert "Did you mean `main`?" in result.stdout
    assert "dran" in result.stdout
    assert result.stdout.count(f"{rules_file}:") >= 3
    assert "2 errors" in result.stdout


def test_check_against_another_file(rules_file: Path, tmp_path: Path) -> None:
    new = tmp_path / "new.yaml"
    new.write_text(
        rules_file.read_text().replace("workers: 2", "workers: 3").replace("  app:", "  also: {password: x}\n  app:")
    )
    result = turnout("check", new, "--against", rules_file, "--no-servers")
    assert result.exit_code == 0
    assert "restart: workers changes from 2 to 3" in result.stdout
    assert "info: users.also is added" in result.stdout
    same = turnout("check", rules_file, "--against", rules_file, "--no-servers")
    assert "Nothing would change." in same.stdout


def test_check_asks_the_servers_and_says_which_do_not_answer(rules_file: Path) -> None:
    rules_file.write_text(rules_file.read_text().replace("127.0.0.1:3306", "127.0.0.1:1"))
    result = turnout("check", rules_file)
    assert result.exit_code == 1
    assert "error: cluster main, primary 127.0.0.1:1 could not be asked" in result.stdout
    assert turnout("check", rules_file, "--no-servers").exit_code == 0


def test_a_missing_file_is_a_sentence(tmp_path: Path) -> None:
    for command in (("check", "--no-servers"), ("serve",), ("explain",)):
        words = [command[0], tmp_path / "none.yaml", *command[1:], *(["SELECT 1"] if command[0] == "explain" else [])]
        result = turnout(*words)
        assert result.exit_code == 1, command
        assert "none.yaml: error: The file cannot be read: No such file or directory." in result.output
        assert "Traceback" not in result.output


@pytest.mark.parametrize("command", ["reload", "status"])
def test_nobody_there(rules_file: Path, command: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TURNOUT_CONTROL", str(tmp_path / "nobody"))
    result = turnout(command, rules_file)
    assert result.exit_code == 1
    assert f"turnout: No Turnout that serves these rules was found at {tmp_path / 'nobody'}." in result.output


def test_wrong_usage_is_2(rules_file: Path) -> None:
    assert turnout("serve").exit_code == 2
    assert turnout("check", rules_file, "--nonsense").exit_code == 2
    assert turnout("move").exit_code == 2, "what does not exist yet is not pretended"


def test_schema_is_json(rules_file: Path) -> None:
    result = turnout("schema")
    assert result.exit_code == 0
    assert "clusters" in json.loads(result.stdout)["properties"]


def test_explain_forward(rules_file: Path) -> None:
    result = turnout("explain", rules_file, "SELECT * FROM t WHERE id = 42", "--database", "shop")
    assert result.exit_code == 0, result.output
    lines = [line.split(maxsplit=1) for line in result.stdout.splitlines() if line.strip()]
    assert ["plan", "forward"] in [[one.strip() for one in line] for line in lines]
    assert any(line[0] == "sends" and "main" in line[1] for line in lines)
    shape = next(line[1] for line in lines if line[0] == "shape")
    assert "42" not in shape
    assert "?" in shape


def test_explain_of_what_is_refused_exits_with_1(rules_file: Path) -> None:
    text = rules_file.read_text().replace("clusters:", "clusters:\n  media: {primary: '127.0.0.1:3326'}", 1)
    text = text.replace("shop: {home: main}", "shop: {home: main, tables: {photos: {cluster: media}}}")
    rules_file.write_text(text)
    result = turnout("explain", rules_file, "SELECT * FROM photos JOIN t USING (id)", "--database", "shop")
    assert result.exit_code == 1, result.output
    assert "refuse" in result.stdout
    assert "reason" in result.stdout


def test_explain_of_a_sharded_table_says_that_it_needs_the_servers(rules_file: Path) -> None:
    text = rules_file.read_text()
    for written, instead in (
        ("clusters:", "clusters:\n  more: {primary: '127.0.0.1:3326'}"),
        ("databases:", "shardings:\n  s: {method: hash, clusters: [main, more]}\ndatabases:"),
        ("shop: {home: main}", "shop: {home: main, tables: {o: {sharding: s, key: c}}}"),
    ):
        text = text.replace(written, instead, 1)
    rules_file.write_text(text)
    result = turnout("explain", rules_file, "SELECT * FROM o WHERE c = 42", "--database", "shop")
    assert result.exit_code == 1, result.output
    assert "--catalog-from-servers" in result.stdout
