"""The accounts that a statement's text names."""

from __future__ import annotations

import pytest

from proxy.front.account_names import named_accounts


@pytest.mark.parametrize(
    ("sql", "names"),
    [
        ("CREATE USER a", ["USER a"]),
        ("create or replace user 'a b'@'%' identified by 'x, y'", ["USER 'a b'@'%'"]),
        ("CREATE USER IF NOT EXISTS `a`@localhost IDENTIFIED VIA ed25519 USING PASSWORD('z')", ["USER `a`@localhost"]),
        ("CREATE USER a IDENTIFIED BY 'x', b IDENTIFIED BY 'y'", None),
        ("CREATE ROLE r", ["GRANTS r"]),
        ("DROP USER a, 'b'@localhost, to@x;", ["USER a", "USER 'b'@localhost", "USER to@x"]),
        ("DROP ROLE IF EXISTS r, s", ["GRANTS r", "GRANTS s"]),
        ("RENAME USER a TO b, c@x TO 'd''s'@'e'", ["USER a", "USER b", "USER c@x", "USER 'd''s'@'e'"]),
        ("REVOKE SELECT (a), INSERT ON x.* FROM a, b@'%'", ["GRANTS a", "GRANTS b@'%'"]),
        ("ALTER USER a IDENTIFIED BY 'x'", None),
        ("GRANT SELECT ON *.* TO a", None),
        ("DROP USER a; DROP USER b", None),
        ("/* for the team */ CREATE USER a", None),
    ],
)
def test_names(sql: str, names: list[str] | None) -> None:
    found = named_accounts(sql.encode(), ("one",))
    assert (found and [f"{each.thing.value} {each.quoted}" for each in found]) == names


def test_text_that_is_not_utf_8() -> None:
    assert named_accounts("CREATE USER 'é'".encode("latin-1"), ("one",)) is None
