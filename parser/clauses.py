"""Tokens -> the outline of a plain SELECT (`parser.outline`).

sqlglot's tree does not say where things stand, so clauses are found among the tokens; the tree is asked whether it sees
the same select items. A SELECT that has a clause which is not known here, or is read differently by the two, has no
outline.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sqlglot import exp

from parser import functions
from parser.outline import Comparison, Expression, Limit, Outline, SelectItem, SortKey, Span
from parser.rows import split_commas, value_of
from parser.statement import Hole, Opaque
from parser.tokens import QUOTED, Of, Token
from parser.tree import Tree
from parser.vocabulary import vocabulary

_MODIFIERS = vocabulary("""
    ALL DISTINCT DISTINCTROW HIGH_PRIORITY STRAIGHT_JOIN SQL_SMALL_RESULT SQL_BIG_RESULT SQL_BUFFER_RESULT SQL_CACHE
    SQL_NO_CACHE SQL_CALC_FOUND_ROWS
""")
_UNKNOWN_CLAUSES = vocabulary("UNION INTERSECT EXCEPT MINUS INTO WINDOW PROCEDURE FETCH")
_LEADING = _UNKNOWN_CLAUSES | vocabulary("GROUP ORDER FROM WHERE HAVING LIMIT FOR LOCK")
_DERIVING = vocabulary("SELECT VALUES TABLE WITH JSON_TABLE LATERAL")
_NO_COLUMNS = frozenset({"null", "true", "false", "default", *functions.WITHOUT_PARENTHESES})
# A name behind one of these is no alias.
_GOES_ON = vocabulary("""
    AND OR XOR NOT IS LIKE RLIKE REGEXP IN BETWEEN DIV MOD COLLATE BINARY ESCAPE CASE WHEN THEN ELSE INTERVAL SOUNDS AS
    DISTINCT ALL EXISTS OVER MEMBER OF
""")
_BEFORE_STRINGS = vocabulary("DATE TIME TIMESTAMP") | _GOES_ON
_NEVER_ALIAS = vocabulary("END NULL TRUE FALSE UNKNOWN")


_ORDER = ("FROM", "WHERE", "GROUP", "HAVING", "ORDER", "LIMIT", "LOCK")


_COMPARISONS = frozenset({"=", "<>", "!=", "<", "<=", ">", ">="})
_LOGIC = vocabulary("OR XOR NOT BETWEEN CASE INTERVAL IS IN LIKE REGEXP RLIKE")


class _NoOutline(Exception):
    """This SELECT has none."""


def read_outline(tokens: Sequence[Token], tree: Tree, offset: Callable[[int], int]) -> Outline | None:
    """The outline of a SELECT; None where it has none. `offset` turns places in the text into places in the bytes."""
    try:
        return _Reader(tokens, offset).outline(tree)
    except _NoOutline:
        return None


@dataclass(slots=True)
class _Clause:
    word: str
    start: int  # token
    body: int
    end: int = -1


class _Reader:
    def __init__(self, tokens: Sequence[Token], offset: Callable[[int], int]) -> None:
        self._tokens = tokens
        self._offset = offset

    def outline(self, tree: Tree) -> Outline:
        tokens = self._tokens
        root = tree.root
        if not tokens or tokens[0].word != "SELECT" or not isinstance(root, exp.Select):
            raise _NoOutline
        at = 1
        while at < len(tokens) and tokens[at].word in _MODIFIERS:
            at += 1
        modifiers = frozenset(t.word for t in tokens[1:at])
        clauses = self._clauses(at)
        if "FROM" not in clauses:
            raise _NoOutline
        items = [self._item(part) for part in split_commas(tokens[at : clauses["FROM"].start])]
        self._check(items, root, tree)
        source = tokens[clauses["FROM"].body : clauses["FROM"].end]
        group, rollup = self._group(clauses.get("GROUP"))
        limit = self._limit(clauses.get("LIMIT"))
        order_clause = clauses.get("ORDER")
        order = self._order(order_clause)
        having = clauses.get("HAVING")
        spans = self._spans(clauses)
        return Outline(
            tuple(items),
            self._offset(tokens[clauses["FROM"].start - 1].end),
            modifiers,
            group,
            spans["GROUP"],
            rollup,
            self._having(tokens[having.body : having.end]) if having is not None else None,
            spans["HAVING"],
            order,
            spans["ORDER"],
            limit,
            spans["LIMIT"],
            derived=any(t.word in _DERIVING for t in source),
            merged=any(t.word in ("USING", "NATURAL") for t in source),
        )

    def _clauses(self, at: int) -> dict[str, _Clause]:
        """The clauses behind the select items, by their first words."""
        tokens = self._tokens
        found: dict[str, _Clause] = {}
        last: _Clause | None = None
        depth = 0
        for i in range(at, len(tokens)):
            t = tokens[i]
            if t.mark:
                depth += (t.mark == "(") - (t.mark == ")")
                continue
            word = t.word
            if depth or word not in _LEADING or tokens[i - 1].mark == ".":
                continue
            following = tokens[i + 1].word if i + 1 < len(tokens) else ""
            if word in _UNKNOWN_CLAUSES:
                raise _NoOutline
            if word in ("GROUP", "ORDER"):
                if following != "BY" or tokens[i - 1].word == "FOR":  # USE INDEX FOR ORDER BY (..)
                    raise _NoOutline
                clause = _Clause(word, i, i + 2)
            elif word in ("FROM", "WHERE", "HAVING", "LIMIT"):
                clause = _Clause(word, i, i + 1)
            elif (word == "FOR" and following in ("UPDATE", "SHARE")) or (word == "LOCK" and following == "IN"):
                clause = _Clause("LOCK", i, i + 1)
            else:
                continue
            if word in found:
                raise _NoOutline
            if last is not None:
                if _ORDER.index(clause.word) <= _ORDER.index(last.word):
                    raise _NoOutline
                last.end = i
            found[clause.word] = last = clause
        if last is not None:
            last.end = len(tokens)
        return found

    def _spans(self, clauses: dict[str, _Clause]) -> dict[str, Span]:
        spans: dict[str, Span] = {}
        end = 0
        for word in _ORDER:
            clause = clauses.get(word)
            if clause is None:
                spans[word] = (end, end)
            else:
                first, last = self._tokens[clause.start], self._tokens[clause.end - 1]
                end = self._offset(last.end)
                spans[word] = (self._offset(first.start), end)
        return spans

    # Select items

    def _item(self, tokens: Sequence[Token]) -> SelectItem:
        if not tokens:
            raise _NoOutline
        expression, alias = tokens, ""
        if len(tokens) > 2 and tokens[-2].word == "AS":
            if tokens[-1].of is Of.STRING:
                raise _NoOutline  # its text is not known here
            expression, alias = tokens[:-2], tokens[-1].text.lower()
        elif len(tokens) > 1 and self._has_alias(tokens):
            expression, alias = tokens[:-1], tokens[-1].text.lower()
        return SelectItem(self._expression(expression), alias)

    @staticmethod
    def _has_alias(tokens: Sequence[Token]) -> bool:
        last, before = tokens[-1], tokens[-2]
        if last.of is Of.STRING and (before.of is not Of.MARK or before.text == ")"):
            if before.word not in _BEFORE_STRINGS and not before.text.startswith("_"):
                raise _NoOutline  # an alias in quotes, or two literals that are one
        if not last.is_name() or last.word in _NEVER_ALIAS:
            return False
        if before.of is Of.MARK:
            return before.text == ")"
        if before.word in _GOES_ON:
            return False
        return not any(t.word == "INTERVAL" for t in tokens)

    @staticmethod
    def _check(items: Sequence[SelectItem], root: exp.Select, tree: Tree) -> None:
        """Raises _NoOutline where sqlglot sees other select items."""
        if len(items) != len(root.expressions):
            raise _NoOutline
        for item, node in zip(items, root.expressions):
            alias = tree.name(node.alias).lower() if isinstance(node, exp.Alias) else ""
            if alias != item.alias or (not item.expression.form):
                raise _NoOutline

    # Other clauses

    def _group(self, clause: _Clause | None) -> tuple[tuple[Expression, ...], bool]:
        if clause is None:
            return (), False
        tokens = self._tokens[clause.body : clause.end]
        rollup = len(tokens) > 2 and tokens[-1].word == "ROLLUP" and tokens[-2].word == "WITH"
        if rollup:
            tokens = tokens[:-2]
        parts = []
        for part in split_commas(tokens):
            parts.append(self._expression(part[:-1] if part and part[-1].word in ("ASC", "DESC") else part))
        return tuple(parts), rollup

    def _order(self, clause: _Clause | None) -> tuple[SortKey, ...]:
        if clause is None:
            return ()
        keys = []
        for part in split_commas(self._tokens[clause.body : clause.end]):
            direction = part[-1].word if part else ""
            tokens = part[:-1] if direction in ("ASC", "DESC") else part
            keys.append(SortKey(self._expression(tokens), direction == "DESC"))
        return tuple(keys)

    def _limit(self, clause: _Clause | None) -> Limit | None:
        if clause is None:
            return None
        body = self._tokens[clause.body : clause.end]
        middle = body[1] if len(body) == 3 else None
        values = [value_of(body[i : i + 1]) for i in ((0,) if middle is None else (0, 2))]
        if len(body) not in (1, 3) or any(isinstance(value, Opaque) for value in values):
            raise _NoOutline
        span = (self._offset(body[0].start), self._offset(body[-1].end))
        if middle is None:
            return Limit(span, values[0])
        if middle.is_mark(","):
            return Limit(span, values[1], values[0])
        if middle.word == "OFFSET":
            return Limit(span, values[0], values[1])
        raise _NoOutline

    def _having(self, tokens: Sequence[Token]) -> tuple[Comparison, ...] | None:
        terms = []
        for term in _split(tokens, lambda t: t.word == "AND"):
            sides = _split(term, lambda t: t.of is Of.MARK and t.text in _COMPARISONS)
            if len(sides) != 2 or not all(sides) or any(t.word in _LOGIC or t.text == "||" for t in term):
                return None
            operator = term[len(sides[0])].text
            left, right = map(self._expression, sides)
            terms.append(Comparison(left, "<>" if operator == "!=" else operator, right))
        return tuple(terms)

    # Expressions

    def _expression(self, tokens: Sequence[Token]) -> Expression:
        if not tokens:
            raise _NoOutline
        span = (self._offset(tokens[0].start), self._offset(tokens[-1].end))
        form = tuple([_form(t) for t in tokens])
        holes = tuple([t.hole for t in tokens if t.hole >= 0 and t.of is not Of.PARAM])
        inside = _without_parentheses(tokens)
        constant = value_of(inside)
        if isinstance(constant, Opaque):
            constant = _signed_number(inside) or constant
        named: list[str] = []
        called: list[str] = []
        last = len(tokens) - 1
        for i, t in enumerate(tokens):
            if t.word or t.of is QUOTED:
                (called if i < last and tokens[i + 1].mark == "(" else named).append(t.text.lower())
        names, calls = frozenset(named), frozenset(called)
        position = constant if isinstance(constant, Hole) and len(tokens) == 1 and not constant.is_string else None
        table, column = _column(inside)
        call, arguments, distinct = self._call(inside)
        return Expression(
            span,
            form,
            holes,
            column,
            table,
            None if isinstance(constant, Opaque) else constant,
            position,
            call,
            arguments,
            distinct,
            names,
            calls,
            star=inside[-1].mark == "*" and (len(inside) == 1 or inside[-2].mark == "."),
        )

    def _call(self, tokens: Sequence[Token]) -> tuple[str, tuple[Expression, ...], bool]:
        if len(tokens) < 3 or not tokens[0].word or tokens[1].mark != "(":
            return "", (), False
        depth = 0
        for i, t in enumerate(tokens):
            if t.mark:
                depth += (t.mark == "(") - (t.mark == ")")
                if not depth and i and i < len(tokens) - 1:
                    return "", (), False
        inside = tokens[2:-1]
        distinct = bool(inside) and inside[0].word == "DISTINCT"
        if inside and inside[0].word in ("DISTINCT", "ALL"):
            inside = inside[1:]
        parts = split_commas(inside) if inside else []
        return tokens[0].text.lower(), tuple(self._expression(part) for part in parts), distinct


def _split(tokens: Sequence[Token], at: Callable[[Token], bool]) -> list[Sequence[Token]]:
    """The parts between the tokens outside of parentheses that `at` says yes to."""
    parts = []
    depth = begin = 0
    for i, t in enumerate(tokens):
        if t.mark:
            depth += (t.mark == "(") - (t.mark == ")")
        if not depth and at(t):
            parts.append(tokens[begin:i])
            begin = i + 1
    parts.append(tokens[begin:])
    return parts


def _form(t: Token) -> str:
    if t.word:
        return t.text.lower()
    if t.mark:
        return t.mark.lower()
    if t.of is Of.PARAM:
        return f"?{t.hole}"
    if t.hole >= 0:
        return f"\0{t.text}"
    name = t.text.lower()
    return f"`{name}" if t.of is QUOTED and name in _NO_COLUMNS else name


def _without_parentheses(tokens: Sequence[Token]) -> Sequence[Token]:
    while len(tokens) > 2 and tokens[0].mark == "(" and tokens[-1].mark == ")":
        depth = 0
        for t in tokens[:-1]:
            depth += (t.mark == "(") - (t.mark == ")")
            if not depth:
                return tokens
        tokens = tokens[1:-1]
    return tokens


def _signed_number(tokens: Sequence[Token]) -> Hole | None:
    """A number behind any signs and in any parentheses: a server takes it for the number itself, which counts where
    ORDER BY gives places."""
    negative = False
    while len(tokens) > 1 and tokens[0].mark in ("-", "+"):
        negative ^= tokens[0].mark == "-"
        tokens = _without_parentheses(tokens[1:])
    number = value_of(tokens) if len(tokens) == 1 else None
    return Hole(number.index, False, negative) if isinstance(number, Hole) and not number.is_string else None


def _column(tokens: Sequence[Token]) -> tuple[str, str]:
    """(table or "", column) of a name such as `a`, `t.a` or `d.t.a`; ("", "") for anything else."""
    if len(tokens) not in (1, 3, 5) or not all(map(Token.is_name, tokens[::2])):
        return "", ""
    if len(tokens) == 1:
        name = tokens[0].text.lower()
        return ("", "") if tokens[0].word and name in _NO_COLUMNS else ("", name)
    if any(t.mark != "." for t in tokens[1::2]):
        return "", ""
    return tokens[-3].text.lower(), tokens[-1].text.lower()
