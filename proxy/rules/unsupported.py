"""Parts of the format that a later version carries out. They are refused by name: ignored, they would mislead."""

from __future__ import annotations

from proxy.rules import tree
from proxy.rules.report import Report


def refuse_unsupported(report: Report) -> None:
    root = report.root

    def refuse(path: tree.Path, what: str, suggestion: str) -> None:
        if tree.find(root, path) is not None:
            report.add(path, f"{what} is not supported yet", suggestion, at_key=True)

    def text(path: tree.Path) -> str:
        found = tree.find(root, path)
        return found.text if isinstance(found, tree.Scalar) else ""

    for user in report.keys(("users",)):
        refuse(("users", user, "reads"), "a reporting database", "Take it out.")
    for sharding in report.keys(("shardings",)):
        method: tree.Path = ("shardings", sharding, "method")
        if text(method) == "directory":
            refuse(method, "the method `directory`", "Use `hash`, `range` or `list`.")
