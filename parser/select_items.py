"""The items of a SELECT without FROM: `SELECT LAST_INSERT_ID()` and the like, which a proxy may answer itself."""

from __future__ import annotations

from collections.abc import Sequence

from parser.rows import split_commas, value_of
from parser.statement import Opaque, Value
from parser.tokens import Of, Token

_Items = tuple[tuple[str, ...], tuple[str, ...], Value | None]
_NONE: _Items = ((), (), None)


def read_items(tokens: Sequence[Token], text: str) -> _Items:
    """(items, column names, value of the only item if it is constant); nothing for a SELECT with more than items.

    Items are lower case without white space. `FROM DUAL` and LIMIT may follow, anything else may not.
    """
    if tokens[0].word != "SELECT":
        return _NONE
    end = _end_of_items(tokens)
    if end is None:
        return _NONE
    items: list[str] = []
    names: list[str] = []
    parts = split_commas(tokens[1:end])
    for part in parts:
        if not part:
            return _NONE
        expression, alias = _without_alias(part)
        if not expression:
            return _NONE
        written = text[expression[0].start : expression[-1].end]
        if alias is None and "\0" in written:
            return _NONE if len(parts) > 1 else ((), (), _constant(expression))
        items.append("".join("?" if t.of in (Of.NUMBER, Of.STRING, Of.PARAM) else t.text.lower() for t in expression))
        names.append(written if alias is None else alias)
    only = _constant(_without_alias(parts[0])[0]) if len(parts) == 1 else None
    return tuple(items), tuple(names), only


def _constant(expression: Sequence[Token]) -> Value | None:
    value = value_of(expression)
    return None if isinstance(value, Opaque) else value


def _end_of_items(tokens: Sequence[Token]) -> int | None:
    depth = 0
    end: int | None = None
    for i, t in enumerate(tokens):
        if t.mark:
            depth += (t.mark == "(") - (t.mark == ")")
            continue
        word = t.word
        if depth or not word:
            continue
        if word == "FROM":
            dual = i + 1 < len(tokens) and tokens[i + 1].word == "DUAL"
            if not dual or (i + 2 < len(tokens) and tokens[i + 2].word != "LIMIT"):
                return None
            return i
        if word == "LIMIT" and end is None:
            end = i
        elif word in ("WHERE", "UNION", "INTERSECT", "EXCEPT", "INTO", "HAVING", "GROUP", "ORDER", "PROCEDURE", "FOR"):
            return None
    return len(tokens) if end is None else end


def _without_alias(part: Sequence[Token]) -> tuple[Sequence[Token], str | None]:
    """The expression and the word after AS, or after an expression that cannot go on with a word."""
    if len(part) > 2 and part[-2].word == "AS" and part[-1].is_name():
        return part[:-2], part[-1].text
    if len(part) > 1 and part[-1].is_name() and (part[-2].is_mark(")") or part[-2].of is Of.VARIABLE):
        return part[:-1], part[-1].text
    return part, None
