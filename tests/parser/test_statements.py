"""Statements and what the parser says of them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parser.analyse import parse
from parser.shape import Lexer, lexer
from parser.statement import Access, Effect, Hint, Hole, Kind, Opaque, Param, Scope, Statement, Word

R, W = Access.READ, Access.WRITE


def read(sql: str | bytes, lex: Lexer | None = None) -> Statement:
    lex = lex or lexer()
    shape, literals = lex.shape(sql.encode() if isinstance(sql, str) else sql)
    return parse(shape, literals, lexer=lex)


def tables(statement: Statement) -> str:
    """Tables as "db.name alias@block", `!` in front of written ones."""
    assert [t.index for t in statement.tables] == list(range(len(statement.tables)))
    return " ".join(
        ("!" if t.access is W else "")
        + (f"{t.database}." if t.database else "")
        + t.name
        + ("" if t.alias == t.name else f"={t.alias}")
        + (f"@{t.block}" if t.block else "")
        for t in statement.tables
    )


KINDS = [
    ("", Kind.EMPTY, ""),
    (" ; /* x */ ;", Kind.EMPTY, ""),
    ("SELECT 1;", Kind.SELECT, ""),
    ("SELECT * FROM t", Kind.SELECT, "t"),
    ("select * from db.t as x, `u v`", Kind.SELECT, "db.t=x u v"),
    ("(SELECT 1) UNION (SELECT a FROM t)", Kind.SELECT, "t@1"),
    ("SELECT * FROM a UNION SELECT * FROM b EXCEPT SELECT * FROM c", Kind.SELECT, "a b@1 c@2"),
    ("TABLE t", Kind.SELECT, "t"),
    ("VALUES ROW(1, 2)", Kind.SELECT, ""),
    ("WITH c AS (SELECT * FROM t) SELECT * FROM c JOIN u", Kind.SELECT, "t@1 u"),
    ("WITH t AS (SELECT * FROM t) SELECT * FROM t, db.t", Kind.SELECT, "t@1 db.t"),
    ("WITH RECURSIVE t AS (SELECT 1 UNION SELECT * FROM t) SELECT * FROM t", Kind.SELECT, ""),
    ("WITH a AS (SELECT 1), b AS (SELECT * FROM a) SELECT * FROM b WHERE x IN (SELECT * FROM a)", Kind.SELECT, ""),
    ("SELECT * FROM (WITH c AS (SELECT * FROM t) SELECT * FROM c) d, c", Kind.SELECT, "t@2 c"),
    (
        "SELECT (SELECT 1 FROM a) FROM b WHERE x = (SELECT 1 FROM c) ORDER BY (SELECT 1 FROM d)",
        Kind.SELECT,
        "b a@1 c@2 d@3",
    ),
    ("SELECT * FROM a LEFT JOIN b ON a.x IN (SELECT y FROM c)", Kind.SELECT, "a b c@1"),
    ("SELECT * FROM a JOIN (b, c) ON 1", Kind.SELECT, "a b c"),
    ("SELECT * FROM (((a)))", Kind.SELECT, "a"),
    ("SELECT * FROM a FORCE INDEX FOR ORDER BY (i) PARTITION (p)", Kind.UNKNOWN, ""),
    ("SELECT * FROM a PARTITION (p0, p1) AS x USE INDEX (i)", Kind.SELECT, "a=x"),
    ("SELECT * FROM JSON_TABLE('[]', '$' COLUMNS (a INT PATH '$')) j, t", Kind.SELECT, "t"),
    ("SELECT * FROM t GROUP BY (SELECT 1 FROM u) HAVING (SELECT 1 FROM v)", Kind.SELECT, "t u@1 v@2"),
    ("SELECT IF(EXISTS(SELECT 1 FROM u), 1, 2)", Kind.SELECT, "u@1"),
    ("SELECT a FROM t WHERE b = ANY (TABLE u)", Kind.SELECT, "t u@1"),
    ("SELECT * FROM t FOR UPDATE OF t SKIP LOCKED", Kind.SELECT, "t"),
    ("SELECT * FROM t LOCK IN SHARE MODE", Kind.SELECT, "t"),
    ("SELECT 1 FROM DUAL", Kind.SELECT, ""),
    ("SELECT * FROM `é ü`.`a``b`", Kind.SELECT, "é ü.a`b"),
    ("SELECT * FROM 2fa", Kind.SELECT, "2fa"),
    ("SELECT * FROM f(1)", Kind.UNKNOWN, ""),
    ("SELECT * FROM a FULL JOIN b ON full.x = b.x", Kind.SELECT, "a=FULL b"),
    ("SELECT qualify, ilike FROM rollback semi JOIN anti", Kind.SELECT, "rollback=semi anti"),
    ("INSERT INTO t VALUES (1)", Kind.INSERT, "!t"),
    ("INSERT LOW_PRIORITY IGNORE db.t (a) VALUES (1)", Kind.INSERT, "!db.t"),
    ("INSERT INTO t SELECT * FROM t, u", Kind.INSERT, "!t t@1 u@1"),
    ("INSERT INTO t (a) (SELECT 1 FROM u)", Kind.INSERT, "!t u@1"),
    ("INSERT INTO t WITH c AS (SELECT 1 FROM u) SELECT * FROM c", Kind.INSERT, "!t u@2"),
    ("INSERT INTO t SET a = (SELECT 1 FROM u)", Kind.INSERT, "!t u@1"),
    ("INSERT INTO t VALUES (1) ON DUPLICATE KEY UPDATE a = (SELECT 1 FROM u)", Kind.INSERT, "!t u@1"),
    ("INSERT INTO t VALUES (1, (SELECT 1 FROM u)) RETURNING a", Kind.INSERT, "!t u@1"),
    ("INSERT INTO t TABLE u", Kind.INSERT, "!t u@1"),
    ("REPLACE INTO t VALUES (1)", Kind.REPLACE, "!t"),
    ("REPLACE DELAYED t SELECT 1 FROM u", Kind.REPLACE, "!t u@1"),
    ("UPDATE t SET a = 1", Kind.UPDATE, "!t"),
    ("UPDATE LOW_PRIORITY IGNORE t SET a = 1 WHERE b IN (SELECT c FROM u)", Kind.UPDATE, "!t u@1"),
    ("UPDATE t JOIN u ON t.a = u.a SET t.b = u.b", Kind.UPDATE, "!t u"),
    ("UPDATE t, u SET t.b = 1, u.c = 2", Kind.UPDATE, "!t !u"),
    ("UPDATE t, u SET b = 1", Kind.UPDATE, "!t !u"),
    ("UPDATE t JOIN (SELECT * FROM u) d SET t.a = d.a", Kind.UPDATE, "!t u@1"),
    ("WITH c AS (SELECT 1 FROM u) UPDATE t, c SET t.a = 1", Kind.UPDATE, "u@1 !t"),
    ("UPDATE t SET a = a OR b AND c, d = DEFAULT", Kind.UPDATE, "!t"),
    ("DELETE FROM t", Kind.DELETE, "!t"),
    ("DELETE QUICK FROM t AS x WHERE x.a = 1 ORDER BY b LIMIT 1", Kind.DELETE, "!t=x"),
    ("DELETE a FROM t AS a JOIN u AS b ON a.x = b.x", Kind.DELETE, "!t=a u=b"),
    ("DELETE a.*, b.* FROM t a, u b", Kind.DELETE, "!t=a !u=b"),
    ("DELETE FROM a USING t AS a JOIN u", Kind.DELETE, "!t=a !u"),
    ("DELETE FROM t WHERE x IN (SELECT y FROM u)", Kind.DELETE, "!t u@1"),
    ("LOAD DATA LOCAL INFILE 'x' REPLACE INTO TABLE db.t FIELDS TERMINATED BY ','", Kind.LOAD_DATA, "!db.t"),
    ("CALL p(1, (SELECT 1 FROM t))", Kind.CALL, "t@1"),
    ("CALL db.p", Kind.CALL, ""),
    ("DO SLEEP(1), (SELECT 1 FROM t)", Kind.DO, "t@1"),
    ("SET @a = (SELECT 1 FROM t)", Kind.SET, "t@1"),
    ("SET STATEMENT max_statement_time = 1 FOR SELECT * FROM t", Kind.SET, "t"),
    ("SET PASSWORD = 'x'", Kind.ACCOUNT, ""),
    ("SET ROLE x", Kind.SET, ""),
    ("/* x */ USE `d b`", Kind.USE, ""),
    ("SHOW TABLES FROM d", Kind.SHOW, ""),
    ("SHOW CREATE TABLE d.t", Kind.SHOW, "d.t"),
    ("SHOW FULL COLUMNS FROM t FROM d", Kind.SHOW, "d.t"),
    ("SHOW INDEX IN t", Kind.SHOW, "t"),
    ("DESC t", Kind.DESCRIBE, "t"),
    ("EXPLAIN d.t a", Kind.DESCRIBE, "d.t"),
    ("EXPLAIN EXTENDED SELECT * FROM t", Kind.EXPLAIN, "t"),
    ("EXPLAIN FORMAT=JSON DELETE FROM t", Kind.EXPLAIN, "!t"),
    ("EXPLAIN ANALYZE SELECT * FROM t", Kind.EXPLAIN, "t"),
    ("ANALYZE FORMAT=JSON SELECT * FROM t", Kind.EXPLAIN, "t"),
    ("ANALYZE LOCAL TABLE t, u", Kind.ADMIN, "!t !u"),
    ("CHECK TABLE t EXTENDED", Kind.ADMIN, "t"),
    ("BEGIN", Kind.BEGIN, ""),
    ("START TRANSACTION READ ONLY", Kind.BEGIN, ""),
    ("START SLAVE", Kind.ADMIN, ""),
    ("COMMIT WORK AND NO CHAIN", Kind.COMMIT, ""),
    ("ROLLBACK", Kind.ROLLBACK, ""),
    ("SAVEPOINT a", Kind.SAVEPOINT, ""),
    ("ROLLBACK WORK TO SAVEPOINT `a b`", Kind.ROLLBACK_TO, ""),
    ("RELEASE SAVEPOINT a", Kind.RELEASE_SAVEPOINT, ""),
    ("XA START 'x'", Kind.XA, ""),
    ("PREPARE s FROM 'SELECT 1'", Kind.PREPARE, ""),
    ("EXECUTE s USING @a", Kind.EXECUTE, ""),
    ("DEALLOCATE PREPARE s", Kind.DEALLOCATE, ""),
    ("DROP PREPARE s", Kind.DEALLOCATE, ""),
    ("KILL 5", Kind.KILL, ""),
    ("CREATE TABLE IF NOT EXISTS d.t (a INT, b INT REFERENCES u (x))", Kind.DDL, "!d.t u"),
    ("CREATE TABLE t (LIKE u)", Kind.DDL, "!t u"),
    ("CREATE TEMPORARY TABLE t LIKE u", Kind.DDL, "!t u"),
    ("CREATE OR REPLACE TABLE t (a INT) ENGINE=x IGNORE SELECT * FROM u", Kind.DDL, "!t u@1"),
    ("CREATE TABLE t AS WITH c AS (SELECT * FROM u) SELECT * FROM c", Kind.DDL, "!t u@2"),
    ("CREATE TABLE t (a INT) ENGINE=MERGE UNION=(u, v)", Kind.DDL, "!t !u !v"),
    ("CREATE DEFINER=`r`@`h` VIEW v (a) AS SELECT * FROM t WITH CASCADED CHECK OPTION", Kind.DDL, "!v t@1"),
    ("CREATE DEFINER=user@h TRIGGER x BEFORE INSERT ON t FOR EACH ROW SET @a = 1", Kind.DDL, "!t"),
    ("ALTER TABLE t ADD CONSTRAINT c FOREIGN KEY (a) REFERENCES d.u (a), RENAME TO v", Kind.DDL, "!t d.u !v"),
    ("ALTER TABLE t RENAME COLUMN a TO b, RENAME INDEX c TO d", Kind.DDL, "!t"),
    ("ALTER TABLE t EXCHANGE PARTITION p WITH TABLE u", Kind.DDL, "!t !u"),
    ("CREATE UNIQUE INDEX i ON t (a)", Kind.DDL, "!t"),
    ("DROP INDEX i ON t", Kind.DDL, "!t"),
    ("DROP TABLE IF EXISTS t, d.u CASCADE", Kind.DDL, "!t !d.u"),
    ("DROP VIEW v", Kind.DDL, "!v"),
    ("RENAME TABLE a TO b, c TO d.e", Kind.DDL, "!a !b !c !d.e"),
    ("TRUNCATE t", Kind.DDL, "!t"),
    ("CREATE PROCEDURE p() BEGIN SELECT 1; SELECT * FROM t; END", Kind.DDL, ""),
    ("CREATE PROCEDURE p() SELECT 1; SELECT * FROM t", Kind.MULTI, ""),
    (
        "CREATE PROCEDURE p() BEGIN IF a THEN SELECT 1; END IF; WHILE b DO SELECT 2; END WHILE; END; DROP TABLE t",
        Kind.MULTI,
        "",
    ),
    (
        "CREATE FUNCTION f() RETURNS INT BEGIN DECLARE x INT; RETURN CASE x WHEN 1 THEN IF(1, 2, 3) END; END",
        Kind.DDL,
        "",
    ),
    ("CREATE EVENT e ON SCHEDULE EVERY 1 DAY DO BEGIN DELETE FROM t; END", Kind.DDL, ""),
    ("BEGIN NOT ATOMIC SELECT 1; END", Kind.UNKNOWN, ""),
    ("CREATE DATABASE x", Kind.DDL, ""),
    ("CREATE USER u", Kind.ACCOUNT, ""),
    ("GRANT SELECT ON d.t TO 'u'@'h'", Kind.ACCOUNT, "d.t"),
    ("LOCK TABLES t READ, u AS x LOW_PRIORITY WRITE", Kind.LOCK_TABLES, "t !u=x"),
    ("UNLOCK TABLES", Kind.UNLOCK_TABLES, ""),
    ("FLUSH TABLES t WITH READ LOCK", Kind.ADMIN, "!t"),
    ("FLUSH PRIVILEGES", Kind.ADMIN, ""),
    ("HANDLER d.t OPEN", Kind.HANDLER, "d.t"),
    ("SELECT 1; SELECT 2", Kind.MULTI, ""),
    ("SELECT --1, (---a) FROM t WHERE a = --2", Kind.SELECT, "t"),
    ("SELECT ';'", Kind.SELECT, ""),
    ("SELECT 1 /* ; */", Kind.SELECT, ""),
    ("SHOW TURNOUT CLUSTERS", Kind.TURNOUT, ""),
    ("/*!40101 SET NAMES utf8 */", Kind.SET, ""),
    ("/*!80000 SET NAMES utf8 */", Kind.UNKNOWN, ""),
    ("SELECT * FROM t WHERE a = 1 /*!40000 AND b = 2 */", Kind.SELECT, "t"),
    ("SELECT NEXTVAL(s)", Kind.UNKNOWN, ""),
    ("EXPLAIN NONSENSE HERE x", Kind.DESCRIBE, "NONSENSE"),
    ("FROBNICATE t", Kind.UNKNOWN, ""),
    ("SELECT * FROM t WHERE (((", Kind.UNKNOWN, ""),
]


@pytest.mark.parametrize(("sql", "kind", "mentioned"), KINDS)
def test_kind_and_tables(sql: str, kind: Kind, mentioned: str) -> None:
    statement = read(sql)
    assert (statement.kind, tables(statement)) == (kind, mentioned), statement.error
    if kind is Kind.UNKNOWN:
        assert statement.error
        assert statement.words


_UNKNOWN = Effect.UNKNOWN_FUNCTION
EFFECTS = [
    ("SELECT * FROM t", Effect.NONE),
    ("SELECT COUNT(*), CONCAT(a, 'x') FROM t", Effect.NONE),
    ("SELECT NOW(), CURRENT_DATE", Effect.NONDETERMINISTIC),
    ("SELECT `now`, t.current_date FROM t", Effect.NONE),
    ("SELECT * FROM t FOR UPDATE", Effect.LOCKS_ROWS),
    ("SELECT * FROM t FOR SHARE NOWAIT", Effect.LOCKS_ROWS),
    ("SELECT * FROM t LOCK IN SHARE MODE", Effect.LOCKS_ROWS),
    ("SELECT @a", Effect.READS_USER_VARIABLE),
    ("SELECT @'a b'", Effect.READS_USER_VARIABLE),
    ("SELECT @a := 1", Effect.SETS_USER_VARIABLE),
    ("SELECT a, b INTO @a, @b FROM t", Effect.SETS_USER_VARIABLE),
    ("SELECT 1 INTO OUTFILE 'x'", Effect.INTO_FILE),
    ("SELECT @@sql_mode", Effect.READS_SYSTEM_VARIABLE),
    ("SELECT @@session.last_insert_id", Effect.READS_SYSTEM_VARIABLE | Effect.USES_LAST_INSERT_ID),
    ("SELECT LAST_INSERT_ID()", Effect.NONDETERMINISTIC | Effect.USES_LAST_INSERT_ID),
    ("SELECT LAST_INSERT_ID(5)", Effect.NONDETERMINISTIC | Effect.SETS_LAST_INSERT_ID),
    ("SELECT GET_LOCK('a', 1)", Effect.NONDETERMINISTIC | Effect.SESSION_LOCK),
    ("SELECT SQL_CALC_FOUND_ROWS * FROM t", Effect.CALC_FOUND_ROWS),
    ("SELECT SQL_CALC_FOUND_ROWS (a) FROM t", Effect.CALC_FOUND_ROWS),
    ("SELECT DISTINCT SQL_NO_CACHE sql_calc_found_rows (a), f (1) FROM t", Effect.CALC_FOUND_ROWS | _UNKNOWN),
    ("SELECT a, sql_no_cache(1) FROM t", Effect.UNKNOWN_FUNCTION),
    ("SELECT FOUND_ROWS()", Effect.NONDETERMINISTIC | Effect.USES_FOUND_ROWS),
    ("SELECT SLEEP(1)", Effect.NONDETERMINISTIC | Effect.SLEEPS),
    ("SELECT f(1)", Effect.UNKNOWN_FUNCTION),
    ("SELECT db.now()", Effect.UNKNOWN_FUNCTION),
    ("SELECT `f`(1)", Effect.UNKNOWN_FUNCTION),
    ("SELECT a FROM t WHERE x IN (1) AND y BETWEEN (1) AND (2) OR NOT (z)", Effect.NONE),
    ("INSERT INTO t (a) VALUES (1)", Effect.WRITES),
    ("INSERT INTO `t` (`a`) VALUES (1)", Effect.WRITES),
    ("INSERT INTO d.t (a) VALUES (1) ON DUPLICATE KEY UPDATE a = VALUES(a)", Effect.WRITES),
    ("INSERT INTO t (a) VALUES (1) RETURNING a", Effect.WRITES | Effect.RETURNING),
    ("INSERT INTO t (a) VALUES (1) RETURNING (a)", Effect.WRITES | Effect.RETURNING),
    ("WITH c (a) AS (SELECT 1) SELECT * FROM c", Effect.NONE),
    ("CREATE TABLE t (a INT)", Effect.WRITES | Effect.IMPLICIT_COMMIT),
    ("CREATE TEMPORARY TABLE t (a INT)", Effect.WRITES | Effect.TEMPORARY_TABLE),
    ("SHOW WARNINGS", Effect.USES_DIAGNOSTICS),
    ("LOCK TABLES t READ", Effect.SESSION_LOCK | Effect.IMPLICIT_COMMIT),
    ("BEGIN", Effect.IMPLICIT_COMMIT),
    ("EXPLAIN UPDATE t SET a = 1", Effect.NONE),
    ("SET @a = 1", Effect.SETS_USER_VARIABLE),
    ("SET sql_mode = CONCAT(@@sql_mode, ',X')", Effect.READS_SYSTEM_VARIABLE),
]


@pytest.mark.parametrize(("sql", "effects"), EFFECTS)
def test_effects(sql: str, effects: Effect) -> None:
    assert read(sql).effects == effects


def test_flags_of_blocks() -> None:
    block = read("SELECT DISTINCT MAX(a) FROM t LEFT JOIN u ON 1 GROUP BY b HAVING c ORDER BY d LIMIT 1").blocks[0]
    assert (block.distinct, block.grouped, block.having, block.aggregates, block.ordered, block.limited) == (True,) * 6
    assert block.outer_joins
    assert block.nullable == (1,)
    assert not block.windows
    assert read("SELECT ROW_NUMBER() OVER (ORDER BY a) FROM t").blocks[0].windows
    assert read("SELECT JSON_ARRAYAGG(a) FROM t").blocks[0].aggregates
    union = read("SELECT a FROM t UNION SELECT b FROM u ORDER BY 1 LIMIT 2").blocks
    assert [(b.set_operation, b.ordered, b.limited, b.parent) for b in union] == [(True, True, True, None)] * 2
    outer, inner = read("SELECT (SELECT COUNT(*) FROM u) FROM t").blocks
    assert (outer.aggregates, inner.aggregates, inner.parent) == (False, True, 0)


@pytest.mark.parametrize(
    ("sql", "nullable"),
    [
        ("SELECT * FROM a JOIN b ON 1", ()),
        ("SELECT * FROM a LEFT JOIN b ON 1", (1,)),
        ("SELECT * FROM a LEFT JOIN (b JOIN c ON 1) ON 1 JOIN d", (1, 2)),
        ("SELECT * FROM a JOIN b ON 1 RIGHT JOIN c ON 1", (0, 1)),
        ("SELECT * FROM a NATURAL RIGHT JOIN b", (0,)),
    ],
)
def test_nullable(sql: str, nullable: tuple[int, ...]) -> None:
    assert read(sql).blocks[0].nullable == nullable


@pytest.mark.parametrize(
    ("sql", "equalities", "unresolved"),
    [
        ("SELECT * FROM a JOIN b ON a.x = b.y", [((0, "x"), (1, "y"), None)], []),
        ("SELECT * FROM a LEFT JOIN b ON a.x = b.y", [((0, "x"), (1, "y"), 1)], []),
        ("SELECT * FROM a RIGHT JOIN b ON a.x = b.y", [((0, "x"), (1, "y"), 0)], []),
        ("SELECT * FROM a LEFT JOIN b ON a.z WHERE a.x = b.y", [((0, "x"), (1, "y"), None)], []),
        ("SELECT * FROM a JOIN b ON a.x <=> b.y", [], []),
        ("SELECT * FROM a JOIN b USING (X)", [((0, "x"), (1, "x"), None)], []),
        ("SELECT * FROM a LEFT JOIN b USING (x)", [((0, "x"), (1, "x"), 1)], []),
        (
            "SELECT * FROM a RIGHT JOIN b USING (x) JOIN c USING (x)",
            [((0, "x"), (1, "x"), 0), ((1, "x"), (2, "x"), None)],
            [],
        ),
        ("SELECT * FROM a JOIN b ON 1 JOIN c USING (x)", [], []),
        ("SELECT * FROM a NATURAL JOIN b", [], []),
        ("SELECT * FROM a JOIN b ON x = y", [], [(None, "x", None, "y")]),
        ("SELECT * FROM a JOIN b ON a.x = y", [], [(0, "x", None, "y")]),
        ("SELECT * FROM a LEFT JOIN b ON a.x = y", [], []),
        ("SELECT * FROM a JOIN (SELECT 1 y) b ON a.x = b.y", [], []),
        ("SELECT * FROM a WHERE a.x = a.y", [], []),
        ("SELECT * FROM a, a AS b WHERE (a.x, 1) = (b.x, b.y)", [((0, "x"), (1, "x"), None)], []),
    ],
)
def test_equalities(sql: str, equalities: list[object], unresolved: list[object]) -> None:
    (block, *_) = read(sql).blocks
    assert [(e.left, e.right, e.only) for e in block.equalities] == equalities
    assert list(block.unresolved_equalities) == unresolved


def test_correlated_equality_holds_for_the_inner_table_only() -> None:
    block = read("SELECT * FROM a WHERE NOT EXISTS (SELECT 1 FROM b WHERE b.x = a.x)").blocks[1]
    assert [(e.left, e.right, e.only) for e in block.equalities] == [((1, "x"), (0, "x"), 1)]


@pytest.mark.parametrize(
    ("sql", "unresolved", "around"),
    [
        ("SELECT * FROM a WHERE EXISTS (SELECT 1 FROM b WHERE x = y)", [(None, "x", None, "y")], 0),
        ("SELECT * FROM a WHERE EXISTS (SELECT 1 FROM b WHERE x = a.y)", [(None, "x", 0, "y")], 0),
        ("SELECT * FROM a WHERE EXISTS (SELECT 1 FROM b, (SELECT 1) c WHERE x = a.y)", [(None, "x", 0, "y")], None),
        ("SELECT * FROM a JOIN (SELECT 1 FROM b, c WHERE x = y) d", [(None, "x", None, "y")], None),
    ],
)
def test_names_that_may_be_of_blocks_around(sql: str, unresolved: list[object], around: int | None) -> None:
    block = next(block for block in read(sql).blocks if block.index == 1)
    assert (list(block.unresolved_equalities), block.around) == (unresolved, around)


def test_unresolved_pins() -> None:
    assert read("SELECT * FROM a, b WHERE x = 1").blocks[0].unresolved == (("x", (Hole(0, False),)),)
    assert read("SELECT * FROM a LEFT JOIN b ON x = 1").blocks[0].unresolved == ()
    inner = read("SELECT * FROM a WHERE EXISTS (SELECT 1 FROM b WHERE x = 1)").blocks[1]
    assert (inner.pins, inner.unresolved) == ((), (("x", (Hole(1, False),)),))


def test_values() -> None:
    statement = read('SELECT * FROM t WHERE a = -1 AND b = "x" AND c = TRUE AND d = NULL AND e = ?')
    assert [pin.values for pin in statement.blocks[0].pins] == [
        (Hole(0, False, negative=True),),
        (Hole(1, True, double_quoted=True),),
        (Word.TRUE,),
        (Word.NULL,),
        (Param(0),),
    ]


def test_long_in_lists() -> None:
    numbers = ", ".join(map(str, range(500)))
    pin, other = read(f"SELECT * FROM t WHERE x = 'a' AND y IN ({numbers}) AND z IN ('q')").blocks[0].pins[1:]
    assert pin.values == tuple(Hole(i, False) for i in range(1, 501))
    assert other.values == (Hole(501, True),)
    assert read(f"SELECT * FROM t WHERE y IN ({numbers}, y)").blocks[0].pins == ()
    assert read(f"SELECT * FROM t WHERE y NOT IN ({numbers})").blocks[0].pins == ()


def test_update() -> None:
    statement = read("UPDATE t SET A = 1, t.b = b + 1, c = DEFAULT, d = NULL WHERE id = 5")
    assert statement.assigned == ("a", "b", "c", "d")
    assert statement.assigned_values == (Hole(0, False), Opaque(), Word.DEFAULT, Word.NULL)
    assert statement.blocks[0].pins[0].values == (Hole(2, False),)


def test_set() -> None:
    sql = "SET a = 1, @b = 'x', @@session.c := ON, GLOBAL d = DEFAULT, e = 1, NAMES utf8mb4 COLLATE 'y', @@f = @b"
    sql += ", @@global.g = -1"
    got = [(a.scope, a.name, a.constant, a.value) for a in read(sql).assignments]
    assert got == [
        (Scope.SESSION, "a", True, Hole(0, False)),
        (Scope.USER, "b", True, Hole(1, True)),
        (Scope.SESSION, "c", True, None),
        (Scope.GLOBAL, "d", True, Word.DEFAULT),
        (Scope.GLOBAL, "e", True, Hole(2, False)),
        (Scope.NAMES, "names", True, None),
        (Scope.NAMES, "collate", True, Hole(3, True)),
        (Scope.SESSION, "f", False, Opaque()),
        (Scope.GLOBAL, "g", True, Hole(4, False, negative=True)),
    ]


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SET NAMES 'utf8'", [(Scope.NAMES, "names", "'\0'")]),
        ("SET NAMES DEFAULT", [(Scope.NAMES, "names", "DEFAULT")]),
        ("SET CHARACTER SET utf8", [(Scope.NAMES, "character set", "utf8")]),
        ("SET CHARSET 'utf8'", [(Scope.NAMES, "character set", "'\0'")]),
        ("SET LOCAL x = OFF", [(Scope.SESSION, "x", "OFF")]),
        ("SET PERSIST x = 5", [(Scope.GLOBAL, "x", "\0")]),
        ("SET @@persist_only.x = 5", [(Scope.GLOBAL, "x", "\0")]),
        ("SET @@`x` = 5", [(Scope.SESSION, "x", "\0")]),
        ("SET transaction_isolation = 'READ-COMMITTED'", [(Scope.SESSION, "transaction_isolation", "'\0'")]),
        ("SET @@tx_isolation = 'READ-COMMITTED'", [(Scope.NEXT_TRANSACTION, "tx_isolation", "'\0'")]),
        ("SET TRANSACTION READ ONLY", [(Scope.NEXT_TRANSACTION, "transaction_read_only", "READ ONLY")]),
        (
            "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ WRITE",
            [
                (Scope.SESSION, "transaction_isolation", "REPEATABLE READ"),
                (Scope.SESSION, "transaction_read_only", "READ WRITE"),
            ],
        ),
        ("SET GLOBAL TRANSACTION READ ONLY", [(Scope.GLOBAL, "transaction_read_only", "READ ONLY")]),
        ("SET ROLE NONE", [(Scope.ROLE, "role", "NONE")]),
        ("SET hot.key_buffer_size = 5", [(Scope.SESSION, "hot.key_buffer_size", "\0")]),
        ("SET @`a b` = 5", [(Scope.USER, "a b", "\0")]),
        ("SET /*é*/ @é = 'x'", [(Scope.USER, "é", "'\0'")]),
    ],
)
def test_forms_of_set(sql: str, expected: list[tuple[Scope, str, str]]) -> None:
    shape, _ = lexer().shape(sql.encode())
    got = [(a.scope, a.name, shape[slice(*a.value_span)].decode()) for a in read(sql).assignments]
    assert got == expected


@pytest.mark.parametrize(
    ("sql", "name", "detail"),
    [
        ("USE `d b`", "d b", ""),
        ("SAVEPOINT Sp1", "Sp1", ""),
        ("ROLLBACK TO sp", "sp", ""),
        ("COMMIT AND CHAIN", "", "and chain"),
        ("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY", "", "with consistent snapshot, read only"),
        ("SHOW FULL TABLES IN d LIKE 'x'", "tables", "d"),
        ("SHOW TABLE STATUS FROM d", "table status", "d"),
        ("SHOW GLOBAL VARIABLES LIKE 'x'", "variables", ""),
        ("SHOW COUNT(*) ERRORS", "count(*) errors", ""),
        ("SHOW CREATE PROCEDURE p", "create procedure", ""),
        ("SHOW TURNOUT shapes LIMIT 5", "", "shapes LIMIT 5"),
        ("KILL QUERY 5", "", "query"),
        ("KILL 5", "", "connection"),
        ("CREATE OR REPLACE TABLE t (a INT)", "create table", ""),
        ("DROP SCHEMA d", "drop database", "d"),
        ("CALL d.p()", "p", "d"),
        ("XA COMMIT 'x'", "commit", ""),
    ],
)
def test_names(sql: str, name: str, detail: str) -> None:
    statement = read(sql)
    assert (statement.name, statement.detail) == (name, detail)


@pytest.mark.parametrize(
    ("sql", "items", "names"),
    [
        ("SELECT LAST_INSERT_ID()", ("last_insert_id()",), ("LAST_INSERT_ID()",)),
        ("select found_rows ( ) AS n;", ("found_rows()",), ("n",)),
        ("SELECT @@Version_Comment LIMIT 1", ("@@version_comment",), ("@@Version_Comment",)),
        ("SELECT DATABASE() x, `ROW_COUNT`() FROM DUAL", ("database()", "row_count()"), ("x", "`ROW_COUNT`()")),
        ("SELECT LAST_INSERT_ID() WHERE 0", (), ()),
        ("SELECT LAST_INSERT_ID() INTO @a", (), ()),
        ("SELECT LAST_INSERT_ID() FROM t", (), ()),
        ("SELECT LAST_INSERT_ID() UNION SELECT 1", (), ()),
        ("SELECT LAST_INSERT_ID() 'name'", (), ()),
        ("SELECT LAST_INSERT_ID(/* x */)", (), ()),
        ("SELECT 1", (), ()),
    ],
)
def test_items(sql: str, items: tuple[str, ...], names: tuple[str, ...]) -> None:
    statement = read(sql)
    assert (statement.items, statement.item_names) == (items, names)


def test_inner_statements() -> None:
    statement = read("TURNOUT EXPLAIN SELECT * FROM t WHERE id = 5")
    assert statement.kind is Kind.TURNOUT
    assert statement.inner is not None
    assert statement.inner.blocks[0].pins[0].values == (Hole(0, False),)
    explain = read("EXPLAIN UPDATE t SET a = 1")
    assert explain.inner is not None
    assert explain.inner.effects == Effect.WRITES


def test_hints() -> None:
    assert read("/* turnout: cluster=media */ SELECT 1").hint == Hint(cluster="media")
    assert read("SELECT /*turnout:primary,no-cache*/ 1").hint == Hint(primary=True, no_cache=True)
    assert read("/* turnout: primry, cluster= */ SELECT 1").hint == Hint(unknown=("primry", "cluster="))
    assert read("/* turnout: cluster=a */ SELECT 1 /* turnout: cluster=b */").hint == Hint("a", unknown=("cluster=b",))
    assert read("/* x */ SELECT 1").hint is None


@pytest.mark.parametrize(
    ("sql", "digest"),
    [
        ("SELECT  a\nFROM t /* x */ WHERE b='x'  AND c IN (1,2, 3) -- y", "SELECT a FROM t WHERE b=? AND c IN (?+)"),
        ("SELECT * FROM t WHERE c in(1)", "SELECT * FROM t WHERE c in (?+)"),
        ("INSERT INTO t VALUES (1,'a'), (2,'b'),(3,'c')", "INSERT INTO t VALUES (?+), ..."),
        ("INSERT INTO t VALUES (1,NOW()), (2,NOW())", "INSERT INTO t VALUES (?,NOW()), ..."),
        ("SELECT `a b` FROM t LIMIT 5,6;", "SELECT `a b` FROM t LIMIT ?,?"),
        ("SET @a = 'x'", "SET @a = ?"),
        ("SELECT -1, a -1, a - -1, (a)-1 FROM t WHERE b=-2", "SELECT ?, a -?, a - ?, (a)-? FROM t WHERE b=?"),
        (
            "SELECT a FROM t WHERE c IN (1, -2,- 3) AND d BETWEEN -1 AND -2",
            "SELECT a FROM t WHERE c IN (?+) AND d BETWEEN ? AND ?",
        ),
        ("INSERT INTO t VALUES (-1,'a'), (2,'b')", "INSERT INTO t VALUES (?+), ..."),
    ],
)
def test_digest(sql: str, digest: str) -> None:
    assert read(sql).digest == digest


@pytest.mark.parametrize(
    "sql",
    [
        "/*!80000 SELECT */ * FROM Secret",
        "SELECT 'open FROM Secret",
        'SELECT "a FROM `Secret`',
        "SELECT * FROM `Secret` WHERE x = 'a",
        "SELECT 1 FROM Secret WHERE 5'a'",
        "SELECT * FROM a NONSENSE JOIN `Secret` b c d",
        "FLARB `Secret`; SELECT 1",
        "SELECT * FROM Secret\0",
    ],
)
def test_words_of_what_is_not_understood(sql: str) -> None:
    statement = read(sql)
    assert statement.kind in (Kind.UNKNOWN, Kind.MULTI)
    assert "secret" in statement.words


def test_charsets() -> None:
    assert tables(read("SELECT * FROM `表` 能".encode("gbk"), lexer(charset="gbk"))) == "表=能"
    assert tables(read("SELECT * FROM 表 x WHERE y = '功'".encode("sjis", "replace"), lexer(charset="sjis"))) == "表=x"
    assert tables(read(b"SELECT * FROM caf\xe9", lexer(charset="latin1"))) == "café"
    assert read(b"SELECT * FROM caf\xe9", lexer(charset="utf8mb4")).kind is Kind.UNKNOWN
    assert tables(read('SELECT * FROM "a b" WHERE x = "y"', lexer(ansi_quotes=True))) == "a b"


def test_nesting_and_length_are_no_danger() -> None:
    for sql in (
        "SELECT " + "(" * 5000 + "1" + ")" * 5000,
        "SELECT " + "NOT " * 5000 + "1",
        "SELECT " + "- " * 5000 + "1",
        "SELECT * FROM a" + " JOIN b" * 200,
        "SELECT " + "CASE WHEN 1 THEN " * 500 + "1" + " END" * 500,
        "SELECT 1" + " UNION SELECT 1" * 500,
        "SELECT * FROM " + "(SELECT * FROM " * 200 + "t" + ") d" * 200,
    ):
        assert read(sql).kind is Kind.UNKNOWN
    for sql in (
        "SELECT " + "a+" * 600_000 + "1",
        "SELECT " + "a+" * 20_000 + "1",
        "INSERT INTO t VALUES " + "(1, 2), (f(), 1), " * 110_000 + "(1, 2)",
    ):
        statement = read(sql)
        assert "too long" in statement.error
        assert statement.words & {"a", "t"}
    assert read("/*!40000").kind is Kind.UNKNOWN
    long = read("SELECT * FROM t WHERE " + " OR ".join(["x = 1"] * 3000) + " AND y = 1")
    assert long.kind is Kind.SELECT


def test_only_selects_from_tables_that_may_be_merged_have_an_outline() -> None:
    def outlined(sql: bytes, merged: frozenset[str] | None) -> bool:
        shape, literals = lexer().shape(sql)
        return parse(shape, literals, lexer=lexer(), merged=merged).outline is not None

    sql = b"SELECT * FROM Orders o JOIN users u ON o.user_id = u.id ORDER BY o.id LIMIT 3"
    assert outlined(sql, None)
    assert outlined(sql, frozenset({"orders"}))
    assert not outlined(sql, frozenset({"o", "items"}))
    assert not outlined(b"SELECT * FROM orders", frozenset({"orders"}))


WORDS = """
SELECT FROM WHERE t u db . , ( ) = 1 'x' ? @a := JOIN LEFT ON USING x y AND OR NOT IN UNION INSERT INTO VALUES SET
UPDATE
DELETE AS ; BEGIN END CREATE TABLE PROCEDURE ALTER RENAME TO DROP SHOW EXPLAIN CALL LOCK WITH c ORDER BY LIMIT FOR
/*!40000 */ /*!80000 <=> * `q` "d" - NULL DEFAULT CASE WHEN THEN IF ( ( ) GROUP HAVING EXISTS TRIGGER VIEW INDEX ON
TRUNCATE LOAD DATA INFILE REFERENCES LIKE PREPARE EXECUTE KILL NAMES TRANSACTION STATEMENT TURNOUT
"""


@settings(max_examples=1500, deadline=None)
@given(st.lists(st.sampled_from(WORDS.split()), max_size=14), st.booleans())
def test_never_raises(words: list[str], ansi: bool) -> None:
    sql = " ".join(words)
    statement = read(sql, lexer(ansi_quotes=ansi))
    mentioned = {t.name for t in statement.tables} | {t.alias for t in statement.tables}
    assert mentioned <= {*words, "q", "d"}


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("PREPARE s FROM 'SELECT 1'", (Hole(0, True),)),
        ("PREPARE s FROM @Text", ("@text",)),
        ("PREPARE s FROM CONCAT('a', 'b')", (Opaque(),)),
        ("EXECUTE s", ()),
        ("EXECUTE s USING @a, 5, -6, @`b c`, NULL", ("@a", Hole(0, False), Hole(1, False, True), "@b c", Word.NULL)),
        ("EXECUTE s USING @@x, @a + 1", (Opaque(), Opaque())),
        ("EXECUTE IMMEDIATE 'SELECT ?' USING @a", (Hole(0, True), "@a")),
        ("EXECUTE IMMEDIATE @t", ("@t",)),
    ],
)
def test_what_prepare_and_execute_are_given(sql: str, expected: tuple[object, ...]) -> None:
    assert read(sql).arguments == expected


@pytest.mark.parametrize(
    "sql",
    ["EXPLAIN FORMAT=JSON |SELECT 'é', 1", "SET STATEMENT max_statement_time = 5 FOR |SELECT 2", "DESC |(SELECT 'x')"],
)
def test_where_a_statement_inside_of_another_begins(sql: str) -> None:
    shape, literals = lexer().shape(sql.replace("|", "").encode())
    inner = sql.partition("|")[2].encode()
    assert lexer().shape(inner)[0] == shape[parse(shape, literals, lexer=lexer()).inner_at :]
