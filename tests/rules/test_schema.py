"""The JSON Schema for editors and docs/RULES.md agree with the code."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from proxy.rules import schema, tree
from proxy.rules.loader import RulesInvalid, parse
from proxy.rules.model import Reads
from proxy.rules.quantity import duration_s, size_bytes
from tests.rules.test_refusals import CASES
from tests.rules.texts import text

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = (ROOT / "docs" / "RULES.md").read_text()
EXAMPLE = (ROOT / "routing_rules.yaml").read_text()


def test_the_committed_schema_is_that_of_the_code() -> None:
    assert schema.FILE.read_text() == schema.text(), (
        "run: python -m proxy.rules.schema > proxy/rules/" + schema.FILE.name
    )


def test_the_example_names_the_schema_for_editors() -> None:
    found = re.fullmatch(r"# yaml-language-server: \$schema=(\S+)", EXAMPLE.split("\n")[0])
    assert found is not None
    assert (ROOT / found[1]).resolve() == schema.FILE


def test_every_key_is_described() -> None:
    undescribed = [pattern for pattern, key in schema.keys().items() if pattern[-1:] != ("*",) and not key.description]
    assert undescribed == []


# --- the schema accepts and refuses what the loader does, as far as a schema can -------------------------------------


def valid(value: Any, part: dict[str, Any]) -> bool:
    """Whether a value follows a schema, by the keywords that ours uses; any other is an error of this test."""
    known = {"$ref", "$schema", "$defs", "description", "default", "examples", "discriminator"}
    checks = {
        "type": lambda wanted: any(_is(value, one) for one in ([wanted] if isinstance(wanted, str) else wanted)),
        "const": lambda wanted: value == wanted and type(value) is type(wanted),
        "enum": lambda wanted: value in wanted,
        "minimum": lambda least: not _is(value, "number") or value >= least,
        "maximum": lambda most: not _is(value, "number") or value <= most,
        "minLength": lambda least: not isinstance(value, str) or len(value) >= least,
        "pattern": lambda pattern: not isinstance(value, str) or re.search(pattern, value) is not None,
        "minItems": lambda least: not isinstance(value, list) or len(value) >= least,
        "items": lambda inner: not isinstance(value, list) or all(valid(one, inner) for one in value),
        "minProperties": lambda least: not isinstance(value, dict) or len(value) >= least,
        "properties": lambda inner: (
            not isinstance(value, dict) or all(valid(value[key], inner[key]) for key in inner if key in value)
        ),
        "additionalProperties": lambda inner: (
            not isinstance(value, dict)
            or all(inner and valid(value[key], inner) for key in value if key not in part.get("properties", {}))
        ),
        "required": lambda names: not isinstance(value, dict) or all(name in value for name in names),
        "anyOf": lambda choices: any(valid(value, choice) for choice in choices),
        "oneOf": lambda choices: sum(valid(value, choice) for choice in choices) == 1,
    }
    assert not part.keys() - known - checks.keys(), f"unknown keywords in {part}"
    if "$ref" in part and not valid(value, schema.json_schema()["$defs"][part["$ref"].removeprefix("#/$defs/")]):
        return False
    return all(check(part[keyword]) for keyword, check in checks.items() if keyword in part)


def _is(value: Any, name: str) -> bool:
    if name in ("integer", "number"):
        return isinstance(value, int if name == "integer" else (int, float)) and not isinstance(value, bool)
    return isinstance(value, {"string": str, "boolean": bool, "null": type(None), "array": list, "object": dict}[name])


def follows_schema(source: str) -> bool:
    root = tree.read(source, "x").root
    assert root is not None
    return valid(tree.plain(root), schema.json_schema())


def documented_files() -> list[str]:
    return [block for block in re.findall(r"```yaml\n(.*?)```", DOCUMENT, re.DOTALL) if block.startswith("turnout:")]


RIGHT = {
    "base": text(),
    "example": EXAMPLE,
    "nothing under": text(x="databases: {shop: {home: main, tables: }}\nshardings:"),
    "a table with nothing": text(x="databases: {shop: {home: main, tables: {a: , b: {everywhere: true}}}}"),
    "workers": text(x="workers: auto"),
    "users_from": text(users="users_from: main"),
    "slots": text(x="shardings: {s: {method: hash, slots: {main: '0-5, 7', media: [6, 8-4095]}}}"),
    "list": text(x="shardings: {s: {method: list, values: {main: [1]}, default: media}}"),
    "tuning": text(
        x="health: {every: 0.5, timeout: 500ms}\npool: {max_idle: 1.5h}\nlimits: {max_packet: 1mb, drain: 0}"
    ),
    "off": text(x="workbench: off\ntransactions: best_effort"),
    "workbench": text(x="workbench: {cluster: media, max_rows: 5, max_time: 1m}"),
    "tls": text(
        x="", clusters="clusters: {main: {primary: x:1, tls: {verify: false}, service: {user: u, password: p}}}"
    ),
    **{f"document {number}": source for number, source in enumerate(documented_files())},
}


@pytest.mark.parametrize("source", RIGHT.values(), ids=RIGHT.keys())
def test_what_is_right_follows_the_schema(source: str) -> None:
    parse(source, ROOT / "x.yaml", {"APP_PASSWORD": "a", "TURNOUT_PASSWORD": "t"})
    assert follows_schema(source)


OF_FORM = re.compile(  # problems that a schema can see
    r"is not a key|is missing\. (It is|Begin)|must not be empty|must not be negative|can only be|has no value|"
    r"has no `home`|has no password|second time|must be (1,|text|one of|a time|a size|a whole number|a mapping|a list|"
    r"`(?!1KB)|at most|at least \d|a range|`database\.table`)"
)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_what_has_the_wrong_form_does_not_follow_the_schema(case: dict[str, str | None]) -> None:
    source = text(**case)
    with pytest.raises(RulesInvalid) as caught:
        parse(source, ROOT / "x.yaml", {"EMPTY": "", "LINES": "a\n"})
    of_form = [problem for problem in caught.value.problems if OF_FORM.search(str(problem))]
    if of_form:
        assert not follows_schema(source), of_form


def test_many_cases_are_of_form() -> None:
    marks = [mark for case in CASES.values() for section in case.values() for mark in (section or "").split("#!")[1:]]
    assert sum(OF_FORM.search(mark) is not None for mark in marks) >= 80


def test_some_cases_are_of_form() -> None:
    assert not follows_schema(text(turnout="turnout: 2"))
    assert not follows_schema(text(turnout=None))
    assert not follows_schema(text(x="zzz: 1"))
    assert not follows_schema(text(x="databases: {shop: {tables: {}}}"))
    assert not follows_schema(text(users="users: {a: {password: x, password_env: X}}"))


# --- docs/RULES.md ---------------------------------------------------------------------------------------------------


def _documented_name(pattern: schema.Pattern) -> str:
    names = {("databases", "*"): "<database>", ("databases", "*", "tables", "*"): "<table>"}
    steps = []
    for length in range(1, len(pattern) + 1):
        step = pattern[length - 1]
        if step != "*":
            steps.append(step)
        elif pattern[length - 2] == "ranges":
            steps[-1] += "[]"
        else:
            steps.append(names.get(pattern[:length], "<name>" if length == 2 else "<cluster>"))
    return ".".join(steps)


def _rows() -> dict[str, list[str]]:
    rows = [
        [cell.strip() for cell in line.strip("|").split(" | ")]
        for line in DOCUMENT.split("\n")
        if line.startswith("| `")
    ]
    return {row[0].strip("`"): row for row in rows}


def _documented_patterns() -> list[schema.Pattern]:
    """All but the items of plain lists, and a list of cache classes, whose keys are those of one."""
    return [
        pattern
        for pattern, key in schema.keys().items()
        if pattern
        and pattern[4:6] != ("cache", "*")
        and not (pattern[-1] == "*" and not key.children and pattern[-2:-1] not in (("slots",), ("values",)))
        and pattern[-2:] != ("ranges", "*")
        and pattern[-3:-1] not in (("slots", "*"), ("values", "*"))
    ]


def test_every_key_is_in_the_document_and_no_other() -> None:
    assert {_documented_name(pattern) for pattern in _documented_patterns()} == set(_rows())


def _default_of(pattern: schema.Pattern) -> object:
    """The default in the schema; None where there is none."""
    part: Any = schema.json_schema()
    for step in pattern:
        while "$ref" in part:
            part = schema.json_schema()["$defs"][part["$ref"].removeprefix("#/$defs/")]
        for choice in part.get("oneOf", ()):
            target = (
                schema.json_schema()["$defs"][choice["$ref"].removeprefix("#/$defs/")] if "$ref" in choice else choice
            )
            if step in target.get("properties", {}):
                part = target
        if step in part.get("properties", {}):
            part = part["properties"][step]
        else:
            part = part.get("additionalProperties") or part.get("items")
    return part.get("default")


def test_every_default_is_in_the_document() -> None:
    compared = 0
    for pattern in _documented_patterns():
        default = _default_of(pattern)
        if default is None or isinstance(default, dict):
            continue
        written = _rows()[_documented_name(pattern)][2].strip("`")
        if isinstance(default, bool | list):
            assert written == json.dumps(default), pattern
        elif isinstance(default, int | float) and written != str(default):
            read = size_bytes(written) if written.endswith("B") else duration_s(written)
            assert read == default, pattern
        else:
            assert written == str(default), pattern
        compared += 1
    assert compared >= 20


def test_the_defaults_of_reads_are_in_the_document() -> None:
    rows, reads = _rows(), Reads()
    assert rows["databases.<database>.reads.from"][2] == f"`{reads.source.value}`"
    assert duration_s(rows["databases.<database>.reads.max_lag"][2].strip("`")) == reads.max_lag_s
    assert rows["databases.<database>.reads.own_writes"][2] == f"`{json.dumps(reads.own_writes)}`"


def test_required_is_in_the_document() -> None:
    for pattern, key in schema.keys().items():
        for child in key.children:
            name = _documented_name((*pattern, child))
            row = _rows().get(name)
            if row is not None and row[2] == "required":
                assert child in _required_at(pattern), name


def _required_at(pattern: schema.Pattern) -> set[str]:
    found: set[str] = set()
    for form in (schema.json_schema(), *schema.json_schema()["$defs"].values()):
        if set(form.get("properties", ())) <= set(schema.keys()[pattern].children):
            found |= set(form.get("required", ()))
    return found
