"""A shape for people: one space, no comments, `?` for literals, lists of any length the same."""

from __future__ import annotations

import re
from collections.abc import Sequence

from parser.tokens import Of, Token

_LIST = re.compile(r"\(\?(?:, ?\?)*\)")
_IN_LIST = re.compile(r"\b(IN) ?\(\?\+?\)", re.IGNORECASE)
_ROWS = re.compile(r"(\((?:[^()]|\([^()]*\))*\))(?:, ?\1)+")
_LIMIT = 4000  # characters


def digest(tokens: Sequence[Token]) -> str:
    """The digest of a statement's tokens, at most 4000 characters long."""
    parts: list[str] = []
    end = -1
    length = 0
    for t in tokens:
        if end >= 0 and t.start > end:
            parts.append(" ")
        if t.of in (Of.NUMBER, Of.STRING, Of.PARAM):
            parts.append("?")
        elif t.of is Of.QUOTED:
            parts.append("`" + t.text.replace("`", "``") + "`")
        else:
            parts.append(t.text)
        end = t.end
        length += len(parts[-1]) + 1
        if length > 16 * _LIMIT:
            break
    text = "".join(parts)
    text = _LIST.sub(lambda m: "(?+)" if "," in m.group() else "(?)", text)
    text = _IN_LIST.sub(r"\1 (?+)", text)
    text = _ROWS.sub(r"\1, ...", text)
    return text if len(text) <= _LIMIT else text[: _LIMIT - 4] + " ..."
