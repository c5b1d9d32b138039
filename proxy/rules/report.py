"""Collecting the problems of one rules file, each with its place."""

from __future__ import annotations

from collections.abc import Iterable

from proxy.rules import tree
from proxy.rules.problem import Problem, did_you_mean, listed


class Report:
    """The tree of a file, and what was found wrong with it so far."""

    def __init__(self, file: str, root: tree.Mapping, problems: Iterable[Problem] = ()) -> None:
        self.file = file
        self.root = root
        self.problems: list[Problem] = list(problems)
        self._paths: set[tree.Path] = set()

    def add(self, path: tree.Path, message: str, suggestion: str = "", at_key: bool = False) -> None:
        """`message` is a sentence whose subject is `path`; its full stop is added here."""
        span = tree.place(self.root, path, at_key)
        stop = "" if message.endswith((".", "?", "!")) else "."
        problem = Problem(self.file, span.line, span.column, tree.dotted(path), message + stop, suggestion)
        self._paths.update(path[:length] for length in range(1, len(path) + 1))
        if problem not in self.problems:
            self.problems.append(problem)

    def has_problem(self, path: tree.Path) -> bool:
        """Whether something at or below `path` is wrong already, so that what seems absent there may only be broken."""
        return path in self._paths

    def keys(self, path: tree.Path) -> tuple[str, ...]:
        """The keys that are written in the mapping at `path`, right or wrong."""
        return tree.keys(self.root, path)

    def refer(self, path: tree.Path, name: str, names: Iterable[str], what: str) -> bool:
        """Whether `name`, written at `path`, is one of `names`; a problem if not."""
        known = tuple(names)
        if name in known:
            return True
        suggestion = did_you_mean(name, known) or (f"There are {listed(known)}." if known else "")
        self.add(path, f"`{name}` is not a {what} of this file", suggestion)
        return False
