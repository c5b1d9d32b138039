"""What a statement does besides reading the tables it names, from its tokens.

Tokens rather than the syntax tree, because the tree has no place for some of it and renames functions. A name before
"(" that is neither known nor surely something else counts as an unknown function: a needless caution costs little.
"""

from __future__ import annotations

from collections.abc import Sequence

from parser import functions
from parser.statement import Effect
from parser.tokens import QUOTED, Of, Token
from parser.vocabulary import vocabulary


def of_tokens(tokens: Sequence[Token]) -> Effect:
    """Effects of functions, variables, locking and INTO clauses. Writing and committing are the statement kind's."""
    effects = 0
    last = len(tokens) - 1
    for i, t in enumerate(tokens):
        word = t.word
        if word:
            if i < last and tokens[i + 1].mark == "(":
                found = _word(tokens, i, word) if _is_no_name(tokens, i, word) else _call(tokens, i)
            elif word in _TELLING:
                found = _word(tokens, i, word)
            else:
                continue
            effects = int.__or__(effects, found)
        elif t.mark:
            continue
        elif t.of is QUOTED:
            if i < last and tokens[i + 1].mark == "(" and not _names_columns(tokens, i):
                effects = int.__or__(effects, Effect.UNKNOWN_FUNCTION)
        elif t.of is Of.VARIABLE:
            effects = int.__or__(effects, _variable(tokens, i))
    return Effect(effects)


_MODIFIERS = vocabulary("""
    HIGH_PRIORITY STRAIGHT_JOIN SQL_SMALL_RESULT SQL_BIG_RESULT SQL_BUFFER_RESULT SQL_CACHE SQL_NO_CACHE
    SQL_CALC_FOUND_ROWS
""")


def _is_no_name(tokens: Sequence[Token], i: int, word: str) -> bool:
    """Is the word in front of a parenthesis one of SELECT's modifiers, or RETURNING?"""
    before = _word_at(tokens, i - 1)
    if word in _MODIFIERS:
        return before in ("SELECT", "ALL", "DISTINCT", "DISTINCTROW") or before in _MODIFIERS
    return word == "RETURNING" and not (i and tokens[i - 1].is_mark("."))


def _call(tokens: Sequence[Token], i: int) -> Effect:
    name = tokens[i].text.lower()
    if i and tokens[i - 1].is_mark("."):  # db.f(..) is a stored function, t (..) after INTO a table's columns
        return Effect.NONE if _names_columns(tokens, i) else Effect.UNKNOWN_FUNCTION
    known = functions.EFFECTS.get(name)
    if known is None:
        if name in functions.NOT_CALLS or name in functions.WITHOUT_PARENTHESES or _names_columns(tokens, i):
            return Effect.NONE
        return Effect.UNKNOWN_FUNCTION
    if name == "last_insert_id" and i + 2 < len(tokens) and not tokens[i + 2].is_mark(")"):
        return (known | Effect.SETS_LAST_INSERT_ID) & ~Effect.USES_LAST_INSERT_ID
    return known


def _names_columns(tokens: Sequence[Token], i: int) -> bool:
    """Does the name at `i` stand for a table, alias, index or constraint whose columns are listed after it?"""
    while i >= 2 and tokens[i - 1].is_mark("."):
        i -= 2
    if i == 0:
        return False
    before = tokens[i - 1]
    if before.of is Of.MARK:
        return before.text == ")"  # (SELECT ..) alias (a, b)
    if before.word == "HIGH_PRIORITY":  # of INSERT; SELECT HIGH_PRIORITY f(..) calls f
        return _word_at(tokens, i - 2) in ("INSERT", "REPLACE")
    return before.word in _BEFORE_NAMES


_BEFORE_NAMES = vocabulary("""
    INTO INSERT REPLACE IGNORE DELAYED LOW_PRIORITY HIGH_PRIORITY AS WITH RECURSIVE TABLE EXISTS INDEX KEY
    CONSTRAINT REFERENCES UNIQUE FULLTEXT SPATIAL VIEW
""")


_TELLING = frozenset(
    {"FOR", "LOCK", "SQL_CALC_FOUND_ROWS", "INTO", "VALUE", "RETURNING", "TIME", "T"}
    | {name.upper() for name in functions.WITHOUT_PARENTHESES}
)


def _word(tokens: Sequence[Token], i: int, word: str) -> Effect:
    """The effects of a word of `_TELLING`."""
    if word == "FOR":
        return Effect.LOCKS_ROWS if _word_at(tokens, i + 1) in ("UPDATE", "SHARE") else Effect.NONE
    if word == "LOCK":
        share = [_word_at(tokens, i + k) for k in (1, 2, 3)] == ["IN", "SHARE", "MODE"]
        return Effect.LOCKS_ROWS if share else Effect.NONE
    if word == "SQL_CALC_FOUND_ROWS":
        return Effect.CALC_FOUND_ROWS
    if word == "INTO":
        if _word_at(tokens, i + 1) in ("OUTFILE", "DUMPFILE"):
            return Effect.INTO_FILE
        return Effect.SETS_USER_VARIABLE if _is_variable(tokens, i + 1) else Effect.NONE
    if word == "VALUE" and _word_at(tokens, i + 1) == "FOR" and _word_at(tokens, i - 1) in ("NEXT", "PREVIOUS"):
        return Effect.SEQUENCE | Effect.NONDETERMINISTIC | Effect.WRITES
    if word == "RETURNING":
        return Effect.RETURNING
    if word in ("TIME", "T"):
        return Effect.MAKES_TIME if _is_time(tokens, i) else Effect.NONE
    if word.lower() in functions.WITHOUT_PARENTHESES and not _is_part_of_name(tokens, i):
        return Effect.NONDETERMINISTIC
    return Effect.NONE


def _is_time(tokens: Sequence[Token], i: int) -> bool:
    """TIME '10:00', {t '10:00'}, CAST(.. AS TIME), CONVERT(.., TIME)."""
    after, before = tokens[i + 1 : i + 2], tokens[i - 1 : i]
    if tokens[i].word == "T":
        return bool(before) and before[0].is_mark("{")
    if not after:
        return False
    ends = after[0].is_mark(")") and bool(before) and (before[0].word == "AS" or before[0].is_mark(","))
    return ends or after[0].of is Of.STRING


def _is_part_of_name(tokens: Sequence[Token], i: int) -> bool:
    return (i > 0 and tokens[i - 1].is_mark(".")) or (i + 1 < len(tokens) and tokens[i + 1].is_mark("."))


def _is_variable(tokens: Sequence[Token], i: int) -> bool:
    return i < len(tokens) and tokens[i].of is Of.VARIABLE and not tokens[i].text.startswith("@@")


def _word_at(tokens: Sequence[Token], i: int) -> str:
    return tokens[i].word if 0 <= i < len(tokens) else ""


def _variable(tokens: Sequence[Token], i: int) -> Effect:
    text = tokens[i].text
    if text.startswith("@@"):
        name = text[2:].rpartition(".")[2]
        return Effect.READS_SYSTEM_VARIABLE | functions.VARIABLE_EFFECTS.get(name, Effect.NONE)
    if i and tokens[i - 1].of in (Of.STRING, Of.QUOTED) and tokens[i - 1].end == tokens[i].start:
        return Effect.NONE  # 'user'@'host'
    if i + 1 < len(tokens) and tokens[i + 1].is_mark(":="):
        return Effect.SETS_USER_VARIABLE
    if i and (tokens[i - 1].word == "INTO" or (tokens[i - 1].is_mark(",") and _in_into_list(tokens, i))):
        return Effect.SETS_USER_VARIABLE
    return Effect.READS_USER_VARIABLE


def _in_into_list(tokens: Sequence[Token], i: int) -> bool:
    while i >= 2 and tokens[i - 1].is_mark(",") and _is_variable(tokens, i - 2):
        i -= 2
    return i >= 1 and tokens[i - 1].word == "INTO"
