"""SET in all its forms."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from parser.rows import split_commas, value_of
from parser.statement import Assignment, Hole, Kind, Opaque, Param, Scope, Word
from parser.tokens import Of, Token
from parser.tree import NotUnderstood

_SCOPES = {
    "GLOBAL": Scope.GLOBAL,
    "PERSIST": Scope.GLOBAL,
    "PERSIST_ONLY": Scope.GLOBAL,
    "SESSION": Scope.SESSION,
    "LOCAL": Scope.SESSION,
}
_OF_TRANSACTION = frozenset({"transaction_isolation", "tx_isolation", "transaction_read_only", "tx_read_only"})

Offset = Callable[[int], int]


def kind_of_set(tokens: Sequence[Token]) -> Kind:
    """ACCOUNT for SET PASSWORD and SET DEFAULT ROLE, ADMIN for SET RESOURCE GROUP, SET for all others."""
    words = [t.word for t in tokens[1:3]]
    if words[:1] == ["PASSWORD"] or words == ["DEFAULT", "ROLE"]:
        return Kind.ACCOUNT
    return Kind.ADMIN if words == ["RESOURCE", "GROUP"] else Kind.SET


def read_set(tokens: Sequence[Token], offset: Offset) -> tuple[list[Assignment], list[Token]]:
    """The assignments, and the tokens of values that are expressions, commas between them. Raises NotUnderstood.

    `offset` turns offsets in the text into offsets in the shape's bytes.
    """
    words = [t.word for t in tokens[1:4]]
    if words[:1] == ["TRANSACTION"]:
        return _transaction(tokens[2:], Scope.NEXT_TRANSACTION, offset), []
    if words[:1] and words[0] in _SCOPES and words[1:2] == ["TRANSACTION"]:
        return _transaction(tokens[3:], _SCOPES[words[0]], offset), []
    if words[:1] == ["ROLE"]:
        return [_assignment(Scope.ROLE, "role", tokens[2:], offset)], []
    assignments: list[Assignment] = []
    expressions: list[Token] = []
    scope = Scope.SESSION
    for part in split_commas(tokens[1:]):
        found, scope = _item(part, scope, offset)
        assignments.extend(found)
        if not found[0].constant:
            if expressions:
                expressions.append(Token.made(Of.MARK, ","))
            expressions.extend(part[_value_at(part) :])
    return assignments, expressions


def read_set_statement(tokens: Sequence[Token], offset: Offset) -> tuple[list[Assignment], int]:
    """MariaDB's SET STATEMENT a=1, b=2 FOR ..: the assignments, and where the statement begins."""
    end = next((i for i, t in enumerate(tokens) if t.word == "FOR"), None)
    if end is None:
        raise NotUnderstood("SET STATEMENT without FOR")
    found: list[Assignment] = []
    for part in split_commas(tokens[2:end]):
        at = _value_at(part)
        found.append(_assignment(Scope.STATEMENT, part[0].text.lower(), part[at:], offset))
    return found, end + 1


def _value_at(part: Sequence[Token]) -> int:
    at = next((i for i, t in enumerate(part) if t.of is Of.MARK and t.text in ("=", ":=")), None)
    if at is None or at == 0 or at + 1 >= len(part):
        raise NotUnderstood("SET without a value")
    return at + 1


def _item(part: Sequence[Token], scope: Scope, offset: Offset) -> tuple[list[Assignment], Scope]:
    """One item between commas; the scope that items without one have after it."""
    if not part:
        raise NotUnderstood("SET without an assignment")
    word = part[0].word
    following = part[1].word if len(part) > 1 else ""
    if word == "NAMES" and not (len(part) > 1 and part[1].is_mark("=")):
        at = next((i for i, t in enumerate(part) if t.word == "COLLATE"), len(part))
        found = [_assignment(Scope.NAMES, "names", part[1:at], offset)]
        if at < len(part):
            found.append(_assignment(Scope.NAMES, "collate", part[at + 1 :], offset))
        return found, scope
    if (word in ("CHARACTER", "CHAR") and following == "SET") or (word == "CHARSET" and len(part) == 2):
        return [_assignment(Scope.NAMES, "character set", part[1 if word == "CHARSET" else 2 :], offset)], scope
    at = _value_at(part)
    name = part[: at - 1]
    if name[0].of is Of.VARIABLE and len(name) == 1:
        text = name[0].text
        if not text.startswith("@@"):
            return [_assignment(Scope.USER, text[1:], part[at:], offset)], scope
        prefix, dot, rest = text[2:].partition(".")
        if dot and prefix.upper() in _SCOPES:
            return [_assignment(_SCOPES[prefix.upper()], rest, part[at:], offset)], scope
        plain = Scope.NEXT_TRANSACTION if text[2:] in _OF_TRANSACTION else Scope.SESSION
        return [_assignment(plain, text[2:], part[at:], offset)], scope
    if word in _SCOPES and len(name) > 1:
        scope = _SCOPES[word]
        name = name[1:]
        if name[0].of is Of.VARIABLE:
            raise NotUnderstood("SET with two scopes")
    if not all(t.is_name() if i % 2 == 0 else t.is_mark(".") for i, t in enumerate(name)) or len(name) % 2 == 0:
        raise NotUnderstood("SET of something that is not a variable")
    return [_assignment(scope, "".join(t.text for t in name).lower(), part[at:], offset)], scope


def _assignment(scope: Scope, name: str, value: Sequence[Token], offset: Offset) -> Assignment:
    if not value:
        raise NotUnderstood("SET without a value")
    span = (offset(value[0].start), offset(value[-1].end))
    known = value_of(value)
    if isinstance(known, (Hole, Param, Word)):
        return Assignment(scope, name, True, known, span)
    if len(value) == 1 and value[0].is_name():
        # A word such as ON or utf8mb4; of user variables it would be a column, which there is none of.
        return Assignment(scope, name, scope is not Scope.USER, None, span)
    return Assignment(scope, name, False, Opaque(), span)


def _transaction(tokens: Sequence[Token], scope: Scope, offset: Offset) -> list[Assignment]:
    found: list[Assignment] = []
    for part in split_commas(tokens):
        words = [t.word for t in part]
        if words[:2] == ["ISOLATION", "LEVEL"] and len(words) > 2:
            name, value = "transaction_isolation", part[2:]
        elif words in (["READ", "ONLY"], ["READ", "WRITE"]):
            name, value = "transaction_read_only", part
        else:
            raise NotUnderstood("SET TRANSACTION with something else")
        found.append(Assignment(scope, name, True, None, (offset(value[0].start), offset(value[-1].end))))
    return found
