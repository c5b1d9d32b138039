"""Whatever stands in the file, it becomes rules or problems, and nothing that is wrong hides."""

from __future__ import annotations

import copy
import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.rules import schema
from proxy.rules.diff import diff
from proxy.rules.loader import RulesInvalid, parse, warnings
from proxy.rules.mask import masked_text
from proxy.rules.model import Rules
from tests.rules.texts import FILE

WHOLE: dict[str, Any] = {
    "turnout": 1,
    "listen": {"mysql": "127.0.0.1:3307", "http": "127.0.0.1:9307", "max_connections": 5},
    "workers": 2,
    "users": {"app": {"password": "a", "auth": "mysql_native_password"}, "ops": {"password": "b", "admin": True}},
    "users_from": "main",
    "clusters": {
        "main": {"primary": "127.0.0.1:1", "replicas": ["127.0.0.1:2"], "service": {"user": "u", "password": "p"}},
        "media": {"primary": "127.0.0.1:3", "tls": {"verify": False}, "max_connections": 7},
    },
    "service": {"user": "t", "password": "s"},
    "shardings": {
        "h": {"method": "hash", "clusters": ["main", "media"]},
        "s": {"method": "hash", "slots": {"main": "0-99", "media": ["100-199", "200-4095"]}},
        "r": {"method": "range", "ranges": [{"below": 5, "cluster": "main"}, {"cluster": "media"}]},
        "l": {"method": "list", "values": {"main": ["a"], "media": ["b"]}, "default": "main"},
    },
    "databases": {
        "shop": {
            "home": "main",
            "reads": {"from": "replicas", "max_lag": "5s", "own_writes": True},
            "tables": {
                "photos": {"cluster": "media", "reads": {"from": "primary"}},
                "orders": {"sharding": "h", "key": "id"},
                "files": {"sharding": "s", "key": "id"},
                "logs": {"sharding": "r", "key": "id"},
                "regions": {"sharding": "l", "key": "id"},
                "countries": {"everywhere": True},
            },
        }
    },
    "transactions": "best_effort",
    "workbench": "off",
    "health": {"every": "1s", "timeout": 3},
    "pool": {"wait": 1.5},
    "limits": {"max_packet": "1MB"},
}


def _paths(data: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path] if path else []
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    return found + [deeper for step, value in items for deeper in _paths(value, (*path, step))]


PATHS = _paths(WHOLE)
PATTERNS = schema.keys()
KEYS = sorted({step for pattern in PATTERNS for step in pattern if step != "*"})
ODD = st.one_of(
    st.sampled_from(
        [None, True, False, 0, 1, -1, 1.5, "", "x", "main", "shop", "off", "auto", "5s", "0-5", [], {}, [[]]]
    ),
    st.sampled_from(KEYS),
    st.integers(),
    st.text(max_size=5),
    st.lists(st.sampled_from(["main", 1, None, {"cluster": "main"}]), max_size=3),
    st.dictionaries(st.sampled_from(KEYS), st.sampled_from(["main", 1, None, True, [], {}]), max_size=3),
)
EDITS = st.lists(
    st.tuples(st.sampled_from(PATHS), st.sampled_from(["set", "delete", "rename"]), ODD, st.sampled_from(KEYS))
)


def _edited(edits: list[tuple[tuple[Any, ...], str, Any, str]]) -> Any:
    data = copy.deepcopy(WHOLE)
    for path, how, value, key in edits:
        holder: Any = data
        try:
            for step in path[:-1]:
                holder = holder[step]
            previous = holder.pop(path[-1])
        except (KeyError, IndexError, TypeError, AttributeError):
            continue  # another edit was there first
        if how != "delete" and isinstance(holder, dict):
            holder[key if how == "rename" else path[-1]] = previous if how == "rename" else value
        elif how != "delete":
            holder.insert(path[-1], value)
    return data


def _read(data: Any) -> Rules | RulesInvalid:
    try:
        return parse(json.dumps(data), FILE, {})
    except RulesInvalid as error:
        return error


def test_the_file_of_these_tests_is_right() -> None:
    assert isinstance(_read(WHOLE), Rules)


@settings(max_examples=80, deadline=None)
@given(EDITS)
def test_any_file_is_rules_or_problems(edits: list[tuple[tuple[Any, ...], str, Any, str]]) -> None:
    found = _read(_edited(edits))
    if isinstance(found, RulesInvalid):
        assert found.problems
        assert all(problem.line and problem.where and problem.message.endswith(".") for problem in found.problems)
    else:
        assert found.clusters.keys() >= {found.default_home}
        warnings(found)
        masked_text(found)
        diff(parse(json.dumps(WHOLE), FILE, {}), found)
        assert diff(found, found) == ()


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from(PATHS), min_size=1, max_size=3, unique=True), st.sampled_from([[], {}, 7.5, [{}]]))
def test_what_is_wrong_in_two_places_is_reported_in_both(paths: list[tuple[Any, ...]], value: Any) -> None:
    """A problem of the form does not hide another, but for that of a sharding whose method is not known."""

    def wrong(*some: tuple[Any, ...]) -> set[str]:
        found = _read(_edited([(path, "set", value, "") for path in some]))
        return {problem.where for problem in found.problems} if isinstance(found, RulesInvalid) else set()

    apart = [path for path in paths if not any(path != other and path[: len(other)] == other for other in paths)]
    unknown = [path[:2] for path in apart if path[0] == "shardings" and path[2:] == ("method",)]
    apart = [path for path in apart if path[:2] not in unknown]
    together = wrong(*apart)
    for path in apart:
        here = ".".join(str(step) for step in path if not isinstance(step, int))
        alone = {where for where in wrong(path) if where.split("[")[0].startswith(here)}
        assert alone <= together
