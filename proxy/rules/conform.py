"""The tree of a file -> the form, with everything in it that is not of the form reported and left out.

Leaving out what is wrong, and only that, lets the rest be checked in the same run.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from proxy.rules import schema, tree
from proxy.rules.form import SHARDING_FORMS, FileForm
from proxy.rules.problem import did_you_mean, listed
from proxy.rules.report import Report

# Where nothing may be written: `tables:` with nothing under it has no tables.
_MAY_BE_EMPTY = frozenset(
    {
        ("users",),
        ("clusters",),
        ("shardings",),
        ("databases",),
        ("databases", "*"),
        ("databases", "*", "tables"),
        ("databases", "*", "tables", "*"),
    }
)


def conform(found: tree.Tree, report: Report) -> FileForm:
    """The form, without what is wrong."""
    data: Any = tree.plain(report.root)
    absent = _report_empty(found, report)
    for path in absent:
        _remove(data, path)
    try:
        return FileForm.model_validate(data)
    except ValidationError as error:
        errors = error.errors(include_url=False)
    for detail in errors:
        path = _path(data, detail)
        if path not in absent:
            _report(report, path, detail)
    while True:
        paths = {_path(data, detail)[: -1 if detail["type"] == "missing" else None] for detail in errors}
        for path in sorted(paths, key=lambda path: [str(step).zfill(9) for step in path], reverse=True):
            _remove(data, path)  # of a list, the last item first
        try:
            return FileForm.model_validate(data)
        except ValidationError as error:
            errors = error.errors(include_url=False)


def _report_empty(found: tree.Tree, report: Report) -> set[tree.Path]:
    """Keys without a value. They are problems: `key:` with its value forgotten must not pass as no key."""
    empty = set()
    for path, scalar in tree.scalars(report.root):
        if scalar.value() is None and not isinstance(path[-1], int) and _pattern(path) not in _MAY_BE_EMPTY:
            empty.add(path)
            if path not in found.unusable:
                report.add(path, "has no value", "Write one, or take the key out.")
    return empty


def _pattern(path: tree.Path) -> tree.Path:
    return tuple("*" if index in (1, 3) else step for index, step in enumerate(path))


def _remove(data: Any, path: tree.Path) -> None:
    for step in path[:-1]:
        try:
            data = data[step]
        except (KeyError, IndexError, TypeError):  # went with something around it
            return
    if isinstance(data, dict):
        data.pop(path[-1], None)
    elif isinstance(data, list) and isinstance(path[-1], int) and path[-1] < len(data):
        del data[path[-1]]


def _path(data: Any, detail: ErrorDetails) -> tree.Path:
    """Where in the data: pydantic's location without the names that it gives to the members of a union."""
    steps = detail["loc"]
    if steps[0] == "shardings":
        steps = steps[:2] + steps[3:]
    path: tree.Path = ()
    for index, step in enumerate(steps):
        inside = step in data if isinstance(data, dict) else isinstance(data, list) and step in range(len(data))
        if inside:
            data = data[step]
            path = (*path, step)
        elif index == len(steps) - 1 and detail["type"] == "missing":
            path = (*path, step)
    return path


def _report(report: Report, path: tree.Path, detail: ErrorDetails) -> None:
    kind = detail["type"]
    context: Mapping[str, Any] = detail.get("ctx", {})
    value = detail["input"]
    if kind == "extra_forbidden":
        _report_unknown(report, path)
    elif kind == "missing":
        report.add(path, "is missing", _description(path))
    elif kind in ("union_tag_not_found", "union_tag_invalid"):
        methods = tuple(SHARDING_FORMS)
        suggestion = did_you_mean(str(context.get("tag", "")), methods)
        report.add((*path, "method"), f"must be one of {listed(methods)}", suggestion)
    elif kind == "literal_error":
        report.add(path, *_literal(context, value))
    else:
        report.add(path, *_message(kind, context, value))


def _literal(context: Mapping[str, Any], value: object) -> tuple[str, str]:
    expected = str(context["expected"])
    if expected == "True":
        return "can only be `true`", "Take the key out instead."
    words = expected.replace(" or ", ", ").replace("'", "").split(", ")
    wording = f"must be {' or '.join(f'`{word}`' for word in words)}"
    return wording, did_you_mean(value, words) if isinstance(value, str) else ""


def _message(kind: str, context: Mapping[str, Any], value: object) -> tuple[str, str]:
    """The message and suggestion for an error of pydantic's that needs nothing but itself."""
    if kind == "worded":
        return str(context["message"]), ""
    if kind == "string_type":
        if isinstance(value, bool | int | float):
            return (
                f"must be text, and is {'a truth value' if isinstance(value, bool) else 'a number'}",
                "Put it in quotes.",
            )
        return "must be text", ""
    if kind == "bool_type":
        words = {"yes": "true", "on": "true", "no": "false", "off": "false"}
        meant = words.get(str(value).lower())
        return "must be `true` or `false`", f"Write `{meant}`." if meant else ""
    wordings = {
        "int_type": "must be a whole number",
        "list_type": "must be a list: `[.., ..]`",
        "dict_type": "must be a mapping: `name: value` lines",
        "model_type": "must be a mapping: `name: value` lines, or `{name: value}`",
        "model_attributes_type": "must be a mapping: `name: value` lines, or `{name: value}`",
        "too_short": "must not be empty",
        "string_too_short": "must not be empty",
    }
    if kind == "greater_than_equal":
        return f"must be at least {context['ge']}", ""
    if kind == "less_than_equal":
        return f"must be at most {context['le']}", ""
    return wordings[kind], ""


def _report_unknown(report: Report, path: tree.Path) -> None:
    key = str(path[-1])
    method = tree.find(report.root, (*path[:2], "method")) if path[0] == "shardings" else None
    if len(path) == 3 and isinstance(method, tree.Scalar):
        known = tuple(SHARDING_FORMS[method.text].model_fields)
        suggestion = did_you_mean(key, known) or f"Known are {listed(known)}."
        report.add(path, f"is not a key of a {method.text} sharding", suggestion, at_key=True)
        return
    known = schema.keys_at(path[:-1])
    homes = [tree.dotted(home) for home in schema.homes_of(key)]
    suggestion = did_you_mean(key, known, likeness=0.8)
    if not suggestion and homes:
        suggestion = f"It belongs in {listed(homes)}."
    suggestion = suggestion or did_you_mean(key, known) or f"Known are {listed(known)}."
    report.add(path, "is not a key that is known here", suggestion, at_key=True)


def _description(path: tree.Path) -> str:
    description = schema.description_at(path)
    return f"It is: {description[0].lower()}{description[1:]}" if description else ""
