"""Logs: one line an event, every field there, no text of an exception that could quote data."""

from __future__ import annotations

import json
import logging
import sys

import pytest

from proxy.errors import RulesError
from proxy.measure.log import LineFormatter, configure, slow_statement


def record(message: str, error: BaseException | None = None, **fields: object) -> logging.LogRecord:
    made = logging.getLogger("turnout.test").makeRecord(
        "turnout.test", logging.ERROR, __file__, 1, message, (), None, extra=fields
    )
    if error is not None:
        try:
            raise error
        except BaseException:
            made.exc_info = sys.exc_info()
    return made


def test_json_lines_hold_every_field() -> None:
    line = LineFormatter(True, {"worker": 3}).format(record("server down", reason="timeout\nafter 3 s", tries=2))
    assert "\n" not in line
    fields = json.loads(line)
    assert fields["event"] == "server down"
    assert (fields["level"], fields["from"], fields["worker"]) == ("error", "turnout.test", 3)
    assert (fields["reason"], fields["tries"]) == ("timeout\nafter 3 s", 2)
    assert fields["time"].endswith("+00:00")


def test_text_lines_quote_what_needs_it() -> None:
    line = LineFormatter(False, {}).format(record("server down", reason='say "no"\nnow', tries=2, empty=""))
    assert "\n" not in line
    assert line.endswith('event="server down" reason="say \\"no\\"\\nnow" tries=2 empty=""')


def test_an_unexpected_exception_is_placed_but_not_quoted() -> None:
    quoting = ValueError("Duplicate entry 'alice@example.com'")
    line = LineFormatter(True, {}).format(record("defect", quoting))
    assert "alice" not in line
    fields = json.loads(line)
    assert fields["error"] == "ValueError"
    assert "test_log.py" in fields["raised"]
    assert "alice" in LineFormatter(True, {}, verbose=True).format(record("defect", quoting))


@pytest.mark.parametrize("error", [OSError(98, "Address already in use"), RulesError("unknown key")])
def test_texts_that_are_ours_or_the_systems_are_written(error: Exception) -> None:
    assert str(error) in json.loads(LineFormatter(True, {}).format(record("x", error)))["error"]


def test_slow_statements_are_named_by_shape(capsys: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger()
    before = (root.handlers[:], root.level)
    try:
        configure("info", "json", {"worker": 0})
        slow_statement("ab12", "SELECT * FROM t WHERE id = ?", "forward", 1_500_000_000, 1_499_000_000, 7, 65)
    finally:
        root.handlers[:], level = before
        root.setLevel(level)
        logging.captureWarnings(False)
    fields = json.loads(capsys.readouterr().err)
    assert (fields["event"], fields["shape_id"], fields["total_ms"], fields["session"]) == (
        "slow statement",
        "ab12",
        1500.0,
        65,
    )
