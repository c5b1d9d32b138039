"""INSERT, REPLACE, UPDATE and DELETE.

Their outlines are read from tokens, because sqlglot knows only some of them; it is asked about queries and conditions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sqlglot import exp

from parser.conditions import ColumnName
from parser.query import Reader
from parser.rows import Rows, closing, rows_of_tokens, split_commas, value_of
from parser.scopes import Scope
from parser.statement import Access, Assigned, Block, Change, Insert, Span, TableRef, Value
from parser.tokens import Of, Token
from parser.tree import NotUnderstood, Tree, parse_tree


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a statement that reads or changes rows is about."""

    tables: tuple[TableRef, ...] = ()
    blocks: tuple[Block, ...] = ()
    insert: Insert | None = None
    assigned: tuple[str, ...] = ()
    assigned_values: tuple[Value, ...] = ()
    subqueries: bool = False
    tree: Tree | None = None  # of a query
    change: Change | None = None  # of UPDATE and DELETE


@dataclass(frozen=True, slots=True)
class Trust:
    """How far conditions may be read: see `parser.query.Reader`."""

    conditions: bool
    pipes: bool


_MODIFIERS = frozenset(["LOW_PRIORITY", "HIGH_PRIORITY", "DELAYED", "QUICK", "IGNORE"])
_QUERY_WORDS = frozenset(["SELECT", "TABLE", "VALUES", "WITH"])


def read_query(tokens: Sequence[Token], trust: Trust) -> Meaning:
    """SELECT and its relatives."""
    tree = parse_tree(tokens)
    reader = Reader(tree, trust.conditions, trust.pipes)
    reader.query(tree.root, None, None, frozenset())
    reader.check_all_met()
    return Meaning(tuple(reader.tables), reader.blocks(), subqueries=reader.subqueries, tree=tree)


def read_expressions(tokens: Sequence[Token], trust: Trust) -> Meaning:
    """Expressions between commas: the tables that subqueries in them read."""
    if not any(t.word in _QUERY_WORDS for t in tokens):
        return Meaning()
    return read_query([Token.made(Of.WORD, "SELECT"), *tokens], trust)


# INSERT and REPLACE


@dataclass(frozen=True, slots=True)
class _Target:
    database: str | None
    name: str
    columns: tuple[str, ...] | None
    ignore: bool
    next: int  # the token behind all that
    columns_end: int | None  # where the list of columns has its ")"


def read_insert(tokens: Sequence[Token], rows: Rows | None, trust: Trust) -> Meaning:
    """INSERT or REPLACE; `rows` where they were read already and `tokens` has one of each kind only."""
    target = _target(tokens)
    at = target.next
    verb = tokens[at].word if at < len(tokens) else ""
    tables = (TableRef(0, target.database, target.name, target.name, 0, Access.WRITE),)
    end = _top_level(tokens, at, ("ON", "RETURNING"))
    if verb in ("VALUES", "VALUE") and not (at + 1 < len(tokens) and tokens[at + 1].word == "ROW"):
        found = rows or rows_of_tokens(tokens, at + 1)
        if found is None:
            raise NotUnderstood("the rows of VALUES")
        behind = next((i for i, t in enumerate(tokens) if t.start >= found.end), len(tokens))
        end = _skip_alias(tokens, behind)
        updated = _tail(tokens, end)
        columns = () if target.columns is None and not any(found.values) else target.columns  # VALUES (): all defaults
        insert = Insert(
            0,
            columns,
            found.values,
            found.spans,
            ignore=target.ignore,
            on_duplicate=updated,
            columns_end=tokens[at].start if target.columns_end is None else target.columns_end,
            listed=target.columns_end is not None,
        )
        return _with_subqueries(tokens, at, Meaning(tables, (Block(0, None, nullable=()),), insert), trust)
    if verb == "SET":
        assignments = _assignments(tokens[at + 1 : _skip_back_alias(tokens, at, end)])
        columns = tuple(name for _, name, _ in assignments)
        values = tuple(value_of(expression) for _, _, expression in assignments)
        if target.columns is not None:
            raise NotUnderstood("INSERT with columns and SET")
        updated = _tail(tokens, end)
        spans = tuple((expression[0].start, expression[-1].end) for _, _, expression in assignments)
        insert = Insert(
            0,
            columns,
            (values,),
            (),
            ignore=target.ignore,
            on_duplicate=updated,
            set_syntax=True,
            columns_end=spans[-1][1],
            set_spans=spans,
        )
        return _with_subqueries(tokens, at, Meaning(tables, (Block(0, None, nullable=()),), insert), trust)
    if verb in ("SELECT", "WITH", "TABLE", "VALUES") or (at < len(tokens) and tokens[at].is_mark("(")):
        end = _end_of_query(tokens, at)
        updated = _tail(tokens, end)
        if any(t.word in _QUERY_WORDS for t in tokens[end:]) and _has_subquery(tokens[end:]):
            raise NotUnderstood("a subquery in ON DUPLICATE KEY UPDATE or RETURNING")
        tree = parse_tree(tokens[at:end])
        reader = Reader(tree, trust.conditions, trust.pipes)
        reader.block(None)
        reader.tables.extend(tables)
        reader.query(tree.root, 0, None, frozenset())
        reader.check_all_met()
        insert = Insert(
            0,
            target.columns,
            (),
            (),
            from_select=True,
            ignore=target.ignore,
            on_duplicate=updated,
            columns_end=tokens[at].start if target.columns_end is None else target.columns_end,
            listed=target.columns_end is not None,
            query=(tokens[at].start, tokens[end - 1].end),
            end=tokens[-1].end,
        )
        return Meaning(tuple(reader.tables), reader.blocks(), insert, subqueries=reader.subqueries)
    raise NotUnderstood("INSERT without VALUES, SET or a query")


def _target(tokens: Sequence[Token]) -> _Target:
    at = 1
    ignore = False
    while at < len(tokens) and tokens[at].word in _MODIFIERS:
        ignore = ignore or tokens[at].word == "IGNORE"
        at += 1
    if at < len(tokens) and tokens[at].word == "INTO":
        at += 1
    database, name, at = read_name(tokens, at)
    if at < len(tokens) and tokens[at].word == "PARTITION":
        end = closing(tokens, at + 1)
        if end is None:
            raise NotUnderstood("PARTITION without its list")
        at = end + 1
    columns: tuple[str, ...] | None = None
    columns_end: int | None = None
    if at < len(tokens) and tokens[at].is_mark("(") and not _opens_query(tokens, at):
        end = closing(tokens, at)
        if end is None:
            raise NotUnderstood("a list of columns without its end")
        names = [part for part in split_commas(tokens[at + 1 : end]) if part]
        if not all(part[-1].is_name() for part in names):
            raise NotUnderstood("a list of columns")
        columns = tuple(part[-1].text.lower() for part in names) or None  # `()` stands for all of them
        columns_end = tokens[end].start
        at = end + 1
    return _Target(database, name, columns, ignore, at, columns_end)


def _opens_query(tokens: Sequence[Token], at: int) -> bool:
    while at < len(tokens) and tokens[at].is_mark("("):
        at += 1
    return at < len(tokens) and tokens[at].word in _QUERY_WORDS


def read_name(tokens: Sequence[Token], at: int) -> tuple[str | None, str, int]:
    """(database, name, index behind) of the possibly qualified name at `at`. Raises NotUnderstood."""
    if at >= len(tokens) or not tokens[at].is_name():
        raise NotUnderstood("a name is missing")
    first = tokens[at].text
    if at + 2 < len(tokens) and tokens[at + 1].is_mark(".") and tokens[at + 2].is_name():
        return first, tokens[at + 2].text, at + 3
    return None, first, at + 1


def _top_level(tokens: Sequence[Token], at: int, words: tuple[str, ...]) -> int:
    depth = 0
    for i in range(at, len(tokens)):
        t = tokens[i]
        if t.mark:
            depth += (t.mark == "(") - (t.mark == ")")
        elif depth == 0 and t.word in words:
            return i
    return len(tokens)


def _end_of_query(tokens: Sequence[Token], at: int) -> int:
    """Where the SELECT of an INSERT ends: at ON DUPLICATE KEY or RETURNING."""
    while True:
        end = _top_level(tokens, at, ("ON", "RETURNING"))
        if end == len(tokens) or tokens[end].word == "RETURNING":
            return end
        if end + 1 < len(tokens) and tokens[end + 1].word == "DUPLICATE":
            return end
        at = end + 1


def _skip_alias(tokens: Sequence[Token], at: int) -> int:
    """VALUES (..) AS new (a, b): the index behind the alias."""
    if at < len(tokens) and tokens[at].word == "AS":
        _, _, at = read_name(tokens, at + 1)
        if at < len(tokens) and tokens[at].is_mark("("):
            end = closing(tokens, at)
            if end is None:
                raise NotUnderstood("a list of columns without its end")
            at = end + 1
    return at


def _skip_back_alias(tokens: Sequence[Token], at: int, end: int) -> int:
    return min(end, _top_level(tokens, at, ("AS",)))


def _tail(tokens: Sequence[Token], at: int) -> tuple[str, ...]:
    """ON DUPLICATE KEY UPDATE .. and RETURNING ..; the columns that the former assigns."""
    if at >= len(tokens) or tokens[at].word == "RETURNING":
        return ()
    if [t.word for t in tokens[at : at + 4]] != ["ON", "DUPLICATE", "KEY", "UPDATE"]:
        raise NotUnderstood("what follows the rows")
    end = _top_level(tokens, at, ("RETURNING",))
    return tuple(name for _, name, _ in _assignments(tokens[at + 4 : end]))


_Assignment = tuple[tuple[str, ...], str, Sequence[Token]]  # qualifiers, column (lower case), expression


def _assignments(tokens: Sequence[Token]) -> list[_Assignment]:
    found: list[_Assignment] = []
    for part in split_commas(tokens):
        at = next((i for i, t in enumerate(part) if t.of is Of.MARK and t.text in ("=", ":=")), 0)
        names, marks = part[0:at:2], part[1:at:2]
        if not names or not all(t.is_name() for t in names) or not all(t.is_mark(".") for t in marks):
            raise NotUnderstood("an assignment")
        if len(names) != len(marks) + 1 or len(names) > 3 or not part[at + 1 :]:
            raise NotUnderstood("an assignment")
        found.append((tuple(t.text for t in names[:-1]), names[-1].text.lower(), part[at + 1 :]))
    return found


def _has_subquery(tokens: Sequence[Token]) -> bool:
    return any(
        (t.word in _QUERY_WORDS and i > 0 and tokens[i - 1].is_mark("(")) or t.word == "SELECT"
        for i, t in enumerate(tokens)
    )


def _with_subqueries(tokens: Sequence[Token], at: int, meaning: Meaning, trust: Trust) -> Meaning:
    """Add the tables that subqueries among the values read."""
    if not _has_subquery(tokens[at + 1 :]):
        return meaning
    tree = parse_tree([Token.made(Of.WORD, "INSERT"), *_plain_target(tokens, at)])
    root = tree.root
    if not isinstance(root, exp.Insert):
        raise NotUnderstood("an INSERT with subqueries")
    reader = Reader(tree, trust.conditions, trust.pipes)
    reader.block(None)
    reader.tables.extend(meaning.tables)
    scope = reader.scope(0)
    for part in ("expression", "conflict", "returning"):
        reader.expressions(root.args.get(part), scope, frozenset())
    reader.meet_target(root.this)
    reader.check_all_met()
    return replace(meaning, tables=tuple(reader.tables), blocks=reader.blocks(), subqueries=True)


def _plain_target(tokens: Sequence[Token], at: int) -> list[Token]:
    """INTO t VALUES .. for an INSERT of any form whose values begin at token `at`; SET becomes VALUES."""
    into = [Token.made(Of.WORD, "INTO"), Token.made(Of.WORD, "t")]
    if tokens[at].word != "SET":
        return [*into, *tokens[at:]]
    end = _skip_back_alias(tokens, at, _top_level(tokens, at, ("ON", "RETURNING")))
    inside: list[Token] = []
    for _, _, expression in _assignments(tokens[at + 1 : end]):
        if inside:
            inside.append(Token.made(Of.MARK, ","))
        inside.extend(expression)
    values = [Token.made(Of.WORD, "VALUES"), Token.made(Of.MARK, "("), *inside, Token.made(Of.MARK, ")")]
    return [*into, *values, *tokens[end:]]


# UPDATE and DELETE


def _without_modifiers(tokens: Sequence[Token], verb: int) -> list[Token]:
    at = verb + 1
    while at < len(tokens) and tokens[at].word in _MODIFIERS:
        at += 1
    return [*tokens[: verb + 1], *tokens[at:]]


def read_update(tokens: Sequence[Token], trust: Trust) -> Meaning:
    """UPDATE, with a WITH clause or without."""
    verb = _top_level(tokens, 0, ("UPDATE",))
    ignore = _ignores(tokens, verb)
    tokens = _without_modifiers(tokens, verb)
    begin = _top_level(tokens, verb, ("SET",))
    end = _top_level(tokens, begin, ("WHERE", "ORDER", "LIMIT", "RETURNING"))
    assignments = _assignments(tokens[begin + 1 : end])
    # Each value in parentheses: sqlglot reads `a = b AND c` as two things.
    plain: list[Token] = list(tokens[: begin + 1])
    for i, (_, name, expression) in enumerate(assignments):
        if i:
            plain.append(Token.made(Of.MARK, ","))
        plain += [Token.made(Of.QUOTED, name), Token.made(Of.MARK, "="), Token.made(Of.MARK, "(")]
        plain += [*expression, Token.made(Of.MARK, ")")]
    tree = parse_tree([*_default_values(plain), *tokens[end:]])
    root = tree.root
    if not isinstance(root, exp.Update):
        raise NotUnderstood("an UPDATE of another form")
    reader = Reader(tree, trust.conditions, trust.pipes)
    reader.only(root, "this expressions where order limit with_ returning")
    block = reader.block(None)
    ctes = reader.with_clause(root, block, frozenset())
    scope = reader.scope(block)
    reader.sources(root.this, scope, ctes)
    _finish(reader, root, scope, ctes)
    reader.expressions(root.args.get("expressions"), scope, ctes)
    reader.check_all_met()
    targets = {
        reader.find(ColumnName(q[-2] if len(q) > 1 else None, q[-1] if q else None, name), scope)
        for q, name, _ in assignments
    }
    own = [table.index for table in reader.tables if table.block == block]
    if len(own) == 1:
        targets = set(own)
    tables = _written(reader.tables, block, targets)
    change = replace(
        _clauses(tokens, begin),
        tables=_span(tokens, verb + 1, begin),
        sets=_span(tokens, begin + 1, end),
        assigned=tuple(Assigned(q, name, _span(value, 0, len(value)), _names(value)) for q, name, value in assignments),
        targets=tuple(table.index for table in tables if table.access is Access.WRITE),
        ignore=ignore,
        plain=len(scope.items) == 1 and verb == 0 and not root.args.get("returning"),
    )
    return Meaning(
        tables,
        reader.blocks(),
        assigned=tuple(name for _, name, _ in assignments),
        assigned_values=tuple(value_of(expression) for _, _, expression in assignments),
        subqueries=reader.subqueries,
        change=change,
    )


def _ignores(tokens: Sequence[Token], verb: int) -> bool:
    at = verb + 1
    while at < len(tokens) and tokens[at].word in _MODIFIERS:
        if tokens[at].word == "IGNORE":
            return True
        at += 1
    return False


def _span(tokens: Sequence[Token], begin: int, end: int) -> Span:
    """From the first to the last of tokens[begin:end]."""
    if begin < end:
        return tokens[begin].start, tokens[end - 1].end
    at = tokens[begin - 1].end if begin else 0
    return at, at


def _names(tokens: Sequence[Token]) -> frozenset[str]:
    return frozenset(t.text.lower() for t in tokens if t.is_name())


def _clauses(tokens: Sequence[Token], at: int) -> Change:
    """WHERE, ORDER BY and LIMIT of the UPDATE or DELETE whose tables and values are before token `at`."""
    found = dict.fromkeys(("WHERE", "ORDER", "LIMIT", "RETURNING"), len(tokens))
    depth = 0
    for i in range(at, len(tokens)):
        t = tokens[i]
        if t.mark:
            depth += (t.mark == "(") - (t.mark == ")")
        elif depth == 0 and found.get(t.word) == len(tokens):
            found[t.word] = i
    starts = sorted(found.values())

    def span(word: str, skip: int = 0) -> Span:
        begin = found[word]
        behind = next((start for start in starts if start > begin), len(tokens))
        return _span(tokens, begin + skip, behind) if begin < len(tokens) else _span(tokens, begin, begin)

    order = found["ORDER"]
    behind = next((start for start in starts if start > order), len(tokens))
    items = split_commas(tokens[order + 2 : behind])
    by_place = any(not any(t.is_name() and t.word not in ("ASC", "DESC") for t in item) for item in items if item)
    return Change((0, 0), span("WHERE", 1), span("ORDER"), span("LIMIT"), by_place=by_place)


def _default_values(tokens: list[Token]) -> list[Token]:
    """`DEFAULT` alone in parentheses is nothing that sqlglot knows; NULL stands in for it."""
    for i in range(1, len(tokens) - 1):
        if tokens[i].word == "DEFAULT" and tokens[i - 1].is_mark("(") and tokens[i + 1].is_mark(")"):
            tokens[i] = tokens[i]._replace(text="NULL", word="NULL")
    return tokens


def read_delete(tokens: Sequence[Token], trust: Trust) -> Meaning:
    """DELETE of one table or several, with a WITH clause or without."""
    verb = _top_level(tokens, 0, ("DELETE",))
    ignore = _ignores(tokens, verb)
    tokens = _without_modifiers(tokens, verb)
    end = _top_level(tokens, verb, ("WHERE",))
    head = [  # DELETE a.*, b.* FROM ..
        t
        for i, t in enumerate(tokens[:end])
        if not (
            (t.is_mark(".") and i + 1 < end and tokens[i + 1].is_mark("*"))
            or (t.is_mark("*") and tokens[i - 1].is_mark("."))
        )
    ]
    tree = parse_tree([*head, *tokens[end:]])
    root = tree.root
    if not isinstance(root, exp.Delete):
        raise NotUnderstood("a DELETE of another form")
    reader = Reader(tree, trust.conditions, trust.pipes)
    reader.only(root, "this tables using where order limit with_ returning")
    block = reader.block(None)
    ctes = reader.with_clause(root, block, frozenset())
    scope = reader.scope(block)
    named: list[exp.Expression] = list(root.args.get("tables") or [])
    using = root.args.get("using")
    if using:
        named.append(root.this)
        if not isinstance(using, list) or named[:-1]:
            raise NotUnderstood("a DELETE of another form")
        items = reader.sources(using[0], scope, ctes)
        for more in using[1:]:
            items += reader.sources(more, scope, ctes)
    else:
        reader.sources(root.this, scope, ctes)
    _finish(reader, root, scope, ctes)
    for table in named:
        reader.meet_target(table)
    reader.check_all_met()
    own = {table.index for table in reader.tables if table.block == block}
    targets: set[int | None] = set(own)
    if named and not using:
        targets = {
            reader.find(ColumnName(None, tree.name(table.name), ""), scope) if not table.args.get("db") else None
            for table in named
        }
    tables = _written(reader.tables, block, targets)
    joined = _top_level(tokens, verb, ("USING",) if using else ("FROM",)) + 1
    change = replace(
        _clauses(tokens, joined),
        tables=_span(tokens, joined, _top_level(tokens, joined, ("WHERE", "ORDER", "LIMIT", "RETURNING"))),
        targets=tuple(table.index for table in tables if table.access is Access.WRITE),
        ignore=ignore,
        plain=len(scope.items) == 1 and not named and verb == 0 and not root.args.get("returning"),
    )
    return Meaning(tables, reader.blocks(), subqueries=reader.subqueries, change=change)


def _finish(reader: Reader, root: exp.Expression, scope: Scope, ctes: frozenset[str]) -> None:
    """Conditions and subqueries of an UPDATE or DELETE whose tables are known."""
    reader.finish_from(scope)
    where = root.args.get("where")
    reader.conditions(scope, where.this if where is not None else None)
    for part in ("where", "order", "limit", "returning"):
        reader.expressions(root.args.get(part), scope, ctes)
    reader.set_flags(scope.block, ordered=bool(root.args.get("order")), limited=bool(root.args.get("limit")))


def _written(tables: Sequence[TableRef], block: int, targets: set[int | None]) -> tuple[TableRef, ...]:
    """`targets` are written; all tables of the block where one of the targets is not known."""
    if None in targets or not targets:
        targets = {table.index for table in tables}
    return tuple(
        replace(table, access=Access.WRITE) if table.block == block and table.index in targets else table
        for table in tables
    )
