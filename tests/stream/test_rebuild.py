"""A table rebuilt from the stream alone is the same: CHECKSUM TABLE, and what mariadb-dump says of it."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator

import pytest

from proxy.stream.definition import Definition
from proxy.stream.events import QUERY_COMPRESSED, Rows, TableMap
from tests.servers import MariaDB
from tests.stream import every_type
from tests.stream.reading import end_of_log, read_log
from tests.stream.replay import Replay, Table

pytestmark = [pytest.mark.servers, pytest.mark.thorough]

Rebuild = Callable[..., Replay]


@pytest.fixture
def rebuild(source: MariaDB, target: MariaDB) -> Iterator[Rebuild]:
    """Runs statements in the database `shop` of the source and replays what it logs on the target."""
    for server in (source, target):
        server.execute("DROP DATABASE IF EXISTS shop")
    replays = []

    def run(*statements: str, session: tuple[str, ...] = ()) -> Replay:
        start = end_of_log(source)
        source.execute("CREATE DATABASE shop")
        source.execute(*session, *statements, database="shop")
        replays.append(Replay(target, session))
        replays[-1].feed(read_log(source, start))
        assert_same(source, target)
        return replays[-1]

    yield run
    for replay in replays:
        replay.close()


def assert_same(source: MariaDB, target: MariaDB) -> None:
    tables = [row[0] for row in source.execute("SHOW FULL TABLES WHERE Table_type = 'BASE TABLE'", database="shop")]
    assert tables
    for table in tables:
        assert checksum(source, table) == checksum(target, table), table
    assert dump(source) == dump(target)


def checksum(server: MariaDB, table: str) -> object:
    found = server.execute(f"CHECKSUM TABLE shop.{table} EXTENDED")[0][1]
    assert found is not None
    return found


def dump(server: MariaDB) -> bytes:
    argv = ["mariadb-dump", "--no-defaults", f"--socket={server.socket}", "--user=root", "--hex-blob", "--compact"]
    argv += ["--order-by-primary", "--skip-extended-insert", "--max-allowed-packet=64M", "shop"]
    return subprocess.run(argv, env=server.environment, check=True, capture_output=True).stdout


def every_table(engine: str = "InnoDB") -> list[str]:
    """Inserts, updates of all values and of the key, and deletes, of every type."""
    statements = []
    for name, create, inserts in every_type.tables(engine):
        statements += [create, *inserts, f"UPDATE {name} SET id = id + 1000 WHERE id % 2"]
        columns = [f"c{n}" for n in range(create.count(" NULL"))]
        swaps = ", ".join(f"{c} = NULL" for c in columns)
        statements += [
            f"UPDATE {name} SET {swaps} WHERE id = 0",
            f"DELETE FROM {name} WHERE id = 1001",
            inserts[1],
        ]
    return statements


@pytest.fixture
def setting(source: MariaDB) -> Iterator[Callable[[str, object], None]]:
    """Global variables of the source, until the test's end."""
    before: dict[str, object] = {}

    def change(name: str, value: object) -> None:
        before.setdefault(name, source.execute(f"SELECT @@GLOBAL.{name}")[0][0])
        source.execute(f"SET GLOBAL {name} = {value!r}")

    yield change
    for name, value in before.items():
        source.execute(f"SET GLOBAL {name} = {value!r}")


def test_every_type(rebuild: Rebuild) -> None:
    replay = rebuild(*every_table(), session=every_type.SESSION)
    assert replay.rows > 20
    assert {"TableMap", "Rows", "Query", "Begin", "Commit"} <= replay.seen


@pytest.mark.parametrize("checksum", ["NONE", "CRC32"])
@pytest.mark.parametrize("compress", [0, 1])
def test_every_form_of_the_log(
    rebuild: Rebuild, setting: Callable[[str, object], None], checksum: str, compress: int
) -> None:
    setting("binlog_checksum", checksum)
    setting("log_bin_compress", compress)
    setting("log_bin_compress_min_len", 10)
    rebuild(
        "CREATE TABLE t (id INT PRIMARY KEY, a VARCHAR(200), b BLOB)",
        "INSERT INTO t SELECT seq, REPEAT(seq, 20), NULLIF(REPEAT('x', seq % 7), '') FROM seq_1_to_3000",
        "UPDATE t SET a = NULL WHERE id % 3 = 0",
        "UPDATE t SET id = id + 5000 WHERE id < 100",
        "DELETE FROM t WHERE id % 5 = 0",
    )


def test_compressed_rows_and_statements_are_in_the_log(
    source: MariaDB, rebuild: Rebuild, setting: Callable[[str, object], None]
) -> None:
    setting("log_bin_compress", 1)
    setting("log_bin_compress_min_len", 10)
    start = end_of_log(source)
    rebuild("CREATE TABLE t (id INT PRIMARY KEY, a TEXT)", "INSERT INTO t VALUES (1, REPEAT('a', 5000))")
    events = [event for event, _ in read_log(source, start)]
    assert any(isinstance(event, Rows) and event.compressed for event in events)
    assert {QUERY_COMPRESSED} <= {event.header.type for event in events}


def test_more_columns_than_a_byte_of_the_null_bitmap(rebuild: Rebuild) -> None:
    names = [f"c{n}" for n in range(400)]
    kinds = ("INT", "VARCHAR(5)", "CHAR(3)", "BLOB")
    columns = ", ".join(f"{name} {kinds[n % 4]}" for n, name in enumerate(names))
    inserts = []
    for row in range(24):
        chosen = [name for n, name in enumerate(names) if n % (row + 1) == 0 or n == 399]
        inserts.append(f"INSERT INTO t (id, {', '.join(chosen)}) VALUES ({row}, {', '.join('7' for _ in chosen)})")
    rebuild(
        f"CREATE TABLE t (id INT PRIMARY KEY, {columns})",
        *inserts,
        "INSERT INTO t (id) VALUES (100)",
        "UPDATE t SET c0 = NULL, c8 = 1, c399 = NULL",
        "DELETE FROM t WHERE id % 2",
    )


def test_tables_without_a_key(rebuild: Rebuild) -> None:
    rebuild(
        "CREATE TABLE t (a INT, b DOUBLE, c VARCHAR(20), d DATETIME(3))",
        "INSERT INTO t VALUES (1, 0.1, NULL, NOW(3)), (1, 0.1, NULL, NOW(3)), (2, 1e300, 'x', NULL)",
        "UPDATE t SET c = 'y' LIMIT 1",
        "DELETE FROM t WHERE a = 1 LIMIT 1",
    )


def test_engines_without_transactions(rebuild: Rebuild) -> None:
    rebuild(
        "CREATE TABLE m (id INT PRIMARY KEY, a INT) ENGINE=MyISAM",
        "CREATE TABLE i (id INT PRIMARY KEY, a INT)",
        "INSERT INTO m VALUES (1, 1), (2, 2)",
        "BEGIN",
        "INSERT INTO m VALUES (3, 3)",
        "INSERT INTO i VALUES (3, 3)",
        "ROLLBACK",
        "UPDATE m SET a = a + 1",
    )


def test_transactions(rebuild: Rebuild) -> None:
    rebuild(
        "CREATE TABLE t (id INT PRIMARY KEY, a INT)",
        "CREATE TABLE u (id INT PRIMARY KEY, a INT)",
        "BEGIN",
        "INSERT INTO t VALUES (1, 1), (2, 2)",
        "SAVEPOINT one",
        "INSERT INTO u VALUES (1, 1)",
        "ROLLBACK TO one",
        "UPDATE t SET a = 5",
        "COMMIT",
        "BEGIN",
        "DELETE FROM t",
        "ROLLBACK",
        "TRUNCATE u",
        "INSERT INTO u SELECT id + 1, a FROM t",
        "ALTER TABLE u ADD COLUMN b VARCHAR(10) DEFAULT 'x' FIRST, CHANGE a aa BIGINT",
        "INSERT INTO u VALUES ('y', 9, 9223372036854775807)",
        "CREATE TABLE v AS SELECT * FROM u",
    )


def test_xa_transactions(rebuild: Rebuild) -> None:
    replay = rebuild(
        "CREATE TABLE t (id INT PRIMARY KEY, a INT)",
        "XA START 'one', 'branch', 7",
        "INSERT INTO t VALUES (1, 1)",
        "XA END 'one', 'branch', 7",
        "XA PREPARE 'one', 'branch', 7",
        "XA COMMIT 'one', 'branch', 7",
        "XA START 'two'",
        "INSERT INTO t VALUES (2, 2)",
        "XA END 'two'",
        "XA PREPARE 'two'",
        "XA ROLLBACK 'two'",
        "XA START 'three'",
        "INSERT INTO t VALUES (3, 3)",
        "XA END 'three'",
        "XA COMMIT 'three' ONE PHASE",
    )
    assert "Prepared" in replay.seen
    assert replay.rows == 3


@pytest.fixture
def old_temporal_format(source: MariaDB, target: MariaDB) -> Iterator[None]:
    for server in (source, target):
        server.execute("SET GLOBAL mysql56_temporal_format = OFF")
    yield
    for server in (source, target):
        server.execute("SET GLOBAL mysql56_temporal_format = ON")


@pytest.mark.usefixtures("old_temporal_format")
def test_old_temporal_types(rebuild: Rebuild) -> None:
    """They have no metadata in the log, also where they have fractions: a column after them would be misread."""
    statements = []
    for digits in range(7):
        seconds = f".{'9' * digits}" if digits else ""
        tick = f".{'0' * (digits - 1)}1" if digits else ""
        statements += [
            f"CREATE TABLE t{digits} (a TIME({digits}), b DATETIME({digits}), c TIMESTAMP({digits}) NULL, id INT KEY)",
            f"INSERT INTO t{digits} VALUES ('-838:59:59{seconds}', '9999-12-31 23:59:59{seconds}',"
            f" '2038-01-19 03:14:07{seconds}', 1), ('838:59:59{seconds}', '0000-00-00', 0, 2),"
            f" ('-00:00:00{tick}', '2024-02-31 01:02:03{tick}', '1970-01-01 00:00:01{tick}', 3), (0, NULL, NULL, 4)",
            f"UPDATE t{digits} SET id = id + 10, a = '12:34:56{tick}'",
        ]
    rebuild(*statements, session=every_type.SESSION)


def test_texts_are_the_servers(source: MariaDB, rebuild: Rebuild) -> None:
    statements = [statement for _, create, inserts in every_type.tables() for statement in (create, *inserts)]
    start = end_of_log(source)
    rebuild(*statements, session=every_type.SESSION)
    tables: dict[int, Table] = {}
    compared = 0
    connection = source.admin("shop", conv={}, use_unicode=False)
    try:
        with connection.cursor() as cursor:
            cursor.execute("SET time_zone = '+00:00', character_set_results = NULL")
            reader = Replay(source)
            for event, _ in read_log(source, start):
                if isinstance(event, TableMap):
                    tables[event.table_id] = reader.table(event)
                elif isinstance(event, Rows):
                    table = tables[event.table_id]
                    names = ", ".join(f"`{column.name}`" for column in table.columns)
                    for _, image in table.layout.images(event, table.ordinals):
                        assert image is not None
                        cursor.execute(f"SELECT {names} FROM {table.name} WHERE id = {table.literal(image, 0)}")
                        (row,) = cursor.fetchall()
                        for n, (raw, sent) in enumerate(zip(image, row, strict=True)):
                            compared += 1
                            found = None if raw is None else table.writers[n].text(raw)
                            assert same_text(table.columns[n], found, sent), (table.columns[n], raw, found, sent)
            reader.close()
    finally:
        connection.close()
    assert compared > 1000


def same_text(column: Definition, found: bytes | None, sent: bytes | None) -> bool:
    if found is None or sent is None or found == sent:
        return found == sent
    if column.data_type == "float":  # the server shows six digits
        return float(sent) == pytest.approx(float(found), rel=1e-5)
    if column.data_type == "double":
        return float(sent) == (float(found) if not column.length else pytest.approx(float(found), abs=1e-5))
    if column.data_type == "year":
        return found[-2:] == sent
    return sent.lstrip(b"0").startswith(found.lstrip(b"0")) and sent.isascii()  # ZEROFILL
