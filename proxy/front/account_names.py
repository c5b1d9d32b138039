"""The accounts that CREATE, DROP and RENAME USER and REVOKE name, as their text has them. Pure."""

from __future__ import annotations

import re

from proxy.plan.ddl import SchemaObject, Thing

_NAME = r"""(?:'(?:[^'\\]|''|\\.)*'|"(?:[^"\\]|""|\\.)*"|`(?:[^`]|``)*`|[\w$]+)"""
_ACCOUNT = rf"{_NAME}(?:\s*@\s*(?:{_NAME}|[\w.%$-]+))?"
_BEGINNING = re.compile(
    r"\s*(?P<verb>CREATE|DROP|RENAME)\s+(?:OR\s+REPLACE\s+)?(?P<thing>USER|ROLE)\s+(?:IF\s+(?:NOT\s+)?EXISTS\s+)?",
    re.IGNORECASE,
)
_LIST = re.compile(rf"(?P<all>{_ACCOUNT}(?:\s*(?:,|\bTO\b)\s*{_ACCOUNT})*)\s*;?\s*", re.IGNORECASE)
_FIRST = re.compile(rf"(?P<all>{_ACCOUNT})(?P<rest>.*)", re.DOTALL)
_REVOKED = re.compile(rf"\s*REVOKE\b.*\bFROM\s+(?P<all>{_ACCOUNT}(?:\s*,\s*{_ACCOUNT})*)\s*;?\s*", re.I | re.S)
_STRING = re.compile(r"""'(?:[^'\\]|''|\\.)*'|"(?:[^"\\]|""|\\.)*\"""", re.DOTALL)
_ONE = re.compile(rf"\bTO\b(?!\s*@)|(?P<one>{_ACCOUNT})", re.IGNORECASE)


def named_accounts(sql: bytes, clusters: tuple[str, ...]) -> tuple[SchemaObject, ...] | None:
    """What the statement is about, on each of `clusters`; None where that cannot be told from its text."""
    try:
        text = sql.decode("utf-8")
    except UnicodeDecodeError:
        return None
    revoked = _REVOKED.fullmatch(text)
    if revoked is not None:
        return _objects(revoked["all"], Thing.GRANTS, clusters)
    beginning = _BEGINNING.match(text)
    if beginning is None:
        return None
    thing = Thing.USER if beginning["thing"].upper() == "USER" else Thing.GRANTS  # a role has no SHOW CREATE
    rest = text[beginning.end() :]
    if beginning["verb"].upper() == "CREATE":
        first = _FIRST.fullmatch(rest)
        if first is None or "," in _STRING.sub("", first["rest"]):
            return None
        return _objects(first["all"], thing, clusters)
    listed = _LIST.fullmatch(rest)
    return _objects(listed["all"], thing, clusters) if listed is not None else None


def _objects(text: str, thing: Thing, clusters: tuple[str, ...]) -> tuple[SchemaObject, ...]:
    names = [found["one"] for found in _ONE.finditer(text) if found["one"]]
    return tuple(SchemaObject(thing, name, name, clusters) for name in names)
