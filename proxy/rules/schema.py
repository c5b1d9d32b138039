"""The JSON Schema of `routing_rules.yaml`, for editors; and what keys the form has where.

`python -m proxy.rules.schema` prints it. The copy beside this file is what the first line of a rules file names, and a
test holds it against the code.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from proxy.rules.form import FileForm

FILE = Path(__file__).with_name("routing_rules.schema.json")

Pattern = tuple[str, ...]  # a path whose names that the operator chooses, and list indices, are "*"
_Schema = dict[str, Any]

_REQUIRED = {"FileForm": ["turnout", "listen", "clusters"], "DatabaseForm": ["home"]}  # see form.py for why not there
_ONE_SECRET = {"oneOf": [{"required": [key]} for key in ("password", "password_env", "password_file")]}
_MAY_BE_EMPTY = {"users", "clusters", "shardings", "databases", "tables"}


@dataclass(frozen=True, slots=True)
class Key:
    """One key of the form."""

    pattern: Pattern
    description: str
    children: tuple[str, ...]


@functools.cache
def json_schema() -> _Schema:
    """The schema, draft 2020-12."""
    made: _Schema = FileForm.model_json_schema(by_alias=True)
    definitions: dict[str, _Schema] = made["$defs"]
    for name, required in _REQUIRED.items():
        form = made if name == "FileForm" else definitions[name]
        form["required"] = required
    for name in ("UserForm", "ServiceForm"):
        definitions[name] |= _ONE_SECRET
    _tidy(made)
    for form in (made, *definitions.values()):
        for key in _MAY_BE_EMPTY & form["properties"].keys():
            if "additionalProperties" in form["properties"][key]:
                form["properties"][key]["type"] = ["object", "null"]
    definitions["TableForm"]["type"] = ["object", "null"]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **made}


def text() -> str:
    """The schema as the committed file has it."""
    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"


def _tidy(schema: Any) -> None:
    """Take out what pydantic adds for its own models: titles, and null (no file says it) for what may be absent."""
    if isinstance(schema, list):
        for item in schema:
            _tidy(item)
        return
    if not isinstance(schema, dict):
        return
    if isinstance(schema.get("title"), str):
        del schema["title"]
    if schema.get("default", 0) is None or (isinstance(schema.get("default"), dict) and "$ref" in schema):
        del schema["default"]
    choices = schema.get("anyOf")
    if isinstance(choices, list) and {"type": "null"} in choices:
        choices.remove({"type": "null"})
        if len(choices) == 1:
            del schema["anyOf"]
            for key, value in choices[0].items():
                schema.setdefault(key, value)
    for value in schema.values():
        _tidy(value)


@functools.cache
def keys() -> dict[Pattern, Key]:
    """Every key of the form, by pattern: ("databases", "*", "tables", "*", "key")."""
    schema = json_schema()
    found: dict[Pattern, Key] = {}
    for pattern, described in _walk(schema, schema, ()):
        children = tuple(described.get("properties", ()))
        known = found.get(pattern)
        if known is not None:  # the same place in several members of a union
            children = tuple(dict.fromkeys((*known.children, *children)))
        description = known.description if known and known.description else str(described.get("description", ""))
        found[pattern] = Key(pattern, description, children)
    return found


def _walk(schema: _Schema, part: _Schema, pattern: Pattern) -> Iterator[tuple[Pattern, _Schema]]:
    described = part
    if "$ref" in part:
        target = schema["$defs"][part["$ref"].removeprefix("#/$defs/")]
        described = {**target, **{key: value for key, value in part.items() if key != "$ref"}}
    yield pattern, described
    for choice in (*described.get("anyOf", ()), *described.get("oneOf", ())):
        if "$ref" in choice or "type" in choice:
            yield from _walk(schema, choice, pattern)
    for key, value in described.get("properties", {}).items():
        yield from _walk(schema, value, (*pattern, key))
    if isinstance(described.get("additionalProperties"), dict):
        yield from _walk(schema, described["additionalProperties"], (*pattern, "*"))
    if isinstance(described.get("items"), dict):
        yield from _walk(schema, described["items"], (*pattern, "*"))


def _pattern_of(path: tuple[str | int, ...]) -> Pattern:
    known = keys()
    pattern: Pattern = ()
    for step in path:
        here = (*pattern, str(step))
        pattern = here if here in known and not isinstance(step, int) else (*pattern, "*")
    return pattern


def keys_at(path: tuple[str | int, ...]) -> tuple[str, ...]:
    """The keys that the mapping at `path` may have."""
    found = keys().get(_pattern_of(path))
    return found.children if found else ()


def description_at(path: tuple[str | int, ...]) -> str:
    found = keys().get(_pattern_of(path))
    return found.description if found else ""


def homes_of(key: str) -> tuple[Pattern, ...]:
    """The mappings other than the top that have a key of this name."""
    return tuple(pattern for pattern, found in keys().items() if pattern and key in found.children)


if __name__ == "__main__":
    print(text(), end="")
