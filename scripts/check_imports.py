"""The import rule (DESIGN.md, 5.1), checked on the syntax trees of `parser` and `proxy`.

    parser <- rules, wire <- back <- plan, cache, stream, measure <- front <- admin, cli

A package may import from those to its left, and from its neighbours between the same arrows as long as these do not
import it in turn. Further: `proxy.errors` (except parser's) and `parser.from_source` are everybody's, only one file
calls sqlglot's parser, and neither `parser` nor `proxy.wire` knows any I/O. Imports inside functions and under
TYPE_CHECKING count too.

`python -m scripts.check_imports` prints what is wrong and exits with 1 if anything is.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

LAYERS = (
    ("parser",),
    ("proxy.rules", "proxy.wire"),
    ("proxy.back",),
    ("proxy.plan", "proxy.cache", "proxy.stream", "proxy.measure"),
    ("proxy.front",),
    ("proxy.admin", "proxy.cli"),
)
RANK = {package: rank for rank, layer in enumerate(LAYERS) for package in layer}
EVERYBODYS = ("proxy.errors", "parser.from_source")
PURE = ("parser", "proxy.wire")
IO_MODULES = frozenset(
    [
        "aiohttp",
        "aiomcache",
        "asyncio",
        "multiprocessing",
        "pymysql",
        "selectors",
        "socket",
        "ssl",
        "subprocess",
        "threading",
        "uvloop",
    ]
)
# What of sqlglot parses SQL; its expression classes and the tokenizer may be used elsewhere in `parser`.
SQLGLOT_PARSER = frozenset(
    [
        "sqlglot.parse",
        "sqlglot.parse_one",
        "sqlglot.transpile",
        "sqlglot.parser",
        "sqlglot.Parser",
        "sqlglot.dialects",
        "sqlglot.Dialect",
    ]
)


@dataclass(frozen=True, slots=True)
class Import:
    file: str
    line: int
    module: str  # "a.b" for `import a.b`; "a.b.c" for `from a.b import c`


def imports(file: str, source: str) -> Iterator[Import]:
    """Every import of a file, relative ones resolved, and uses of sqlglot's functions by attribute."""
    package = file.removesuffix(".py").removesuffix("/__init__").split("/")
    if not file.endswith("/__init__.py"):
        package = package[:-1]
    for node in ast.walk(ast.parse(source, file)):
        match node:
            case ast.Import(names=names):
                for alias in names:
                    yield Import(file, node.lineno, alias.name)
            case ast.ImportFrom(module=module, names=names, level=level):
                base = package[: len(package) - level + 1] if level else []
                prefix = ".".join([*base, *([module] if module else [])])
                for alias in names:
                    yield Import(file, node.lineno, f"{prefix}.{alias.name}")
            case ast.Attribute(value=ast.Name(id="sqlglot"), attr=attribute):
                yield Import(file, node.lineno, f"sqlglot.{attribute}")


def owner(module: str) -> str | None:
    """The package of ours that a dotted name belongs to; None for other people's and for what is everybody's."""
    parts = module.split(".")
    if ".".join(parts[:2]) in EVERYBODYS:
        return None
    if parts[0] == "parser":
        return "parser"
    if parts[0] != "proxy" or len(parts) == 1:
        return None
    return ".".join(parts[:2])


def _within(module: str, names: frozenset[str]) -> bool:
    return any(module == name or module.startswith(f"{name}.") for name in names)


def violations(sources: Mapping[str, str]) -> list[str]:
    """What breaks the rule in these files (path from the repository's root -> source), as `path:line: sentence`."""
    found: list[str] = []
    neighbours: dict[tuple[str, str], Import] = {}
    parses: dict[str, Import] = {}
    for file, source in sorted(sources.items()):
        own = owner(file.removesuffix(".py").removesuffix("/__init__").replace("/", "."))
        if own is not None and own not in RANK:
            found.append(f"{file}:1: {own} has no place in the layers of scripts/check_imports.py")
            continue
        for item in imports(file, source):
            place = f"{item.file}:{item.line}"
            if own in PURE and item.module.split(".")[0] in IO_MODULES:
                found.append(f"{place}: {own} does no I/O, so it does not import {item.module}")
            if _within(item.module, SQLGLOT_PARSER):
                parses.setdefault(file, item)
            if own == "parser" and item.module.split(".")[0] == "proxy":
                found.append(f"{place}: parser imports nothing from proxy ({item.module})")
                continue
            other = owner(item.module)
            if other is None or other == own:
                continue
            if other not in RANK:
                found.append(f"{place}: {other} has no place in the layers of scripts/check_imports.py")
            elif own is None:
                found.append(f"{place}: {file} is everybody's, so it does not import {item.module}")
            elif RANK[other] > RANK[own]:
                found.append(f"{place}: {own} is below {other}, so it does not import {item.module}")
            elif RANK[other] == RANK[own]:
                neighbours.setdefault((own, other), item)
    for (own, other), item in sorted(neighbours.items()):
        if _reaches(other, own, set(neighbours)):
            found.append(f"{item.file}:{item.line}: {own} and {other} import each other")
    found += [
        f"{item.file}:{item.line}: {item.module} is called in {next(iter(parses))} only"
        for item in list(parses.values())[1:]
    ]
    found += [
        f"{item.file}:{item.line}: SQL is parsed in parser/ only ({item.module})"
        for item in list(parses.values())[:1]
        if not item.file.startswith("parser/")
    ]
    return found


def _reaches(start: str, goal: str, edges: set[tuple[str, str]]) -> bool:
    seen, queue = {start}, [start]
    while queue:
        at = queue.pop()
        if at == goal:
            return True
        for left, right in edges:
            if left == at and right not in seen:
                seen.add(right)
                queue.append(right)
    return False


def repository(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): path.read_text()
        for package in ("parser", "proxy")
        for path in sorted((root / package).rglob("*.py"))
    }


def main() -> int:
    found = violations(repository(Path(__file__).resolve().parents[1]))
    for line in found:
        print(line)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
