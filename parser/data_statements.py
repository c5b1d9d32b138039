"""SELECT and its relatives, INSERT, UPDATE, DELETE, CALL and DO."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from parser.changes import read_delete, read_expressions, read_insert, read_name, read_query, read_update
from parser.clauses import read_outline
from parser.effects import of_tokens
from parser.rows import closing
from parser.select_items import read_items
from parser.source import Recurse, Source, built, refuse_sequences, trust, word_at
from parser.statement import Block, Effect, Kind, Span, Statement, TableRef
from parser.subqueries import aggregating
from parser.tokens import Of, Token, same_offset, words
from parser.tree import NotUnderstood
from parser.vocabulary import vocabulary


def _query(tokens: Sequence[Token], source: Source) -> Statement:
    effects = of_tokens(tokens)
    plain = _without_into(tokens)
    meaning = read_query(plain, trust(tokens))
    refuse_sequences(effects)
    items, names, value = read_items(tokens, source.text)
    outline = None
    merged = source.merged is None or any(map(source.may_be_merged, meaning.tables))
    if merged and plain is tokens and meaning.tree is not None and any(map(_is_merged, meaning.blocks)):
        outline = read_outline(tokens, meaning.tree, source.offset)
    named = words(tokens)
    qualifiers = _qualifiers(tokens) if _SYSTEM in named else []
    return Statement(
        Kind.SELECT,
        tables=tuple(
            TableRef(
                table.index,
                table.database,
                table.name,
                table.alias,
                table.block,
                table.access,
                _placed(table.span, source),
                table.aliased,
                _placed(_with_database(table, tokens), source),
            )
            for table in meaning.tables
        ),
        blocks=meaning.blocks,
        effects=effects,
        subqueries=meaning.subqueries,
        items=items,
        item_names=names,
        value=value,
        outline=outline,
        aggregating=aggregating(tokens, source.offset) if meaning.subqueries and plain is tokens else (),
        names=_column_words(tokens, named) if meaning.tables else frozenset(),
        qualifiers=tuple((source.offset(tokens[at].start), source.offset(tokens[at + 2].start)) for at in qualifiers),
    )


def _with_database(table: TableRef, tokens: Sequence[Token]) -> tuple[int, int] | None:
    """`TableRef.whole`, in the text that the tokens are of."""
    if table.span is None or table.database is None:
        return table.span
    at = next((i for i, token in enumerate(tokens) if token.start == table.span[0]), 0)
    if at < 2 or not tokens[at - 1].is_mark(".") or tokens[at - 2].text != table.database:
        return None
    return tokens[at - 2].start, table.span[1]


_SYSTEM = "information_schema"


def _qualifiers(tokens: Sequence[Token]) -> list[int]:
    """Where a column is named with the database information_schema: the places of that name among the tokens."""
    return [
        at
        for at, token in enumerate(tokens[: len(tokens) - 4])
        if token.is_name()
        and token.text.lower() == _SYSTEM
        and tokens[at + 1].is_mark(".")
        and tokens[at + 3].is_mark(".")
    ]


def _placed(span: tuple[int, int] | None, source: Source) -> tuple[int, int] | None:
    return None if span is None else (source.offset(span[0]), source.offset(span[1]))


_AFTER_STAR = vocabulary("FROM INTO WHERE GROUP HAVING ORDER LIMIT UNION INTERSECT EXCEPT FOR LOCK")
_BEFORE_STAR = vocabulary("""
    SELECT ALL DISTINCT DISTINCTROW HIGH_PRIORITY STRAIGHT_JOIN SQL_SMALL_RESULT SQL_BIG_RESULT SQL_BUFFER_RESULT
    SQL_CACHE SQL_NO_CACHE SQL_CALC_FOUND_ROWS
""")


def _column_words(tokens: Sequence[Token], named: frozenset[str]) -> frozenset[str]:
    """See `Statement.names`. Where columns are meant without being named, `*` stands for them."""
    stars = [i for i, t in enumerate(tokens) if t.mark == "*" and _is_star(i, tokens) and not _only_exists(i, tokens)]
    return named | {"*"} if stars or "natural" in named or "table" in named else named


def _is_star(i: int, tokens: Sequence[Token]) -> bool:
    """Is this `*` columns, not a multiplication or COUNT(*)?"""
    before = tokens[i - 1] if i else None
    after = tokens[i + 1] if i + 1 < len(tokens) else None
    if before is None or after is None:
        return True
    if before.is_mark("(") and after.is_mark(")"):
        return False
    multiplies = before.of is not Of.MARK or before.text == ")"
    return not multiplies or before.word in _BEFORE_STAR or after.word in _AFTER_STAR or after.text in (",", ")", ";")


_COUNTS_COLUMNS = vocabulary("UNION INTERSECT EXCEPT ORDER GROUP")


def _only_exists(i: int, tokens: Sequence[Token]) -> bool:
    """Is this `*` that of EXISTS (SELECT * FROM ..), which no column has to be there for?"""
    if i < 3 or tokens[i - 1].word != "SELECT" or not tokens[i - 2].is_mark("(") or tokens[i - 3].word != "EXISTS":
        return False
    if word_at(tokens, i + 1) != "FROM":
        return False
    end = closing(tokens, i - 2)
    return not any(t.word in _COUNTS_COLUMNS for t in tokens[i:end])


def _is_merged(block: Block) -> bool:
    """Does it take more than one answer after the other to answer from several servers?"""
    flags = (block.ordered, block.limited, block.distinct, block.grouped, block.aggregates, block.having)
    return block.parent is None and any(flags)


def select_statement(tokens: Sequence[Token], source: Source, recurse: Recurse) -> Statement:
    return _query(tokens, source)


def _without_into(tokens: Sequence[Token]) -> Sequence[Token]:
    """The query without INTO @a, @b, INTO OUTFILE .. or INTO DUMPFILE .., which sqlglot does not know."""
    if not [t for t in tokens if t.word == "INTO"]:
        return tokens
    begin = depth = 0
    for i, t in enumerate(tokens):
        if t.mark:
            depth += (t.mark == "(") - (t.mark == ")")
        elif depth == 0 and t.word == "INTO":
            begin = i
            break
    else:
        return tokens
    end = begin + 1
    if word_at(tokens, end) in ("OUTFILE", "DUMPFILE"):
        end += 2
        while end < len(tokens) and word_at(tokens, end) not in (
            "FROM",
            "WHERE",
            "GROUP",
            "ORDER",
            "LIMIT",
            "FOR",
            "LOCK",
        ):
            end += 1
    else:
        while end < len(tokens) and tokens[end].of is Of.VARIABLE and not tokens[end].text.startswith("@@"):
            end += 1
            if end < len(tokens) and tokens[end].is_mark(","):
                end += 1
    if end == begin + 1:
        raise NotUnderstood("INTO something unknown")
    return [*tokens[:begin], *tokens[end:]]


def with_statement(tokens: Sequence[Token], source: Source, recurse: Recurse) -> Statement:
    """WITH .. leads SELECT, UPDATE or DELETE: whichever stands first outside of its parentheses."""
    depth = 0
    for t in tokens:
        if t.of is Of.MARK:
            depth += (t.text == "(") - (t.text == ")")
        elif depth == 0 and t.word in ("UPDATE", "DELETE", "SELECT", "INSERT", "REPLACE"):
            if t.word == "UPDATE":
                return update_statement(tokens, source, recurse)
            if t.word == "DELETE":
                return delete_statement(tokens, source, recurse)
            if t.word != "SELECT":
                raise NotUnderstood("WITH before INSERT")
            break
    return _query(tokens, source)


def insert_statement(tokens: Sequence[Token], source: Source, recurse: Recurse) -> Statement:
    kind = Kind.REPLACE if tokens[0].word == "REPLACE" else Kind.INSERT
    statement = built(kind, read_insert(tokens, source.rows, trust(tokens)), of_tokens(tokens) | Effect.WRITES)
    if source.offset is same_offset or statement.insert is None:
        return statement
    offset, insert = source.offset, statement.insert
    moved = replace(
        insert,
        row_spans=tuple((offset(start), offset(end)) for start, end in insert.row_spans),
        columns_end=offset(insert.columns_end),
        set_spans=tuple((offset(start), offset(end)) for start, end in insert.set_spans),
        query=(offset(insert.query[0]), offset(insert.query[1])),
        end=offset(insert.end),
    )
    return replace(statement, insert=moved)


def update_statement(tokens: Sequence[Token], source: Source, recurse: Recurse) -> Statement:
    made = built(Kind.UPDATE, read_update(tokens, trust(tokens)), of_tokens(tokens) | Effect.WRITES)
    return _change_placed(made, source)


def delete_statement(tokens: Sequence[Token], source: Source, recurse: Recurse) -> Statement:
    made = built(Kind.DELETE, read_delete(tokens, trust(tokens)), of_tokens(tokens) | Effect.WRITES)
    return _change_placed(made, source)


def _change_placed(statement: Statement, source: Source) -> Statement:
    change, offset = statement.change, source.offset
    if change is None or offset is same_offset:
        return statement

    def placed(span: Span) -> Span:
        return offset(span[0]), offset(span[1])

    moved = replace(
        change,
        tables=placed(change.tables),
        where=placed(change.where),
        order=placed(change.order),
        limit=placed(change.limit),
        sets=placed(change.sets),
        assigned=tuple(replace(each, value=placed(each.value)) for each in change.assigned),
    )
    return replace(statement, change=moved)


def call_statement(tokens: Sequence[Token], source: Source, recurse: Recurse) -> Statement:
    database, name, at = read_name(tokens, 1)
    inside: Sequence[Token] = ()
    if at < len(tokens):
        end = closing(tokens, at) if tokens[at].is_mark("(") else None
        if end is None or end != len(tokens) - 1:
            raise NotUnderstood("CALL of another form")
        inside = tokens[at + 1 : end]
    effects = of_tokens(tokens) | Effect.WRITES | Effect.UNKNOWN_FUNCTION
    statement = built(Kind.CALL, read_expressions(inside, trust(tokens)), effects)
    return replace(statement, name=name, detail=database or "")


def do_statement(tokens: Sequence[Token], source: Source, recurse: Recurse) -> Statement:
    return built(Kind.DO, read_expressions(tokens[1:], trust(tokens)), of_tokens(tokens))
