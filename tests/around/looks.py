"""What ORMs, drivers and tools ask about a schema, as they ask it (`{t}` is each of a few tables in turn)."""

from __future__ import annotations

DJANGO = (
    "SHOW FULL TABLES",
    "SELECT table_name, table_type, table_comment FROM information_schema.tables WHERE table_schema = DATABASE()",
    "SELECT table_collation FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = '{t}'",
    "SELECT column_name, data_type, character_maximum_length, numeric_precision, numeric_scale, extra, column_default,"
    " collation_name, CASE WHEN collation_name = 'utf8mb4_general_ci' THEN NULL ELSE collation_name END AS"
    " collation_name, CASE WHEN column_type LIKE '% unsigned' THEN 1 ELSE 0 END AS is_unsigned, column_comment"
    " FROM information_schema.columns WHERE table_name = '{t}' AND table_schema = DATABASE()",
    "SELECT c.constraint_name, c.column_name FROM information_schema.key_column_usage AS c WHERE c.table_schema ="
    " DATABASE() AND c.table_name = '{t}'",
    "SELECT column_name, referenced_column_name, referenced_table_name FROM information_schema.key_column_usage"
    " WHERE table_name = '{t}' AND table_schema = DATABASE() AND referenced_table_schema = DATABASE()"
    " AND referenced_table_name IS NOT NULL AND referenced_column_name IS NOT NULL",
    "SELECT kcu.column_name, kcu.referenced_column_name, kcu.referenced_table_name, rc.delete_rule FROM"
    " information_schema.key_column_usage kcu JOIN information_schema.referential_constraints rc ON"
    " rc.constraint_schema = kcu.constraint_schema AND rc.constraint_name = kcu.constraint_name AND rc.table_name ="
    " kcu.table_name WHERE kcu.table_name = '{t}' AND kcu.table_schema = DATABASE()"
    " AND kcu.referenced_table_schema = DATABASE()",
    "SELECT kc.`constraint_name`, kc.`column_name`, kc.`referenced_table_name`, kc.`referenced_column_name`,"
    " c.`constraint_type` FROM information_schema.key_column_usage AS kc, information_schema.table_constraints AS c"
    " WHERE kc.table_schema = DATABASE() AND c.table_schema = kc.table_schema AND c.constraint_name ="
    " kc.constraint_name AND c.constraint_type != 'CHECK' AND kc.table_name = '{t}' ORDER BY kc.`ordinal_position`"
    " /* ties */",
    "SELECT cc.constraint_name, cc.check_clause FROM information_schema.check_constraints AS cc,"
    " information_schema.table_constraints AS tc WHERE cc.constraint_schema = DATABASE() AND tc.table_schema ="
    " cc.constraint_schema AND cc.constraint_name = tc.constraint_name AND tc.constraint_type = 'CHECK' AND"
    " tc.table_name = '{t}'",
    "SELECT c.constraint_name, c.check_clause FROM information_schema.check_constraints AS c WHERE"
    " c.constraint_schema = DATABASE() AND c.table_name = '{t}'",
    "SHOW INDEX FROM `{t}`",
    "SELECT engine FROM information_schema.tables WHERE table_name = '{t}'",
    "SELECT * FROM `{t}` LIMIT 0",
)
SQLALCHEMY = (
    "SHOW FULL TABLES FROM `shop`",
    "SHOW CREATE TABLE `{t}`",
    "DESCRIBE `{t}`",
    "DESCRIBE `shop`.`{t}`",
    "SHOW CREATE TABLE `shop`.`{t}`",
    "SELECT key_column_usage.table_schema, key_column_usage.table_name, key_column_usage.column_name"
    " FROM information_schema.key_column_usage WHERE (key_column_usage.table_schema, key_column_usage.table_name) IN"
    " (('shop', '{t}'))",
    "SELECT COUNT(*) FROM `information_schema`.`tables` WHERE `table_schema` = 'shop' AND `table_name` = '{t}'",
    "SELECT information_schema.tables.table_name FROM information_schema.tables WHERE"
    " information_schema.tables.table_schema = 'shop' ORDER BY information_schema.tables.table_name",
)
RAILS = (
    "SELECT table_name FROM (SELECT * FROM information_schema.tables WHERE table_schema = database()) _subquery",
    "SELECT table_name FROM (SELECT * FROM information_schema.tables WHERE table_schema = database()) _subquery"
    " WHERE _subquery.table_type = 'BASE TABLE'",
    "SELECT table_name FROM (SELECT * FROM information_schema.tables WHERE table_schema = database()) _subquery"
    " WHERE _subquery.table_name = '{t}' AND _subquery.table_type = 'VIEW'",
    "SHOW FULL FIELDS FROM `{t}`",
    "SHOW KEYS FROM `{t}`",
    "SELECT table_comment FROM information_schema.tables WHERE table_schema = database() AND table_name = '{t}'",
    "SELECT fk.referenced_table_name AS 'to_table', fk.referenced_column_name AS 'primary_key', fk.column_name AS"
    " 'column', fk.constraint_name AS 'name', fk.ordinal_position AS 'position', rc.update_rule AS 'on_update',"
    " rc.delete_rule AS 'on_delete' FROM information_schema.referential_constraints rc JOIN"
    " information_schema.key_column_usage fk USING (constraint_schema, constraint_name) WHERE"
    " fk.referenced_column_name IS NOT NULL AND fk.table_schema = database() AND fk.table_name = '{t}' AND"
    " rc.constraint_schema = database() AND rc.table_name = '{t}'",
    "SELECT cc.constraint_name AS 'name', cc.check_clause AS 'expression' FROM information_schema.check_constraints"
    " cc JOIN information_schema.table_constraints tc USING (constraint_schema, constraint_name) WHERE"
    " tc.table_schema = database() AND tc.table_name = '{t}' AND cc.constraint_schema = database()"
    " AND cc.table_name = tc.table_name",
    "SELECT column_name FROM information_schema.statistics WHERE index_name = 'PRIMARY' AND table_schema ="
    " database() AND table_name = '{t}' ORDER BY seq_in_index",
    "SELECT SUM(1) FROM information_schema.columns WHERE table_schema = DATABASE()",
)
HIBERNATE = (  # and MariaDB's and MySQL's JDBC drivers
    "SELECT TABLE_SCHEMA TABLE_CAT, NULL TABLE_SCHEM, TABLE_NAME, IF(TABLE_TYPE='BASE TABLE' or TABLE_TYPE='SYSTEM"
    " VERSIONED', 'TABLE', TABLE_TYPE) as TABLE_TYPE, TABLE_COMMENT REMARKS, NULL TYPE_CAT, NULL TYPE_SCHEM, NULL"
    " TYPE_NAME, NULL SELF_REFERENCING_COL_NAME, NULL REF_GENERATION FROM INFORMATION_SCHEMA.TABLES WHERE"
    " TABLE_SCHEMA = 'shop' AND TABLE_NAME LIKE '%' AND TABLE_TYPE IN ('BASE TABLE','SYSTEM VERSIONED','VIEW')"
    " ORDER BY TABLE_TYPE, TABLE_SCHEMA, TABLE_NAME",
    "SELECT TABLE_SCHEMA TABLE_CAT, TABLE_NAME, COLUMN_NAME, UCASE(DATA_TYPE) TYPE_NAME, IF(COLUMN_TYPE like"
    " '%unsigned%', 1, 0), IS_NULLABLE, ORDINAL_POSITION, EXTRA FROM INFORMATION_SCHEMA.COLUMNS WHERE TABLE_SCHEMA"
    " = 'shop' AND TABLE_NAME LIKE '{t}' AND COLUMN_NAME LIKE '%' ORDER BY TABLE_CAT, TABLE_NAME, ORDINAL_POSITION",
    "SELECT A.TABLE_SCHEMA TABLE_CAT, NULL TABLE_SCHEM, A.TABLE_NAME, A.COLUMN_NAME, B.SEQ_IN_INDEX KEY_SEQ,"
    " B.INDEX_NAME PK_NAME FROM INFORMATION_SCHEMA.COLUMNS A, INFORMATION_SCHEMA.STATISTICS B WHERE A.COLUMN_KEY in"
    " ('PRI','pri') AND B.INDEX_NAME='PRIMARY' AND A.TABLE_SCHEMA = 'shop' AND B.TABLE_SCHEMA = 'shop' AND"
    " A.TABLE_NAME = '{t}' AND B.TABLE_NAME = '{t}' AND A.TABLE_SCHEMA = B.TABLE_SCHEMA AND A.TABLE_NAME ="
    " B.TABLE_NAME AND A.COLUMN_NAME = B.COLUMN_NAME ORDER BY A.COLUMN_NAME",
    "SELECT KCU.REFERENCED_TABLE_SCHEMA PKTABLE_CAT, KCU.REFERENCED_TABLE_NAME PKTABLE_NAME,"
    " KCU.REFERENCED_COLUMN_NAME PKCOLUMN_NAME, KCU.TABLE_NAME FKTABLE_NAME, KCU.COLUMN_NAME FKCOLUMN_NAME,"
    " KCU.POSITION_IN_UNIQUE_CONSTRAINT KEY_SEQ, CASE update_rule WHEN 'RESTRICT' THEN 1 WHEN 'NO ACTION' THEN 3"
    " WHEN 'CASCADE' THEN 0 WHEN 'SET NULL' THEN 2 ELSE 4 END UPDATE_RULE, RC.CONSTRAINT_NAME FK_NAME FROM"
    " INFORMATION_SCHEMA.KEY_COLUMN_USAGE KCU INNER JOIN INFORMATION_SCHEMA.REFERENTIAL_CONSTRAINTS RC ON"
    " KCU.CONSTRAINT_SCHEMA = RC.CONSTRAINT_SCHEMA AND KCU.CONSTRAINT_NAME = RC.CONSTRAINT_NAME WHERE"
    " KCU.TABLE_SCHEMA = 'shop' ORDER BY PKTABLE_CAT, PKTABLE_NAME, KEY_SEQ, FK_NAME",
    "SELECT TABLE_SCHEMA TABLE_CAT, TABLE_NAME, NON_UNIQUE, INDEX_NAME, 3 TYPE, SEQ_IN_INDEX ORDINAL_POSITION,"
    " COLUMN_NAME, COLLATION ASC_OR_DESC, NULL FILTER_CONDITION FROM INFORMATION_SCHEMA.STATISTICS WHERE"
    " TABLE_NAME = '{t}' AND TABLE_SCHEMA = 'shop' ORDER BY NON_UNIQUE, TYPE, INDEX_NAME, ORDINAL_POSITION",
    "SHOW FULL TABLES FROM `shop` LIKE '%'",
    "SHOW FULL COLUMNS FROM `{t}` FROM `shop` LIKE '%'",
    "SHOW KEYS FROM `{t}` FROM `shop`",
    "SHOW FULL TABLES FROM `shop` WHERE table_type = 'VIEW'",
    "SELECT SCHEMA_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = 'shop'",
    "SHOW CREATE TABLE `shop`.`{t}`",
)
MYSQLDUMP = (
    "SHOW TABLES",
    "SHOW TABLES LIKE '{t}'",
    "SHOW FULL TABLES LIKE 'o%'",
    "SHOW TABLE STATUS LIKE '{t}'",
    "SHOW TRIGGERS",
    "SHOW TRIGGERS LIKE '{t}'",
    "SHOW FIELDS FROM `{t}`",
    "SHOW CREATE TRIGGER photos_bi",
    "SHOW CREATE TRIGGER shop.photos_bi",
    "SHOW CREATE TRIGGER nothing",
    "SHOW CREATE DATABASE IF NOT EXISTS `shop`",
    "SHOW CREATE VIEW big_accounts",
    "SELECT TRIGGER_NAME, EVENT_OBJECT_TABLE FROM INFORMATION_SCHEMA.TRIGGERS WHERE TRIGGER_SCHEMA = 'shop'",
    "SELECT engine, table_type FROM INFORMATION_SCHEMA.TABLES WHERE table_schema = DATABASE() AND table_name = '{t}'",
    "SHOW DATABASES",
    "SHOW DATABASES LIKE 's%'",
    "SHOW EVENTS",
    "SHOW FUNCTION STATUS WHERE db = 'shop'",
)
TOOLS = (  # DBeaver, phpMyAdmin, HeidiSQL, Adminer, Metabase, DataGrip
    "SHOW FULL TABLES FROM `shop` WHERE Table_type <> 'VIEW'",
    "SHOW TABLES FROM `shop` WHERE Tables_in_shop LIKE '%o%' AND Tables_in_shop <> 'photos'",
    "SHOW TABLES IN shop LIKE '%s'",
    "SHOW TABLE STATUS FROM `shop`",
    "SHOW TABLE STATUS FROM `shop` WHERE Engine IS NOT NULL AND Name IN ('orders', 'photos', 'accounts', 'ghost')",
    "SELECT cc.CONSTRAINT_NAME, cc.CHECK_CLAUSE, tc.TABLE_NAME FROM information_schema.CHECK_CONSTRAINTS cc JOIN"
    " information_schema.TABLE_CONSTRAINTS tc ON tc.CONSTRAINT_NAME = cc.CONSTRAINT_NAME AND tc.TABLE_NAME ="
    " cc.TABLE_NAME AND tc.TABLE_SCHEMA = cc.CONSTRAINT_SCHEMA WHERE cc.CONSTRAINT_SCHEMA = 'shop'"
    " ORDER BY cc.CONSTRAINT_NAME",
    "SELECT * FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = 'shop' ORDER BY TABLE_NAME, ORDINAL_POSITION",
    "SELECT * FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = 'shop' AND TABLE_NAME IN ('orders', 'photos')",
    "SELECT * FROM information_schema.KEY_COLUMN_USAGE WHERE TABLE_SCHEMA='shop' AND"
    " REFERENCED_TABLE_NAME IS NOT NULL ORDER BY CONSTRAINT_NAME, ORDINAL_POSITION",
    "SELECT * FROM information_schema.STATISTICS WHERE TABLE_SCHEMA='shop' AND TABLE_NAME='{t}'"
    " ORDER BY TABLE_NAME, INDEX_NAME, SEQ_IN_INDEX",
    "SELECT * FROM information_schema.STATISTICS WHERE TABLE_SCHEMA='shop'",
    "SELECT * FROM information_schema.TABLES WHERE TABLE_SCHEMA='shop'",
    "SELECT * FROM information_schema.TABLE_CONSTRAINTS WHERE TABLE_SCHEMA = 'shop'",
    "SELECT * FROM information_schema.REFERENTIAL_CONSTRAINTS WHERE CONSTRAINT_SCHEMA = 'shop'",
    "SELECT * FROM information_schema.VIEWS WHERE TABLE_SCHEMA = 'shop'",
    "SELECT * FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = 'shop'",
    "SELECT * FROM information_schema.SCHEMATA WHERE SCHEMA_NAME IN ('shop', 'stats', 'information_schema')",
    "SELECT * FROM information_schema.PARTITIONS WHERE TABLE_SCHEMA = 'shop' AND TABLE_NAME = '{t}'",
    "SELECT ROUTINE_NAME, ROUTINE_TYPE FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = 'shop'",
    "SELECT table_schema, COUNT(*) FROM information_schema.tables WHERE table_schema NOT IN ('information_schema',"
    " 'mysql', 'performance_schema', 'sys', 'turnout') GROUP BY table_schema ORDER BY 1",
    "SELECT t.TABLE_NAME, (SELECT GROUP_CONCAT(c.COLUMN_NAME ORDER BY c.ORDINAL_POSITION) FROM"
    " information_schema.COLUMNS c WHERE c.TABLE_SCHEMA = t.TABLE_SCHEMA AND c.TABLE_NAME = t.TABLE_NAME) AS columns"
    " FROM information_schema.TABLES t WHERE t.TABLE_SCHEMA = 'shop' AND t.TABLE_TYPE = 'BASE TABLE' ORDER BY 1",
    "WITH keyed AS (SELECT TABLE_NAME, COUNT(DISTINCT INDEX_NAME) AS n FROM information_schema.STATISTICS WHERE"
    " TABLE_SCHEMA = 'shop' GROUP BY TABLE_NAME) SELECT t.TABLE_NAME, k.n, RANK() OVER (ORDER BY k.n DESC) FROM"
    " information_schema.TABLES t LEFT JOIN keyed k USING (TABLE_NAME) WHERE t.TABLE_SCHEMA = 'shop' ORDER BY 1",
    "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = 'shop' UNION SELECT TABLE_NAME FROM"
    " information_schema.VIEWS WHERE TABLE_SCHEMA = 'shop' ORDER BY TABLE_NAME LIMIT 4 OFFSET 1",
    "SELECT DISTINCT DATA_TYPE FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = SCHEMA() ORDER BY DATA_TYPE",
    "SELECT p.COMMAND, t.TABLE_NAME FROM information_schema.PROCESSLIST p JOIN information_schema.TABLES t"
    " ON t.TABLE_SCHEMA = 'shop' WHERE p.INFO LIKE '%/* me */%' ORDER BY t.TABLE_NAME",
    "SELECT a.TABLE_NAME, b.TABLE_NAME FROM information_schema.TABLES a JOIN information_schema.TABLES b ON"
    " a.TABLE_NAME < b.TABLE_NAME WHERE a.TABLE_SCHEMA = 'shop' AND b.TABLE_SCHEMA = 'shop' ORDER BY 1, 2",
    "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = 'shop' AND TABLE_NAME = 'ghost'",
    "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = 'shop' AND TABLE_NAME = 'ORDERS'",
    "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = 'SHOP'",
    "SELECT c.COLUMN_NAME, n.i FROM information_schema.COLUMNS c JOIN countries n ON n.i = c.ORDINAL_POSITION"
    " WHERE c.TABLE_SCHEMA = 'shop' AND c.TABLE_NAME = '{t}' ORDER BY 1",
    "SELECT c.COLUMN_NAME, a.id FROM information_schema.COLUMNS c JOIN accounts a ON a.id = c.ORDINAL_POSITION"
    " WHERE c.TABLE_SCHEMA = 'shop' AND c.TABLE_NAME = '{t}' ORDER BY 1",
    "SELECT t.TABLE_NAME, c.COLUMN_NAME FROM information_schema.TABLES t LEFT JOIN information_schema.COLUMNS c ON"
    " c.TABLE_SCHEMA = t.TABLE_SCHEMA AND c.TABLE_NAME = t.TABLE_NAME AND c.TABLE_NAME = 'photos' WHERE"
    " t.TABLE_SCHEMA = 'shop' ORDER BY 1, 2",
    "SELECT TABLE_NAME FROM information_schema.TABLES t WHERE TABLE_SCHEMA = 'shop' AND NOT EXISTS (SELECT * FROM"
    " information_schema.COLUMNS c WHERE c.TABLE_SCHEMA = 'shop' AND c.TABLE_NAME = t.TABLE_NAME AND c.TABLE_NAME ="
    " 'photos') ORDER BY 1",
    "SELECT COUNT(*) FROM information_schema.ENGINES WHERE ENGINE = 'InnoDB'",
    "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = 'mysql' AND TABLE_NAME = 'proc'",
    "SELECT 'it''s' AS s, TABLE_NAME AS `a``b` FROM `information_schema`.`TABLES` WHERE TABLE_SCHEMA = \"shop\" AND"
    " TABLE_NAME LIKE 'p%'",
    "(SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = 'shop' ORDER BY TABLE_NAME LIMIT 2)",
    "SELECT nothing FROM information_schema.TABLES WHERE TABLE_SCHEMA = 'shop'",
    "SELECT TABLES.TABLE_NAME FROM information_schema.TABLES ORDER BY TABLE_SCHEMA = 'shop' DESC, TABLE_NAME LIMIT 5",
)
OTHERS = (  # Laravel, Doctrine, Sequelize, TypeORM, Prisma, Flyway, Liquibase
    "select table_name as `name`, table_comment as `comment`, engine as `engine`, table_collation as `collation` from"
    " information_schema.tables where table_schema = 'shop' and table_type in ('BASE TABLE', 'SYSTEM VERSIONED')"
    " order by table_name",
    "select exists (select 1 from information_schema.tables where table_schema = 'shop' and table_name = '{t}' and"
    " table_type in ('BASE TABLE', 'SYSTEM VERSIONED')) as `exists`",
    "select column_name as `name`, data_type as `type_name`, column_type as `type`, collation_name as `collation`,"
    " is_nullable as `nullable`, column_default as `default`, column_comment as `comment`, extra as `extra` from"
    " information_schema.columns where table_schema = 'shop' and table_name = '{t}' order by ordinal_position asc",
    "select index_name as `name`, group_concat(column_name order by seq_in_index) as `columns`, index_type as `type`,"
    " not non_unique as `unique` from information_schema.statistics where table_schema = 'shop' and table_name ="
    " '{t}' group by index_name, index_type, non_unique",
    "select kc.constraint_name as `name`, group_concat(kc.column_name order by kc.ordinal_position) as `columns`,"
    " kc.referenced_table_name as `foreign_table`, rc.delete_rule as `on_delete` from"
    " information_schema.key_column_usage kc join information_schema.referential_constraints rc on"
    " kc.constraint_schema = rc.constraint_schema and kc.constraint_name = rc.constraint_name where kc.table_schema"
    " = 'shop' and kc.table_name = '{t}' and kc.referenced_table_name is not null group by kc.constraint_name,"
    " kc.referenced_table_name, rc.delete_rule",
    "SELECT DISTINCT k.`CONSTRAINT_NAME`, k.`COLUMN_NAME`, k.`REFERENCED_TABLE_NAME`, k.`REFERENCED_COLUMN_NAME`"
    " /*!50116 , c.UPDATE_RULE, c.DELETE_RULE */ FROM information_schema.key_column_usage k /*!50116 INNER JOIN"
    " information_schema.referential_constraints c ON c.CONSTRAINT_NAME = k.CONSTRAINT_NAME AND c.TABLE_NAME ="
    " k.TABLE_NAME */ WHERE k.TABLE_NAME = '{t}' AND k.TABLE_SCHEMA = 'shop' /*!50116 AND c.CONSTRAINT_SCHEMA ="
    " 'shop' */ ORDER BY k.`ORDINAL_POSITION`",
    "SELECT TABLE_NAME FROM INFORMATION_SCHEMA.TABLES WHERE TABLE_TYPE = 'BASE TABLE' AND TABLE_SCHEMA = 'shop'",
    "SELECT CONSTRAINT_NAME as constraint_name, TABLE_NAME as tableName, COLUMN_NAME as columnName,"
    " REFERENCED_TABLE_NAME as referencedTableName FROM INFORMATION_SCHEMA.KEY_COLUMN_USAGE where"
    " CONSTRAINT_SCHEMA='shop' AND REFERENCED_TABLE_NAME IS NOT NULL AND TABLE_NAME = '{t}'",
    "SELECT * FROM `INFORMATION_SCHEMA`.`COLUMNS` WHERE `TABLE_SCHEMA` = 'shop' AND `TABLE_NAME` = '{t}'"
    " UNION SELECT * FROM `INFORMATION_SCHEMA`.`COLUMNS` WHERE `TABLE_SCHEMA` = 'shop' AND `TABLE_NAME` = 'accounts'",
    "SELECT `s`.* FROM `INFORMATION_SCHEMA`.`STATISTICS` `s` LEFT JOIN"
    " `INFORMATION_SCHEMA`.`REFERENTIAL_CONSTRAINTS` `rc` ON `s`.`INDEX_NAME` = `rc`.`CONSTRAINT_NAME` AND"
    " `s`.`TABLE_SCHEMA` = `rc`.`CONSTRAINT_SCHEMA` WHERE (`s`.`TABLE_SCHEMA` = 'shop' AND `s`.`TABLE_NAME` = '{t}')"
    " AND `s`.`INDEX_NAME` != 'PRIMARY' AND `rc`.`CONSTRAINT_NAME` IS NULL",
    "SELECT `kcu`.`TABLE_NAME`, `kcu`.`COLUMN_NAME`, `rc`.`DELETE_RULE` FROM"
    " `INFORMATION_SCHEMA`.`KEY_COLUMN_USAGE` `kcu` INNER JOIN `INFORMATION_SCHEMA`.`REFERENTIAL_CONSTRAINTS` `rc`"
    " ON `rc`.`CONSTRAINT_SCHEMA` = `kcu`.`CONSTRAINT_SCHEMA` AND `rc`.`CONSTRAINT_NAME` = `kcu`.`CONSTRAINT_NAME`"
    " AND `rc`.`TABLE_NAME` = `kcu`.`TABLE_NAME` WHERE `kcu`.`TABLE_SCHEMA` = 'shop'",
    "SELECT COUNT(1) FROM information_schema.schemata WHERE schema_name='shop' LIMIT 1",
    "SELECT (SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA='shop') + (SELECT COUNT(*) FROM"
    " information_schema.VIEWS WHERE TABLE_SCHEMA='shop') + (SELECT COUNT(*) FROM information_schema.TRIGGERS WHERE"
    " TRIGGER_SCHEMA='shop')",
    "SHOW TABLES FROM shop LIKE 'flyway_schema_history'",
    "SELECT TABLE_SCHEMA, TABLE_NAME, AUTO_INCREMENT > 0 FROM information_schema.TABLES WHERE TABLE_SCHEMA = 'shop'"
    " AND AUTO_INCREMENT IS NOT NULL",
)
ALL = {
    "django": DJANGO,
    "sqlalchemy": SQLALCHEMY,
    "rails": RAILS,
    "hibernate": HIBERNATE,
    "mysqldump": MYSQLDUMP,
    "tools": TOOLS,
    "others": OTHERS,
}
PREPARED = (
    (
        "SELECT count(*) FROM information_schema.tables WHERE table_schema = ? AND table_name = ? AND table_type = ?",
        ("shop", "orders", "BASE TABLE"),
    ),
    (
        "SELECT count(*) FROM information_schema.tables WHERE table_schema = ? AND table_name = ? AND table_type = ?",
        ("shop", "photos", "BASE TABLE"),
    ),
    (
        "SELECT count(*) FROM information_schema.tables WHERE table_schema = ? AND table_name = ? AND table_type = ?",
        ("shop", "ghost", "BASE TABLE"),
    ),
    ("SELECT table_name FROM information_schema.tables WHERE table_schema = ? ORDER BY 1", ("shop",)),
    ("SELECT table_name FROM information_schema.tables WHERE table_schema = ? ORDER BY 1", ("stats",)),
    (
        "SELECT column_name, ordinal_position + ? FROM information_schema.columns WHERE table_schema = DATABASE()"
        " AND table_name LIKE ? ORDER BY table_name, 2",
        (1, "%o%"),
    ),
    (
        "SELECT CONNECTION_ID() > 0 AS me, c.column_name FROM information_schema.columns c WHERE table_schema = 'shop'"
        " AND c.table_name <> ? ORDER BY 2",
        ("x",),
    ),
    (
        "SELECT v.table_name, v.is_updatable, t.table_rows + ? AS more, t.data_length - 1e3 FROM"
        " information_schema.views v RIGHT JOIN information_schema.tables t ON t.table_name = v.table_name WHERE"
        " t.table_schema = 'shop' AND v.table_schema = 'shop' AND v.table_name = ? ORDER BY t.table_name",
        (1, "big_accounts"),
    ),
    (
        "SELECT c.character_maximum_length, c.numeric_precision * 2 AS twice, c.column_name FROM"
        " information_schema.columns c WHERE table_schema = ? ORDER BY c.table_name, c.ordinal_position",
        ("shop",),
    ),
)
