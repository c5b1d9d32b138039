"""What is wrong with a rules file, where, and what to write instead."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

from proxy.errors import RulesError


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong (or, among the warnings, doubtful).

    `line` and `column` count from 1; 0 says that the file as a whole is meant. `where` is the dotted way to the entry
    ("databases.shop.tables.orders.key"). `message` is a sentence whose subject is `where` (a whole one if that is
    empty), `suggestion` a whole sentence.
    """

    file: str
    line: int
    column: int
    where: str
    message: str
    suggestion: str = ""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        where = f" {self.where}:" if self.where else ""
        suggestion = f" {self.suggestion}" if self.suggestion else ""
        return f"{place}:{where} {self.message}{suggestion}"


class RulesInvalid(RulesError):
    """A rules file cannot be used. `problems` holds everything found, in the order of the file."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(problems, key=lambda problem: (problem.line, problem.column)))
        super().__init__("\n".join(str(problem) for problem in self.problems))


def did_you_mean(word: str, candidates: Iterable[str], likeness: float = 0.6) -> str:
    """ "Did you mean `x`?" for the candidate nearest to `word`, "" when none is as near as `likeness` (0 to 1)."""
    by_folded = {candidate.lower(): candidate for candidate in candidates}
    found = difflib.get_close_matches(word.lower(), list(by_folded), n=1, cutoff=likeness)
    return f"Did you mean `{by_folded[found[0]]}`?" if found else ""


def listed(names: Iterable[str]) -> str:
    """Names for a sentence: "`a`, `b` and `c`"."""
    quoted = [f"`{name}`" for name in names]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} and {quoted[-1]}" if quoted else "none"
