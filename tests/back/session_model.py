"""A server's session variables in a few lines: what a SET statement of ours makes of them.

Follows `sql/set_var.cc` and `sql/sys_vars.cc`: assignments take effect from left to right; the connection's charset and
collation are one thing with two names, and so are the server's; setting a charset takes its default collation.
"""

from __future__ import annotations

import re

DEFAULTS = {
    "character_set_client": "utf8mb4",
    "character_set_results": "utf8mb4",
    "collation_connection": "utf8mb4_general_ci",
    "collation_server": "utf8mb4_general_ci",
    "sql_mode": "STRICT_TRANS_TABLES",
    "time_zone": "SYSTEM",
    "autocommit": "ON",
    "tx_isolation": "REPEATABLE-READ",
    "sql_select_limit": "18446744073709551615",
    "lc_time_names": "en_US",
}
_DEFAULT_COLLATIONS = {
    "utf8mb4": "utf8mb4_general_ci",
    "latin1": "latin1_swedish_ci",
    "gbk": "gbk_chinese_ci",
    "binary": "binary",
}
_ONE_WITH = {"character_set_connection": "collation_connection", "character_set_server": "collation_server"}
_VALUE = rb"('[^'\\]*'|0x[0-9a-f]*|-?\d+(?:\.\d+)?|NULL|DEFAULT)"
_ASSIGNMENT = re.compile(rb"(@@session\.([a-z0-9_]+)|@`((?:[^`]|``)+)`)=" + _VALUE)
_NAMES = re.compile(rb"NAMES " + _VALUE + rb" COLLATE " + _VALUE)


class Session:
    """One connection's variables, as the server has them."""

    def __init__(self) -> None:
        self.system: dict[str, str | None] = dict(DEFAULTS)
        self.user: dict[str, str] = {}  # those that are not NULL; names do not differ by case

    def run(self, sql: bytes) -> None:
        """Carries out a SET statement of the forms that we write; any other is an error."""
        if not sql:
            return
        assert sql.startswith(b"SET "), sql
        at = 4
        while True:
            if found := _NAMES.match(sql, at):
                self._names(_plain(found[1]), _plain(found[2]))
            else:
                found = _ASSIGNMENT.match(sql, at)
                assert found, (sql, at)
                self._assign(found)
            at = found.end()
            if at == len(sql):
                return
            assert sql[at : at + 1] == b",", (sql, at)
            at += 1

    def _names(self, charset: str | None, collation: str | None) -> None:
        assert charset in _DEFAULT_COLLATIONS
        assert collation is not None
        assert collation.split("_")[0] == charset, "1253: COLLATION is not valid for CHARACTER SET"
        self.system |= {
            "character_set_client": charset,
            "character_set_results": charset,
            "collation_connection": collation,
        }

    def _assign(self, found: re.Match[bytes]) -> None:
        if found[3] is not None:
            name, value = found[3].replace(b"``", b"`").decode().lower(), _plain(found[4])
            assert found[4] != b"DEFAULT", "1064"
            self.user.pop(name, None)
            if value is not None:
                self.user[name] = value
            return
        name = found[2].decode()
        pair = _ONE_WITH.get(name)
        if found[4] == b"DEFAULT":
            self.system[pair or name] = DEFAULTS[pair or name]
        elif pair is not None:
            self.system[pair] = _DEFAULT_COLLATIONS[_plain(found[4]) or ""]
        else:
            assert name in DEFAULTS, f"1193: Unknown system variable '{name}'"
            self.system[name] = _plain(found[4])


def _plain(text: bytes) -> str | None:
    if text == b"NULL":
        return None
    if text.startswith(b"'"):
        return text[1:-1].decode()
    if text.startswith(b"0x"):
        return bytes.fromhex(text[2:].decode()).decode("utf-8", "surrogateescape")
    return text.decode()
