"""Tokens -> sqlglot's syntax tree. The only place that calls sqlglot's parser.

sqlglot is given text of our own making: every hole is a number or string that occurs nowhere else, so that a literal in
the tree names its hole; names with unusual characters are replaced by plain ones; clauses that sqlglot does not know,
and that change nothing of what we ask of the tree, are left out. What comes back is used only as far as it is
understood (`parser.query`); a tree that falls back to an unparsed command is refused here.
"""

from __future__ import annotations

import enum
import functools
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlglot import exp
from sqlglot.dialects.dialect import Dialect
from sqlglot.errors import SqlglotError
from sqlglot.parser import Parser
from sqlglot.tokens import Tokenizer

from parser.members import quick
from parser.rows import value_of
from parser.statement import Hole, Opaque, Param, Value, Word
from parser.tokens import QUOTED, Of, Token
from parser.vocabulary import vocabulary

logging.getLogger("sqlglot").setLevel(logging.CRITICAL)  # it warns of what we find out ourselves


class NotUnderstood(Exception):
    """The statement, or a part of it that matters, is not understood; the text says what."""


_NUMBER = 7770000000
_PARAM = 8880000000
_LIST = 9990000000
_STRING = "$.h"  # also a JSON path, which `->` wants
_DOUBLE_QUOTED = "$.d"
_MAX_DEPTH = 60  # the compiled parser recurses on the C stack, which cannot raise RecursionError
_MAX_CHAIN = 60
_MAX_TOKENS = 30_000  # what takes sqlglot about a second
_MAX_OPEN_JOINS = 8  # sqlglot tries twice to find the ON of each join that has none: the time doubles with each
_PREFIX_WORDS = vocabulary("""
    NOT BINARY CASE EXISTS WHEN THEN ELSE INTERVAL SELECT ALL DISTINCT PRIOR LATERAL WITH
""")
# Words that other dialects give a meaning to, in MySQL names like any other: `t FULL JOIN u` joins t, called FULL.
_NAMES_HERE = frozenset(["ANTI", "ASOF", "FULL", "ILIKE", "OVERLAPS", "QUALIFY", "ROLLBACK", "SEMI", "TABLESAMPLE"])
_CLOSES_JOIN = frozenset(["ON", "USING", "CROSS", "NATURAL"])
# The words that `render` looks at twice.
_TELLING = frozenset(["CASE", "END", "JOIN", "STRAIGHT_JOIN", "SELECT", "DEFAULT"]) | _CLOSES_JOIN | _PREFIX_WORDS
_SELECT_MODIFIERS = vocabulary("""
    HIGH_PRIORITY STRAIGHT_JOIN SQL_SMALL_RESULT SQL_BIG_RESULT SQL_BUFFER_RESULT SQL_CACHE SQL_NO_CACHE
    SQL_CALC_FOUND_ROWS
""")
_DEFAULT_CALL = "default_of"  # DEFAULT(column), which sqlglot does not know
_PREFIX_MARKS = frozenset("-+!~({[")


@quick
class Role(enum.Enum):
    """What a kind of node means to those who look for something inside of expressions."""

    PLAIN = "plain"
    LEAF = "leaf"
    QUERY = "query"
    TABLE = "table"
    WINDOW = "window"
    AGGREGATE = "aggregate"
    ANONYMOUS = "anonymous"  # a call of a function that sqlglot does not know: an aggregate by its name, or not
    REFUSED = "refused"  # a statement that sqlglot has not taken apart


@functools.cache
def role_of(kind: type[object]) -> Role:
    """The role of the nodes of one class."""
    if issubclass(kind, (exp.Command, exp.Alter, exp.Create)):
        return Role.REFUSED
    if issubclass(kind, (exp.Subquery, exp.Select, exp.SetOperation)):
        return Role.QUERY
    if issubclass(kind, exp.Table):
        return Role.TABLE
    if issubclass(kind, exp.Window):
        return Role.WINDOW
    if issubclass(kind, exp.AggFunc):
        return Role.AGGREGATE
    if issubclass(kind, exp.Anonymous):
        return Role.ANONYMOUS
    if issubclass(kind, (exp.Literal, exp.Identifier)):
        return Role.LEAF
    return Role.PLAIN if issubclass(kind, exp.Expression) else Role.LEAF


class Tree:
    """The syntax tree of one statement, and how its literals and names are those of the shape."""

    __slots__ = ("_lists", "_names", "_places", "nodes", "root")

    def __init__(self, root: exp.Expression, rendered: Rendered, nodes: Mapping[Role, Sequence[exp.Expr]]) -> None:
        self.root = root
        self.nodes = nodes  # all but those that are PLAIN or LEAF
        self._names = rendered.names
        self._lists = rendered.lists
        self._places = rendered.places

    def span(self, identifier: exp.Expression) -> tuple[int, int] | None:
        """Where a name stands in the text that the tokens are of."""
        found = self._places.get(identifier.meta.get("start", -1))
        return None if found is None else (found.start, found.end)

    def name(self, identifier: str) -> str:
        """The name that stands in the shape."""
        if identifier.startswith("q__") and identifier[3:].isdigit():
            return self._names[int(identifier[3:])]
        return identifier

    def values(self, choices: Sequence[exp.Expression]) -> list[Value | None]:
        """The constants of an IN list, None for other expressions."""
        if len(choices) == 1 and isinstance(choices[0], exp.Literal) and choices[0].this.isdigit():
            number = int(choices[0].this) - _LIST
            if 0 <= number < len(self._lists):
                return list(self._lists[number])
        return [self.value(choice) for choice in choices]

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

    def amount(self, node: exp.Expression | None) -> Hole | None:
        """The constant number of an INTERVAL, which sqlglot makes a string of."""
        if not isinstance(node, exp.Literal):
            return None
        number = exp.Literal(this=node.this, is_string=False) if node.this.isdigit() else node
        value = _literal(number, negative=False)
        return value if isinstance(value, Hole) else None


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
    if _PARAM <= number < _LIST and not negative:
        return Param(number - _PARAM)
    return None


@dataclass(slots=True)
class Rendered:
    """Text for sqlglot; the names that its stand-ins stand for, and the long IN lists likewise."""

    text: str = ""
    names: list[str] = field(default_factory=list)
    lists: list[list[Value]] = field(default_factory=list)
    places: dict[int, Token] = field(default_factory=dict)  # names, by where they are in `text`


_LONG_LIST = 8  # of more constants than these, sqlglot sees one


def _without_long_lists(tokens: Sequence[Token], lists: list[list[Value]]) -> Sequence[Token]:
    """`IN (1, 2, 3, ..)` with one stand-in for all of the constants."""
    kept: list[Token] = []
    done = 0
    for i in [i for i, t in enumerate(tokens) if t.word == "IN"]:
        if i < done or i + 2 * _LONG_LIST >= len(tokens) or tokens[i + 1].mark != "(":
            continue
        found = _constants(tokens, i + 2)
        end = i + 2 + 2 * len(found) - 1
        if len(found) > _LONG_LIST and end < len(tokens) and tokens[end].mark == ")":
            number = Token(Of.NUMBER, "", -1, -2, _LIST - _NUMBER + len(lists))
            kept += [*tokens[done : i + 2], number]
            lists.append(found)
            done = end
    return [*kept, *tokens[done:]] if done else tokens


def _constants(tokens: Sequence[Token], at: int) -> list[Value]:
    """The constants, one token each, that stand between commas from `at` on."""
    found: list[Value] = []
    while at < len(tokens):
        value = value_of(tokens[at : at + 1])
        if isinstance(value, Opaque):
            break
        found.append(value)
        if at + 1 >= len(tokens) or tokens[at + 1].mark != ",":
            break
        at += 2
    return found


def render(tokens: Sequence[Token]) -> Rendered:
    """The text for sqlglot. Raises NotUnderstood if it is nested too deeply."""
    rendered = Rendered()
    tokens = _without_long_lists(tokens, rendered.lists)
    if len(tokens) > _MAX_TOKENS:
        raise NotUnderstood("too long")
    parts: list[str] = []
    names = rendered.names
    places = rendered.places
    size = 0
    depth = chain = 0
    open_joins = [0]  # joins whose ON or USING is still to come, for every parenthesis that is open
    end = -1  # of the last token, to see where white space was; those that stand nowhere are -1 to -2
    selecting = False  # between SELECT and its first item
    piece = ""
    for number, t in enumerate(tokens):
        of, text, begins, ends, hole, word, mark = t
        if selecting:
            if word in _SELECT_MODIFIERS:
                continue
            selecting = word in ("ALL", "DISTINCT", "DISTINCTROW")
        if (begins != end and parts) or (mark == "-" and piece == "-"):  # `--`: a comment
            parts.append(" ")
            size += 1
        end = ends
        piece = text
        if mark:
            if mark == "(":
                depth += 1
                if depth > _MAX_DEPTH:
                    raise NotUnderstood("nested too deeply")
                open_joins.append(0)
            elif mark == ")":
                depth -= 1
                if len(open_joins) > 1:
                    open_joins.pop()
            if mark in _PREFIX_MARKS:
                chain += 1
                if chain > _MAX_CHAIN:
                    raise NotUnderstood("nested too deeply")
            else:
                chain = 0
        elif word:
            places[size] = t
            if word not in _TELLING:
                chain = 0
            else:
                if word == "CASE":
                    depth += 1
                    if depth > _MAX_DEPTH:
                        raise NotUnderstood("nested too deeply")
                elif word == "END":
                    depth -= 1
                elif word == "JOIN" or word == "STRAIGHT_JOIN":
                    open_joins[-1] += 1
                    if open_joins[-1] > _MAX_OPEN_JOINS:
                        raise NotUnderstood("too many joins without a condition")
                elif word in _CLOSES_JOIN and open_joins[-1]:
                    open_joins[-1] -= 1
                elif word == "SELECT":
                    open_joins[-1] = 0
                    selecting = True
                elif word == "DEFAULT" and number + 1 < len(tokens) and tokens[number + 1].mark == "(":
                    piece = _DEFAULT_CALL
                chain = chain + 1 if word in _PREFIX_WORDS else 0
                if chain > _MAX_CHAIN:
                    raise NotUnderstood("nested too deeply")
            if word in _NAMES_HERE or not (text.isascii() and text.isidentifier()):
                piece = _stand_in(text, names)
        elif of is QUOTED:
            chain = 0
            places[size] = t
            piece = f"`{text}`" if text.isascii() and text.isidentifier() else _stand_in(text, names)
        else:
            chain = 0
            if of is Of.NUMBER:
                piece = f" {_NUMBER + hole} "
            elif of is Of.PARAM:
                piece = f" {_PARAM + hole} "
            elif of is Of.STRING:
                quote = _DOUBLE_QUOTED if text == '"' else _STRING
                piece = f"'{quote}{hole}'"
                if len(text) > 1:  # n'..', x'..', b'..': not the bytes written
                    piece = f"CONCAT({piece})"
            elif text.startswith("@@"):
                piece = "@@v"
            else:
                piece = "@v"
        parts.append(piece)
        size += len(piece)
    rendered.text = "".join(parts)
    return rendered


def _stand_in(name: str, names: list[str]) -> str:
    names.append(name)
    return f"`q__{len(names) - 1}`"


_SET_WORDS = frozenset({"UNION", "INTERSECT", "EXCEPT"})


# What `sqlglot.parse` makes anew for every text, which takes a third of a short one's time.
_MYSQL = Dialect.get_or_raise("mysql")
_idle: list[tuple[Tokenizer, Parser]] = []  # whoever takes a pair has it alone
_LONG = 20_000  # characters; a pair keeps its last text and the tokens of it


def parse_text(text: str) -> list[exp.Expr | None]:
    """sqlglot's trees of a text. Raises its errors."""
    pair = _idle.pop() if _idle else (_MYSQL.tokenizer(), _MYSQL.parser())
    trees = pair[1].parse(pair[0].tokenize(text), text)
    if len(text) < _LONG:  # and no error has left it who knows how
        _idle.append(pair)
    return trees


def parse_tree(tokens: Sequence[Token]) -> Tree:
    """The tree of one statement. Raises NotUnderstood."""
    rendered = render(tokens)
    if [t for t in tokens if t.text.startswith("q__") and t.is_name()]:
        raise NotUnderstood("a name that looks like one of our stand-ins")
    if len([t for t in tokens if t.word in _SET_WORDS]) > _MAX_DEPTH:
        raise NotUnderstood("nested too deeply")
    try:
        trees = parse_text(rendered.text)
    except (SqlglotError, ValueError, TypeError, AttributeError, KeyError, IndexError, RecursionError) as error:
        # Besides its own errors the library raises Python's on text that it does not expect.
        raise NotUnderstood(f"sqlglot: {_first_line(error)}") from error
    if len(trees) != 1 or not isinstance(trees[0], exp.Expression):
        raise NotUnderstood("not one statement")
    root = trees[0]
    told: dict[Role, list[exp.Expr]] = {}
    nodes: list[Any] = list(root.walk())
    for node in nodes:
        node.parent = None  # nobody asks for it, and without such cycles the tree goes as soon as it is read
        role = role_of(node.__class__)
        if role is not Role.PLAIN and role is not Role.LEAF:
            told.setdefault(role, []).append(node)
    if Role.REFUSED in told:
        raise NotUnderstood("sqlglot does not know the statement")
    return Tree(root, rendered, told)


def _first_line(error: Exception) -> str:
    line = str(error).partition("\n")[0]
    return re.sub(r"\$\.[hd]\d+|(?:777|888)\d{7}|<Token .*", "?", line)[:200]
