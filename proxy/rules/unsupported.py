"""Parts of the format that a later version carries out. They are refused by name: ignored, they would mislead."""

from __future__ import annotations

from proxy.rules import tree
from proxy.rules.report import Report


def refuse_unsupported(report: Report) -> None:
    root = report.root

    def refuse(path: tree.Path, what: str, suggestion: str) -> None:
        if tree.find(root, path) is not None:
            report.add(path, f"{what} is not supported yet", suggestion, at_key=True)

    for user in report.keys(("users",)):
        refuse(("users", user, "reads"), "a reporting database", "Take it out.")
