"""LOAD DATA: the clauses that say how the file is to be read, and where they stand.

Grammar (MariaDB's sql_yacc.yy, `load`; MySQL's is the same but for what may stand between table and SET):

    LOAD DATA [LOW_PRIORITY | CONCURRENT] [LOCAL] INFILE 'file' [REPLACE | IGNORE] INTO TABLE t [PARTITION (..)]
    [CHARACTER SET c] [FIELDS | COLUMNS [TERMINATED BY s] [[OPTIONALLY] ENCLOSED BY s] [ESCAPED BY s]]
    [LINES [STARTING BY s] [TERMINATED BY s]] [IGNORE n LINES | ROWS] [(column or @variable, ..)] [SET column = .., ..]
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from parser.changes import read_name
from parser.effects import of_tokens
from parser.rows import closing, split_commas, value_of
from parser.source import Recurse, Source, table_list, word_at
from parser.statement import Access, Effect, Hole, Kind, LoadData, Statement, TableRef
from parser.tokens import Of, Token
from parser.tree import NotUnderstood

_OPTIONS = {
    ("FIELDS", "TERMINATED"): "fields_terminated",
    ("FIELDS", "ENCLOSED"): "enclosed",
    ("FIELDS", "ESCAPED"): "escaped",
    ("LINES", "STARTING"): "lines_starting",
    ("LINES", "TERMINATED"): "lines_terminated",
}


def load_statement(tokens: Sequence[Token], source: Source, recurse: Recurse) -> Statement:
    """LOAD DATA, LOAD XML and LOAD INDEX. Raises NotUnderstood."""
    if word_at(tokens, 1) == "INDEX":
        return table_list(tokens, 4, Access.WRITE)
    if word_at(tokens, 1) not in ("DATA", "XML"):
        raise NotUnderstood("LOAD of something unknown")
    if any(t.word == "SELECT" for t in tokens):
        raise NotUnderstood("LOAD DATA with a subquery")
    into = next((i for i, t in enumerate(tokens) if t.word == "INTO" and word_at(tokens, i + 1) == "TABLE"), None)
    if into is None:
        raise NotUnderstood("LOAD DATA into no table")
    database, name, _ = read_name(tokens, into + 2)
    load = _Reader(tokens, source).read() if word_at(tokens, 1) == "DATA" else None
    if load is None:
        effects = of_tokens(tokens)
        if any(t.of is Of.VARIABLE for t in tokens):
            effects |= _VARIABLES
    else:
        effects = load.effects
    effects |= Effect.WRITES
    if any(t.word == "LOCAL" for t in tokens[2:5]):
        effects |= Effect.LOCAL_INFILE
    table = TableRef(0, database, name, name, 0, Access.WRITE)
    return Statement(Kind.LOAD_DATA, tables=(table,), effects=effects, load=load)


_VARIABLES = Effect.READS_USER_VARIABLE | Effect.SETS_USER_VARIABLE  # (a, @b) SET c = @b


@dataclass(slots=True)
class _Reader:
    tokens: Sequence[Token]
    source: Source
    at: int = 2
    found: dict[str, Hole] = field(default_factory=dict)

    def read(self) -> LoadData | None:
        """None where the statement has another form."""
        self._skip("LOW_PRIORITY", "CONCURRENT")
        local = self._skip("LOCAL")
        if not self._skip("INFILE"):
            return None
        file = self._string()
        replace, ignore = self._skip("REPLACE"), self._skip("IGNORE")
        if file is None or (replace and ignore) or not (self._skip("INTO") and self._skip("TABLE")):
            return None
        _, _, self.at = read_name(self.tokens, self.at)
        partitioned = word_at(self.tokens, self.at) == "PARTITION"
        if partitioned:
            end = closing(self.tokens, self.at + 1) if self._mark(self.at + 1, "(") else None
            if end is None:
                return None
            self.at = end + 1
        charset = ""
        if self._skip("CHARSET") or (self._skip("CHARACTER") and self._skip("SET")):
            token = self._next()
            charset = token.text.lower() if token is not None and token.is_name() else "?"
        elif word_at(self.tokens, self.at - 1) == "CHARACTER":
            return None
        optionally = False
        if self._skip("FIELDS", "COLUMNS"):
            while word_at(self.tokens, self.at) in ("TERMINATED", "OPTIONALLY", "ENCLOSED", "ESCAPED"):
                optionally |= self._skip("OPTIONALLY")
                if not self._option("FIELDS"):
                    return None
        if self._skip("LINES"):
            while word_at(self.tokens, self.at) in ("STARTING", "TERMINATED"):
                if not self._option("LINES"):
                    return None
        begin = self._offset(self.at)
        ignored = None
        if self._skip("IGNORE"):
            token = self._next()
            if token is None or token.of is not Of.NUMBER or not self._skip("LINES", "ROWS"):
                return None
            ignored = Hole(token.hole, False)
        ignore_span = (begin, self._end(self.at - 1) if ignored is not None else begin)
        columns: tuple[str, ...] | None = None
        columns_at = -1
        effects = Effect.NONE
        if self._mark(self.at, "("):
            end = closing(self.tokens, self.at)
            if end is None:
                return None
            columns_at = self._end(self.at)
            names = []
            for part in split_commas(self.tokens[self.at + 1 : end]) if end > self.at + 1 else []:
                if len(part) == 1 and part[0].of is Of.VARIABLE and not part[0].text.startswith("@@"):
                    effects |= Effect.SETS_USER_VARIABLE
                    names.append(part[0].text)
                elif len(part) % 2 and all(t.is_mark(".") if i % 2 else t.is_name() for i, t in enumerate(part)):
                    names.append(part[-1].text.lower())
                else:
                    return None
            columns = tuple(names) or None
            self.at = end + 1
        assigned: list[str] = []
        assigns = any(t.is_mark(":=") for t in self.tokens[self.at :])
        if self._skip("SET"):
            values = self.tokens[self.at :]
            effects |= of_tokens(values) & ~Effect.READS_USER_VARIABLE
            if any(
                t.of is Of.VARIABLE and not t.text.startswith("@@") and t.text not in (columns or ()) for t in values
            ):
                effects |= Effect.READS_USER_VARIABLE
            for part in split_commas(self.tokens[self.at :]):
                at = next((i for i, t in enumerate(part) if t.is_mark("=") or t.is_mark(":=")), None)
                if not at or not part[at - 1].is_name():
                    return None
                assigned.append(part[at - 1].text.lower())
            self.at = len(self.tokens)
        if self.at != len(self.tokens):
            return None
        return LoadData(
            local=local,
            file=file,
            replace=replace,
            ignore=ignore,
            partitioned=partitioned,
            charset=charset,
            optionally=optionally,
            ignore_lines=ignored,
            ignore_span=ignore_span,
            columns=columns,
            columns_at=columns_at,
            assigned=tuple(assigned),
            assigns_variables=assigns,
            effects=effects,
            **self.found,
        )

    def _next(self) -> Token | None:
        if self.at >= len(self.tokens):
            return None
        self.at += 1
        return self.tokens[self.at - 1]

    def _skip(self, *words: str) -> bool:
        found = word_at(self.tokens, self.at) in words
        self.at += found
        return found

    def _mark(self, at: int, text: str) -> bool:
        return at < len(self.tokens) and self.tokens[at].is_mark(text)

    def _string(self) -> Hole | None:
        token = self._next()
        value = value_of([token]) if token is not None and token.of is Of.STRING else None
        return value if isinstance(value, Hole) else None

    def _option(self, clause: str) -> bool:
        """`TERMINATED BY '..'` and its like: in the form that is read here, and once."""
        name = _OPTIONS.get((clause, word_at(self.tokens, self.at)))
        self.at += 1
        if name is None or name in self.found or not self._skip("BY"):
            return False
        value = self._string()
        if value is None:
            return False
        self.found[name] = value
        return True

    def _offset(self, at: int) -> int:
        """Where a token begins in the shape's bytes."""
        if at < len(self.tokens):
            return self.source.offset(self.tokens[at].start)
        return self.source.offset(self.tokens[-1].end)

    def _end(self, at: int) -> int:
        return self.source.offset(self.tokens[at].end)
