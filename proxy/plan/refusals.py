"""Every refusal of the planner: its slug, what is said, and what to do instead.

The slug is stable (metrics, docs). Sentence and remedy are format strings; together they are the error's message.
"""

from __future__ import annotations

from dataclasses import dataclass

from proxy.errors import StatementRefused


@dataclass(frozen=True, slots=True)
class Refusal:
    slug: str
    sentence: str
    remedy: str
    errno: int = 1235  # ER_NOT_SUPPORTED_YET
    sqlstate: str = "42000"

    def error(self, **names: str) -> StatementRefused:
        """The error that a client gets, with the sentence's blanks filled in."""
        message = f"{self.sentence} {self.remedy}".strip().format(**names)
        return StatementRefused(message, self.errno, self.sqlstate, reason=self.slug)


# -- tables in several places

CROSS_CLUSTER = Refusal(
    "cross-cluster",
    "{first} is on cluster {first_cluster} and {second} on cluster {second_cluster}: Turnout cannot yet carry out one "
    "statement on two clusters.",
    "Use a statement for each, or give both tables the same `cluster:`, or make the smaller one `everywhere: true`.",
)
SHARDED_AND_FIXED = Refusal(
    "sharded-with-other-cluster",
    "{sharded} is sharded by {column} and {fixed} is on cluster {cluster}: Turnout can answer this only when the rows "
    "of {sharded} are on {cluster} too.",
    "Use a statement for each, or make {fixed} `everywhere: true`.",
)
SHARDS_APART = Refusal(
    "not-one-shard",
    "{tables} are sharded and this statement is not limited to one shard.",
    "Give each of them a condition on its key ({conditions}), or join them on their keys.",
)
NOT_ONE_SHARD = Refusal(
    "not-one-shard",
    "{table} is sharded by {column} and this statement, which is not limited to one shard, {why}.",
    "Add a condition {column} = ..., or leave that to the application.",
)
SEVERAL_SHARDS = Refusal(
    "several-shards",
    "The values given for {keys} are on several shards ({clusters}), or are not such that their shard is known.",
    "Use values of the key's own type and one statement per key.",
)
OUTFILE_ELSEWHERE = Refusal(
    "outfile",
    "SELECT .. INTO OUTFILE writes on the server of cluster {home} alone, and {table} is not all there.",
    "Fetch the rows and write the file in the application.",
)

EXECUTE_VALUES = Refusal(
    "execute-values",
    "To carry out this prepared statement its values have to be put into its text, and {why}.",
    "Send it as text, or prepare it again with other values.",
)

# -- merging the rows of several shards

MERGE_FORM = Refusal(
    "merge-form",
    "{table} is sharded by {column}, and this SELECT over several shards sorts, limits or groups its rows in a form "
    "that Turnout does not take apart.",
    "Write it as SELECT .. FROM .. WHERE .. GROUP BY .. ORDER BY .. LIMIT with numbers as limits and `AS` before "
    "aliases, or add a condition {column} = ...",
)
MERGE_STAR = Refusal(
    "merge-star",
    "The rows of several shards have to be compared by all that `{star}` stands for, and which columns these are is "
    "not certain.",
    "Name the columns.",
)
MERGE_LIMIT = Refusal(
    "merge-limit",
    "LIMIT and OFFSET of a SELECT over several shards have to be whole numbers.",
    "Write them as plain digits.",
)
SELECT_LIMIT = Refusal(
    "select-limit",
    "With sql_select_limit = {limit} every shard would limit its own rows instead of all together.",
    "Add a LIMIT to the statement, or SET sql_select_limit = DEFAULT.",
)
UNKNOWN_POSITION = Refusal("unknown-position", "Unknown column '{position}' in '{clause}'", "", 1054, "42S22")
SORT_CONSTANT = Refusal(
    "sort-constant",
    "ORDER BY {expression} over several shards is taken for neither a column's place nor a value.",
    "Name the column, or give its place as a plain number.",
)
SORT_TYPE = Refusal(
    "sort-type",
    "The rows of several shards would have to be compared by {expression}, and Turnout does not know the order of its "
    "type ({type}).",
    "Convert it in the statement, for example CAST({expression} AS CHAR).",
)
SORT_UNKNOWN = Refusal(
    "sort-unknown",
    "The rows of several shards would have to be compared by {expression}, and the columns of {table} are not known.",
    "Check that the table exists on its clusters and that `turnout status` shows them up, then try again.",
)
AMBIGUOUS_NAME = Refusal(
    "sort-ambiguous",
    "In ORDER BY, {name} may mean more than one of the select items and columns.",
    "Give the select item an alias of its own and use that.",
)
ALIAS_IN_EXPRESSION = Refusal(
    "alias-in-expression",
    "{expression} uses the alias {alias} inside of an expression, which Turnout cannot repeat for every shard.",
    "Write out what {alias} stands for, or sort by a select item.",
)
DISTINCT_ORDER = Refusal(
    "distinct-order",
    "SELECT DISTINCT over several shards cannot be sorted by {expression}, which is not one of its select items.",
    "Select it as well, or use GROUP BY.",
)
DISTINCT_UNSTEADY = Refusal(
    "distinct-unsteady",
    "SELECT DISTINCT over several shards cannot compare {expression}, which has another value each time.",
    "Leave DISTINCT or this item out.",
)
MERGE_BIT = Refusal(
    "merge-bit",
    "{column} is of type BIT, which servers send as a number or as bits, depending on how they go about DISTINCT, "
    "GROUP BY, MIN and MAX.",
    "Use {column} + 0.",
)
GROUP_ROLLUP = Refusal(
    "group-rollup",
    "WITH ROLLUP is not supported over several shards.",
    "Ask for the totals with a second statement.",
)
GROUP_HAVING = Refusal(
    "group-having",
    "Where a group's rows may be on several shards, HAVING can compare COUNT, SUM, MIN and MAX with plain numbers, "
    "with AND between comparisons; this one is something else.",
    "Group by the shard key {column} too, or leave the comparison to the application.",
)
GROUP_FOUND_ROWS = Refusal(
    "group-found-rows",
    "SQL_CALC_FOUND_ROWS over several shards goes neither with DISTINCT and LIMIT nor with groups that are put "
    "together from them; nor does DISTINCT with such groups.",
    "Leave it out, or count with a second statement.",
)
GROUP_ITEM = Refusal(
    "group-item",
    "Over several shards, {expression} is neither something that the statement groups by nor COUNT, SUM, MIN, MAX or "
    "AVG alone.",
    "Select these and compute the rest in the application, or group by the shard key {column} too.",
)
GROUP_ORDER = Refusal(
    "group-order",
    "Groups that are put together from several shards can be sorted by what the statement groups by and by the "
    "aggregates that it selects; {expression} is neither.",
    "Select it as well.",
)
GROUP_CONSTANT = Refusal(
    "group-constant",
    "GROUP BY {expression} over several shards is taken for neither a column's place nor a value.",
    "Name the column, or give its place as a plain number.",
)
FOLD_TYPE = Refusal(
    "aggregate-type",
    "{expression} over several shards is of type {type}, which does not tell its values exactly.",
    "Convert them, for example SUM(CAST(x AS DECIMAL(30,6))) or MAX(CAST(x AS DOUBLE)).",
)
FOLD_QUOTIENT = Refusal(
    "aggregate-quotient",
    "{expression} over several shards adds up quotients, of which a server has more digits than it shows.",
    "Say how many count, for example SUM(ROUND(a / b, 6)).",
)
FOLD_OVERFLOW = Refusal(
    "aggregate-overflow",
    "{expression} over several shards has more than 65 digits.",
    "Add up less at a time.",
)
MERGE_MEMORY = Refusal(
    "merge-memory",
    "More than {limit} bytes of groups would have to be kept in Turnout to sort them.",
    "Sort by what the statement groups by, or add a LIMIT.",
)
SORT_COLLATION = Refusal(
    "sort-collation",
    "The rows of several shards would have to be compared by {expression}, and Turnout does not model the order of its "
    "collation {collation}.",
    "Add a COLLATE clause, for example {expression} COLLATE utf8mb4_unicode_ci.",
)
SORT_RESULT_TYPE = Refusal(
    "sort-result-type",
    "The rows of several shards would have to be compared by {expression}, whose values do not tell their order "
    "exactly ({type}).",
    "Convert it in the statement, for example CAST({expression} AS DOUBLE).",
)
SORT_LENGTH = Refusal(
    "sort-length",
    "A value of {expression} is too long to be compared between shards.",
    "Compare a part of it, for example LEFT({expression}, 200).",
)
SORT_ORDER = Refusal(
    "sort-order",
    "{where} did not send its rows in the order of {expression} as Turnout compares them; strings longer than "
    "max_sort_length are sorted by their beginnings only.",
    "Sort by a part of it, for example LEFT({expression}, 200).",
)
MERGE_COLUMNS = Refusal(
    "merge-columns",
    "{where} answered with {found} columns where Turnout counted on {expected}: the table has changed.",
    "Try again in a moment, or name the columns.",
    1105,
    "HY000",
)

# -- the workbench

WORKBENCH_TIED = Refusal(
    "workbench",
    "This SELECT would have to be finished on the workbench, and it {why}.",
    "Leave that out. Without the workbench: {first}",
)
WORKBENCH_TABLE = Refusal(
    "workbench-table",
    "{table} cannot be copied to the workbench: it {why}.",
    "Query it with a statement of its own.",
)
WORKBENCH_ROWS = Refusal(
    "workbench-rows",
    "This SELECT needs more than {limit} rows of other clusters on the workbench.",
    "Add conditions by which fewer rows matter, or raise `workbench.max_rows`.",
    1104,
)
WORKBENCH_TIME = Refusal(
    "workbench-time",
    "This SELECT had no answer from the workbench within {limit} s.",
    "Add conditions by which fewer rows matter, or raise `workbench.max_time`.",
    1317,
    "70100",
)
WORKBENCH_VARIABLE = Refusal(
    "workbench-variable",
    "This SELECT is finished on the workbench and reads a user variable, and the session's user variables may have "
    "changed on the connection that it is pinned to.",
    "Put the value into the statement instead.",
)
WORKBENCH_AROUND = Refusal(
    "workbench-around",
    "{verb} cannot be put around a SELECT that is finished on the workbench.",
    "Send the SELECT itself; TURNOUT EXPLAIN says what happens to it.",
)

# -- looking around

SYSTEM_INSIDE = Refusal(
    "system-inside",
    "{verb} reads {system}, which several clusters have to tell.",
    "SELECT from it first, in a statement of its own.",
)
SYSTEM_BESIDE = Refusal(
    "system-with-moved-table",
    "{system}, which several clusters have to tell, cannot be read in one statement with {table}.",
    "Use a statement for each.",
)
SYSTEM_PLACE = Refusal(
    "system-place",
    "{system} is mentioned where Turnout cannot put the rows of several clusters in its place.",
    "SELECT from it in FROM.",
)
SYSTEM_ROWS = Refusal(
    "system-rows",
    "{system} has more rows on other clusters than Turnout brings together ({limit} bytes).",
    "Add conditions TABLE_SCHEMA = '..' and TABLE_NAME = '..'.",
)
SYSTEM_COLUMN = Refusal(
    "system-column",
    "{system} has no column {column} on cluster {cluster}, whose server is another than that of {home}.",
    "Name the columns that both have.",
)
SHOW_CONDITION = Refusal(
    "show-condition",
    "This SHOW is answered by clusters {clusters}, and its WHERE {why}.",
    "Leave that out, or use LIKE.",
)
SHOW_TOTALS = Refusal(
    "show-totals",
    "The WHERE of this SHOW is about {column}, which is added up over the shards of {table}.",
    "SELECT from information_schema.TABLES, with the same condition.",
)

# -- writing in several places

SEVERAL_WRITES = Refusal(
    "several-writes",
    "This {verb} of {table} would write on clusters {clusters}, and with `transactions: single` a statement writes on "
    "one cluster only.",
    "{advice}or set `transactions: atomic` (or `best_effort`).",
)
UPDATE_KEY = Refusal(
    "update-shard-key",
    "{column} is the shard key of {table}: assigning it would move rows between shards.",
    "Leave it out (or, with a condition on {column}, assign a value of the same shard), or insert the row under its "
    "new key and delete the old one.",
)
KEY_LIST = Refusal(
    "key-list",
    "This {verb} would have to find its rows first and write them by their primary keys, and it {why}.",
    "Without that: {first}",
)
KEY_LIST_PRIMARY = Refusal(
    "key-list-primary",
    "{table} has no primary key by which its rows could be found first and then written.",
    "Give it one. Without that: {first}",
)
KEY_LIST_MEMORY = Refusal(
    "key-list-memory",
    "More than {limit} bytes of rows and keys would have to be kept in Turnout to write them.",
    "Write fewer rows at a time, with a LIMIT or narrower conditions.",
)
KEY_LIST_CHANGED = Refusal(
    "key-list-changed",
    "While the rows of {table} were found and written, others changed them on cluster {cluster}.",
    "Try the statement again.",
    1205,
    "HY000",
)
INSERT_SELECT_LOCKS = Refusal(
    "insert-select-in-transaction",
    "Inside of a transaction an INSERT .. SELECT reads and locks what is there now, which Turnout cannot ask for in a "
    "query with subqueries or UNION whose rows go to other clusters.",
    "Use READ COMMITTED, a statement outside of a transaction, or a plain SELECT.",
)
INSERT_SELECT_SIZE = Refusal(
    "insert-select-size",
    "The rows of this query come to more than {limit} bytes, which Turnout would have to keep until it "
    "can insert them.",
    "Insert fewer at a time.",
)
VALUE_TYPE = Refusal(
    "value-type",
    "The values of {expression} have to go through Turnout to other clusters, and it is {type}, so that its text does "
    "not tell them exactly.",
    "Convert it, for example CAST({expression} AS DOUBLE), or SET time_zone = '+00:00' for times.",
)
MOVE_ROWS = Refusal(
    "update-shard-key",
    "{column} is the shard key of {table}, and assigning it would move rows between shards: {why}.",
    "Leave it out (or, with a condition on {column}, assign a value of the same shard), or insert the row under its "
    "new key and delete the old one.",
)
MOVE_ORDER = Refusal(
    "update-shard-key-order",
    "This UPDATE gives a row of {table} a unique key that another one of its rows had before: whether one server "
    "would let it depends on the order in which it goes over the rows.",
    "Change one row after the other, in an order in which no key is there twice.",
)
UPSERT_UNIQUE = Refusal(
    "unique-key-without-shard-key",
    "{verb} decides by unique keys, and {table} has one without its shard key {column} ({unique}): the row that it "
    "would meet may be on another shard.",
    "Add {column} to that unique key, or use INSERT and UPDATE.",
)

# -- INSERT into a sharded table

INSERT_WITHOUT_KEY = Refusal(
    "insert-without-shard-key",
    "{table} is sharded by {column}, and this INSERT gives it no value of its own in every row.",
    "Name {column} among the columns and give it a literal or a bound value, not NULL, DEFAULT or an expression.",
)
INSERT_KEY_VALUE = Refusal(
    "insert-shard-key-value",
    "{table} is sharded by {column}, and a value given for it is NULL, out of range, too long, not of the column's "
    "type, or has characters whose equality under the column's collation Turnout does not model.",
    "Give a value that is written as the column stores it.",
)
INSERT_KEY_NOWHERE = Refusal(
    "insert-shard-key-unlisted",
    "{table} is sharded by {column}, and the sharding {sharding} has no cluster for a value given for it.",
    "Add the value, or a `default:`, to the sharding.",
)
INSERT_SELECT = Refusal(
    "insert-select-into-sharded",
    "{table} is sharded by {column}, and Turnout cannot spread the rows of this query over the shards.",
    "Run the query first and INSERT its rows with VALUES.",
)
LOAD_NOT_LOCAL = Refusal(
    "load-data-not-local",
    "{table} is on several clusters ({clusters}), and the file of LOAD DATA INFILE is on one of their servers.",
    "Use LOAD DATA LOCAL INFILE, whose file the client sends.",
)
LOAD_FORMAT = Refusal(
    "load-data-format",
    "{table} is on several clusters, which need the lines of the file told apart exactly as a server would, and {why}.",
    "Use FIELDS and LINES with separators like ',' and '\\n', a file in utf8mb4 or latin1, and the plain form of "
    "docs/SQL.md; or INSERT the rows.",
)
LOAD_TIED = Refusal(
    "load-data-not-spread",
    "{table} is on several clusters, and this LOAD DATA {why}.",
    "Write the values into the file, or INSERT the rows.",
)
LOAD_WITHOUT_KEY = Refusal(
    "load-data-without-shard-key",
    "{table} is sharded by {column}, which has to be one of the columns that the file itself has.",
    "Name {column} among the columns, and do not assign it in SET.",
)
LOAD_LINE = Refusal(
    "load-data-line",
    "Line {line} of the rows for {table} {why}. Nothing of the file was loaded.",
    "Correct that line and load the file again.",
)
AUTO_INCREMENT = Refusal(
    "auto-increment-of-sharded",
    "{table} is on several clusters, and the value that this statement gives its AUTO_INCREMENT column {column} is not "
    "certain: Turnout, which counts for all clusters, has to know it.",
    "Leave {column} out (or NULL, DEFAULT, 0), or give it a whole number.",
)
UPDATE_ID = Refusal(
    "update-auto-increment",
    "{table} is on several clusters, and this UPDATE assigns its AUTO_INCREMENT column {column}: a row could get an id "
    "that the column's sequence gives to another.",
    "Leave {column} out, or delete the row and insert it with its new id.",
)
NO_SEQUENCE = Refusal(
    "no-sequence",
    "{advice} The AUTO_INCREMENT column {column} of {table} takes its values from a table on cluster {home} that "
    "Turnout's own account cannot use: {why}.",
    "",
    1105,
    "HY000",
)
COLUMN_COUNT = Refusal(
    "column-count",
    "Column count doesn't match value count at row {row}",
    "",
    1136,
    "21S01",
)
SPLIT_NEEDS_ONE = Refusal(
    "split-insert",
    "The rows of this INSERT into {table} are on several shards ({clusters}), and it {why}.",
    "Insert the rows of each shard with a statement of their own.",
)

# -- tables that are everywhere

EVERYWHERE_DIFFERS = Refusal(
    "everywhere-not-deterministic",
    "{table} is on every cluster, and this {verb} {why}: its copies would come to differ.",
    "{advice}",
)
EVERYWHERE_MIXED = Refusal(
    "everywhere-with-other-tables",
    "{table} is on every cluster, and this {verb} also concerns {other}, which is not.",
    "Write to {table} with a statement of its own that gives values.",
)

# -- schema

DIRECTORY_WRITE = Refusal(
    "directory-write",
    "{table} says where the rows of the sharding {sharding} are, and {verb} would change that while they stay.",
    "New keys may be inserted; docs/RULES.md has the steps by which a key's rows and its entry move together.",
)
SCHEMA_UNKNOWN = Refusal(
    "schema-unknown",
    "The schema of {table} is not known yet: none of its clusters ({clusters}) has told it.",
    "Check that the table exists there and that `turnout status` shows the clusters up, then try again.",
    1105,
    "HY000",
)
KEY_UNUSABLE = Refusal(
    "shard-key-unusable",
    "{table} cannot be sharded as the rules say: {why}.",
    "`turnout check` tells what to change.",
    1105,
    "HY000",
)
VIEW_OF_MOVED = Refusal(
    "view-of-moved-table",
    "The view {view} on cluster {cluster} reads {table}, which is not (or not only) there.",
    "Query the tables themselves, or create the view on the cluster that holds its tables and give it a `cluster:` "
    "rule.",
)
VIEW_UNREADABLE = Refusal(
    "view-unreadable",
    "{view} is a view whose definition Turnout's service account may not read, and other tables have left home.",
    "Grant SHOW VIEW to that account.",
)

# -- statements that work on a server rather than on rows

DDL_ON_SEVERAL = Refusal(
    "ddl-on-several",
    "{table} is on clusters {clusters}, and {why}.",
    "Send it to one of them by /* turnout: cluster=NAME */, or to each in turn.",
)
DDL_MIXED = Refusal(
    "ddl-on-several",
    "The tables of this statement are not on the same clusters ({tables}).",
    "Use a statement for each, or give them the same place in the rules.",
)
DDL_SELECT = Refusal(
    "create-select-into-several",
    "{table} is on clusters {clusters}: CREATE TABLE .. SELECT would put the same rows on each.",
    "CREATE TABLE with its columns first, then INSERT the rows.",
)
DDL_SHARD_KEY = Refusal(
    "ddl-shard-key",
    "{table} is sharded by {column}, and this statement {why}.",
    "{advice}",
)
DDL_NUMBERS = Refusal(
    "ddl-auto-increment",
    "{table} is sharded, and a new AUTO_INCREMENT column {column} would be numbered from 1 on every shard.",
    "Add {column} without AUTO_INCREMENT, give every row its number, then MODIFY it.",
)
DDL_FOREIGN_KEY = Refusal(
    "ddl-foreign-key",
    "The foreign key ({columns}) of {table} to {other} {why}.",
    "{advice}",
)
DDL_RENAME = Refusal(
    "ddl-rename",
    "By the rules {other} is not where {table} is, or is sharded differently: under that name its rows would not be "
    "found.",
    "Give {other} an entry in the rules like that of {table} first.",
)
DDL_EXCHANGE = Refusal(
    "ddl-rename",
    "This statement gives {tables} each other's names on several clusters: if it ended half-way, nobody could tell "
    "where it has been done.",
    "Rename one of them to a new name, and the others in a second statement.",
)
DDL_READS_SHARDED = Refusal(
    "ddl-on-several",
    "This statement would make an object on cluster {cluster} that depends on {table}, which is on clusters "
    "{clusters}.",
    "Create it where it is needed, on every cluster: {hints}",
)
TABLE_WORK_ON_SEVERAL = Refusal(
    "table-work-on-several",
    "{what} works on one server, and {table} is on clusters {clusters}.",
    "Send it once for each: {hints}",
)
LOCK_ON_SEVERAL = Refusal(
    "lock-tables-on-several",
    "LOCK TABLES works on one server, and {table} is on clusters {clusters}.",
    "Use a transaction with SELECT .. FOR UPDATE.",
)
SQL_PREPARE = Refusal(
    "sql-prepare",
    "{verb} of tables on several clusters puts the values into the statement's text, and {why}.",
    "Write it differently, or use the client library's prepared statements.",
)
SET_STATEMENT = Refusal(
    "set-statement",
    "SET STATEMENT cannot be put around {verb}, which Turnout answers itself.",
    "Use SET SESSION before it.",
)
SQL_LOG_BIN = Refusal(
    "sql-log-bin",
    "SET sql_log_bin is not possible through Turnout: replicas and the cache follow the binary log, and would never "
    "hear of what is written without it.",
    "Connect to the server itself for maintenance, and empty the cache afterwards: start Turnout again, or ALTER TABLE "
    ".. COMMENT the tables concerned.",
)
EXPLAIN_WRITES = Refusal(
    "explain-of-several-writes",
    "ANALYZE carries the statement out, which writes on clusters {clusters}, and its answer is that of one.",
    "Explain it with a condition that leads to one shard, or with /* turnout: cluster=NAME */.",
)

# -- text that was not understood

NOT_UNDERSTOOD = Refusal(
    "not-understood",
    "Turnout could not read this statement{why}, and it mentions `{word}`, which is not, or not only, on cluster "
    "{cluster}.",
    "Write it differently, or say where it runs: /* turnout: cluster=NAME */.",
)
HINT_UNKNOWN = Refusal(
    "hint-unknown",
    "The hint `{word}` is not one of cluster=NAME, primary and no-cache.",
    "Correct or remove the comment.",
)
HINT_CLUSTER = Refusal(
    "hint-cluster",
    "The hint names the cluster {cluster}, which is not in the rules.",
    "The clusters are {clusters}.",
)

ALL: tuple[Refusal, ...] = tuple(value for value in list(globals().values()) if isinstance(value, Refusal))
