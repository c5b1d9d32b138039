"""The `mariadb` shell: statements by its standard input, rows by its output as tab-separated text."""

from __future__ import annotations

import re
import subprocess
from itertools import count

from tests.clients.jobs import Job
from tests.clients.scenario import (
    BIG,
    DATABASE,
    HUGE,
    HUGE_TIMES,
    HUGE_UNIT,
    KIND_COLUMNS,
    KINDS,
    LOAD,
    LOADED,
    LOADED_TABLE,
    NOTES,
    SECOND_DATABASE,
    SELECT_TYPES,
    SEVERAL,
    SEVERAL_WRONG,
    STORED,
    STREAMED,
    TABLES,
    Error,
    Seen,
    digest,
    shown,
)
from tests.clients.target import HOST, Target

_ESCAPES = {"\\n": "\n", "\\t": "\t", "\\0": "\0", "\\\\": "\\"}
_ERROR = re.compile(r"^ERROR (\d+) \((\w+)\)(?: at line \d+)?: (.*)$", re.MULTILINE)


class Shell:
    """A script is one run of the shell; `select` puts a mark before what the statement answers."""

    def __init__(self, target: Target, *options: str) -> None:
        self._target = target
        self._options = options
        self._script: list[str] = []
        self._marks = count()

    def say(self, *statements: str, end: str = ";") -> None:
        self._script += [f"{statement}{end}\n" for statement in statements]

    def select(self, statement: str, end: str = ";") -> int:
        mark = next(self._marks)
        self.say(f"SELECT 'mark {mark}'", statement, end=end)
        return mark

    def run(self) -> Answers:
        target = self._target
        # The character set is what Debian's own configuration of the shell says.
        argv = ["mariadb", "--no-defaults", "--default-character-set=utf8mb4", "--batch", "--skip-column-names"]
        argv += self._options
        argv += [f"--host={HOST}", f"--port={target.port}", f"--user={target.user}", f"--database={target.database}"]
        argv.append(f"--password={target.password}")
        if target.ca:
            argv += ["--ssl", f"--ssl-ca={target.ca}", "--ssl-verify-server-cert"]
        if target.cert:
            argv += [f"--ssl-cert={target.cert}", f"--ssl-key={target.key}"]
        script = "".join(self._script).encode()
        done = subprocess.run(argv, input=script, capture_output=True, check=False, timeout=60)
        return Answers(done.stdout.decode(), done.stderr.decode())


class Answers:
    def __init__(self, output: str, errors: str) -> None:
        self.output = output
        parts = re.split(r"^mark \d+\n", output, flags=re.MULTILINE)[1:]
        self._rows = [[line.split("\t") for line in part.splitlines()] for part in parts]
        self.errors: list[Error] = [[int(found[1]), found[2], found[3]] for found in _ERROR.finditer(errors)]
        if errors and not self.errors:
            raise AssertionError(f"the shell says {errors}")

    def rows(self, mark: int) -> list[list[str | None]]:
        return [[_unescaped(value) for value in row] for row in self._rows[mark]]

    def row(self, mark: int) -> list[str | None]:
        (row,) = self.rows(mark)
        return row

    def value(self, mark: int) -> str | None:
        (value,) = self.row(mark)
        return value


def _unescaped(value: str) -> str | None:
    return None if value == "NULL" else re.sub(r"\\[nt0\\]", lambda found: _ESCAPES[found[0]], value)


def quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


def literal(value: object) -> str:
    match value:
        case None:
            return "NULL"
        case bytes():
            return f"X'{value.hex()}'"
        case int() | float():
            return str(value)
        case _:
            return quoted(shown(value) or "")


def carry_out(job: Job) -> Seen:
    match job.action:
        case "play":
            return play(job.target, job.huge)
        case "several":
            return _several(job.target)
        case "infile":
            return _infile(job.target, job.file)
        case "compress":
            return _compressed(job.target)
        case _:
            return log_in(job.target)


def _several(target: Target) -> Seen:
    """Results follow each other without a mark in between: one list of all rows, and the error."""
    shell = Shell(target, "--force", "--delimiter=//")
    marks = [shell.select(statement, end="//") for statement in (SEVERAL, SEVERAL_WRONG, "SELECT 'after'")]
    answers = shell.run()
    results, wrong = answers.rows(marks[0]), answers.rows(marks[1])
    return {"results": results, "wrong": [wrong, *answers.errors], "after": answers.value(marks[2])}


def _infile(target: Target, file: str) -> Seen:
    shell = Shell(target, "--force", "--local-infile=1")
    shell.say(LOADED_TABLE)
    affected = shell.select(LOAD.format(file))
    shell.say("SELECT ROW_COUNT()")
    shell.say(LOAD.format(f"{file}.missing"))
    loaded, after = shell.select(LOADED), shell.select("SELECT 'after'")
    answers = shell.run()
    seen: Seen = {"affected": int(answers.value(affected) or 0), "missing": answers.errors}
    return {**seen, "loaded": answers.row(loaded), "after": answers.value(after)}


def _compressed(target: Target) -> Seen:
    shell = Shell(target, "--compress")
    sent = shell.select(f"SELECT SHA2('{'y' * 3_000_000}', 256)")
    received = shell.select("SELECT REPEAT('z', 3000000)")
    answers = shell.run()
    return {"sent": answers.value(sent), "received": digest(answers.value(received))}


def log_in(target: Target) -> Seen:
    shell = Shell(target)
    mark = shell.select("SELECT 'in'")
    answers = shell.run()
    return {"error": answers.errors[0]} if answers.errors else {"answer": answers.value(mark)}


def play(target: Target, huge: bool) -> Seen:
    seen: Seen = {}
    shell = Shell(target)
    session = shell.select("SELECT CONNECTION_ID() > 0, DATABASE(), CURRENT_USER()")
    shell.say(*TABLES)

    inserted = []
    for notes in (NOTES[:1], NOTES[1:2], NOTES[2:]):
        shell.say("INSERT INTO notes (note) VALUES " + ", ".join(f"({quoted(note)})" for note in notes))
        inserted.append(shell.select("SELECT LAST_INSERT_ID()"))
    shell.say("PREPARE note FROM 'SELECT note FROM notes WHERE id = ?'")
    by_id = []
    for number in (3, 1, 99, 5):
        shell.say(f"SET @id = {number}")
        by_id.append(shell.select("EXECUTE note USING @id"))
    shell.say("DEALLOCATE PREPARE note")

    shell.say(f"INSERT INTO kinds (id, {KIND_COLUMNS}) VALUES (1, {', '.join(map(literal, KINDS))})")
    columns = KIND_COLUMNS.replace(" data", " CONCAT('x:', LOWER(HEX(data)))")
    kinds = shell.select(f"SELECT {columns} FROM kinds WHERE id = 1")

    stored = shell.select(STORED)
    counted = []
    for end in ("ROLLBACK", "COMMIT"):
        shell.say("START TRANSACTION", f"INSERT INTO notes (note) VALUES ('{end}')", end)
        counted.append(shell.select("SELECT COUNT(*) FROM notes"))
    shell.say("DO CAST('12abc' AS SIGNED)")
    warnings = shell.select("SHOW WARNINGS")
    shell.say(f"INSERT INTO files VALUES (1, X'{BIG.hex()}')")
    big = shell.select("SELECT HEX(content) FROM files WHERE id = 1")
    shell.say(f"USE {SECOND_DATABASE}")
    databases = [shell.select("SELECT DATABASE()"), shell.select("SELECT mark FROM marks")]
    shell.say(f"USE {DATABASE}")
    databases.append(shell.select("SELECT DATABASE()"))
    streamed = shell.select(f"SELECT seq FROM seq_1_to_{STREAMED}")

    shell.say("CALL doubled(21, @twice)")
    out = shell.select("SELECT @twice")

    answers = shell.run()
    assert not answers.errors, answers.errors
    seen["out"] = answers.value(out)
    seen["session"] = answers.row(session)
    seen["insert ids"] = [answers.value(mark) for mark in inserted]
    seen["notes by id"] = [rows[0][0] if (rows := answers.rows(mark)) else None for mark in by_id]
    seen["kinds"] = answers.row(kinds)
    seen["stored"] = answers.value(stored)
    seen["after rollback"], seen["after commit"] = map(answers.value, counted)
    seen["warnings"] = answers.rows(warnings)
    seen["big"] = digest(bytes.fromhex(answers.value(big) or ""))
    seen["databases"] = [answers.value(mark) for mark in databases]
    seen["streamed"] = str(sum(int(row[0] or 0) for row in answers.rows(streamed)))
    seen["duplicate"], seen["syntax"], seen["no table"] = _errors(target)
    _types(target, seen)
    seen["halfway"] = _results(target, "CALL halfway()")
    seen["results"] = _results(target, "CALL several(7)")
    if huge:
        shell = Shell(target, "--max-allowed-packet=64M")
        sent = shell.select(f"SELECT SHA2('{HUGE}', 256)")
        received = shell.select(f"SELECT REPEAT('{HUGE_UNIT}', {HUGE_TIMES})")
        answers = shell.run()
        seen["huge sent"], seen["huge received"] = answers.value(sent), digest(answers.value(received))
    seen["killed"] = _killed(target)
    return seen


def _types(target: Target, seen: Seen) -> None:
    """Also as the shell shows columns, and of a statement prepared by PREPARE."""
    shell = Shell(target, "--binary-as-hex")
    text = shell.select(SELECT_TYPES.format(0))
    shell.say(f"PREPARE types FROM '{SELECT_TYPES.format('?')}'", "SET @least = 0")
    prepared = shell.select("EXECUTE types USING @least")
    answers = shell.run()
    assert not answers.errors, answers.errors
    seen["types as text"], seen["types prepared"] = answers.rows(text), answers.rows(prepared)
    shell = Shell(target, "--column-type-info")
    shell.say(SELECT_TYPES.format(4))  # one row, of NULLs
    seen["type columns"] = shell.run().output


def _results(target: Target, call: str) -> list[object]:
    """Results of a procedure follow each other without a mark in between: one list of all rows, and the error."""
    shell = Shell(target)
    called = shell.select(call)
    answers = shell.run()
    return [answers.rows(called), *answers.errors]


def _errors(target: Target) -> list[Error]:
    shell = Shell(target, "--force")
    shell.say("INSERT INTO notes VALUES (1, 'again')", "SELEKT 1", "SELECT * FROM missing")
    return shell.run().errors


def _killed(target: Target) -> list[str | None]:
    shell = Shell(target)
    shell.say("KILL CONNECTION_ID()", "DO 1")
    state = "lost" if shell.run().errors else "still there"
    shell = Shell(target)
    again = shell.select("SELECT 'again'")
    return [state, shell.run().value(again)]
