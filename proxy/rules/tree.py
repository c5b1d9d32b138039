"""YAML text -> a small tree that knows the place of every key and value.

The tree is built from ruamel.yaml's events and not by its constructors, so that nothing is decided behind the
operator's back: a scalar keeps its text, keys are always text (a table named `no` stays `no`), duplicate keys are
problems, and what a rules file has no use for (anchors, aliases, tags, several documents) is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)
from ruamel.yaml.reader import ReaderError

from proxy.rules.problem import Problem

Path = tuple[str | int, ...]  # keys and list indices, from the top of the file

MAX_DEPTH = 20
_SURROGATE = re.compile("[\ud800-\udfff]")
_INTEGER = re.compile(r"[-+]?[0-9]+")
_DECIMAL = re.compile(r"[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?|[-+]?[0-9]+[eE][-+]?[0-9]+")


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of the text: `line` and `column` (from 1) of its start, and the offsets [start, end) in characters."""

    line: int
    column: int
    start: int
    end: int


@dataclass(slots=True)
class Scalar:
    span: Span
    text: str
    plain: bool  # written without quotes

    def value(self) -> str | int | float | bool | None:
        """The scalar by YAML 1.2's core schema, in decimal only: yes, no, on, off and dates are text."""
        text = self.text
        if not self.plain:
            return text
        if text in ("", "~", "null", "Null", "NULL"):
            return None
        if text in ("true", "True", "TRUE"):
            return True
        if text in ("false", "False", "FALSE"):
            return False
        if len(text) <= 40:  # a longer one is no number that a rule could want, and converting it could take long
            if _INTEGER.fullmatch(text):
                return int(text)
            if _DECIMAL.fullmatch(text):
                return float(text)
        return text


@dataclass(slots=True)
class Sequence:
    span: Span
    items: list[Node] = field(default_factory=list)


@dataclass(slots=True)
class Entry:
    key: Scalar
    value: Node


@dataclass(slots=True)
class Mapping:
    span: Span
    entries: dict[str, Entry] = field(default_factory=dict)


Node = Scalar | Sequence | Mapping


def plain(node: Node) -> object:
    """The tree as dictionaries, lists and scalars."""
    if isinstance(node, Mapping):
        return {name: plain(entry.value) for name, entry in node.entries.items()}
    if isinstance(node, Sequence):
        return [plain(item) for item in node.items]
    return node.value()


def find(node: Node, path: Path) -> Node | None:
    """The node at `path`, or None."""
    for step in path:
        if isinstance(node, Mapping) and isinstance(step, str) and step in node.entries:
            node = node.entries[step].value
        elif isinstance(node, Sequence) and isinstance(step, int) and 0 <= step < len(node.items):
            node = node.items[step]
        else:
            return None
    return node


def keys(node: Node, path: Path) -> tuple[str, ...]:
    """The keys of the mapping at `path`; none when there is no mapping."""
    found = find(node, path)
    return tuple(found.entries) if isinstance(found, Mapping) else ()


def place(root: Node, path: Path, at_key: bool = False) -> Span:
    """Where `path` is written: its value if that is a scalar or a list's item, else its key.

    What is not in the file is placed at the innermost thing around it that is.
    """
    while path:
        found = find(root, path)
        if found is not None:
            parent = find(root, path[:-1])
            if isinstance(parent, Mapping) and isinstance(path[-1], str):
                empty = isinstance(found, Scalar) and found.plain and not found.text  # `key:`, with nothing to point at
                if at_key or empty or not isinstance(found, Scalar):
                    return parent.entries[path[-1]].key.span
            return found.span
        path = path[:-1]
    return root.span


def scalars(node: Node, path: Path = ()) -> Iterator[tuple[Path, Scalar]]:
    """Every scalar value below `node`, with its path."""
    if isinstance(node, Mapping):
        for name, entry in node.entries.items():
            yield from scalars(entry.value, (*path, name))
    elif isinstance(node, Sequence):
        for index, item in enumerate(node.items):
            yield from scalars(item, (*path, index))
    else:
        yield path, node


def dotted(path: Path) -> str:
    """databases.shop.tables.orders.key, clusters.main.replicas[0]"""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text


@dataclass(slots=True)
class Tree:
    """A rules file as it was read: `root` is None when nothing can be made of it."""

    file: str
    root: Mapping | None = None
    problems: list[Problem] = field(default_factory=list)
    unusable: set[Path] = field(default_factory=set)  # values that are reported already, and are empty in the tree


def read(text: str, file: str) -> Tree:
    """The tree of a rules file, as far as it can be had, and the problems of its YAML."""
    tree = Tree(file)
    builder = _Builder(tree)
    try:
        for event in YAML(typ="safe", pure=True).parse(text):
            builder.take(event)
            if builder.too_deep:
                return tree
    except MarkedYAMLError as error:
        tree.problems.append(_syntax_problem(error, file))
        return tree
    except ReaderError as error:
        tree.problems.append(_character_problem(error, text, file))
        return tree
    except (ValueError, OverflowError):  # the scanner's chr() of an escape such as "\\U00110000"
        line = builder.line
        tree.problems.append(Problem(file, line, 1, "", f"An escape after line {line} names no character."))
        return tree
    except YAMLError as error:
        tree.problems.append(Problem(file, 1, 1, "", f"This is not YAML: {error}."))
        return tree
    root = builder.root
    if root is None or (isinstance(root, Scalar) and not root.text):
        problem = Problem(file, 1, 1, "", "The file is empty.", "Start from the example `routing_rules.yaml`.")
        tree.problems.append(problem)
    elif isinstance(root, Mapping):
        tree.root = root
    else:
        message = "The file must be a mapping: `turnout:`, `listen:`, `users:`, `clusters:` and so on."
        tree.problems.append(Problem(file, root.span.line, root.span.column, "", message))
    return tree


@dataclass(slots=True)
class _Open:
    """A mapping or sequence whose end has not been seen."""

    node: Mapping | Sequence
    path: Path
    key: Scalar | None = None  # of the value that comes next


class _Builder:
    """Takes events one by one; the stack is explicit, so that nesting cannot exhaust Python's."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self.root: Node | None = None
        self.line = 1  # of the last event
        self.too_deep = False
        self._stack: list[_Open] = []
        self._documents = 0

    def take(self, event: Event) -> None:
        self.line = event.start_mark.line + 1
        if isinstance(event, DocumentStartEvent):
            self._documents += 1
            if self._documents == 2:
                self._problem(_span(event), (), "A rules file is one YAML document.", "Take out the line `---`.")
        if self._documents > 1:
            return
        if isinstance(event, MappingEndEvent | SequenceEndEvent):
            self._stack.pop()
        elif isinstance(event, AliasEvent):
            message = f"aliases (`*{event.anchor}`) are not used in a rules file."
            self._problem(_span(event), self._path(), message, "Write the value out.")
            self.tree.unusable.add(self._path())
            self._place(Scalar(_span(event), "", plain=True))
        elif isinstance(event, ScalarEvent):
            self._refuse_decoration(event)
            self._place(Scalar(_span(event), self._text(event), plain=event.style is None and not event.tag))
        elif isinstance(event, MappingStartEvent | SequenceStartEvent):
            self._refuse_decoration(event)
            node = Mapping(_span(event)) if isinstance(event, MappingStartEvent) else Sequence(_span(event))
            path = self._path()
            self._place(node)
            self._stack.append(_Open(node, path))
            if len(self._stack) > MAX_DEPTH:
                self.too_deep = True
                self._problem(node.span, (), f"More than {MAX_DEPTH} levels are nested here.", "")

    def _place(self, node: Node) -> None:
        """Put a finished scalar, or a mapping or sequence that opens, where it belongs."""
        if not self._stack:
            self.root = node
            return
        top = self._stack[-1]
        if isinstance(top.node, Sequence):
            top.node.items.append(node)
        elif top.key is None:
            top.key = node if isinstance(node, Scalar) else Scalar(node.span, "", plain=True)
            if not top.key.text:
                self._problem(node.span, top.path, "has a key that is not a name.", "Write `name: value`.")
        else:
            self._enter(top.node, top.path, top.key, node)
            top.key = None

    def _enter(self, mapping: Mapping, path: Path, key: Scalar, node: Node) -> None:
        if not key.text:
            return  # reported when the key was read
        first = mapping.entries.get(key.text)
        if first is None:
            mapping.entries[key.text] = Entry(key, node)
        else:
            message = f"is written twice; the first is in line {first.key.span.line}."
            self._problem(key.span, (*path, key.text), message, "Keep one of them.")

    def _path(self) -> Path:
        """The path of the node that comes next."""
        if not self._stack:
            return ()
        top = self._stack[-1]
        if isinstance(top.node, Sequence):
            return (*top.path, len(top.node.items))
        return (*top.path, top.key.text) if top.key is not None else top.path

    def _text(self, event: ScalarEvent) -> str:
        text = str(event.value)
        if _SURROGATE.search(text):
            message = "has half of a character in it (an escape from `\\uD800` to `\\uDFFF`)."
            self._problem(_span(event), self._path(), message, "Write the character itself, or its `\\U........`.")
            text = _SURROGATE.sub("\ufffd", text)
        return text

    def _refuse_decoration(self, event: ScalarEvent | MappingStartEvent | SequenceStartEvent) -> None:
        if event.anchor:
            message = f"anchors (`&{event.anchor}`) are not used in a rules file."
            self._problem(_span(event), self._path(), message, "Write the value out where it is wanted.")
        if event.tag:
            message = f"tags (`{event.tag}`) are not used in a rules file."
            self._problem(_span(event), self._path(), message, "Put text that looks like a number in quotes.")

    def _problem(self, span: Span, path: Path, message: str, suggestion: str) -> None:
        self.tree.problems.append(Problem(self.tree.file, span.line, span.column, dotted(path), message, suggestion))


def _span(event: Event) -> Span:
    start, end = event.start_mark, event.end_mark
    return Span(start.line + 1, start.column + 1, start.index, end.index)


def _syntax_problem(error: MarkedYAMLError, file: str) -> Problem:
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
    reason = str(error.problem or error.context or "something is wrong")
    begun = ""
    if error.context_mark is not None and error.context and error.context_mark.line + 1 != line:
        begun = f" ({error.context} that begins in line {error.context_mark.line + 1})"
    suggestion = ""
    if "'\\t'" in reason:
        reason, suggestion = "a tab stands where white space counts", "Indent with spaces."
    elif "cannot start any token" in reason:
        suggestion = "Put the value in quotes."
    elif "mapping values are not allowed" in reason:
        reason, suggestion = "a `:` stands where none may be", "Check the indentation, or put the value in quotes."
    elif "quoted scalar" in str(error.context):
        suggestion = "Close the quotes."
    return Problem(file, line, column, "", f"This is not YAML: {reason}{begun}.", suggestion)


def _character_problem(error: ReaderError, text: str, file: str) -> Problem:
    # The reader's own position counts from its buffer; the text at hand is small, so look the character up.
    character = error.character if isinstance(error.character, int) else ord(error.character[:1] or "\0")
    offset = max(text.find(chr(character)), 0)
    line = text.count("\n", 0, offset) + 1
    column = offset - (text.rfind("\n", 0, offset) + 1) + 1
    return Problem(file, line, column, "", f"The character U+{character:04X} is not allowed in YAML.", "Delete it.")
