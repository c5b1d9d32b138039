"""Writes at random whose answer is certain: what is limited is sorted, and what is joined meets one row."""

from __future__ import annotations

import random

# Table -> its number, which is there once, and the columns that may be assigned besides n.
TABLES = {
    "things": ("id", ("s", "d", "l", "hidden")),
    "people": ("id", ()),
    "parts": ("part", ()),
    "words": ("id", ()),
    "photos": ("id", ("title",)),
    "users": ("id", ("name",)),
}
BY_K = ("things", "people", "parts")


class Writes:
    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._step = 0
        self._inside = False

    def make(self) -> str:
        """The next statement."""
        self._step += 1
        kinds = {
            self._update: 6,
            self._move: 6,
            self._delete: 3,
            self._joined_update: 4,
            self._joined_delete: 2,
            self._insert_select: 6,
            self._insert: 2,
            self._read: 2,
            self._copies: 2,
            self._transaction: 4,
        }
        return self._rng.choices(list(kinds), list(kinds.values()))[0]()

    def _table(self, *but: str) -> str:
        return self._rng.choice([name for name in TABLES if name not in but])

    def _condition(self, table: str, depth: int = 0) -> str:
        rng = self._rng
        number = f"{table}.{TABLES[table][0]}"
        low = rng.randrange(50)
        choices = [
            f"{number} BETWEEN {low} AND {low + rng.randrange(1, 25)}",
            f"{number} % {rng.randrange(2, 6)} = {rng.randrange(2)}",
            f"{table}.n > {rng.randrange(-2, 25)}",
            f"{table}.n IS {rng.choice(('', 'NOT '))}NULL",
        ]
        if table in (*BY_K, "photos"):
            values = ", ".join(str(rng.randrange(30)) for _ in range(rng.randrange(1, 5)))
            choices += [f"{table}.k IN ({values})", f"{table}.k = {rng.randrange(30)}"]
        if not depth and rng.random() < 0.35:
            other = self._table(table)
            inner = self._condition(other, 1)
            theirs = f"{other}.{TABLES[other][0]}"
            choices = [
                f"{table}.n IN (SELECT {other}.n FROM {other} WHERE {inner})",
                f"{number} IN (SELECT {theirs} FROM {other} WHERE {inner})",
                f"EXISTS (SELECT 1 FROM {other} WHERE {theirs} = {number} AND {inner})",
                f"{number} NOT IN (SELECT {theirs} FROM {other} WHERE {inner})",
                f"{table}.n > (SELECT AVG({other}.n) FROM {other} WHERE {inner})",
            ]
        chosen = rng.choice(choices)
        return f"{chosen} AND {self._condition(table, 1)}" if rng.random() < 0.2 else chosen

    def _limit(self, table: str) -> str:
        if self._rng.random() > 0.35:
            return ""
        direction = self._rng.choice(("", " DESC"))
        first = self._rng.choice(("", f"{table}.n{direction}, "))
        return f" ORDER BY {first}{table}.{TABLES[table][0]}{direction} LIMIT {self._rng.randrange(1, 12)}"

    def _value(self, table: str) -> str:
        return self._rng.choice(("n + 1", str(self._rng.randrange(-9, 99)), "NULL", f"{TABLES[table][0]} * 2", "n"))

    def _sets(self, table: str) -> str:
        sets = [f"n = {self._value(table)}"]
        for column in TABLES[table][1]:
            if self._rng.random() < 0.3:
                sets.append(f"{column} = " + self._rng.choice(("'1'", f"{TABLES[table][0]}", "DEFAULT", "'7.5'")))
        self._rng.shuffle(sets)
        return ", ".join(sets)

    def _update(self) -> str:
        table = self._table()
        return f"UPDATE {table} SET {self._sets(table)} WHERE {self._condition(table)}{self._limit(table)}"

    def _move(self) -> str:
        rng = self._rng
        table = rng.choice((*BY_K, "words"))
        number = TABLES[table][0]
        if table == "words":
            key = "w = " + rng.choice(("'fox'", "CONCAT('x', id)", "LEFT(CONCAT(w, 'es'), 20)", "UPPER(w)"))
        else:
            key = "k = " + rng.choice((str(rng.randrange(40)), f"{number} % 17", f"k + {rng.randrange(1, 50)}", "k"))
        sets = [key, f"n = {self._value(table)}"] if rng.random() < 0.5 else [key]
        return f"UPDATE {table} SET {', '.join(sets)} WHERE {self._condition(table)}{self._limit(table)}"

    def _delete(self) -> str:
        table = self._table()
        return f"DELETE FROM {table} WHERE {self._condition(table)}{self._limit(table) or self._few(table)}"

    def _few(self, table: str) -> str:
        return f" ORDER BY {table}.{TABLES[table][0]} LIMIT {self._rng.randrange(1, 6)}"

    def _joined(self) -> tuple[str, str, str]:
        one = self._table()
        other = self._table(one)
        on = f"{other}.{TABLES[other][0]} = {one}.{TABLES[one][0]}"
        return one, other, self._rng.choice((f"{one} JOIN {other} ON {on}", f"{one} LEFT JOIN {other} ON {on}"))

    def _joined_update(self) -> str:
        one, other, joined = self._joined()
        value = self._rng.choice((f"{other}.n", f"{other}.n + {one}.n", f"COALESCE({other}.n, 5)", "33"))
        text = f"UPDATE {joined} SET {one}.n = {value}"
        if "JOIN" in joined and "LEFT" not in joined and value == "33" and self._rng.random() < 0.5:
            text += f", {other}.n = 44"
        return f"{text} WHERE {self._condition(one, 1)}"

    def _joined_delete(self) -> str:
        one, other, joined = self._joined()
        targets = self._rng.choice((one, f"{one}, {other}"))
        return f"DELETE {targets} FROM {joined} WHERE {self._condition(one, 1)} AND {one}.{TABLES[one][0]} % 7 = 1"

    def _insert_select(self) -> str:
        rng = self._rng
        into, source = self._table(), self._table()
        number = f"{source}.{TABLES[source][0]}"
        key = rng.choice((number, str(rng.randrange(40))))
        if source in BY_K:
            key = rng.choice((key, f"{source}.k", f"{source}.k + 3"))
        columns = {TABLES[into][0]: f"{number} + {1000 * self._step}", "n": f"{source}.n"}
        if into in (*BY_K, "photos"):
            columns["k"] = key
        elif into == "words":
            columns["w"] = rng.choice(("'new'", f"CONCAT('w', {number})"))
        if into == "people":
            columns["name"] = f"CONCAT('s{self._step}-', {number})"
        if into == "things" and rng.random() < 0.5:
            columns.update(
                d=f"{number} / 8", s=rng.choice(("'é'", f"CONCAT({source}.n, 'x')")), at="'2024-02-29 1:2:3'"
            )
        if into == "things" and source == "things":
            columns.update(dd="dd", at="at", raw="raw", bits="bits", l="l")
        names = list(columns)
        rng.shuffle(names)
        verb = rng.choice(("INSERT", "INSERT", "REPLACE")) if into != "people" else "INSERT"
        tail, numbers = "", f"{number} < 1000"
        if rng.random() < 0.3 and into in ("photos", "users"):  # whose numbers stay what they are: there once
            columns[TABLES[into][0]] = number  # rows may be in the way
            numbers = f"{number} BETWEEN 1 AND 999"  # for 0 a server makes an id, which depends on those it has lost
            verb, tail = rng.choice((("INSERT IGNORE", ""), ("INSERT", " ON DUPLICATE KEY UPDATE n = 77")))
        items = ", ".join(columns[name] for name in names)
        return (
            f"{verb} INTO {into} ({', '.join(names)}) SELECT {items} FROM {source} "
            f"WHERE {numbers} AND {self._condition(source, 0 if not self._inside else 1)} ORDER BY {number}{tail}"
        )

    def _insert(self) -> str:
        step = 500_000 + self._step
        return self._rng.choice(
            (
                f"INSERT INTO parts VALUES ({self._step % 40}, {step}, 1), ({self._step % 23}, {step + 100_000}, 2)",
                f"INSERT INTO people VALUES ({step}, {self._step % 40}, 'i{step}', 1)",
                f"INSERT INTO photos VALUES ({step}, {self._step % 40}, 1, 'i')",
            )
        )

    def _copies(self) -> str:
        """Of the table that every cluster has."""
        other = self._table()
        inner = f"SELECT {other}.n FROM {other} WHERE {self._condition(other, 1)} AND {other}.n IS NOT NULL"
        return self._rng.choice(
            (
                f"DELETE FROM kinds WHERE i IN ({inner}) ORDER BY i LIMIT 2",
                f"UPDATE kinds SET kind = CONCAT('k', {self._step}) WHERE i IN ({inner})",
                f"UPDATE kinds JOIN {other} ON {other}.{TABLES[other][0]} = kinds.i SET kind = {other}.n",
                f"REPLACE INTO kinds SELECT DISTINCT {other}.n, 'x' FROM {other} WHERE {other}.n IS NOT NULL",
            )
        )

    def _read(self) -> str:
        return f"SELECT * FROM people WHERE k = {self._rng.randrange(20)}"

    def _transaction(self) -> str:
        if not self._inside:
            self._inside = True
            return "BEGIN"
        choice = self._rng.choice(("COMMIT", "ROLLBACK", "SAVEPOINT here", "UPDATE parts SET n = n + 1", "COMMIT"))
        self._inside = choice not in ("COMMIT", "ROLLBACK")
        return choice

    def end(self) -> str:
        """What ends a transaction that is open."""
        self._inside = False
        return "COMMIT"
