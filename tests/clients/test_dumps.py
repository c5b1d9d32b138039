"""Dumps: what mariadb-dump and mydumper write through Turnout is what they write of the server, and loads again."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests.clients import programs
from tests.clients.scenario import NATIVE, PASSWORD, create_types
from tests.clients.target import HOST
from tests.servers import MariaDB, Run, Turnout

pytestmark = [pytest.mark.servers, pytest.mark.xdist_group("clients 0")]
DUMPED = "dumped"
CONTENT = (
    f"DROP DATABASE IF EXISTS {DUMPED}",
    f"CREATE DATABASE {DUMPED} DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci",
    f"USE {DUMPED}",
    *create_types("types"),
    "CREATE TABLE parents (id INT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(40) COLLATE utf8mb4_bin, data BLOB,"
    " length INT AS (LENGTH(name)) VIRTUAL, first CHAR(1) AS (LEFT(name, 1)) STORED, UNIQUE (name), FULLTEXT (name))"
    " COMMENT 'it''s; \"one\"'",
    "CREATE TABLE children (id INT PRIMARY KEY, parent INT NOT NULL,"
    " at TIMESTAMP NOT NULL DEFAULT '2024-02-29 12:00:00',"
    " CONSTRAINT kin FOREIGN KEY (parent) REFERENCES parents (id) ON DELETE CASCADE, CHECK (id > 0))",
    "CREATE TABLE `odd name ; --` (`sel;ect` INT, `'` TEXT) PARTITION BY HASH (`sel;ect`) PARTITIONS 3",
    "INSERT INTO parents (id, name, data)"
    " SELECT seq, CONCAT('näme ', seq, '\\'\\\\;\n'), UNHEX(MD5(seq)) FROM seq_1_to_500",
    "INSERT INTO children SELECT seq, seq % 500 + 1, '2024-02-29 12:00:00' + INTERVAL seq SECOND FROM seq_1_to_2000",
    "INSERT INTO `odd name ; --` VALUES (1, 'a'), (2, NULL), (3, '/* c */ -- d')",
    "CREATE VIEW families AS"
    " SELECT p.name, COUNT(*) AS children FROM parents p JOIN children c ON c.parent = p.id GROUP BY p.id",
    "CREATE TRIGGER before_parent BEFORE INSERT ON parents FOR EACH ROW"
    " BEGIN IF NEW.name = '' THEN SET NEW.name = 'x;y'; END IF; END",
    "CREATE FUNCTION doubled(n INT) RETURNS INT DETERMINISTIC RETURN n * 2",
    "CREATE PROCEDURE several() BEGIN SELECT 1; SELECT ';'; END",
    "CREATE EVENT nightly ON SCHEDULE EVERY 1 DAY STARTS '2024-01-01 00:00:00' DISABLE"
    " DO DELETE FROM children WHERE id < 0",
    "CREATE SEQUENCE numbers START 5",
)


@pytest.fixture(scope="module")
def filled(server: MariaDB) -> MariaDB:
    server.execute(*CONTENT)
    return server


def _account(port: int) -> list[str]:
    return [f"--host={HOST}", f"--port={port}", f"--user={NATIVE}", f"--password={PASSWORD}"]


def _run(argv: list[str], given: bytes = b"") -> bytes:
    done = subprocess.run(argv, input=given, capture_output=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def dump(port: int, *options: str) -> bytes:
    argv = ["mariadb-dump", "--no-defaults", *_account(port), "--default-character-set=utf8mb4", "--skip-comments"]
    return _run([*argv, "--routines", "--events", "--triggers", *options, "--databases", DUMPED])


@pytest.mark.parametrize("options", [["--single-transaction"], ["--lock-tables"], ["--lock-all-tables", "--hex-blob"]])
def test_mariadb_dump(filled: MariaDB, proxy: Callable[[str], Turnout], options: list[str]) -> None:
    programs_needed("mariadb-dump")
    theirs = dump(filled.port, *options)
    assert theirs.count(b"CREATE TABLE") >= 4
    assert b"DISABLE DO DELETE" in theirs
    assert dump(proxy("plain").port, *options) == theirs


def test_a_dump_is_restored(filled: MariaDB, proxy: Callable[[str], Turnout]) -> None:
    programs_needed("mariadb-dump", "mariadb")
    before = dump(filled.port, "--single-transaction")
    filled.execute(f"DROP DATABASE {DUMPED}")
    shell = ["mariadb", "--no-defaults", *_account(proxy("plain").port), "--default-character-set=utf8mb4"]
    _run(shell, before)
    assert dump(filled.port, "--single-transaction") == before


def test_mydumper(filled: MariaDB, proxy: Callable[[str], Turnout], run: Run) -> None:
    programs_needed("mydumper", "myloader")
    ours, theirs = (
        _mydumped(run.place(f"mydumper-{name}"), port)
        for name, port in (("ours", proxy("plain").port), ("theirs", filled.port))
    )
    assert len(theirs) > 10
    assert ours.keys() == theirs.keys()
    for name, content in theirs.items():
        assert ours[name] == content, name


def test_a_mydumper_dump_is_restored(filled: MariaDB, proxy: Callable[[str], Turnout], run: Run) -> None:
    programs_needed("mydumper", "myloader", "mariadb-dump")
    folder = run.place("mydumper")
    _mydumped(folder, proxy("plain").port)
    ours, theirs = (_restored(filled, folder, port) for port in (proxy("plain").port, filled.port))
    assert ours == theirs
    assert theirs.count(b"CREATE TABLE") >= 4


def _restored(server: MariaDB, folder: Path, port: int) -> bytes:
    """What mariadb-dump shows after myloader has brought back a dump."""
    server.execute(f"DROP DATABASE {DUMPED}", f"CREATE DATABASE {DUMPED} COLLATE utf8mb4_unicode_ci")
    _run(["myloader", *_account(port), "--threads=2", f"--directory={folder}", f"--database={DUMPED}"])
    return dump(server.port, "--single-transaction")


def _mydumped(folder: Path, port: int) -> Mapping[str, bytes]:
    """The files of a dump, by name, without what says when and where from."""
    what = ["--routines", "--events", "--triggers", f"--database={DUMPED}", "--threads=2", f"--outputdir={folder}"]
    _run(["mydumper", *_account(port), *what])
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "metadata"}


def programs_needed(*names: str) -> None:
    try:
        programs.need(*names)
    except programs.Unavailable as error:
        pytest.skip(str(error))
