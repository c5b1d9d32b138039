"""Tokens -> sqlglot's syntax tree. The only place that calls sqlglot's parser.

sqlglot is given text of our own making: every hole is a number or string that occurs nowhere else, so that a literal in
the tree names its hole; names with unusual characters are replaced by plain ones; clauses that sqlglot does not know,
and that change nothing of what we ask of the tree, are left out. What comes back is used only as far as it is
understood (`parser.query`); a tree that falls back to an unparsed command is refused here.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from parser.statement import Hole, Param, Value, Word
from parser.tokens import Of, Token
from parser.vocabulary import vocabulary

logging.getLogger("sqlglot").setLevel(logging.CRITICAL)  # it warns of what we find out ourselves


class NotUnderstood(Exception):
    """The statement, or a part of it that matters, is not understood; the text says what."""


_NUMBER = 7770000000
_PARAM = 8880000000
_STRING = "$.h"  # also a JSON path, which `->` wants
_DOUBLE_QUOTED = "$.d"
_MAX_DEPTH = 60  # the compiled parser recurses on the C stack, which cannot raise RecursionError
_MAX_CHAIN = 60
_MAX_OPEN_JOINS = 8  # sqlglot tries twice to find the ON of each join that has none: the time doubles with each
_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PREFIX_WORDS = vocabulary("""
    NOT BINARY CASE EXISTS WHEN THEN ELSE INTERVAL SELECT ALL DISTINCT PRIOR LATERAL WITH
""")
_PREFIX_MARKS = frozenset("-+!~({[")


class Tree:
    """The syntax tree of one statement, and how its literals and names are those of the shape."""

    __slots__ = ("_names", "root")

    def __init__(self, root: exp.Expression, names: Sequence[str]) -> None:
        self.root = root
        self._names = names

    def name(self, identifier: str) -> str:
        """The name that stands in the shape."""
        if identifier.startswith("q__") and identifier[3:].isdigit():
            return self._names[int(identifier[3:])]
        return identifier

    def value(self, node: exp.Expression | None) -> Value | None:
        """The constant that a node is, or None for any other expression."""
        while isinstance(node, exp.Paren):
            node = node.this
        if isinstance(node, exp.Literal):
            return _literal(node, negative=False)
        if isinstance(node, exp.Neg) and isinstance(node.this, exp.Literal) and not node.this.is_string:
            return _literal(node.this, negative=True)
        if isinstance(node, exp.Null):
            return Word.NULL
        if isinstance(node, exp.Boolean):
            return Word.TRUE if node.this else Word.FALSE
        return None


def _literal(node: exp.Literal, negative: bool) -> Value | None:
    text = node.this
    if node.is_string:
        number = text[len(_STRING) :]
        if not text.startswith((_STRING, _DOUBLE_QUOTED)) or not number.isdigit():
            return None
        return Hole(int(number), True, double_quoted=text.startswith(_DOUBLE_QUOTED))
    if not text.isdigit():
        return None
    number = int(text)
    if _NUMBER <= number < _PARAM:
        return Hole(number - _NUMBER, False, negative)
    if number >= _PARAM and not negative:
        return Param(number - _PARAM)
    return None


def render(tokens: Sequence[Token]) -> tuple[str, list[str]]:
    """The text for sqlglot, and the names that stand-ins in it stand for. Raises NotUnderstood if nested too deeply."""
    parts: list[str] = []
    names: list[str] = []
    depth = chain = 0
    open_joins = [0]  # joins whose ON or USING is still to come, for every parenthesis that is open
    end = -1
    for t in tokens:
        of = t.of
        if of is Of.MARK:
            if t.text == "(":
                depth += 1
                if depth > _MAX_DEPTH:
                    raise NotUnderstood("nested too deeply")
                open_joins.append(0)
            elif t.text == ")":
                depth -= 1
                if len(open_joins) > 1:
                    open_joins.pop()
            chain = chain + 1 if t.text in _PREFIX_MARKS else 0
            piece = t.text
        elif of is Of.WORD:
            upper = t.text.upper()
            if upper == "CASE":
                depth += 1
                if depth > _MAX_DEPTH:
                    raise NotUnderstood("nested too deeply")
            elif upper == "END":
                depth -= 1
            elif upper == "JOIN" or upper == "STRAIGHT_JOIN":
                open_joins[-1] += 1
                if open_joins[-1] > _MAX_OPEN_JOINS:
                    raise NotUnderstood("too many joins without a condition")
            elif (upper == "ON" or upper == "USING" or upper == "CROSS" or upper == "NATURAL") and open_joins[-1]:
                open_joins[-1] -= 1
            elif upper == "SELECT":
                open_joins[-1] = 0
            chain = chain + 1 if upper in _PREFIX_WORDS else 0
            piece = t.text if _PLAIN_NAME.fullmatch(t.text) else _stand_in(t.text, names)
        else:
            chain = 0
            if of is Of.NUMBER:
                piece = f" {_NUMBER + t.hole} "
            elif of is Of.PARAM:
                piece = f" {_PARAM + t.hole} "
            elif of is Of.STRING:
                mark = _DOUBLE_QUOTED if t.text == '"' else _STRING
                text = f"'{mark}{t.hole}'"
                piece = f"CONCAT({text})" if len(t.text) > 1 else text  # n'..', x'..', b'..': not the bytes written
            elif of is Of.QUOTED:
                piece = f"`{t.text}`" if _PLAIN_NAME.fullmatch(t.text) else _stand_in(t.text, names)
            elif t.text.startswith("@@"):
                piece = "@@v"
            else:
                piece = "@v"
        if chain > _MAX_CHAIN:
            raise NotUnderstood("nested too deeply")
        if t.start > end >= 0:
            parts.append(" ")
        parts.append(piece)
        end = t.end
    return "".join(parts), names


def _stand_in(name: str, names: list[str]) -> str:
    names.append(name)
    return f"`q__{len(names) - 1}`"


def parse_tree(tokens: Sequence[Token]) -> Tree:
    """The tree of one statement. Raises NotUnderstood."""
    text, names = render(tokens)
    if any(t.is_name() and t.text.startswith("q__") for t in tokens):
        raise NotUnderstood("a name that looks like one of our stand-ins")
    if sum(t.word in ("UNION", "INTERSECT", "EXCEPT") for t in tokens) > _MAX_DEPTH:
        raise NotUnderstood("nested too deeply")
    try:
        trees = sqlglot.parse(text, dialect="mysql")
    except (SqlglotError, ValueError, TypeError, AttributeError, KeyError, IndexError, RecursionError) as error:
        # Besides its own errors the library raises Python's on text that it does not expect.
        raise NotUnderstood(f"sqlglot: {_first_line(error)}") from error
    if len(trees) != 1 or not isinstance(trees[0], exp.Expression):
        raise NotUnderstood("not one statement")
    root = trees[0]
    for node in root.walk():
        if isinstance(node, (exp.Command, exp.Alter, exp.Create)):
            raise NotUnderstood("sqlglot does not know the statement")
    return Tree(root, names)


def _first_line(error: Exception) -> str:
    line = str(error).partition("\n")[0]
    return re.sub(r"\$\.[hd]\d+|(?:777|888)\d{7}|<Token .*", "?", line)[:200]
