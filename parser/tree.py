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
from dataclasses import dataclass, field

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from parser.rows import value_of
from parser.statement import Hole, Opaque, Param, Value, Word
from parser.tokens import Of, Token
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
_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PREFIX_WORDS = vocabulary("""
    NOT BINARY CASE EXISTS WHEN THEN ELSE INTERVAL SELECT ALL DISTINCT PRIOR LATERAL WITH
""")
# Words that other dialects give a meaning to, in MySQL names like any other: `t FULL JOIN u` joins t, called FULL.
_NAMES_HERE = frozenset(["ANTI", "ASOF", "FULL", "ILIKE", "OVERLAPS", "QUALIFY", "ROLLBACK", "SEMI", "TABLESAMPLE"])
_SELECT_MODIFIERS = vocabulary("""
    HIGH_PRIORITY STRAIGHT_JOIN SQL_SMALL_RESULT SQL_BIG_RESULT SQL_BUFFER_RESULT SQL_CACHE SQL_NO_CACHE
    SQL_CALC_FOUND_ROWS
""")
_DEFAULT_CALL = "default_of"  # DEFAULT(column), which sqlglot does not know
_PREFIX_MARKS = frozenset("-+!~({[")


class Tree:
    """The syntax tree of one statement, and how its literals and names are those of the shape."""

    __slots__ = ("_lists", "_names", "_places", "root")

    def __init__(self, root: exp.Expression, rendered: Rendered) -> None:
        self.root = root
        self._names = rendered.names
        self._lists = rendered.lists
        self._places = rendered.places

    def span(self, identifier: exp.Expression) -> tuple[int, int] | None:
        """Where a name stands in the text that the tokens are of."""
        return self._places.get(identifier.meta.get("start", -1))

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
    places: dict[int, tuple[int, int]] = field(default_factory=dict)  # of names: by where they are in `text`


_LONG_LIST = 8  # of more constants than these, sqlglot sees one


_IN = frozenset({"IN", "in", "In", "iN"})


def _without_long_lists(tokens: Sequence[Token], lists: list[list[Value]]) -> Sequence[Token]:
    """`IN (1, 2, 3, ..)` with one stand-in for all of the constants."""
    kept: list[Token] = []
    done = i = 0
    while i < len(tokens):
        if (
            tokens[i].text in _IN
            and tokens[i].of is Of.WORD
            and i + 2 * _LONG_LIST < len(tokens)
            and tokens[i + 1].is_mark("(")
        ):
            found = _constants(tokens, i + 2)
            if len(found) > _LONG_LIST:
                end = i + 2 + 2 * len(found) - 1
                if end < len(tokens) and tokens[end].is_mark(")"):
                    number = Token.made(Of.NUMBER, "")._replace(hole=_LIST - _NUMBER + len(lists))
                    kept += [*tokens[done : i + 2], number]
                    lists.append(found)
                    done = i = end
        i += 1
    return [*kept, *tokens[done:]] if done else tokens


def _constants(tokens: Sequence[Token], at: int) -> list[Value]:
    """The constants, one token each, that stand between commas from `at` on."""
    found: list[Value] = []
    while at < len(tokens):
        value = value_of(tokens[at : at + 1])
        if isinstance(value, Opaque):
            break
        found.append(value)
        if at + 1 >= len(tokens) or not tokens[at + 1].is_mark(","):
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
    end: int | None = None
    selecting = False  # between SELECT and its first item
    for number, t in enumerate(tokens):
        of = t.of
        if selecting:
            upper = t.word
            if upper in _SELECT_MODIFIERS:
                continue
            selecting = upper in ("ALL", "DISTINCT", "DISTINCTROW")
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
                selecting = True
            chain = chain + 1 if upper in _PREFIX_WORDS else 0
            places[size + (t.start != end and end is not None)] = (t.start, t.end)
            if upper in _NAMES_HERE or not _PLAIN_NAME.fullmatch(t.text):
                piece = _stand_in(t.text, names)
            elif upper == "DEFAULT" and number + 1 < len(tokens) and tokens[number + 1].is_mark("("):
                piece = _DEFAULT_CALL
            else:
                piece = t.text
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
                places[size + (t.start != end and end is not None)] = (t.start, t.end)
                piece = f"`{t.text}`" if _PLAIN_NAME.fullmatch(t.text) else _stand_in(t.text, names)
            elif t.text.startswith("@@"):
                piece = "@@v"
            else:
                piece = "@v"
        if chain > _MAX_CHAIN:
            raise NotUnderstood("nested too deeply")
        if (t.start != end and end is not None) or (piece == "-" and parts and parts[-1] == "-"):  # `--`: a comment
            parts.append(" ")
            size += 1
        parts.append(piece)
        size += len(piece)
        end = t.end
    rendered.text = "".join(parts)
    return rendered


def _stand_in(name: str, names: list[str]) -> str:
    names.append(name)
    return f"`q__{len(names) - 1}`"


_SET_WORDS = frozenset({"UNION", "INTERSECT", "EXCEPT"})


def parse_tree(tokens: Sequence[Token]) -> Tree:
    """The tree of one statement. Raises NotUnderstood."""
    rendered = render(tokens)
    branches = 0
    for t in tokens:
        if t.of is Of.WORD or t.of is Of.QUOTED:
            if t.text.startswith("q__"):
                raise NotUnderstood("a name that looks like one of our stand-ins")
            branches += t.of is Of.WORD and t.text.upper() in _SET_WORDS
    if branches > _MAX_DEPTH:
        raise NotUnderstood("nested too deeply")
    try:
        trees = sqlglot.parse(rendered.text, dialect="mysql")
    except (SqlglotError, ValueError, TypeError, AttributeError, KeyError, IndexError, RecursionError) as error:
        # Besides its own errors the library raises Python's on text that it does not expect.
        raise NotUnderstood(f"sqlglot: {_first_line(error)}") from error
    if len(trees) != 1 or not isinstance(trees[0], exp.Expression):
        raise NotUnderstood("not one statement")
    root = trees[0]
    for node in root.walk():
        if isinstance(node, (exp.Command, exp.Alter, exp.Create)):
            raise NotUnderstood("sqlglot does not know the statement")
    return Tree(root, rendered)


def _first_line(error: Exception) -> str:
    line = str(error).partition("\n")[0]
    return re.sub(r"\$\.[hd]\d+|(?:777|888)\d{7}|<Token .*", "?", line)[:200]
