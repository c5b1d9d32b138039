"""A shape for people: one space, no comments, `?` for literals and their signs, lists of any length the same."""

from __future__ import annotations

import re
from collections.abc import Sequence

from parser.tokens import QUOTED, Of, Token

_LIST = re.compile(r"\(\?(?:, ?\?)*\)")
_IN_LIST = re.compile(r"\b(IN) ?\(\?\+?\)", re.IGNORECASE)
_ROWS = re.compile(r"(\((?:[^()]|\([^()]*\))*\))(?:, ?\1)+")
_LIMIT = 4000  # characters
_BEFORE_VALUES = frozenset(
    ["AND", "BETWEEN", "ELSE", "IN", "LIKE", "LIMIT", "NOT", "OR", "SELECT", "THEN", "WHEN", "WHERE"]
)


def digest(tokens: Sequence[Token]) -> str:
    """The digest of a statement's tokens, at most 4000 characters long."""
    parts: list[str] = []
    end = -1
    length = 0
    for i, (of, text, start, ends, hole, _, mark) in enumerate(tokens):
        if mark == "-" and _is_sign(tokens, i):
            if start == end:
                end = tokens[i + 1].start
            continue
        if end >= 0 and start > end:
            parts.append(" ")
        if hole >= 0:
            text = "?"
        elif of is QUOTED:
            text = f"`{text.replace('`', '``')}`"
        parts.append(text)
        end = ends
        length += len(text) + 1
        if length > 16 * _LIMIT:
            break
    text = "".join(parts)
    if "(?" in text:
        text = _LIST.sub(lambda m: "(?+)" if "," in m.group() else "(?)", text)
        text = _IN_LIST.sub(r"\1 (?+)", text)
    if "),(" in text or "), (" in text:
        text = _ROWS.sub(r"\1, ...", text)
    return text if len(text) <= _LIMIT else text[: _LIMIT - 4] + " ..."


def _is_sign(tokens: Sequence[Token], i: int) -> bool:
    """Is this minus a part of a number? With the signs of their numbers, lists would have as many digests as values."""
    if i == 0 or i + 1 >= len(tokens) or tokens[i + 1].of is not Of.NUMBER:
        return False
    before = tokens[i - 1]
    return before.word in _BEFORE_VALUES or before.mark not in ("", ")")
