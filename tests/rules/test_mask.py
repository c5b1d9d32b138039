"""SHOW TURNOUT RULES shows no password."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.rules import tree
from proxy.rules.loader import parse
from proxy.rules.mask import MASK, masked_text
from tests.rules.texts import FILE, rules, text

SECRET = "hunter2"

WAYS = {
    "plain": "users:\n  app:\n    password: hunter2\n    admin: true",
    "plain with spaces and a comment": "users:\n  app:\n    password: hunter2 and more # comment\n    admin: true",
    "single quotes": "users: {app: {password: 'it''s hunter2, # }', admin: true}}",
    "double quotes": 'users: {app: {password: "\\"hunter2\\" }", admin: true}}',
    "quotes over lines": 'users: {app: {password: "hunter2\n  hunter2", admin: true}}',
    "flow over lines": "users: {\n  app: {\n    password:\n      hunter2\n    , admin: true}\n  }",
    "quoted key": "users: {app: {'password': hunter2, admin: true}}",
    "json": 'users: {"app":{"password":"hunter2","admin":true}}',
    "literal block": "users:\n  app:\n    password: |-\n      hunter2\n    admin: true",
    "folded block, stripped": "users:\n  app:\n    password: >-\n      hunter2\n\n    admin: true",
    "explicit key": "users:\n  app:\n    ? password\n    : hunter2\n    admin: true",
    "service": "users: {app: {password: x, admin: true}}\nclusters: {main: {primary: a:1, service: {user: hunter, "
    "password: hunter2}}}",
    "comments": "users: # password hunter2\n  # app: {password: older-hunter2}\n  app: {password: hunter2, admin: true}"
    " # PASSWORD=older-hunter2",
    "comment on a block's line": "users:\n  app:\n    password: |-  # hunter2\n      hunter2\n    # hunter2\n"
    "    admin: true",
}


@pytest.mark.parametrize("users", WAYS.values(), ids=WAYS.keys())
def test_a_password_is_masked_however_it_is_written(users: str) -> None:
    sections: dict[str, str | None] = {"users": users}
    if "clusters:" in users:
        sections |= {"clusters": None}
    found = rules(**sections)
    masked = masked_text(found)
    assert SECRET not in masked
    root = tree.read(masked, "masked").root
    assert root is not None
    expected = tree.read(found.text, "rules").root
    assert expected is not None
    assert tree.plain(root) == _masked(tree.plain(expected))


def _masked(data: object) -> object:
    if not isinstance(data, dict):
        return data
    return {key: json.loads(MASK) if key == "password" else _masked(value) for key, value in data.items()}


def test_everything_else_stays_as_it_is() -> None:
    source = text(
        users="users:   # who\n  app:  {password_env: APP,   admin: true}   # no mask here\n\n  b: {password: 'b'}",
        service="service: {user: turnout, password: secret}   # the password is long",
        x="# trailing",
    )
    masked = masked_text(parse(source, FILE, {"APP": "from-env"}))
    assert masked == source.replace("'b'", MASK).replace("secret", MASK)


def test_rules_without_a_file_have_no_text() -> None:
    assert masked_text(parse(text(), FILE, {})) != ""


_PASSWORDS = st.text(
    st.characters(
        codec="utf-8", exclude_categories=("Cs", "Cc"), exclude_characters="\ufeff\x85\u2028\u2029\ufffe\uffff"
    ),
    min_size=5,
)


@given(_PASSWORDS, st.booleans(), st.booleans())
def test_any_password_is_masked(password: str, single: bool, flow: bool) -> None:
    secret = f"SECRET{password}"
    written = "'" + secret.replace("'", "''") + "'" if single else json.dumps(secret, ensure_ascii=False)
    users = (
        f"users: {{app: {{password: {written}}}}}" if flow else f"users:\n  app:\n    password: {written}  # {secret}"
    )
    found = rules(users=users)
    assert found.users["app"].password == secret
    masked = masked_text(found)
    assert "SECRET" not in masked
    assert found.text.split("users:")[0] == masked.split("users:")[0]
