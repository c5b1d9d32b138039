"""Settings, and the SET statements that carry them from connection to connection."""

from __future__ import annotations

import gc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.back.settings import NONE, Settings, delta, for_charset, intern, quoted, tracked_value
from tests.back.session_model import Session

UTF8 = for_charset("utf8mb4", "utf8mb4_general_ci")
LATIN1 = for_charset("latin1", "latin1_swedish_ci")


def with_(base: Settings = UTF8, **values: bytes | None) -> Settings:
    return base.with_changes(values)


# -- interning --------------------------------------------------------------------------------------------------------


def test_equal_settings_are_one_object() -> None:
    one = with_(sql_mode=b"''", time_zone=b"'+01:00'")
    assert with_(with_(time_zone=b"'+01:00'"), sql_mode=b"''") is one
    assert with_(with_(one, sql_mode=b"'ANSI'"), sql_mode=b"''") is one
    assert with_(one, sql_mode=None, time_zone=None) is UTF8
    assert intern({}) is NONE
    assert with_(one, sql_mode=b"'ANSI'") is not one


def test_changes_leave_the_settings_before_them_alone() -> None:
    before = with_(sql_mode=b"''")
    with_(before, sql_mode=b"'ANSI'", time_zone=b"'+01:00'")
    assert before.get("sql_mode") == b"''"
    assert before.get("time_zone") is None
    given = {"sql_mode": b"''"}
    kept = intern(given)
    given["sql_mode"] = b"'ANSI'"
    assert kept.get("sql_mode") == b"''"


def test_taking_back_what_was_never_set_changes_nothing() -> None:
    assert with_(UTF8, sql_mode=None) is UTF8


def test_settings_that_nobody_has_are_forgotten() -> None:
    from proxy.back import settings as module

    made = intern({"sql_mode": b"'only here'"})
    assert frozenset(made.items.items()) in module._interned
    del made
    gc.collect()
    assert frozenset({("sql_mode", b"'only here'")}) not in module._interned


def test_a_login_s_charset_is_what_set_names_gives() -> None:
    assert dict(for_charset("latin1", "latin1_bin").items) == {
        "character_set_client": b"'latin1'",
        "character_set_connection": b"'latin1'",
        "character_set_results": b"'latin1'",
        "collation_connection": b"'latin1_bin'",
    }


# -- values -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (b"0", b"0"),
        (b"-5", b"-5"),
        (b"18446744073709551615", b"18446744073709551615"),
        (b"0.500000", b"0.500000"),
        (b"", b"''"),
        (b"ON", b"'ON'"),
        (b"+01:00", b"'+01:00'"),
        (b"1.", b"'1.'"),
        (b"1e5", b"'1e5'"),
        (b"5\n", b"'5\n'"),
        (b"ANSI_QUOTES,STRICT_ALL_TABLES", b"'ANSI_QUOTES,STRICT_ALL_TABLES'"),
        (b"a'b", b"0x612762"),
        (b"a\\", b"0x615c"),
        (b"',@@session.sql_mode='", b"0x272c404073657373696f6e2e73716c5f6d6f64653d27"),
        ("é".encode(), b"0xc3a9"),
        (b"\xe9", b"0xe9"),
        (b'a"b`c', b"'a\"b`c'"),
    ],
)
def test_a_value_as_sql_text(value: bytes, text: bytes) -> None:
    assert quoted(value) == text


@given(st.binary(max_size=40))
def test_no_value_gets_out_of_its_quotes(value: bytes) -> None:
    text = quoted(value)
    if text.startswith(b"'"):
        assert text == b"'" + value + b"'"
        assert b"'" not in value
        assert b"\\" not in value
        assert value.isascii()
    elif text.startswith(b"0x"):
        assert bytes.fromhex(text[2:].decode()) == value
    else:
        assert text == value
        assert set(value) <= set(b"-.0123456789")
        float(value)


def test_results_without_a_charset() -> None:
    assert tracked_value("character_set_results", b"") == b"NULL"
    assert tracked_value("character_set_results", b"latin1") == b"'latin1'"
    assert tracked_value("sql_mode", b"") == b"''"


# -- from one to the other --------------------------------------------------------------------------------------------

TEXTS = [
    # (have, want, SET)
    (UTF8, UTF8, b""),
    (NONE, NONE, b""),
    (UTF8, with_(sql_mode=b"''"), b"SET @@session.sql_mode=''"),
    (with_(sql_mode=b"''"), UTF8, b"SET @@session.sql_mode=DEFAULT"),
    (with_(sql_mode=b"''"), with_(sql_mode=b"'ANSI'"), b"SET @@session.sql_mode='ANSI'"),
    (
        with_(sql_mode=b"''", time_zone=b"'+01:00'", autocommit=b"'OFF'"),
        with_(time_zone=b"'+01:00'", lc_time_names=b"'de_DE'"),
        b"SET @@session.autocommit=DEFAULT,@@session.lc_time_names='de_DE',@@session.sql_mode=DEFAULT",
    ),
    (UTF8, LATIN1, b"SET NAMES 'latin1' COLLATE 'latin1_swedish_ci'"),
    (NONE, LATIN1, b"SET NAMES 'latin1' COLLATE 'latin1_swedish_ci'"),
    (
        UTF8,
        for_charset("utf8mb4", "utf8mb4_unicode_ci"),
        b"SET NAMES 'utf8mb4' COLLATE 'utf8mb4_unicode_ci'",
    ),
    (
        with_(sql_mode=b"''"),
        with_(LATIN1, time_zone=b"'+01:00'"),
        b"SET @@session.sql_mode=DEFAULT,@@session.time_zone='+01:00',NAMES 'latin1' COLLATE 'latin1_swedish_ci'",
    ),
    (
        UTF8,
        with_(character_set_results=b"NULL"),
        b"SET @@session.character_set_results=NULL,@@session.collation_connection='utf8mb4_general_ci'",
    ),
    (with_(character_set_results=b"NULL"), UTF8, b"SET NAMES 'utf8mb4' COLLATE 'utf8mb4_general_ci'"),
    (
        LATIN1,
        with_(character_set_client=b"'gbk'"),
        b"SET @@session.character_set_client='gbk',@@session.character_set_results='utf8mb4',"
        b"@@session.collation_connection='utf8mb4_general_ci'",
    ),
    (
        UTF8,
        NONE,
        b"SET @@session.character_set_client=DEFAULT,@@session.character_set_connection=DEFAULT,"
        b"@@session.character_set_results=DEFAULT,@@session.collation_connection=DEFAULT",
    ),
    (UTF8, UTF8.with_changes({"@a": b"1", "@b`c": b"-2"}), b"SET @`a`=1,@`b``c`=-2"),
    (
        UTF8.with_changes({"@a": b"1", "@b": b"2"}),
        with_(sql_mode=b"''").with_changes({"@b": b"3"}),
        b"SET @@session.sql_mode='',@`a`=NULL,@`b`=3",
    ),
]


@pytest.mark.parametrize(("have", "want", "sql"), TEXTS)
def test_the_statement_that_makes_one_into_the_other(have: Settings, want: Settings, sql: bytes) -> None:
    assert delta(have, want) == sql


def test_what_is_no_variable_s_name_never_gets_into_a_statement() -> None:
    for name in ("sql_mode=''; DROP TABLE t; --", "SQL_MODE", "a b", "", "sql_mode\n", "é"):
        with pytest.raises(ValueError, match="not a system variable's name"):
            delta(NONE, intern({name: b"1"}))


def test_a_user_variable_s_name_stays_in_its_quotes() -> None:
    name = "`=1,@@session.sql_mode='',@`"
    session = Session()
    session.run(delta(NONE, intern({"@" + name: b"7"})))
    assert session.user == {name: "7"}
    assert session.system == Session().system


CHARSETS = [
    for_charset("utf8mb4", "utf8mb4_general_ci"),
    for_charset("utf8mb4", "utf8mb4_unicode_ci"),
    for_charset("latin1", "latin1_swedish_ci"),
    for_charset("latin1", "latin1_bin"),
    for_charset("gbk", "gbk_chinese_ci"),
    for_charset("binary", "binary"),
    with_(LATIN1, character_set_results=b"NULL"),
    with_(LATIN1, character_set_results=b"'utf8mb4'"),
    with_(LATIN1, character_set_client=b"'gbk'"),
    with_(LATIN1, character_set_client=b"'utf8mb4'", character_set_results=b"'utf8mb4'"),
    NONE,
]
OTHERS: dict[str, list[bytes]] = {
    "sql_mode": [b"''", b"'ANSI_QUOTES'"],
    "time_zone": [b"'+01:00'", b"'SYSTEM'"],
    "autocommit": [b"'ON'", b"'OFF'"],
    "tx_isolation": [b"'SERIALIZABLE'"],
    "sql_select_limit": [b"5", b"18446744073709551615"],
    "lc_time_names": [b"0x64655f4445"],
    "collation_server": [b"'latin1_bin'"],
    "@a": [b"1", b"-1"],
    "@b c": [b"1"],
    "@x`y": [b"0"],
}


@st.composite
def any_settings(draw: st.DrawFn) -> Settings:
    changes: dict[str, bytes | None] = {}
    for name, values in OTHERS.items():
        changes[name] = draw(st.sampled_from([None, *values]))
    return draw(st.sampled_from(CHARSETS)).with_changes(changes)


def reference(wanted: Settings) -> Session:
    """A session with these settings and nothing else, made one by one."""
    session = Session()
    for name, value in wanted.items.items():
        target = f"@`{name[1:].replace('`', '``')}`" if name.startswith("@") else f"@@session.{name}"
        if name not in ("character_set_connection", "collation_connection"):
            session.run(f"SET {target}=".encode() + value)
    if "collation_connection" in wanted.items:
        session.run(b"SET @@session.collation_connection=" + wanted.items["collation_connection"])
    return session


@settings(max_examples=600)
@given(st.lists(any_settings(), min_size=1, max_size=5))
def test_a_connection_has_the_settings_of_its_last_session_only(sessions: list[Settings]) -> None:
    connection, have = Session(), NONE
    for want in sessions:
        connection.run(delta(have, want))
        have = want
        right = reference(want)
        assert (connection.system, connection.user) == (right.system, right.user)


@pytest.mark.parametrize("have", CHARSETS)
@pytest.mark.parametrize("want", CHARSETS)
def test_every_charset_after_every_other(have: Settings, want: Settings) -> None:
    connection = reference(have)
    connection.run(delta(have, want))
    assert connection.system == reference(want).system


@given(any_settings(), any_settings())
def test_no_statement_where_there_is_nothing_to_do(have: Settings, want: Settings) -> None:
    assert (delta(have, want) == b"") == (have is want)


def test_the_server_s_charset_and_collation_together() -> None:
    session = Session()
    session.run(delta(NONE, intern({"character_set_server": b"'latin1'", "collation_server": b"'latin1_bin'"})))
    assert session.system["collation_server"] == "latin1_bin"
