"""Possessive groups as atomic ones, which mean the same: `(?:x)*+` is `(?>(?:x)*)`.

Python before 3.11.5 (Debian 12 has 3.11.2) matches a possessive group wrongly when what it repeats can backtrack
(CPython issue 106052); atomic groups are right there too. Possessive classes (`[a-z]++`) were never affected.
"""

from __future__ import annotations

from typing import AnyStr


def atomic(pattern: AnyStr) -> AnyStr:
    """The pattern with every possessively repeated group written as an atomic group."""
    if isinstance(pattern, bytes):
        return _atomic(pattern.decode("latin-1")).encode("latin-1")
    return _atomic(pattern)


def _atomic(pattern: str) -> str:
    out: list[str] = []
    opened: list[int] = []  # where in `out` each open group begins
    at = 0
    while at < len(pattern):
        char = pattern[at]
        if char == "\\":
            out.append(pattern[at : at + 2])
            at += 2
        elif char == "[":
            end = _class_end(pattern, at)
            out.append(pattern[at:end])
            at = end
        elif char == "(":
            opened.append(len(out))
            out.append(char)
            at += 1
        elif char == ")":
            begin = opened.pop()
            out.append(char)
            at += 1
            if pattern[at : at + 2] in ("*+", "++", "?+"):
                out.insert(begin, "(?>")
                out.append(pattern[at] + ")")
                at += 2
        else:
            out.append(char)
            at += 1
    return "".join(out)


def _class_end(pattern: str, at: int) -> int:
    """The index behind the `]` of the class that begins at `at`."""
    at += 1
    if pattern[at : at + 1] == "^":
        at += 1
    if pattern[at : at + 1] == "]":
        at += 1
    while pattern[at] != "]":
        at += 2 if pattern[at] == "\\" else 1
    return at + 1
