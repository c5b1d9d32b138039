"""`turnout check` of `transactions: atomic` against real servers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.atomic.branch_office import CLUSTERS, Bank
from tests.servers.shop import SERVICE

pytestmark = pytest.mark.servers


def checked(bank: Bank, folder: Path) -> tuple[int, str]:
    path = folder / "routing_rules.yaml"
    path.write_text("turnout: 1\nlisten: {mysql: '127.0.0.1:1'}\n" + bank.rules)
    made = subprocess.run(
        [sys.executable, "-m", "proxy.cli.main", "check", str(path)],
        capture_output=True,
        text=True,
        env={"COLUMNS": "1000", "PATH": "/usr/bin:/bin"},
        check=False,
        timeout=60,
    )
    return made.returncode, made.stdout + made.stderr


def test_check_makes_the_tables_and_says_what_is_missing(bank: Bank, tmp_path: Path) -> None:
    for name in CLUSTERS:
        bank.rows(name, "DROP DATABASE IF EXISTS turnout")
    code, said = checked(bank, tmp_path)
    assert code == 0, said
    assert all(bank.rows(name, "SELECT token FROM turnout.cluster") for name in CLUSTERS)
    assert "clusters.media" in said
    assert "innodb_flush_log_at_trx_commit = 2" in said
    bank.rows("media", "DROP DATABASE turnout")
    bank.rows("media", f"REVOKE CREATE ON turnout.* FROM {SERVICE}")
    try:
        code, said = checked(bank, tmp_path)
        assert code == 1, said
        assert "cannot take part in atomic transactions" in said
        assert "CREATE TABLE IF NOT EXISTS turnout.transactions" in said
        assert f"GRANT SELECT, INSERT, DELETE, CREATE ON turnout.* TO '{SERVICE}'" in said
    finally:
        bank.rows("media", f"GRANT CREATE ON turnout.* TO {SERVICE}")
    token = bank.rows("main", "SELECT token FROM turnout.cluster")[0][0]
    bank.rows("shard0", f"UPDATE turnout.cluster SET token = '{token}'")
    code, said = checked(bank, tmp_path)
    bank.rows("shard0", "DELETE FROM turnout.cluster")
    assert code == 1, said
    assert "made as a copy of the other" in said
    assert checked(bank, tmp_path)[0] == 0
