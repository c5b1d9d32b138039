"""Session settings: system variables and constant user variables that follow a session from connection to connection.

A `Settings` value is immutable and interned: two sessions with the same settings share one object, so that "does this
connection have this session's settings?" is an identity test. `delta` says which SET statement turns one into another.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from weakref import WeakValueDictionary

from proxy.errors import ProtocolError

# Variables that a SET on one connection cannot be repeated for on another: their value is an event, not a setting.
# Setting one of them pins the session (proxy.front.set_statement).
UNCARRIED = frozenset(
    {
        "timestamp",
        "insert_id",
        "last_insert_id",
        "identity",
        "rand_seed1",
        "rand_seed2",
        "pseudo_thread_id",
        "pseudo_slave_mode",
        "pseudo_replica_mode",
        "gtid_next",
        "gtid_seq_no",
        "gtid_domain_id",
        "server_id",
        "skip_replication",
        "sql_auto_is_null",
        "sql_log_bin",
        "debug",
        "debug_dbug",
        "debug_sync",
        "profiling",
        "session_track_system_variables",
        "session_track_state_change",
        "session_track_schema",
        "session_track_transaction_info",
        "session_track_gtids",
    }
)

# What the tracker reports besides settings: read, never sent back.
TRACKED_EVENTS = frozenset({"last_gtid"})

CHARSET_VARIABLES = (
    "character_set_client",
    "character_set_connection",
    "character_set_results",
    "collation_connection",
)

_NUMBER = re.compile(rb"-?\d+(\.\d+)?\Z")
_NAME = re.compile(r"[a-z0-9_$.]+\Z")


class Settings:
    """An interned set of (name, SQL text of the value). Names of user variables begin with '@'."""

    __slots__ = ("__weakref__", "autocommit", "items")

    items: Mapping[str, bytes]

    def __init__(self, items: Mapping[str, bytes]) -> None:
        self.items = items
        self.autocommit = items.get("autocommit") not in (b"'OFF'", b"0")

    def with_changes(self, changes: Mapping[str, bytes | None]) -> Settings:
        """These settings with some set to a new SQL text, or (None) back to the server's default."""
        items = dict(self.items)
        for name, value in changes.items():
            if value is None:
                items.pop(name, None)
            else:
                items[name] = value
        return intern(items)

    def get(self, name: str) -> bytes | None:
        return self.items.get(name)

    def __repr__(self) -> str:
        return f"Settings({dict(self.items)!r})"


_interned: WeakValueDictionary[frozenset[tuple[str, bytes]], Settings] = WeakValueDictionary()


def intern(items: Mapping[str, bytes]) -> Settings:
    key = frozenset(items.items())
    found = _interned.get(key)
    if found is None:
        found = _interned[key] = Settings(dict(items))
    return found


NONE = intern({})


def quoted(value: bytes) -> bytes:
    """A tracked value as SQL text, in hexadecimal where a sql_mode or charset could misread it."""
    if _NUMBER.match(value):
        return value
    if value.isascii() and not any(c in value for c in (b"'", b"\\")):
        return b"'" + value + b"'"
    return b"0x" + value.hex().encode()


def tracked_value(name: str, value: bytes) -> bytes:
    """SQL text by which the tracked variable `name` gets the value that the server reported. Raises ProtocolError where
    that is no variable's name."""
    if not (name.startswith("@") or _NAME.match(name)):
        raise ProtocolError(f"it told of a variable named {name!r}")
    if name == "character_set_results" and not value:
        return b"NULL"
    return quoted(value)


@lru_cache(maxsize=4096)
def delta(have: Settings, want: Settings) -> bytes:
    """The SET statement that turns a connection with `have` into one with `want`; empty when there is nothing to do.

    Charset variables come last, so that the values before them are read in the charset that the statement is sent in
    (they are all ASCII).
    """
    changed = {name: value for name, value in want.items.items() if have.items.get(name) != value}
    gone = [name for name in have.items if name not in want.items]
    names = b""
    if any(name in CHARSET_VARIABLES for name in changed):
        names = _set_names(want)
        if names:
            changed = {name: value for name, value in changed.items() if name not in CHARSET_VARIABLES}
        elif "collation_connection" in want.items:
            # Setting the charset of the connection resets its collation, so the collation is what is set.
            changed.pop("character_set_connection", None)
            changed["collation_connection"] = want.items["collation_connection"]
    parts = [(_rank(name), _target(name) + b"=" + value) for name, value in changed.items()]
    parts += [(_rank(name), _target(name) + (b"=NULL" if name.startswith("@") else b"=DEFAULT")) for name in gone]
    texts = [text for _, text in sorted(parts)]
    if names:
        texts.append(names)
    return b"SET " + b",".join(texts) if texts else b""


def _set_names(want: Settings) -> bytes:
    """`NAMES .. COLLATE ..` where that gives all of the charset variables what they are wanted to be: it also makes the
    collation the one that the columns of results are labelled with. Empty where they differ among themselves."""
    charsets = {want.items.get(name) for name in CHARSET_VARIABLES[:3]}
    charset, collation = want.items.get("character_set_client"), want.items.get("collation_connection")
    if len(charsets) != 1 or charset is None or collation is None or charset == b"NULL":
        return b""
    return b"NAMES " + charset + b" COLLATE " + collation


def _rank(name: str) -> int:
    return 1 if name.startswith("character_set") else 2 if name.startswith("collation") else 0


def _target(name: str) -> bytes:
    if name.startswith("@"):
        return b"@`" + name[1:].replace("`", "``").encode() + b"`"
    if not _NAME.match(name):
        raise ValueError(f"not a system variable's name: {name!r}")
    return b"@@session." + name.encode()


def for_charset(charset: str, collation: str) -> Settings:
    """The settings that a login with this character set and collation gives (as SET NAMES .. COLLATE would)."""
    name = b"'" + charset.encode() + b"'"
    return intern(
        {
            "character_set_client": name,
            "character_set_connection": name,
            "character_set_results": name,
            "collation_connection": b"'" + collation.encode() + b"'",
        }
    )
