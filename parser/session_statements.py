"""Statements about the session: SET, USE, transactions, prepared statements, KILL."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from parser.changes import read_expressions
from parser.effects import of_tokens
from parser.rows import split_commas, value_of
from parser.setting import kind_of_set, read_set, read_set_statement
from parser.source import Recurse, Source, admin_statement, around, built, trust, word_at
from parser.statement import Effect, Kind, Statement, Value
from parser.tokens import Of, Token
from parser.tree import NotUnderstood


def set_statement(tokens: Sequence[Token], source: Source, recurse: Recurse) -> Statement:
    kind = kind_of_set(tokens)
    if kind is not Kind.SET:
        return Statement(kind, effects=of_tokens(tokens) | Effect.WRITES | Effect.IMPLICIT_COMMIT, name="set")
    if word_at(tokens, 1) == "STATEMENT":
        assignments, at = read_set_statement(tokens, source.offset)
        inner = recurse(tokens[at:], source)
        effects = inner.effects | of_tokens(tokens)
        begins = source.offset(tokens[at].start) if at < len(tokens) else 0
        return replace(around(inner, Kind.SET), effects=effects, assignments=tuple(assignments), inner_at=begins)
    assignments, expressions = read_set(tokens, source.offset)
    effects = of_tokens(expressions)
    if any(each.scope.value == "user" for each in assignments):
        effects |= Effect.SETS_USER_VARIABLE
    statement = built(Kind.SET, read_expressions(expressions, trust(expressions)), effects)
    return replace(statement, assignments=tuple(assignments))


def use_statement(tokens: Sequence[Token], source: Source, recurse: Recurse) -> Statement:
    if len(tokens) != 2 or not tokens[1].is_name():
        raise NotUnderstood("USE of another form")
    return Statement(Kind.USE, name=tokens[1].text)


def begin_statement(tokens: Sequence[Token], source: Source, recurse: Recurse) -> Statement:
    if len(tokens) > 2 or (len(tokens) == 2 and word_at(tokens, 1) != "WORK"):
        raise NotUnderstood("BEGIN of another form")
    return Statement(Kind.BEGIN, effects=Effect.IMPLICIT_COMMIT)


def start_statement(tokens: Sequence[Token], source: Source, recurse: Recurse) -> Statement:
    if word_at(tokens, 1) != "TRANSACTION":
        return admin_statement(tokens, source, recurse)
    detail = " ".join(t.text.lower() for t in tokens[2:])
    return Statement(Kind.BEGIN, effects=Effect.IMPLICIT_COMMIT, detail=detail.replace(" ,", ","))


def end_of_transaction_statement(tokens: Sequence[Token], source: Source, recurse: Recurse) -> Statement:
    said = [t.word for t in tokens]
    kind = Kind.COMMIT if said[0] == "COMMIT" else Kind.ROLLBACK
    at = 2 if said[1:2] == ["WORK"] else 1
    if kind is Kind.ROLLBACK and said[at : at + 1] == ["TO"]:
        at += 2 if said[at + 1 : at + 2] == ["SAVEPOINT"] and len(tokens) > at + 2 else 1
        return Statement(Kind.ROLLBACK_TO, name=_last_name(tokens, at))
    if not all(word in ("AND", "NO", "CHAIN", "RELEASE") for word in said[at:]):
        raise NotUnderstood(f"{said[0]} of another form")
    return Statement(kind, detail=" ".join(said[at:]).lower())


def savepoint_statement(tokens: Sequence[Token], source: Source, recurse: Recurse) -> Statement:
    return Statement(Kind.SAVEPOINT, name=_last_name(tokens, 1))


def release_statement(tokens: Sequence[Token], source: Source, recurse: Recurse) -> Statement:
    if word_at(tokens, 1) != "SAVEPOINT":
        raise NotUnderstood("RELEASE of another form")
    return Statement(Kind.RELEASE_SAVEPOINT, name=_last_name(tokens, 2))


def _last_name(tokens: Sequence[Token], at: int) -> str:
    if at != len(tokens) - 1 or not tokens[at].is_name():
        raise NotUnderstood("a name is missing, or more than one is there")
    return tokens[at].text


def xa_statement(tokens: Sequence[Token], source: Source, recurse: Recurse) -> Statement:
    return Statement(Kind.XA, name=word_at(tokens, 1).lower(), effects=Effect.WRITES)


def prepare_statement(tokens: Sequence[Token], source: Source, recurse: Recurse) -> Statement:
    if len(tokens) < 4 or not tokens[1].is_name() or word_at(tokens, 2) != "FROM":
        raise NotUnderstood("PREPARE of another form")
    text = _argument(tokens[3:])
    value = None if isinstance(text, str) else text
    return Statement(Kind.PREPARE, name=tokens[1].text, value=value, arguments=(text,), effects=of_tokens(tokens))


def execute_statement(tokens: Sequence[Token], source: Source, recurse: Recurse) -> Statement:
    effects = of_tokens(tokens) | Effect.WRITES | Effect.UNKNOWN_FUNCTION
    if len(tokens) < 2 or not tokens[1].is_name():
        raise NotUnderstood("EXECUTE of another form")
    using = next((at for at, token in enumerate(tokens) if at > 1 and token.word == "USING"), len(tokens))
    arguments = tuple(_argument(part) for part in split_commas(tokens[using + 1 :])) if using < len(tokens) else ()
    if using > 2:  # of a text: no prepared statement's name
        text = _argument(tokens[2:using])
        return Statement(Kind.EXECUTE, effects=effects, detail="immediate", arguments=(text, *arguments))
    return Statement(Kind.EXECUTE, name=tokens[1].text, effects=effects, arguments=arguments)


def _argument(tokens: Sequence[Token]) -> Value | str:
    """A constant, the name of a user variable, or something that a server has to work out."""
    if len(tokens) == 1 and tokens[0].of is Of.VARIABLE and not tokens[0].text.startswith("@@"):
        return tokens[0].text
    return value_of(tokens)


def deallocate_statement(tokens: Sequence[Token], source: Source, recurse: Recurse) -> Statement:
    return Statement(Kind.DEALLOCATE, name=_last_name(tokens, 2))


def kill_statement(tokens: Sequence[Token], source: Source, recurse: Recurse) -> Statement:
    at = 2 if word_at(tokens, 1) in ("HARD", "SOFT") else 1
    detail = "connection"
    if word_at(tokens, at) in ("QUERY", "CONNECTION"):
        detail = tokens[at].word.lower()
        at += 1
        at += detail == "query" and word_at(tokens, at) == "ID"
    return Statement(Kind.KILL, detail=detail, value=value_of(tokens[at:]), effects=of_tokens(tokens))
